//! The ground that tests of several replicas stand on, proved by itself: a real PostgreSQL and the network to it are
//! broken in each way that the harness knows, and what the database acknowledged must be there afterwards.
//!
//! Two quick ones run always. The others need root, for namespaces, mounts and tracing, and are run by
//! `make test-faults`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use accredit_tests::harness::wait_for;
use accredit_tests::inject::{ClockShift, FlushFault, Flushes, Pause, Schedule, SmallDisk, Turn, say};
use accredit_tests::journal::now_us;
use accredit_tests::net::{Disturbance, Network, Part, Weather};
use accredit_tests::postgres::{Cluster, Database, Home, Options, Role, Standby, Stop};
use accredit_tests::writers::{Writers, connect};

/// Clients that write at one time.
const CLIENTS: usize = 4;
/// Rows after which they are taken to be back at work.
const SOME: usize = 20;

/// A cluster with a table, and how the service reaches it.
fn start(options: Options) -> (Cluster, Database, String) {
    let cluster = Cluster::start(options);
    let database = cluster.database();
    Writers::prepare(&cluster, &database);
    let url = database.url(Role::Service);
    (cluster, database, url)
}

fn inside(part: &Part) -> Options {
    Options { addresses: vec![part.address().into()], prefix: part.prefix(), ..Options::default() }
}

fn pause(schedule: &mut Schedule, from_ms: u64, to_ms: u64) {
    std::thread::sleep(Duration::from_millis(schedule.between(from_ms, to_ms)));
}

#[test]
fn a_commit_that_was_acknowledged_before_a_kill_is_there_after_it() {
    let mut schedule = Schedule::announced("kill -9 of the database");
    let (mut cluster, database, url) = start(Options::default());
    let writers = Writers::start(&url, CLIENTS, None);
    for _ in 0..3 {
        pause(&mut schedule, 20, 400);
        cluster.server_mut().kill();
        cluster.server_mut().start();
        writers.wait_for_more(SOME);
    }
    writers.judge("killed three times", |sql| cluster.admin_in(&database, sql));
}

#[test]
fn a_standby_that_takes_over_has_every_commit_that_was_acknowledged() {
    let mut schedule = Schedule::announced("promotion");
    let (mut cluster, database, _) = start(Options::default());
    let standby = Standby::of(&cluster, &[], &[]);
    let both = database.url_at(Role::Service, &[cluster.host().clone(), standby.host().clone()]);
    let writers = Writers::start(&both, CLIENTS, None);
    pause(&mut schedule, 50, 400);
    cluster.server_mut().kill();
    let begun = Instant::now();
    standby.promote();
    writers.wait_for_more(SOME);
    say(&format!("  the standby was written to {:?} after the first server had gone", begun.elapsed()));
    writers.judge("promoted", |sql| standby.admin_in(&database, sql));
}

#[test]
#[ignore = "needs root: make test-faults"]
fn a_partition_in_either_direction_is_felt_as_silence_and_heals() {
    let network = Network::of(&["database", "clients"]);
    let (cluster, database, url) = start(inside(network.part("database")));
    let writers = Writers::start(&url, CLIENTS, Some(network.part("clients")));
    let cut = |from: &str, to: &str| vec![network.disturb(from, to, Weather::CUT)];
    let ways: [(&str, &dyn Fn() -> Vec<Disturbance>); 3] = [
        ("answers are lost", &|| cut("database", "clients")),
        ("requests are lost", &|| cut("clients", "database")),
        ("both are lost", &|| network.part_ways("clients", "database").into()),
    ];
    for (what, way) in ways {
        let before = writers.failures().len();
        let partition = way();
        writers.wait_for_standstill();
        // A client that connects anew needs its patience once more until it notices.
        wait_for(|| (writers.failures().len() >= before + CLIENTS).then_some(()));
        let failures = writers.failures().split_off(before);
        let silence = |said: &String| said.contains("no answer") || said.contains("timed out");
        assert!(failures.iter().any(silence), "{what}: {failures:?}");
        let lost: Vec<u64> = partition.into_iter().map(Disturbance::lift).collect();
        let begun = Instant::now();
        writers.wait_for_more(SOME);
        say(&format!("  {what}: {lost:?} packets; at work {:?} after it was over", begun.elapsed()));
    }
    writers.judge("partitions", |sql| cluster.admin_in(&database, sql));
}

#[test]
#[ignore = "needs root: make test-faults"]
fn a_far_and_lossy_network_is_slow_and_loses_nothing() {
    const DELAY: Duration = Duration::from_millis(40);
    let mut schedule = Schedule::announced("weather");
    let network = Network::of(&["database", "clients"]);
    let clients = network.part("clients");
    let (cluster, database, url) = start(inside(network.part("database")));
    let near = round_trip(clients, &url);
    let late = ["database", "clients"].map(|from| {
        let to = if from == "clients" { "database" } else { "clients" };
        network.disturb(from, to, Weather::late(DELAY))
    });
    let far = round_trip(clients, &url);
    let held = late.map(Disturbance::lift);
    say(&format!("  one query: {near:?} near, {far:?} far; {held:?} packets were held"));
    assert!(far >= 2 * DELAY, "it goes there and back");
    let weather = Weather { delay: Duration::from_millis(2), loss_percent: 10, seed: schedule.seed() };
    let rough = network.disturb("clients", "database", weather);
    let writers = Writers::start(&url, CLIENTS, Some(clients));
    writers.wait_for_more(10 * SOME);
    rough.lift();
    writers.judge("rough weather", |sql| cluster.admin_in(&database, sql));
}

/// How long one query takes on a connection that stands.
fn round_trip(from: &Part, url: &str) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    from.inside(|| {
        runtime.block_on(async {
            let client = connect(url).await.expect("a connection");
            let begun = Instant::now();
            client.batch_execute("SELECT 1").await.expect("an answer");
            begun.elapsed()
        })
    })
}

#[test]
#[ignore = "needs root: make test-faults"]
fn a_full_disk_under_the_data_stops_writes_and_not_reads_and_writes_resume() {
    let home = Home::new();
    let disk = SmallDisk::mount(home.path(), 96);
    let data = Some(disk.path().to_owned());
    let (cluster, database, url) = start(Options { home: Some(home), data, ..Options::default() });
    let writers = Writers::start(&url, CLIENTS, None);
    disk.fill();
    writers.wait_for_standstill();
    let refused = |said: &String| said.contains("53100");
    let refusals = writers.failures().iter().filter(|said| refused(said)).count();
    assert!(refusals > 0, "the server says that its disk is full: {:?}", writers.failures());
    let rows: usize = cluster.admin_in(&database, "SELECT count(*) FROM written").parse().expect("a number");
    assert!(rows >= writers.acknowledged(), "it can be read");
    disk.empty();
    let begun = Instant::now();
    writers.wait_for_more(SOME);
    say(&format!("  {refusals} writes were refused; at work {:?} after there was room", begun.elapsed()));
    writers.judge("full disk", |sql| cluster.admin_in(&database, sql));
}

#[test]
#[ignore = "needs root: make test-faults"]
fn a_full_disk_under_the_log_ends_the_server_and_loses_nothing() {
    let home = Home::new();
    let disk = SmallDisk::mount(home.path(), 48);
    let wal = Some(disk.path().to_owned());
    let (mut cluster, database, url) = start(Options { home: Some(home), wal, ..Options::default() });
    let writers = Writers::start(&url, CLIENTS, None);
    disk.fill();
    // The segments that it has already are used up first.
    let switch = |writers: &Writers| {
        let _ = cluster.try_admin("SELECT pg_switch_wal()");
        writers.failures().iter().any(|said| !said.contains("no answer"))
    };
    wait_for(|| switch(&writers).then_some(()));
    let full = || cluster.server().log().matches("No space left on device").count();
    wait_for(|| (full() > 0).then_some(()));
    writers.wait_for_standstill();
    say(&format!("  the server met the full disk {} times", full()));
    disk.empty();
    if !cluster.server_mut().is_running() {
        cluster.server_mut().start();
    }
    writers.wait_for_more(SOME);
    writers.judge("full log", |sql| cluster.admin_in(&database, sql));
}

#[test]
#[ignore = "needs root: make test-faults"]
fn slow_flushes_make_commits_slow() {
    const BY: Duration = Duration::from_millis(250);
    let (cluster, database, url) = start(Options::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let insert = |id: i64| {
        let url = &url;
        async move {
            let client = connect(url).await.expect("a connection");
            let begun = Instant::now();
            client.execute("INSERT INTO written VALUES ($1)", &[&id]).await.expect("acknowledged");
            begun.elapsed()
        }
    };
    let quick = runtime.block_on(insert(1));
    let fault = FlushFault::inject(&cluster.server().pids(), Flushes::Slow(BY), cluster.home().path());
    let slow = runtime.block_on(insert(2));
    let fired = fault.lift();
    say(&format!("  a commit took {quick:?}, then {slow:?}; {fired} flushes were slow"));
    assert!(slow >= BY, "a commit waits for its flush");
    assert_eq!(cluster.admin_in(&database, "SELECT count(*) FROM written"), "2");
}

#[test]
#[ignore = "takes seconds: make test-faults"]
fn a_database_that_stands_still_goes_on_where_it_was() {
    let (cluster, database, url) = start(Options::default());
    let writers = Writers::start(&url, CLIENTS, None);
    let still = Pause::of(cluster.server().pid());
    writers.wait_for_standstill();
    let stopped = still.lift();
    writers.wait_for_more(SOME);
    assert!(writers.failures().iter().any(|said| said.contains("no answer")), "{:?}", writers.failures());
    say(&format!("  {stopped} processes stood still"));
    writers.judge("pause", |sql| cluster.admin_in(&database, sql));
}

#[test]
#[ignore = "needs a C compiler: make test-faults"]
fn the_clock_of_a_database_jumps_and_its_timers_do_not() {
    let home = Home::new();
    let clock = ClockShift::build(home.path());
    let environment = clock.environment();
    let (cluster, database, url) = start(Options { home: Some(home), environment, ..Options::default() });
    let writers = Writers::start(&url, CLIENTS, None);
    for shift_s in [-3_600, 24 * 3_600, 0] {
        clock.set_s(shift_s);
        let there = cluster.admin("SELECT extract(epoch FROM clock_timestamp())::bigint");
        let off = there.parse::<i64>().expect("seconds") - now_us() / 1_000_000 - shift_s;
        assert!(off.abs() < 60, "{there} is {off} s from what was asked for");
        let begun = Instant::now();
        cluster.admin("SELECT pg_sleep(0.3)");
        let took = begun.elapsed();
        assert!((Duration::from_millis(300)..Duration::from_secs(60)).contains(&took), "{took:?}");
        writers.wait_for_more(SOME);
    }
    say(&format!("  {} readings of the clock were off", clock.fired()));
    assert!(clock.fired() > 0, "the clock was off");
    writers.judge("clock", |sql| cluster.admin_in(&database, sql));
}

/// One part that was stopped, in the way of its kind.
enum Stopped {
    Server(Pause),
    Network(Box<[Disturbance; 2]>),
}

#[test]
#[ignore = "needs root: make test-faults"]
fn parts_that_stop_one_by_one_and_return_in_another_order_lose_nothing() {
    let mut schedule = Schedule::announced("swizzle");
    let network = Network::of(&["primary", "standby", "clients"]);
    let [primary, second, clients] = ["primary", "standby", "clients"].map(|name| network.part(name));
    let (mut cluster, database, _) = start(inside(primary));
    let standby = Standby::of(&cluster, &[second.address().into()], &second.prefix());
    let both = database.url_at(Role::Service, &[cluster.host().clone(), standby.host().clone()]);
    let writers = Writers::start(&both, CLIENTS, Some(clients));
    for _ in 0..3 {
        let mut stopped: [Option<Stopped>; 3] = [None, None, None];
        for step in schedule.swizzle(stopped.len(), 1_500) {
            std::thread::sleep(step.after);
            stopped[step.part] = match (step.turn, step.part) {
                (Turn::Stop, 0) => Some(Stopped::Server(Pause::of(cluster.server().pid()))),
                (Turn::Stop, 1) => Some(Stopped::Server(Pause::of(standby.server().pid()))),
                (Turn::Stop, _) => Some(Stopped::Network(Box::new(network.part_ways("clients", "primary")))),
                (Turn::Release, part) => {
                    release(stopped[part].take().expect("it was stopped before"));
                    None
                }
            };
        }
        writers.wait_for_more(SOME);
    }
    cluster.server_mut().stop(Stop::Immediate);
    standby.promote();
    writers.wait_for_more(SOME);
    writers.judge("swizzle", |sql| standby.admin_in(&database, sql));
}

/// Lets a part go on. A cut that nobody ran into, because its ends stood still, is none.
fn release(stopped: Stopped) {
    match stopped {
        Stopped::Server(pause) => {
            pause.lift();
        }
        Stopped::Network(cuts) => {
            wait_for(|| cuts.iter().any(|cut| cut.struck() > 0).then_some(()));
        }
    }
}

/// Not a test: what the next one kills.
#[test]
#[ignore = "another test starts this one"]
fn says_which_network_it_has_and_stays() {
    if std::env::var_os("TOPOLOGY_STAY").is_none() {
        return;
    }
    let network = Network::of(&["one", "other"]);
    let words = network.part("one").prefix();
    println!("network {}", words.last().expect("the namespace"));
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
#[ignore = "needs root: make test-faults"]
fn a_network_goes_with_its_test_even_when_that_is_killed() {
    let mut test = Command::new(std::env::current_exe().expect("a test knows its own path"))
        .args(["--ignored", "--exact", "says_which_network_it_has_and_stays", "--nocapture"])
        .env("TOPOLOGY_STAY", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be started");
    let output = BufReader::new(test.stdout.take().expect("it has an output"));
    let mut lines = output.lines().map(|line| line.expect("text"));
    let line = lines.find(|line| line.contains("network accredit-home-")).expect("it says its name");
    let one = Path::new("/run/netns").join(line.rsplit(' ').next().expect("a word"));
    let other = Path::new(&one.display().to_string().replace("-one", "-other")).to_owned();
    assert!(one.exists() && other.exists(), "both are there");
    test.kill().and_then(|()| test.wait()).expect("it was killed");
    wait_for(|| (!one.exists() && !other.exists()).then_some(()));
}
