//! One run through many hands: a person starts an orchestrator, it hands parts of its task to two others, one of them asks
//! a second person, who answers with a passkey, and what was handed down ends with where it came from.

use std::time::Duration;

use accredit_tests::browser::Browser;
use accredit_tests::harness::{Run, Setup, binary, wait_for};
use accredit_tests::person::Person;
use accredit_tests::shell::Shell;
use accredit_tests::world::World;
use serde_json::{Value, json};

const MORE: &str = r#"
@id("shop/payments-need-a-person")
@approvers("role:approver")
@step_up("passkey")
@undo("Refund it.")
forbid (principal, action == Action::"write", resource)
when { context.request.path like "/v1/paid/*" }
unless { context.approval.granted };
"#;

/// An agent that does one thing again and again, below the task of whoever starts it, and keeps the last answer in a file. It
/// ends with the file `go`, which goes with the world.
fn below(world: &World, agent: &str, purpose: &str, grant: &str, call: &str) -> String {
    format!(
        "{} --state {} run --agent {agent} --task '{purpose}' --allow '{grant}' -- \
         sh -c 'while [ -e go ]; do curl -sS {call} >{agent}.new 2>&1; mv {agent}.new {agent}.last; sleep 0.1; done' \
         >{agent}.log 2>&1 &",
        binary().display(),
        world.accredit.state().display()
    )
}

#[test]
fn who_did_it_for_whom_through_how_many_hands_and_who_agreed() {
    let world = World::start(Setup::at_localhost());
    for agent in ["shop-orchestrator", "shop-reader", "shop-payer"] {
        world.enrol(agent);
    }
    world.add_policies(MORE);
    let dir = world.directory("hands");
    std::fs::write(dir.join("go"), "").expect("a file");
    let last = |agent: &str| std::fs::read_to_string(dir.join(format!("{agent}.last"))).unwrap_or_default();

    // Ana has the orchestrator work on a ticket. It may read, and hand down what it may not do itself.
    let (read, pay) = ("orders: GET /v1/orders/7", "orders: POST /v1/paid/7");
    let mut run = Run::of("shop-orchestrator", &[read]);
    run.workflow = Some("SHOP-77".to_owned());
    run.more = ["--delegate", read, "--delegate", pay].map(str::to_owned).to_vec();
    let mut orchestrator = Shell::start(&world.accredit, &run);
    orchestrator.run(&format!("cd {}", dir.display()));
    let own = orchestrator
        .run(&format!("curl -sS -w '%{{http_code}}' -X POST -d '{{}}' {}", world.url("/v1/paid/7")));
    assert!(own.contains("outside_boundary"), "{own}");
    let reading = world.url("/v1/orders/7");
    orchestrator.run(&below(&world, "shop-reader", "look at the order", read, &reading));
    let paying = format!("-X POST -d {{}} {}", world.url("/v1/paid/7"));
    orchestrator.run(&below(&world, "shop-payer", "pay the order", pay, &paying));

    // Reading goes on. Paying waits for a person, and asked again and again it is one question.
    wait_for(|| (world.acted_on("/v1/orders/7") >= 2).then_some(()));
    let pending = || -> Option<Value> { serde_json::from_str(&last("shop-payer")).ok() };
    let request = wait_for(|| pending().filter(|problem| problem["code"] == "approval_pending"));
    let request = request["request"].as_str().expect("the request is named").to_owned();
    let ana = Person::sign_in(&world.accredit, "ana@acme.test", "approver");
    let asked = wait_for(|| {
        let shown = ana.json(&["request", "show", &request]);
        shown["count"].as_u64().is_some_and(|times| times >= 2).then_some(shown)
    });
    assert_eq!(asked["chain"][1]["agent"], "shop-orchestrator", "{asked}");
    let digest = asked["digest"].as_str().expect("a digest");
    let said = ana.cli(&["request", "approve", &request, "--digest", digest]);
    assert!(said.stderr.contains("separation_of_duties"), "she asked for it: {}", said.stderr);
    assert_eq!(world.acted_on("/v1/paid/7"), 0);

    // Bo, who has nothing to do with it, agrees with a passkey: once.
    let mut browser = Browser::sign_in(&world.accredit, "bo@acme.test", "approver");
    browser.add_authenticator("internal");
    browser.register_passkey();
    browser.open(&format!("{}/#r={request}", world.accredit.url()));
    browser.click("#yes-call");
    browser.wait_for("document.getElementById('said').textContent === 'The request is granted.'");
    wait_for(|| (world.acted_on("/v1/paid/7") == 1).then_some(()));
    let waits = |problem: &Value| problem["code"] == "approval_pending";
    let again = wait_for(|| pending().filter(|p| waits(p) && p["request"] != request.as_str()));
    let used =
        wait_for(|| Some(ana.json(&["request", "show", &request])).filter(|r| r["status"] == "consumed"));

    // Three steps of one workflow.
    let running = world.accredit.json(&["task", "ls"]);
    let task_of = |agent: &str| {
        let tasks = running.as_array().expect("a list");
        let task = tasks.iter().find(|task| task["agent"] == agent).expect("it runs");
        task["id"].as_str().expect("an id").to_owned()
    };
    let root = task_of("shop-orchestrator");
    let tree = world.accredit.cli(&["task", "show", &root, "--tree"]).ok().stdout;
    for agent in ["shop-orchestrator", "shop-reader", "shop-payer"] {
        assert!(tree.contains(agent), "{tree}");
        let steps = world.accredit.json(&["audit", "search", "--workflow", "SHOP-77", "--agent", agent]);
        assert!(steps.as_array().is_some_and(|steps| !steps.is_empty()), "{agent}");
    }

    // The orchestrator is revoked, and everything below it stops.
    let report = world.accredit.json(&["revoke", "--task", &root, "--yes"]);
    assert_eq!(report["tasks_ended"].as_array().map(Vec::len), Some(3), "{report}");
    let acted = (world.acted_on("/v1/orders/7"), world.acted_on("/v1/paid/7"));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((world.acted_on("/v1/orders/7"), world.acted_on("/v1/paid/7")), acted);
    assert_eq!(acted.1, 1);
    let open = again["request"].as_str().expect("the request is named");
    assert_eq!(ana.json(&["request", "show", open])["status"], "withdrawn");

    // The whole path on one screen.
    let decision = used["decision"].as_str().expect("a decision");
    let why = world.accredit.cli(&["why", decision]).ok().stdout;
    let screen: Vec<&str> = why.lines().collect();
    assert!(screen.len() <= 40, "{why}");
    for told in [
        "POST",
        "/v1/paid/7",
        "shop-payer",
        "pay the order",
        "shop-orchestrator",
        "ana@acme.test",
        "SHOP-77",
        "orders-key",
        "shop/payments-need-a-person",
        "bo@acme.test",
        "by passkey (exactly this, once)",
        "same answer from the recorded inputs",
    ] {
        assert!(why.contains(told), "{told} in\n{why}");
    }
    let uses = world.accredit.json(&["credential", "uses", "orders-key", "--task", &task_of("shop-payer")]);
    let ours =
        uses.as_array().expect("a list").iter().filter(|used| used["approved_by"] == json!(["bo@acme.test"]));
    assert_eq!(ours.count(), 1, "{uses}");
    world.accredit.cli(&["audit", "verify"]).ok();
}
