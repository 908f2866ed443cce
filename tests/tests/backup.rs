//! Backup, restore and the move to a server, by the real binary: nothing that was granted before a restore lets anybody in,
//! and a move changes nothing but the place.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accredit_tests::agent::{Agent, Task};
use accredit_tests::canary::in_bytes;
use accredit_tests::harness::{Accredit, Setup, shared_database};
use accredit_tests::inject::SmallDisk;
use accredit_tests::operator::Operator;
use accredit_tests::world::World;
use accredit_tests_postgres::{Database, Role};

/// The same installation on a new machine, which was given the key of the vault and nothing else.
fn new_machine(world: &World) -> Accredit {
    let old = &world.accredit;
    let new = Accredit::prepare(Setup {
        names: Some(world.names.clone()),
        addresses: Some((old.listen, old.gateway)),
        ..Setup::default()
    });
    std::fs::copy(old.state().join("seal.key"), new.state().join("seal.key")).expect("the key goes along");
    new
}

/// The same server in the same directory, on the database that it was moved to.
fn moved_to(world: &World, database: Arc<Database>) -> Accredit {
    let old = &world.accredit;
    Accredit::start(Setup {
        names: Some(world.names.clone()),
        addresses: Some((old.listen, old.gateway)),
        state: Some(old.state().to_owned()),
        shared: Some(database),
        ..Setup::default()
    })
}

/// Whether the token of a task still gets something from upstream.
fn works(agent: &Agent, task: &Task) -> bool {
    let answer = agent.attach(task).and_then(|mut connection| connection.get("orders", "/v1/orders/17"));
    answer.is_ok_and(|(_, answer)| answer.status == 200)
}

// case: ADM-06, ADM-08, ADM-09, FLT-18
#[test]
fn a_restored_backup_lets_in_nothing_of_before_and_goes_on() {
    let mut world = World::start(Setup::default());
    let agent = Agent::register(&world.accredit, "shop-coder");
    let before = agent.start(&["orders: GET /v1/**"], 3_600).expect("a task");
    let token = world.accredit.json(&["agent", "token", "shop-coder"]);
    let token = token["token"].as_str().expect("a join token");
    let operator = Operator::sign_in(&world.accredit);
    assert!(operator.log_key().is_ok());
    let file = world.accredit.scratch().join("backup");
    let file = file.display().to_string();
    let done = AtomicBool::new(false);
    let (used, copied) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut connection = agent.attach(&before).expect("attached");
            let mut used = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(connection.get("orders", "/v1/orders/17").expect("an answer").1.status, 200);
                used += 1;
            }
            used
        });
        let copied = world.accredit.json(&["backup", &file]);
        done.store(true, Ordering::Relaxed);
        (load.join().expect("no panic"), copied)
    });
    assert!(used > 0 && copied["entries"].as_u64().is_some_and(|n| n > 0), "{used} {copied}");
    let leaks = in_bytes(&world.canaries, &std::fs::read(&file).expect("a backup"), &file);
    assert!(leaks.is_empty(), "{leaks:?}");
    // What is granted and taken away after the backup was taken, the backup does not know.
    world.accredit.cli(&["task", "end", &before.id, "--yes"]).ok();
    let after = agent.start(&["orders: GET /v1/**"], 3_600).expect("a task");
    assert_eq!(world.accredit.stop(), 0);

    let mut new = new_machine(&world);
    let restored = new.json(&["restore", &file]);
    assert_eq!(restored["root"], copied["root"], "{restored}");
    assert_eq!(restored["taken_at"], copied["taken_at"], "{restored}");
    new.launch();
    assert_ne!(new.wait_for_end(), 0, "it starts only when somebody says that the rest is lost");
    assert!(new.log().contains("--acknowledge-fork"), "{}", new.log());
    new.launch_with(&["--acknowledge-fork"]);
    new.wait_until_ready();
    for task in [&before, &after] {
        assert!(!works(&agent, task), "a task of before is over");
    }
    assert_eq!(new.json(&["task", "show", &before.id])["status"], "revoked");
    assert!(operator.log_key().is_err(), "a session of before is over");
    let enrol = new.cli_with_input(&["agent", "enrol", "--token-file", "-"], token);
    assert_eq!(enrol.code, 6, "a join token of before is worthless: {} {}", enrol.stdout, enrol.stderr);
    // The agent itself is who it was.
    let task = agent.start(&["orders: GET /v1/**"], 600).expect("a new task");
    assert!(works(&agent, &task));
    assert_eq!(new.json(&["audit", "verify"])["ok"], true);
    let said = new.cli(&["audit", "search", "--kind", "epoch.opened"]).ok();
    assert!(said.stdout.contains("epoch.opened"), "{}", said.stdout);
    // It is acknowledged once, and takes nothing away again.
    assert_eq!(new.stop(), 0);
    new.launch();
    new.wait_until_ready();
    assert!(works(&agent, &task), "the new task goes on");
}

#[test]
fn an_installation_moves_from_its_file_to_a_server_with_everything_that_goes_on() {
    let mut world = World::start(Setup { embedded: true, ..Setup::default() });
    let agent = Agent::register(&world.accredit, "shop-coder");
    let task = agent.start(&["orders: GET /v1/**"], 3_600).expect("a task");
    assert!(works(&agent, &task));
    let database = shared_database();
    let to = database.url(Role::Service);
    let migrate = |accredit: &Accredit| {
        let mut command = accredit.command();
        command.args(["-o", "json", "migrate", "--to", "${env:TO}"]).env("TO", &to);
        accredit_tests::harness::Said::of(&command.output().expect("the command can be started"))
    };
    let running = migrate(&world.accredit);
    assert_eq!(running.code, 7, "{}", running.stderr);
    assert!(running.stderr.contains("stop the server first"), "{}", running.stderr);
    assert_eq!(world.accredit.stop(), 0);
    let moved = migrate(&world.accredit).ok().json();
    assert!(moved["entries"].as_u64().is_some_and(|n| n > 5), "{moved}");
    world.accredit.launch();
    assert_ne!(world.accredit.wait_for_end(), 0, "the file takes no work any more");
    assert!(world.accredit.log().contains("was moved to"), "{}", world.accredit.log());
    let there = moved_to(&world, database);
    assert!(works(&agent, &task), "the task and its token go on");
    let uses = there.json(&["credential", "uses", "orders-key"]);
    assert_eq!(uses.as_array().map(Vec::len), Some(2), "one from before, one from after: {uses}");
    assert_eq!(there.json(&["audit", "verify"])["ok"], true);
}

#[test]
fn copies_say_what_is_wrong_and_leave_nothing_half_made() {
    let world = World::start(Setup { embedded: true, ..Setup::default() });
    let at = |name: &str| world.accredit.scratch().join(name).display().to_string();
    let (file, none, text) = (at("backup"), at("none"), at("text"));
    std::fs::write(&text, "this is no database").expect("a file");
    world.accredit.cli(&["backup", &file]).ok();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["backup", &file], 7, "is there already"),
        (&["restore", &file], 7, "stop the server first"),
        (&["backup", "/nonexistent/backup"], 1, "cannot be read or written"),
        (&["migrate", "--to", "postgres://a:b@127.0.0.1/c?sslmode=disable"], 2, "--password-from"),
    ];
    for (arguments, code, why) in cases {
        let said = world.accredit.cli(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(why), "{arguments:?}: {}", said.stderr);
    }
    let new = Accredit::prepare(Setup { embedded: true, ..Setup::default() });
    for (from, code) in [(&none, 3), (&text, 2)] {
        let said = new.cli(&["-o", "json", "restore", from]);
        assert_eq!(said.code, code, "{}", said.stderr);
        let error: serde_json::Value = serde_json::from_str(&said.stderr).expect("an error as JSON");
        assert!(error.to_string().contains(from.as_str()), "{error}");
    }
    // A disk without room for it.
    let disk = SmallDisk::mount(world.accredit.scratch(), 1);
    disk.fill();
    let full = disk.path().join("backup");
    let said = world.accredit.cli(&["backup", &full.display().to_string()]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("the disk is full"), "{}", said.stderr);
    let left: Vec<_> =
        std::fs::read_dir(disk.path()).expect("a listing").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["filler"]);
}

/// Starts a command again and again, each time killed a little later, until it comes to its end by itself.
fn until_done(mut command: impl FnMut() -> std::process::Command) -> u32 {
    for round in 0.. {
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(4) * round);
        let _ = child.kill();
        let ended = child.wait_with_output().expect("its end");
        match ended.status.code() {
            // Killed after it was made and before it could say so: then it is there.
            Some(0 | 7) => return round,
            Some(code) => panic!("{code}: {}", String::from_utf8_lossy(&ended.stderr)),
            None => {}
        }
    }
    unreachable!("it is given more time in each round")
}

// case: FLT-18
#[test]
fn copies_that_are_killed_at_any_moment_are_made_by_the_next_call() {
    let mut world = World::start(Setup { embedded: true, ..Setup::default() });
    let agent = Agent::register(&world.accredit, "shop-coder");
    let task = agent.start(&["orders: GET /v1/**"], 3_600).expect("a task");
    assert!(works(&agent, &task));
    let file = world.accredit.scratch().join("backup");
    let of = |accredit: &Accredit, arguments: &[&std::ffi::OsStr]| {
        let mut command = accredit.command();
        command.args(arguments);
        command
    };
    let kills = until_done(|| of(&world.accredit, &["backup".as_ref(), file.as_os_str()]));
    let left: Vec<_> = std::fs::read_dir(world.accredit.scratch()).expect("a listing").flatten().collect();
    assert!(left.iter().all(|entry| entry.path().extension().is_none_or(|end| end != "part")), "{left:?}");
    let new = Accredit::prepare(Setup { embedded: true, ..Setup::default() });
    let more = until_done(|| of(&new, &["restore".as_ref(), file.as_os_str()]));
    assert_eq!(world.accredit.stop(), 0);
    let database = shared_database();
    let to = database.url(Role::Service);
    let moving = until_done(|| {
        let mut command = of(&world.accredit, &["migrate".as_ref(), "--to".as_ref(), "${env:TO}".as_ref()]);
        command.env("TO", &to);
        command
    });
    assert!(kills > 0 && more > 0 && moving > 0, "each was killed at least once: {kills} {more} {moving}");
    let there = moved_to(&world, database);
    assert!(works(&agent, &task), "the task and its token go on");
    assert_eq!(there.json(&["audit", "verify"])["ok"], true);
}
