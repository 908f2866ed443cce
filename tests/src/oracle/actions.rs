//! I1, I4, I8 and I10: effects, revocations, promises and errors, each held against the ledger.

use std::collections::{BTreeMap, BTreeSet};

use super::trail::{Placed, Trail, trace_id, went_on};
use super::{Effect, Evidence, Findings, Invariant, STREAM_OUTLIVES_US};
use crate::journal::What;

/// I1: each effect has one earlier entry that let exactly this request go on, and no entry stands for two effects.
pub(super) fn effects_were_recorded(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    let mut used = BTreeSet::new();
    for effect in &evidence.effects {
        let name = named(effect);
        let Some(behind) = behind(effect, trail) else {
            found.add(Invariant::I1, format!("{name}: no entry says that it was decided"));
            continue;
        };
        if let Some(why) = differs(effect, behind, evidence.clocks_apart_ms) {
            found.add(Invariant::I1, format!("{name}: entry {} is of another request: {why}", behind.place));
        }
        if !used.insert(behind.place) {
            found.add(Invariant::I1, format!("{name}: entry {} stands for an earlier effect", behind.place));
        }
    }
    second_entries(evidence, trail, found);
}

fn behind<'t>(effect: &Effect, trail: &'t Trail) -> Option<&'t Placed> {
    trail.behind(effect.traceparent.as_deref()?)
}

fn named(effect: &Effect) -> String {
    let trace = effect.traceparent.as_deref().unwrap_or("no trace context");
    format!("effect {} {} ({trace})", effect.method, effect.path)
}

fn differs(effect: &Effect, behind: &Placed, clocks_apart_ms: i64) -> Option<String> {
    let entry = &behind.entry;
    let sent_path = entry.text("sent_path").or_else(|| entry.text("path")).unwrap_or_default();
    let method = entry.text("method").unwrap_or_default();
    if (method, sent_path) != (effect.method.as_str(), effect.path.as_str()) {
        return Some(format!("{method} {sent_path}"));
    }
    if entry.text("request_digest").is_none() {
        return Some("it carries no digest of a request".to_owned());
    }
    if !went_on(entry) {
        return Some(format!("it says {}", entry.text("outcome").unwrap_or_default()));
    }
    // The ledger counts milliseconds; the effect may lie in the same one.
    (entry.at() > effect.at_us / 1_000 + clocks_apart_ms).then(|| "it is later than the effect".to_owned())
}

/// Each action that went on has exactly one second entry, and nothing else has one.
fn second_entries(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    for decided in trail.decided() {
        let id = decided.entry.subject().unwrap_or_default();
        let (outcomes, may) = (trail.settled(id).count(), usize::from(went_on(&decided.entry)));
        if outcomes > may || (evidence.at_rest && outcomes < may) {
            found.add(Invariant::I1, format!("the action `{id}` has {outcomes} outcomes, {may} expected"));
        }
    }
    for settled in trail.settlements() {
        let id = settled.entry.subject().unwrap_or_default();
        if trail.decision(id).is_none_or(|decided| decided.place > settled.place) {
            found.add(
                Invariant::I1,
                format!("entry {} settles `{id}`, which was not decided before", settled.place),
            );
        }
    }
}

/// I4: in the ledger's own order, no action of an ended task goes on; by the clock, no effect comes after the
/// revocation has returned, and no stream outlives it by more than [`STREAM_OUTLIVES_US`].
pub(super) fn nothing_goes_out_after_revoke(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    for decided in trail.decided().filter(|d| went_on(&d.entry)) {
        let task = decided.entry.text("task").unwrap_or_default();
        if let Some(ended) = trail.ended(task).filter(|ended| *ended < decided.place) {
            let place = decided.place;
            found
                .add(Invariant::I4, format!("entry {place} lets `{task}` go on, entry {ended} had ended it"));
        }
    }
    suspended_agents_do_nothing(trail, found);
    let over = Over::of(evidence);
    for effect in &evidence.effects {
        let Some(returned_us) = behind(effect, trail).and_then(|decided| over.when(decided)) else {
            continue;
        };
        let late_us = effect.at_us - returned_us - evidence.on_the_way_us;
        if late_us > 0 {
            found.add(Invariant::I4, format!("{} came {late_us} us after its revocation", named(effect)));
        }
        let outlived_us = effect.ended_us.map_or(0, |ended| ended - returned_us);
        if outlived_us > STREAM_OUTLIVES_US {
            found
                .add(Invariant::I4, format!("{} outlived its revocation by {outlived_us} us", named(effect)));
        }
    }
}

/// I4, in the ledger's own order: no task of an agent starts and no action goes on between its suspension and its
/// resumption.
fn suspended_agents_do_nothing(trail: &Trail, found: &mut Findings) {
    let mut suspended = BTreeMap::new();
    for Placed { place, entry } in &trail.entries {
        let agent = entry.text("agent").unwrap_or_default();
        let acts = match entry.kind() {
            "agent.suspended" => {
                suspended.insert(agent, *place);
                false
            }
            "agent.resumed" => {
                suspended.remove(agent);
                false
            }
            "task.started" => true,
            "action.decided" => went_on(entry),
            _ => false,
        };
        if let Some(since) = suspended.get(agent).filter(|_| acts) {
            let what = entry.kind();
            found.add(
                Invariant::I4,
                format!("entry {place} is `{what}` of `{agent}`, whom entry {since} had suspended"),
            );
        }
    }
}

/// When each agent, task and credential was over for whoever asked for it.
#[derive(Default)]
struct Over<'e> {
    agents: BTreeMap<&'e str, i64>,
    tasks: BTreeMap<&'e str, i64>,
    credentials: BTreeMap<&'e str, i64>,
}

impl<'e> Over<'e> {
    fn of(evidence: &'e Evidence) -> Self {
        let mut over = Self::default();
        let note = |map: &mut BTreeMap<&'e str, i64>, name: &'e str, at: i64| {
            map.entry(name).and_modify(|first| *first = at.min(*first)).or_insert(at);
        };
        for revocation in &evidence.revocations {
            for task in &revocation.tasks {
                note(&mut over.tasks, task, revocation.returned_us);
            }
            if let Some(agent) = &revocation.agent {
                note(&mut over.agents, agent, revocation.returned_us);
            }
            if let Some(credential) = &revocation.credential {
                note(&mut over.credentials, credential, revocation.returned_us);
            }
        }
        over
    }

    fn when(&self, decided: &Placed) -> Option<i64> {
        let agent = decided.entry.text("agent").and_then(|a| self.agents.get(a));
        let task = decided.entry.text("task").and_then(|t| self.tasks.get(t));
        let credential = decided.entry.text("credential").and_then(|c| self.credentials.get(c));
        agent.into_iter().chain(task).chain(credential).min().copied()
    }
}

/// I8: whatever a client was told is in the ledger.
pub(super) fn promises_are_kept(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    let written: BTreeSet<(&str, &str)> =
        trail.entries.iter().filter_map(|p| Some((p.entry.kind(), p.entry.subject()?))).collect();
    for promise in &evidence.journal {
        let missing = match &promise.what {
            What::Used { trace, status } => trail
                .of_trace(trace)
                .all(|d| !went_on(&d.entry))
                .then(|| format!("an answer with status {status} to trace {trace}")),
            What::Refused { decision: Some(id), code, .. } => {
                trail.decision(id).is_none().then(|| format!("the refusal `{code}` of decision `{id}`"))
            }
            What::Refused { decision: None, .. } => None,
            What::Changed { kind, subject } => (!written.contains(&(kind.as_str(), subject.as_str())))
                .then(|| format!("`{kind}` of `{subject}`")),
        };
        if let Some(missing) = missing {
            found
                .add(Invariant::I8, format!("a client was told of {missing}; the ledger has no entry of it"));
        }
    }
}

/// I10: nothing that went wrong has let anything out.
pub(super) fn errors_deny(evidence: &Evidence, trail: &Trail, found: &mut Findings) {
    for decided in trail.decided().filter(|d| d.entry.text("outcome") == Some("allow")) {
        let errors = decided.entry.body().get("errors").and_then(|e| e.as_array()).map_or(0, Vec::len);
        let code = decided.entry.text("code").unwrap_or_default();
        if errors > 0 || code != "allowed" {
            let place = decided.place;
            found.add(Invariant::I10, format!("entry {place} allows with code `{code}` and {errors} errors"));
        }
    }
    let traces = evidence.effects.iter().filter_map(|e| Some((trace_id(e.traceparent.as_deref()?)?, e)));
    let effects: BTreeMap<&str, &Effect> = traces.collect();
    for promise in &evidence.journal {
        let What::Refused { trace, code, .. } = &promise.what else { continue };
        if let Some(effect) = effects.get(trace.as_str()) {
            found.add(Invariant::I10, format!("{} happened, and was refused as `{code}`", named(effect)));
        }
    }
}
