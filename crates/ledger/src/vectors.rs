//! Test vectors for any implementation of this ledger: entries, trees, notes, checkpoints, evidence, as JSON.
//!
//! Made from fixed inputs by this implementation; `tests/vectors.rs` compares them with the files that are checked in,
//! and a second implementation verifies those files. The keys here are known to everyone: they sign nothing else.

mod witness; // cosignatures and a witness's answers

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::Serialize;
use serde_json::{Value, json};

use crate::checkpoint::Checkpoint;
use crate::entry::Entry;
use crate::hash::{Hash, leaf_hash};
use crate::head::Head;
use crate::note::Signer;
use crate::proof::Evidence;
use crate::text::neutralise;
use crate::tile::{Bundle, Tile};
use crate::tree::{append, consistency_proof, inclusion_proof, root_at};

const ORIGIN: &str = "vectors.accredit.example/ledger";
const SEED: [u8; 32] = [7; 32];
const MADE: &str = "vectors are made of allowed values";

/// Every vector file: its name and its text.
#[must_use]
pub fn generate() -> Vec<(&'static str, String)> {
    vec![
        ("text.json", pretty(&texts())),
        ("entry.json", pretty(&entries())),
        ("tree.json", pretty(&tree())),
        ("tile.json", pretty(&tiles())),
        ("note.json", pretty(&note())),
        ("checkpoint.json", pretty(&checkpoint())),
        ("proof.json", pretty(&proof())),
        ("ledger.json", pretty(&ledger())),
        ("cosignature.json", pretty(&witness::cosignature())),
        ("witness.json", pretty(&witness::answers())),
    ]
}

fn pretty(value: &impl Serialize) -> String {
    // Structs keep the order of their fields and maps are sorted, so the text does not depend on how serde_json is built.
    serde_json::to_string_pretty(value).expect("strings, numbers and lists serialise") + "\n"
}

#[derive(Serialize)]
struct TextVector {
    text: &'static str,
    cap_bytes: usize,
    safe: String,
}

fn texts() -> Vec<TextVector> {
    let made = |text: &'static str| TextVector { text, cap_bytes: 64, safe: neutralise(text, 64) };
    [
        "rotate the keys, then deploy",
        "déjà vu 完了",
        "a\nb\r\u{0}",
        "\u{1b}[31mred",
        "x\u{2028}y\u{2029}",
        "\u{202e}txt.exe\u{2066}",
        "\\u{202e}",
        "C:\\users",
        "all…(cut)",
        "0123456789012345678901234567890123456789012345678901234567890123",
        "0123456789012345678901234567890123456789012345678901234567890123+",
        "ééééééééééééééééééééééééééééééééééééééé",
    ]
    .map(made)
    .into()
}

#[derive(Serialize)]
struct EntryVectors {
    accepted: Vec<EntryVector>,
    refused: Vec<&'static str>,
}

#[derive(Serialize)]
struct EntryVector {
    kind: &'static str,
    at: i64,
    tenant: &'static str,
    body: BTreeMap<&'static str, Value>,
    encoded: String,
    leaf_hash: String,
}

impl EntryVector {
    fn new(kind: &'static str, at: i64, body: BTreeMap<&'static str, Value>) -> Self {
        let tenant = "acme";
        let fields = body.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let encoded = Entry::new(kind, at, tenant, fields).and_then(|entry| entry.encode()).expect(MADE);
        let leaf_hash = encoded.leaf_hash().to_string();
        let encoded = String::from_utf8(encoded.into_bytes()).expect("JSON is UTF-8");
        Self { kind, at, tenant, body, encoded, leaf_hash }
    }
}

fn entries() -> EntryVectors {
    let accepted = vec![
        EntryVector::new("vault.unsealed", 0, BTreeMap::new()),
        EntryVector::new("task.started", 1_760_000_000_000, started(0)),
        EntryVector::new("action.decided", 1_760_000_000_001, decided(0)),
        EntryVector::new("action.settled", 1_760_000_000_057, settled(0)),
        EntryVector::new(
            "task.ended",
            9_007_199_254_740_992,
            BTreeMap::from([
                ("task", json!("t_vector")),
                ("outcome", json!("completed")),
                ("reason", json!("line one\nline two \u{202e}\"quoted\"\\ é 完")),
            ]),
        ),
    ];
    let refused = vec![
        r#"{"at":1,"body":{},"kind":"vault.unsealed","tenant":"acme","v":2}"#,
        r#"{"at":1,"body":{},"kind":"vault.unsealed","tenant":"acme","v":1} "#,
        r#"{"at":1,"body":{},"kind":"vault.unsealed","v":1,"tenant":"acme"}"#,
        r#"{"at":1.0,"body":{},"kind":"vault.unsealed","tenant":"acme","v":1}"#,
        r#"{"at":1,"body":{},"kind":"vault.opened","tenant":"acme","v":1}"#,
        r#"{"at":1,"body":{"colour":"red"},"kind":"vault.unsealed","tenant":"acme","v":1}"#,
        r#"{"at":1,"body":{"secrets":"3"},"kind":"vault.unsealed","tenant":"acme","v":1}"#,
        r#"{"at":1,"body":{"by":"a\nb"},"kind":"vault.unsealed","tenant":"acme","v":1}"#,
        r#"{"at":1,"body":{"by":null},"kind":"vault.unsealed","tenant":"acme","v":1}"#,
        r#"{"at":1,"body":{"outcome":"allow"},"kind":"action.decided","tenant":"acme","v":1}"#,
        r#"{"at":1,"body":{},"kind":"vault.unsealed","tenant":"ac me","v":1}"#,
    ];
    EntryVectors { accepted, refused }
}

fn started(number: u64) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("task", json!(format!("t_vector{number}"))),
        ("agent", json!("deployer")),
        ("purpose", json!("rotate the keys")),
        ("workflow", json!("OPS-12")),
        ("requested_by", json!("ana")),
        ("expires_at", json!(1_760_000_900_000_i64)),
    ])
}

fn decided(number: u64) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("decision", json!(format!("d_vector{number}"))),
        ("agent", json!("deployer")),
        ("task", json!("t_vector0")),
        ("chain", json!(["t_vector0"])),
        ("operation", json!("github/issues.create")),
        ("effect", json!("write")),
        ("method", json!("POST")),
        ("host", json!("api.github.example")),
        ("port", json!(443)),
        ("path", json!("/repos/a/b/issues")),
        ("request_digest", json!("a".repeat(64))),
        ("outcome", json!("allow")),
        ("enforced", json!(true)),
        ("policies", json!(["github-write"])),
        ("errors", json!([])),
        ("code", Value::Null),
        ("now", json!(1_760_000_000_001_i64)),
    ])
}

fn settled(number: u64) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("decision", json!(format!("d_vector{number}"))),
        ("outcome", json!("done")),
        ("status", json!(201)),
        ("duration_ms", json!(56)),
    ])
}

#[derive(Serialize)]
struct TreeVectors {
    /// Leaf number `i` is the text `leaf <i>`.
    leaves: u64,
    roots: Vec<RootVector>,
    inclusion: Vec<InclusionVector>,
    consistency: Vec<ConsistencyVector>,
}

#[derive(Serialize)]
struct RootVector {
    size: u64,
    root: String,
}

#[derive(Serialize)]
struct InclusionVector {
    index: u64,
    size: u64,
    path: Vec<String>,
}

#[derive(Serialize)]
struct ConsistencyVector {
    old: u64,
    size: u64,
    path: Vec<String>,
}

/// A tree and its tiles.
struct Built {
    size: u64,
    root: Hash,
    tiles: Vec<(Tile, Vec<u8>)>,
}

impl Built {
    fn of<'e>(entries: impl Iterator<Item = &'e [u8]>) -> Self {
        let leaves: Vec<Hash> = entries.map(leaf_hash).collect();
        let appended = append(0, &leaves, |_| Ok::<_, Infallible>(None)).expect("an empty tree has no tiles");
        Self { size: appended.size, root: appended.root, tiles: appended.tiles }
    }

    fn read(&self, asked: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        let same = |tile: Tile| (tile.level(), tile.index()) == (asked.level(), asked.index());
        Ok(self.tiles.iter().find(|(tile, _)| same(*tile)).map(|(_, bytes)| bytes.clone()))
    }

    fn root_at(&self, size: u64) -> Hash {
        root_at(size, self.size, |tile| self.read(tile)).expect(MADE)
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        inclusion_proof(index, size, |tile| self.read(tile)).expect(MADE)
    }
}

fn tree() -> TreeVectors {
    let leaves: Vec<String> = (0..600).map(|i| format!("leaf {i}")).collect();
    let built = Built::of(leaves.iter().map(String::as_bytes));
    let hex = |path: Vec<Hash>| path.iter().map(Hash::to_string).collect();
    let sizes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 256, 257, 511, 512, 513, 600];
    let inclusion = [(0, 1), (0, 7), (4, 7), (6, 7), (255, 256), (256, 257), (3, 600), (599, 600)];
    let consistency = [(1, 2), (3, 7), (4, 7), (6, 7), (256, 257), (255, 600), (512, 600), (599, 600)];
    TreeVectors {
        leaves: 600,
        roots: sizes.map(|size| RootVector { size, root: built.root_at(size).to_string() }).into(),
        inclusion: inclusion
            .map(|(index, size)| InclusionVector { index, size, path: hex(built.inclusion(index, size)) })
            .into(),
        consistency: consistency
            .map(|(old, size)| {
                let path = consistency_proof(old, size, |tile| built.read(tile)).expect(MADE);
                ConsistencyVector { old, size, path: hex(path) }
            })
            .into(),
    }
}

#[derive(Serialize)]
struct TileVectors {
    tiles: Vec<TileVector>,
    bundles: Vec<BundleVector>,
}

#[derive(Serialize)]
struct TileVector {
    level: u8,
    index: u64,
    width: u16,
    path: String,
}

#[derive(Serialize)]
struct BundleVector {
    index: u64,
    path: String,
    entries: [&'static str; 3],
    bytes: String,
}

fn tiles() -> TileVectors {
    let tile = |(level, index, width)| {
        let path = Tile::new(level, index, width).expect(MADE).path();
        TileVector { level, index, width, path }
    };
    let entries = ["one", "", "three"];
    let mut bytes = Vec::new();
    for entry in entries {
        Bundle::append(&mut bytes, entry.as_bytes()).expect(MADE);
    }
    let bundle = Bundle::new(1_234_067, 3).expect(MADE);
    let bytes = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    TileVectors {
        tiles: [(0, 0, 256), (0, 1_234_067, 256), (0, 273, 112), (1, 1, 17), (2, 0, 1), (63, 1000, 255)]
            .map(tile)
            .into(),
        bundles: vec![BundleVector { index: bundle.index(), path: bundle.path(), entries, bytes }],
    }
}

#[derive(Serialize)]
struct NoteVectors {
    name: &'static str,
    seed: String,
    verifier_key: String,
    text: &'static str,
    signed: String,
    refused: Vec<String>,
}

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &SEED).expect(MADE)
}

fn note() -> NoteVectors {
    let text = "A note has\n\nany lines, and é.\n";
    let signed = signer().sign(text).expect(MADE);
    let stranger = Signer::from_seed(ORIGIN, &[8; 32]).expect(MADE);
    let refused = vec![
        signed.replacen("any", "some", 1),
        signed.replacen("\u{2014} ", "- ", 1),
        signed.trim_end().to_owned(),
        stranger.sign(text).expect(MADE),
        text.to_owned(),
    ];
    let seed = SEED.map(|byte| format!("{byte:02x}")).concat();
    NoteVectors { name: ORIGIN, seed, verifier_key: signer().verifier().to_string(), text, signed, refused }
}

#[derive(Serialize)]
struct CheckpointVectors {
    verifier_key: String,
    origin: &'static str,
    size: u64,
    root: String,
    signed: String,
    refused: Vec<String>,
}

fn checkpoint() -> CheckpointVectors {
    let root = leaf_hash(b"root");
    let size = 70_000;
    let signed = Checkpoint::new(ORIGIN, size, root).and_then(|c| c.sign(&signer())).expect(MADE);
    let text = |size: &str, root: &str| signer().sign(&format!("{ORIGIN}\n{size}\n{root}\n")).expect(MADE);
    let refused = vec![
        signed.replacen("70000", "70001", 1),
        text("070000", &root.to_base64()),
        text("-1", &root.to_base64()),
        text("9007199254740992", &root.to_base64()),
        text("1", root.to_base64().trim_end_matches('=')),
        text("0", &root.to_base64()),
        signer().sign(&format!("other.example\n1\n{}\n", root.to_base64())).expect(MADE),
        signer().sign(&format!("{ORIGIN}\n1\n")).expect(MADE),
    ];
    let verifier_key = signer().verifier().to_string();
    CheckpointVectors { verifier_key, origin: ORIGIN, size, root: root.to_string(), signed, refused }
}

#[derive(Serialize)]
struct ProofVectors {
    verifier_key: String,
    accepted: Vec<ProofVector>,
    refused: Vec<String>,
}

#[derive(Serialize)]
struct ProofVector {
    index: u64,
    size: u64,
    entry: String,
    evidence: String,
}

fn stream() -> Vec<String> {
    let mut entries = vec![EntryVector::new("task.started", 1_760_000_000_000, started(0)).encoded];
    for number in 0..10 {
        let at = 1_760_000_000_001 + 100 * number as i64;
        entries.push(EntryVector::new("action.decided", at, decided(number)).encoded);
        entries.push(EntryVector::new("action.settled", at + 56, settled(number)).encoded);
    }
    entries
}

fn sign(size: u64, root: Hash) -> String {
    Checkpoint::new(ORIGIN, size, root).and_then(|checkpoint| checkpoint.sign(&signer())).expect(MADE)
}

fn proof() -> ProofVectors {
    let entries = stream();
    let built = Built::of(entries.iter().map(String::as_bytes));
    let signed = sign(built.size, built.root);
    let evidence = |entry: &str, index: u64, of: u64| {
        Evidence::new(entry.into(), index, built.inclusion(of, built.size), signed.clone()).encode()
    };
    let accepted = [0, 11, 20].map(|index| {
        let entry = entries[index as usize].clone();
        ProofVector { index, size: built.size, evidence: evidence(&entry, index, index), entry }
    });
    let good = evidence(&entries[11], 11, 11);
    let refused = vec![
        evidence(&entries[12], 11, 11),
        evidence(&entries[11], 12, 11),
        evidence(&entries[11], 11, 12),
        evidence(&entries[11], 31, 11),
        evidence("not an entry", 11, 11),
        good.replacen("index 11", "index 011", 1),
        good.replacen("\n21\n", "\n22\n", 1),
        good.replacen("@v1", "@v2", 1),
    ];
    ProofVectors { verifier_key: signer().verifier().to_string(), accepted: accepted.into(), refused }
}

#[derive(Serialize)]
struct LedgerVectors {
    verifier_key: String,
    entries: Vec<String>,
    checkpoints: Vec<String>,
    latest: String,
    head: String,
}

fn ledger() -> LedgerVectors {
    let entries = stream();
    let built = Built::of(entries.iter().map(String::as_bytes));
    let head = Head::new(ORIGIN, 0, 17, built.root_at(17)).expect(MADE).encode();
    LedgerVectors {
        verifier_key: signer().verifier().to_string(),
        checkpoints: [1, 8, 13].map(|size| sign(size, built.root_at(size))).into(),
        latest: sign(built.size, built.root),
        head,
        entries,
    }
}
