//! `accredit why`: one decision on one screen, replayed from what was recorded.

use accredit_api::why::{Replay, ReplayResult, Why, WhyDecision};
use accredit_client::routes;
use clap::Args;

use super::credential::{decision, outcome};
use super::operator::Operator;
use super::request::sentence;
use super::{Context, or_dash, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A decision (d_…), a request (r_…) or a task (t_…)
    id: String,
}

/// Runs the command. A record that does not replay to itself is an error.
pub(crate) async fn run(args: WhyArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    let why: Why = operator.get(&routes::one(routes::WHY, &args.id)).await?;
    context.out.one(&why, lines)?;
    let differs = why.decisions.iter().any(|d| d.replay.result == ReplayResult::Different);
    Ok(if differs { Exit::Error } else { Exit::Ok })
}

fn lines(why: &Why) -> Vec<Line> {
    if let ([only], None) = (why.decisions.as_slice(), &why.request) {
        return one_decision(why, only);
    }
    let mut lines = super::task::lines(&why.task);
    if let Some(request) = &why.request {
        lines.extend(super::request::lines(request));
    }
    let summary = |d: &WhyDecision| {
        let used = &d.used;
        let policies = if used.policies.is_empty() { used.code.clone() } else { used.policies.join(" ") };
        format!(
            "{}  {}  {} {}{}  {}  {policies}  {}  replay: {}",
            when::show(&used.time),
            used.decision,
            used.method,
            used.host,
            used.path,
            decision(used),
            outcome(used),
            word(&d.replay.result),
        )
    };
    lines.extend(why.decisions.iter().map(|d| ("decision", summary(d))));
    if why.decisions.is_empty() {
        lines.push(("decisions", "none: nothing was asked for yet".to_owned()));
    }
    lines
}

/// Identity, task, rule, credential, upstream, replay: in the order in which they were looked at.
fn one_decision(why: &Why, made: &WhyDecision) -> Vec<Line> {
    let (used, identity, task) = (&made.used, &made.identity, &why.task);
    let mut lines = vec![
        ("decision", format!("{}  {}  ({})", used.decision, decision(used), used.code)),
        ("when", format!("{}   ledger entry {}", when::show(&used.time), used.entry)),
        ("request", format!("{} {}{}", used.method, used.host, used.path)),
        (
            "identity",
            format!(
                "{} ({}, {}) instance {}, proved by {}",
                identity.agent, identity.kind, identity.environment, identity.instance, identity.attestation
            ),
        ),
        ("owner", identity.owner.clone()),
        ("key", identity.key.clone()),
        ("task", format!("{} \"{}\"", task.id, task.purpose)),
        ("workflow", or_dash(task.workflow.as_deref())),
        ("asked by", or_dash(task.requested_by.as_deref())),
    ];
    for above in &why.above {
        lines.push(("under", format!("{} \"{}\" of {}", above.id, above.purpose, above.agent)));
    }
    let effect = used.effect.as_deref().unwrap_or("no effect known");
    lines
        .push(("resource", format!("{} · {} ({effect})", or_dash(used.resource.as_deref()), used.operation)));
    lines.push((
        "boundary",
        made.grant.clone().unwrap_or_else(|| "no grant of the task covers it".to_owned()),
    ));
    lines.push(("policy set", made.policy_set.clone()));
    for policy in &made.policies {
        let text = policy.text.as_deref().unwrap_or("(its text is no longer kept)");
        lines.push(("policy", format!("{}\n{text}", policy.id)));
    }
    lines.extend(made.errors.iter().map(|e| ("could not evaluate", e.clone())));
    if let Some(credential) = &used.credential {
        let version = made.secret_version.map_or_else(String::new, |v| format!(", value version {v}"));
        lines.push(("credential", format!("{credential}{version}")));
    }
    if let Some(request) = &made.approval {
        let yes = request.yes.iter().map(|yes| {
            let how = if yes.passkey { " by passkey" } else { "" };
            ("approved by", format!("{} {}{how} ({})", yes.by, when::show(&yes.at), sentence(yes.scope)))
        });
        lines.extend(yes);
        lines.push(("asked as", format!("accredit request show {}", request.id)));
    }
    if let Some(request) = &made.request {
        lines.push(("waits for", format!("accredit request show {request}")));
    }
    lines.push(("outcome", outcome(used)));
    lines.push(("facts", made.facts.clone()));
    lines.push(("replay", replay(&made.replay)));
    if let Some(next) = &made.replay.next_step {
        lines.push(("next", next.clone()));
    }
    lines
}

fn replay(replay: &Replay) -> String {
    let said = replay.detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default();
    match replay.result {
        ReplayResult::Same => format!("same answer from the recorded inputs{said}"),
        ReplayResult::Different => {
            let now = replay.outcome.map(|o| word(&o)).unwrap_or_default();
            format!("DIFFERENT: the recorded inputs now give {now}{said}")
        }
        ReplayResult::Impossible => format!("impossible: the inputs are no longer at hand{said}"),
    }
}
