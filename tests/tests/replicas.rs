//! Two replicas of the real binary on one real PostgreSQL: what one revokes is over on the other, what one leaves behind
//! the other settles, and both say the same of what happened.

use std::time::{Duration, Instant};

use accredit_tests::agent::Agent;
use accredit_tests::harness::{Accredit, Setup, prepared_database, shared_database, signal, wait_for};
use accredit_tests::inject::Pause;
use accredit_tests::operator::Operator;
use accredit_tests::world::World;
use accredit_tests_postgres::{Cluster, Options};
use rustix::process::Signal;

/// How long anything may outlive the return of a revocation.
const OUTLIVES_MAX: Duration = Duration::from_secs(1);
/// How long anything may go on without the database: its age, and what it takes to cut and to be seen.
const STALE_MAX: Duration = Duration::from_secs(7);

/// The first replica with its world, and a second one behind the same names.
fn two() -> (World, Accredit) {
    let database = shared_database();
    let world = World::start(Setup { shared: Some(database.clone()), ..Setup::default() });
    let one = &world.accredit;
    let config = format!(
        "url = \"http://{}\"\ngateway_url = \"http://{}\"\nseal = {{ kind = \"file\", path = \"{}\" }}",
        one.listen,
        one.gateway,
        one.state().join("seal.key").display()
    );
    let names = Some(world.names.clone());
    let other = Accredit::start(Setup { shared: Some(database), config, names, ..Setup::default() });
    (world, other)
}

// case: REV-01, REV-02
#[test]
fn what_one_replica_revokes_is_over_on_the_other_when_it_returns() {
    let (world, other) = two();
    let agent = Agent::register(&world.accredit, "shop-coder");
    let task = agent.start(&["orders: GET /v1/**"], 600).expect("a task");
    let elsewhere = agent.at(&other);
    let mut idle = elsewhere.attach(&task).expect("the token is good on every replica");
    assert_eq!(idle.get("orders", "/v1/orders/17").expect("an answer").1.status, 200);
    let mut streaming = elsewhere.attach(&task).expect("attached");
    let stream = std::thread::spawn(move || {
        let count = streaming.drain("orders", "/v1/stream").expect("a stream");
        (count, Instant::now())
    });
    wait_for(|| (world.acted_on("/v1/stream") == 1).then_some(()));
    let report = world.accredit.json(&["revoke", "--task", &task.id, "--yes"]);
    let returned = Instant::now();
    assert_eq!(report["tasks_ended"][0], task.id.as_str(), "{report}");
    assert_eq!(report["pending"].as_array().map(Vec::len), Some(0), "{report}");
    let before = world.acted_on("/v1/orders/17");
    let (status, code) = idle
        .get("orders", "/v1/orders/17")
        .map_or((0, None), |(_, answer)| (answer.status, answer.text("code")));
    assert!(status == 0 || (status == 403 && code.as_deref() == Some("task_ended")), "{status} {code:?}");
    assert_eq!(world.acted_on("/v1/orders/17"), before, "nothing went out");
    let (count, ended) = stream.join().expect("the stream ends");
    assert!(
        count > 0 && ended < returned + OUTLIVES_MAX,
        "{count} bytes, {:?}",
        ended.duration_since(returned)
    );
    for replica in [&world.accredit, &other] {
        assert_eq!(replica.json(&["audit", "verify"])["ok"], true);
        let shown = replica.cli(&["task", "show", &task.id]).ok();
        assert!(shown.stdout.contains("revoked"), "{}", shown.stdout);
    }
}

// case: REV-02
#[test]
fn what_is_revoked_once_more_is_over_as_well_when_that_returns() {
    let (world, other) = two();
    let agent = Agent::register(&world.accredit, "shop-coder");
    let task = agent.start(&["orders: GET /v1/**"], 600).expect("a task");
    let revoke = || {
        let (socket, id) = (world.accredit.socket(), task.id.clone());
        std::thread::spawn(move || Operator::at(&socket).and_then(|operator| operator.revoke(&id)))
    };
    // A replica that cannot cut yet, and is not given up yet.
    let pause = Pause::of(other.pid());
    let first = revoke();
    wait_for(|| {
        let shown = world.accredit.cli(&["task", "show", &task.id]).ok();
        shown.stdout.contains("revoked").then_some(())
    });
    let again = revoke();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!first.is_finished() && !again.is_finished(), "the other replica has not heard of it");
    pause.lift();
    for call in [first, again] {
        let over = call.join().expect("no panic").expect("revoked");
        assert_eq!((over.tasks, over.pending), (vec![task.id.clone()], 0));
    }
}

// case: TOK-10, TOK-11
#[test]
fn a_proof_that_one_replica_has_taken_no_other_takes_again() {
    let (world, other) = two();
    let agent = Agent::register(&world.accredit, "shop-coder");
    let task = agent.start(&["orders: GET /v1/**"], 600).expect("a task");
    let request = agent.attach_request(&task).expect("a request");
    assert_eq!(agent.send_attach(&request).expect("an answer"), 101);
    for replica in [&other, &world.accredit] {
        assert_eq!(agent.at(replica).send_attach(&request).expect("an answer"), 401);
    }
}

// case: FLT-01, AUD-12
#[test]
fn a_replica_that_is_killed_leaves_nothing_open_and_the_others_go_on() {
    let (mut world, other) = two();
    let agent = Agent::register(&world.accredit, "shop-coder");
    let task = agent.start(&["orders: GET /v1/**"], 600).expect("a task");
    let mut here = agent.attach(&task).expect("attached");
    let stream = std::thread::spawn(move || here.drain("orders", "/v1/stream"));
    wait_for(|| (world.acted_on("/v1/stream") == 1).then_some(()));
    world.accredit.kill();
    assert!(stream.join().expect("a thread").is_ok(), "its streams end with it");
    let elsewhere = agent.at(&other);
    let mut there = elsewhere.attach(&task).expect("the other replica takes it");
    assert_eq!(there.get("orders", "/v1/orders/17").expect("an answer").1.status, 200);
    // What it left open is settled by whoever is left, and somebody else signs.
    wait_for(|| {
        let found = other.cli(&["audit", "search", "--kind", "action.settled", "-o", "json"]);
        found.stdout.contains("replica_lost").then_some(())
    });
    let report = other.json(&["audit", "verify"]);
    assert_eq!(report["ok"], true, "{report}");
    world.accredit.launch();
    world.accredit.wait_until_ready();
    assert_eq!(world.accredit.json(&["audit", "verify"])["ok"], true);
    let mut back = agent.attach(&task).expect("it is one of them again");
    assert_eq!(back.get("orders", "/v1/orders/18").expect("an answer").1.status, 200);
}

// case: REV-08, FLT-07
#[test]
fn a_database_that_stands_still_stops_the_work_and_the_streams_and_work_goes_on_by_itself() {
    let cluster = Cluster::start(Options::default());
    let database = prepared_database(&cluster);
    let world = World::start(Setup { shared: Some(database), ..Setup::default() });
    let agent = Agent::register(&world.accredit, "shop-coder");
    let task = agent.start(&["orders: GET /v1/**"], 600).expect("a task");
    let mut idle = agent.attach(&task).expect("attached");
    let mut streaming = agent.attach(&task).expect("attached");
    let stream = std::thread::spawn(move || {
        let count = streaming.drain("orders", "/v1/stream").expect("a stream");
        (count, Instant::now())
    });
    wait_for(|| (world.acted_on("/v1/stream") == 1).then_some(()));
    let stand_still = |how: Signal| cluster.server().pids().into_iter().for_each(|pid| signal(pid, how));
    stand_still(Signal::STOP);
    let stopped = Instant::now();
    let answer = idle.get("orders", "/v1/orders/17").map(|(_, answer)| (answer.status, answer.is_ours));
    assert!(matches!(answer, Ok((503, true)) | Err(_)), "{answer:?}");
    assert_eq!(world.acted_on("/v1/orders/17"), 0, "nothing goes out");
    let (count, ended) = stream.join().expect("the stream ends");
    assert!(count > 0 && ended < stopped + STALE_MAX, "{count} bytes, {:?}", ended.duration_since(stopped));
    assert!(!world.accredit.is_ready(), "it does not say that it is ready");
    stand_still(Signal::CONT);
    wait_for(|| world.accredit.is_ready().then_some(()));
    let mut again = agent.attach(&task).expect("attached");
    assert_eq!(again.get("orders", "/v1/orders/17").expect("an answer").1.status, 200);
    assert_eq!(world.accredit.json(&["audit", "verify"])["ok"], true);
}
