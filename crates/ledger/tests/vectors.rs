//! The checked-in vectors are those that this implementation makes, and it reads them as it says.

use accredit_ledger::checkpoint;
use accredit_ledger::cosignature;
use accredit_ledger::entry::Entry;
use accredit_ledger::hash::{Hash, leaf_hash};
use accredit_ledger::head::Head;
use accredit_ledger::note::{self, Cosigner, CosignerKey, Signer, VerifierKey};
use accredit_ledger::proof::Evidence;
use accredit_ledger::tree::RightEdge;
use accredit_ledger::vectors;
use accredit_ledger::witness::AddCheckpoint;
use serde_json::Value;

const CHECKED_IN: [(&str, &str); 10] = [
    ("text.json", include_str!("../../../vectors/ledger/text.json")),
    ("entry.json", include_str!("../../../vectors/ledger/entry.json")),
    ("tree.json", include_str!("../../../vectors/ledger/tree.json")),
    ("tile.json", include_str!("../../../vectors/ledger/tile.json")),
    ("note.json", include_str!("../../../vectors/ledger/note.json")),
    ("checkpoint.json", include_str!("../../../vectors/ledger/checkpoint.json")),
    ("proof.json", include_str!("../../../vectors/ledger/proof.json")),
    ("ledger.json", include_str!("../../../vectors/ledger/ledger.json")),
    ("cosignature.json", include_str!("../../../vectors/ledger/cosignature.json")),
    ("witness.json", include_str!("../../../vectors/ledger/witness.json")),
];

fn vector(name: &str) -> Value {
    let text = CHECKED_IN.iter().find(|(file, _)| *file == name).expect("a vector of this name").1;
    serde_json::from_str(text).expect("a vector is JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn key(vector: &Value) -> [VerifierKey; 1] {
    [VerifierKey::parse(text(&vector["verifier_key"])).expect("a verifier key")]
}

/// To write them anew: `cargo run -p accredit-ledger --example write_vectors -- vectors/ledger`.
#[test]
fn checked_in_vectors_are_those_made_now() {
    let made = vectors::generate();
    assert_eq!(made.len(), CHECKED_IN.len());
    for ((name, made), (file, checked_in)) in made.iter().zip(CHECKED_IN) {
        assert_eq!(*name, file);
        assert!(*made == checked_in, "{file} differs from what is made now");
    }
}

#[test]
fn entries_encode_decode_and_refuse_as_stated() {
    let vector = vector("entry.json");
    for case in list(&vector["accepted"]) {
        let body = case["body"].as_object().expect("a body").clone();
        let at = case["at"].as_i64().expect("a time");
        let entry = Entry::new(text(&case["kind"]), at, text(&case["tenant"]), body).expect("allowed");
        let encoded = entry.encode().expect("small");
        assert_eq!(encoded.as_bytes(), text(&case["encoded"]).as_bytes());
        assert_eq!(encoded.leaf_hash().to_string(), text(&case["leaf_hash"]));
        assert!(Entry::decode(encoded.as_bytes()).is_ok());
    }
    for bytes in list(&vector["refused"]) {
        assert!(Entry::decode(text(bytes).as_bytes()).is_err(), "{bytes}");
    }
}

#[test]
fn notes_and_checkpoints_open_and_refuse_as_stated() {
    let vector_note = vector("note.json");
    let signer = Signer::from_seed(text(&vector_note["name"]), &[7; 32]).expect("a good name and seed");
    assert_eq!(signer.sign(text(&vector_note["text"])).as_deref(), Ok(text(&vector_note["signed"])));
    for signed in list(&vector_note["refused"]) {
        assert!(note::open(text(signed), &key(&vector_note)).is_err(), "{signed}");
    }
    let vector = vector("checkpoint.json");
    let opened = checkpoint::open(text(&vector["signed"]), &key(&vector)).expect("signed by the log");
    assert_eq!(opened.root().to_string(), text(&vector["root"]));
    assert_eq!(Some(opened.size()), vector["size"].as_u64());
    for signed in list(&vector["refused"]) {
        assert!(checkpoint::open(text(signed), &key(&vector)).is_err(), "{signed}");
    }
}

// case: AUD-15
#[test]
fn evidence_proves_and_refuses_as_stated() {
    let vector = vector("proof.json");
    for case in list(&vector["accepted"]) {
        let evidence = Evidence::parse(text(&case["evidence"])).expect("well formed");
        let proved = evidence.verify_of(text(&case["entry"]).as_bytes(), &key(&vector)).expect("in the log");
        assert_eq!(Some(proved.index()), case["index"].as_u64());
    }
    for evidence in list(&vector["refused"]) {
        let verified = Evidence::parse(text(evidence)).and_then(|e| e.verify(&key(&vector)));
        assert!(verified.is_err(), "{evidence}");
    }
}

#[test]
fn the_ledger_has_the_roots_of_its_signed_heads() {
    let vector = vector("ledger.json");
    let root_at = |size: u64| -> Hash {
        let mut edge = RightEdge::empty();
        for entry in &list(&vector["entries"])[..size as usize] {
            edge.push(leaf_hash(text(entry).as_bytes()), |_, _| ());
        }
        edge.root()
    };
    for signed in list(&vector["checkpoints"]).iter().chain([&vector["latest"]]) {
        let opened = checkpoint::open(text(signed), &key(&vector)).expect("signed by the log");
        assert_eq!(root_at(opened.size()), *opened.root());
    }
    let head = Head::parse(text(&vector["head"])).expect("a head");
    assert_eq!(root_at(head.size()), *head.root());
}

#[test]
fn cosignatures_are_made_found_and_refused_as_stated() {
    let vector = vector("cosignature.json");
    let known = [CosignerKey::parse(text(&vector["cosigner_key"])).expect("a cosigner's key")];
    let signed = text(&vector["signed"]);
    let opened = checkpoint::open(signed, &key(&vector)).expect("signed by the log");
    let found = cosignature::on_note(&opened, signed, &known).expect("cosigned");
    assert_eq!(found.len(), 1);
    let cosigner = Cosigner::from_seed(known[0].name(), &[9; 32]).expect("a good name and seed");
    let time_s = vector["time_s"].as_u64().expect("a time");
    assert_eq!(cosigner.cosign(&opened, time_s).as_ref(), Ok(&found[0]));
    for signed in list(&vector["refused"]) {
        let found = cosignature::on_note(&opened, text(signed), &known);
        assert!(found.is_err() || found == Ok(vec![]), "{signed}");
    }
}

// case: AUD-06, AUD-07
#[test]
fn a_witness_answers_as_stated() {
    let vector = vector("witness.json");
    let entries = list(&vector["entries"]);
    for case in list(&vector["cases"]) {
        let last = case["last"].as_u64().map(|size| {
            let mut edge = RightEdge::empty();
            for entry in &entries[..size as usize] {
                edge.push(leaf_hash(text(entry).as_bytes()), |_, _| ());
            }
            checkpoint::Checkpoint::new(key(&vector)[0].name(), size, edge.root()).expect("a checkpoint")
        });
        let request = AddCheckpoint::parse(text(&case["request"]));
        let answer = request.and_then(|request| {
            let follows = request.identify(&key(&vector))?.follow(last.as_ref())?;
            assert_eq!(request.encode(), text(&case["request"]), "one request has one text");
            Ok(follows.checkpoint().size())
        });
        let status = answer.map_or_else(|refusal| refusal.status(), |_| 200);
        assert_eq!(Some(u64::from(status)), case["status"].as_u64(), "{}", case["name"]);
    }
}
