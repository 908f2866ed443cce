//! Requests for a person's answer over HTTP.

use accredit_api::Page;
use accredit_api::request::{ApprovalRequest, RequestStatus, RequestsQuery};
use accredit_authority::requests::WantedRequests;
use accredit_core::approval::{Per, Request};
use accredit_core::time::Timestamp;
use axum::Json as Reply;
use axum::extract::{Path, State};

use crate::access::By;
use crate::app::App;
use crate::extract::{Params, in_path, page_size, parsed_opt};
use crate::problem::Failure;

pub(crate) fn wire(request: Request, now: Timestamp) -> ApprovalRequest {
    let status = match request.status_at(now) {
        "pending" => RequestStatus::Pending,
        "withdrawn" => RequestStatus::Withdrawn,
        _ => RequestStatus::Expired,
    };
    ApprovalRequest {
        id: request.id.to_string(),
        status,
        task: request.task.to_string(),
        agent: request.agent.to_string(),
        resource: request.resource.to_string(),
        operation: request.operation.to_string(),
        effect: request.effect.to_string(),
        summary: request.summary,
        digest: request.digest.to_string(),
        approvers: request.terms.approvers,
        quorum: request.terms.quorum,
        per: match request.terms.per {
            Per::Action => "action".to_owned(),
            Per::Task => "task".to_owned(),
        },
        policies: request.policies,
        count: request.count,
        raised_at: request.raised_at.to_string(),
        expires_at: request.expires_at.to_string(),
    }
}

/// Lists requests, newest first
#[utoipa::path(get, path = "/v1/requests", tag = "requests", params(RequestsQuery), responses((status = 200, body = Page<ApprovalRequest>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<RequestsQuery>,
) -> Result<Reply<Page<ApprovalRequest>>, Failure> {
    let limit = page_size(query.limit)?;
    let wanted = match query.status {
        None => WantedRequests::Any,
        Some(RequestStatus::Pending) => WantedRequests::Pending,
        Some(RequestStatus::Expired) => WantedRequests::Expired,
        Some(RequestStatus::Withdrawn) => WantedRequests::Withdrawn,
    };
    let before = parsed_opt("cursor", query.cursor.as_deref())?;
    let mut found = app.authority().requests(wanted, before, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|r| r.id.to_string());
    let now = app.authority().now();
    Ok(Reply(Page { items: found.into_iter().map(|r| wire(r, now)).collect(), next }))
}

/// Shows a request
#[utoipa::path(get, path = "/v1/requests/{id}", tag = "requests", params(("id" = String, Path, description = "The request")), responses((status = 200, body = ApprovalRequest)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(id): Path<String>,
) -> Result<Reply<ApprovalRequest>, Failure> {
    let found = app.authority().request(in_path("request", &id)?).await?;
    Ok(Reply(wire(found, app.authority().now())))
}
