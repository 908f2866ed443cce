//! I5: every checkpoint that was ever saved is a head of the entries that are there now.

use accredit_ledger::checkpoint;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::note::VerifierKey;
use accredit_ledger::tree::RightEdge;

use super::{Evidence, Findings, Invariant};

pub(super) fn checkpoints_are_prefixes(evidence: &Evidence, found: &mut Findings) {
    for run in evidence.verifications.iter().filter(|run| !run.ok) {
        found.add(Invariant::I5, format!("`audit verify` {}: {}", run.when, run.said));
    }
    let mut keys = Vec::new();
    for text in &evidence.log_keys {
        match VerifierKey::parse(text) {
            Ok(key) => keys.push(key),
            Err(error) => found.add(Invariant::I5, format!("the verifier key `{text}` is none: {error}")),
        }
    }
    let mut heads = Vec::new();
    let mut before = 0;
    for (nth, note) in evidence.checkpoints.iter().enumerate() {
        let signed = match checkpoint::open(note, &keys) {
            Ok(signed) => signed,
            Err(error) => {
                found.add(Invariant::I5, format!("checkpoint {nth} is refused: {error}"));
                continue;
            }
        };
        if signed.size() < before {
            let size = signed.size();
            found.add(Invariant::I5, format!("checkpoint {nth} has {size} entries, the one before {before}"));
        }
        before = signed.size();
        heads.push((nth, signed));
    }
    heads.sort_by_key(|(_, signed)| signed.size());
    let mut edge = RightEdge::empty();
    let mut entries = evidence.ledger.entries.iter();
    for (nth, signed) in heads {
        while edge.size() < signed.size() {
            let Some(entry) = entries.next() else { break };
            edge.push(leaf_hash(entry), |_, _| {});
        }
        if edge.size() < signed.size() {
            let (size, have) = (signed.size(), edge.size());
            found.add(Invariant::I5, format!("checkpoint {nth} has {size} entries, the ledger only {have}"));
        } else if edge.root() != *signed.root() {
            found
                .add(Invariant::I5, format!("checkpoint {nth} of {} entries is not a prefix", signed.size()));
        }
    }
}
