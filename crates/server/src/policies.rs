//! Policy sets over HTTP.

use accredit_api::Problem;
use accredit_api::policy::{
    ApplyPolicies, AskWhoCan, CheckPolicies, PolicyCheck, PolicyFile, PolicyProblem, PolicyReplay, PolicySet,
    ReplayChange, ReplayPolicies,
};
use accredit_api::uses::WhoCan;
use accredit_authority::policies::{Applied, Checked};
use accredit_core::digest::Digest;
use accredit_core::policy::problem::PolicyProblem as Found;
use accredit_core::policy::{self, PolicySource};
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::access::By;
use crate::app::App;
use crate::extract::{Json, moment, parsed};
use crate::problem::Failure;
use crate::uses;

/// Characters of the longest method: that of grants.
const METHOD_CHARS_MAX: usize = 20;
/// Characters of the longest path that is asked about.
const PATH_CHARS_MAX: usize = 2048;

fn wire(set: &policy::PolicySet, head: bool) -> PolicySet {
    PolicySet {
        hash: set.digest().to_string(),
        head,
        files: set
            .sources()
            .iter()
            .map(|s| PolicyFile { name: s.name.clone(), text: s.text.clone() })
            .collect(),
        policies: set.rules().map(|r| r.id().to_owned()).collect(),
    }
}

fn problem(found: &Found) -> PolicyProblem {
    PolicyProblem {
        file: Some(found.file.clone()).filter(|f| !f.is_empty()),
        line: Some(found.line),
        column: Some(found.column),
        message: found.message.clone(),
        help: found.help.clone(),
    }
}

fn bad(problems: &[Found]) -> PolicyCheck {
    let problems = problems.iter().map(problem).collect();
    PolicyCheck { ok: false, hash: None, policies: Vec::new(), problems, warnings: Vec::new() }
}

fn sources(files: Vec<PolicyFile>) -> Vec<PolicySource> {
    files.into_iter().map(|f| PolicySource { name: f.name, text: f.text }).collect()
}

/// Shows the policy set in force
#[utoipa::path(get, path = "/v1/policies", tag = "policies", responses((status = 200, body = PolicySet)))]
pub(crate) async fn head(State(app): State<App>, _: By) -> Result<Reply<PolicySet>, Failure> {
    Ok(Reply(wire(&*app.authority().policy_in_force().await?, true)))
}

/// Shows a policy set that is or was in force
#[utoipa::path(get, path = "/v1/policies/{hash}", tag = "policies", params(("hash" = String, Path, description = "SHA-256 of the set")), responses((status = 200, body = PolicySet)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(hash): Path<String>,
) -> Result<Reply<PolicySet>, Failure> {
    let hash = Digest::parse(&hash).ok_or_else(|| Failure::not_found("policy"))?;
    let set = app.authority().kept_policy(hash).await?;
    let head = app.authority().policy_in_force().await?.digest() == hash;
    Ok(Reply(wire(&set, head)))
}

/// Checks a policy set without applying it
#[utoipa::path(post, path = "/v1/policies/check", tag = "policies", request_body = CheckPolicies, responses((status = 200, body = PolicyCheck)))]
pub(crate) async fn check(
    State(app): State<App>,
    _: By,
    Json(body): Json<CheckPolicies>,
) -> Result<Reply<PolicyCheck>, Failure> {
    Ok(Reply(match app.authority().check_policies(sources(body.files)).await? {
        Checked::Bad(problems) => bad(&problems),
        Checked::Good(set) => PolicyCheck {
            ok: true,
            hash: Some(set.digest().to_string()),
            policies: set.rules().map(|r| r.id().to_owned()).collect(),
            problems: Vec::new(),
            warnings: set.warnings().iter().map(problem).collect(),
        },
    }))
}

/// Puts a policy set in force
///
/// Nothing is applied when another set is in force than expected (409), or when the set has problems (422).
#[utoipa::path(put, path = "/v1/policies", tag = "policies", request_body = ApplyPolicies, responses((status = 200, body = PolicySet), (status = 422, description = "What is wrong with the set, or that the files are none", content((PolicyCheck = "application/json"), (Problem = "application/problem+json")))))]
pub(crate) async fn apply(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<ApplyPolicies>,
) -> Result<Response, Failure> {
    let expected = body.expected_head.as_deref().map(|h| {
        Digest::parse(h)
            .ok_or_else(|| Failure::field("expected_head", "expected 64 lower-case hexadecimal digits"))
    });
    let applied = app.authority().apply_policies(&by, sources(body.files), expected.transpose()?).await?;
    Ok(match applied {
        Applied::InForce(set) => Reply(wire(&set, true)).into_response(),
        Applied::Bad(problems) => (StatusCode::UNPROCESSABLE_ENTITY, Reply(bad(&problems))).into_response(),
    })
}

/// Tries a policy set against recorded decisions
#[utoipa::path(post, path = "/v1/policies/replay", tag = "policies", request_body = ReplayPolicies, responses((status = 200, body = PolicyReplay)))]
pub(crate) async fn replay(
    State(app): State<App>,
    _: By,
    Json(body): Json<ReplayPolicies>,
) -> Result<Reply<PolicyReplay>, Failure> {
    let since = moment("since", &body.since)?;
    let found = app.authority().replay_policies(sources(body.files), since).await?;
    let change = |c: accredit_authority::policies::ReplayChange| {
        let text = |field: &str| c.used.text(field).unwrap_or_default().to_owned();
        ReplayChange {
            decision: text("decision"),
            time: c.used.at().to_string(),
            agent: text("agent"),
            task: text("task"),
            resource: c.used.text("resource").map(str::to_owned),
            method: text("method"),
            path: text("path"),
            was: uses::recorded(c.used.text("outcome")),
            would_be: uses::outcome(&c.would_be),
            policies: c.policies,
        }
    };
    Ok(Reply(PolicyReplay {
        examined: found.examined,
        same: found.same,
        not_replayed: found.not_replayed,
        changed: found.changed.into_iter().map(change).collect(),
        cut: found.cut,
    }))
}

fn is_method(text: &str) -> bool {
    (1..=METHOD_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase())
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= PATH_CHARS_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Lists which live tasks could make a request now
#[utoipa::path(post, path = "/v1/policies/who-can", tag = "policies", request_body = AskWhoCan, responses((status = 200, body = WhoCan)))]
pub(crate) async fn who_can(
    State(app): State<App>,
    _: By,
    Json(body): Json<AskWhoCan>,
) -> Result<Reply<WhoCan>, Failure> {
    let resource = parsed("resource", &body.resource)?;
    if !is_method(&body.method) {
        return Err(Failure::field("method", format!("expected 1 to {METHOD_CHARS_MAX} capital letters")));
    }
    if !is_path(&body.path) {
        return Err(Failure::field(
            "path",
            format!("expected `/` and at most {PATH_CHARS_MAX} visible ASCII characters"),
        ));
    }
    let found = app.authority().who_can(resource, vec![(body.method, body.path)]).await?;
    Ok(Reply(WhoCan { resource: body.resource, items: found.into_iter().map(uses::could).collect() }))
}
