//! Each violation is planted in a run that is in order, and found; the run in order shows none.

use accredit_core::boundary::Boundary;
use accredit_core::digest::Digest;
use accredit_core::facts::{Facts, Prepared};
use accredit_ledger::Entry;
use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::note::Signer;
use accredit_ledger::tree::RightEdge;
use serde_json::{Map, Value, json};

use super::*;
use crate::journal::What;

const AT: i64 = 1_795_000_000_000;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const DECISION: &str = "d_0123456789abcdefghijklmnop";
const SECRET: &str = "canary/Zz+0123456789 abcdefghijk";
const POLICY: &str = "permit(principal, action in Action::\"use\", resource);";
const ORIGIN: &str = "accredit.test/ledger";

fn traceparent() -> String {
    format!("00-{TRACE}-b7ad6b7169203331-01")
}

fn id(prefix: &str, number: u8) -> String {
    use accredit_core::id::{InstanceId, TaskId};
    match prefix {
        "task" => TaskId::from_random([number; 16]).to_string(),
        _ => InstanceId::from_random([number; 16]).to_string(),
    }
}

fn link(number: u8, agent: &str, parent: Option<u8>, boundary: &[&str]) -> Value {
    let grants: Vec<_> = boundary.to_vec();
    Boundary::parse(grants.iter().copied()).expect("grants");
    json!({
        "task": {
            "tenant": "default", "id": id("task", number), "agent": agent,
            "instance": {"id": id("instance", number), "attestation": "key_proof", "key": "A".repeat(43), "process": null},
            "purpose": "fix checkout bug", "workflow": null, "requested_by": null,
            "parent": parent.map(|p| id("task", p)), "template": null,
            "boundary": {"usable": grants, "delegable": grants},
            "proposed_at": AT, "held": false, "state": {"state": "active", "since": AT, "expires_at": AT + 3_600_000},
        },
        "agent": {
            "tenant": "default", "name": agent, "kind": "agent", "environment": "dev", "owner": "ana@corp",
            "status": {"status": "enabled"}, "socket_uid": null, "registered_at": 0,
        },
        "agent_owner": {"standing": "active"},
    })
}

fn facts(chain: Vec<Value>) -> Value {
    json!({
        "tenant": "default",
        "chain": chain,
        "target": {
            "resource": {
                "tenant": "default", "name": "shop", "owner": "team:shop", "environment": "prod", "sensitivity": "internal",
                "mode": "enforce", "endpoints": [{"scheme": "https", "host": "shop.example", "port": 443}], "private_network": false, "ca_pem": null,
                "dialect": "plain", "pass_cookies": false, "credential": null, "status": {"status": "active"}, "added_at": 0,
            },
            "owner": {"standing": "active"},
            "credential": null,
        },
        "policy_set": policies().digest().to_string(),
    })
}

fn policies() -> PolicySources {
    PolicySources::one("p.cedar", POLICY).expect("a source")
}

fn entry(kind: &str, at: i64, body: Value) -> Vec<u8> {
    let Value::Object(body) = body else { panic!("a body is an object") };
    entry_of(kind, at, "default", body)
}

fn entry_of(kind: &str, at: i64, tenant: &str, body: Map<String, Value>) -> Vec<u8> {
    Entry::new(kind, at, tenant, body).expect("an entry").encode().expect("its bytes").into_bytes()
}

/// A run in order: one task, one use of it that went out, told to the client, and a stream that ended.
struct Run {
    evidence: Evidence,
    decided: Value,
    facts: Value,
}

impl Run {
    fn new() -> Self {
        Self::of(facts(vec![link(1, "bot", None, &["shop: GET /v1/**"])]))
    }

    fn of(facts: Value) -> Self {
        let chain: Vec<_> = facts["chain"]
            .as_array()
            .expect("a chain")
            .iter()
            .skip(1)
            .map(|l| l["task"]["id"].clone())
            .collect();
        let decided = json!({
            "decision": DECISION, "agent": "bot", "instance": id("instance", 1), "attestation": "key_proof",
            "key": "A".repeat(43), "task": id("task", 1), "chain": chain, "purpose": "fix checkout bug",
            "operation": "shop.read", "effect": "read", "resource": "shop", "method": "GET", "scheme": "https",
            "host": "shop.example", "port": 443, "path": "/v1/orders", "request_digest": "a".repeat(64),
            "traceparent": traceparent(), "outcome": "allow", "enforced": true, "mode": "enforce", "code": "allowed",
            "policies": ["p#1"], "policy_set": policies().digest().to_string(), "errors": [], "grant": 0, "usage": "0/0",
            "now": AT + 1_000,
        });
        Self { evidence: Evidence::default(), decided, facts }
    }

    /// Fills in the evidence from entries, and signs it.
    fn build(mut self) -> Self {
        // The types' own text is what is kept, so that its digest is the one of the ledger.
        let typed: Facts = serde_json::from_value(self.facts.clone()).expect("facts");
        let text = Prepared::new(typed).map_or_else(|_| self.facts.to_string(), |p| p.text().to_owned());
        let digest = Digest::of(text.as_bytes()).to_string();
        self.decided["facts"] = json!(digest);
        let settled = json!({"decision": DECISION, "task": id("task", 1), "agent": "bot", "outcome": "done", "status": 200});
        let evidence = &mut self.evidence;
        evidence.ledger.facts.insert(digest, text);
        evidence.ledger.policies.insert(policies().digest().to_string(), policies());
        evidence.ledger.entries = vec![
            entry("task.started", AT, json!({"task": id("task", 1), "agent": "bot"})),
            entry("action.decided", AT + 1_000, self.decided.clone()),
            entry("action.settled", AT + 1_100, settled),
            entry("task.ended", AT + 5_000, json!({"task": id("task", 1), "outcome": "revoked"})),
        ];
        evidence.at_rest = true;
        evidence.effects = vec![Effect {
            at_us: (AT + 1_001) * 1_000,
            ended_us: Some((AT + 1_090) * 1_000),
            traceparent: Some(traceparent()),
            method: "GET".to_owned(),
            path: "/v1/orders".to_owned(),
            tenant: Some("default".to_owned()),
        }];
        evidence.journal = vec![
            promise(What::Changed { kind: "task.started".to_owned(), subject: id("task", 1) }),
            promise(What::Used { trace: TRACE.to_owned(), status: 200 }),
        ];
        evidence.revocations = vec![Revocation {
            agent: None,
            pending: 0,
            returned_us: (AT + 5_010) * 1_000,
            tasks: vec![id("task", 1)],
            credential: None,
        }];
        evidence.secrets = vec![Canary::new("key", SECRET)];
        evidence.markers =
            vec![("default".to_owned(), Canary::new("name of an order", "marker-of-default-0123456789"))];
        evidence.places =
            vec![place("output of the agent", Some("default"), b"marker-of-default-0123456789 only")];
        evidence.figures = vec![figure(100, 105)];
        evidence.verifications =
            vec![Verification { when: "at the end".to_owned(), ok: true, said: "4 entries".to_owned() }];
        evidence.log_keys = vec![signer().verifier().to_string()];
        evidence.checkpoints = [1, 3, 4].map(|size| checkpoint(&evidence.ledger.entries, size)).to_vec();
        self
    }
}

fn promise(what: What) -> Acknowledged {
    Acknowledged { at_us: AT * 1_000, what }
}

fn place(name: &str, tenant: Option<&str>, bytes: &[u8]) -> Place {
    Place { name: name.to_owned(), tenant: tenant.map(str::to_owned), bytes: bytes.to_vec() }
}

fn figure(before: u64, after: u64) -> Figure {
    Figure { name: "descriptors".to_owned(), before, after, growth_max: 10 }
}

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).expect("a key")
}

fn checkpoint(entries: &[Vec<u8>], size: usize) -> String {
    let mut edge = RightEdge::empty();
    entries.iter().take(size).for_each(|e| edge.push(leaf_hash(e), |_, _| {}));
    let head = Checkpoint::new(ORIGIN, size as u64, edge.root()).expect("a head");
    head.sign(&signer()).expect("a signature")
}

/// Changes a run in order and checks that exactly this invariant is reported, in words that name the thing.
#[track_caller]
fn plant(expected: Invariant, says: &str, change: impl FnOnce(&mut Evidence)) {
    let mut run = Run::new().build();
    change(&mut run.evidence);
    found(expected, says, &run.evidence);
}

/// The same for the fields of `action.decided`, with the ledger signed afterwards.
#[track_caller]
fn plant_decided(expected: Invariant, says: &str, field: &str, value: Value) {
    let mut run = Run::new();
    run.decided[field] = value;
    found(expected, says, &run.build().evidence);
}

#[track_caller]
fn found(expected: Invariant, says: &str, evidence: &Evidence) {
    let violations = check(evidence);
    let texts: Vec<_> = violations.iter().map(ToString::to_string).collect();
    let others: Vec<_> = violations.iter().filter(|v| v.invariant != expected).collect();
    assert!(others.is_empty(), "{texts:#?}");
    assert!(texts.iter().any(|t| t.contains(says)), "`{says}` is not in {texts:#?}");
}

/// Signs again after entries were changed on purpose.
fn sign_again(evidence: &mut Evidence) {
    let size = evidence.ledger.entries.len();
    evidence.checkpoints = vec![checkpoint(&evidence.ledger.entries, size)];
}

#[test]
fn a_run_in_order_shows_nothing() {
    assert_eq!(check(&Run::new().build().evidence), []);
    assert_eq!(check(&Evidence::default()), []);
}

#[test]
fn i1_an_effect_without_its_entry_is_found() {
    plant(Invariant::I1, "no entry says", |e| {
        let unknown =
            Effect { traceparent: Some(traceparent().replace("b7ad", "b7ae")), ..e.effects[0].clone() };
        e.effects.push(unknown);
    });
    plant(Invariant::I1, "no trace context", |e| e.effects[0].traceparent = None);
    plant(Invariant::I1, "of another request", |e| e.effects[0].path = "/v1/keys".to_owned());
    plant(Invariant::I1, "of another request", |e| e.effects[0].method = "DELETE".to_owned());
    plant(Invariant::I1, "later than the effect", |e| e.effects[0].at_us = (AT + 999) * 1_000 + 999);
    plant(Invariant::I1, "stands for an earlier effect", |e| e.effects.push(e.effects[0].clone()));
    plant_decided(Invariant::I1, "no digest", "request_digest", Value::Null);
    plant(Invariant::I1, "0 outcomes, 1 expected", |e| {
        e.ledger.entries.remove(2);
        sign_again(e);
    });
    plant(Invariant::I1, "2 outcomes, 1 expected", |e| {
        e.ledger.entries.push(e.ledger.entries[2].clone());
        sign_again(e);
    });
    plant(Invariant::I1, "not decided before", |e| {
        e.ledger.entries.swap(1, 2);
        sign_again(e);
    });
}

#[test]
fn i2_a_secret_is_found_in_every_spelling() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    let percent = "canary%2FZz%2B0123456789%20abcdefghijk";
    let mut lies = vec![
        SECRET.to_owned(),
        format!("Authorization: Bearer {SECRET}\r\n"),
        hex(SECRET),
        hex(SECRET).to_uppercase(),
        percent.to_owned(),
        SECRET.bytes().map(|b| format!("%{b:02X}")).collect(),
    ];
    for before in ["", "u", "u:"] {
        lies.push(STANDARD.encode(format!("{before}{SECRET}")));
        lies.push(URL_SAFE.encode(format!("{before}{SECRET}\n")));
    }
    for text in lies {
        plant(Invariant::I2, "`key` lies in `log`", |e| {
            e.places.push(place("log", None, format!("before {text} after").as_bytes()));
        });
    }
    plant(Invariant::I2, "`key` lies in `memory of 17`, spelt raw", |e| {
        let place = "memory of 17".to_owned();
        e.leaks.push(Leak { canary: "key".to_owned(), spelling: "raw".to_owned(), place });
    });
}

#[test]
fn i3_an_allow_that_does_not_come_out_again_is_found() {
    let mut outside = Run::new();
    outside.decided["path"] = json!("/admin");
    let mut outside = outside.build();
    outside.evidence.effects[0].path = "/admin".to_owned();
    found(Invariant::I3, "comes out as deny (outside_boundary)", &outside.evidence);
    plant_decided(Invariant::I3, "comes out as deny (not_your_task)", "agent", json!("other"));
    plant_decided(Invariant::I3, "comes out as deny (task_expired)", "now", json!(AT + 3_600_001));
    plant_decided(Invariant::I3, "what was used", "usage", json!("some"));
    plant(Invariant::I3, "which are gone", |e| e.ledger.facts.clear());
    plant(Invariant::I3, "which is gone", |e| e.ledger.policies.clear());
    plant(Invariant::I3, "cannot be replayed", |e| {
        let other = PolicySources::default();
        e.ledger.policies.values_mut().for_each(|set| set.clone_from(&other));
    });
    plant(Invariant::I3, "cannot be replayed", |e| {
        e.ledger.facts.values_mut().for_each(|text| *text = text.replace("checkout", "checkin"));
    });
}

#[test]
fn i4_what_goes_out_after_a_revocation_is_found() {
    plant(Invariant::I4, "came 1 us after", |e| e.revocations[0].returned_us = e.effects[0].at_us - 1);
    plant(Invariant::I4, "outlived its revocation by 1000001 us", |e| {
        e.revocations[0].returned_us = e.effects[0].at_us;
        e.effects[0].ended_us = Some(e.effects[0].at_us + STREAM_OUTLIVES_US + 1);
    });
    plant(Invariant::I4, "had ended it", |e| {
        let ended = e.ledger.entries.remove(3);
        e.ledger.entries.insert(1, ended);
        sign_again(e);
    });
    plant(Invariant::I4, "whom entry 1 had suspended", |e| {
        e.ledger.entries.insert(1, entry("agent.suspended", AT, json!({"agent": "bot"})));
        sign_again(e);
    });
    let mut run = Run::new().build();
    run.evidence.ledger.entries.insert(1, entry("agent.suspended", AT, json!({"agent": "bot"})));
    run.evidence.ledger.entries.insert(2, entry("agent.resumed", AT, json!({"agent": "bot"})));
    sign_again(&mut run.evidence);
    assert_eq!(check(&run.evidence), []);
    plant(Invariant::I4, "came 1 us after", |e| {
        let returned_us = e.effects[0].at_us - 1;
        let agent = Some("bot".to_owned());
        e.revocations.push(Revocation { agent, pending: 0, returned_us, tasks: vec![], credential: None });
    });
    let mut run = Run::new();
    run.decided["credential"] = json!("shop-key");
    let mut run = run.build();
    let returned_us = run.evidence.effects[0].at_us - 500;
    run.evidence.revocations.push(Revocation {
        agent: None,
        pending: 0,
        returned_us,
        tasks: vec![],
        credential: Some("shop-key".to_owned()),
    });
    found(Invariant::I4, "came 500 us after", &run.evidence);
    run.evidence.on_the_way_us = 500;
    assert_eq!(check(&run.evidence), []);
}

#[test]
fn i5_a_ledger_that_is_not_what_was_signed_is_found() {
    plant(Invariant::I5, "is not a prefix", |e| {
        e.ledger.entries[0] = entry("task.started", AT, json!({"task": id("task", 1), "agent": "bob"}));
    });
    plant(Invariant::I5, "the ledger only 3", |e| drop(e.ledger.entries.pop()));
    plant(Invariant::I5, "the one before 4", |e| e.checkpoints.swap(1, 2));
    plant(Invariant::I5, "checkpoint 0 is refused", |e| {
        e.checkpoints[0] = e.checkpoints[0].replace('1', "2")
    });
    plant(Invariant::I5, "checkpoint 0 is refused", |e| e.log_keys.clear());
    plant(Invariant::I5, "in cycle 7: entry 9 was changed", |e| {
        let said = "entry 9 was changed".to_owned();
        e.verifications.push(Verification { when: "in cycle 7".to_owned(), ok: false, said });
    });
    plant(Invariant::I5, "entry 4 is none", |e| e.ledger.entries.push(b"{}".to_vec()));
}

#[test]
fn i6_a_child_beyond_its_ancestor_is_found() {
    let child = |above: Value| Run::of(facts(vec![link(1, "bot", Some(2), &["shop: GET /v1/**"]), above]));
    assert_eq!(check(&child(link(2, "boss", None, &["shop: read"])).build().evidence), []);
    let beyond = child(link(2, "boss", None, &["shop: GET /v1/keys"])).build().evidence;
    let violations: Vec<_> = check(&beyond).iter().map(|v| v.invariant).collect();
    // The replay refuses it as well.
    assert_eq!(violations, [Invariant::I3, Invariant::I6]);
    let mut dead = link(2, "boss", None, &["shop: read"]);
    dead["task"]["state"] = json!({"state": "ended", "at": AT, "how": "revoked", "reason": null});
    let violations: Vec<_> = check(&child(dead).build().evidence).iter().map(|v| v.invariant).collect();
    assert_eq!(violations, [Invariant::I3, Invariant::I6]);
    let mut run = child(link(2, "boss", None, &["shop: read"])).build();
    let ended = entry("task.ended", AT, json!({"task": id("task", 2), "outcome": "revoked"}));
    run.evidence.ledger.entries.insert(0, ended);
    sign_again(&mut run.evidence);
    found(Invariant::I6, "ended by entry 0", &run.evidence);
}

#[test]
fn i7_what_crosses_tenants_is_found() {
    plant(Invariant::I7, "`name of an order` of `default` lies in `output of the other`", |e| {
        e.places.push(place("output of the other", Some("other"), b"- marker-of-default-0123456789"));
    });
    plant(Invariant::I7, "at the upstream of `other` was decided for `default`", |e| {
        e.effects[0].tenant = Some("other".to_owned());
    });
    let run = Run::new().build();
    let mut evidence = run.evidence;
    let Value::Object(body) = run.decided else { panic!("an object") };
    let body = evidence.ledger.facts.keys().next().map(|facts| {
        let mut body = body.clone();
        body.insert("facts".to_owned(), json!(facts));
        body
    });
    evidence.ledger.entries[1] = entry_of("action.decided", AT + 1_000, "other", body.expect("facts"));
    evidence.effects[0].tenant = None;
    sign_again(&mut evidence);
    let violations = check(&evidence);
    assert!(
        violations
            .iter()
            .any(|v| v.invariant == Invariant::I7 && v.what.contains("rests on facts of `default`"))
    );
}

#[test]
fn i8_a_promise_without_its_entry_is_found() {
    let other = "1".repeat(32);
    for what in [
        What::Used { trace: other.clone(), status: 200 },
        What::Refused {
            trace: other,
            code: "denied_by_policy".to_owned(),
            decision: Some("d_none".to_owned()),
        },
        What::Changed { kind: "task.started".to_owned(), subject: id("task", 9) },
        What::Changed { kind: "task.extended".to_owned(), subject: id("task", 1) },
    ] {
        plant(Invariant::I8, "has no entry of it", |e| e.journal.push(promise(what)));
    }
}

#[test]
fn i9_a_figure_that_grows_is_found() {
    plant(Invariant::I9, "descriptors grew from 100 to 111", |e| e.figures.push(figure(100, 111)));
}

#[test]
fn i10_an_error_that_ends_in_allow_is_found() {
    plant_decided(Invariant::I10, "1 errors", "errors", json!(["overflow"]));
    plant_decided(Invariant::I10, "code `policy_error`", "code", json!("policy_error"));
    plant(Invariant::I10, "was refused as `audit_unavailable`", |e| {
        let code = "audit_unavailable".to_owned();
        e.journal.push(promise(What::Refused { trace: TRACE.to_owned(), code, decision: None }));
    });
    let mut denied = Run::new();
    denied.decided["outcome"] = json!("deny");
    let violations: Vec<_> = check(&denied.build().evidence).iter().map(|v| v.invariant).collect();
    // It was denied and went out: no entry let it, none may have settled it, and the answer was not promised.
    assert!(violations.contains(&Invariant::I1) && violations.contains(&Invariant::I8), "{violations:?}");
}
