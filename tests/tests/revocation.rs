//! When `revoke` returns, it is over; and a task ends with its command, however that ends.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use accredit_tests::harness::{Run, Said, Setup, descendants, signal, wait_for};
use accredit_tests::sample::effects::{Effect, Event, now_ns};
use accredit_tests::world::{World, shared};
use rustix::process::{Pid, Signal, kill_process};

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

/// How long a stream may outlive a revocation (I4).
const CUT_MAX: Duration = Duration::from_secs(1);

fn world() -> Arc<World> {
    shared(&WORLD, || {
        let world = World::start(Setup::default());
        for agent in ["shop-coder", "shop-reader", "shop-worker"] {
            world.enrol(agent);
        }
        world
    })
}

/// A command that runs, with its output in a file.
struct Running {
    child: Child,
    task: String,
    out: std::path::PathBuf,
}

impl Running {
    /// Starts a shell script under `accredit run` and waits until it has printed its task.
    #[track_caller]
    fn start(world: &World, run: &Run, script: &str) -> Self {
        let count = std::fs::read_dir(world.accredit.scratch()).map_or(0, Iterator::count);
        let out =
            world.accredit.scratch().join(format!("running-{count}-{}", run.agent.as_deref().unwrap_or("")));
        let file = std::fs::File::create(&out).expect("a file");
        let err = std::fs::File::create(out.with_extension("err")).expect("a file");
        let script = format!("echo \"$ACCREDIT_TASK\"; {script}");
        let mut command = run.around(&world.accredit, &["sh", "-c", &script, &world.sample.url]);
        let child =
            command.stdout(file).stderr(err).stdin(Stdio::null()).spawn().expect("the runner can be started");
        let task = wait_for(|| first_line(&out));
        Self { child, task, out }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    fn said(&mut self) -> Said {
        let until = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().expect("a child can be waited for").is_none() {
            assert!(Instant::now() < until, "the runner does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = std::process::Output {
            status: self.child.wait().expect("its end"),
            stdout: std::fs::read(&self.out).unwrap_or_default(),
            stderr: std::fs::read(self.out.with_extension("err")).unwrap_or_default(),
        };
        Said::of(&output)
    }
}

impl Drop for Running {
    /// Takes the command along: without its runner it would lose its authority and run on.
    fn drop(&mut self) {
        let command = descendants(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        let pids = command.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pids.for_each(|pid| {
            let _ = kill_process(pid, Signal::KILL);
        });
    }
}

fn first_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.split_once('\n').map(|(line, _)| line.to_owned()).filter(|line| !line.is_empty())
}

fn status(world: &World, task: &str) -> String {
    let task = world.accredit.json(&["task", "show", task]);
    task["status"].as_str().expect("a status").to_owned()
}

#[track_caller]
fn wait_for_status(world: &World, task: &str, wanted: &str) {
    wait_for(|| (status(world, task) == wanted).then_some(()));
}

fn effects(world: &World) -> Vec<Effect> {
    world.sample.effects().expect("the effect log")
}

fn ended(world: &World, path: &str, since: u64) -> Option<Effect> {
    effects(world)
        .into_iter()
        .find(|effect| effect.event == Event::Ended && effect.path == path && effect.ns > since)
}

// case: REV-01, REV-02
#[test]
fn a_long_download_is_cut_when_its_task_is_revoked_and_nothing_goes_out_afterwards() {
    let world = world();
    let run = Run::of("shop-coder", &["orders: GET /v1/**"]);
    let began = now_ns();
    // The download, and another client of the same task that asks again and again.
    let script = "curl -sS -o /dev/null \"$0/v1/download?mb=300\" & \
        while :; do curl -sS -o /dev/null -w '%{http_code}\\n' \"$0/v1/orders/rev-01\"; done";
    let running = Running::start(&world, &run, script);
    wait_for(|| (running.printed().matches("200").count() > 3).then_some(()));
    wait_for(|| effects(&world).iter().any(|e| e.path == "/v1/download" && e.ns > began).then_some(()));
    let asked = Instant::now();
    let report = world.accredit.json(&["revoke", "--task", &running.task, "--reason", "a drill", "--yes"]);
    let (returned, took) = (now_ns(), asked.elapsed());
    assert_eq!(report["tasks_ended"], serde_json::json!([running.task]));
    assert!(report["streams_cut"].as_u64().is_some_and(|n| n >= 1), "{report}");
    assert_eq!(report["pending"], serde_json::json!([]));
    let cut = wait_for(|| ended(&world, "/v1/download", began));
    let after = Duration::from_nanos(cut.ns.saturating_sub(returned));
    assert!(after <= CUT_MAX, "the stream outlived the revocation by {after:?}");
    assert!(cut.bytes.is_some_and(|bytes| bytes < 300_000_000), "{cut:?}");
    assert!(took < Duration::from_secs(5), "revoke took {took:?}");
    std::thread::sleep(Duration::from_millis(500));
    let late: Vec<Effect> = effects(&world)
        .into_iter()
        .filter(|e| e.event == Event::Acted && e.path == "/v1/orders/rev-01" && e.ns > returned)
        .collect();
    assert_eq!(late, [], "something went out after revoke had returned");
    assert_eq!(status(&world, &running.task), "revoked");
}

// case: REV-02
#[test]
fn an_event_stream_is_cut_when_its_agent_is_revoked_and_the_agent_stays_suspended() {
    let world = world();
    let run = Run::of("shop-worker", &["orders: GET /v1/**"]);
    let began = now_ns();
    let mut running = Running::start(&world, &run, "curl -sSN \"$0/v1/stream\"");
    wait_for(|| (running.printed().matches("data:").count() > 3).then_some(()));
    let report = world.accredit.json(&["revoke", "--agent", "shop-worker", "--yes"]);
    let returned = now_ns();
    assert_eq!(report["agents_suspended"], serde_json::json!(["shop-worker"]));
    let cut = wait_for(|| ended(&world, "/v1/stream", began));
    assert!(cut.ns.saturating_sub(returned) <= CUT_MAX.as_nanos() as u64);
    assert_ne!(running.said().code, 0, "the command learns that its stream was cut");
    assert_ne!(run.output(&world.accredit, &["true"]).code, 0, "a suspended agent starts nothing");
    world.accredit.cli(&["agent", "resume", "shop-worker"]).ok();
    run.output(&world.accredit, &["true"]).ok();
}

// case: REV-07
#[test]
fn revoking_what_is_unknown_or_already_over_changes_nothing() {
    let world = world();
    let run = Run::of("shop-reader", &["orders: GET"]);
    let said = run.output(&world.accredit, &["sh", "-c", "echo $ACCREDIT_TASK"]).ok();
    let task = said.stdout.trim();
    let report = world.accredit.json(&["revoke", "--task", task, "--yes"]);
    assert_eq!(report["tasks_ended"], serde_json::json!([]), "{report}");
    assert_eq!(status(&world, task), "completed", "it was over already, and stays what it was");
    assert_eq!(world.accredit.cli(&["revoke", "--task", "t_aaaaaaaaaaaaaaaaaaaaaaaaaa", "--yes"]).code, 3);
    assert_eq!(world.accredit.cli(&["revoke", "--agent", "nobody", "--yes"]).code, 3);
    assert_eq!(world.accredit.cli(&["revoke", "--task", "nonsense", "--yes"]).code, 2);
}

// case: REV-04
#[test]
fn a_task_ends_with_its_command() {
    let world = world();
    let run = Run::of("shop-reader", &["orders: GET"]);
    for (script, wanted) in [("echo $ACCREDIT_TASK", "completed"), ("echo $ACCREDIT_TASK; exit 3", "failed")]
    {
        let said = run.output(&world.accredit, &["sh", "-c", script]);
        assert_eq!(status(&world, said.stdout.trim()), wanted);
    }
}

// case: REV-04
#[test]
fn a_task_whose_runner_was_killed_is_ended_by_the_authority() {
    let world = world();
    let run = Run::of("shop-coder", &["orders: GET /v1/**"]);
    let began = now_ns();
    let mut running = Running::start(&world, &run, "curl -sSN \"$0/v1/stream?n=100000\"");
    wait_for(|| (running.printed().matches("data:").count() > 3).then_some(()));
    let children = descendants(running.child.id());
    let runner = format!("{}-", running.child.id());
    running.child.kill().and_then(|()| running.child.wait()).expect("its end");
    let killed = Instant::now();
    wait_for(|| (status(&world, &running.task) != "active").then_some(()));
    assert!(killed.elapsed() < Duration::from_secs(10), "it took {:?}", killed.elapsed());
    wait_for(|| ended(&world, "/v1/stream", began));
    for pid in children {
        // What the runner left behind is not ours to keep; it lost its way in.
        let _ = std::process::Command::new("kill").arg(pid.to_string()).stderr(Stdio::null()).status();
    }
    // The next run starts as if nothing had been, and what the killed one left is away.
    let left = || {
        let runs = std::fs::read_dir(world.accredit.state().join("runs")).expect("a listing").flatten();
        runs.filter(|run| run.file_name().to_string_lossy().starts_with(&runner)).count()
    };
    let said = run.output(&world.accredit, &["curl", "-sS", &world.url("/v1/orders/17")]).ok();
    assert!(said.stdout.contains("a lamp"));
    assert_eq!(left(), 0);
}

// case: REV-04
#[test]
fn signals_reach_the_command_and_end_the_task() {
    let world = world();
    let run = Run::of("shop-reader", &["orders: GET"]);
    for (sent, name, code) in [(Signal::TERM, "TERM", 143), (Signal::INT, "INT", 130)] {
        // A shell cannot trap what was ignored before it began, as SIGINT is where this runs in the background.
        let script = format!(
            "exec env --default-signal sh -c 'trap \"echo got {name}; exit {code}\" {name}; while :; do sleep 0.05; done'"
        );
        let mut running = Running::start(&world, &run, &script);
        std::thread::sleep(Duration::from_millis(100));
        signal(running.child.id(), sent);
        let said = running.said();
        assert!(said.stdout.contains(&format!("got {name}")), "{}", said.stdout);
        assert_eq!(said.code, code, "{}", said.stderr);
        wait_for_status(&world, &running.task, "failed");
    }
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let world = world();
    let one = Run::of("shop-coder", &["orders: GET /v1/**"]);
    let two = Run::of("shop-reader", &["orders: GET /v1/orders/*"]);
    let script = "echo \"$SSL_CERT_FILE $HTTPS_PROXY\"; while :; do sleep 0.05; done";
    let (first, second) = (Running::start(&world, &one, script), Running::start(&world, &two, script));
    assert_ne!(first.task, second.task);
    let paths = |running: &Running| wait_for(|| running.printed().lines().nth(1).map(str::to_owned));
    let (a, b) = (paths(&first), paths(&second));
    let parts = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert!(parts(&a).iter().zip(parts(&b)).all(|(one, two)| *one != two), "{a}\n{b}");
    // The listener of one run serves no process of the other.
    let proxy = parts(&b)[1].clone();
    let script = format!("curl -sS --max-time 5 -x {proxy} \"$0/v1/orders/17\"; echo \"code $?\"");
    let said = one.output(&world.accredit, &["sh", "-c", &script, &world.sample.url]).ok();
    assert!(!said.stdout.contains("a lamp") && !said.stdout.contains("code 0"), "{}", said.stdout);
    // Revoking one leaves the other alone.
    world.accredit.cli(&["revoke", "--task", &first.task, "--yes"]).ok();
    assert_eq!(
        (status(&world, &first.task).as_str(), status(&world, &second.task).as_str()),
        ("revoked", "active")
    );
}

// case: REV-11
#[test]
fn an_emergency_stop_ends_everything_in_one_call() {
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let run = Run::of("shop-coder", &["orders: GET /v1/**"]);
    let began = now_ns();
    let running: Vec<Running> =
        (0..3).map(|_| Running::start(&world, &run, "curl -sSN \"$0/v1/stream\"")).collect();
    for one in &running {
        wait_for(|| one.printed().contains("data:").then_some(()));
    }
    let report = world.accredit.json(&["revoke", "--all", "--reason", "a drill", "--yes"]);
    let returned = now_ns();
    assert_eq!(report["tasks_ended"].as_array().map(Vec::len), Some(3), "{report}");
    wait_for(|| {
        let ended = effects(&world)
            .into_iter()
            .filter(|e| e.event == Event::Ended && e.path == "/v1/stream" && e.ns > began);
        let ended: Vec<u64> = ended.map(|e| e.ns).collect();
        (ended.len() == 3)
            .then(|| assert!(ended.iter().all(|ns| ns.saturating_sub(returned) <= CUT_MAX.as_nanos() as u64)))
    });
    let all = world.accredit.cli(&["audit", "export"]).ok();
    assert!(all.stdout.contains("a drill"), "the emergency stop is in the ledger with its reason");
}

#[test]
fn revoking_a_credential_takes_it_from_every_task_and_destroys_its_value() {
    let world = World::start(Setup::default());
    world.enrol("shop-coder");
    let run = Run::of("shop-coder", &["orders: GET /v1/**"]);
    run.output(&world.accredit, &["curl", "-sS", "--fail", &world.url("/v1/orders/17")]).ok();
    let report = world.accredit.json(&["revoke", "--credential", "orders-key", "--yes"]);
    assert_eq!(report["credentials_revoked"], serde_json::json!(["orders-key"]));
    let said = run.output(&world.accredit, &["curl", "-sS", &world.url("/v1/orders/17")]).ok();
    assert!(said.stdout.contains("credential_revoked"), "{}", said.stdout);
    let shown = world.accredit.json(&["credential", "show", "orders-key"]);
    assert_eq!((shown["status"].as_str(), shown.get("secret_version")), (Some("revoked"), None), "{shown}");
}
