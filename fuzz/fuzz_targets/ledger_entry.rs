//! Ledger entries: bytes are either refused or are exactly what encoding writes; a record made of any fields is either
//! refused or reads back as it was written; naming an entry from any bytes never panics.

#![no_main]

use accredit_ledger::Entry;
use accredit_ledger::entry::describe;
use accredit_ledger::tile::ENTRY_BYTES_MAX;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn check(entry: &Entry) -> Vec<u8> {
    let bytes = entry.encode().expect("the table allows nothing that is too large").into_bytes();
    assert!(bytes.len() <= ENTRY_BYTES_MAX);
    let again = Entry::decode(&bytes).expect("what was written reads back");
    assert_eq!((again.kind(), again.at(), again.tenant()), (entry.kind(), entry.at(), entry.tenant()));
    assert_eq!(again.body(), entry.body());
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let _ = describe(bytes);
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(check(&entry), bytes);
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else { return };
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let at = members.get("at").and_then(Value::as_i64).unwrap_or_default();
    let Some(Value::Object(body)) = members.get("body") else { return };
    if let Ok(entry) = Entry::new(text("kind"), at, text("tenant"), body.clone()) {
        check(&entry);
    }
});
