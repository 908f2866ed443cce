//! Three replicas on one PostgreSQL, broken in every way that a network, a machine and a database have, under load, while
//! operators take tasks away; afterwards the oracle looks for anything that must not have happened. Ignored by default,
//! and only root can run them: `make test-faults`.
//!
//! What they cannot show on one machine: clocks of several hosts that drift, a disk that lies about its cache.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use accredit_tests::agent::{Agent, Task, promise};
use accredit_tests::drill::{BOUNDARY, Load, PATH, TTL_S, note};
use accredit_tests::fleet::{DATABASE, Fleet, Plan, REPLICAS, Revoked, Revokers};
use accredit_tests::harness::Accredit;
use accredit_tests::inject::{
    ClockShift, FlushFault, Flushes, Pause, Schedule, SmallDisk, Turn, must_have_struck, say,
};
use accredit_tests::journal::What;
use accredit_tests::net::{Disturbance, Network, Weather};
use accredit_tests::operator::Operator;
use accredit_tests::postgres::{Home, Options, Stop};

/// Agents at work.
const AGENTS: usize = 6;
/// How often each of the operators takes a task away.
const REVOKE_EVERY: Duration = Duration::from_millis(500);
/// Requests after which a replica is taken to be back at work.
const SOME: u64 = 10;
/// How long it may take until it is.
const WORK_TIME_MAX: Duration = Duration::from_secs(40);
/// Kills of replicas between two other faults of a soak.
const KILLS_BETWEEN: usize = 10;
/// How often what has run out is forgotten, and some.
const SWEPT: Duration = Duration::from_secs(2);
/// What had left before a revocation returned and lay in a buffer of this machine: all parts share its processors.
const ON_THE_WAY_US: i64 = 50_000;
/// How much longer slow flushes take.
const SLOW_BY: Duration = Duration::from_millis(250);
/// How long a client waits while they are: each of several steps waits for turns of all replicas.
const SLOW_PATIENCE: Duration = Duration::from_secs(20);
/// How long a revocation takes at most at a replica that nothing ails, whatever ails others: five seconds until one that is
/// not there is given up, one until what was cut has left, two until a session that stands still loses its locks, and some.
const REVOKE_TIME_MAX: Duration = Duration::from_secs(9);
/// How long anything may go on without the database: its age, and what it takes to cut and to be seen.
const STALE_MAX: Duration = Duration::from_secs(7);

/// How long a replica stands still: more than twice as long as it may be believed; in a soak, half a minute.
fn pause_time() -> Duration {
    Duration::from_secs(if std::env::var_os("ACCREDIT_SOAK_SECONDS").is_some() { 30 } else { 10 })
}

/// One fleet at a time: each fault is measured by what the machine does otherwise.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fault of a running fleet. Replicas are named by their number.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A replica is killed, and started again.
    KillReplica(usize),
    /// All processes of the database are killed, and it is started again.
    KillDatabase,
    /// The database ends in order, and is started again.
    RestartDatabase,
    /// What a replica sends to the database is lost.
    LoseRequests(usize),
    /// What the database sends to a replica is lost.
    LoseAnswers(usize),
    /// Nothing passes between a replica and the database.
    PartWays(usize),
    /// A replica stands still for longer than it may be believed.
    PauseReplica(usize),
    /// The database stands still.
    PauseDatabase,
    /// Each flush of the database takes longer.
    SlowFlushes,
    /// Packets between a replica and the database are late, and some are lost.
    RoughWeather(usize),
    /// Everything is stopped piece by piece, and released in another order.
    Swizzle,
    /// The standby stands still, so that commits wait; then the database dies, and the standby takes over.
    Promote,
}

impl Fault {
    /// Every fault that leaves the fleet as it was, in an order of the schedule's.
    fn all(schedule: &mut Schedule) -> Vec<Self> {
        let mut all = vec![Self::KillDatabase, Self::RestartDatabase, Self::PauseDatabase, Self::SlowFlushes];
        all.push(Self::Swizzle);
        all.extend((0..REPLICAS.len()).map(Self::KillReplica));
        let mut one = || usize::try_from(schedule.between(0, 2)).expect("a small number");
        all.extend([Self::LoseRequests(one()), Self::LoseAnswers(one()), Self::PartWays(one())]);
        all.extend([Self::PauseReplica(one()), Self::RoughWeather(one())]);
        schedule.order(all.len()).into_iter().map(|n| all[n]).collect()
    }
}

impl Fault {
    /// The replica that it is about; none: the database, and with it everybody.
    fn ails(self) -> Option<usize> {
        match self {
            Self::KillReplica(n)
            | Self::LoseRequests(n)
            | Self::LoseAnswers(n)
            | Self::PartWays(n)
            | Self::PauseReplica(n)
            | Self::RoughWeather(n) => Some(n),
            Self::KillDatabase
            | Self::RestartDatabase
            | Self::PauseDatabase
            | Self::SlowFlushes
            | Self::Swizzle
            | Self::Promote => None,
        }
    }
}

/// One part that was stopped, in the way of its kind; it goes on when this is dropped.
enum Stopped {
    Part(Pause),
    Network(Box<[Disturbance; 2]>),
}

/// A fleet at work.
struct Run {
    fleet: Fleet,
    load: Load,
    revokers: Revokers,
    schedule: Schedule,
    /// Agents that were made on the way.
    agents: usize,
    /// When something ailed the database or one of the replicas.
    troubles: Vec<(Option<usize>, Range<Instant>)>,
}

impl Run {
    fn start(what: &str, plan: Plan) -> Self {
        let mut schedule = Schedule::announced(what);
        let fleet = Fleet::start(plan);
        let load = fleet.load(AGENTS);
        let revokers = Revokers::start(&fleet, &load, REVOKE_EVERY, &mut schedule);
        let run = Self { fleet, load, revokers, schedule, agents: 0, troubles: Vec::new() };
        run.wait_for_work(0..REPLICAS.len());
        run
    }

    /// Waits until each of these replicas has let something through. Gives how long it took.
    fn wait_for_work(&self, replicas: impl IntoIterator<Item = usize>) -> Duration {
        let begun = Instant::now();
        for n in replicas {
            let before = self.load.used_at(n);
            while self.load.used_at(n) < before + SOME {
                assert!(begun.elapsed() < WORK_TIME_MAX, "replica {} lets nothing through", REPLICAS[n]);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        begun.elapsed()
    }

    fn sleep(&mut self, from_ms: u64, to_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.schedule.between(from_ms, to_ms)));
    }

    /// Does it, undoes it, and waits until all replicas work again.
    fn strike(&mut self, fault: Fault) {
        let begun = Instant::now();
        let what = match fault {
            Fault::KillReplica(n) => self.kill_replica(n),
            Fault::KillDatabase => self.kill_database(),
            Fault::RestartDatabase => {
                self.fleet.cluster.server_mut().restart(Stop::Fast);
                "restarted".to_owned()
            }
            Fault::LoseRequests(n) => {
                self.cut(n, |net, name| vec![net.disturb(name, DATABASE, Weather::CUT)])
            }
            Fault::LoseAnswers(n) => self.cut(n, |net, name| vec![net.disturb(DATABASE, name, Weather::CUT)]),
            Fault::PartWays(n) => self.cut(n, |net, name| net.part_ways(name, DATABASE).into()),
            Fault::PauseReplica(n) => self.pause_replica(n),
            Fault::PauseDatabase => self.pause_database(),
            Fault::SlowFlushes => self.slow_flushes(),
            Fault::RoughWeather(n) => self.rough_weather(n),
            Fault::Swizzle => self.swizzle(),
            Fault::Promote => self.promote(),
        };
        self.heal(&format!("{fault:?}: {what}"));
        self.troubles.push((fault.ails(), begun..Instant::now()));
    }

    /// Waits until all replicas work, and keeps what one of them says of the ledger.
    fn heal(&mut self, what: &str) {
        let ready = self.fleet.wait_until_ready();
        let work = self.wait_for_work(0..REPLICAS.len());
        say(&format!("  {what}; all ready after {ready:?}, all at work after {:?}", ready + work));
        self.load.rest(true);
        let witness = usize::try_from(self.schedule.between(0, 2)).unwrap_or(0);
        self.fleet.verify(witness, &format!("after {what}"));
        self.load.rest(false);
    }

    fn full_disk(&mut self, disk: &SmallDisk) {
        disk.fill();
        let begun = Instant::now();
        while self.fleet.replicas().any(Accredit::is_ready) {
            assert!(begun.elapsed() < WORK_TIME_MAX, "the disk is full, and work goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (still, before) = (begun.elapsed(), self.load.used());
        self.sleep(1_000, 3_000);
        say(&format!(
            "  nothing more fitted {still:?} after the disk was full; {} uses went on in what was left",
            self.load.used() - before
        ));
        disk.empty();
        if !self.fleet.cluster.server_mut().is_running() {
            self.fleet.cluster.server_mut().start();
        }
    }

    /// A request that attached a connection, and must attach no other.
    fn proof_that_was_taken(&self, agent: &[Agent]) -> String {
        self.fleet.clients().inside(|| {
            let task = agent[1].start(&BOUNDARY, TTL_S).expect("a task");
            let request = agent[1].attach_request(&task).expect("a proof");
            assert_eq!(agent[1].send_attach(&request).expect("an answer"), 101);
            request
        })
    }

    fn kill_replica(&mut self, n: usize) -> String {
        self.sleep(20, 800);
        self.fleet.replica_mut(n).kill();
        let others = self.wait_for_work((0..REPLICAS.len()).filter(|other| *other != n));
        self.fleet.replica_mut(n).launch();
        format!("killed; the others went on within {others:?}")
    }

    fn kill_database(&mut self) -> String {
        self.sleep(20, 800);
        self.fleet.cluster.server_mut().kill();
        self.sleep(0, 1_500);
        let begun = Instant::now();
        self.fleet.cluster.server_mut().start();
        format!("killed; it answered {:?} after it was started", begun.elapsed())
    }

    /// Cuts a replica from the database for longer than it may be believed.
    fn cut(&mut self, n: usize, how: impl FnOnce(&Network, &str) -> Vec<Disturbance>) -> String {
        let cut = how(&self.fleet.network, REPLICAS[n]);
        let begun = Instant::now();
        while self.fleet.replica(n).is_ready() {
            assert!(begun.elapsed() < STALE_MAX, "replica {} does not notice", REPLICAS[n]);
            std::thread::sleep(Duration::from_millis(20));
        }
        let noticed = begun.elapsed();
        let others = self.wait_for_work((0..REPLICAS.len()).filter(|other| *other != n));
        // What it let through before it was cut off is over.
        std::thread::sleep(STALE_MAX.saturating_sub(begun.elapsed()));
        let before = self.load.used_at(n);
        self.sleep(500, 2_000);
        assert_eq!(self.load.used_at(n), before, "nothing goes out without the database");
        let lost: Vec<u64> = cut.into_iter().map(Disturbance::lift).collect();
        format!("{lost:?} packets lost; not ready after {noticed:?}, the others went on within {others:?}")
    }

    fn pause_replica(&mut self, n: usize) -> String {
        let begun = Instant::now();
        let pause = Pause::of(self.fleet.replica(n).pid());
        let others = self.wait_for_work((0..REPLICAS.len()).filter(|other| *other != n));
        std::thread::sleep(pause_time());
        let still = pause.lift();
        format!("{still} process stood still for {:?}; the others went on within {others:?}", begun.elapsed())
    }

    fn pause_database(&mut self) -> String {
        let pause = Pause::of(self.fleet.cluster.server().pid());
        std::thread::sleep(STALE_MAX);
        let before = self.load.used();
        self.sleep(500, 1_500);
        assert_eq!(self.load.used(), before, "nothing goes out without the database");
        format!("{} processes stood still, and nothing went out", pause.lift())
    }

    /// Slow flushes make it slow; whoever has patience gets an answer.
    fn slow_flushes(&mut self) -> String {
        self.agents += 1;
        let agent = self.fleet.agent(&format!("patient-{}", self.agents));
        let agent: Vec<Agent> = agent.into_iter().map(|one| one.patient(SLOW_PATIENCE)).collect();
        let (server, home) = (self.fleet.cluster.server(), self.fleet.cluster.home());
        let fault = FlushFault::inject(&server.pids(), Flushes::Slow(SLOW_BY), home.path());
        let (before, begun) = (self.load.used(), Instant::now());
        let (mut starts, mut uses) = (Duration::ZERO, Duration::ZERO);
        for here in 0..REPLICAS.len() {
            self.fleet.clients().inside(|| {
                let asked = Instant::now();
                let task = agent[here].start(&BOUNDARY, TTL_S).expect("a task, in the end");
                starts = starts.max(asked.elapsed());
                let there = (here + 1) % REPLICAS.len();
                let mut open = agent[there].attach(&task).expect("a connection, in the end");
                for _ in 0..2 {
                    let asked = Instant::now();
                    let (trace, answer) = open.get("orders", PATH).expect("an answer, in the end");
                    note(&self.fleet.drill.journal, promise(&trace, &answer));
                    assert!(!answer.is_ours, "nothing but time is in its way");
                    uses = uses.max(asked.elapsed());
                }
            });
        }
        let (used, during) = (self.load.used() - before, begun.elapsed());
        format!(
            "{} flushes took {SLOW_BY:?} longer; a task took {starts:?} at most, a use {uses:?}; those without \
             patience had {used} uses in {during:?}",
            fault.lift()
        )
    }

    fn rough_weather(&mut self, n: usize) -> String {
        let weather =
            Weather { delay: Duration::from_millis(100), loss_percent: 10, seed: self.schedule.seed() };
        let ways = [(REPLICAS[n], DATABASE), (DATABASE, REPLICAS[n])];
        let rough = ways.map(|(from, to)| self.fleet.network.disturb(from, to, weather));
        self.sleep(4_000, 8_000);
        let struck = rough.map(Disturbance::lift);
        format!("{struck:?} packets were late or lost")
    }

    fn swizzle(&mut self) -> String {
        let mut stopped: Vec<Option<Stopped>> = (0..=REPLICAS.len() + 1).map(|_| None).collect();
        let (mut still, mut lost) = (0, 0);
        for step in self.schedule.swizzle(stopped.len(), 1_000) {
            std::thread::sleep(step.after);
            stopped[step.part] = match (step.turn, step.part) {
                (Turn::Release, part) => {
                    match stopped[part].take().expect("it was stopped before") {
                        Stopped::Part(pause) => still += pause.lift(),
                        Stopped::Network(cuts) => lost += cuts.iter().map(Disturbance::struck).sum::<u64>(),
                    }
                    None
                }
                (Turn::Stop, part) if part < REPLICAS.len() => {
                    Some(Stopped::Part(Pause::of(self.fleet.replica(part).pid())))
                }
                (Turn::Stop, part) if part == REPLICAS.len() => {
                    Some(Stopped::Part(Pause::of(self.fleet.cluster.server().pid())))
                }
                // A way that nobody takes while its ends stand still: it is in the way of their return.
                (Turn::Stop, _) => {
                    Some(Stopped::Network(Box::new(self.fleet.network.part_ways(REPLICAS[1], DATABASE))))
                }
            };
        }
        format!("{still} processes stood still and returned in another order; {lost} packets lost")
    }

    fn promote(&mut self) -> String {
        let standby = self.fleet.standby.as_ref().expect("the plan has a standby");
        let pause = Pause::of(standby.server().pid());
        // Longer than a server waits for an answer: what was given up must not be taken for kept.
        self.sleep(7_000, 9_000);
        self.fleet.cluster.server_mut().kill();
        pause.lift();
        let begun = Instant::now();
        self.fleet.promote();
        let promoted = begun.elapsed();
        let work = self.wait_for_work(0..REPLICAS.len());
        format!("the standby took over in {promoted:?}, all at work {:?} after the kill", promoted + work)
    }

    /// Judges the run.
    fn judge(mut self) {
        self.load.end();
        let revoked = self.revokers.end();
        let sound = |one: &&Revoked| {
            let until = one.asked + one.took;
            let met = |(_, when): &&(_, Range<Instant>)| when.start < until && one.asked < when.end;
            self.troubles.iter().filter(met).all(|(whose, _)| whose.is_some_and(|n| n != one.at))
        };
        let slowest = revoked.iter().filter(sound).map(|one| one.took).max().unwrap_or_default();
        let mut times: Vec<Duration> = revoked.iter().map(|one| one.took).collect();
        times.sort();
        if let Some(last) = times.len().checked_sub(1) {
            let at = |percent: usize| times[last * percent / 100];
            let pending = revoked.iter().filter(|one| one.over.pending > 0).count();
            say(&format!(
                "  {} revocations: p50 {:?}, p99 {:?}, longest {:?}, {slowest:?} where nothing ailed the replica that was \
                 asked and its database; {pending} said that something was pending",
                times.len(),
                at(50),
                at(99),
                at(100)
            ));
        }
        assert!(slowest < REVOKE_TIME_MAX, "a revocation took {slowest:?}");
        self.fleet.drill.evidence.revocations.extend(revoked.into_iter().map(|one| one.over));
        self.fleet.drill.evidence.on_the_way_us = ON_THE_WAY_US;
        self.fleet.judge();
    }
}

// case: FLT-01, FLT-03, FLT-05, FLT-07, FLT-08, FLT-09, FLT-21, REV-01
#[test]
#[ignore = "needs root, takes minutes: make test-faults"]
fn replicas_and_their_database_broken_in_every_way_keep_every_promise() {
    let _alone = alone();
    let mut run = Run::start("every fault of a fleet", Plan { standby: true, ..Plan::default() });
    for fault in Fault::all(&mut run.schedule) {
        run.strike(fault);
    }
    run.strike(Fault::Promote);
    run.judge();
}

// case: FLT-01, FLT-21, FLT-22
#[test]
#[ignore = "needs root, takes as long as it is told: make soak"]
fn soak() {
    let Some(seconds) = std::env::var("ACCREDIT_SOAK_SECONDS").ok().and_then(|n| n.parse().ok()) else {
        return;
    };
    let _alone = alone();
    let mut run = Run::start("soak", Plan { standby: true, ..Plan::default() });
    let (until, mut faults, mut kills) = (Instant::now() + Duration::from_secs(seconds), 0, 0);
    while Instant::now() < until {
        for fault in Fault::all(&mut run.schedule) {
            run.strike(fault);
            faults += 1;
            kills += usize::from(matches!(fault, Fault::KillReplica(_) | Fault::KillDatabase));
            for _ in 0..KILLS_BETWEEN {
                run.sleep(20, 800);
                let n = usize::try_from(run.schedule.between(0, 2)).expect("a small number");
                run.fleet.replica_mut(n).kill();
                run.fleet.replica_mut(n).launch();
                run.fleet.replica_mut(n).wait_until_ready();
                kills += 1;
            }
            if Instant::now() > until {
                break;
            }
        }
        say(&format!("  so far {faults} faults and {kills} kills"));
    }
    run.strike(Fault::Promote);
    run.judge();
}

// case: FLT-04, FLT-06, TOK-10, AUD-01
#[test]
#[ignore = "needs root, takes minutes: make test-faults"]
fn a_full_disk_and_clocks_that_jump_let_nothing_out_that_is_not_recorded() {
    let _alone = alone();
    let home = Home::new();
    let disk = SmallDisk::mount(home.path(), 160);
    let scratch = tempfile::tempdir().expect("a directory");
    // Processes of the database's user pass through.
    let (theirs, ours) = (ClockShift::build(home.path()), ClockShift::build(scratch.path()));
    let environment = theirs.environment();
    let options =
        Options { home: Some(home), data: Some(disk.path().to_owned()), environment, ..Options::default() };
    let plan = Plan { options, environment: ours.environment(), standby: false };
    let mut run = Run::start("a full disk, and clocks that jump", plan);
    let begun = Instant::now();
    run.full_disk(&disk);
    run.heal("a full disk");
    run.troubles.push((None, begun..Instant::now()));
    // Entries carry the time of the replica that wrote them.
    run.fleet.drill.evidence.clocks_apart_ms = 2 * 3_600_000;
    let racer = run.fleet.agent("racer");
    for (whose, clock) in [("a replica", &ours), ("the database", &theirs)] {
        for shift_s in [3_600, -3_600, 30, 0] {
            let before = clock.fired();
            let proof = run.proof_that_was_taken(&racer);
            clock.set_s(shift_s);
            run.wait_for_work([1, 2]);
            std::thread::sleep(SWEPT);
            let again = run.fleet.clients().inside(|| racer[2].send_attach(&proof)).expect("an answer");
            assert_eq!(again, 401, "a proof that was taken is taken again: {whose} is off by {shift_s} s");
            let fired = must_have_struck("a clock", clock.fired() - before + u64::from(shift_s == 0));
            say(&format!("  {whose} is off by {shift_s} s: {fired} readings, and work goes on elsewhere"));
        }
        run.heal(&format!("the clock of {whose}"));
    }
    run.judge();
}

// case: REV-01, REV-06, FLT-08
#[test]
#[ignore = "needs root, takes minutes: make test-faults"]
fn uses_and_mints_on_every_replica_that_race_a_revocation_are_over_when_it_returns() {
    let _alone = alone();
    let wanted = std::env::var("ACCREDIT_FAULT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut schedule = Schedule::announced("revoke on one replica, use and mint on all");
    let mut fleet = Fleet::start(Plan::default());
    let operators: Vec<Operator> = fleet.replicas().map(Operator::sign_in).collect();
    let (mut rounds, mut raced, mut times) = (0, Raced::default(), Vec::new());
    while rounds < wanted {
        let agent: Arc<Vec<Agent>> = Arc::new(fleet.agent(&format!("racer-{rounds}")));
        let mut one = || usize::try_from(schedule.between(0, 2)).expect("a small number");
        let (at, by) = (one(), one());
        let task = fleet.clients().inside(|| agent[at].start(&BOUNDARY, TTL_S)).expect("a task");
        let racers: Vec<_> = (0..REPLICAS.len()).map(|n| race(&fleet, &agent, n, &task)).collect();
        std::thread::sleep(Duration::from_micros(schedule.between(0, 60_000)));
        let begun = Instant::now();
        let whole = rounds % 2 == 0;
        let over =
            if whole { operators[by].revoke_agent(&agent[0].name()) } else { operators[by].revoke(&task.id) };
        let over = over.expect("a revocation");
        times.push(begun.elapsed());
        assert_eq!(over.pending, 0, "every replica is there");
        for ended in &over.tasks {
            let (kind, subject) = ("task.ended".to_owned(), ended.clone());
            note(&fleet.drill.journal, Some(What::Changed { kind, subject }));
        }
        fleet.drill.evidence.revocations.push(over);
        fleet.clients().inside(|| {
            for n in 0..REPLICAS.len() {
                let used = agent[n].attach(&task).and_then(|mut open| open.get("orders", PATH));
                let used = used.is_ok_and(|(trace, answer)| {
                    note(&fleet.drill.journal, promise(&trace, &answer));
                    !answer.is_ours
                });
                assert!(!used, "replica {} lets out what was revoked", REPLICAS[n]);
                let minted = whole && agent[n].start(&BOUNDARY, TTL_S).is_ok();
                assert!(!minted, "replica {} mints for who was revoked", REPLICAS[n]);
            }
        });
        for racer in racers {
            let Raced { used, minted, refused } = racer.join().expect("a racer ends");
            raced = Raced {
                used: raced.used + used,
                minted: raced.minted + minted,
                refused: raced.refused + refused,
            };
        }
        rounds += 1;
    }
    times.sort();
    let Raced { used, minted, refused } = raced;
    say(&format!(
        "  {rounds} revocations, p50 {:?}, longest {:?}; against {used} uses and {minted} mints, {refused} refused",
        times[times.len() / 2],
        times[times.len() - 1]
    ));
    assert!(used > 0 && minted > 0 && refused > 0, "uses, mints and revocations met");
    fleet.drill.evidence.on_the_way_us = ON_THE_WAY_US;
    fleet.judge();
}

/// What racers had before it was over.
#[derive(Default)]
struct Raced {
    used: usize,
    minted: usize,
    refused: usize,
}

/// Uses the task and mints others at one replica until it is refused.
fn race(fleet: &Fleet, agent: &Arc<Vec<Agent>>, n: usize, task: &Task) -> JoinHandle<Raced> {
    let (part, journal) = (fleet.clients().clone(), Arc::clone(&fleet.drill.journal));
    let (agent, task) = (Arc::clone(agent), task.clone());
    std::thread::spawn(move || {
        part.enter();
        let mut raced = Raced::default();
        let mut connection = agent[n].attach(&task).ok();
        while let Some(open) = &mut connection {
            let Ok((trace, answer)) = open.get("orders", PATH) else { break };
            note(&journal, promise(&trace, &answer));
            if answer.is_ours {
                raced.refused += 1;
                break;
            }
            raced.used += 1;
            let Ok(minted) = agent[n].start(&BOUNDARY, TTL_S) else { continue };
            let (kind, subject) = ("task.started".to_owned(), minted.id);
            note(&journal, Some(What::Changed { kind, subject }));
            raced.minted += 1;
        }
        raced
    })
}
