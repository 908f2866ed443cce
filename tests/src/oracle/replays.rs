//! I3 and I6: every allow is made again from what was recorded, and held against the ancestors of its task.

use std::collections::BTreeMap;

use accredit_core::action::{Action, Body, Call};
use accredit_core::digest::Digest;
use accredit_core::effect::Effect;
use accredit_core::facts::{Prepared, Usage};
use accredit_core::host::Endpoint;
use accredit_core::id::{AgentName, InstanceId, OperationName, ResourceName, TaskId, TenantName};
use accredit_core::policy::PolicySet;
use accredit_core::replay::{Answered, Inputs, RecordedCall, RecordedCaller, recorded_exact, replay};
use accredit_core::time::Timestamp;
use accredit_identity::key::Thumbprint;
use accredit_ledger::Entry;

use super::trail::{Trail, number};
use super::{Evidence, Findings, Invariant};

/// I3.
pub(super) fn allows_come_out_again(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    let mut sets = BTreeMap::new();
    for (hash, sources) in &evidence.ledger.policies {
        match PolicySet::compile(sources.clone()) {
            Ok(set) => drop(sets.insert(hash.as_str(), set)),
            Err(problems) => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                found.add(Invariant::I3, format!("the policy set {hash} does not compile: {first}"));
            }
        }
    }
    for placed in &trail.entries {
        let entry = &placed.entry;
        if entry.kind() == "action.decided"
            && entry.text("outcome") == Some("allow")
            && let Err(why) = again(entry, evidence, &sets)
        {
            found.add(Invariant::I3, format!("the allow of entry {} {why}", placed.place));
        }
    }
}

fn again(entry: &Entry, evidence: &Evidence, sets: &BTreeMap<&str, PolicySet>) -> Result<(), String> {
    let hash = entry.text("policy_set").ok_or("names no policy set")?;
    let set = sets.get(hash).ok_or_else(|| format!("rests on the policy set {hash}, which is gone"))?;
    let inputs = inputs(entry, evidence)?;
    let recorded = answered(entry)?;
    let replayed = replay(&inputs, &recorded, set).map_err(|e| format!("cannot be replayed: {e}"))?;
    match replayed.answered.outcome.as_str() {
        "allow" => Ok(()),
        other => Err(format!("comes out as {other} ({})", replayed.answered.code)),
    }
}

fn inputs(entry: &Entry, evidence: &Evidence) -> Result<Inputs, String> {
    let prepared = prepared(entry, evidence)?;
    let now = number(entry, "now").and_then(|ms| i64::try_from(ms).ok()).unwrap_or_else(|| entry.at());
    Ok(Inputs {
        facts: prepared.text().to_owned(),
        facts_digest: entry.text("facts").and_then(Digest::parse).ok_or("names no facts")?,
        caller: caller(entry)?,
        call: RecordedCall {
            endpoint: endpoint(entry)?,
            method: entry.text("method").unwrap_or_default().to_owned(),
            path: entry.text("path").unwrap_or_default().to_owned(),
            content_type: entry.text("content_type").map(str::to_owned),
            body_bytes: number(entry, "body_bytes"),
            exact: recorded_exact(
                digest(entry, "request_digest"),
                digest(entry, "body_digest"),
                number(entry, "body_bytes"),
            ),
        },
        usage: entry.text("usage").and_then(Usage::parse).ok_or("does not say what was used before")?,
        now: Timestamp::from_ms(now),
    })
}

fn digest(entry: &Entry, field: &str) -> Option<Digest> {
    entry.text(field).and_then(Digest::parse)
}

fn caller(entry: &Entry) -> Result<RecordedCaller, String> {
    let text = |field| entry.text(field).unwrap_or_default();
    let unnamed = |what: &str| format!("names no {what}");
    Ok(RecordedCaller {
        tenant: TenantName::parse(entry.tenant()).map_err(|_| unnamed("tenant"))?,
        agent: AgentName::parse(text("agent")).map_err(|_| unnamed("agent"))?,
        task: TaskId::parse(text("task")).map_err(|_| unnamed("task"))?,
        instance: InstanceId::parse(text("instance")).map_err(|_| unnamed("instance"))?,
        key: Thumbprint::parse(text("key")).map_err(|_| unnamed("key"))?,
    })
}

fn prepared(entry: &Entry, evidence: &Evidence) -> Result<Prepared, String> {
    let digest = entry.text("facts").ok_or("names no facts")?;
    let text = evidence
        .ledger
        .facts
        .get(digest)
        .ok_or_else(|| format!("rests on the facts {digest}, which are gone"))?;
    Prepared::from_text(text).map_err(|e| format!("rests on facts that cannot be read: {e}"))
}

fn endpoint(entry: &Entry) -> Result<Endpoint, String> {
    let text = |field| entry.text(field).unwrap_or_default();
    let host = match text("host") {
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let written = format!("{}://{host}:{}", text("scheme"), number(entry, "port").unwrap_or_default());
    Endpoint::parse(&written).map_err(|e| format!("went to `{written}`: {e}"))
}

fn answered(entry: &Entry) -> Result<Answered, String> {
    let text = |field| entry.text(field).map(str::to_owned);
    let policies = entry.body().get("policies").and_then(|p| p.as_array()).cloned().unwrap_or_default();
    Ok(Answered {
        outcome: text("outcome").unwrap_or_default(),
        code: text("code").unwrap_or_default(),
        policies: policies.iter().filter_map(|p| p.as_str()).map(str::to_owned).collect(),
        resource: entry.text("resource").and_then(|r| ResourceName::parse(r).ok()),
        operation: OperationName::parse(&text("operation").unwrap_or_default())
            .map_err(|_| "names no operation".to_owned())?,
        effect: entry.text("effect").and_then(Effect::parse),
        grant: number(entry, "grant").and_then(|g| usize::try_from(g).ok()),
    })
}

/// I6: at the instant of an allow, every ancestor was alive, held a grant for the same action, and had not been ended
/// by an earlier entry.
pub(super) fn children_stay_within(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    for placed in trail.decided().filter(|p| p.entry.text("outcome") == Some("allow")) {
        let chain = placed.entry.body().get("chain").and_then(|c| c.as_array()).cloned().unwrap_or_default();
        for ancestor in chain.iter().filter_map(|a| a.as_str()) {
            if let Some(ended) = trail.ended(ancestor).filter(|ended| *ended < placed.place) {
                let place = placed.place;
                found.add(
                    Invariant::I6,
                    format!("entry {place} allows under `{ancestor}`, ended by entry {ended}"),
                );
            }
        }
        if let Ok(prepared) = prepared(&placed.entry, evidence)
            && let Some(why) = exceeds(&placed.entry, &prepared)
        {
            found.add(Invariant::I6, format!("entry {} allows beyond an ancestor: {why}", placed.place));
        }
    }
}

fn exceeds(entry: &Entry, prepared: &Prepared) -> Option<String> {
    let now = Timestamp::from_ms(entry.at());
    let endpoint = endpoint(entry).ok()?;
    let call = Call {
        endpoint,
        method: entry.text("method")?.to_owned(),
        path: entry.text("path")?.to_owned(),
        sent_path: None,
        query: None,
        head: Digest::from_bytes([0; 32]),
        content_type: None,
        body_bytes: None,
        body: Body::Streamed,
        query_shown: None,
        traceparent: String::new(),
    };
    let facts = prepared.facts();
    let action = Action::new(call, facts.target.as_ref().map(|t| &t.resource));
    let asked = action.asked()?;
    facts.chain.iter().skip(1).find_map(|link| {
        let task = &link.task;
        if let Err(why) = task.active_at(now) {
            return Some(format!("`{}`: {why}", task.id));
        }
        let covered = task.boundary.delegable.iter().any(|grant| grant.covers(&asked));
        (!covered).then(|| format!("`{}` may not hand down {} {}", task.id, asked.method, asked.path))
    })
}
