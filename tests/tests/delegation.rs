//! Tasks below tasks: authority is handed down, only narrows, and goes with whoever handed it down.

use std::sync::{Arc, Mutex, Weak};

use accredit_tests::agent::{Agent, Task};
use accredit_tests::harness::{Run, Setup, binary};
use accredit_tests::shell::Shell;
use accredit_tests::world::{World, shared};
use serde_json::{Value, json};

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

fn world() -> Arc<World> {
    shared(&WORLD, || {
        let world = World::start(Setup::default());
        world.enrol("shop-orchestrator");
        world.enrol("shop-reader");
        world
    })
}

const READ: &str = "orders: GET /v1/orders/*";

fn root(agent: &Agent, delegable: &[&str]) -> Task {
    let wanted = json!({
        "boundary": [READ], "delegable": delegable, "ttl_s": 600, "requested_by": "ana@acme.test",
    });
    agent.start_with(&wanted).expect("a root")
}

#[track_caller]
fn refused(answer: std::io::Result<Task>, code: &str) {
    let error = answer.map(|task| task.id).expect_err(code).to_string();
    assert!(error.contains(&format!("\"{code}\"")), "{error}");
}

// case: DEL-01, DEL-02, DEL-03, DEL-05, DEL-10
#[test]
fn a_chain_narrows_is_named_everywhere_and_ends_with_its_root() {
    let world = world();
    let agents: Vec<Agent> =
        (0..6).map(|n| Agent::register(&world.accredit, &format!("chain-{n}"))).collect();
    let below = |agent: &Agent, parent: &Task, grants: &[&str]| {
        let wanted = json!({ "boundary": grants, "delegable": grants, "ttl_s": 86_400 });
        agent.start_below(parent, &wanted)
    };
    let mut chain = vec![root(&agents[0], &[READ])];
    refused(below(&agents[1], &chain[0], &["orders: GET /v1/**"]), "outside_boundary");
    refused(below(&agents[1], &chain[0], &["orders: *"]), "outside_boundary");
    for agent in &agents[1..5] {
        let parent = chain.last().expect("the root").clone();
        chain.push(below(agent, &parent, &[READ]).expect("handed down"));
    }
    refused(below(&agents[5], &chain[4], &[READ]), "chain_too_long");
    let shown: Vec<Value> = chain.iter().map(|t| world.accredit.json(&["task", "show", &t.id])).collect();
    for (n, pair) in shown.windows(2).enumerate() {
        assert_eq!(pair[1]["parent"], pair[0]["id"], "{n}");
        assert_eq!(pair[1]["requested_by"], "ana@acme.test", "the person at the root");
        assert!(pair[1]["expires_at"].as_str() <= pair[0]["expires_at"].as_str(), "{n}");
    }
    // The token says who acts for whom, the innermost being the first.
    let claims = chain[2].claims();
    assert_eq!(claims["sub"], "ana@acme.test");
    let actor = |depth: usize| {
        let act = (0..depth).fold(&claims["act"], |act, _| &act["act"]);
        act["sub"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    };
    assert_eq!([actor(0), actor(1), actor(2)], ["chain-2", "chain-1", "chain-0"]);
    let mut deepest = agents[4].attach(&chain[4]).expect("attached");
    let (_, answer) = deepest.get("orders", "/v1/orders/1").expect("an answer");
    assert_eq!(answer.status, 200);
    let uses = world.accredit.json(&["credential", "uses", "orders-key", "--task", &chain[4].id]);
    let decision = uses[0]["decision"].as_str().expect("a decision");
    let why = world.accredit.json(&["why", decision]);
    let above: Vec<&str> = chain[..4].iter().rev().map(|task| task.id.as_str()).collect();
    assert_eq!(why["decisions"][0]["chain"], json!(above), "{why}");
    assert_eq!(why["decisions"][0]["replay"]["result"], "same");
    let tree = world.accredit.json(&["task", "show", &chain[2].id, "--tree"]);
    assert_eq!(tree.as_array().map(Vec::len), Some(5), "{tree}");
    let steps = world.accredit.json(&["audit", "search", "--workflow", "FAULT-1", "--task", &chain[4].id]);
    assert!(
        steps.as_array().is_some_and(|steps| !steps.is_empty()),
        "the work of the root is that of the last"
    );
    // The root goes, and everything with it.
    let report = world.accredit.json(&["revoke", "--task", &chain[0].id, "--yes"]);
    assert_eq!(report["tasks_ended"].as_array().map(Vec::len), Some(5), "{report}");
    let after = deepest.get("orders", "/v1/orders/1");
    assert!(after.is_err() || after.is_ok_and(|(_, answer)| answer.is_ours), "nothing goes out");
    refused(below(&agents[5], &chain[1], &[READ]), "task_ended");
}

// case: DEL-04
#[test]
fn no_child_outlives_a_revocation_that_it_raced() {
    let world = world();
    let (boss, bot) =
        (Agent::register(&world.accredit, "race-boss"), Agent::register(&world.accredit, "race-bot"));
    for round in 0..20 {
        let parent = root(&boss, &[READ]);
        let started: Vec<Task> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| bot.start_below(&parent, &json!({ "boundary": [READ] })).ok()))
                .collect();
            world.accredit.cli(&["revoke", "--task", &parent.id, "--yes"]).ok();
            starting.into_iter().filter_map(|s| s.join().expect("no panic")).collect()
        });
        for task in &started {
            let shown = world.accredit.json(&["task", "show", &task.id]);
            assert_eq!(shown["status"], "revoked", "round {round}");
        }
    }
}

// case: DEL-11
#[test]
fn what_is_handed_down_with_a_limit_is_one_budget() {
    let world = world();
    let (boss, bot) =
        (Agent::register(&world.accredit, "sum-boss"), Agent::register(&world.accredit, "sum-bot"));
    let parent = root(&boss, &["orders: GET /v1/orders/budget calls<=10"]);
    let wanted = json!({ "boundary": ["orders: GET /v1/orders/budget"] });
    let children: Vec<Task> =
        (0..4).map(|_| bot.start_below(&parent, &wanted).expect("handed down")).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calling: Vec<_> = children
            .iter()
            .map(|child| {
                scope.spawn(|| {
                    let mut connection = bot.attach(child).expect("attached");
                    let mut get =
                        || connection.get("orders", "/v1/orders/budget").expect("an answer").1.status;
                    (0..8).map(|_| get()).collect::<Vec<_>>()
                })
            })
            .collect();
        calling.into_iter().flat_map(|c| c.join().expect("no panic")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10, "{statuses:?}");
    assert_eq!(world.acted_on("/v1/orders/budget"), 10);
    world.accredit.cli(&["audit", "verify"]).ok();
    let more = json!({ "boundary": ["orders: GET /v1/orders/budget calls<=11"] });
    refused(bot.start_below(&parent, &more), "outside_boundary");
}

// case: DEL-07, DEL-08, DEL-12
#[test]
fn a_chain_is_what_the_authority_knows_and_nothing_that_is_claimed() {
    let world = world();
    let (boss, bot) =
        (Agent::register(&world.accredit, "lie-boss"), Agent::register(&world.accredit, "lie-bot"));
    let parent = root(&boss, &[READ]);
    let other = root(&boss, &[READ]);
    let code = |answer: std::io::Result<(u16, Value)>| {
        let (status, problem) = answer.expect("an answer");
        (status, problem["code"].as_str().unwrap_or_default().to_owned(), problem["field"].clone())
    };
    // Somebody else's task cannot be named as the parent.
    let named = bot.ask_for(&json!({ "boundary": [READ], "parent": parent.id }), "");
    assert_eq!(code(named).2, "parent_token");
    let foreign = bot.start_below(&other, &json!({ "boundary": [READ], "parent": parent.id }));
    assert!(foreign.is_err_and(|e| e.to_string().contains("\"parent\"")));
    for claim in [json!({ "act": { "sub": "boss" } }), json!({ "chain": [parent.id] })] {
        let mut wanted = json!({ "boundary": [READ] });
        wanted.as_object_mut().expect("an object").extend(claim.as_object().expect("one").clone());
        let (status, ..) = code(bot.ask_for(&wanted, ""));
        assert!((400..=422).contains(&status), "{status}");
    }
    // A token that was changed, or that another installation made.
    let elsewhere = World::start(Setup::default());
    let stranger = Agent::register(&elsewhere.accredit, "lie-boss");
    let theirs = root(&stranger, &[READ]);
    refused(bot.start_below(&theirs, &json!({ "boundary": [READ] })), "invalid_subject_token");
    let (status, code, _) =
        code(bot.ask_for(&json!({ "boundary": [READ] }), "authorization: DPoP somebody-else\r\n"));
    assert_eq!((status, code.as_str()), (400, "two_principals"));
    let person = json!({ "boundary": [READ], "requested_by": "eve@acme.test" });
    refused(bot.start_below(&parent, &person), "other_requester");
}

// case: DEL-09
#[test]
fn one_root_has_so_many_tasks_below_it_and_no_more() {
    let world = world();
    let (boss, bot) =
        (Agent::register(&world.accredit, "many-boss"), Agent::register(&world.accredit, "many-bot"));
    let parent = root(&boss, &[READ]);
    let wanted = json!({ "boundary": [READ] });
    let children: Vec<Task> =
        (0..256).map(|_| bot.start_below(&parent, &wanted).expect("handed down")).collect();
    refused(bot.start_below(&parent, &wanted), "too_many_tasks");
    world.accredit.cli(&["revoke", "--task", &children[0].id, "--yes"]).ok();
    bot.start_below(&parent, &wanted).expect("one has ended");
    let report = world.accredit.json(&["revoke", "--task", &parent.id, "--yes"]);
    assert_eq!(report["tasks_ended"].as_array().map(Vec::len), Some(257));
}

#[test]
fn what_a_task_starts_on_this_machine_is_below_it() {
    let world = world();
    let mut run = Run::of("shop-orchestrator", &[READ]);
    run.more = vec!["--delegate".to_owned(), "orders: GET /v1/orders/7".to_owned()];
    let mut task = Shell::start(&world.accredit, &run);
    let nested = |grant: &str| {
        format!(
            "{} --state {} run --agent shop-reader --task 'look at one' --allow '{grant}' -- curl -sS -w ' %{{http_code}}' {} 2>&1",
            binary().display(),
            world.accredit.state().display(),
            world.url("/v1/orders/7")
        )
    };
    let said = task.run(&nested("orders: GET /v1/orders/7"));
    assert!(said.contains(" 200") && said.contains("under"), "{said}");
    // It has no authority of its own to start something wider with.
    let said = task.run(&nested("orders: GET /v1/orders/*"));
    assert!(said.contains("outside_boundary"), "{said}");
    let said = task.run(&nested("orders: *"));
    assert!(said.contains("outside_boundary"), "{said}");
    let mut plain = Shell::start(&world.accredit, &Run::of("shop-orchestrator", &["orders: *"]));
    let said = plain.run(&nested("orders: GET /v1/orders/7"));
    assert!(said.contains("outside_boundary") && said.contains("--delegate"), "{said}");
}
