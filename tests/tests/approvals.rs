//! People answer: what an answer is worth, for what, for how long, and for whom it is none.

use std::sync::{Arc, Mutex, Weak};

use accredit_tests::harness::{Run, Setup, wait_for};
use accredit_tests::person::Person;
use accredit_tests::shell::Shell;
use accredit_tests::world::{World, shared};
use serde_json::Value;

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

/// What `World` says, with resets that are answered for the rest of the task and a task that a person must agree to.
const MORE: &str = r#"
@id("test/cancellations-wait-once")
@approvers("role:approver")
@per("task")
@undo("Create the order anew.")
forbid (principal, action == Action::"write", resource)
when { context.request.path like "/v1/cancelled/*" }
unless { context.approval.granted };

@id("test/two-people")
@approvers("role:approver")
@quorum("2")
forbid (principal, action == Action::"write", resource)
when { context.request.path like "/v1/double/*" }
unless { context.approval.granted };
"#;

fn start(setup: Setup) -> World {
    let world = World::start(setup);
    world.enrol("shop-coder");
    world.add_policies(MORE);
    world
}

fn world() -> Arc<World> {
    shared(&WORLD, || start(Setup::default()))
}

fn shell(world: &World) -> Shell {
    Shell::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]))
}

/// `curl` with a status line at the end.
fn curl(arguments: &str) -> String {
    format!("curl -sS -w ' %{{http_code}}' {arguments}")
}

/// The problem that a refused call printed.
#[track_caller]
fn problem(said: &str, code: &str) -> Value {
    let problem: Value = serde_json::from_str(said.lines().next().unwrap_or_default()).expect(said);
    assert_eq!(problem["code"], code, "{problem}");
    problem
}

/// Asks, and gives the id and the digest of the request.
#[track_caller]
fn asked(said: &str, by: &Person) -> (String, String) {
    let problem = problem(said, "approval_pending");
    let id = problem["request"].as_str().expect("the request is named").to_owned();
    let digest = by.json(&["request", "show", &id])["digest"].as_str().expect("a digest").to_owned();
    (id, digest)
}

#[track_caller]
fn approve(by: &Person, (id, digest): &(String, String), more: &[&str]) -> Value {
    by.json(&[&["request", "approve", id, "--digest", digest], more].concat())
}

#[track_caller]
fn refused(said: &accredit_tests::harness::Said, code: &str) {
    assert!(said.code != 0 && said.stderr.contains(code), "{} {}", said.code, said.stderr);
}

// case: APR-01, APR-02
#[test]
fn a_yes_is_for_exactly_what_was_shown_and_once() {
    let world = world();
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let mut task = shell(&world);
    let url = world.url("/v1/orders/11");
    let call = curl(&format!("-X DELETE -d '{{\"why\":\"fraud\"}}' '{url}?a=1&b=2'"));
    let request = asked(&task.run(&call), &bo);
    let shown = bo.json(&["request", "show", &request.0]);
    assert_eq!(shown["call"]["body"]["text"], "{\"why\":\"fraud\"}", "{shown}");
    assert!(shown["summary"].as_str().is_some_and(|s| s.ends_with("/v1/orders/11?a=1&b=2")), "{shown}");
    assert_eq!(shown["undo"], Value::Null);
    let other = bo.cli(&["request", "approve", &request.0, "--digest", &"0".repeat(64)]);
    refused(&other, "other_digest");
    assert_eq!(approve(&bo, &request, &[])["status"], "granted");
    for changed in [
        format!("-X DELETE -d '{{\"why\":\"fraue\"}}' '{url}?a=1&b=2'"),
        format!("-X DELETE -d '{{\"why\":\"fraud\"}}' '{url}?b=2&a=1'"),
        format!("-X DELETE -d '{{\"why\":\"fraud\"}}' '{url}/?a=1&b=2'"),
        format!("-X DELETE -H 'X-Force: 1' -d '{{\"why\":\"fraud\"}}' '{url}?a=1&b=2'"),
        format!("-X DELETE '{url}?a=1&b=2'"),
    ] {
        let again = asked(&task.run(&curl(&changed)), &bo);
        assert_ne!(again.0, request.0, "{changed}");
    }
    assert_eq!(world.acted_on("/v1/orders/11"), 0);
    let done = task.run(&call);
    assert!(done.ends_with(" 204"), "{done}");
    assert_eq!(world.acted_on("/v1/orders/11"), 1);
    let used = bo.json(&["request", "show", &request.0]);
    assert_eq!(used["status"], "consumed");
    let uses = world.accredit.json(&["credential", "uses", "orders-key"]);
    let ours = uses.as_array().expect("a list").iter().find(|u| u["decision"] == used["decision"]);
    let ours = ours.expect("the request names the use");
    assert_eq!((&ours["approval"], &ours["approved_by"][0]), (&used["id"], &Value::from("bo@acme.test")));
    assert_ne!(asked(&task.run(&call), &bo).0, request.0, "once was once");
    assert_eq!(world.acted_on("/v1/orders/11"), 1);
    // Why it was let out is replayed with the answer that it rested on.
    let decision = used["decision"].as_str().expect("a decision");
    let why = world.accredit.json(&["why", decision]);
    assert_eq!(why["decisions"][0]["replay"]["result"], "same", "{why}");
}

// case: APR-02
#[test]
fn fifty_uses_at_once_are_one() {
    let world = world();
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let mut task = shell(&world);
    let url = world.url("/v1/orders/12");
    let request = asked(&task.run(&curl(&format!("-X DELETE {url}"))), &bo);
    approve(&bo, &request, &[]);
    let many = "12 ".repeat(50);
    let said = task.run(&format!(
        "for n in {many}; do curl -sS -o /dev/null -w '%{{http_code}} ' -X DELETE {url} & done; wait"
    ));
    let statuses: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(statuses.len(), 50, "{said}");
    assert_eq!(statuses.iter().filter(|status| **status == "204").count(), 1, "{said}");
    assert_eq!(world.acted_on("/v1/orders/12"), 1);
}

// case: APR-03, APR-04
#[test]
fn whoever_asks_does_not_answer() {
    let world = world();
    let cy = Person::sign_in(&world.accredit, "cy@acme.test", "approver");
    // She asked for the task, and is an approver.
    let ana = Person::sign_in(&world.accredit, "ana@acme.test", "approver");
    let al = Person::sign_in(&world.accredit, "al@acme.test", "auditor");
    let mut task = shell(&world);
    let request = asked(&task.run(&curl(&format!("-X DELETE {}", world.url("/v1/orders/13")))), &cy);
    let (id, digest) = (request.0.as_str(), request.1.as_str());
    let answer = ["request", "approve", id, "--digest", digest];
    refused(&ana.cli(&answer), "asked for the task");
    refused(&al.cli(&answer), "may");
    // The user of the socket administers, and is whoever the agent runs as.
    refused(&world.accredit.cli(&answer), "role_may_not");
    // From inside the task: its socket is no way to be a person.
    let inside = format!(
        "{} --state {} request approve {id} --digest {digest} 2>&1; echo \" $?\"",
        accredit_tests::harness::binary().display(),
        world.accredit.state().display()
    );
    let said = task.run(&inside);
    assert!(!said.trim_end().ends_with(" 0"), "{said}");
    assert_eq!(cy.json(&["request", "show", id])["status"], "pending");
    approve(&cy, &request, &[]);
}

// case: APR-06
#[test]
fn what_is_over_is_not_answered() {
    let world = world();
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let mut task = shell(&world);
    let call = curl(&format!("-X DELETE {}", world.url("/v1/orders/14")));
    let denied = asked(&task.run(&call), &bo);
    let said = bo.json(&["request", "deny", &denied.0, "--reason", "cancel it instead"]);
    assert_eq!((said["status"].as_str(), said["denied_by"].as_str()), (Some("denied"), Some("bo@acme.test")));
    refused(&bo.cli(&["request", "approve", &denied.0, "--digest", &denied.1]), "request_over");
    // The agent hears it, and nobody is asked the same again.
    let told = problem(&task.run(&call), "approval_denied");
    assert!(told["detail"].as_str().is_some_and(|d| d.contains("cancel it instead")), "{told}");
    let call = curl(&format!("-X DELETE {}", world.url("/v1/orders/15")));
    let back = asked(&task.run(&call), &bo);
    approve(&bo, &back, &[]);
    assert_eq!(bo.json(&["request", "withdraw", &back.0])["status"], "withdrawn");
    assert_ne!(asked(&task.run(&call), &bo).0, back.0, "what was taken back is worth nothing");
    refused(&bo.cli(&["request", "approve", &back.0, "--digest", &back.1]), "request_over");
    let call = curl(&format!("-X DELETE {}", world.url("/v1/orders/16")));
    let granted = asked(&task.run(&call), &bo);
    approve(&bo, &granted, &[]);
    drop(task);
    wait_for(|| (bo.json(&["request", "show", &granted.0])["status"] == "withdrawn").then_some(()));
    assert_eq!(world.acted_on("/v1/orders/16"), 0);
}

#[test]
fn an_answer_for_the_task_lasts_as_long_as_the_task() {
    let world = world();
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let mut task = shell(&world);
    let call = |n: u32| curl(&format!("-X POST -d '{{}}' {}", world.url(&format!("/v1/cancelled/{n}"))));
    let request = asked(&task.run(&call(1)), &bo);
    assert_eq!(bo.json(&["request", "show", &request.0])["undo"], "Create the order anew.");
    assert_eq!(approve(&bo, &request, &["--scope", "operation"])["scope"], "operation");
    for n in 1..4 {
        let said = task.run(&call(n));
        assert!(!said.contains("approval_pending"), "{said}");
    }
    let mut other = shell(&world);
    asked(&other.run(&call(1)), &bo);
}

// case: APR-10
#[test]
fn two_people_are_two_people() {
    let world = world();
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let bo_again = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let cy = Person::sign_in(&world.accredit, "cy@acme.test", "approver");
    let mut task = shell(&world);
    let call = curl(&format!("-X POST -d '{{}}' {}", world.url("/v1/double/1")));
    let request = asked(&task.run(&call), &bo);
    assert_eq!(approve(&bo, &request, &[])["status"], "pending");
    refused(&bo_again.cli(&["request", "approve", &request.0, "--digest", &request.1]), "answered");
    problem(&task.run(&call), "approval_pending");
    assert_eq!(approve(&cy, &request, &[])["status"], "granted");
    let said = task.run(&call);
    assert!(!said.contains("approval_pending"), "{said}");
}

// case: APR-12
#[test]
fn an_answer_outlives_a_killed_server_and_is_used_once() {
    let mut world = start(Setup::default());
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let mut task = shell(&world);
    let call = curl(&format!("-X DELETE {}", world.url("/v1/orders/17")));
    let request = asked(&task.run(&call), &bo);
    approve(&bo, &request, &[]);
    world.accredit.kill();
    world.accredit.launch();
    world.accredit.wait_until_ready();
    assert_eq!(bo.json(&["request", "show", &request.0])["status"], "granted");
    // The runner attaches anew on its own.
    let said = wait_for(|| Some(task.run(&call)).filter(|said| said.ends_with(" 204")));
    assert_eq!(world.acted_on("/v1/orders/17"), 1, "{said}");
    world.accredit.kill();
    world.accredit.launch();
    world.accredit.wait_until_ready();
    assert_eq!(bo.json(&["request", "show", &request.0])["status"], "consumed");
    let again = wait_for(|| Some(task.run(&call)).filter(|said| said.contains("approval_pending")));
    assert_ne!(asked(&again, &bo).0, request.0);
    assert_eq!(world.acted_on("/v1/orders/17"), 1);
    world.accredit.cli(&["audit", "verify"]).ok();
}

#[test]
fn a_call_is_held_while_a_person_thinks() {
    let world = start(Setup { config: "hold_calls_for = \"40s\"".to_owned(), ..Setup::default() });
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let mut task = shell(&world);
    let waiting = |path: &str| {
        wait_for(|| {
            let all = bo.json(&["request", "ls", "--status", "pending"]);
            let ours =
                all.as_array()?.iter().find(|r| r["summary"].as_str().is_some_and(|s| s.ends_with(path)))?;
            Some((ours["id"].as_str()?.to_owned(), ours["digest"].as_str()?.to_owned()))
        })
    };
    task.begin(&curl(&format!("-X DELETE -d '{{\"a\":1}}' {}", world.url("/v1/orders/18"))));
    approve(&bo, &waiting("/v1/orders/18"), &[]);
    let said = task.finish();
    assert!(said.ends_with(" 204"), "{said}");
    assert_eq!(world.acted_on("/v1/orders/18"), 1);
    task.begin(&curl(&format!("-X DELETE {}", world.url("/v1/orders/19"))));
    bo.cli(&["request", "deny", &waiting("/v1/orders/19").0, "--reason", "not this one"]).ok();
    let told = problem(&task.finish(), "approval_denied");
    assert!(told["detail"].as_str().is_some_and(|d| d.contains("not this one")), "{told}");
    assert_eq!(world.acted_on("/v1/orders/19"), 0);
}

// case: APR-08
#[test]
fn what_agents_write_is_shown_inert() {
    let world = world();
    let bo = Person::sign_in(&world.accredit, "bo@acme.test", "approver");
    let mut task = shell(&world);
    let body = "\\033[2J<b>approve</b> [click](https://evil.test) \\342\\200\\256gnihton";
    let call =
        format!("printf '{body}' | curl -sS -X DELETE --data-binary @- {}", world.url("/v1/orders/20"));
    let (id, digest) = asked(&task.run(&call), &bo);
    let shown = bo.cli(&["request", "show", &id]).ok().stdout;
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    assert!(shown.contains("<b>approve</b>") && shown.contains(&digest), "{shown}");
}
