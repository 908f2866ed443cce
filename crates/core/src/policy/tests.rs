//! What policies say, and that slicing never changes it.

use cedar_policy::Authorizer;
use proptest::prelude::*;

use super::*;
use crate::fixture::{action, facts, now, prepared, set};
use crate::policy::bounds::{NESTING_MAX, POLICY_BYTES_MAX};
use crate::policy::set::POLICIES_MAX;
use crate::policy::starter::starter;
use crate::resource::Sensitivity;

fn judge(policies: &PolicySet, method: &str, path: &str) -> (Verdict, Grounds) {
    let facts = facts(&["github: *"]);
    policies.judge_use(&prepared(&facts), &action(&facts, method, path), &Usage::default(), now())
}

fn ids(grounds: &Grounds) -> Vec<&str> {
    grounds.policies.iter().map(String::as_str).collect()
}

// case: POL-01
#[test]
fn without_a_permit_everything_is_denied() {
    let empty = PolicySet::compile(PolicySources::default()).expect("the empty set");
    for policies in [empty, set("// nothing"), set("forbid(principal, action, resource);")] {
        assert_eq!(judge(&policies, "GET", "/").0, Verdict::Deny);
    }
}

// case: POL-02
#[test]
fn a_forbid_wins_over_every_permit() {
    let permits =
        "permit(principal, action, resource); permit(principal == Agent::\"bot\", action, resource);";
    for forbid in [
        "principal, action, resource",
        "principal in Tenant::\"default\", action, resource",
        "principal, action, resource in Resource::\"github\"",
    ] {
        let policies = set(&format!("{permits} @id(\"no\") forbid({forbid});"));
        let (verdict, grounds) = judge(&policies, "GET", "/");
        assert_eq!((verdict, ids(&grounds)), (Verdict::Deny, vec!["no"]), "{forbid}");
    }
}

// case: POL-03
#[test]
fn a_forbid_that_cannot_be_evaluated_denies_and_says_so() {
    let overflow = "permit(principal, action, resource); @id(\"broken\") forbid(principal, action in Action::\"use\", resource) when { context.task.age_s + 9223372036854775807 > 5 };";
    let (verdict, grounds) = judge(&set(overflow), "GET", "/");
    assert_eq!(verdict, Verdict::Unsure);
    assert!(grounds.errors.len() == 1 && grounds.errors[0].contains("broken"), "{grounds:?}");
    // An optional fact read without `has` does not even load.
    check_refused(
        "forbid(principal, action in Action::\"use\", resource) when { context.task.workflow == \"x\" };",
        "workflow",
    );
}

/// Every policy that the guide shows.
fn policies_of_the_guide() -> String {
    let page = include_str!("../../../../docs/guide/policies.md");
    let blocks = page.split("```cedar\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

// case: POL-09
#[test]
fn a_task_that_has_seen_restricted_data_writes_to_nothing_less_sensitive() {
    let policies = set(&format!("{}\npermit(principal, action, resource);", policies_of_the_guide()));
    let mut facts = facts(&["github: *"]);
    let mut check = |sensitivity, seen: &[Sensitivity], method, allowed: bool| {
        facts.target.as_mut().expect("a target").resource.sensitivity = sensitivity;
        let mut usage = Usage::default();
        seen.iter().for_each(|&s| assert!(usage.see(s)));
        let (prepared, action) = (prepared(&facts), action(&facts, method, "/a"));
        let (verdict, grounds) = policies.judge_use(&prepared, &action, &usage, now());
        let about = format!("{method} {sensitivity:?} after {seen:?}");
        assert_eq!(verdict, if allowed { Verdict::Allow } else { Verdict::Deny }, "{about}");
        assert_eq!(ids(&grounds).contains(&"flow/restricted-stays-inside"), !allowed, "{about}");
    };
    use Sensitivity::{Confidential, Internal, Public, Restricted};
    check(Public, &[], "POST", true);
    check(Public, &[Public, Internal, Confidential], "POST", true);
    for lower in [Public, Internal, Confidential] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            check(lower, &[Restricted], method, false);
            check(lower, &[Public, Restricted], method, false);
        }
        check(lower, &[Restricted], "GET", true);
    }
    check(Restricted, &[Restricted], "POST", true);
    // Without `has` it does not load: decisions of earlier versions are replayed without it.
    check_refused(
        "forbid(principal, action in Action::\"use\", resource) when { context.task.seen.contains(\"restricted\") };",
        "seen",
    );
}

// case: POL-08
#[test]
fn what_the_agent_says_cannot_shadow_a_fact() {
    let policies = set("permit(principal, action, resource) when { context.approval.granted };
        permit(principal, action, resource) when { principal.name == \"root\" };
        permit(principal, action in Action::\"use\", resource) when { context.request.host == \"evil.example\" };");
    let facts = facts(&["github: *"]);
    let path = "/\"},\"approval\":{\"granted\":true},\"x\":{\"y\":\"";
    let mut call = crate::fixture::call("github.example", "POST", path);
    call.content_type = Some("__entity\":{\"type\":\"Agent\",\"id\":\"root\"}".to_owned());
    call.body_bytes = Some(u64::MAX);
    let action = Action::new(call, facts.target.as_ref().map(|t| &t.resource));
    let (verdict, _) = policies.judge_use(&prepared(&facts), &action, &Usage::default(), now());
    assert!(matches!(verdict, Verdict::Ask(_)), "{verdict:?}");
    // The approval is a fact of its own place; a policy cannot even look for it in the request.
    for shadow in [
        "context.request.approval.granted",
        "context.request.granted",
        "context.query == \"\"",
        "context.request.query == \"\"",
    ] {
        check_refused(
            &format!("permit(principal, action in Action::\"use\", resource) when {{ {shadow} }};"),
            "attribute",
        );
    }
}

// case: POL-10
#[test]
fn only_policies_that_can_apply_are_evaluated() {
    let own = |i: usize| {
        format!(
            "permit(principal == Agent::\"a{i}\", action == Action::\"read\", resource in Resource::\"r{i}\") when {{ context.request.path like \"/*{i}*a*b*\" }};\n"
        )
    };
    let others: Vec<String> = (0..POLICIES_MAX - 2).map(own).collect();
    let files = others.chunks(1_250).map(<[String]>::concat);
    let applying = "permit(principal == Agent::\"bot\", action, resource); forbid(principal, action == Action::\"read\", resource in Resource::\"github\") when { context.request.path like \"/*a*a*a*a*a*a*a*b\" };";
    let named = |(i, text): (usize, String)| PolicySource { name: format!("p{i}.cedar"), text };
    let sources = files.chain([applying.to_owned()]).enumerate().map(named).collect();
    let policies = PolicySet::compile(PolicySources::new(sources).expect("sources")).expect("policies");
    assert_eq!(policies.rules().count(), POLICIES_MAX);
    let facts = facts(&["github: *"]);
    let (prepared, action) = (prepared(&facts), action(&facts, "GET", &format!("/{}", "a".repeat(4_000))));
    let usage = Usage::default();
    let context = UseContext::new(&prepared, &action, &usage, now());
    let evaluation = policies.evaluate_use(&prepared, &action, &context);
    assert_eq!((evaluation.evaluated, evaluation.allowed), (2, true));
}

#[test]
fn an_approval_is_asked_for_exactly_when_it_would_help() {
    let check = |text: &str, expected: &str, determining: &[&str]| {
        let (verdict, grounds) = judge(&set(text), "DELETE", "/");
        let word = match &verdict {
            Verdict::Allow => "allow".to_owned(),
            Verdict::Ask(t) => format!("ask {} {} {}", t.approvers.join(","), t.quorum, t.valid_for_s),
            Verdict::Deny => "deny".to_owned(),
            Verdict::Unsure => "unsure".to_owned(),
        };
        assert_eq!((word.as_str(), ids(&grounds)), (expected, determining.to_vec()), "{text}");
    };
    let permit_all = "permit(principal, action, resource);";
    let permit_approved = "@approvers(\"role:payments\") @quorum(\"2\") permit(principal, action, resource) when { context.approval.granted };";
    let forbid_unapproved = "@approvers(\"role:ops\") @valid_for(\"10m\") forbid(principal, action, resource) unless { context.approval.granted };";
    let forbid_all = "forbid(principal, action, resource);";
    check(permit_all, "allow", &["p#1"]);
    check(permit_approved, "ask role:payments 2 86400", &["p#1"]);
    check(&format!("{permit_all}{forbid_unapproved}"), "ask role:ops 1 600", &["p#1", "p#2"]);
    check(
        &format!("{permit_approved}{forbid_unapproved}"),
        "ask role:ops,role:payments 2 600",
        &["p#1", "p#2"],
    );
    check(&format!("{permit_approved}{forbid_all}"), "deny", &["p#2"]);
    check(forbid_unapproved, "deny", &["p#1"]);
    let broken_once_approved = "forbid(principal, action, resource) when { context.approval.granted && 9223372036854775807 + 1 > 0 };";
    check(&format!("{permit_approved}{broken_once_approved}"), "deny", &[]);
    check(&format!("{permit_all}{permit_approved}"), "allow", &["p#1"]);
}

fn check_refused(text: &str, part: &str) {
    let sources = PolicySources::one("p.cedar", text).expect("a source");
    let problems = PolicySet::compile(sources).map(|s| s.digest()).expect_err(&text[..text.len().min(200)]);
    let said = problems.iter().any(|p| format!("{p} {}", p.help.as_deref().unwrap_or("")).contains(part));
    assert!(said, "{part}: {problems:?}");
}

// case: APR-11
#[test]
fn a_set_with_a_problem_does_not_load() {
    let permit = "permit(principal, action, resource);";
    for (text, part) in [
        ("permit(principal, action, resource)", "p.cedar:1:"),
        ("permit(principal, action, resource) when { resource.colour == \"red\" };", "colour"),
        ("permit(principal, action == Action::\"fly\", resource);", "fly"),
        (
            "permit(principal, action, resource) when { resource.environment == \"dev\" };",
            "action in Action::\"use\"",
        ),
        ("permit(principal, action, resource) when { context.task.attested };", "action in Action::\"use\""),
        ("permit(principal == User::\"ana\", action, resource);", "User"),
        ("permit(principal, action, resource) when { context.task.age_s == \"old\" };", "p.cedar:1:"),
        ("permit(principal == ?principal, action, resource);", "template"),
        ("permit(principal == Agent::\"default/bot\", action, resource);", "Agent::\"bot\""),
        ("permit(principal, action, resource == Operation::\"github\");", "RESOURCE/OPERATION"),
        (&format!("@qourum(\"2\") {permit}"), "unknown annotation"),
        (&format!("@quorum(2) {permit}"), "p.cedar:1:"),
        (&format!("@quorum {permit}"), "quorum"),
        (&format!("@quorum(\"0\") {permit}"), "1 to 10"),
        (&format!("@quorum(\"-1\") {permit}"), "1 to 10"),
        (&format!("@quorum(\"true\") {permit}"), "1 to 10"),
        (&format!("@quorum(\"null\") {permit}"), "1 to 10"),
        (&format!("@quorum(\"1\") @quorum(\"2\") {permit}"), "p.cedar:1:"),
        (&format!("@id(\"a\") {permit} @id(\"a\") {permit}"), "also that of"),
        (&format!("{permit} @id(\"p#1\") {permit}"), "also that of"),
        (&format!("{permit}\n\n  forbid(principal, action, resource) when {{ 1 }};"), "p.cedar:3:"),
    ] {
        check_refused(text, part);
    }
}

// case: POL-10
#[test]
fn a_text_made_to_exhaust_the_stack_is_refused() {
    let within = |body: String| format!("permit(principal, action, resource) when {{ {body} }};");
    let nested = |n: usize| within(format!("{}true{}", "(".repeat(n), ")".repeat(n)));
    assert_eq!(judge(&set(&nested(NESTING_MAX - 1)), "GET", "/").0, Verdict::Allow);
    check_refused(&nested(NESTING_MAX), "nested");
    check_refused(&nested(100_000), "nested");
    check_refused(
        &within(format!("{}true{}", "if true then ".repeat(5_000), " else true".repeat(5_000))),
        "nested",
    );
    let longest = within(format!("{}true", "true&&".repeat((POLICY_BYTES_MAX - 60) / 6)));
    assert_eq!(judge(&set(&longest), "GET", "/").0, Verdict::Allow);
    let chains = [
        ("principal", ".a", " == 1"),
        ("principal", "[\"a\"]", " == 1"),
        ("1", "+1", " == 1"),
        ("1", "*1", " == 1"),
        ("", "!", "true"),
        ("", "-", "1 == 1"),
        ("[", "1,", "1].isEmpty()"),
        ("true", "||true", ""),
    ];
    for (before, link, after) in chains {
        let chain = |bytes: usize| within(format!("{before}{}{after}", link.repeat(bytes / link.len())));
        check_refused(&chain(250_000), "longer than 8192");
        // Whatever the parser and the validator think of the longest one that they get, they live.
        let sources = PolicySources::one("p.cedar", &chain(POLICY_BYTES_MAX - 80)).expect("a source");
        drop(PolicySet::compile(sources));
    }
}

// case: POL-10
#[test]
fn a_set_holds_a_bounded_number_of_policies() {
    let half = "permit(principal,action,resource);".repeat(POLICIES_MAX / 2);
    let sources = |extra: &str| {
        let texts = [half.as_str(), half.as_str(), extra].into_iter().enumerate();
        PolicySources::new(
            texts.map(|(i, t)| PolicySource { name: format!("p{i}"), text: t.to_owned() }).collect(),
        )
        .expect("sources")
    };
    let refused = PolicySet::compile(sources("forbid(principal,action,resource);"))
        .map(|s| s.digest())
        .expect_err("one too many");
    assert!(refused[0].message.contains("10001 policies"), "{refused:?}");
}

#[test]
fn policies_have_stable_ids_and_places() {
    let policies = set(
        "// first\npermit(principal, action, resource);\n@id(\"named\") @note(\"why\")\nforbid(principal, action, resource);\n\npermit(principal, action, resource);",
    );
    let found: Vec<_> = policies.rules().map(|r| (r.id(), r.line(), r.forbids())).collect();
    assert_eq!(found, [("named", 3, true), ("p#1", 2, false), ("p#3", 6, false)]);
    assert!(policies.rule("named").is_some_and(|r| r.text().starts_with("@id")));
    assert_eq!(policies.digest(), policies.sources().digest());
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let impossible = set("permit(principal, action, resource) when { principal.name == \"a\" && false };");
    let silent = set("@quorum(\"2\") permit(principal, action, resource);");
    let lookalike = set("permit(principal, action, resource) when { principal.name == \"b\u{043e}t\" };");
    for (policies, part) in [(&impossible, "impossible"), (&silent, "approval"), (&lookalike, "script")] {
        assert!(
            policies.warnings().iter().any(|w| w.message.contains(part)),
            "{part}: {:?}",
            policies.warnings()
        );
    }
    assert!(set("permit(principal, action, resource);").warnings().is_empty());
}

#[test]
fn the_starter_set_leaves_the_deciding_to_boundaries() {
    let policies = PolicySet::compile(starter()).expect("the starter set");
    assert!(policies.warnings().is_empty());
    for method in ["GET", "POST", "DELETE"] {
        let (verdict, grounds) = judge(&policies, method, "/");
        assert_eq!(
            (verdict, ids(&grounds)),
            (Verdict::Allow, vec!["starter/use-within-boundary"]),
            "{method}"
        );
    }
    let with_example: String = starter::STARTER_TEXT
        .lines()
        .map(|l| {
            l.strip_prefix("// ")
                .filter(|l| {
                    !l.starts_with(char::is_uppercase) && !l.starts_with("say") && !l.starts_with("enabled")
                })
                .unwrap_or(l)
                .to_owned()
                + "\n"
        })
        .collect();
    let (verdict, grounds) = judge(&set(&with_example), "DELETE", "/");
    assert!(matches!(verdict, Verdict::Ask(ref t) if t.valid_for_s == 1_800), "{verdict:?}");
    assert_eq!(ids(&grounds), ["prod/delete-needs-approval", "starter/use-within-boundary"]);
}

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal == Agent::\"bot\"",
    "principal == Agent::\"other\"",
    "principal in Agent::\"bot\"",
    "principal in Tenant::\"default\"",
    "principal in Tenant::\"foreign\"",
    "principal is Agent",
    "principal is Agent in Tenant::\"default\"",
];
const ACTIONS: &[&str] = &[
    "action",
    "action == Action::\"read\"",
    "action == Action::\"delete\"",
    "action in [Action::\"read\", Action::\"write\"]",
    "action in [Action::\"start\", Action::\"read\"]",
    "action == Action::\"start\"",
    "action in Action::\"use\"",
    "action in [Action::\"use\", Action::\"start\"]",
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource == Operation::\"github/http.get\"",
    "resource == Operation::\"github/http.post\"",
    "resource in Resource::\"github\"",
    "resource in Resource::\"other\"",
    "resource in Tenant::\"default\"",
    "resource is Operation in Resource::\"github\"",
    "resource is Operation",
];
const CONDITIONS: &[&str] = &[
    "",
    "when { context.approval.granted }",
    "when { context.request has path && context.request.path like \"/a*\" }",
    "unless { context has task && context.task.attested }",
    "when { context has task && context.task.calls * 9223372036854775807 > 0 }",
];

fn a_policy() -> impl Strategy<Value = String> {
    let one_of = proptest::sample::select::<&str>;
    let actions = proptest::sample::select(ACTIONS);
    (
        one_of(&["permit", "permit", "forbid"][..]),
        one_of(PRINCIPALS),
        actions,
        one_of(RESOURCES),
        one_of(CONDITIONS),
    )
        .prop_map(|(effect, p, a, r, condition)| format!("{effect}({p}, {a}, {r}) {condition};"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    // case: POL-10, POL-02
    #[test]
    fn a_slice_answers_like_the_whole_set(
        policies in proptest::collection::vec(a_policy(), 0..10),
        method in proptest::sample::select(&["GET", "POST", "DELETE"][..]),
        path in proptest::sample::select(&["/a/b", "/c"][..]),
        calls in 0_u64..3,
    ) {
        let text = policies.join("\n");
        let policies = set(&text);
        let facts = facts(&["github: *"]);
        let (prepared, action) = (prepared(&facts), action(&facts, method, path));
        let mut usage = Usage::default();
        usage.add(0, calls, 0);
        let plain = UseContext::new(&prepared, &action, &usage, now());
        for context in [plain.approved(), plain] {
            let sliced = policies.evaluate_use(&prepared, &action, &context);
            let whole = whole(&policies, &prepared, &action, &context);
            prop_assert_eq!((sliced.allowed, &sliced.determining, &sliced.errors), (whole.allowed, &whole.determining, &whole.errors));
            prop_assert!(sliced.evaluated <= whole.evaluated);
        }
    }
}

fn whole(policies: &PolicySet, prepared: &Prepared, action: &Action, context: &UseContext<'_>) -> Evaluation {
    let all = policies.index().policies();
    let set = cedar_policy::PolicySet::from_policies(all.iter().cloned()).expect("ids are unique");
    let asked = action.asked().expect("a known operation");
    let entities = prepared.entities();
    let (operation, _) = entities.operation(asked.resource, asked.operation).expect("an entity");
    let about = About {
        principal: entities.principal(),
        action: schema::effect(asked.effect),
        resource: operation,
        within: None,
        tenant: entities.tenant(),
    };
    let request = request(about, context.built()).expect("a request");
    Evaluation::of(&Authorizer::new().is_authorized(&request, &set, entities.entities()), all.len())
}
