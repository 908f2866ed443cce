//! What holds when the machine does not: a full disk, a kill, a missing key, a log at its most talkative.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use accredit_tests::canary::{Canary, in_bytes, in_tree};
use accredit_tests::collector::{Collector, Manner};
use accredit_tests::harness::{Accredit, Run, Setup, binary, http_get, signal, wait_for};
use accredit_tests::tap::Tap;
use accredit_tests::world::{OWNER, World, random_key};
use rustix::process::Signal;

/// A small file system of its own, which goes when this does.
struct Small {
    dir: PathBuf,
}

impl Small {
    /// `None` where the machine does not let us: then nothing can be shown here.
    fn mount(dir: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(dir).expect("a directory");
        let size = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self { dir: dir.to_owned() })
    }

    /// Writes until nothing more fits.
    fn fill(&self) -> PathBuf {
        let filler = self.dir.join("filler");
        let mut file = std::fs::File::create(&filler).expect("a file");
        for piece in [vec![0; 64 * 1024], vec![0; 1]] {
            while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        }
        filler
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.dir).stderr(Stdio::null()).status();
    }
}

// case: AUD-01, AUD-14
#[test]
fn a_full_disk_stops_the_work_and_not_the_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(small) = Small::mount(&dir.path().join("state"), 24) else { return };
    let world = World::start(Setup { state: Some(small.dir.clone()), embedded: true, ..Setup::default() });
    world.enrol("shop-coder");
    let tap = Tap::start(&world.accredit, &Run::of("shop-coder", &["orders: *"]));
    let host = world.accredit.gateway;
    let ask = |path: &str| {
        tap.send(format!("GET /u/orders{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
            .expect("an answer")
    };
    assert_eq!(ask("/v1/orders/before").status, 200);
    let filler = small.fill();
    let mut answered = 0;
    let mut refused = 0;
    for _ in 0..120 {
        match ask("/v1/orders/full").status {
            200 => answered += 1,
            503 => refused += 1,
            other => panic!("status {other}"),
        }
    }
    assert!(refused > 0, "the disk never was full");
    let last = ask("/v1/orders/full");
    assert_eq!(last.status, 503, "{}", last.head);
    assert!(last.values("retry-after") == ["1"], "it may be repeated: {}", last.head);
    wait_for(|| (!world.accredit.is_ready()).then_some(()));
    // What the service did is what was answered: nothing went out without a record.
    assert_eq!(world.acted_on("/v1/orders/full"), answered);
    std::fs::remove_file(filler).expect("the filler goes");
    wait_for(|| (ask("/v1/orders/after").status == 200).then_some(()));
    wait_for(|| world.accredit.is_ready().then_some(()));
    world.accredit.cli(&["audit", "verify"]).ok();
    let uses =
        world.accredit.json(&["credential", "uses", "orders-key", "--outcome", "allow", "--limit", "5000"]);
    let recorded =
        uses.as_array().expect("a list").iter().filter(|used| used["path"] == "/v1/orders/full").count();
    assert!(recorded >= answered, "{recorded} of {answered} uses are in the ledger");
    drop(tap);
    drop(world);
    drop(small);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut world = World::start(Setup::default());
    world.enrol("shop-coder");
    let run = Run::of("shop-coder", &["orders: GET"]);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let script = format!(
            "curl -sS -o /dev/null -w '%{{http_code}}' \"$0/v1/orders/kill-{round}\"; echo \" $ACCREDIT_TASK\""
        );
        let said = run.output(&world.accredit, &["sh", "-c", &script, &world.sample.url]).ok();
        assert!(said.stdout.starts_with("200 "), "{}", said.stdout);
        acknowledged.push(said.stdout.trim().trim_start_matches("200 ").to_owned());
        world.accredit.kill();
        world.accredit.launch();
        world.accredit.wait_until_ready();
        world.accredit.cli(&["audit", "verify"]).ok();
    }
    for (round, task) in acknowledged.iter().enumerate() {
        let uses = world.accredit.json(&["credential", "uses", "orders-key", "--task", task]);
        assert_eq!(uses[0]["path"], format!("/v1/orders/kill-{round}"), "{uses}");
        assert!(uses[0]["settled"].is_string(), "after a crash an action is settled too: {uses}");
    }
}

// case: ADM-06
#[test]
fn no_value_of_a_credential_is_in_the_database_before_or_after_rotation() {
    let world = World::start(Setup::default());
    let mut canaries = vec![Canary::new("the first value", world.raw_key())];
    for _ in 0..3 {
        let value = random_key();
        canaries.push(Canary::new("a later value", &value));
        world.accredit.cli_with_input(&["credential", "set", "orders-key", "--value-file", "-"], &value).ok();
    }
    assert_eq!(world.accredit.leaks(&canaries), []);
    world.accredit.cli(&["revoke", "--credential", "orders-key", "--yes"]).ok();
    assert_eq!(world.accredit.leaks(&canaries), []);
    assert_eq!(in_tree(&canaries, &world.accredit.home()), []);
    // The search would find it: the file that the value came from is outside the state directory.
    let control = world.directory("control");
    std::fs::write(control.join("value"), world.raw_key()).expect("a file");
    assert_eq!(in_tree(&canaries, &control).len(), 1);
}

// case: ADM-07, AUD-14
#[test]
fn without_its_key_or_with_another_the_authority_is_sealed() {
    let mut world = World::start(Setup::default());
    world.enrol("shop-coder");
    world.accredit.stop();
    let key = world.accredit.state().join("seal.key");
    let kept = std::fs::read(&key).expect("the key file");
    let other = World::start(Setup::default());
    let foreign = std::fs::read(other.accredit.state().join("seal.key")).expect("the key file");
    drop(other);
    for (name, bytes) in [
        ("another key", Some(&foreign)),
        ("no key", None),
        ("half a key", Some(&kept[..kept.len() / 2].to_vec())),
    ] {
        match bytes {
            Some(bytes) => put(&key, bytes),
            None => std::fs::remove_file(&key).expect("a file that goes"),
        }
        world.accredit.launch();
        if sealed_or_ended(&mut world.accredit, name) {
            let run = Run::of("shop-coder", &["orders: GET"]);
            let before = world.acted_on("/v1/orders/sealed");
            let said =
                run.output(&world.accredit, &["curl", "-sS", "-m", "5", &world.url("/v1/orders/sealed")]);
            assert!(!said.stdout.contains("a lamp"), "{name}: {}", said.stdout);
            assert_eq!(world.acted_on("/v1/orders/sealed"), before, "{name}");
            world.accredit.stop();
        }
    }
    put(&key, &kept);
    world.accredit.launch();
    world.accredit.wait_until_ready();
    let run = Run::of("shop-coder", &["orders: GET"]);
    let said = run.output(&world.accredit, &["curl", "-sS", &world.url("/v1/orders/17")]).ok();
    assert!(said.stdout.contains("a lamp"), "with its own key it goes on");
}

/// Writes a key file as its owner must keep it.
fn put(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// Whether the server runs and says that it does not accept work; it may also refuse to start.
#[track_caller]
fn sealed_or_ended(accredit: &mut Accredit, name: &str) -> bool {
    wait_for(|| {
        let alive = Path::new(&format!("/proc/{}/stat", accredit.pid())).exists();
        let answer = http_get(accredit.listen, "/v1/ready").ok();
        assert!(answer.as_ref().is_none_or(|(status, _)| *status != 200), "{name}: it says that it is ready");
        match answer {
            Some((_, body)) => Some((true, String::from_utf8_lossy(&body).into_owned())),
            None if !alive || ended(accredit.pid()) => Some((false, String::new())),
            None => None,
        }
    })
    .0 || {
        assert_ne!(accredit.wait_for_end(), 0, "{name}");
        false
    }
}

fn ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

// case: SEC-10
#[test]
fn the_most_talkative_log_and_the_traces_hold_no_key() {
    let environment = ["ACCREDIT_LOG", "RUST_LOG"].map(|name| (name.to_owned(), "trace".to_owned())).to_vec();
    let collector = Collector::start(Manner::Takes).expect("a collector");
    let config = format!("[observability]\notlp = \"{}\"", collector.url());
    let world = World::start(Setup { config, environment, ..Setup::default() });
    world.enrol("shop-coder");
    let run = Run {
        environment: vec![("RUST_LOG".to_owned(), "trace".to_owned())],
        ..Run::of("shop-coder", &["orders: *", "shop-git: *"])
    };
    let script = "curl -sS \"$0/v1/echo?header=1\"; curl -sS \"$0/v1/redirect\" -i; curl -sS -X DELETE \"$0/v1/orders/1\"; \
        curl -sS https://unknown.example/; curl -sS -d '{}' \"$0/v1/orders\"; git ls-remote \"$1\"";
    let said =
        run.output(&world.accredit, &["sh", "-c", script, &world.sample.url, &world.repository("shop")]);
    assert!(said.stdout.contains("refs/heads/main"), "{}{}", said.stdout, said.stderr);
    let text = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(in_bytes(&world.canaries, text.as_bytes(), "output of the task"), []);
    assert!(world.accredit.log().contains(" DEBUG "), "the log says more than usual");
    wait_for(|| (collector.spans().iter().filter(|s| s.name == "action").count() >= 5).then_some(()));
    assert_eq!(in_bytes(&world.canaries, &collector.bytes(), "traces"), []);
    assert_eq!(world.accredit.leaks(&world.canaries), []);
}

// case: ADM-05
#[test]
fn a_configuration_that_is_not_understood_starts_nothing() {
    let accredit = Accredit::prepare(Setup::default());
    let check = |lines: &str, words: &[&str]| {
        accredit.write_config(lines);
        let said = accredit.cli(&["serve"]);
        assert_eq!(said.code, 2, "{lines}: {}{}", said.stdout, said.stderr);
        for word in words {
            assert!(said.stderr.contains(word), "no `{word}` in:\n{}", said.stderr);
        }
        assert!(!accredit.state().join("accredit.db").exists(), "nothing was made");
    };
    check("lissten = \"x\"", &["server.lissten", "unknown key", "listen"]);
    check("[[template]]\nname = \"a\"\nallow = [\"x: fly\"]", &["template[0].allow", "`fly`"]);
    check("seal = { kind = \"file\", path = \"relative\" }", &["server.seal", "absolute"]);
    check("tenant = \"not a name\"", &["server.tenant"]);
}

// case: POL-07
#[test]
fn bad_input_is_refused_whole_and_names_the_field() {
    let world = World::start(Setup::default());
    let accredit = &world.accredit;
    let scratch = world.directory("bad");
    let file = |name: &str, text: &str| {
        let path = scratch.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let in_force = accredit.json(&["policy", "show"])["hash"].clone();
    let (pem, cedar, later) = (
        file("broken.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        file("broken.cedar", "permit (principal, action, resource) when { context.nothing };"),
        file("syntax.cedar", "permit (principal"),
    );
    let check = |arguments: &[&str], words: &[&str]| {
        let said = accredit.cli(arguments);
        assert!(matches!(said.code, 1..=7), "{arguments:?}: {} {}", said.code, said.stderr);
        for word in words {
            assert!(
                said.stderr.contains(word) || said.stdout.contains(word),
                "no `{word}` for {arguments:?}:\n{}{}",
                said.stdout,
                said.stderr
            );
        }
    };
    check(&["agent", "add", "a", "--owner", "nobody@acme.test"], &["nobody@acme.test"]);
    check(&["agent", "add", &"a".repeat(64), "--owner", OWNER], &["name"]);
    check(&["agent", "add", "caf\u{e9}", "--owner", OWNER], &["name"]);
    check(&["agent", "add", "a", "--owner", OWNER, "--public-key", &pem], &["key"]);
    check(&["resource", "add", "r", "--owner", OWNER, "--endpoint", "https://*.acme.test"], &["endpoint"]);
    check(&["resource", "add", "r", "--owner", OWNER, "--endpoint", "https://a.test/path"], &["endpoint"]);
    check(&["resource", "add", "r", "--owner", OWNER, "--endpoint", "https://a.test", "--ca", &pem], &["ca"]);
    check(&["resource", "add", "orders", "--owner", OWNER, "--endpoint", "https://a.test"], &["orders"]);
    check(&["credential", "add", "c", "--resource", "nothing", "--without-value"], &["nothing"]);
    check(&["policy", "apply", &cedar, "--yes"], &["nothing"]);
    check(&["policy", "apply", &later, "--yes"], &["syntax"]);
    check(&["agent", "enrol", "--token-file", &pem], &["token"]);
    let short = accredit.cli_with_input(&["credential", "set", "orders-key", "--value-file", "-"], "short");
    assert_eq!(short.code, 2, "{}", short.stderr);
    let after = accredit.json(&["agent", "ls"]);
    assert_eq!(after.as_array().map(Vec::len), Some(0), "{after}");
    let export = accredit.cli(&["audit", "export"]).ok().stdout;
    let registered = export
        .lines()
        .filter(|line| line.contains("agent.registered") || line.contains("resource.added"))
        .count();
    assert_eq!(registered, 2, "only the two resources of the world:\n{export}");
    assert_eq!(accredit.json(&["policy", "show"])["hash"], in_force, "the policy set in force stays");
    let good = file("good.cedar", accredit_tests::world::POLICIES);
    let stale = ["policy", "apply", &good, "--yes", "--expected", &"0".repeat(64)];
    assert_eq!(accredit.cli(&stale).code, 7, "a set that was meant for another one is refused");
}

// case: SEC-15
#[test]
fn a_crash_leaves_no_core_file() {
    let accredit = Accredit::prepare(Setup::default());
    let dir = accredit.scratch().join("cores");
    std::fs::create_dir(&dir).expect("a directory");
    let start = || {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c unlimited; exec \"$0\" --state \"$1\" serve"]).current_dir(&dir);
        command.arg(binary()).arg(accredit.state()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("a shell");
        wait_for(|| accredit.is_ready().then_some(()));
        server
    };
    let mut server = start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_ascii_whitespace().nth(4), Some("0"), "{core}");
    signal(server.id(), Signal::ABORT);
    server.wait().expect("its end");
    assert_eq!(std::fs::read_dir(&dir).expect("a listing").count(), 0, "nothing lies where it ran");
}

// case: SEC-17
#[test]
fn the_servers_memory_is_closed_to_its_own_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let accredit = Accredit::prepare(Setup::default());
    let nobody = |command: &[&str]| {
        let mut as_nobody = Command::new("setpriv");
        as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(command);
        as_nobody.stdout(Stdio::null()).stderr(Stdio::null());
        as_nobody
    };
    // The build directory may be closed to nobody: the program is copied to where it can be started.
    let program = accredit.scratch().join("accredit");
    std::fs::copy(binary(), &program).expect("a copy");
    let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(accredit.scratch()).status();
    assert!(owned.expect("chown").success());
    let (program, state) = (program.display().to_string(), accredit.state().display().to_string());
    let mut server = nobody(&[&program, "--state", &state, "serve"]).spawn().expect("setpriv");
    wait_for(|| accredit.is_ready().then_some(()));
    let mut sleeper = nobody(&["sleep", "60"]).spawn().expect("setpriv");
    let readable = |pid: u32| {
        let script = format!("head -c 16 /proc/{pid}/environ && head -c 0 < /proc/{pid}/mem");
        nobody(&["sh", "-c", &script]).status().expect("setpriv").success()
    };
    wait_for(|| readable(sleeper.id()).then_some(()));
    let open = readable(server.id());
    for child in [&mut server, &mut sleeper] {
        child.kill().and_then(|()| child.wait()).expect("its end");
    }
    assert!(!open, "environment or memory of the server can be read by its own user");
}
