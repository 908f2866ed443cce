//! Uses and who-can on the wire.

use accredit_api::uses::{Could, CouldAnswer, Outcome, Use};
use accredit_authority::policies;
use accredit_authority::uses_report;
use accredit_core::decision;
use accredit_core::effect::Effect;
use accredit_core::task::TaskState;

pub(crate) fn wire(used: &uses_report::Use) -> Use {
    let text = |field: &str| used.text(field).unwrap_or_default().to_owned();
    let opt = |field: &str| used.text(field).map(str::to_owned);
    Use {
        decision: text("decision"),
        entry: used.seq,
        time: used.at().to_string(),
        agent: text("agent"),
        instance: text("instance"),
        task: text("task"),
        purpose: text("purpose"),
        workflow: opt("workflow"),
        requested_by: opt("requested_by"),
        approval: opt("approval"),
        approved_by: used.list("approved_by"),
        resource: opt("resource"),
        credential: opt("credential"),
        operation: text("operation"),
        effect: opt("effect"),
        method: text("method"),
        host: text("host"),
        path: text("path"),
        outcome: recorded(used.text("outcome")),
        code: text("code"),
        enforced: used.enforced(),
        policies: used.list("policies"),
        settled: used.settled().map(str::to_owned),
        status: used.settled_number("status").and_then(|n| u16::try_from(n).ok()),
        request_bytes: used.settled_number("request_bytes"),
        response_bytes: used.settled_number("response_bytes"),
        duration_ms: used.settled_number("duration_ms"),
    }
}

/// The outcome as it stands in an entry; the ledger has no other words.
pub(crate) fn recorded(word: Option<&str>) -> Outcome {
    match word {
        Some("allow") => Outcome::Allow,
        Some("ask") => Outcome::Ask,
        _ => Outcome::Deny,
    }
}

pub(crate) const fn outcome(outcome: &decision::Outcome) -> Outcome {
    match outcome {
        decision::Outcome::Allow => Outcome::Allow,
        decision::Outcome::Ask(..) => Outcome::Ask,
        decision::Outcome::Deny(_) => Outcome::Deny,
    }
}

pub(crate) fn could(could: policies::Could) -> Could {
    let expires_at = match &could.task.state {
        TaskState::Active { expires_at, .. } => expires_at.to_string(),
        TaskState::Proposed | TaskState::Ended { .. } => could.task.proposed_at.to_string(),
    };
    let answer = |(tried, answer): (String, accredit_core::policy::situation::Answer)| CouldAnswer {
        effect: effect_of(&tried),
        outcome: outcome(&answer.outcome),
        code: answer.code().to_owned(),
        policies: answer.grounds.policies,
    };
    Could {
        agent: could.task.agent.to_string(),
        task: could.task.id.to_string(),
        purpose: could.task.purpose.to_string(),
        grants: could.grants,
        answers: could.answers.into_iter().map(answer).collect(),
        expires_at,
    }
}

fn effect_of(tried: &str) -> String {
    let method = tried.split(' ').next().unwrap_or_default();
    Effect::of_method(method).map_or_else(|| "unknown".to_owned(), |e| e.to_string())
}
