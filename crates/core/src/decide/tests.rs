//! One table per step of a decision: who asks, what is there, what the task may touch, policy.

use super::*;
use crate::agent::AgentStatus;
use crate::credential::CredentialStatus;
use crate::fixture::{self, START_MS, TTL_MS};
use crate::host::Endpoint;
use crate::resource::{Mode, ResourceStatus};
use crate::task::TaskState;
use crate::text::Reason;

const PERMIT: &str = "permit(principal, action, resource);";

/// One decision about `METHOD /a` at `github.example`, in order but for what a test changes.
struct World {
    facts: Facts,
    method: &'static str,
    host: &'static str,
    usage: Usage,
    now: Timestamp,
    policies: &'static str,
}

impl World {
    fn new(grants: &[&str]) -> Self {
        let facts = fixture::facts(grants);
        Self {
            facts,
            method: "GET",
            host: "github.example",
            usage: Usage::default(),
            now: fixture::now(),
            policies: PERMIT,
        }
    }

    fn target(&mut self) -> &mut Target {
        self.facts.target.as_mut().expect("the fixture has a target")
    }

    fn weigh(&self) -> Weighed {
        let prepared = fixture::prepared(&self.facts);
        let resource = self.facts.target.as_ref().map(|t| &t.resource);
        let action = Action::new(fixture::call(self.host, self.method, "/a"), resource);
        let policies = fixture::set(self.policies);
        weigh(&Who::holder(prepared.own()), &prepared, &action, &self.usage, &policies, self.now)
    }

    fn code(&self) -> &'static str {
        self.weigh().outcome.refusal().map_or("allowed", |r| r.code.as_str())
    }
}

fn check(expected: &str, change: impl FnOnce(&mut World)) {
    let mut world = World::new(&["github: *"]);
    change(&mut world);
    assert_eq!(world.code(), expected);
}

fn used(calls: u64, bytes: u64) -> Usage {
    Usage::new(vec![Used { calls, bytes }])
}

fn reason() -> Reason {
    Reason::parse("odd").expect("a reason")
}

#[test]
fn a_task_that_is_over_is_over_to_the_millisecond() {
    let at = fixture::now();
    check("allowed", |_| {});
    check("allowed", |w| w.now = Timestamp::from_ms(START_MS + TTL_MS - 1));
    check("task_expired", |w| w.now = Timestamp::from_ms(START_MS + TTL_MS));
    check("task_not_started", |w| w.facts.chain[0].task.state = TaskState::Proposed);
    for how in [Ending::Completed, Ending::Failed, Ending::Revoked] {
        check("task_ended", |w| w.facts.chain[0].task.state = TaskState::Ended { at, how, reason: None });
    }
    check("task_expired", |w| {
        w.facts.chain[0].task.state = TaskState::Ended { at, how: Ending::Expired, reason: None }
    });
}

#[test]
fn who_no_longer_answers_stops_what_it_owns() {
    let at = fixture::now();
    check("agent_suspended", |w| {
        w.facts.chain[0].agent.status = AgentStatus::Suspended { at, reason: reason() }
    });
    check("owner_lapsed", |w| w.facts.chain[0].agent_owner = Standing::Lapsed { at });
    check("owner_lapsed", |w| w.target().owner = Standing::Lapsed { at });
}

#[test]
fn a_task_is_for_the_instance_that_it_was_given_to() {
    let facts = fixture::facts(&["github: *"]);
    let prepared = fixture::prepared(&facts);
    let action = fixture::action(&facts, "GET", "/a");
    let holder = Who::holder(prepared.own());
    let tenant = TenantName::parse("other").expect("a name");
    let agent = AgentName::parse("other").expect("a name");
    let task = TaskId::from_random([9; 16]);
    let instance = InstanceId::from_random([9; 16]);
    let key = Thumbprint::parse(&format!("{}E", "A".repeat(42))).expect("a thumbprint");
    for (expected, who) in [
        ("allowed", holder),
        ("not_your_task", Who { tenant: &tenant, ..holder }),
        ("not_your_task", Who { agent: &agent, ..holder }),
        ("not_your_task", Who { task: &task, ..holder }),
        ("not_your_task", Who { instance: &instance, ..holder }),
        ("not_your_task", Who { key: &key, ..holder }),
    ] {
        let found = weigh(&who, &prepared, &action, &Usage::default(), &fixture::set(PERMIT), fixture::now());
        assert_eq!(found.outcome.refusal().map_or("allowed", |r| r.code.as_str()), expected, "{who:?}");
    }
}

// case: EGR-09, EGR-10
#[test]
fn what_is_not_registered_is_not_reached() {
    check("unknown_host", |w| w.facts.target = None);
    for host in [
        "evil.example",
        "github.example.evil.test",
        "evil-github.example",
        "github.example:8443",
        "github.example:80",
    ] {
        check("unknown_host", |w| w.host = host);
    }
    check("unknown_host", |w| w.host = "http://github.example");
    // Facts about one resource never answer for an action on another.
    let facts = fixture::facts(&["github: *", "billing: *"]);
    let mut billing = fixture::resource("billing");
    billing.endpoints = vec![Endpoint::parse("github.example").expect("an endpoint")];
    let action = Action::new(fixture::call("github.example", "GET", "/a"), Some(&billing));
    let prepared = fixture::prepared(&facts);
    let found = weigh(
        &Who::holder(prepared.own()),
        &prepared,
        &action,
        &Usage::default(),
        &fixture::set(PERMIT),
        fixture::now(),
    );
    assert_eq!(found.outcome.refusal().map(|r| r.code), Some(Code::UnknownHost));
}

// case: HTTP-14
#[test]
fn a_method_is_carried_in_capitals_or_not_at_all() {
    for method in ["get", "GeT", "GET\t", "X-UNKNOWN", "TRACE", "CONNECT", ""] {
        check("method_not_carried", |w| w.method = method);
    }
    let only_get = |method| {
        let mut world = World::new(&["github: GET /a"]);
        world.method = method;
        world.code()
    };
    assert_eq!(only_get("GET"), "allowed");
    for method in ["HEAD", "PATCH", "POST", "DELETE"] {
        assert_eq!(only_get(method), "outside_boundary", "{method}");
    }
}

#[test]
fn a_resource_or_credential_that_is_gone_is_not_used() {
    let at = fixture::now();
    check("resource_retired", |w| w.target().resource.status = ResourceStatus::Retired { at });
    check("credential_revoked", |w| {
        w.target().credential.as_mut().expect("a credential").status =
            CredentialStatus::Revoked { at, reason: None }
    });
    check("secret_missing", |w| w.target().credential.as_mut().expect("a credential").secret_version = None);
    check("secret_missing", |w| w.target().credential = None);
    check("allowed", |w| {
        w.target().credential = None;
        w.target().resource.credential = None;
    });
}

#[test]
fn a_boundary_holds_with_its_limits() {
    let code = |grants: &[&str], usage: Usage, after_ms: i64| {
        let mut world = World::new(grants);
        (world.usage, world.now) = (usage, Timestamp::from_ms(START_MS + after_ms));
        let weighed = world.weigh();
        (weighed.outcome.refusal().map_or("allowed", |r| r.code.as_str()), weighed.grant())
    };
    assert_eq!(code(&["github: GET /b", "other: *"], used(0, 0), 0), ("outside_boundary", None));
    assert_eq!(code(&["github: * calls<=2"], used(1, 0), 0), ("allowed", Some(0)));
    assert_eq!(code(&["github: * calls<=2"], used(2, 0), 0), ("limit_reached", None));
    assert_eq!(code(&["github: * calls<=0"], used(0, 0), 0), ("limit_reached", None));
    assert_eq!(code(&["github: * bytes<=1KB"], used(0, 999), 0), ("allowed", Some(0)));
    assert_eq!(code(&["github: * bytes<=1KB"], used(0, 1_000), 0), ("limit_reached", None));
    assert_eq!(code(&["github: * for<=10s"], used(0, 0), 9_999), ("allowed", Some(0)));
    assert_eq!(code(&["github: * for<=10s"], used(0, 0), 10_000), ("limit_reached", None));
    assert_eq!(code(&["github: * calls<=2", "github: read"], used(2, 0), 0), ("allowed", Some(1)));
    assert_eq!(code(&["github: * calls<=2", "github: write"], used(2, 0), 0), ("limit_reached", None));
}

/// A chain of two: `bot` acts with what `boss` handed down.
fn handed_down(delegable: &[&str]) -> World {
    let mut world = World::new(&["github: *"]);
    let mut boss = fixture::link(2, "boss", &["github: *"]);
    boss.task.boundary.delegable = delegable.iter().map(|g| Grant::parse(g).expect("a grant")).collect();
    world.facts.chain[0].task.parent = Some(boss.task.id.clone());
    world.facts.chain.push(boss);
    world
}

// case: DEL-11
#[test]
fn what_is_limited_above_is_shared_by_everything_below() {
    let used = |calls, bytes| {
        let mut boss = Usage::default();
        boss.add(crate::boundary::Boundary::place_of_delegable(0), calls, bytes);
        boss
    };
    let code = |delegable: &[&str], boss: &Usage| {
        let mut world = handed_down(delegable);
        world.usage = Usage::default().below([boss]);
        let weighed = world.weigh();
        (weighed.outcome.refusal().map_or("allowed", |r| r.code.as_str()), weighed.charges.len())
    };
    assert_eq!(code(&["github: * calls<=5"], &used(4, 0)), ("allowed", 2));
    assert_eq!(code(&["github: * calls<=5"], &used(5, 0)), ("limit_reached", 0));
    assert_eq!(code(&["github: * bytes<=9"], &used(1, 9)), ("limit_reached", 0));
    assert_eq!(
        code(&["github: * calls<=5", "github: read"], &used(5, 0)),
        ("allowed", 1),
        "another grant has room"
    );
    assert_eq!(code(&["github: *"], &used(5, 0)), ("allowed", 1), "what is not limited is not counted");
}

// case: DEL-05
#[test]
fn a_child_may_do_what_those_above_it_still_hand_down() {
    assert_eq!(handed_down(&["github: read"]).code(), "allowed");
    // What the parent may do itself is not what it hands down.
    assert_eq!(handed_down(&[]).code(), "outside_boundary");
    assert_eq!(handed_down(&["github: write"]).code(), "outside_boundary");
    assert_eq!(handed_down(&["github: read for<=10s"]).code(), "outside_boundary");
    assert_eq!(handed_down(&["github: read for<=11s"]).code(), "allowed");
    let at = fixture::now();
    let above = |change: &dyn Fn(&mut Link)| {
        let mut world = handed_down(&["github: *"]);
        change(&mut world.facts.chain[1]);
        world.code()
    };
    assert_eq!(above(&|_| {}), "allowed");
    assert_eq!(
        above(&|l| l.task.state = TaskState::Ended { at, how: Ending::Revoked, reason: None }),
        "task_ended"
    );
    assert_eq!(above(&|l| l.task.state = TaskState::Active { since: at, expires_at: at }), "task_expired");
    assert_eq!(
        above(&|l| l.agent.status = AgentStatus::Suspended { at, reason: reason() }),
        "agent_suspended"
    );
    assert_eq!(above(&|l| l.agent_owner = Standing::Lapsed { at }), "owner_lapsed");
}

// case: POL-01, POL-02, POL-03
#[test]
fn policy_has_the_last_word() {
    check("denied_by_policy", |w| w.policies = "");
    check("denied_by_policy", |w| {
        w.policies =
            "permit(principal, action, resource); forbid(principal == Agent::\"bot\", action, resource);"
    });
    check("approval_pending", |w| {
        w.policies = "permit(principal, action, resource) when { context.approval.granted };"
    });
    check("policy_error", |w| w.policies = BROKEN);
    check(
        "allowed",
        |w| w.policies = "permit(principal, action == Action::\"read\", resource) when { context.chain.depth == 0 && context.chain.agents == [\"bot\"] && context.task.age_s == 10 && context.now > datetime(\"2026-01-01\") };",
    );
}

const BROKEN: &str = "permit(principal, action, resource);
    forbid(principal, action in Action::\"use\", resource) when { context.task.calls - 9223372036854775807 - 9 > 0 };";

/// The code and whether it blocks, as [`Decision::blocked_by`] tells it.
fn observed(change: impl FnOnce(&mut World)) -> (&'static str, bool) {
    let mut world = World::new(&["github: *"]);
    world.target().resource.mode = Mode::Observe;
    change(&mut world);
    let weighed = world.weigh();
    let mode = world.facts.target.as_ref().map_or(Mode::Enforce, |t| t.resource.mode);
    let blocks = weighed.outcome.blocked_by(mode).is_some();
    (weighed.outcome.refusal().map_or("allowed", |r| r.code.as_str()), blocks)
}

// case: POL-03
#[test]
fn observing_lets_through_what_is_only_a_matter_of_policy() {
    let at = fixture::now();
    assert_eq!(observed(|_| {}), ("allowed", false));
    assert_eq!(observed(|w| w.policies = ""), ("denied_by_policy", false));
    assert_eq!(
        observed(|w| w.policies = "permit(principal, action, resource) when { context.approval.granted };"),
        ("approval_pending", false)
    );
    assert_eq!(observed(|w| w.facts.chain[0].task.boundary.usable.clear()), ("outside_boundary", false));
    assert_eq!(observed(|w| w.policies = BROKEN), ("policy_error", true));
    assert_eq!(observed(|w| w.now = Timestamp::from_ms(START_MS + TTL_MS)), ("task_expired", true));
    assert_eq!(observed(|w| w.method = "TRACE"), ("method_not_carried", true));
    assert_eq!(observed(|w| w.facts.target = None), ("unknown_host", true));
    assert_eq!(observed(|w| w.facts.chain[0].agent_owner = Standing::Lapsed { at }), ("owner_lapsed", true));
    assert_eq!(observed(|w| w.target().credential = None), ("secret_missing", true));
}

#[test]
fn a_refusal_says_what_to_do_next_and_names_no_secret_thing() {
    let mut world = World::new(&["github: GET /b"]);
    let weighed = world.weigh();
    let refusal = weighed.outcome.refusal().expect("outside its boundary");
    assert!(refusal.next_step.contains("`github: GET /a`"), "{refusal:?}");
    world.policies = "@id(\"secret-rule\") forbid(principal, action, resource);";
    world.facts.chain[0].task.boundary = crate::boundary::Boundary::parse(["github: *"]).expect("grants");
    let weighed = world.weigh();
    let refusal = weighed.outcome.refusal().expect("forbidden");
    assert!(!format!("{refusal:?}").contains("secret-rule"));
    assert_eq!(weighed.grounds.policies, ["secret-rule"]);
}

mod approved;
