//! Unchanged clients under `accredit run` reach a service whose key none of them ever holds.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use accredit_tests::canary::{in_bytes, in_process, in_tree};
use accredit_tests::harness::{Run, Said, Setup, descendants, signal, tool, wait_for};
use accredit_tests::world::{World, shared};
use rustix::process::Signal;

static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());

fn world() -> Arc<World> {
    shared(&WORLD, || {
        let world = World::start(Setup::default());
        for agent in ["shop-curl", "shop-git", "shop-python", "shop-node"] {
            world.enrol(agent);
        }
        world
    })
}

#[track_caller]
fn clean(world: &World, said: &Said) {
    let output = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(in_bytes(&world.canaries, output.as_bytes(), "output"), []);
}

/// Runs a command that reaches the service once and then stays; looks for the key in every process of the run while it
/// lives, then ends it.
#[track_caller]
fn holds_no_key(world: &World, run: &Run, command: &[&str]) {
    let out = world.accredit.scratch().join(format!("{}.out", run.agent.as_deref().unwrap_or("nobody")));
    let file = std::fs::File::create(&out).expect("a file");
    let mut runner = run.around(&world.accredit, command);
    let mut runner = runner.stdout(file).stderr(Stdio::null()).spawn().expect("the runner can be started");
    let arrived = || std::fs::read_to_string(&out).unwrap_or_default().contains("a lamp");
    wait_for(|| {
        let ended = runner.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "ended early: {}", std::fs::read_to_string(&out).unwrap_or_default());
        arrived().then_some(())
    });
    let children = descendants(runner.id());
    assert!(!children.is_empty(), "the command runs");
    for pid in children.into_iter().chain([runner.id()]) {
        let (leaks, seen) = in_process(&world.canaries, pid);
        assert_eq!(leaks, []);
        assert!(seen > 64 * 1024, "only {seen} bytes of process {pid} could be looked at");
    }
    let output = std::fs::read(&out).expect("its output");
    assert_eq!(in_bytes(&world.canaries, &output, "output"), []);
    signal(runner.id(), Signal::TERM);
    runner.wait().expect("its end");
}

// case: SEC-01
#[test]
fn curl_reaches_the_service_and_holds_no_key() {
    let world = world();
    let run = Run::of("shop-curl", &["orders: GET /v1/**"]);
    let before = world.acted_on("/v1/orders/17");
    let said = run.output(&world.accredit, &["curl", "-sS", &world.url("/v1/orders/17")]).ok();
    assert!(said.stdout.contains("a lamp"), "{}", said.stdout);
    assert_eq!(world.acted_on("/v1/orders/17"), before + 1);
    clean(&world, &said);
    // The stream has no end, so that curl itself is still there to be searched.
    holds_no_key(&world, &run, &["curl", "-sSN", &world.url("/v1/orders/17"), &world.url("/v1/stream")]);
}

// case: SEC-01
#[test]
fn the_search_finds_the_key_in_a_process_that_does_hold_it() {
    let world = world();
    let mut agent = Command::new("sleep");
    let mut agent = agent.arg("60").env("ORDERS_API_KEY", world.raw_key()).spawn().expect("sleep");
    // Until the new program is in place, the process shows what its parent had.
    let leaks = wait_for(|| {
        let (leaks, _) = in_process(&world.canaries, agent.id());
        leaks.iter().any(|leak| leak.place.starts_with("environ")).then_some(leaks)
    });
    agent.kill().and_then(|()| agent.wait()).expect("its end");
    assert!(leaks.iter().any(|leak| leak.place.starts_with("memory")), "{leaks:?}");
}

#[test]
fn git_clones_and_pushes_over_https() {
    let world = world();
    let dir = world.directory("clone");
    let run = Run::of("shop-git", &["shop-git: git.refs|git.fetch|git.push /git/shop.git/**"]);
    let script = "set -e; git clone -q \"$0\" shop; cd shop; echo one >> README; \
        git -c user.name=shop -c user.email=shop@acme.test commit -qam 'One more line'; \
        git push -q origin HEAD:refs/heads/topic; git rev-parse HEAD";
    let mut command = run.around(&world.accredit, &["sh", "-c", script, &world.repository("shop")]);
    let said = Said::of(&command.current_dir(&dir).output().expect("the runner can be started")).ok();
    let pushed = Command::new("git")
        .args(["rev-parse", "topic"])
        .current_dir(world.sample.repositories_path.join("shop.git"))
        .output()
        .expect("git");
    assert_eq!(
        String::from_utf8_lossy(&pushed.stdout),
        said.stdout,
        "the commit is in the upstream's repository"
    );
    clean(&world, &said);
    assert_eq!(in_tree(&world.canaries, &dir), []);
}

#[test]
fn a_task_that_may_only_fetch_cannot_push() {
    let world = world();
    let dir = world.directory("fetch-only");
    let run = Run::of("shop-git", &["shop-git: git.refs|git.fetch /git/shop.git/**"]);
    let script = "git clone -q \"$0\" shop && cd shop && git -c user.name=a -c user.email=a@acme.test \
        commit -q --allow-empty -m x && git push -q origin HEAD:refs/heads/refused";
    let mut command = run.around(&world.accredit, &["sh", "-c", script, &world.repository("shop")]);
    let said = Said::of(&command.current_dir(&dir).output().expect("the runner can be started"));
    assert_ne!(said.code, 0, "{}", said.stderr);
    let refs = std::fs::read_dir(world.sample.repositories_path.join("shop.git/refs/heads")).expect("refs");
    assert!(!refs.flatten().any(|entry| entry.file_name() == "refused"));
}

// case: SEC-01
#[test]
fn python_requests_reaches_the_service_and_holds_no_key() {
    let world = world();
    let python = tool("python/bin/python3").display().to_string();
    let script = "import sys, time, requests\nanswer = requests.get(sys.argv[1])\n\
        answer.raise_for_status()\nprint(answer.json()['item'], flush=True)\ntime.sleep(float(sys.argv[2]))";
    let run = Run::of("shop-python", &["orders: GET /v1/**"]);
    let url = world.url("/v1/orders/18");
    let said = run.output(&world.accredit, &[&python, "-c", script, &url, "0"]).ok();
    assert_eq!(said.stdout.trim(), "a lamp");
    clean(&world, &said);
    holds_no_key(&world, &run, &[&python, "-c", script, &url, "60"]);
}

// case: SEC-01
#[test]
fn node_fetch_reaches_the_service_and_holds_no_key() {
    let world = world();
    let node = tool("node/node_modules/.bin/node").display().to_string();
    let script = "fetch(process.argv[1]).then((answer) => answer.json()).then((order) => {\
        console.log(order.item); setTimeout(() => {}, Number(process.argv[2])); })";
    let run = Run::of("shop-node", &["orders: GET /v1/**"]);
    let url = world.url("/v1/orders/19");
    let said = run.output(&world.accredit, &[&node, "-e", script, &url, "0"]).ok();
    assert_eq!(said.stdout.trim(), "a lamp");
    clean(&world, &said);
    holds_no_key(&world, &run, &[&node, "-e", script, &url, "60000"]);
}

#[test]
fn a_client_with_a_base_url_needs_no_proxy() {
    let world = world();
    let mut run = Run::of("shop-curl", &["orders: GET /v1/**"]);
    run.more = ["--base-url", "ORDERS_URL=orders"].map(str::to_owned).to_vec();
    let script = "unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY all_proxy; \
        curl -sS \"$ORDERS_URL/v1/orders/17\"";
    let said = run.output(&world.accredit, &["sh", "-c", script]).ok();
    assert!(said.stdout.contains("a lamp"), "{}", said.stdout);
    clean(&world, &said);
}

#[test]
fn a_body_streams_to_the_service_unchanged() {
    let world = world();
    let file = world.directory("upload").join("body");
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&file, &body).expect("a file");
    let sum = Command::new("sha256sum").arg(&file).output().expect("sha256sum");
    let sum = String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap_or_default().to_owned();
    let run = Run::of("shop-curl", &["orders: POST /v1/upload"]);
    let path = file.display().to_string();
    for how in [["-X", "POST", "-T"], ["-H", "Transfer-Encoding: chunked", "--data-binary"]] {
        let source = if how[2] == "-T" { path.clone() } else { format!("@{path}") };
        let url = world.url("/v1/upload");
        let command = [&["curl", "-sS"], &how[..], &[&source, &url]].concat();
        let said = run.output(&world.accredit, &command).ok();
        assert!(said.stdout.contains(&sum), "{}", said.stdout);
    }
}

/// What `accredit run` writes, it writes below its state directory, and it takes that away again.
#[test]
fn a_run_leaves_nothing_behind() {
    let world = world();
    let run = Run::of("shop-curl", &["orders: GET /v1/**"]);
    let said =
        run.output(&world.accredit, &["sh", "-c", "echo \"$SSL_CERT_FILE\"; ls -l \"$SSL_CERT_FILE\""]).ok();
    let bundle = said.stdout.lines().next().unwrap_or_default().to_owned();
    assert!(bundle.starts_with(&world.accredit.state().display().to_string()), "{bundle}");
    assert!(said.stdout.contains("-rw-------"), "{}", said.stdout);
    assert!(!std::path::Path::new(&bundle).exists(), "the bundle has gone with the run");
    let home: Vec<_> = std::fs::read_dir(world.accredit.home()).expect("a home").flatten().collect();
    assert!(home.is_empty(), "{home:?}");
}

#[test]
fn a_command_inherits_no_secret_of_the_machine() {
    let world = world();
    let mut run = Run::of("shop-curl", &["orders: GET /v1/**"]);
    run.environment = vec![
        ("ORDERS_API_KEY".to_owned(), world.raw_key().to_owned()),
        ("DB_PASSWORD".to_owned(), "hunter2-hunter2-hunter2".to_owned()),
    ];
    let said = run.output(&world.accredit, &["env"]).ok();
    clean(&world, &said);
    assert!(!said.stdout.contains("hunter2"), "{}", said.stdout);
}

// case: SEC-19
#[test]
fn nothing_that_the_authority_keeps_or_says_holds_the_key() {
    let world = world();
    let run = Run::of("shop-curl", &["orders: GET /v1/**"]);
    let said = run.output(&world.accredit, &["curl", "-sS", &world.url("/v1/echo?header=1")]).ok();
    clean(&world, &said);
    assert_eq!(world.accredit.leaks(&world.canaries), []);
}
