//! Three replicas on one PostgreSQL, broken in every way that a network, a machine and a database have, under load, while
//! operators take tasks away; afterwards the oracle looks for anything that must not have happened. Ignored by default,
//! and only root can run them: `make test-faults`.
//!
//! What they cannot show on one machine: clocks of several hosts that drift, a disk that lies about its cache.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use accredit_tests::drill::Load;
use accredit_tests::fleet::{Fleet, Plan, REPLICAS, Revokers};
use accredit_tests::inject::{Schedule, say};

/// Agents at work.
const AGENTS: usize = 6;
/// How often each of the operators takes a task away.
const REVOKE_EVERY: Duration = Duration::from_millis(500);
/// Requests after which a replica is taken to be back at work.
const SOME: u64 = 10;
/// How long it may take until it is.
const WORK_TIME_MAX: Duration = Duration::from_secs(30);

/// One fleet at a time: each fault is measured by what the machine does otherwise.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fault of a running fleet.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A replica is killed, and started again.
    KillReplica(usize),
}

/// A fleet at work.
struct Run {
    fleet: Fleet,
    load: Load,
    revokers: Revokers,
    schedule: Schedule,
}

impl Run {
    fn start(what: &str, plan: Plan) -> Self {
        let mut schedule = Schedule::announced(what);
        let fleet = Fleet::start(plan);
        let load = fleet.load(AGENTS);
        let revokers = Revokers::start(&fleet, &load, REVOKE_EVERY, &mut schedule);
        let run = Self { fleet, load, revokers, schedule };
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
        let what = match fault {
            Fault::KillReplica(n) => self.kill_replica(n),
        };
        let ready = self.fleet.wait_until_ready();
        let work = self.wait_for_work(0..REPLICAS.len());
        say(&format!("  {fault:?}: {what}; all ready after {ready:?}, all at work after {:?}", ready + work));
        self.load.rest(true);
        let witness = usize::try_from(self.schedule.between(0, 2)).unwrap_or(0);
        self.fleet.verify(witness, &format!("after {fault:?}"));
        self.load.rest(false);
    }

    fn kill_replica(&mut self, n: usize) -> String {
        self.sleep(20, 800);
        self.fleet.replica_mut(n).kill();
        let others = self.wait_for_work((0..REPLICAS.len()).filter(|other| *other != n));
        self.fleet.replica_mut(n).launch();
        format!("killed; the others went on within {others:?}")
    }

    /// Judges the run.
    fn judge(mut self) {
        self.load.end();
        let revoked = self.revokers.end();
        let mut times: Vec<Duration> = revoked.iter().map(|(_, took)| *took).collect();
        times.sort();
        if let Some(last) = times.len().checked_sub(1) {
            let at = |percent: usize| times[last * percent / 100];
            let pending = revoked.iter().filter(|(over, _)| over.pending > 0).count();
            say(&format!(
                "  {} revocations: p50 {:?}, p99 {:?}, longest {:?}; {pending} said that something was pending",
                times.len(),
                at(50),
                at(99),
                at(100)
            ));
        }
        self.fleet.drill.evidence.revocations.extend(revoked.into_iter().map(|(over, _)| over));
        // What had left before the return and lay in a buffer of this machine: all parts share its two processors.
        self.fleet.drill.evidence.on_the_way_us = 50_000;
        self.fleet.judge();
    }
}

// case: FLT-01, REV-01
#[test]
#[ignore = "needs root, takes minutes: make test-faults"]
fn replicas_that_are_killed_in_turn_lose_nothing_that_any_of_them_promised() {
    let _alone = alone();
    let mut run = Run::start("kill -9 of replicas", Plan::default());
    for n in 0..REPLICAS.len() {
        run.strike(Fault::KillReplica(n));
    }
    run.judge();
}
