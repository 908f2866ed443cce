//! Tasks over HTTP: start, renew, extend, end, and the receipt. Holding one is in `hold`.

use accredit_api::task::{
    EndOutcome, EndTask, ExtendTask, JWT_BEARER, Receipt, ReceiptLine, StartTask, Task, TaskStarted,
    TaskStatus, TaskToken, TasksQuery,
};
use accredit_api::{Page, Sensitive};
use accredit_authority::admission::Of;
use accredit_authority::authenticate::AgentProof;
use accredit_authority::delegation::Parent;
use accredit_authority::tasks::{IssuedToken, Wanted};
use accredit_authority::uses_report;
use accredit_core::boundary::{Boundary, GrantError};
use accredit_core::id::TaskId;
use accredit_core::rights::Operation;
use accredit_core::task::{self as core, Ending, TaskState};
use accredit_core::time::Timestamp;
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::access::{Asker, By, Holder, OnePrincipal, Proof, Via, own_url};
use crate::app::App;
use crate::extract::{Json, Params, in_path, line, line_opt, page_size, parsed, parsed_opt};
use crate::problem::Failure;
use crate::process::nearest;
use crate::templates::wire_boundary;

pub(crate) fn status(task: &core::Task, now: Timestamp) -> TaskStatus {
    match task.status_at(now) {
        "active" => TaskStatus::Active,
        "completed" => TaskStatus::Completed,
        "failed" => TaskStatus::Failed,
        "expired" => TaskStatus::Expired,
        "revoked" => TaskStatus::Revoked,
        _ => TaskStatus::Proposed,
    }
}

pub(crate) fn wire(task: &core::Task, now: Timestamp) -> Task {
    let (started_at, expires_at, ended_at, ended_because) = match &task.state {
        TaskState::Proposed => (None, None, None, None),
        TaskState::Active { since, expires_at } => {
            (Some(since.to_string()), Some(expires_at.to_string()), None, None)
        }
        TaskState::Ended { at, reason, .. } => {
            (None, None, Some(at.to_string()), reason.as_ref().map(ToString::to_string))
        }
    };
    Task {
        id: task.id.to_string(),
        status: status(task, now),
        agent: task.agent.to_string(),
        instance: task.instance.id.to_string(),
        attestation: task.instance.attestation.to_string(),
        purpose: task.purpose.to_string(),
        workflow: task.workflow.as_ref().map(ToString::to_string),
        requested_by: task.requested_by.as_ref().map(ToString::to_string),
        parent: task.parent.as_ref().map(ToString::to_string),
        restraint: task.restraint.as_ref().map(|r| r.kind.as_str().to_owned()),
        finding: task.restraint.as_ref().map(|r| r.finding.to_string()),
        template: task.template.as_ref().map(ToString::to_string),
        boundary: wire_boundary(&task.boundary),
        held: task.held,
        proposed_at: task.proposed_at.to_string(),
        started_at,
        expires_at,
        ended_at,
        ended_because,
    }
}

fn token(issued: &IssuedToken, now: Timestamp) -> TaskToken {
    TaskToken {
        access_token: Sensitive::new(issued.token.expose().to_owned()),
        token_type: "DPoP".to_owned(),
        expires_in: u64::try_from(issued.expires_at.ms_since(now) / 1_000).unwrap_or(0),
    }
}

/// How the agent proves itself, from what the request carries.
fn agent_proof<'a>(body: &'a StartTask, via: &Via) -> Result<AgentProof<'a>, Failure> {
    let kind = body.client_assertion_type.as_deref();
    match (&body.client_assertion, &body.agent, via) {
        (Some(assertion), None, _) if kind == Some(JWT_BEARER) => {
            Ok(AgentProof::Assertion(assertion.reveal()))
        }
        (Some(_), None, _) => {
            Err(Failure::field("client_assertion_type", format!("expected `{JWT_BEARER}`")))
        }
        (Some(_), Some(_), _) => {
            Err(Failure::field("agent", "the assertion names the agent; leave this out"))
        }
        (None, Some(agent), Via::Socket(peer)) => Ok(AgentProof::Peer(peer.clone(), parsed("agent", agent)?)),
        (None, _, _) => Err(Failure::unauthenticated(
            "the agent did not prove itself: a `client_assertion` is needed or, through the socket, `agent`",
        )),
    }
}

/// The task that hands authority down: whose token was given, or in which the process runs that asks.
async fn parent(app: &App, body: &StartTask, via: &Via) -> Result<Option<Parent>, Failure> {
    let authority = app.authority();
    let around = match via {
        Via::Socket(peer) => authority.parent_by_process(|runners| nearest(peer.pid(), runners)).await?,
        Via::Tcp(_) => None,
    };
    let given = body.parent_token.as_ref().map(|token| authority.parent_by_token(token.reveal()));
    let given = given.transpose()?;
    if let (Some(around), Some(given)) = (&around, &given)
        && around != given
    {
        return Err(Failure::field("parent_token", "whoever asks belongs to another task"));
    }
    let named: Option<TaskId> = parsed_opt("parent", body.parent.as_deref())?;
    match (around.or(given), named) {
        (Some(parent), Some(named)) if *parent.task() != named => {
            Err(Failure::field("parent", "another task agreed to hand its authority down"))
        }
        (None, Some(_)) => Err(Failure::field("parent_token", "the task above has to agree: give its token")),
        (parent, _) => Ok(parent),
    }
}

fn wanted(body: &StartTask, via: &Via, parent: Option<Parent>) -> Result<Wanted, Failure> {
    let runner = match via {
        Via::Socket(peer) => Some((peer.pid(), peer.uid())),
        Via::Tcp(_) => None,
    };
    let wrong = |field: &'static str| {
        move |(text, error): (String, GrantError)| {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
            Failure::field(field, format!("`{shown}`: {error}"))
        }
    };
    let boundary = body
        .boundary
        .as_deref()
        .map(|grants| Boundary::parse(grants.iter().map(String::as_str)).map_err(wrong("boundary")));
    let boundary = match (boundary.transpose()?, body.delegable.as_deref()) {
        (Some(boundary), Some(delegable)) => {
            let both = boundary.with_delegable(delegable.iter().map(String::as_str));
            Some(both.map_err(wrong("delegable"))?)
        }
        (None, Some(_)) => {
            return Err(Failure::field(
                "delegable",
                "the template says what may be handed down; leave this out",
            ));
        }
        (boundary, None) => boundary,
    };
    Ok(Wanted {
        purpose: line("purpose", &body.purpose)?,
        workflow: line_opt("workflow", body.workflow.as_deref())?,
        requested_by: line_opt("requested_by", body.requested_by.as_deref())?,
        parent,
        template: parsed_opt("template", body.template.as_deref())?,
        boundary,
        ttl_s: body.ttl_s,
        held: body.held,
        runner,
    })
}

/// Proposes a task and starts it if policy allows
///
/// The agent proves itself with a client assertion, or as the peer of the socket. The `DPoP` field names the key that
/// every token of the task is bound to.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", params(("DPoP" = String, Header, description = "Proof of the instance's key (RFC 9449)")), request_body = StartTask, responses((status = 201, body = TaskStarted)))]
pub(crate) async fn start(
    State(app): State<App>,
    via: Via,
    proof: Result<Proof, Failure>,
    one: OnePrincipal,
    Json(body): Json<StartTask>,
) -> Result<(StatusCode, Reply<TaskStarted>), Failure> {
    let Proof(dpop) = proof?;
    let authority = app.authority();
    let possession = authority.possession_only("POST", &own_url(&app, "/v1/tasks"), &dpop).await?;
    let agent = agent_proof(&body, &via)?;
    let proven = authority.proven_agent(agent, &possession).await?;
    one.check()?;
    let parent = parent(&app, &body, &via).await?;
    let started = authority.start_task(proven, wanted(&body, &via, parent)?).await?;
    let now = authority.now();
    let reply = TaskStarted { task: wire(&started.task, now), token: token(&started.token, now) };
    Ok((StatusCode::CREATED, Reply(reply)))
}

/// Lists tasks, newest first
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(TasksQuery), responses((status = 200, body = Page<Task>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<TasksQuery>,
) -> Result<Reply<Page<Task>>, Failure> {
    let limit = page_size(query.limit)?;
    let agent = parsed_opt("agent", query.agent.as_deref())?;
    let before = parsed_opt("cursor", query.cursor.as_deref())?;
    let active = query.active.unwrap_or(false);
    let mut found = app.authority().tasks(agent, active, before, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|t| t.id.to_string());
    let now = app.authority().now();
    Ok(Reply(Page { items: found.iter().map(|t| wire(t, now)).collect(), next }))
}

/// The task that the path names, if the asker may look at it.
async fn visible(app: &App, asker: &Asker, id: &str) -> Result<core::Task, Failure> {
    let id: TaskId = in_path("task", id)?;
    match asker {
        Asker::Operator(_) => Ok(app.authority().task(id).await?),
        Asker::Task(caller) if *caller.task() == id => Ok(app.authority().own_task(caller).await?),
        Asker::Task(_) | Asker::LocalUser(_) => Err(Failure::not_found("task")),
    }
}

/// Shows a task, to operators and to its holder
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path, description = "The task")), responses((status = 200, body = Task)))]
pub(crate) async fn get(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Reply<Task>, Failure> {
    let task = visible(&app, &asker, &id).await?;
    Ok(Reply(wire(&task, app.authority().now())))
}

/// Shows every task of the tree that a task stands in, its root first
#[utoipa::path(get, path = "/v1/tasks/{id}/tree", tag = "tasks", params(("id" = String, Path, description = "The task")), responses((status = 200, body = Page<Task>)))]
pub(crate) async fn tree(
    State(app): State<App>,
    _: By,
    Path(id): Path<String>,
) -> Result<Reply<Page<Task>>, Failure> {
    let tree = app.authority().task_tree(in_path("task", &id)?).await?;
    let now = app.authority().now();
    Ok(Reply(Page { items: tree.iter().map(|task| wire(task, now)).collect(), next: None }))
}

/// Issues the next token of a task to its holder
#[utoipa::path(post, path = "/v1/tasks/{id}/token", tag = "tasks", params(("id" = String, Path, description = "The task")), responses((status = 200, body = TaskToken)))]
pub(crate) async fn renew(
    State(app): State<App>,
    Holder(caller): Holder,
    Path(id): Path<String>,
) -> Result<Reply<TaskToken>, Failure> {
    if *caller.task() != in_path::<TaskId>("task", &id)? {
        return Err(Failure::not_found("task"));
    }
    let issued = app.authority().renew_token(&caller).await?;
    Ok(Reply(token(&issued, app.authority().now())))
}

/// Lets a task live longer
///
/// For operators: an agent does not widen its own authority.
#[utoipa::path(post, path = "/v1/tasks/{id}/extend", tag = "tasks", params(("id" = String, Path, description = "The task")), request_body = ExtendTask, responses((status = 200, body = Task)))]
pub(crate) async fn extend(
    State(app): State<App>,
    By(by): By,
    Path(id): Path<String>,
    Json(body): Json<ExtendTask>,
) -> Result<Reply<Task>, Failure> {
    let (authority, task) = (app.authority(), in_path::<TaskId>("task", &id)?);
    let doing = authority.extend_task(by.name().as_str(), task, body.by_s);
    let task = authority.as_operator(&by, Operation::TaskExtend, &id, doing).await?;
    Ok(Reply(wire(&task, authority.now())))
}

/// Ends a task, for its holder or an operator
#[utoipa::path(post, path = "/v1/tasks/{id}/end", tag = "tasks", params(("id" = String, Path, description = "The task")), request_body = EndTask, responses((status = 200, body = Task)))]
pub(crate) async fn end(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    Json(body): Json<EndTask>,
) -> Result<Reply<Task>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    let how = match body.outcome {
        EndOutcome::Completed => Ending::Completed,
        EndOutcome::Failed => Ending::Failed,
    };
    let (authority, task) = (app.authority(), visible(&app, &asker, &id).await?.id);
    let (task, _) = match &asker {
        Asker::Operator(by) => {
            let doing = authority.end_task(by.name().as_str(), task.clone(), how, reason);
            authority.as_owner(by, Operation::TaskEnd, Of::Task(task), &id, doing).await?
        }
        Asker::Task(caller) => authority.end_task(caller.agent().as_str(), task, how, reason).await?,
        Asker::LocalUser(_) => return Err(Failure::not_found("task")),
    };
    Ok(Reply(wire(&task, authority.now())))
}

/// Shows what a task did, from the ledger
#[utoipa::path(get, path = "/v1/tasks/{id}/receipt", tag = "tasks", params(("id" = String, Path, description = "The task")), responses((status = 200, body = Receipt)))]
pub(crate) async fn receipt(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Reply<Receipt>, Failure> {
    let task = visible(&app, &asker, &id).await?.id;
    let receipt = app.authority().receipt(task).await?;
    let line = |(resource, at): (String, uses_report::AtResource)| ReceiptLine {
        resource,
        reads: at.reads,
        writes: at.writes,
        deletes: at.deletes,
        others: at.others,
        refused: at.refused,
        bytes: at.bytes,
    };
    Ok(Reply(Receipt {
        task: wire(&receipt.task, app.authority().now()),
        duration_ms: receipt.duration_ms,
        uses: receipt.uses,
        refused: receipt.refused,
        asked: receipt.asked,
        credentials: receipt.credentials,
        resources: receipt.resources.into_iter().map(line).collect(),
        last_entry: receipt.last_entry,
    }))
}
