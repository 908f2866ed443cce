//! The entries of the ledger, decoded, with the two entries of each action brought together.

use std::collections::BTreeMap;

use accredit_ledger::Entry;

use super::{Findings, Invariant};

/// One entry and its place.
pub(super) struct Placed {
    pub(super) place: usize,
    pub(super) entry: Entry,
}

/// The entries of one run.
pub(super) struct Trail {
    pub(super) entries: Vec<Placed>,
    /// `action.decided` by whole trace context. A context that stands twice keeps its first entry.
    by_traceparent: BTreeMap<String, usize>,
    /// `action.decided` by trace id.
    by_trace: BTreeMap<String, Vec<usize>>,
    /// `action.decided` by decision.
    by_decision: BTreeMap<String, usize>,
    /// `action.settled` by decision.
    settled: BTreeMap<String, Vec<usize>>,
    /// Places of the entries that ended a task.
    ended: BTreeMap<String, usize>,
}

impl Trail {
    /// Decodes every entry. One that does not decode is a violation of I5 and is left out.
    pub(super) fn read(entries: &[Vec<u8>], found: &mut Findings) -> Self {
        let mut trail = Self {
            entries: Vec::with_capacity(entries.len()),
            by_traceparent: BTreeMap::new(),
            by_trace: BTreeMap::new(),
            by_decision: BTreeMap::new(),
            settled: BTreeMap::new(),
            ended: BTreeMap::new(),
        };
        for (place, bytes) in entries.iter().enumerate() {
            match Entry::decode(bytes) {
                Ok(entry) => trail.add(Placed { place, entry }, found),
                Err(error) => found.add(Invariant::I5, format!("entry {place} is none: {error}")),
            }
        }
        trail
    }

    fn add(&mut self, placed: Placed, found: &mut Findings) {
        let at = self.entries.len();
        let subject = placed.entry.subject().unwrap_or_default().to_owned();
        match placed.entry.kind() {
            "action.decided" => {
                if self.by_decision.insert(subject.clone(), at).is_some() {
                    found.add(Invariant::I1, format!("the decision `{subject}` was recorded twice"));
                }
                if let Some(traceparent) = placed.entry.text("traceparent") {
                    self.by_traceparent.entry(traceparent.to_owned()).or_insert(at);
                    let trace = trace_id(traceparent).unwrap_or_default().to_owned();
                    self.by_trace.entry(trace).or_default().push(at);
                }
            }
            "action.settled" => self.settled.entry(subject).or_default().push(at),
            "task.ended" => {
                self.ended.entry(subject).or_insert(placed.place);
            }
            _ => {}
        }
        self.entries.push(placed);
    }

    /// Every `action.decided`, in order.
    pub(super) fn decided(&self) -> impl Iterator<Item = &Placed> {
        self.entries.iter().filter(|p| p.entry.kind() == "action.decided")
    }

    /// The decision behind the request with this trace context.
    pub(super) fn behind(&self, traceparent: &str) -> Option<&Placed> {
        self.by_traceparent.get(traceparent).map(|at| &self.entries[*at])
    }

    /// The decisions about requests with this trace id.
    pub(super) fn of_trace(&self, trace: &str) -> impl Iterator<Item = &Placed> {
        self.by_trace.get(trace).into_iter().flatten().map(|at| &self.entries[*at])
    }

    /// The decision with this id.
    pub(super) fn decision(&self, id: &str) -> Option<&Placed> {
        self.by_decision.get(id).map(|at| &self.entries[*at])
    }

    /// How the action of this decision ended: its second entries.
    pub(super) fn settled(&self, decision: &str) -> impl Iterator<Item = &Placed> {
        self.settled.get(decision).into_iter().flatten().map(|at| &self.entries[*at])
    }

    /// Every second entry, in order.
    pub(super) fn settlements(&self) -> impl Iterator<Item = &Placed> {
        self.entries.iter().filter(|p| p.entry.kind() == "action.settled")
    }

    /// Place of the entry that ended this task.
    pub(super) fn ended(&self, task: &str) -> Option<usize> {
        self.ended.get(task).copied()
    }
}

/// The trace id of a trace context.
pub(super) fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

/// Whether the action of this `action.decided` was let go on.
pub(super) fn went_on(entry: &Entry) -> bool {
    let allowed = entry.text("outcome") == Some("allow");
    allowed || entry.body().get("enforced").and_then(serde_json::Value::as_bool) == Some(false)
}

/// A number of an entry.
pub(super) fn number(entry: &Entry, field: &str) -> Option<u64> {
    entry.body().get(field)?.as_u64()
}
