//! One run of faults: a world, what clients were told, agents at work, and the judgement at the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::agent::{Agent, Answer, Connection, promise};
use crate::harness::Setup;
use crate::inject::say;
use crate::journal::{Journal, What};
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
        let world = World::start(setup);
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
        let verified = self.world.accredit.cli(&["audit", "verify"]);
        let said = format!("{}{}", verified.stdout, verified.stderr);
        self.evidence.verifications.push(Verification {
            when: when.to_owned(),
            ok: verified.code == 0,
            said,
        });
        let signed = Operator::sign_in(&self.world.accredit).checkpoint().expect("a signed head");
        self.evidence.checkpoints.push(signed);
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
        let mut evidence = std::mem::take(&mut self.evidence);
        evidence.leaks.extend(self.world.accredit.leaks(&self.world.canaries));
        assert_eq!(self.world.accredit.stop(), 0, "it stops in order");
        let database = self.world.accredit.state().join("accredit.db");
        evidence.ledger = Ledger::of_database(&database).expect("a ledger");
        evidence.at_rest = true;
        evidence.effects = Effect::of_log(&self.world.sample.effects().expect("an effect log"));
        evidence.journal = self.journal.read().expect("a journal");
        let found: Vec<_> = check(&evidence).iter().map(ToString::to_string).collect();
        let shown: Vec<_> = found.iter().take(20).collect();
        assert!(found.is_empty(), "{} violations, the first: {shown:#?}", found.len());
        say(&format!(
            "  {} promises, {} effects, {} entries: nothing that must not happen",
            evidence.journal.len(),
            evidence.effects.len(),
            evidence.ledger.entries.len()
        ));
    }
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
    stop: Arc<AtomicBool>,
    rest: Arc<AtomicBool>,
    used: Arc<AtomicU64>,
    working: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts so many agents.
    ///
    /// # Panics
    /// When one is refused.
    #[track_caller]
    #[must_use]
    pub fn start(drill: &Drill, agents: usize) -> Self {
        let (stop, rest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let used = Arc::new(AtomicU64::new(0));
        let begin = |n: usize| {
            let agent = drill.agent(&format!("worker-{n}"));
            let (stop, rest) = (Arc::clone(&stop), Arc::clone(&rest));
            let (used, journal) = (Arc::clone(&used), Arc::clone(&drill.journal));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // It may be down, or going down: then nothing was promised, and the next turn tries again.
                    if !rest.load(Ordering::Relaxed) {
                        let _ = work(&agent, &journal, [&stop, &rest], &used);
                    }
                    std::thread::sleep(PAUSE);
                }
            })
        };
        let working = (0..agents).map(begin).collect();
        Self { stop, rest, used, working }
    }

    /// Requests that the upstream has answered.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Lets the agents rest, or sends them back to work: a ledger that is verified need not grow meanwhile.
    pub fn rest(&self, rest: bool) {
        self.rest.store(rest, Ordering::Relaxed);
    }

    /// Waits until every agent has stopped.
    ///
    /// # Panics
    /// When one of them has.
    #[track_caller]
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.working.into_iter().for_each(|worker| worker.join().expect("a worker ends"));
    }
}

/// One task, until one of the two says so or the authority does.
fn work(agent: &Agent, journal: &Journal, until: [&AtomicBool; 2], used: &AtomicU64) -> io::Result<()> {
    let task = agent.start(&BOUNDARY, TTL_S)?;
    note(journal, Some(What::Changed { kind: "task.started".to_owned(), subject: task.id.clone() }));
    let mut connection = agent.attach(&task)?;
    while until.iter().all(|flag| !flag.load(Ordering::Relaxed)) {
        let (trace, answer) = connection.get("orders", PATH)?;
        note(journal, promise(&trace, &answer));
        used.fetch_add(u64::from(!answer.is_ours), Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
