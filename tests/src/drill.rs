//! One run of faults: a world, what clients were told, agents at work, and the judgement at the end.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::agent::{Agent, Answer, Connection, promise};
use crate::harness::{Accredit, Setup};
use crate::inject::say;
use crate::journal::{Journal, What};
use crate::net::Part;
use crate::operator::Operator;
use crate::oracle::{Effect, Evidence, Ledger, Verification, check};
use crate::world::World;

/// What every task here may do.
pub const BOUNDARY: [&str; 1] = ["orders: GET /v1/**"];
/// What is read all the time.
pub const PATH: &str = "/v1/orders/17";
/// Life of a task, in seconds: longer than any cycle.
pub const TTL_S: u64 = 600;
/// Pause of an agent between two requests: work, not a flood, so that the ledger stays of a size that can be verified
/// again and again.
const PAUSE: Duration = Duration::from_millis(20);
/// Uses of one task: then its agent starts another, elsewhere if it can.
const USES_MAX: usize = 40;

/// A world with what is known about its run.
pub struct Drill {
    /// Service and authority.
    pub world: World,
    /// What clients were told.
    pub journal: Arc<Journal>,
    /// What is known besides.
    pub evidence: Evidence,
}

impl Drill {
    /// Starts everything.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        Self::of(World::start(setup))
    }

    /// One in this world.
    ///
    /// # Panics
    /// When the authority does not answer.
    #[track_caller]
    #[must_use]
    pub fn of(world: World) -> Self {
        let journal = Arc::new(Journal::open(&world.accredit.scratch().join("journal")).expect("a journal"));
        let evidence = Evidence {
            log_keys: vec![Operator::sign_in(&world.accredit).log_key().expect("a key")],
            ..Evidence::default()
        };
        Self { world, journal, evidence }
    }

    /// A new agent.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    #[must_use]
    pub fn agent(&self, name: &str) -> Agent {
        Agent::register(&self.world.accredit, name)
    }

    /// One request, its promise noted.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn ask(&self, connection: &mut Connection) -> Answer {
        let (trace, answer) = connection.get("orders", PATH).expect("an answer");
        note(&self.journal, promise(&trace, &answer));
        answer
    }

    /// Keeps the newest signed head, and what `audit verify` says.
    ///
    /// # Panics
    /// When there is no signed head.
    #[track_caller]
    pub fn verify(&mut self, when: &str) {
        verify(&self.world.accredit, when, &mut self.evidence);
    }

    /// Stops the authority in order, starts it once more so that what was open is settled, and judges the run.
    ///
    /// # Panics
    /// When anything happened that must not happen.
    #[track_caller]
    pub fn judge(mut self) {
        self.world.accredit.stop();
        self.judge_stopped();
    }

    /// The same for an authority that does not run.
    ///
    /// # Panics
    /// When anything happened that must not happen.
    #[track_caller]
    pub fn judge_stopped(mut self) {
        self.world.accredit.launch();
        self.world.accredit.wait_until_ready();
        self.verify("at the end");
        self.evidence.leaks.extend(self.world.accredit.leaks(&self.world.canaries));
        assert_eq!(self.world.accredit.stop(), 0, "it stops in order");
        let database = self.world.accredit.state().join("accredit.db");
        let ledger = Ledger::of_database(&database).expect("a ledger");
        self.weigh(ledger);
    }

    /// Holds everything that is known about a run that has come to rest against every invariant.
    ///
    /// # Panics
    /// When anything happened that must not happen.
    #[track_caller]
    pub fn weigh(self, ledger: Ledger) {
        let mut evidence = self.evidence;
        evidence.ledger = ledger;
        evidence.at_rest = true;
        evidence.effects = Effect::of_log(&self.world.sample.effects().expect("an effect log"));
        evidence.journal = self.journal.read().expect("a journal");
        let found: Vec<_> = check(&evidence).iter().map(ToString::to_string).collect();
        let shown: Vec<_> = found.iter().take(20).collect();
        assert!(found.is_empty(), "{} violations, the first: {shown:#?}", found.len());
        say(&format!(
            "  {} promises, {} effects, {} revocations, {} entries: nothing that must not happen",
            evidence.journal.len(),
            evidence.effects.len(),
            evidence.revocations.len(),
            evidence.ledger.entries.len()
        ));
    }
}

/// Keeps the newest signed head as this server has it, and what `audit verify` says.
///
/// # Panics
/// When there is no signed head.
#[track_caller]
pub fn verify(accredit: &Accredit, when: &str, evidence: &mut Evidence) {
    let verified = accredit.cli(&["audit", "verify"]);
    let said = format!("{}{}", verified.stdout, verified.stderr);
    evidence.verifications.push(Verification { when: when.to_owned(), ok: verified.code == 0, said });
    let signed = Operator::sign_in(accredit).checkpoint().expect("a signed head");
    evidence.checkpoints.push(signed);
}

/// Writes a promise down, if it is one.
///
/// # Panics
/// When the journal cannot be written.
pub fn note(journal: &Journal, what: Option<What>) {
    if let Some(what) = what {
        journal.note(what).expect("the journal's disk has room");
    }
}

/// Agents that start tasks and use them until they are told to stop, whatever becomes of the authority meanwhile.
pub struct Load {
    shared: Arc<Working>,
    working: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Working {
    stop: AtomicBool,
    rest: AtomicBool,
    /// Requests that the upstream has answered, for each of the servers.
    used: Vec<AtomicU64>,
    /// Tasks that are at work.
    tasks: Mutex<Vec<String>>,
}

impl Load {
    /// Starts so many agents.
    ///
    /// # Panics
    /// When one is refused.
    #[track_caller]
    #[must_use]
    pub fn start(drill: &Drill, agents: usize) -> Self {
        let workers = (0..agents).map(|n| vec![drill.agent(&format!("worker-{n}"))]);
        Self::through(workers.collect(), &drill.journal, None)
    }

    /// Starts agents, each of which may go to several servers: it starts a task at one, uses it at another, and
    /// begins anew elsewhere when one fails. They are in this part of a network.
    #[must_use]
    pub fn through(workers: Vec<Vec<Agent>>, journal: &Arc<Journal>, from: Option<&Part>) -> Self {
        let servers = workers.first().map_or(0, Vec::len);
        let used = (0..servers).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Working { used, ..Working::default() });
        let begin = |(n, servers): (usize, Vec<Agent>)| {
            let (shared, journal, from) = (Arc::clone(&shared), Arc::clone(journal), from.cloned());
            std::thread::spawn(move || {
                if let Some(part) = from {
                    part.enter();
                }
                for turn in n.. {
                    if shared.is_over() {
                        break;
                    }
                    // It may be down, or going down: then nothing was promised, and the next turn tries again.
                    if !shared.rest.load(Ordering::Relaxed) {
                        let _ = work(&servers, turn, &journal, &shared);
                    }
                    std::thread::sleep(PAUSE);
                }
            })
        };
        let working = workers.into_iter().enumerate().map(begin).collect();
        Self { shared, working }
    }

    /// Requests that the upstream has answered.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.used.iter().map(|used| used.load(Ordering::Relaxed)).sum()
    }

    /// Those of them that came through one of the servers.
    #[must_use]
    pub fn used_at(&self, server: usize) -> u64 {
        self.shared.used[server].load(Ordering::Relaxed)
    }

    /// Lets the agents rest, or sends them back to work: a ledger that is verified need not grow meanwhile.
    pub fn rest(&self, rest: bool) {
        self.shared.rest.store(rest, Ordering::Relaxed);
    }

    /// What gives tasks that are at work, for whoever takes them away.
    #[must_use]
    pub fn tasks(&self) -> Box<dyn Fn(usize) -> Option<String> + Send> {
        let shared = Arc::clone(&self.shared);
        Box::new(move |nth| {
            let tasks = shared.tasks();
            tasks.get(nth % tasks.len().max(1)).cloned()
        })
    }

    /// Waits until every agent has stopped.
    ///
    /// # Panics
    /// When one of them has.
    #[track_caller]
    pub fn end(mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        std::mem::take(&mut self.working)
            .into_iter()
            .for_each(|worker| worker.join().expect("a worker ends"));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Working {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One task, until the agents are to stop or to rest, or the authority says no.
fn work(servers: &[Agent], turn: usize, journal: &Journal, shared: &Working) -> io::Result<()> {
    // Every server with every other in turn, and with itself.
    let (here, there) = (turn % servers.len(), turn / servers.len() % servers.len());
    let task = servers[here].start(&BOUNDARY, TTL_S)?;
    note(journal, Some(What::Changed { kind: "task.started".to_owned(), subject: task.id.clone() }));
    let mut connection = servers[there].attach(&task)?;
    shared.tasks().push(task.id.clone());
    let done = use_up(&mut connection, there, journal, shared);
    shared.tasks().retain(|id| *id != task.id);
    done
}

fn use_up(connection: &mut Connection, server: usize, journal: &Journal, shared: &Working) -> io::Result<()> {
    for _ in 0..USES_MAX {
        let (trace, answer) = connection.get("orders", PATH)?;
        note(journal, promise(&trace, &answer));
        if answer.is_ours || shared.is_over() || shared.rest.load(Ordering::Relaxed) {
            break;
        }
        shared.used[server].fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
