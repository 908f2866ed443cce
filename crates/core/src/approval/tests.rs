//! The transitions of a request: who may answer, what an answer changes, and what nothing changes any more.

use super::*;
use crate::fixture;

const DAY_MS: i64 = 24 * 3_600_000;

fn owner(name: &str) -> Owner {
    Owner::parse(name).expect("an owner")
}

fn person(name: &str, role: Role) -> Operator {
    Operator::first(&fixture::tenant(), &owner(name), role, fixture::now())
}

fn request() -> Request {
    let link = ChainLink {
        task: TaskId::from_random([1; 16]),
        agent: "bot".parse().expect("a name"),
        owner: owner("ada@acme.test"),
        purpose: Purpose::parse("tidy up").expect("a purpose"),
        requested_by: Some(Requester::parse("ana@acme.test").expect("a requester")),
        uid: Some(1000),
    };
    Request {
        tenant: fixture::tenant(),
        id: RequestId::from_random([2; 16]),
        task: link.task.clone(),
        agent: link.agent.clone(),
        asked: Asked::Call {
            resource: "github".parse().expect("a name"),
            owner: owner("team:platform"),
            operation: "delete".parse().expect("an operation"),
            effect: Effect::Delete,
            method: "DELETE".to_owned(),
            url: "https://github.example/a".to_owned(),
            query: None,
            body: None,
        },
        digest: Digest::of(b"exactly this"),
        chain: vec![link],
        terms: Terms {
            approvers: vec!["role:approver".to_owned()],
            quorum: 1,
            valid_for_s: 3_600,
            per: Per::Action,
            passkey: false,
            not_owner: false,
            undo: None,
        },
        policies: Vec::new(),
        policy_set: Digest::of(b"policies"),
        count: 1,
        raised_at: fixture::now(),
        expires_at: fixture::now().plus_ms(3_600_000),
        yes: Vec::new(),
        state: RequestState::Pending,
    }
}

fn yes(request: Request, who: &Operator) -> Result<Request, AnswerError> {
    request.approve(who, &Digest::of(b"exactly this"), Scope::Call, false, None, fixture::now())
}

// case: APR-06
#[test]
fn nothing_changes_what_is_over() {
    let (bo, now) = (person("bo@acme.test", Role::Approver), fixture::now());
    let denied = request().deny(&bo, None, now).expect("pending");
    let withdrawn = request().withdraw(None, now).expect("pending");
    let granted = yes(request(), &bo).expect("pending");
    let consumed = granted.clone().consume(None, now).expect("granted");
    let expired = Request { expires_at: now, ..request() };
    for over in [&denied, &withdrawn, &consumed, &expired] {
        let status = over.status_at(now);
        assert_eq!(yes(over.clone(), &bo), Err(AnswerError::NotPending(status)));
        assert_eq!(over.clone().deny(&bo, None, now), Err(AnswerError::NotPending(status)));
        assert_eq!(over.clone().withdraw(None, now), Err(AnswerError::NothingToWithdraw(status)));
        assert_eq!(over.clone().consume(None, now), Err(AnswerError::NotPending(status)));
    }
    assert_eq!(request().consume(None, now), Err(AnswerError::NotPending("pending")));
    assert_eq!(granted.clone().deny(&bo, None, now), Err(AnswerError::NotPending("granted")));
    // A grant that was not used in time is worth nothing, and one that was taken back neither.
    assert_eq!(granted.status_at(now.plus_ms(DAY_MS)), "expired");
    assert_eq!(granted.clone().consume(None, now.plus_ms(DAY_MS)), Err(AnswerError::NotPending("expired")));
    let back = granted.withdraw(Some("bo@acme.test"), now).expect("not used");
    assert_eq!(back.consume(None, now), Err(AnswerError::NotPending("withdrawn")));
}

// case: APR-03, APR-04
#[test]
fn who_may_answer() {
    let check = |who: &Operator| request().may_be_answered_by(who);
    assert_eq!(check(&person("bo@acme.test", Role::Approver)), Ok(()));
    let not_asked = |who: &Operator| matches!(check(who), Err(AnswerError::NotAsked { .. }));
    for role in [Role::Admin, Role::Owner, Role::Auditor] {
        assert!(not_asked(&person("bo@acme.test", role)), "{role}");
    }
    let involved = |who: &Operator| matches!(check(who), Err(AnswerError::Involved { .. }));
    assert!(involved(&person("ana@acme.test", Role::Approver)));
    assert!(involved(&person("uid-1000@localhost", Role::Approver)));
    let other =
        Operator { same_person_as: Some(owner("ana@acme.test")), ..person("a@acme.test", Role::Approver) };
    assert!(involved(&other));
    let gone = person("bo@acme.test", Role::Approver).lapse(fixture::now());
    assert_eq!(check(&gone), Err(AnswerError::Lapsed(owner("bo@acme.test"))));
    // Named by nobody: whoever answers for the resource.
    let theirs = Request { terms: Terms { approvers: Vec::new(), ..request().terms }, ..request() };
    let mut cy = person("cy@acme.test", Role::Owner);
    assert!(theirs.may_be_answered_by(&cy).is_err());
    cy.groups.insert(crate::operator::Group::parse("platform").expect("a group"));
    assert_eq!(theirs.may_be_answered_by(&cy), Ok(()));
    // Only reading is no answering, in whichever group.
    let auditor = Operator { roles: [Role::Auditor].into(), ..cy };
    assert!(theirs.may_be_answered_by(&auditor).is_err());
}

#[test]
fn a_yes_is_to_what_was_shown_and_as_wide_as_policy_allows() {
    let (bo, now) = (person("bo@acme.test", Role::Approver), fixture::now());
    let shown = Digest::of(b"exactly this");
    let other = request().approve(&bo, &Digest::of(b"something else"), Scope::Call, false, None, now);
    assert_eq!(other, Err(AnswerError::OtherDigest));
    let wide = request().approve(&bo, &shown, Scope::Operation, false, None, now);
    assert_eq!(wide, Err(AnswerError::ScopeTooWide));
    let mut passkey = request();
    passkey.terms.passkey = true;
    assert_eq!(yes(passkey.clone(), &bo), Err(AnswerError::NeedsPasskey));
    assert!(passkey.approve(&bo, &shown, Scope::Call, true, None, now).is_ok());
}

// case: APR-10
#[test]
fn a_quorum_is_of_different_people_and_the_narrowest_scope_holds() {
    let (bo, cy) = (person("bo@acme.test", Role::Approver), person("cy@acme.test", Role::Approver));
    let (shown, now) = (Digest::of(b"exactly this"), fixture::now());
    let mut two = request();
    (two.terms.quorum, two.terms.per) = (2, Per::Task);
    let one = two.approve(&bo, &shown, Scope::Operation, false, None, now).expect("the first");
    assert_eq!((one.status_at(now), one.missing()), ("pending", 1));
    assert_eq!(yes(one.clone(), &bo), Err(AnswerError::Twice(owner("bo@acme.test"))));
    let alias =
        Operator { same_person_as: Some(owner("bo@acme.test")), ..person("b2@acme.test", Role::Approver) };
    assert_eq!(yes(one.clone(), &alias), Err(AnswerError::Twice(owner("b2@acme.test"))));
    let both = yes(one.clone(), &cy).expect("the second");
    assert!(matches!(both.state, RequestState::Granted { scope: Scope::Call, .. }));
    // One no is enough, also after a yes.
    assert_eq!(one.deny(&cy, None, now).map(|r| r.status_at(now)), Ok("denied"));
}
