//! The one judge of every run: evidence in, violations of the invariants I1 to I10 out.
//!
//! It looks at what clients were told, what the upstream did, what the ledger holds and what lay about
//! afterwards, never at what the system says of itself. It makes no evidence; unit, story and fault runs do.

mod actions; //  I1, I4, I8, I10: effects, revocations, promises and errors against the ledger
mod copy; //     the ledger as it lies in a stopped database
mod leaks; //    I2, I7: values where they must not be
mod replays; //  I3, I6: decisions made again, and held against their ancestors
mod trail; //    the entries, decoded and indexed
mod tree; //     I5: checkpoints over entries

use std::collections::BTreeMap;
use std::fmt;

use accredit_core::policy::PolicySources;
use serde::{Deserialize, Serialize};

use crate::canary::{Canary, Leak};
use crate::journal::Acknowledged;
use crate::sample::effects;

pub use copy::CopyError;

/// Longest that a stream may outlive the revocation of its task, in microseconds (I4: 1 s).
pub const STREAM_OUTLIVES_US: i64 = 1_000_000;

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An effect without an earlier durable entry of the same request.
    I1,
    /// A secret outside its own upstream.
    I2,
    /// An allow that does not come out as allow again.
    I3,
    /// An action after `revoke` has returned.
    I4,
    /// A ledger that does not verify, or an old checkpoint that is not a prefix.
    I5,
    /// A child whose authority exceeds an ancestor's.
    I6,
    /// A byte of one tenant at another.
    I7,
    /// An acknowledged write that is missing.
    I8,
    /// Something that grows without bound.
    I9,
    /// An error that ends in allow.
    I10,
}

/// One thing that must not have happened, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant it breaks.
    pub invariant: Invariant,
    /// What was found, in a sentence.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// One thing that the upstream did, as its own log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// When the upstream had read the request's head, in microseconds since 1970.
    pub at_us: i64,
    /// When it wrote the last byte of its answer, for answers that stream.
    #[serde(default)]
    pub ended_us: Option<i64>,
    /// Trace context of the request, whole.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// Method of the request.
    pub method: String,
    /// Path of the request, without query.
    pub path: String,
    /// Tenant whose upstream this is, where there is more than one.
    #[serde(default)]
    pub tenant: Option<String>,
}

impl Effect {
    /// What the sample service acted on, from its log: each with the end of its answer, where it was logged.
    #[must_use]
    pub fn of_log(lines: &[effects::Effect]) -> Vec<Self> {
        let us = |ns: u64| i64::try_from(ns / 1_000).unwrap_or(i64::MAX);
        let ends = lines.iter().filter(|line| line.event == effects::Event::Ended);
        let ends: BTreeMap<_, _> = ends.map(|line| (line.traceparent.as_deref(), us(line.ns))).collect();
        let acted = lines.iter().filter(|line| line.event == effects::Event::Acted);
        let of = |line: &effects::Effect| Self {
            at_us: us(line.ns),
            ended_us: line.traceparent.as_deref().and_then(|t| ends.get(&Some(t)).copied()),
            traceparent: line.traceparent.clone(),
            method: line.method.clone(),
            path: line.path.clone(),
            tenant: None,
        };
        acted.map(of).collect()
    }
}

/// One call of `revoke` that has returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When the answer was in the caller's hands, in microseconds since 1970.
    pub returned_us: i64,
    /// Tasks that are over.
    pub tasks: Vec<String>,
    /// The agent that is suspended.
    pub agent: Option<String>,
    /// The credential that is over.
    pub credential: Option<String>,
    /// What the answer itself called not over yet.
    pub pending: usize,
}

/// Bytes that were found somewhere: a file, an output, an environment, an answer.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where, for the report.
    pub name: String,
    /// Whose place it is; `None`: everybody's.
    pub tenant: Option<String>,
    /// What lay there.
    pub bytes: Vec<u8>,
}

/// The ledger with what its decisions were made from.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Bytes of the entries, in order, from the first.
    pub entries: Vec<Vec<u8>>,
    /// Texts of the facts, by digest in hexadecimal digits.
    pub facts: BTreeMap<String, String>,
    /// Policy sets, by digest in hexadecimal digits.
    pub policies: BTreeMap<String, PolicySources>,
}

/// One run of `audit verify` from outside.
#[derive(Debug, Clone)]
pub struct Verification {
    /// When, for the report.
    pub when: String,
    /// Whether it ended well.
    pub ok: bool,
    /// What it said.
    pub said: String,
}

/// A figure that may not grow.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured, with its unit.
    pub name: String,
    /// Before the load.
    pub before: u64,
    /// Afterwards, or the largest seen.
    pub after: u64,
    /// Largest growth that is not growth without bound.
    pub growth_max: u64,
}

/// Everything that is known about one run.
#[derive(Default)]
pub struct Evidence {
    /// What clients were told.
    pub journal: Vec<Acknowledged>,
    /// What the upstream did.
    pub effects: Vec<Effect>,
    /// What the ledger holds at the end.
    pub ledger: Ledger,
    /// Whether the run had come to rest: then each action has its second entry.
    pub at_rest: bool,
    /// Verifier keys of the ledger (C2SP signed-note).
    pub log_keys: Vec<String>,
    /// Signed checkpoints, in the order in which they were saved.
    pub checkpoints: Vec<String>,
    /// Runs of `audit verify`.
    pub verifications: Vec<Verification>,
    /// Revocations.
    pub revocations: Vec<Revocation>,
    /// How far the wall clocks of servers may be from that of the upstream, in milliseconds.
    pub clocks_apart_ms: i64,
    /// Longest way of a request that had left before a revocation to the moment when the upstream has read it, in
    /// microseconds: what the machine's scheduling costs, not the system.
    pub on_the_way_us: i64,
    /// Secret values.
    pub secrets: Vec<Canary>,
    /// Secrets that the run found while it ran, in processes and files.
    pub leaks: Vec<Leak>,
    /// Values that are no secrets, but one tenant's own: the tenant and the value.
    pub markers: Vec<(String, Canary)>,
    /// Where values were looked for.
    pub places: Vec<Place>,
    /// Figures that may not grow.
    pub figures: Vec<Figure>,
}

/// Holds the evidence against every invariant. Empty: nothing was found.
///
/// What the evidence does not hold cannot be missed in it: a run that scanned no place cannot show a leak.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Findings::default();
    let trail = trail::Trail::read(&evidence.ledger.entries, &mut found);
    actions::effects_were_recorded(evidence, &trail, &mut found);
    leaks::secrets_stay(evidence, &mut found);
    replays::allows_come_out_again(evidence, &trail, &mut found);
    actions::nothing_goes_out_after_revoke(evidence, &trail, &mut found);
    tree::checkpoints_are_prefixes(evidence, &mut found);
    replays::children_stay_within(evidence, &trail, &mut found);
    leaks::tenants_stay_apart(evidence, &trail, &mut found);
    actions::promises_are_kept(evidence, &trail, &mut found);
    nothing_grows(evidence, &mut found);
    actions::errors_deny(evidence, &trail, &mut found);
    found.0.sort_by_key(|v| v.invariant);
    found.0
}

/// I9.
fn nothing_grows(evidence: &Evidence, found: &mut Findings) {
    for Figure { name, before, after, growth_max } in &evidence.figures {
        if *after > before.saturating_add(*growth_max) {
            found.add(
                Invariant::I9,
                format!("{name} grew from {before} to {after}, by more than {growth_max}"),
            );
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, invariant: Invariant, what: impl Into<String>) {
        self.0.push(Violation { invariant, what: what.into() });
    }
}

#[cfg(test)]
mod tests;
