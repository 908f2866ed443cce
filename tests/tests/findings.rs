//! An agent does what it does not usually do: it is found in the ledger, and contained.

use accredit_tests::agent::Agent;
use accredit_tests::harness::{Run, Setup, wait_for};
use accredit_tests::person::Person;
use accredit_tests::shell::Shell;
use accredit_tests::world::World;
use serde_json::Value;

const RULES: &str = r#"
[[deviation]]
name = "refused-again-and-again"
sign = "refusals"
count = "3"
within = "5m"
then = "suspend_task"

[[deviation]]
name = "busy"
sign = "calls"
count = "8"
within = "1m"
then = "ask"

[[deviation]]
name = "canary"
sign = "canary"
credentials = ["shop-git-key"]
then = "suspend_agent"

[[deviation]]
name = "second-place"
sign = "second_place"
then = "revoke_task"
"#;

fn world() -> World {
    World::start(Setup { config: RULES.to_owned(), ..Setup::default() })
}

fn curl(arguments: &str) -> String {
    format!("curl -sS -w ' %{{http_code}}' {arguments}")
}

/// Waits for the finding of this rule, contained.
fn finding(world: &World, rule: &str) -> Value {
    wait_for(|| {
        let all = world.accredit.json(&["finding", "ls"]);
        let ours = all.as_array()?.iter().find(|f| f["rule"] == rule && f["contained_at"].is_string())?;
        Some(ours.clone())
    })
}

#[test]
fn a_task_that_is_refused_again_and_again_stands_still_until_somebody_has_looked() {
    let world = world();
    world.enrol("shop-coder");
    let mut task = Shell::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]));
    let get = curl(&world.url("/v1/orders/1"));
    assert!(task.run(&get).ends_with(" 200"));
    for n in 0..3 {
        let said = task.run(&curl(&format!("-X PATCH -d '{{}}' {}", world.url(&format!("/v1/orders/{n}")))));
        assert!(said.contains("denied_by_policy"), "{said}");
    }
    let found = finding(&world, "refused-again-and-again");
    let said = task.run(&get);
    assert!(said.contains("task_suspended") && said.ends_with(" 403"), "{said}");
    let id = found["task"].as_str().expect("a task");
    let shown = world.accredit.json(&["task", "show", id]);
    assert_eq!((&shown["restraint"], &shown["finding"]), (&Value::from("suspended"), &found["id"]));
    // It is not forgotten with the process that found it.
    world.accredit.cli(&["task", "release", id, "--reason", "a test"]).ok();
    assert!(task.run(&get).ends_with(" 200"), "it goes on");
    let again = world.accredit.cli(&["task", "release", id]);
    assert!(again.stderr.contains("nothing holds"), "{}", again.stderr);
    world.accredit.cli(&["audit", "verify"]).ok();
    let kinds = world.accredit.json(&["audit", "search", "--task", id]);
    let kinds: Vec<&str> =
        kinds.as_array().expect("a list").iter().filter_map(|e| e["kind"].as_str()).collect();
    for kind in ["finding.raised", "task.restrained", "finding.contained", "task.released"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
}

#[test]
fn a_busy_task_is_asked_about_from_then_on() {
    let world = world();
    world.enrol("shop-coder");
    let ana = Person::sign_in(&world.accredit, "ana@acme.test", "owner");
    let mut run = Run::of("shop-coder", &["orders: *"]);
    run.requested_by = Some("cy@acme.test".to_owned());
    let mut task = Shell::start(&world.accredit, &run);
    let get = curl(&world.url("/v1/orders/1"));
    for _ in 0..8 {
        assert!(task.run(&get).ends_with(" 200"));
    }
    finding(&world, "busy");
    let said = task.run(&get);
    assert!(said.contains("approval_pending"), "{said}");
    let problem: Value = serde_json::from_str(said.lines().next().unwrap_or_default()).expect("a problem");
    let id = problem["request"].as_str().expect("a request");
    let digest = ana.json(&["request", "show", id])["digest"].as_str().expect("a digest").to_owned();
    let yes = ["request", "approve", id, "--digest", &digest, "--scope", "operation"];
    assert_eq!(ana.json(&yes)["status"], "granted");
    assert!(task.run(&get).ends_with(" 200"), "whoever answers for the resource agreed");
    assert!(task.run(&get).ends_with(" 200"), "for the rest of this task");
}

#[test]
fn whoever_reaches_for_the_canary_is_stopped_as_an_agent() {
    let world = world();
    world.enrol("shop-coder");
    let mut task = Shell::start(&world.accredit, &Run::of("shop-coder", &["shop-git: *"]));
    task.run(&format!("git ls-remote {} 2>&1", world.repository("shop")));
    let found = finding(&world, "canary");
    assert_eq!(world.accredit.json(&["agent", "show", "shop-coder"])["status"], "suspended");
    let task = world.accredit.json(&["task", "show", found["task"].as_str().expect("a task")]);
    assert_eq!(task["status"], "revoked", "{task}");
    let why = task["ended_because"].as_str().unwrap_or_default();
    assert!(why.contains("canary") && why.contains(found["id"].as_str().expect("an id")), "{why}");
}

#[test]
fn a_token_in_other_hands_ends_its_task() {
    let world = world();
    let agent = Agent::register(&world.accredit, "shop-batch");
    let task = agent.start(&["orders: *"], 600).expect("a task");
    assert_eq!(agent.attach_as_a_thief(&task).expect("an answer"), 401);
    let found = finding(&world, "second-place");
    assert_eq!(found["task"], task.id.as_str());
    assert_eq!(world.accredit.json(&["task", "show", &task.id])["status"], "revoked");
}
