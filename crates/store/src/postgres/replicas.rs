//! Who works on the database, and what is to be cut everywhere.
//!
//! The database orders a use and a revocation; what it cannot do is reach into a replica and cut what is under way. So
//! a revocation leaves an order to cut, in its own transaction, and returns when every replica has carried it out. A
//! replica that is not heard of for [`STALE_AFTER`] has cut everything by itself.
//!
//! Both sides look at their own clocks, which nobody sets: a replica counts from before it said that it is there, the
//! others from after they saw that. Times that the database writes down are for people.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use accredit_core::id::{AgentName, CredentialName, TaskId, TenantName};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_postgres::{AsyncMessage, Client, Row};

use super::address::{Address, Driver};
use super::pool::PgPool;
use super::schema::SCHEMA;
use super::sighting::Sighting;
use crate::error::{Cause, StoreError};
use crate::scope::Scope;

/// How old what a replica knows may become. Older than this it lets nothing out, and nothing goes on.
pub const STALE_AFTER: Duration = Duration::from_secs(5);
/// How old a replica lets it become before it cuts what is under way: earlier than anybody else gives it up.
const CUT_AFTER: Duration = Duration::from_secs(4);
/// How often a replica says that it is there, when nothing wakes it before.
const BEAT_EVERY: Duration = Duration::from_millis(250);
/// How long one beat may take.
const BEAT_TIME_MAX: Duration = Duration::from_secs(2);
/// How soon it is tried again after a beat that failed.
const BEAT_AGAIN: Duration = Duration::from_millis(100);
/// How long a replica is not heard of before what it let out is settled for it: well after it has cut it.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// How often a revocation looks whether everybody has carried it out.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Orders that wait for the authority: it takes them at once, so this is how far it may lag.
const ORDERS_MAX: usize = 1_024;
/// How long orders are kept after everybody has carried them out, for people who look.
const KEEP_S: i64 = 600;

/// What is to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// What goes on in the name of a task.
    Task(TenantName, TaskId),
    /// What an agent does.
    Agent(TenantName, AgentName),
    /// What goes on with a credential.
    Credential(TenantName, CredentialName),
    /// Everything of a tenant.
    Tenant(TenantName),
    /// Everything.
    Everything,
}

impl Cut {
    /// Tenant, sort and name, as they are kept.
    pub(crate) fn row(&self) -> (&str, &'static str, &str) {
        match self {
            Self::Task(tenant, id) => (tenant.as_str(), "task", id.as_str()),
            Self::Agent(tenant, name) => (tenant.as_str(), "agent", name.as_str()),
            Self::Credential(tenant, name) => (tenant.as_str(), "credential", name.as_str()),
            Self::Tenant(tenant) => (tenant.as_str(), "tenant", ""),
            Self::Everything => ("-", "everything", ""),
        }
    }

    /// What a row says. One that this version does not understand, or that is not whole, cuts more rather than less.
    fn read(tenant: &str, what: &str, name: &str) -> Self {
        let Ok(tenant) = TenantName::parse(tenant) else { return Self::Everything };
        let whole = Self::Tenant(tenant.clone());
        match what {
            "task" => TaskId::parse(name).map_or(whole, |id| Self::Task(tenant, id)),
            "agent" => AgentName::parse(name).map_or(whole, |name| Self::Agent(tenant, name)),
            "credential" => CredentialName::parse(name).map_or(whole, |name| Self::Credential(tenant, name)),
            "tenant" => whole,
            _ => Self::Everything,
        }
    }
}

/// An order to cut. Whoever takes it says when it was carried out, by dropping it.
pub struct CutOrder {
    /// What.
    pub cut: Cut,
    done: Option<oneshot::Sender<()>>,
}

impl Drop for CutOrder {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            let _ = done.send(());
        }
    }
}

/// The replicas of a database, as one of them sees them.
pub(crate) struct Replicas {
    shared: Arc<Beating>,
    orders: Mutex<Option<mpsc::Receiver<CutOrder>>>,
}

struct Beating {
    address: Arc<Address>,
    replica: Arc<str>,
    /// When it was last said that the replica is there and the database has heard it, as `up_ms` counts.
    heard_ms: AtomicU64,
    others: Mutex<HashMap<String, Sighting>>,
    ended: AtomicBool,
    wake: Notify,
}

impl Beating {
    fn heard(&self, at_ms: u64) {
        self.heard_ms.fetch_max(at_ms, Ordering::AcqRel);
    }

    fn is_stale(&self) -> bool {
        let age_ms = up_ms().saturating_sub(self.heard_ms.load(Ordering::Acquire));
        Duration::from_millis(age_ms) >= CUT_AFTER
    }

    fn others(&self) -> MutexGuard<'_, HashMap<String, Sighting>> {
        // Every update leaves the list whole.
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since this machine was started. They go on while it sleeps, unlike those of [`Instant`]: so a replica
/// never counts less of its own silence than any other one does.
fn up_ms() -> u64 {
    let up = clock_gettime(ClockId::Boottime);
    u64::try_from(up.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(up.tv_nsec).unwrap_or(0) / 1_000_000
}

/// A replica that was not heard of for so long that it has given itself up, as it was last seen.
#[derive(Debug, Clone)]
pub struct Lost {
    pub(crate) replica: String,
    pub(crate) mark: String,
}

const JOIN: &str =
    "INSERT INTO replica (id, cuts) VALUES ($1, (SELECT COALESCE(max(n), 0) FROM cut)) RETURNING cuts";
const BEAT: &str =
    "WITH beat AS (UPDATE replica SET seen = clock_timestamp(), cuts = $2 WHERE id = $1 RETURNING 1)
    SELECT EXISTS (SELECT 1 FROM beat), cut.n, cut.tenant, cut.what, cut.name, cut.replica = $1
    FROM (SELECT 1) AS once LEFT JOIN cut ON cut.n > $2 ORDER BY cut.n";
/// The mark of a row is the transaction that wrote it last: each beat is one of its own.
const OTHERS: &str = "SELECT id, CAST(xmin AS TEXT) FROM replica WHERE id <> $1";
const BEHIND: &str = "SELECT id, CAST(xmin AS TEXT) FROM replica WHERE id <> ?1 AND cuts < ?2";

impl Replicas {
    /// Joins, and begins to beat.
    pub(crate) async fn join(address: Arc<Address>, replica: Arc<str>) -> Result<Self, StoreError> {
        let (give, orders) = mpsc::channel(ORDERS_MAX);
        let began_ms = up_ms();
        let shared = Arc::new(Beating {
            address,
            replica,
            heard_ms: AtomicU64::new(0),
            others: Mutex::default(),
            ended: AtomicBool::new(false),
            wake: Notify::new(),
        });
        let mut heart = Heart { shared: Arc::clone(&shared), give, session: None, carried_out: 0 };
        heart.enter().await?;
        shared.heard(began_ms);
        tokio::spawn(heart.run());
        Ok(Self { shared, orders: Mutex::new(Some(orders)) })
    }

    /// The orders to cut, for the one that carries them out.
    pub(crate) fn orders(&self) -> Option<mpsc::Receiver<CutOrder>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether what this replica knows is so old that it must not let anything go on.
    pub(crate) fn is_stale(&self) -> bool {
        self.shared.is_stale()
    }

    /// The same, for whoever waits for the database.
    pub(crate) fn hearing(&self) -> Hearing {
        Hearing(Arc::clone(&self.shared))
    }

    /// Replicas that have not been heard of for so long that they are gone.
    pub(crate) fn lost(&self) -> Vec<Lost> {
        let others = self.shared.others();
        let lost = others.iter().filter(|(_, sighting)| sighting.unchanged() >= LOST_AFTER);
        lost.map(|(id, sighting)| Lost { replica: id.clone(), mark: sighting.mark().to_owned() }).collect()
    }

    /// Waits until every other replica has carried out the order with this number, or has given itself up. Gives how
    /// many had not when the time was over. On a thread that may wait.
    pub(crate) fn everywhere(&self, pool: &PgPool, n: u64) -> Result<u64, StoreError> {
        let until = Instant::now() + STALE_AFTER + BEAT_TIME_MAX;
        let replica = &*self.shared.replica;
        loop {
            let asked = Instant::now();
            let behind: Vec<(String, String)> = pool.with(&Scope::Installation, |view| {
                view.rows(BEHIND, (replica, n), |row| Ok((row.get(0)?, row.get(1)?)))
            })?;
            let mut others = self.shared.others();
            let is_there = |(id, mark): &(String, String)| {
                let sighting = others.entry(id.clone()).or_insert_with(|| Sighting::of(mark));
                sighting.again(mark, asked) < STALE_AFTER
            };
            let there = behind.iter().map(is_there).filter(|there| *there).count();
            drop(others);
            match there {
                0 => return Ok(0),
                there if asked > until => return Ok(there as u64),
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

/// Whether the database hears this replica.
#[derive(Clone)]
pub(crate) struct Hearing(Arc<Beating>);

impl Hearing {
    /// Whether it does not, for too long.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.is_stale()
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

/// What beats: a session that listens, and how far this replica has come.
struct Heart {
    shared: Arc<Beating>,
    give: mpsc::Sender<CutOrder>,
    session: Option<Client>,
    carried_out: i64,
}

impl Heart {
    async fn run(mut self) {
        while !self.shared.ended.load(Ordering::Acquire) {
            let pause = match self.beat().await {
                Ok(true) => continue,
                Ok(false) => BEAT_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "the database does not hear this replica");
                    self.session = None;
                    BEAT_AGAIN
                }
            };
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Some(session) = self.session.take() {
            let _ = session.execute("DELETE FROM replica WHERE id = $1", &[&&*self.shared.replica]).await;
        }
    }

    /// Says that this replica is there and how far it has come, and carries out what was ordered since. Gives whether
    /// anything was.
    async fn beat(&mut self) -> Result<bool, StoreError> {
        if self.session.is_none() {
            self.listen().await?;
        }
        let Some(session) = &self.session else { return Ok(false) };
        let (began_ms, asked) = (up_ms(), Instant::now());
        let replica = &*self.shared.replica;
        let beating = async {
            let rows = session.query(BEAT, &[&replica, &self.carried_out]).await?;
            Ok::<_, StoreError>((rows, session.query(OTHERS, &[&replica]).await?))
        };
        let (rows, others) = tokio::time::timeout(BEAT_TIME_MAX, beating).await.map_err(|_| late())??;
        self.see(&others, asked)?;
        let still_in = rows.first().map(|row| row.try_get::<_, bool>(0)).transpose()?.unwrap_or(false);
        if !still_in || self.shared.is_stale() {
            // Others do not wait for it any more, or have settled what it had let out: it begins anew.
            self.order(Cut::Everything).await;
        }
        if !still_in {
            self.enter().await?;
            self.shared.heard(began_ms);
            return Ok(true);
        }
        self.shared.heard(began_ms);
        let mut any = false;
        for row in &rows {
            let Some(n) = row.try_get::<_, Option<i64>>(1)? else { continue };
            // What this replica ordered, whoever ordered it carries out here.
            if !row.try_get::<_, bool>(5)? {
                self.order(Cut::read(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?)).await;
            }
            self.carried_out = n;
            any = true;
        }
        Ok(any)
    }

    /// Notes who else is there.
    fn see(&self, rows: &[Row], asked: Instant) -> Result<(), StoreError> {
        let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let rows: Vec<(String, String)> = rows.collect::<Result<_, StoreError>>()?;
        let there: HashSet<&str> = rows.iter().map(|(id, _)| id.as_str()).collect();
        let mut others = self.shared.others();
        others.retain(|id, _| there.contains(id.as_str()));
        for (id, mark) in &rows {
            others.entry(id.clone()).or_insert_with(|| Sighting::of(mark)).again(mark, asked);
        }
        Ok(())
    }

    /// Gives an order, and waits until it was carried out.
    async fn order(&self, cut: Cut) {
        let (done, carried_out) = oneshot::channel();
        if self.give.send(CutOrder { cut, done: Some(done) }).await.is_ok() {
            // An error: whoever took it has gone, and with it what was under way.
            let _ = carried_out.await;
        }
    }

    /// Enters the list of replicas, with everything that was ordered before counted as carried out: nothing is under
    /// way here.
    async fn enter(&mut self) -> Result<(), StoreError> {
        if self.session.is_none() {
            self.listen().await?;
        }
        let Some(session) = &self.session else { return Ok(()) };
        // None that somebody has not carried out yet, whatever the clock of the database says.
        let old = format!(
            "DELETE FROM cut WHERE at < clock_timestamp() - INTERVAL '{KEEP_S} seconds'
                AND n <= (SELECT min(cuts) FROM replica)"
        );
        session.batch_execute(&old).await?;
        let row = session.query_one(JOIN, &[&&*self.shared.replica]).await?;
        self.carried_out = row.try_get(0)?;
        Ok(())
    }

    /// Opens the session that is told of orders as they are given.
    async fn listen(&mut self) -> Result<(), StoreError> {
        let options = [("search_path", SCHEMA), ("statement_timeout", "2000"), ("accredit.tenants", "*")];
        let connected = self.shared.address.connect("accredit replica", &options).await?;
        let (client, driver) = (connected.client, connected.driver);
        tokio::spawn(tell(driver, Arc::clone(&self.shared)));
        client.batch_execute("LISTEN accredit_cut").await?;
        self.session = Some(client);
        Ok(())
    }
}

/// Moves the bytes of the listening session and wakes the heart when something was ordered.
async fn tell(mut driver: Driver, shared: Arc<Beating>) {
    while let Some(message) = std::future::poll_fn(|context| driver.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(_)) => shared.wake.notify_one(),
            Ok(_) => {}
            Err(_) => break,
        }
    }
}

fn late() -> StoreError {
    Cause::Unreachable("it did not answer a beat in time".into()).into()
}
