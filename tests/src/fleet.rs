//! Three replicas, each in a network namespace of its own, with PostgreSQL, its standby, the upstream and the clients in
//! others: what is broken between them is broken as on machines of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use accredit_tests_postgres::{Cluster, Database, Options, Standby};

use crate::agent::Agent;
use crate::drill::{Drill, Load, note, verify};
use crate::harness::{Accredit, Setup, prepared_database};
use crate::inject::Schedule;
use crate::journal::{Journal, What};
use crate::net::{Network, Part};
use crate::operator::Operator;
use crate::oracle::{Ledger, Revocation};
use crate::world::World;

/// The parts that replicas run in.
pub const REPLICAS: [&str; 3] = ["one", "two", "three"];
/// The part that PostgreSQL runs in.
pub const DATABASE: &str = "database";
/// What clients call control plane and gateway: a balancer would stand there.
const URLS: [&str; 2] = ["https://accredit.test", "https://gateway.accredit.test"];
/// Where each replica listens, at its own address.
const PORTS: [u16; 2] = [9_748, 9_749];
/// Sessions of three replicas, and of those that a partition has made forget them.
const SESSIONS_MAX: usize = 200;
/// How long a client waits before it goes to another replica.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long anything may take until it is as before.
const HEAL_TIME_MAX: Duration = Duration::from_secs(60);

/// What a fleet differs in.
#[derive(Default)]
pub struct Plan {
    /// Whether the database has a synchronous standby.
    pub standby: bool,
    /// What its database differs in; it is inside its part in any case.
    pub options: Options,
    /// Variables of the environment of the first replica.
    pub environment: Vec<(String, String)>,
}

/// Such replicas, and what is known about their run.
pub struct Fleet {
    /// The world of the first replica, and the evidence about all.
    pub drill: Drill,
    others: Vec<Accredit>,
    /// The database's server that others stand by for.
    pub cluster: Cluster,
    /// The server that stands by.
    pub standby: Option<Standby>,
    database: Arc<Database>,
    /// Whether the standby has taken over.
    promoted: bool,
    /// What is between all of them.
    pub network: Network,
}

impl Fleet {
    /// Starts everything.
    ///
    /// # Panics
    /// When it does not start, or this is not root.
    #[track_caller]
    #[must_use]
    pub fn start(plan: Plan) -> Self {
        let parts = [&REPLICAS[..], &[DATABASE, "standby", "upstream", "clients"]].concat();
        let network = Network::of(&parts);
        let part = network.part(DATABASE);
        let options =
            Options { addresses: vec![part.address().into()], prefix: part.prefix(), ..plan.options };
        let cluster = Cluster::start(options);
        let database = part.inside(|| prepared_database(&cluster));
        cluster.admin(&format!("ALTER DATABASE {} CONNECTION LIMIT {SESSIONS_MAX}", database.name()));
        let standby = plan.standby.then(|| {
            let part = network.part("standby");
            Standby::of(&cluster, &[part.address().into()], &part.prefix())
        });
        let servers: Vec<_> =
            std::iter::once(cluster.host()).chain(standby.as_ref().map(Standby::host)).cloned().collect();
        let setup = |name: &str| {
            let part = network.part(name);
            let [listen, gateway] = PORTS.map(|port| SocketAddr::from((part.address(), port)));
            let [url, gateway_url] = URLS.map(str::to_owned);
            Setup {
                shared: Some(Arc::clone(&database)),
                servers: servers.clone(),
                addresses: Some((listen, gateway)),
                urls: Some((url, gateway_url)),
                part: Some(part.clone()),
                ..Setup::default()
            }
        };
        let first = Setup { environment: plan.environment, ..setup(REPLICAS[0]) };
        let world = World::start_at(first, Some(network.part("upstream")));
        let seal = world.accredit.state().join("seal.key");
        let config = format!("seal = {{ kind = \"file\", path = \"{}\" }}", seal.display());
        let other = |name: &&str| {
            let names = Some(world.names.clone());
            Accredit::start(Setup { config: config.clone(), names, ..setup(name) })
        };
        let others = REPLICAS[1..].iter().map(other).collect();
        Self { drill: Drill::of(world), others, cluster, standby, database, promoted: false, network }
    }

    /// One of the replicas.
    #[must_use]
    pub fn replica(&self, n: usize) -> &Accredit {
        n.checked_sub(1).map_or(&self.drill.world.accredit, |n| &self.others[n])
    }

    /// One of the replicas, to stop and start.
    #[must_use]
    pub fn replica_mut(&mut self, n: usize) -> &mut Accredit {
        match n.checked_sub(1) {
            None => &mut self.drill.world.accredit,
            Some(n) => &mut self.others[n],
        }
    }

    /// Every replica.
    pub fn replicas(&self) -> impl Iterator<Item = &Accredit> {
        (0..REPLICAS.len()).map(|n| self.replica(n))
    }

    /// Where clients are.
    #[must_use]
    pub fn clients(&self) -> &Part {
        self.network.part("clients")
    }

    /// A new agent, once for each replica that a balancer may lead it to.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    #[must_use]
    pub fn agent(&self, name: &str) -> Vec<Agent> {
        let agent = self.drill.agent(name).patient(PATIENCE);
        self.replicas().map(|replica| agent.at(replica)).collect()
    }

    /// Agents at work at all replicas.
    ///
    /// # Panics
    /// When one is refused.
    #[track_caller]
    #[must_use]
    pub fn load(&self, agents: usize) -> Load {
        let workers = (0..agents).map(|n| self.agent(&format!("worker-{n}"))).collect();
        Load::through(workers, &self.drill.journal, Some(self.clients()))
    }

    /// Runs a statement at the server that counts, as somebody who sees everything.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn sql(&self, sql: &str) -> String {
        match &self.standby {
            Some(standby) if self.promoted => standby.admin_in(&self.database, sql),
            _ => self.cluster.admin_in(&self.database, sql),
        }
    }

    /// Lets the standby take over. The server that it followed must be dead.
    ///
    /// # Panics
    /// When there is none, or it does not.
    #[track_caller]
    pub fn promote(&mut self) {
        self.standby.as_ref().expect("the plan has a standby").promote();
        self.promoted = true;
    }

    /// Waits until every replica accepts work. Gives how long it took.
    ///
    /// # Panics
    /// When one does not.
    #[track_caller]
    pub fn wait_until_ready(&self) -> Duration {
        let begun = Instant::now();
        for (name, replica) in REPLICAS.iter().zip(self.replicas()) {
            while !replica.is_ready() {
                let late = begun.elapsed() > HEAL_TIME_MAX;
                assert!(!late, "replica {name} is not ready:\n{}", tail(&replica.log()));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        begun.elapsed()
    }

    /// Keeps what one of the replicas says of the ledger.
    ///
    /// # Panics
    /// When it has no signed head.
    #[track_caller]
    pub fn verify(&mut self, n: usize, when: &str) {
        let Self { drill, others, .. } = self;
        let Drill { world, evidence, .. } = drill;
        let replica = n.checked_sub(1).map_or(&world.accredit, |n| &others[n]);
        verify(replica, when, evidence);
    }

    /// Waits until nothing is open, looks at every replica, stops all of them, and judges the run by what the database
    /// holds.
    ///
    /// # Panics
    /// When anything happened that must not happen.
    #[track_caller]
    pub fn judge(mut self) {
        self.wait_until_ready();
        let begun = Instant::now();
        while self.sql("SELECT count(*) FROM accredit.open_action") != "0" && begun.elapsed() < HEAL_TIME_MAX
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        for (n, name) in REPLICAS.iter().enumerate() {
            self.verify(n, &format!("at the end, by replica {name}"));
            let leaks = self.replica(n).leaks(&self.drill.world.canaries);
            self.drill.evidence.leaks.extend(leaks);
        }
        for (n, name) in REPLICAS.iter().enumerate() {
            assert_eq!(self.replica_mut(n).stop(), 0, "replica {name} stops in order");
        }
        let ledger = Ledger::of_server(|sql| self.sql(sql)).expect("a ledger");
        self.drill.weigh(ledger);
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Operators, one at each replica, who take tasks away while they are used. A task that could not be taken away at one
/// replica is taken away at another: then it must be over as well when the answer comes.
pub struct Revokers {
    over: Arc<AtomicBool>,
    working: Vec<JoinHandle<Vec<Revoked>>>,
}

/// What was taken away.
pub struct Revoked {
    /// What the answer said.
    pub over: Revocation,
    /// At which replica.
    pub at: usize,
    /// When it was asked for.
    pub asked: Instant,
    /// How long the answer took.
    pub took: Duration,
}

impl Revokers {
    /// Starts them, each at its own pace.
    #[must_use]
    pub fn start(fleet: &Fleet, load: &Load, pause: Duration, schedule: &mut Schedule) -> Self {
        let over = Arc::<AtomicBool>::default();
        let count = REPLICAS.len();
        let (give, take): (Vec<Sender<String>>, Vec<Receiver<String>>) =
            (0..count).map(|_| channel()).unzip();
        let begin = |(n, again): (usize, Receiver<String>)| {
            let (over, pick, journal) = (Arc::clone(&over), load.tasks(), Arc::clone(&fleet.drill.journal));
            let (socket, elsewhere) = (fleet.replica(n).socket(), give[(n + 1) % count].clone());
            let mut schedule = Schedule::of(schedule.seed());
            std::thread::spawn(move || {
                let (mut done, mut operator) = (Vec::new(), None);
                while !over.load(Ordering::Relaxed) {
                    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                    std::thread::sleep(Duration::from_millis(schedule.between(0, 2 * pause_ms)));
                    let nth = usize::try_from(schedule.between(0, 1_000)).unwrap_or(0);
                    let Some(task) = again.try_recv().ok().or_else(|| pick(nth)) else { continue };
                    operator = operator.or_else(|| Operator::at(&socket).ok());
                    let begun = Instant::now();
                    match operator.as_ref().map(|operator| operator.revoke(&task)) {
                        Some(Ok(over)) => {
                            let (took, over) = (begun.elapsed(), noted(over, &journal));
                            done.push(Revoked { over, at: n, asked: begun, took });
                        }
                        failed => {
                            operator = operator.filter(|_| failed.is_none());
                            let _ = elsewhere.send(task);
                        }
                    }
                }
                done
            })
        };
        let working = take.into_iter().enumerate().map(begin).collect();
        Self { over, working }
    }

    /// Ends them. Gives what was taken away.
    ///
    /// # Panics
    /// When one of them has.
    #[track_caller]
    #[must_use]
    pub fn end(mut self) -> Vec<Revoked> {
        self.over.store(true, Ordering::Relaxed);
        let working = std::mem::take(&mut self.working);
        working.into_iter().flat_map(|worker| worker.join().expect("an operator ends")).collect()
    }
}

impl Drop for Revokers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn noted(over: Revocation, journal: &Journal) -> Revocation {
    for task in &over.tasks {
        note(journal, Some(What::Changed { kind: "task.ended".to_owned(), subject: task.clone() }));
    }
    over
}
