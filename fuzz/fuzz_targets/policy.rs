//! Policy sources and the context of a decision. The input is policy text, then, after a NUL each, method, path and
//! media type of a request: no text panics the compiler or exhausts its stack, a set answers the same question alike
//! each time, and nothing that the agent says brings an approval with it.

#![no_main]

use std::sync::LazyLock;

use accredit_core::digest::Digest;
use accredit_core::facts::{Facts, Prepared, Usage};
use accredit_core::host::Endpoint;
use accredit_core::id::OperationName;
use accredit_core::policy::{PolicySet, PolicySources};
use accredit_core::replay::{Answered, Inputs, RecordedCall, RecordedCaller, replay};
use accredit_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;

const FACTS: &str = include_str!("facts.json");
/// Permits exactly what a person has said yes to.
const ONLY_APPROVED: &str = "permit(principal, action, resource) when { context.approval.granted };";

static APPROVED: LazyLock<PolicySet> = LazyLock::new(|| compile(ONLY_APPROVED).expect("one policy"));

fn compile(text: &str) -> Option<PolicySet> {
    PolicySet::compile(PolicySources::one("fuzz.cedar", text).ok()?).ok()
}

/// What this set says to this request.
fn answer(set: &PolicySet, call: &RecordedCall) -> Answered {
    let mut facts: Facts = serde_json::from_str(FACTS).expect("facts");
    facts.policy_set = set.digest();
    let prepared = Prepared::new(facts).expect("facts that belong together");
    let nothing = Answered {
        outcome: String::new(),
        code: String::new(),
        policies: Vec::new(),
        resource: None,
        operation: OperationName::parse("http.get").expect("a name"),
        effect: None,
        grant: None,
    };
    let inputs = Inputs {
        facts: prepared.text().to_owned(),
        facts_digest: Digest::of(prepared.text().as_bytes()),
        caller: RecordedCaller::holder(&prepared),
        call: call.clone(),
        usage: Usage::default(),
        now: Timestamp::from_ms(1_795_000_010_000),
    };
    replay(&inputs, &nothing, set).expect("the facts and the set of the inputs").answered
}

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(4, '\0');
    let policies = parts.next().unwrap_or_default();
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (method, path, content_type) = (part(), part(), part());
    let call = RecordedCall {
        endpoint: Endpoint::parse("shop.example").expect("a host"),
        method,
        path,
        content_type: (!content_type.is_empty()).then_some(content_type),
        body_bytes: None,
        exact: None,
    };
    assert_ne!(answer(&APPROVED, &call).outcome, "allow");
    if let Some(set) = compile(policies) {
        assert_eq!(compile(policies).map(|again| again.digest()), Some(set.digest()));
        assert_eq!(answer(&set, &call), answer(&set, &call));
    }
});
