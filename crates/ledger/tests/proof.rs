//! Evidence for one entry: it verifies offline with the key alone, and for that entry alone.

use std::convert::Infallible;

use accredit_ledger::Hash;
use accredit_ledger::audit_path::ProofError;
use accredit_ledger::checkpoint::{Checkpoint, CheckpointError};
use accredit_ledger::entry::Entry;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::head::Head;
use accredit_ledger::note::{self, NoteError, Signer, VerifierKey};
use accredit_ledger::proof::{EVIDENCE_BYTES_MAX, Evidence, EvidenceError};
use accredit_ledger::tree::{append, inclusion_proof};
use proptest::prelude::*;
use serde_json::{Map, json};

const ORIGIN: &str = "accredit.example/ledger";

struct Log {
    entries: Vec<Vec<u8>>,
    checkpoint: String,
    keys: [VerifierKey; 1],
}

impl Log {
    fn of(count: u64) -> Self {
        let signer = Signer::from_seed(ORIGIN, &[5; 32]).expect("a good name and seed");
        let entries: Vec<_> = (0..count).map(entry).collect();
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let root = append(0, &leaves, |_| Ok::<_, Infallible>(None)).expect("nothing to read").root;
        let checkpoint = Checkpoint::new(ORIGIN, count, root).expect("a good origin");
        let checkpoint = checkpoint.sign(&signer).expect("own key");
        Self { entries, checkpoint, keys: [signer.verifier().clone()] }
    }

    fn path(&self, index: u64) -> Vec<Hash> {
        let leaves: Vec<Hash> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let tiles = append(0, &leaves, |_| Ok::<_, Infallible>(None)).expect("nothing to read").tiles;
        let read = |tile| Ok::<_, Infallible>(tiles.iter().find(|(t, _)| *t == tile).map(|(_, b)| b.clone()));
        inclusion_proof(index, leaves.len() as u64, read).expect("tiles are there")
    }

    fn evidence(&self, index: u64) -> Evidence {
        Evidence::new(self.entries[index as usize].clone(), index, self.path(index), self.checkpoint.clone())
    }
}

fn entry(number: u64) -> Vec<u8> {
    let body = Map::from_iter([("agent".to_owned(), json!(format!("agent-{number}")))]);
    let entry = Entry::new("agent.resumed", 1_760_000_000_000, "acme", body).expect("allowed");
    entry.encode().expect("small").into_bytes()
}

#[test]
fn evidence_proves_its_entry_from_one_file() {
    for size in [1, 2, 300] {
        let log = Log::of(size);
        for index in [0, size / 2, size - 1] {
            let text = log.evidence(index).encode();
            let evidence = Evidence::parse(&text).expect("what encode wrote");
            assert_eq!(evidence.encode(), text);
            let proved = evidence.verify(&log.keys).expect("in the log");
            assert_eq!((proved.index(), proved.checkpoint().size()), (index, size));
            assert_eq!(proved.entry().subject(), Some(format!("agent-{index}").as_str()));
        }
    }
}

// case: AUD-15
#[test]
fn evidence_of_one_entry_proves_no_other() {
    let log = Log::of(300);
    let other = Log::of(301);
    let (a, b) = (log.entries[41].clone(), log.entries[42].clone());
    let refused = |evidence: Evidence| evidence.verify(&log.keys).err();
    let root = Some(EvidenceError::Proof(ProofError::Root));
    let with = |entry: &[u8], index, path| Evidence::new(entry.to_vec(), index, path, log.checkpoint.clone());
    assert_eq!(refused(with(&b, 41, log.path(41))), root);
    assert_eq!(refused(with(&a, 42, log.path(41))), root);
    assert_eq!(refused(with(&a, 41, log.path(42))), root);
    assert_eq!(refused(with(&entry(9_999), 41, log.path(41))), root);
    assert_eq!(refused(with(&a, 300, log.path(41))), Some(EvidenceError::Proof(ProofError::OutOfRange)));
    assert_eq!(
        refused(with(&a, 41, log.path(41)[1..].to_vec())),
        Some(EvidenceError::Proof(ProofError::Length))
    );
    let elsewhere = Evidence::new(a.clone(), 41, log.path(41), other.checkpoint.clone());
    assert!(refused(elsewhere).is_some());
    assert!(log.evidence(41).verify_of(&a, &log.keys).is_ok());
    assert_eq!(log.evidence(41).verify_of(&b, &log.keys).err(), Some(EvidenceError::OtherEntry));
}

// case: AUD-15
#[test]
fn a_node_of_the_tree_is_not_an_entry() {
    // Two leaf hashes side by side hash to a node only with the node's own prefix, so they never pass as one entry.
    let log = Log::of(4);
    let leaves: Vec<Hash> = log.entries.iter().map(|entry| leaf_hash(entry)).collect();
    let fake = [leaves[0].as_bytes().as_slice(), leaves[1].as_bytes()].concat();
    let evidence = Evidence::new(fake, 0, log.path(0)[1..].to_vec(), log.checkpoint.clone());
    assert!(evidence.verify(&log.keys).is_err());
}

#[test]
fn evidence_needs_the_logs_own_key() {
    let log = Log::of(3);
    let stranger = Signer::from_seed(ORIGIN, &[6; 32]).expect("a good name and seed");
    let refused = log.evidence(1).verify(&[stranger.verifier().clone()]).err();
    assert_eq!(refused, Some(EvidenceError::Checkpoint(CheckpointError::Note(NoteError::Unsigned))));
}

// case: AUD-15
#[test]
fn every_changed_byte_of_the_file_is_noticed() {
    let log = Log::of(6);
    let text = log.evidence(3).encode();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let verified = Evidence::parse(&changed).and_then(|evidence| evidence.verify(&log.keys));
        assert!(verified.is_err(), "byte {at}");
    }
}

#[test]
fn malformed_evidence_is_refused() {
    let text = Log::of(6).evidence(3).encode();
    let twice = text.replacen("index 3\n", "index 3\nindex 3\n", 1);
    for other in [
        String::new(),
        text.replacen("@v1", "@v2", 1),
        text.replacen("extra ", "extra  ", 1),
        text.replacen("index 3", "index 03", 1),
        text.replacen("index 3", "index -3", 1),
        text.replacen("\n\n", "\n", 1).replacen("\n\n", "\n", 1),
        text.replacen('\n', "\r\n", 1),
        twice,
        text.lines().filter(|line| !line.starts_with("extra")).collect::<Vec<_>>().join("\n"),
        format!("{text}{}", "x".repeat(EVIDENCE_BYTES_MAX)),
    ] {
        assert_eq!(Evidence::parse(&other), Err(EvidenceError::Malformed), "{other:.80}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_a_reader_or_passes_as_evidence(at in any::<prop::sample::Index>(), length in 0_usize..60, put in "[\\PC\n]{0,12}") {
        let log = Log::of(3);
        let text = log.evidence(1).encode();
        let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let from = at.index(borders.len());
        let to = (from + length).min(borders.len() - 1);
        let spliced = [&text[..borders[from]], &put, &text[borders[to]..]].concat();
        let verified = Evidence::parse(&spliced).and_then(|evidence| evidence.verify(&log.keys));
        prop_assert_eq!(verified.is_ok(), spliced == text);
        prop_assert!(note::open(&spliced, &log.keys).is_err() || spliced == text);
        prop_assert!(Checkpoint::parse(&spliced).is_err());
        prop_assert!(Head::parse(&spliced).is_err());
        prop_assert!(VerifierKey::parse(&spliced).is_err());
    }
}
