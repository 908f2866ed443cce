//! What a person's answer is worth at the moment of use.

use super::*;
use crate::approval::{Approver, Scope};
use crate::digest::Digest;
use crate::operator::{Operator, Role};
use crate::text::{Owner, Requester};
use accredit_identity::id::RequestId;

/// Nothing goes without a person; `@per` is set by the tests that want it.
const ASKS: &str =
    "@approvers(\"role:approver\") permit(principal, action, resource) when { context.approval.granted };";

fn owner(name: &str) -> Owner {
    Owner::parse(name).expect("an owner")
}

fn approver(name: &str) -> Approver {
    let operator = Operator::first(&fixture::tenant(), &owner(name), Role::Approver, fixture::now());
    Approver { operator: Some(operator), passkey: false }
}

/// A world in which bo said yes to exactly what will be asked.
fn granted() -> World {
    let mut world = World::new(&["github: *"]);
    world.policies = ASKS;
    let policy_set = fixture::set(ASKS).digest();
    world.facts.policy_set = policy_set;
    let resource = &world.facts.target.as_ref().expect("a target").resource;
    let call = fixture::call(world.host, world.method, "/a");
    let exact = call.exact().expect("nothing is left open");
    let action = Action::new(call, Some(resource));
    world.facts.approvals = vec![Approval {
        request: RequestId::from_random([7; 16]),
        scope: Scope::Call,
        digest: exact,
        resource: resource.name.clone(),
        operation: action.operation().clone(),
        policy_set,
        until: Timestamp::from_ms(START_MS + TTL_MS),
        by: vec![approver("bo@acme.test")],
    }];
    world
}

#[track_caller]
fn worth(expected: &str, change: impl FnOnce(&mut World, &mut Approval)) {
    let mut world = granted();
    let mut approval = world.facts.approvals.remove(0);
    change(&mut world, &mut approval);
    world.facts.approvals.push(approval);
    assert_eq!(world.code(), expected);
}

fn change_person(approval: &mut Approval, change: impl FnOnce(&mut Operator)) {
    change(approval.by[0].operator.as_mut().expect("bo"));
}

// case: APR-01, APR-05
#[test]
fn a_yes_is_worth_something_for_what_it_was_said_to_and_for_a_while() {
    let weighed = granted().weigh();
    assert_eq!(weighed.outcome, Outcome::Allow);
    assert_eq!(weighed.grounds.approval.map(|a| a.scope), Some(Scope::Call));
    worth("approval_pending", |_, a| a.digest = Digest::of(b"one byte less"));
    worth("approval_pending", |w, _| w.method = "HEAD");
    worth("approval_pending", |_, a| a.resource = "gitlab".parse().expect("a name"));
    worth("approval_pending", |_, a| a.until = fixture::now());
    worth("approval_pending", |_, a| a.policy_set = Digest::of(b"the policies of yesterday"));
    // It lifts what policy asks about, and nothing else.
    worth("outside_boundary", |w, _| w.facts.chain[0].task.boundary.usable.clear());
    worth("owner_lapsed", |w, _| w.facts.chain[0].agent_owner = Standing::Lapsed { at: fixture::now() });
}

// case: APR-07, APR-04
#[test]
fn whoever_said_yes_is_looked_at_again() {
    worth("allowed", |_, _| {});
    worth("approval_pending", |_, a| a.by.clear());
    worth("approval_pending", |_, a| a.by[0].operator = None);
    worth("approval_pending", |_, a| {
        change_person(a, |who| who.standing = Standing::Lapsed { at: fixture::now() });
    });
    worth("approval_pending", |_, a| change_person(a, |who| who.roles = [Role::Auditor].into()));
    worth("approval_pending", |_, a| change_person(a, |who| who.roles.clear()));
}

// case: APR-03
#[test]
fn nobody_answers_for_themselves() {
    let ask = |who: &str| Some(Requester::parse(who).expect("a requester"));
    worth("approval_pending", |w, _| w.facts.chain[0].task.requested_by = ask("bo@acme.test"));
    worth("approval_pending", |w, _| w.facts.chain[0].task.requested_by = ask("BO@acme.test"));
    // The same person by another account.
    worth("approval_pending", |w, a| {
        w.facts.chain[0].task.requested_by = ask("bo@acme.test");
        change_person(a, |who| {
            who.name = owner("bo.admin@acme.test");
            who.same_person_as = Some(owner("bo@acme.test"));
        });
    });
    // The user that the runner runs as, on the authority's own machine.
    worth("approval_pending", |w, a| {
        w.facts.chain[0].task.instance.process = Some((4711, 1000));
        change_person(a, |who| who.name = owner("uid-1000@localhost"));
    });
    // Whoever answers for the agent may, unless policy says otherwise.
    worth("allowed", |w, _| w.facts.chain[0].agent.owner = owner("bo@acme.test"));
    worth("approval_pending", |w, a| {
        w.policies = "@approvers(\"role:approver\") @not(\"owner\")
            permit(principal, action, resource) when { context.approval.granted };";
        w.facts.policy_set = fixture::set(w.policies).digest();
        a.policy_set = w.facts.policy_set;
        w.facts.chain[0].agent.owner = owner("bo@acme.test");
    });
}

// case: APR-10
#[test]
fn a_quorum_counts_people() {
    const TWO: &str = "@approvers(\"role:approver\") @quorum(\"2\")
        permit(principal, action, resource) when { context.approval.granted };";
    let by = |people: Vec<Approver>| {
        move |w: &mut World, a: &mut Approval| {
            w.policies = TWO;
            w.facts.policy_set = fixture::set(TWO).digest();
            a.policy_set = w.facts.policy_set;
            a.by = people;
        }
    };
    worth("approval_pending", by(vec![approver("bo@acme.test")]));
    worth("approval_pending", by(vec![approver("bo@acme.test"), approver("bo@acme.test")]));
    let mut other = approver("bo.admin@acme.test");
    other.operator.as_mut().expect("bo").same_person_as = Some(owner("bo@acme.test"));
    worth("approval_pending", by(vec![approver("bo@acme.test"), other]));
    worth("allowed", by(vec![approver("bo@acme.test"), approver("cy@acme.test")]));
}

#[test]
fn an_answer_for_the_rest_of_the_task_needs_a_policy_that_allows_it() {
    worth("approval_pending", |_, a| {
        a.scope = Scope::Operation;
        a.digest = Digest::of(b"another call");
    });
    worth("allowed", |w, a| {
        w.policies = "@approvers(\"role:approver\") @per(\"task\")
            permit(principal, action, resource) when { context.approval.granted };";
        w.facts.policy_set = fixture::set(w.policies).digest();
        a.policy_set = w.facts.policy_set;
        a.scope = Scope::Operation;
        a.digest = Digest::of(b"another call");
    });
}

#[test]
fn a_yes_by_passkey_is_asked_for_where_policy_says_so() {
    let asks = |w: &mut World, a: &mut Approval| {
        w.policies = "@approvers(\"role:approver\") @step_up(\"passkey\")
            permit(principal, action, resource) when { context.approval.granted };";
        w.facts.policy_set = fixture::set(w.policies).digest();
        a.policy_set = w.facts.policy_set;
    };
    worth("approval_pending", asks);
    worth("allowed", |w, a| {
        asks(w, a);
        a.by[0].passkey = true;
    });
}

#[test]
fn what_was_denied_is_not_asked_again_and_the_task_hears_why() {
    let mut world = granted();
    let digest = world.facts.approvals.remove(0).digest;
    let request = RequestId::from_random([8; 16]);
    let reason = Some(Reason::parse("use the staging copy").expect("a reason"));
    world.facts.denials = vec![Denial { request, digest, by: owner("bo@acme.test"), reason }];
    let weighed = world.weigh();
    let refusal = weighed.outcome.refusal().expect("denied");
    assert_eq!(refusal.code, Code::ApprovalDenied);
    assert!(refusal.detail.contains("bo@acme.test") && refusal.detail.contains("use the staging copy"));
    world.facts.denials[0].digest = Digest::of(b"something else");
    assert_eq!(world.code(), "approval_pending");
}

#[test]
fn a_task_asks_twenty_questions_and_no_more() {
    let mut world = granted();
    world.facts.approvals.clear();
    world.usage.ask(QUESTIONS_MAX - 1);
    assert_eq!(world.code(), "approval_pending");
    world.usage.ask(1);
    assert_eq!(world.code(), "questions_used_up");
}
