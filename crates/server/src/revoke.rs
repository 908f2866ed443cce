//! `POST /v1/revoke`: when the answer arrives, it is over.

use accredit_api::revoke::{Revoke, RevokeReport, RevokeTarget};
use accredit_authority::revoke::Target;
use axum::Json as Reply;
use axum::extract::State;

use crate::access::By;
use crate::app::App;
use crate::extract::{Json, line_opt, parsed};
use crate::problem::Failure;

/// Takes authority away
///
/// Of a task, an agent (which is suspended), a credential, or everything. When the answer arrives, nothing new goes out.
#[utoipa::path(post, path = "/v1/revoke", tag = "revoke", request_body = Revoke, responses((status = 200, body = RevokeReport)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<Revoke>,
) -> Result<Reply<RevokeReport>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    let target = match &body.target {
        RevokeTarget::Task(id) => Target::Task(parsed("target", id)?),
        RevokeTarget::Agent(name) => Target::Agent(parsed("target", name)?),
        RevokeTarget::Credential(name) => Target::Credential(parsed("target", name)?),
        RevokeTarget::All => Target::All,
    };
    let done = app.authority().revoke_by(&by, target, reason).await?;
    let report = done.report;
    let mut pending = Vec::new();
    if report.pending > 0 {
        pending.push(format!("{} exchanges under way had not stopped yet", report.pending));
    }
    pending.extend(
        report.credentials_revoked.iter().map(|c| format!("revoke the value of `{c}` at its source")),
    );
    Ok(Reply(RevokeReport {
        tasks_ended: report.tasks_ended.iter().map(ToString::to_string).collect(),
        agents_suspended: done.agents_suspended.iter().map(ToString::to_string).collect(),
        credentials_revoked: report.credentials_revoked.iter().map(ToString::to_string).collect(),
        streams_cut: report.cut as u64,
        pending,
        duration_ms: report.duration_ms,
    }))
}
