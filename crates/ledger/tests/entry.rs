//! What may be recorded, and that one record is always one well-formed record.

use accredit_ledger::entry::{Entry, EntryError, describe};
use accredit_ledger::kind::{Field, IDS_MAX, KINDS, NAMES_MAX};
use accredit_ledger::text::CUT_MARK;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const AT: i64 = 1_760_000_000_123;

fn body(value: Value) -> Map<String, Value> {
    let Value::Object(body) = value else { panic!("a body is an object") };
    body
}

fn decided() -> Map<String, Value> {
    body(json!({
        "decision": "d_4kq2", "agent": "deployer", "instance": "i_77", "attestation": "key", "task": "t_7q2f",
        "chain": ["t_7q2f"], "requested_by": "user:ana", "purpose": "rotate the keys", "workflow": "OPS-12",
        "operation": "github/issues.create", "effect": "write", "resource": "github", "credential": "github-bot",
        "secret_version": 3, "method": "POST", "scheme": "https", "host": "api.github.example", "port": 443,
        "path": "/repos/a/b/issues", "query_digest": "0".repeat(64), "request_digest": "a".repeat(64),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "outcome": "allow", "enforced": true,
        "mode": "enforce", "policies": ["github-write"], "policy_set": "b".repeat(64), "facts": "c".repeat(64),
        "errors": [], "usage": "2/512", "now": AT,
    }))
}

fn refused(kind: &str, body: Map<String, Value>) -> EntryError {
    Entry::new(kind, AT, "acme", body).expect_err("must be refused")
}

/// The largest value a field can be given; every byte of text doubles when it is written.
fn largest(field: Field) -> Value {
    let text = || json!("\"".repeat(8192));
    match field {
        Field::Id => json!("i".repeat(256)),
        Field::Ids => json!(vec!["i".repeat(256); IDS_MAX]),
        Field::Name | Field::Text(_) => text(),
        Field::Names => json!(vec![text(); NAMES_MAX + 1]),
        Field::Texts { most, .. } => json!(vec![text(); most + 1]),
        Field::Integer => json!(-9_007_199_254_740_992_i64),
        Field::Boolean => json!(false),
        Field::Digest => json!("f".repeat(64)),
        Field::OneOf(words) => json!(words.iter().max_by_key(|word| word.len())),
    }
}

#[test]
fn an_entry_reads_back_from_its_bytes() {
    let entry = Entry::new("action.decided", AT, "acme", decided()).expect("allowed");
    let bytes = entry.encode().expect("small");
    let read = Entry::decode(bytes.as_bytes()).expect("what encode wrote");
    assert_eq!(read.encode().expect("small"), bytes);
    assert_eq!((read.kind(), read.at(), read.tenant()), ("action.decided", AT, "acme"));
    assert_eq!((read.subject(), read.text("host")), (Some("d_4kq2"), Some("api.github.example")));
    let text = String::from_utf8(bytes.into_bytes()).expect("JSON is UTF-8");
    assert!(
        text.starts_with(r#"{"at":1760000000123,"body":{"agent":"deployer","attestation":"key","#),
        "{text}"
    );
    assert!(text.ends_with(r#","kind":"action.decided","tenant":"acme","v":1}"#), "{text}");
}

#[test]
fn every_kind_fits_with_every_field_at_its_largest() {
    for kind in KINDS {
        let full = kind.fields.iter().map(|slot| (slot.name.to_owned(), largest(slot.field))).collect();
        let entry = Entry::new(kind.name, AT, &"t".repeat(256), full).expect(kind.name);
        let bytes = entry.encode().expect(kind.name);
        assert!(Entry::decode(bytes.as_bytes()).is_ok(), "{}", kind.name);
        assert_eq!(describe(bytes.as_bytes()).map(|d| d.kind).as_deref(), Some(kind.name));
    }
}

#[test]
fn what_is_not_in_the_table_is_refused() {
    let with = |field: &str, value: Value| {
        let mut body = decided();
        body.insert(field.to_owned(), value);
        refused("action.decided", body)
    };
    let wrong = |field| move |error| matches!(error, EntryError::WrongType { field: f, .. } if f == field);
    assert_eq!(refused("action.guessed", decided()), EntryError::UnknownKind("action.guessed".into()));
    assert!(
        matches!(with("password", json!("x")), EntryError::UnknownField { field, .. } if field == "password")
    );
    for (field, value) in [
        ("agent", json!(1)),
        ("decision", json!("")),
        ("decision", json!("d 1")),
        ("decision", json!("d\u{e9}")),
        ("decision", json!("d".repeat(257))),
        ("chain", json!("t_1")),
        ("chain", json!(["t 1"])),
        ("chain", json!(vec!["t"; IDS_MAX + 1])),
        ("port", json!("443")),
        ("port", json!(443.5)),
        ("now", json!((1_u64 << 53) + 1)),
        ("enforced", json!("true")),
        ("outcome", json!("allowed")),
        ("facts", json!("C".repeat(64))),
        ("facts", json!("c".repeat(63))),
        ("policies", json!([1])),
        ("policies", json!({"a": "b"})),
        ("purpose", json!({"nested": true})),
    ] {
        let error = with(field, value);
        assert!(wrong(field)(error.clone()), "{field}: {error}");
    }
    let mut lacking = decided();
    lacking.remove("outcome");
    assert!(matches!(refused("action.decided", lacking), EntryError::MissingField { field: "outcome", .. }));
    assert_eq!(Entry::new("action.decided", -1, "acme", decided()).err(), Some(EntryError::Time(-1)));
    assert!(matches!(Entry::new("action.decided", AT, "a b", decided()), Err(EntryError::Tenant(_))));
}

#[test]
fn a_null_field_counts_as_not_given() {
    let mut body = decided();
    body.insert("code".to_owned(), Value::Null);
    let entry = Entry::new("action.decided", AT, "acme", body).expect("allowed");
    assert!(!entry.body().contains_key("code"));
}

// case: AUD-09
#[test]
fn hostile_names_and_purposes_stay_one_well_formed_record() {
    let huge = "x".repeat(1 << 20);
    for hostile in [
        "name\n{\"kind\":\"action.decided\"}",
        "nul\0byte",
        "line\u{2028}separator\u{2029}",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "\u{202e}gnp.exe",
        "quote\"},\"outcome\":\"allow",
        &String::from_utf8_lossy(b"bad \xff\xfe utf-8"),
        &huge,
    ] {
        let mut body = decided();
        for field in ["agent", "purpose", "workflow", "method", "host", "path"] {
            body.insert(field.to_owned(), json!(hostile));
        }
        body.insert("policies".to_owned(), json!([hostile, hostile]));
        let entry = Entry::new("action.decided", AT, "acme", body).expect("recorded, never lost");
        let bytes = entry.encode().expect("within the bound");
        let line = std::str::from_utf8(bytes.as_bytes()).expect("valid UTF-8");
        assert!(
            !line.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}')),
            "{line}"
        );
        assert_eq!(
            Entry::decode(bytes.as_bytes()).map(|e| e.text("outcome").map(str::to_owned)),
            Ok(Some("allow".into()))
        );
    }
    let mut body = decided();
    body.insert("purpose".to_owned(), json!(huge));
    body.insert("policies".to_owned(), json!(vec!["p"; NAMES_MAX + 1]));
    let entry = Entry::new("action.decided", AT, "acme", body).expect("recorded, never lost");
    assert!(entry.text("purpose").is_some_and(|p| p.ends_with(CUT_MARK)));
    assert_eq!(entry.body()["policies"][NAMES_MAX - 1], CUT_MARK);
}

#[test]
fn bytes_that_encoding_would_not_write_are_refused() {
    let good = r#"{"at":1,"body":{"agent":"a"},"kind":"agent.resumed","tenant":"acme","v":1}"#;
    assert!(Entry::decode(good.as_bytes()).is_ok());
    for (from, to) in [
        (r#""v":1"#, r#""v":2"#),
        (r#""v":1"#, r#""v":"1""#),
        (r#""v":1}"#, r#""v":1,"x":1}"#),
        (r#""v":1}"#, r#""v":1} "#),
        (r#""at":1"#, r#""at":1.0"#),
        (r#""at":1"#, r#""at":-1"#),
        (r#""at":1,"#, ""),
        (r#""tenant":"acme""#, r#""tenant":"ac me""#),
        ("agent.resumed", "agent.vanished"),
        (r#""agent":"a""#, r#""agent":null"#),
        (r#""agent":"a""#, r#""agent":"a","agent":"a""#),
        (r#""agent":"a""#, r#""agent":"a","zeal":"z""#),
        (r#""agent":"a""#, ""),
        (r#""agent":"a""#, "\"agent\":\"a\u{202e}\""),
        (r#""agent":"a""#, r#""agent":"a\n""#),
        (r#"{"agent":"a"}"#, "[]"),
    ] {
        let bytes = good.replacen(from, to, 1);
        assert_ne!(bytes, good);
        assert!(Entry::decode(bytes.as_bytes()).is_err(), "{bytes}");
    }
    for bytes in [&b""[..], b"null", b"[]", b"{}", b"\xff"] {
        assert!(Entry::decode(bytes).is_err());
    }
}

#[test]
fn a_damaged_entry_is_named_as_far_as_it_can_be_read() {
    let named = |text: &str| describe(text.as_bytes()).map(|d| (d.kind, d.subject));
    assert_eq!(
        named(r#"{"kind":"agent.resumed","body":{"agent":"a\u0000"},"more":1}"#),
        Some(("agent.resumed".into(), Some(r"a\u{0}".into())))
    );
    assert_eq!(named(r#"{"kind":"made.up"}"#), Some(("made.up".into(), None)));
    assert_eq!(named(r#"{"body":{}}"#), None);
    assert_eq!(named("not json"), None);
}

proptest! {
    // case: AUD-09
    #[test]
    fn any_text_in_any_field_is_recorded_and_reads_back(purpose in any::<String>(), host in any::<String>(), errors in prop::collection::vec(any::<String>(), 0..20)) {
        let mut body = decided();
        body.insert("purpose".to_owned(), json!(purpose));
        body.insert("host".to_owned(), json!(host));
        body.insert("errors".to_owned(), json!(errors));
        let bytes = Entry::new("action.decided", AT, "acme", body).expect("never lost").encode().expect("within the bound");
        let again = Entry::decode(bytes.as_bytes()).expect("what encode wrote").encode().expect("within the bound");
        prop_assert_eq!(bytes, again);
    }

    #[test]
    fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Entry::decode(&bytes).is_err());
        let _ = describe(&bytes);
    }
}
