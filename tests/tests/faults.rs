//! A running authority is killed, stopped, starved of disk and time, under load; afterwards the oracle looks for
//! anything that must not have happened. Ignored by default: `make test-faults` runs them, one after another.
//!
//! What they cannot show on one machine: a disk that lies about its cache, a kernel crash, clocks of several hosts.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use accredit_tests::agent::{Agent, Answer, Task, get_request, hex, promise, random, read_answer};
use accredit_tests::drill::{BOUNDARY, Drill, Load, PATH, TTL_S, note};
use accredit_tests::harness::{Setup, signal, wait_for};
use accredit_tests::inject::{ClockShift, FlushFault, Flushes, PowerDisk, Schedule, SmallDisk, say};
use accredit_tests::journal::{Journal, What};
use accredit_tests::operator::Operator;
use accredit_tests::oracle::{Figure, Revocation};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Agents at work while the authority is killed.
const AGENTS: usize = 4;
/// Kills after which the whole ledger is verified: it grows, and with every kill most of the time would go into that.
const VERIFY_EVERY: usize = 10;
/// How often the power fails.
const POWER_CUTS: usize = 15;
/// One world at a time: each fault is measured by what the machine does otherwise.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

// case: AUD-03
#[test]
#[ignore = "takes minutes: make test-faults"]
fn killed_again_and_again_it_loses_nothing_that_it_promised() {
    let _alone = alone();
    let cycles: usize =
        std::env::var("ACCREDIT_FAULT_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut schedule = Schedule::announced("kill -9");
    let mut drill = Drill::start(Setup::default());
    let load = Load::start(&drill, AGENTS);
    let (mut idle, mut restarts) = (0, Vec::new());
    for cycle in 0..cycles {
        let before = load.used();
        std::thread::sleep(Duration::from_millis(schedule.between(20, 800)));
        drill.world.accredit.kill();
        idle += usize::from(load.used() == before);
        let begun = Instant::now();
        drill.world.accredit.launch();
        drill.world.accredit.wait_until_ready();
        restarts.push(begun.elapsed());
        if (cycle + 1) % VERIFY_EVERY == 0 {
            load.rest(true);
            drill.verify(&format!("after kill {}", cycle + 1));
            load.rest(false);
        }
    }
    let used = load.used();
    load.end();
    restarts.sort();
    let p99 = restarts[(restarts.len() * 99).div_ceil(100) - 1];
    say(&format!(
        "  {cycles} kills, {idle} of them while nothing was answered, {used} uses; ready again p99 {p99:?}"
    ));
    assert!(idle * 2 < cycles, "most kills struck while it worked");
    drill.judge();
}

// case: REV-01, REV-06
#[test]
#[ignore = "takes minutes: make test-faults"]
fn uses_that_race_a_revocation_are_over_when_it_returns() {
    let _alone = alone();
    let rounds: usize =
        std::env::var("ACCREDIT_FAULT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let mut schedule = Schedule::announced("revoke");
    let mut drill = Drill::start(Setup::default());
    let agent = Arc::new(drill.agent("racer"));
    let operator = Operator::sign_in(&drill.world.accredit);
    let mut refused = 0;
    for _ in 0..rounds {
        let task = agent.start(&BOUNDARY, TTL_S).expect("a task");
        let racers: Vec<_> = (0..2).map(|_| race(&agent, &task, &drill.journal)).collect();
        std::thread::sleep(Duration::from_micros(schedule.between(0, 4_000)));
        let revocation: Revocation = operator.revoke(&task.id).expect("a revocation");
        assert_eq!(revocation.tasks, [task.id.as_str()], "the task was active until now");
        let kind = "task.ended".to_owned();
        note(&drill.journal, Some(What::Changed { kind, subject: task.id.clone() }));
        drill.evidence.revocations.push(revocation);
        refused +=
            racers.into_iter().map(|racer| racer.join().expect("a racer ends")).filter(|over| *over).count();
    }
    say(&format!("  {rounds} revocations, {refused} of {} racers read a refusal", rounds * 2));
    assert!(refused > 0, "uses and revocations met");
    // What had left before the return and lay in a buffer of this machine: both ends share its two processors.
    drill.evidence.on_the_way_us = 50_000;
    drill.judge();
}

/// Uses the task until it is refused or cut. Gives whether it read a refusal.
fn race(agent: &Arc<Agent>, task: &Task, journal: &Arc<Journal>) -> JoinHandle<bool> {
    let (agent, task, journal) = (Arc::clone(agent), task.clone(), Arc::clone(journal));
    std::thread::spawn(move || {
        let Ok(mut connection) = agent.attach(&task) else { return false };
        while let Ok((trace, answer)) = connection.get("orders", PATH) {
            note(&journal, promise(&trace, &answer));
            if answer.is_ours {
                return answer.status == 403;
            }
        }
        false
    })
}

// case: AUD-01, AUD-14
#[test]
#[ignore = "takes minutes: make test-faults"]
fn a_full_disk_stops_the_work_and_never_the_record() {
    let _alone = alone();
    let scratch = tempfile::tempdir().expect("a directory");
    let disk = SmallDisk::mount(scratch.path(), 64);
    let setup = Setup { state: Some(disk.path().join("state")), ..Setup::default() };
    let drill = Drill::start(setup);
    let agent = drill.agent("writer");
    let task = agent.start(&BOUNDARY, TTL_S).expect("a task");
    let mut connection = agent.attach(&task).expect("a connection");
    assert_eq!(drill.ask(&mut connection).status, 200);
    disk.fill();
    // What still fits into pages that the database has already is recorded and may go on.
    let (mut stopped, mut still) = (0, 0);
    for _ in 0..1_000 {
        let answer = drill.ask(&mut connection);
        match (answer.is_ours, answer.status) {
            (false, 200) => {
                still += 1;
                assert_eq!(stopped, 0, "nothing goes on after the first refusal while the disk is full");
            }
            (true, 503) => stopped += 1,
            other => panic!("{other:?}: {:?}", answer.text("code")),
        }
    }
    say(&format!("  full disk: {still} uses still fitted, then {stopped} of 1,000 were refused"));
    assert!(stopped > 0, "the disk was full");
    assert!(!drill.world.accredit.is_ready(), "a server that cannot record is not ready");
    disk.empty();
    let begun = Instant::now();
    wait_for(|| (!drill.ask(&mut connection).is_ours).then_some(()));
    say(&format!("  resumed by itself {:?} after there was room", begun.elapsed()));
    assert!(begun.elapsed() < Duration::from_secs(10), "it goes on soon");
    drill.judge();
}

// case: FLT-02
#[test]
#[ignore = "needs root, takes minutes: make test-faults"]
fn a_power_cut_takes_nothing_that_was_promised() {
    let _alone = alone();
    let mut schedule = Schedule::announced("power cut");
    let scratch = tempfile::tempdir().expect("a directory");
    let disk = PowerDisk::mount(scratch.path(), 256);
    let setup = Setup { state: Some(disk.path().join("state")), ..Setup::default() };
    let mut drill = Drill::start(setup);
    // What a person wrote long ago; everything else is the server's own to flush.
    let config = disk.path().join("state/accredit.toml");
    let flushed = std::fs::File::open(config).and_then(|config| config.sync_all());
    flushed.expect("the configuration is on the disk");
    let load = Load::start(&drill, AGENTS);
    let mut idle = 0;
    for cut in 1..=POWER_CUTS {
        let before = load.used();
        std::thread::sleep(Duration::from_millis(schedule.between(20, 800)));
        disk.cut();
        idle += usize::from(load.used() == before);
        // Without a disk it promises nothing more; then the machine is gone as a whole.
        std::thread::sleep(Duration::from_millis(schedule.between(0, 300)));
        drill.world.accredit.kill();
        disk.restore();
        drill.world.accredit.launch();
        drill.world.accredit.wait_until_ready();
        load.rest(true);
        drill.verify(&format!("after power cut {cut}"));
        load.rest(false);
    }
    let used = load.used();
    load.end();
    say(&format!("  {POWER_CUTS} power cuts, {idle} of them while nothing was answered, {used} uses"));
    assert!(idle * 2 < POWER_CUTS, "most cuts struck while it worked");
    drill.judge();
}

// case: AUD-02
#[test]
#[ignore = "takes minutes: make test-faults"]
fn a_failing_flush_is_never_taken_for_a_record() {
    let _alone = alone();
    let mut drill = Drill::start(Setup::default());
    let agent = drill.agent("writer");
    let task = agent.start(&BOUNDARY, TTL_S).expect("a task");
    let mut connection = agent.attach(&task).expect("a connection");
    assert_eq!(drill.ask(&mut connection).status, 200);
    let fault =
        FlushFault::inject(&[drill.world.accredit.pid()], Flushes::Fail, drill.world.accredit.scratch());
    let mut refused = 0;
    for _ in 0..50 {
        let Ok((trace, answer)) = connection.get("orders", PATH) else { break };
        note(&drill.journal, promise(&trace, &answer));
        // A commit that needs no flush of its own may pass between two that do; one that failed may not.
        refused += usize::from(answer.is_ours && answer.status == 503);
    }
    wait_for(|| (!drill.world.accredit.is_ready()).then_some(()));
    let fired = fault.lift();
    say(&format!("  EIO: {fired} flushes failed, {refused} uses were refused"));
    assert!(refused > 0, "a use that cannot be recorded is refused");
    let until = Instant::now() + Duration::from_secs(15);
    while !drill.world.accredit.is_ready() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    if drill.world.accredit.is_ready() {
        let mut connection = agent.attach(&task).expect("a connection");
        wait_for(|| (!drill.ask(&mut connection).is_ours).then_some(()));
        say("  resumed by itself");
        drill.judge();
    } else {
        say("  stayed down, as it may; started again");
        drill.world.accredit.kill();
        drill.judge_stopped();
    }
}

// case: AUD-13
#[test]
#[ignore = "takes minutes: make test-faults"]
fn slow_flushes_fill_a_bounded_queue_and_the_rest_is_turned_away() {
    // More than the queue of a server holds, together with what one commit takes.
    const AT_ONCE: usize = 2_500;
    let _alone = alone();
    let mut drill = Drill::start(Setup::default());
    let agent = Arc::new(drill.agent("crowd"));
    let task = agent.start(&BOUNDARY, TTL_S).expect("a task");
    let pid = drill.world.accredit.pid();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let crowd = runtime.block_on(crowd(&agent, &task, AT_ONCE));
    let before = resident_kb(pid);
    let slow = Flushes::Slow(Duration::from_secs(2));
    let fault = FlushFault::inject(&[pid], slow, drill.world.accredit.scratch());
    let answers = runtime.block_on(async {
        let asking: Vec<_> = crowd.into_iter().map(|stream| tokio::spawn(ask_slowly(stream))).collect();
        let mut answers = Vec::new();
        for asked in asking {
            answers.extend(asked.await.expect("no panic"));
        }
        answers
    });
    let after = resident_kb(pid);
    let fired = fault.lift();
    let turned_away = answers.iter().filter(|(_, answer)| answer.is_ours && answer.status == 503).count();
    for (trace, answer) in &answers {
        note(&drill.journal, promise(trace, answer));
    }
    say(&format!(
        "  slow flushes: {fired} delayed, {} of {AT_ONCE} answered, {turned_away} turned away",
        answers.len()
    ));
    assert!(turned_away > 0, "a full queue turns away at once");
    let name = "resident memory of the server in KB".to_owned();
    drill.evidence.figures.push(Figure { name, before, after, growth_max: 100 * 1_024 });
    drill.judge();
}

/// Connections that are attached and wait.
async fn crowd(agent: &Agent, task: &Task, count: usize) -> Vec<tokio::net::TcpStream> {
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        let request = agent.attach_request(task).expect("a proof");
        let mut stream = connect(agent.gateway()).await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = read_one(&mut stream).await.expect("an answer");
        assert_eq!(answer.status, 101, "{:?}", answer.text("code"));
        crowd.push(stream);
    }
    crowd
}

async fn connect(to: SocketAddr) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(to).await.expect("the gateway accepts")
}

async fn ask_slowly(mut stream: tokio::net::TcpStream) -> Option<(String, Answer)> {
    let trace = hex(&random());
    stream.write_all(get_request("orders", PATH, &trace).as_bytes()).await.ok()?;
    let answer = tokio::time::timeout(Duration::from_secs(60), read_one(&mut stream)).await.ok()?;
    Some((trace, answer.ok()?))
}

async fn read_one(stream: &mut tokio::net::TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    loop {
        if let Some((answer, _)) = read_answer(&bytes)? {
            return Ok(answer);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

// case: REV-04
#[test]
#[ignore = "takes minutes: make test-faults"]
fn authority_that_ran_out_during_a_pause_is_gone_when_it_ends() {
    let _alone = alone();
    let drill = Drill::start(Setup::default());
    let agent = drill.agent("sleeper");
    let (short, long) =
        (agent.start(&BOUNDARY, 3).expect("a task"), agent.start(&BOUNDARY, TTL_S).expect("a task"));
    let mut ending = agent.attach(&short).expect("a connection");
    let mut going_on = agent.attach(&long).expect("a connection");
    assert_eq!(drill.ask(&mut ending).status, 200);
    let pid = drill.world.accredit.pid();
    let acted = drill.world.acted_on(PATH);
    signal(pid, Signal::STOP);
    let stopped =
        || std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains("State:\tT"));
    wait_for(|| stopped().then_some(()));
    // Asked while it is stopped, answered when it goes on: the answer must be of that later moment.
    let journal = Arc::clone(&drill.journal);
    let asked = std::thread::spawn(move || {
        let asked = ending.get("orders", PATH);
        if let Ok((trace, answer)) = &asked {
            note(&journal, promise(trace, answer));
        }
        asked.map(|(_, answer)| answer)
    });
    std::thread::sleep(Duration::from_secs(5));
    signal(pid, Signal::CONT);
    match asked.join().expect("no panic") {
        Ok(answer) => {
            assert!(answer.is_ours && answer.status == 403, "{} {:?}", answer.status, answer.text("code"))
        }
        // The connection lived as long as the token of the task, and that was over as well.
        Err(closed) => say(&format!("  the connection was closed: {closed}")),
    }
    assert_eq!(drill.world.acted_on(PATH), acted, "nothing went out in the name of what had run out");
    assert_eq!(drill.ask(&mut going_on).status, 200, "what had not run out goes on");
    drill.judge();
}

// case: TOK-18
#[test]
#[ignore = "takes minutes: make test-faults"]
fn a_clock_that_jumps_lets_nothing_live_longer() {
    let _alone = alone();
    let scratch = tempfile::tempdir().expect("a directory");
    let clock = ClockShift::build(scratch.path());
    let drill = Drill::start(Setup { environment: clock.environment(), ..Setup::default() });
    let agent = drill.agent("traveller");
    let task = agent.start(&BOUNDARY, TTL_S).expect("a task");
    let mut connection = agent.attach(&task).expect("a connection");
    assert_eq!(drill.ask(&mut connection).status, 200);
    assert_eq!(clock.fired(), 0, "the clock is right");

    let acted = drill.world.acted_on(PATH);
    clock.set_s(-3_600);
    let early = agent.attach(&task).err().map(|e| e.to_string());
    assert!(
        early.as_deref().is_some_and(|e| e.starts_with("401")),
        "a token from the future is refused: {early:?}"
    );
    clock.set_s(24 * 3_600);
    let late = agent.attach(&task).err().map(|e| e.to_string());
    assert!(
        late.as_deref().is_some_and(|e| e.starts_with("401")),
        "a token of yesterday is refused: {late:?}"
    );
    match connection.get("orders", PATH) {
        Ok((trace, answer)) => {
            note(&drill.journal, promise(&trace, &answer));
            assert!(answer.is_ours && answer.status == 403, "a task of yesterday is over: {}", answer.status);
        }
        Err(closed) => say(&format!("  the connection was closed: {closed}")),
    }
    let fired = clock.fired();
    say(&format!("  clock: {fired} readings were off"));
    assert!(fired > 0, "the clock was off");

    assert_eq!(drill.world.acted_on(PATH), acted, "nothing went out while the clock was off");
    clock.set_s(0);
    let task = agent.start(&BOUNDARY, TTL_S).expect("a task under the right clock");
    let mut connection = agent.attach(&task).expect("a connection");
    assert_eq!(drill.ask(&mut connection).status, 200);
    drill.judge();
}
