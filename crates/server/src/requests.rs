//! Requests for a person's answer over HTTP.

use std::time::Duration;

use accredit_api::Page;
use accredit_api::request::{
    ApprovalRequest, ApproveRequest, CloseRequest, RequestBody, RequestCall, RequestChainLink, RequestKind,
    RequestQuery, RequestSoFar, RequestStart, RequestStatus, RequestTerms, RequestYes, RequestsQuery, Scope,
};
use accredit_authority::approvals::Answer;
use accredit_authority::requests::{SoFar, WantedRequests};
use accredit_core::approval::{self, Asked, Per, Request, RequestState};
use accredit_core::digest::Digest;
use accredit_core::time::Timestamp;
use axum::Json as Reply;
use axum::extract::{Path, State};

use crate::access::{Asker, By};
use crate::app::App;
use crate::extract::{Json, Params, in_path, line_opt, page_size, parsed_opt};
use crate::passkeys;
use crate::problem::Failure;

/// What becomes of a request that nobody answers.
const UNANSWERED: &str =
    "it becomes `expired`, which is not a denial: nothing is sent, and the agent is told so";

fn status(request: &Request, now: Timestamp) -> RequestStatus {
    match request.status_at(now) {
        "pending" => RequestStatus::Pending,
        "granted" => RequestStatus::Granted,
        "consumed" => RequestStatus::Consumed,
        "denied" => RequestStatus::Denied,
        "withdrawn" => RequestStatus::Withdrawn,
        _ => RequestStatus::Expired,
    }
}

const fn scope(scope: approval::Scope) -> Scope {
    match scope {
        approval::Scope::Call => Scope::Call,
        approval::Scope::Operation => Scope::Operation,
    }
}

pub(crate) const fn reach(scope: Scope) -> approval::Scope {
    match scope {
        Scope::Call => approval::Scope::Call,
        Scope::Operation => approval::Scope::Operation,
    }
}

pub(crate) fn digest(text: &str) -> Result<Digest, Failure> {
    Digest::parse(text).ok_or_else(|| Failure::field("digest", "expected 64 lower-case hexadecimal digits"))
}

fn asked(asked: Asked) -> (Option<RequestCall>, Option<RequestStart>) {
    match asked {
        Asked::Call { resource, owner, operation, effect, method, url, query, body } => {
            let body = body.map(|body| RequestBody {
                digest: body.digest.to_string(),
                bytes: body.bytes,
                cut: body.is_cut(),
                content_type: body.content_type,
                text: body.text,
            });
            let call = RequestCall {
                resource: resource.to_string(),
                owner: owner.to_string(),
                operation: operation.to_string(),
                effect: effect.to_string(),
                method,
                url,
                query,
                body,
            };
            (Some(call), None)
        }
        Asked::Start { owner, purpose, workflow, template, boundary, ttl_s } => {
            let texts =
                |grants: &[accredit_core::boundary::Grant]| grants.iter().map(ToString::to_string).collect();
            let start = RequestStart {
                owner: owner.to_string(),
                purpose: purpose.to_string(),
                workflow: workflow.map(|w| w.to_string()),
                template: template.map(|t| t.to_string()),
                usable: texts(&boundary.usable),
                delegable: texts(&boundary.delegable),
                ttl_s,
            };
            (None, Some(start))
        }
    }
}

fn terms(request: &Request) -> RequestTerms {
    let wide = request.terms.per == Per::Task && matches!(request.asked, Asked::Call { .. });
    RequestTerms {
        approvers: request.terms.approvers.clone(),
        quorum: request.terms.quorum,
        missing: request.missing(),
        scopes: if wide { vec![Scope::Call, Scope::Operation] } else { vec![Scope::Call] },
        passkey: request.terms.passkey,
        not_owner: request.terms.not_owner,
    }
}

pub(crate) fn wire(request: Request, now: Timestamp) -> ApprovalRequest {
    let (status, terms, summary) = (status(&request, now), terms(&request), request.asked.summary());
    let kind = match request.asked {
        Asked::Call { .. } => RequestKind::Call,
        Asked::Start { .. } => RequestKind::Start,
    };
    let granted = match &request.state {
        RequestState::Granted { scope: reach, until, .. } => Some((scope(*reach), until.to_string())),
        _ => None,
    };
    let (denied_by, reason, decision) = match &request.state {
        RequestState::Denied { by, reason, .. } => {
            (Some(by.to_string()), reason.as_ref().map(ToString::to_string), None)
        }
        RequestState::Consumed { decision, .. } => (None, None, decision.as_ref().map(ToString::to_string)),
        _ => (None, None, None),
    };
    let (call, start) = asked(request.asked);
    let link = |link: approval::ChainLink| RequestChainLink {
        task: link.task.to_string(),
        agent: link.agent.to_string(),
        owner: link.owner.to_string(),
        purpose: link.purpose.to_string(),
        requested_by: link.requested_by.map(|r| r.to_string()),
    };
    let yes = |yes: approval::Yes| RequestYes {
        by: yes.by.to_string(),
        at: yes.at.to_string(),
        scope: scope(yes.scope),
        passkey: yes.passkey,
        reason: yes.reason.map(|r| r.to_string()),
    };
    ApprovalRequest {
        id: request.id.to_string(),
        status,
        kind,
        summary,
        call,
        start,
        task: request.task.to_string(),
        agent: request.agent.to_string(),
        chain: request.chain.into_iter().map(link).collect(),
        digest: request.digest.to_string(),
        terms,
        yes: request.yes.into_iter().map(yes).collect(),
        denied_by,
        reason,
        scope: granted.as_ref().map(|(scope, _)| *scope),
        granted_until: granted.map(|(_, until)| until),
        decision,
        policies: request.policies,
        policy_set: request.policy_set.to_string(),
        undo: request.terms.undo,
        so_far: None,
        if_unanswered: UNANSWERED.to_owned(),
        count: request.count,
        raised_at: request.raised_at.to_string(),
        expires_at: request.expires_at.to_string(),
    }
}

fn so_far(so_far: SoFar) -> RequestSoFar {
    let SoFar { uses, refused, on_resource, differs } = so_far;
    RequestSoFar { uses, refused, on_resource, differs }
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
        Some(RequestStatus::Granted) => WantedRequests::Granted,
        Some(RequestStatus::Consumed) => WantedRequests::Consumed,
        Some(RequestStatus::Denied) => WantedRequests::Denied,
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

/// The request that the path names, if the asker may look at it.
async fn visible(app: &App, asker: &Asker, id: &str) -> Result<Request, Failure> {
    let id = in_path("request", id)?;
    match asker {
        Asker::Operator(_) => Ok(app.authority().request(id).await?),
        Asker::Task(caller) => {
            let task = app.authority().own_task(caller).await?.id;
            let found = app.authority().request(id).await?;
            if found.task == task { Ok(found) } else { Err(Failure::not_found("request")) }
        }
        Asker::LocalUser(_) => Err(Failure::not_found("request")),
    }
}

fn wait(text: Option<&str>) -> Result<Duration, Failure> {
    let Some(text) = text else { return Ok(Duration::ZERO) };
    let seconds = text.strip_suffix('s').filter(|n| !n.starts_with('0')).and_then(|n| n.parse::<u64>().ok());
    let most = accredit_authority::approvals::WAIT_MAX;
    seconds
        .filter(|s| (1..=most.as_secs()).contains(s))
        .map(Duration::from_secs)
        .ok_or_else(|| Failure::field("wait", "expected whole seconds from `1s` to `50s`"))
}

/// Shows a request, to operators and to the task that asked; waits for its answer where that is wanted
#[utoipa::path(get, path = "/v1/requests/{id}", tag = "requests", params(("id" = String, Path, description = "The request"), RequestQuery), responses((status = 200, body = ApprovalRequest)))]
pub(crate) async fn get(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    Params(query): Params<RequestQuery>,
) -> Result<Reply<ApprovalRequest>, Failure> {
    let wait = wait(query.wait.as_deref())?;
    let found = visible(&app, &asker, &id).await?;
    let authority = app.authority();
    let found = if wait.is_zero() { found } else { authority.wait_for_answer(&found.id, wait).await? };
    let compared = match &asker {
        Asker::Operator(_) => authority.so_far(&found).await?.map(so_far),
        Asker::Task(_) | Asker::LocalUser(_) => None,
    };
    Ok(Reply(ApprovalRequest { so_far: compared, ..wire(found, authority.now()) }))
}

/// Says yes to exactly what was shown
///
/// Whether the person may answer follows from policy and from who is involved, and is looked at again when the grant is
/// used.
#[utoipa::path(post, path = "/v1/requests/{id}/approve", tag = "requests", params(("id" = String, Path, description = "The request")), request_body = ApproveRequest, responses((status = 200, body = ApprovalRequest)))]
pub(crate) async fn approve(
    State(app): State<App>,
    By(by): By,
    Path(id): Path<String>,
    Json(body): Json<ApproveRequest>,
) -> Result<Reply<ApprovalRequest>, Failure> {
    let (digest, scope) = (digest(&body.digest)?, reach(body.scope));
    let reason = line_opt("reason", body.reason.as_deref())?;
    let passkey = match body.passkey {
        None => None,
        Some(used) => {
            let (purpose, used) = (passkeys::purpose(&id, digest, scope)?, passkeys::assertion(used)?);
            Some(app.authority().verify_passkey(&by, purpose, &used).await?)
        }
    };
    let answer = Answer::Approve { digest, scope, passkey };
    let request = app.authority().answer_request(&by, in_path("request", &id)?, answer, reason).await?;
    Ok(Reply(wire(request, app.authority().now())))
}

/// Says no
#[utoipa::path(post, path = "/v1/requests/{id}/deny", tag = "requests", params(("id" = String, Path, description = "The request")), request_body = CloseRequest, responses((status = 200, body = ApprovalRequest)))]
pub(crate) async fn deny(
    State(app): State<App>,
    By(by): By,
    Path(id): Path<String>,
    Json(body): Json<CloseRequest>,
) -> Result<Reply<ApprovalRequest>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    let request = app.authority().answer_request(&by, in_path("request", &id)?, Answer::Deny, reason).await?;
    Ok(Reply(wire(request, app.authority().now())))
}

/// Takes a request back, before it is used
///
/// For the task that asked, whoever granted it, and administrators. What a grant let out and still runs is cut.
#[utoipa::path(post, path = "/v1/requests/{id}/withdraw", tag = "requests", params(("id" = String, Path, description = "The request")), request_body = CloseRequest, responses((status = 200, body = ApprovalRequest)))]
pub(crate) async fn withdraw(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    Json(body): Json<CloseRequest>,
) -> Result<Reply<ApprovalRequest>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    let (authority, id) = (app.authority(), in_path("request", &id)?);
    let request = match &asker {
        Asker::Operator(by) => authority.withdraw_request(by, id, reason).await?.0,
        Asker::Task(caller) => authority.cancel_request(caller, id).await?,
        Asker::LocalUser(_) => return Err(Failure::not_found("request")),
    };
    Ok(Reply(wire(request, authority.now())))
}
