//! Vectors of cosignatures and of what a witness answers, case by case.

use serde::Serialize;

use super::{Built, MADE, ORIGIN, sign, signer, stream};
use crate::checkpoint::{self, Checkpoint};
use crate::cosignature::Cosignature;
use crate::hash::{Hash, leaf_hash};
use crate::note::{Cosigner, Signer};
use crate::tree::consistency_proof;
use crate::witness::{AddCheckpoint, Refusal};

const WITNESS: &str = "witness.vectors.accredit.example/w1";
const WITNESS_SEED: [u8; 32] = [9; 32];
const TIME_S: u64 = 1_760_000_000;

#[derive(Serialize)]
pub(super) struct CosignatureVectors {
    verifier_key: String,
    seed: String,
    cosigner_key: String,
    time_s: u64,
    /// The checkpoint with its log's signature and the cosignature.
    signed: String,
    refused: Vec<String>,
}

pub(super) fn cosignature() -> CosignatureVectors {
    let built = Built::of(stream().iter().map(String::as_bytes));
    let (head, other) = (head(built.size, built.root), head(built.size, leaf_hash(b"another root")));
    let note = sign(built.size, built.root);
    let line = cosign(&head, TIME_S).line().to_owned();
    let later = cosign(&head, TIME_S + 1);
    let seed = WITNESS_SEED.map(|byte| format!("{byte:02x}")).concat();
    CosignatureVectors {
        verifier_key: signer().verifier().to_string(),
        seed,
        cosigner_key: witness().verifier().to_string(),
        time_s: TIME_S,
        refused: vec![
            format!("{note}{}", cosign(&other, TIME_S).line()),
            format!("{note}{}{line}", cosign(&other, TIME_S).line()),
            // Of the same key, and so of the same id, but made for another time.
            format!("{note}{}", swap_time(later.line(), &line)),
            note.clone(),
            format!("{note}{}", line.trim_end()),
        ],
        signed: format!("{note}{line}"),
    }
}

/// A cosignature line with the time of another.
fn swap_time(line: &str, time_of: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let bytes = |line: &str| {
        let (_, material) = line.trim_end().rsplit_once(' ').expect(MADE);
        STANDARD.decode(material).expect(MADE)
    };
    let (mut material, other) = (bytes(line), bytes(time_of));
    material[4..12].copy_from_slice(&other[4..12]);
    format!("\u{2014} {WITNESS} {}\n", STANDARD.encode(material))
}

#[derive(Serialize)]
pub(super) struct WitnessVectors {
    verifier_key: String,
    entries: Vec<String>,
    cases: Vec<WitnessVector>,
}

#[derive(Serialize)]
struct WitnessVector {
    name: &'static str,
    /// Entries of the checkpoint cosigned last, `null` before the first.
    last: Option<u64>,
    request: String,
    /// The status of the answer; 200 is a cosignature.
    status: u16,
}

pub(super) fn answers() -> WitnessVectors {
    let entries = stream();
    let built = Built::of(entries.iter().map(String::as_bytes));
    let proof = |old: u64, size: u64| consistency_proof(old, size, |tile| built.read(tile)).expect(MADE);
    let at = |size: u64| sign(size, built.root_at(size));
    let ask = |old: u64, proof: Vec<Hash>, signed: String| AddCheckpoint::new(old, proof, signed).encode();
    let case = |name, last: Option<u64>, request: String| {
        let kept = last.map(|size| head(size, built.root_at(size)));
        let status = answer(&request, kept.as_ref()).map_or_else(|refusal| refusal.status(), |()| 200);
        WitnessVector { name, last, request, status }
    };
    let stranger = Signer::from_seed(ORIGIN, &[8; 32]).expect(MADE);
    let elsewhere = Signer::from_seed("other.example/log", &[8; 32]).expect(MADE);
    let of = |signer: &Signer, size: u64| {
        let head = Checkpoint::new(signer.verifier().name(), size, built.root_at(size));
        head.and_then(|head| head.sign(signer)).expect(MADE)
    };
    let good = ask(8, proof(8, 13), at(13));
    let cases = vec![
        case("the first checkpoint", None, ask(0, vec![], at(8))),
        case("the first checkpoint needs no proof", None, ask(0, proof(3, 8), at(8))),
        case("a checkpoint that follows", Some(8), good.clone()),
        case("the same checkpoint again", Some(13), ask(13, vec![], at(13))),
        case("an old size behind", Some(13), good.clone()),
        case("an old size ahead", Some(3), good.clone()),
        case("a checkpoint from before, with its own size as the old one", Some(13), ask(8, vec![], at(8))),
        case("nothing is known and an old size is claimed", None, good.clone()),
        case(
            "a known log of which something is known, asked as for the first time",
            Some(8),
            ask(0, vec![], at(13)),
        ),
        case("an old size above the checkpoint", Some(13), ask(13, vec![], at(8))),
        case("another root at the same size", Some(13), ask(13, vec![], sign(13, leaf_hash(b"fork")))),
        case("another history", Some(8), ask(8, proof(8, 13), sign(13, leaf_hash(b"fork")))),
        case("a proof of other sizes", Some(8), ask(8, proof(5, 13), at(13))),
        case("a proof that is cut short", Some(8), ask(8, vec![], at(13))),
        case("a log that nobody named", Some(8), ask(8, proof(8, 13), of(&elsewhere, 13))),
        case("a key that nobody named", Some(8), ask(8, proof(8, 13), of(&stranger, 13))),
        case("a changed checkpoint", Some(8), good.replacen("\n13\n", "\n14\n", 1)),
        case("an old size with a leading zero", Some(8), good.replacen("old 8", "old 08", 1)),
        case("no old size", Some(8), good.replacen("old 8\n", "", 1)),
        case("no empty line", Some(8), good.replacen("\n\n", "\n", 1)),
        case("more lines of proof than allowed", Some(8), ask(8, vec![leaf_hash(b"x"); 64], at(13))),
        case("as many lines of proof as allowed", Some(8), ask(8, vec![leaf_hash(b"x"); 63], at(13))),
        case("a hash in another spelling", Some(8), good.replacen("=\n", "\n", 1)),
    ];
    WitnessVectors { verifier_key: signer().verifier().to_string(), entries, cases }
}

fn answer(request: &str, last: Option<&Checkpoint>) -> Result<(), Refusal> {
    let request = AddCheckpoint::parse(request)?;
    request.identify(&[signer().verifier().clone()])?.follow(last).map(|_| ())
}

fn head(size: u64, root: Hash) -> Checkpoint {
    let signed = sign(size, root);
    let opened = checkpoint::open(&signed, &[signer().verifier().clone()]).expect(MADE);
    Checkpoint::clone(&opened)
}

fn witness() -> Cosigner {
    Cosigner::from_seed(WITNESS, &WITNESS_SEED).expect(MADE)
}

fn cosign(head: &Checkpoint, time_s: u64) -> Cosignature {
    witness().cosign(head, time_s).expect(MADE)
}
