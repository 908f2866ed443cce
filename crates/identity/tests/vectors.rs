//! The checked-in vectors are what the code makes of their texts.
#![allow(clippy::disallowed_methods, reason = "reads the files that it compares; the crate itself does not")]

use std::path::Path;

use accredit_identity::vectors::{Verdict, generate};
use serde_json::Value;

// case: TOK-01, TOK-02, TOK-03, TOK-06, TOK-07, TOK-10, TOK-18
#[test]
fn every_vector_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/identity");
    for (file, anew) in generate().expect("files of their form") {
        let present = std::fs::read_to_string(folder.join(file)).expect("a file that is checked in");
        assert_eq!(present, anew, "{file}: run `cargo xtask vectors` and look at the difference");
    }
}

#[test]
fn every_file_has_texts_of_both_verdicts() {
    for (file, text) in generate().expect("files of their form") {
        let json: Value = serde_json::from_str(&text).expect("JSON");
        let Some(cases) = json["cases"].as_array() else { continue };
        let accepted =
            |case: &&Value| case["verdict"] == serde_json::to_value(Verdict::Accepted).expect("JSON");
        let count = cases.iter().filter(accepted).count();
        assert!(count > 0 && count < cases.len(), "{file}: {count} of {}", cases.len());
    }
}
