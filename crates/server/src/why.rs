//! `GET /v1/why/{id}`: a decision, a request or a task, explained by deciding again.

use accredit_api::why::{Replay, ReplayResult, Why, WhyDecision, WhyIdentity, WhyPolicy};
use accredit_authority::why::{Explained, Replayed, Subject};
use accredit_core::decision::Outcome;
use accredit_core::time::Timestamp;
use axum::Json as Reply;
use axum::extract::{Path, State};

use crate::access::By;
use crate::app::App;
use crate::problem::Failure;
use crate::{requests, tasks, uses};

fn subject(id: &str) -> Option<Subject> {
    let decision = id.parse().ok().map(Subject::Decision);
    decision.or_else(|| id.parse().ok().map(Subject::Request)).or_else(|| id.parse().ok().map(Subject::Task))
}

fn wire(explained: Explained, now: Timestamp) -> WhyDecision {
    let Explained { used, approval, facts, replay } = explained;
    let text = |field: &str| used.text(field).unwrap_or_default().to_owned();
    let of_facts =
        |get: fn(&accredit_authority::why::RestsOn) -> String| facts.as_ref().map(get).unwrap_or_default();
    let identity = WhyIdentity {
        agent: text("agent"),
        kind: of_facts(|f| f.kind.to_owned()),
        environment: of_facts(|f| f.environment.clone()),
        owner: of_facts(|f| f.owner.clone()),
        instance: text("instance"),
        attestation: text("attestation"),
        key: of_facts(|f| f.key.clone()),
    };
    let grant = facts.as_ref().and_then(|f| f.grant.clone());
    let policies = match facts {
        Some(facts) => facts.policies,
        None => used.list("policies").into_iter().map(|id| (id, None)).collect(),
    };
    WhyDecision {
        identity,
        chain: used.list("chain"),
        grant,
        policies: policies.into_iter().map(|(id, text)| WhyPolicy { id, text }).collect(),
        errors: used.list("errors"),
        policy_set: text("policy_set"),
        facts: text("facts"),
        secret_version: used.number("secret_version"),
        request: used.text("request").map(str::to_owned),
        approval: approval.map(|request| requests::wire(request, now)),
        replay: wire_replay(replay),
        used: uses::wire(&used),
    }
}

fn wire_replay(replay: Replayed) -> Replay {
    let with = |result, outcome: &Outcome, detail: Option<String>| {
        let refusal = outcome.refusal();
        Replay {
            result,
            outcome: Some(uses::outcome(outcome)),
            code: Some(refusal.map_or("allowed", |r| r.code.as_str()).to_owned()),
            detail: detail.or_else(|| refusal.map(|r| r.detail.clone())),
            next_step: refusal.map(|r| r.next_step.clone()),
        }
    };
    match replay {
        Replayed::Same(outcome) => with(ReplayResult::Same, &outcome, None),
        Replayed::Different(outcome, differences) => {
            with(ReplayResult::Different, &outcome, Some(differences))
        }
        Replayed::Impossible(why) => Replay {
            result: ReplayResult::Impossible,
            outcome: None,
            code: None,
            detail: Some(why),
            next_step: None,
        },
    }
}

/// Explains a decision, a request or a task
///
/// Every decision is made again from what was recorded of it, and compared.
#[utoipa::path(get, path = "/v1/why/{id}", tag = "audit", params(("id" = String, Path, description = "A decision, a request or a task")), responses((status = 200, body = Why)))]
pub(crate) async fn why(
    State(app): State<App>,
    _: By,
    Path(id): Path<String>,
) -> Result<Reply<Why>, Failure> {
    let subject = subject(&id).ok_or_else(|| Failure::not_found("decision"))?;
    let found = app.authority().why(subject).await?;
    let now = app.authority().now();
    Ok(Reply(Why {
        subject: id,
        task: tasks::wire(&found.task, now),
        above: found.above.iter().map(|task| tasks::wire(task, now)).collect(),
        request: found.request.map(|r| requests::wire(r, now)),
        decisions: found.decisions.into_iter().map(|one| wire(one, now)).collect(),
    }))
}
