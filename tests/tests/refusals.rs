//! What a task may not do, how it reads that, and what the exit codes say.

use std::sync::{Arc, Mutex, Weak};

use accredit_tests::harness::{Run, Said, Setup};
use accredit_tests::world::{OWNER, POLICIES, World, shared};
use serde_json::Value;

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

fn world() -> Arc<World> {
    shared(&WORLD, || {
        let world = World::start(Setup::default());
        world.enrol("shop-coder");
        world.enrol("shop-reader");
        world
    })
}

/// What curl read: status, fields in lower case, and the problem.
struct Read {
    status: u16,
    fields: String,
    problem: Value,
}

#[track_caller]
fn curl(world: &World, run: &Run, arguments: &[&str]) -> Read {
    let said = run.output(&world.accredit, &[&["curl", "-sS", "-i"], arguments].concat()).ok();
    // The tunnel's own answer comes first.
    let mut rest = said.stdout.as_str();
    while rest.starts_with("HTTP/1.1 200 Connection") || rest.starts_with("HTTP/1.1 200 \r") {
        rest = rest.split_once("\r\n\r\n").map_or("", |(_, rest)| rest);
    }
    let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Read {
        status,
        fields: head.to_ascii_lowercase(),
        problem: serde_json::from_str(body).unwrap_or_default(),
    }
}

#[track_caller]
fn refused(read: &Read, code: &str) {
    assert_eq!((read.status, read.problem["code"].as_str()), (403, Some(code)), "{}", read.problem);
    assert!(read.fields.contains("content-type: application/problem+json"), "{}", read.fields);
    assert!(read.fields.contains("x-should-retry: false"), "{}", read.fields);
    assert_eq!(read.problem["refused_by"], "accredit");
    assert_eq!(read.problem["retryable"], false);
    assert!(read.problem["next_step"].as_str().is_some_and(|text| text.len() > 10), "{}", read.problem);
}

// case: POL-02
#[test]
fn what_stands_outside_boundary_or_policy_is_refused_with_a_next_step() {
    let world = world();
    let reader = Run::of("shop-reader", &["orders: GET /v1/orders/*"]);
    let writer = Run::of("shop-coder", &["orders: *"]);
    // A path of its own: the other tests share this service.
    let order = world.url("/v1/orders/untouched");
    let before = world.acted_on("/v1/orders/untouched");
    let check = |run: &Run, arguments: &[&str], code: &str| {
        let read = curl(&world, run, arguments);
        refused(&read, code);
        let decision = read.problem["decision"].as_str().expect("the decision is named").to_owned();
        assert!(
            read.fields.contains(&format!("accredit-decision: {decision}; code={code}")),
            "{}",
            read.fields
        );
    };
    check(&reader, &["-X", "POST", "-d", "{}", &order], "outside_boundary");
    check(&reader, &[&world.url("/v1/orders")], "outside_boundary");
    check(&writer, &["-X", "PATCH", "-d", "{}", &order], "denied_by_policy");
    check(&writer, &["-X", "TRACE", &order], "method_not_carried");
    assert_eq!(world.acted_on("/v1/orders/untouched"), before, "nothing of it reached the service");
}

// case: HTTP-14
#[test]
fn a_method_is_what_it_is_spelt() {
    let world = world();
    let run = Run::of("shop-coder", &["orders: GET /v1/orders/*"]);
    let order = world.url("/v1/orders/17");
    let before = world.acted_on("/v1/orders/17");
    for method in ["get", "GeT", "PATCH", "TRACE", "X-UNKNOWN"] {
        let read = curl(&world, &run, &["-X", method, &order]);
        assert!(matches!(read.status, 400 | 403 | 405 | 501), "{method}: {}", read.status);
    }
    assert_eq!(world.acted_on("/v1/orders/17"), before);
}

// case: EGR-05, EGR-09
#[test]
fn a_host_that_is_not_registered_is_not_reached() {
    let world = world();
    let run = Run::of("shop-coder", &["orders: *"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a mode");
    let port = listener.local_addr().expect("an address").port();
    let host = world.names.host("orders.acme.test");
    for url in [
        // A port of the same host that no resource names.
        format!("https://{host}:{port}/"),
        "https://elsewhere.example/".to_owned(),
        "https://orders.acme.test.evil.example/".to_owned(),
    ] {
        refused(&curl(&world, &run, &[&url]), "unknown_host");
    }
    // An address: the tunnel itself is refused, and curl says so.
    for url in
        [format!("https://127.0.0.1:{port}/"), "https://10.0.0.5/".to_owned(), "https://[::1]/".to_owned()]
    {
        let said = run.output(&world.accredit, &["curl", "-sS", "--noproxy", "", &url]);
        assert_ne!(said.code, 0, "{url}: {}", said.stdout);
        assert!(said.stderr.contains("403"), "{}", said.stderr);
    }
    assert!(listener.accept().is_err(), "nobody connected");
}

// case: EGR-07
#[test]
fn a_registered_name_that_leads_to_a_private_address_is_not_dialled() {
    let world = world();
    if !world.names.is_private() {
        return;
    }
    let endpoint = "https://private.acme.test";
    world.accredit.cli(&["resource", "add", "inside", "--owner", OWNER, "--endpoint", endpoint]).ok();
    let run = Run::of("shop-coder", &["inside: GET *"]);
    let run = Run { allow: vec!["inside: GET".to_owned()], ..run };
    let read = curl(&world, &run, &["--max-time", "10", endpoint]);
    assert_eq!(
        (read.status, read.problem["code"].as_str()),
        (403, Some("address_refused")),
        "{}",
        read.problem
    );
    let task = newest_task(&world, "shop-coder");
    let why = world.accredit.json(&["why", &task]);
    assert!(why.to_string().contains("failed"), "the record says how it ended: {why}");
}

fn newest_task(world: &World, agent: &str) -> String {
    let tasks = world.accredit.json(&["task", "ls", "--all", "--agent", agent]);
    tasks[0]["id"].as_str().expect("a task").to_owned()
}

#[test]
fn an_action_that_waits_for_a_person_raises_one_request() {
    let world = world();
    let run = Run::of("shop-coder", &["orders: DELETE /v1/orders/*"]);
    let order = world.url("/v1/orders/99");
    let script = "curl -sS -X DELETE \"$0\"; curl -sS -X DELETE \"$0\"";
    let said = run.output(&world.accredit, &["sh", "-c", script, &order]).ok();
    assert_eq!(said.stdout.matches("approval_pending").count(), 2, "{}", said.stdout);
    assert_eq!(world.acted_on("/v1/orders/99"), 0);
    let first: Value =
        serde_json::from_str(said.stdout.lines().next().unwrap_or_default()).expect("a problem");
    let id = first["request"].as_str().expect("the request is named");
    let requests = world.accredit.json(&["request", "ls"]);
    let ours: Vec<&Value> =
        requests.as_array().expect("a list").iter().filter(|r| r["id"].as_str() == Some(id)).collect();
    assert_eq!(ours.len(), 1, "asking again is no second request: {requests}");
    assert_eq!(ours[0]["terms"]["approvers"], serde_json::json!(["role:approver"]));
    let shown = world.accredit.json(&["request", "show", id]);
    assert_eq!(
        (shown["call"]["resource"].as_str(), shown["call"]["effect"].as_str()),
        (Some("orders"), Some("delete"))
    );
    assert_eq!(world.accredit.cli(&["request", "show", "r_00000000000000000000000000"]).code, 3);
}

#[test]
fn a_resource_that_is_only_observed_is_recorded_and_not_blocked() {
    let world = world();
    world.accredit.cli(&["resource", "change", "shop-git", "--mode", "observe", "--yes"]).ok();
    let run = Run::of("shop-reader", &["orders: GET"]);
    let said = run.output(&world.accredit, &["git", "ls-remote", &world.repository("shop")]).ok();
    assert!(said.stdout.contains("refs/heads/main"), "{}", said.stdout);
    let uses = world.accredit.json(&["credential", "uses", "shop-git-key"]);
    let used = &uses[0];
    assert_eq!((used["outcome"].as_str(), used["enforced"].as_bool()), (Some("deny"), Some(false)), "{used}");
    world.accredit.cli(&["resource", "change", "shop-git", "--mode", "enforce", "--yes"]).ok();
    let said = run.output(&world.accredit, &["git", "ls-remote", &world.repository("shop")]);
    assert_ne!(said.code, 0, "{}", said.stdout);
}

// case: POL-06
#[test]
fn a_policy_change_holds_for_the_next_request_of_a_running_task() {
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let run = Run::of("shop-coder", &["orders: GET"]);
    let marks = world.directory("marks");
    let script = "curl -sS -o first -w '%{http_code}' \"$0\" > first.code; : > ready; \
        while [ ! -e go ]; do sleep 0.05; done; curl -sS -o second -w '%{http_code}' \"$0\" > second.code";
    let mut command = run.around(&world.accredit, &["sh", "-c", script, &world.url("/v1/orders/17")]);
    let mut runner = command
        .current_dir(&marks)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the runner can be started");
    accredit_tests::harness::wait_for(|| marks.join("ready").exists().then_some(()));
    let before = world.accredit.json(&["policy", "show"])["hash"].clone();
    let closed = world.accredit.scratch().join("closed.cedar");
    let forbid = "\n@id(\"test/closed\")\nforbid (principal, action, resource in Resource::\"orders\");\n";
    std::fs::write(&closed, format!("{POLICIES}{}", forbid.replace("action,", "action in Action::\"use\",")))
        .expect("a file");
    world.accredit.cli(&["policy", "apply", &closed.display().to_string(), "--yes"]).ok();
    std::fs::write(marks.join("go"), "").expect("a file");
    runner.wait().expect("its end");
    let read = |name: &str| std::fs::read_to_string(marks.join(name)).expect("its file");
    assert_eq!((read("first.code").as_str(), read("second.code").as_str()), ("200", "403"));
    assert!(read("second").contains("denied_by_policy"), "{}", read("second"));
    let why = world.accredit.json(&["why", &newest_task(&world, "shop-coder")]);
    let sets: Vec<&str> = why["decisions"]
        .as_array()
        .expect("decisions")
        .iter()
        .filter_map(|d| d["policy_set"].as_str())
        .collect();
    assert!(
        sets.contains(&before.as_str().expect("a hash"))
            && sets.iter().any(|set| Some(*set) != before.as_str()),
        "{sets:?}"
    );
    assert!(
        why["decisions"].as_array().expect("decisions").iter().all(|d| d["replay"]["result"] == "same"),
        "{why}"
    );
}

#[test]
fn limits_of_a_grant_hold() {
    let world = world();
    let run = Run::of("shop-coder", &["orders: GET /v1/orders/* calls<=2"]);
    let script = "for i in 1 2 3; do curl -sS -o /dev/null -w '%{http_code} ' \"$0\"; done";
    let said = run.output(&world.accredit, &["sh", "-c", script, &world.url("/v1/orders/17")]).ok();
    assert_eq!(said.stdout, "200 200 403 ");
}

#[test]
fn exit_codes_of_run_are_those_of_the_command_or_say_why_it_did_not_start() {
    let world = world();
    let plain = world.directory("exit").join("plain");
    std::fs::write(&plain, "x").expect("a file");
    let run = Run::of("shop-coder", &["orders: GET"]);
    let code = |run: &Run, command: &[&str]| run.output(&world.accredit, command).code;
    assert_eq!(code(&run, &["sh", "-c", "exit 37"]), 37);
    assert_eq!(code(&run, &["sh", "-c", "kill -TERM $$"]), 143);
    assert_eq!(code(&run, &["/nowhere/nothing"]), 127);
    assert_eq!(code(&run, &[&plain.display().to_string()]), 126);
    assert_eq!(code(&Run::of("nobody-knows", &["orders: GET"]), &["true"]), 125);
    assert_eq!(code(&Run::of("shop-coder", &["orders: FETCH"]), &["true"]), 125);
}

#[test]
fn exit_codes_of_commands_are_the_documented_ones() {
    let world = world();
    let check = |arguments: &[&str], code: i32| {
        let said: Said = world.accredit.cli(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.stdout, said.stderr);
        if code != 0 {
            assert!(!said.stderr.is_empty() && said.stdout.is_empty(), "{arguments:?}: {}", said.stdout);
        }
    };
    check(&["health"], 0);
    check(&["agent", "ls"], 0);
    check(&["agent", "show", "nobody"], 3);
    check(&["agent", "fly"], 2);
    check(&["agent", "add", "Bad Name", "--owner", OWNER], 2);
    check(&["agent", "add", "shop-coder", "--owner", OWNER], 7);
    check(&["owner", "lapse", OWNER], 2);
    check(&["why", "d_00000000000000000000000000"], 3);
    check(&["--url", "http://127.0.0.1:1", "agent", "ls"], 8);
    let url = format!("http://{}", world.accredit.listen);
    check(&["--url", &url, "agent", "ls"], 6);
}
