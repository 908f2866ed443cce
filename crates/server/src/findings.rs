//! Findings over HTTP, and letting a task go on that one holds back.

use accredit_api::Page;
use accredit_api::finding::{Containment, Finding, FindingsQuery, ReleaseTask};
use accredit_api::task::Task;
use accredit_core::deviation;
use axum::Json as Reply;
use axum::extract::{Path, State};

use crate::access::By;
use crate::app::App;
use crate::extract::{Json, Params, in_path, line_opt, page_size, parsed_opt};
use crate::problem::Failure;
use crate::tasks;

fn wire(finding: deviation::Finding) -> Finding {
    Finding {
        id: finding.id.to_string(),
        rule: finding.rule,
        then: match finding.then {
            deviation::Containment::Alert => Containment::Alert,
            deviation::Containment::Ask => Containment::Ask,
            deviation::Containment::SuspendTask => Containment::SuspendTask,
            deviation::Containment::RevokeTask => Containment::RevokeTask,
            deviation::Containment::SuspendAgent => Containment::SuspendAgent,
        },
        agent: finding.agent.to_string(),
        task: finding.task.to_string(),
        entry: finding.entry,
        at: finding.at.to_string(),
        detail: finding.detail,
        contained_at: finding.contained_at.map(|at| at.to_string()),
    }
}

/// Lists detected deviations, the newest first
#[utoipa::path(get, path = "/v1/findings", tag = "findings", params(FindingsQuery), responses((status = 200, body = Page<Finding>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<FindingsQuery>,
) -> Result<Reply<Page<Finding>>, Failure> {
    let limit = page_size(query.limit)?;
    let agent = parsed_opt("agent", query.agent.as_deref())?;
    let before = parsed_opt("cursor", query.cursor.as_deref())?;
    let mut found = app.authority().findings(agent, before, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|f| f.id.to_string());
    Ok(Reply(Page { items: found.into_iter().map(wire).collect(), next }))
}

/// Shows a detected deviation
#[utoipa::path(get, path = "/v1/findings/{id}", tag = "findings", params(("id" = String, Path, description = "The finding")), responses((status = 200, body = Finding)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(id): Path<String>,
) -> Result<Reply<Finding>, Failure> {
    Ok(Reply(wire(app.authority().finding(in_path("finding", &id)?).await?)))
}

/// Lets a task go on that a finding holds back
#[utoipa::path(post, path = "/v1/tasks/{id}/release", tag = "tasks", params(("id" = String, Path, description = "The task")), request_body = ReleaseTask, responses((status = 200, body = Task)))]
pub(crate) async fn release(
    State(app): State<App>,
    By(by): By,
    Path(id): Path<String>,
    Json(body): Json<ReleaseTask>,
) -> Result<Reply<Task>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    let authority = app.authority();
    let task = authority.release_task(&by, in_path("task", &id)?, reason).await?;
    Ok(Reply(tasks::wire(&task, authority.now())))
}
