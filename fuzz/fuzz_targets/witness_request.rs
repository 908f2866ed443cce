//! Requests to a witness: text is either refused or is exactly what encoding writes, and nothing that was not signed by
//! the one known log is cosigned.

#![no_main]

use accredit_ledger::note::VerifierKey;
use accredit_ledger::witness::AddCheckpoint;
use libfuzzer_sys::fuzz_target;

/// Of the vectors, whose secret half is published: the seeds are signed with it.
const LOG: &str = "vectors.accredit.example/ledger+df9d13ae+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";

fuzz_target!(|text: &str| {
    let Ok(request) = AddCheckpoint::parse(text) else { return };
    assert_eq!(request.encode(), text);
    let log = VerifierKey::parse(LOG).expect("a verifier key");
    let Ok(submitted) = request.identify(std::slice::from_ref(&log)) else { return };
    assert_eq!(submitted.checkpoint().origin(), log.name());
    let _ = submitted.follow(None);
});
