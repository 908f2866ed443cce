//! A writer: one thread, one connection, one commit for everything that waits.
//!
//! What is answered with success was flushed to the disk before. When the database fails, everybody in the
//! batch is refused, what was derived from it in memory is dropped, and no work is taken until the database was
//! proved to be as it was last acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use accredit_core::time::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::batch::{Batch, Known};
use crate::error::{Cause, StoreError};
use crate::once::OnceJob;
use crate::queue::Queue;
use crate::record::{RecordJob, Settled};
use crate::shared::Shared;
use crate::sql::Conn;
use crate::tx::now;

/// Most commands in one transaction: bounds how long the first of them waits, and memory.
const BATCH_MAX: usize = 512;
/// How often a stopped store tries whether the database works again: resuming takes at most 10 s.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two tries that waiting commands cause.
const PROBE_GAP: Duration = Duration::from_millis(50);

/// How soon a decision that waits for a change to end is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A change of a use case: its own code, run inside the transaction.
pub(crate) trait Change: Send {
    /// Runs it in a savepoint; whether it stays, or why the whole batch is lost.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Cause>;
    /// Answers whoever waits, after the commit.
    fn answer(self: Box<Self>, committed: Result<(), Cause>);
}

/// What the writer is asked to do.
pub(crate) enum Command {
    Change(Box<dyn Change>),
    Record(Box<RecordJob>),
    Settle(Box<Settled>),
    Once(Box<OnceJob>),
    /// Answered when everything queued before it is durable.
    Flush(oneshot::Sender<()>),
}

/// Whether the store takes work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// It does.
    #[default]
    Working,
    /// It does not, and tries by itself whether it can again.
    Stopped {
        /// Why.
        cause: Cause,
        /// Since when.
        since: Timestamp,
    },
}

/// A database as a writer uses it.
pub(crate) trait Database: Send + 'static {
    /// The one connection that this writer writes with.
    type Connection: Send;

    /// What it writes, as a word.
    const NAME: &'static str;

    /// Where its queries go.
    fn conn(connection: &Self::Connection) -> Conn<'_>;

    /// Opens a connection after a failure. What it shows from then on is what was made durable.
    fn reopen(&self) -> Result<Self::Connection, StoreError>;

    /// Whether the connection can be believed after this failure.
    fn outlives(&self, cause: &Cause) -> bool;

    /// What a writer knows of the database to begin with.
    fn known(&self, connection: &Self::Connection) -> Result<Known, StoreError>;

    /// Begins a transaction.
    fn begin(&self, connection: &Self::Connection) -> Result<(), StoreError>;

    /// After this everything in the transaction is durable; after an error none of it may be relied on.
    fn commit(&self, connection: &Self::Connection) -> Result<(), StoreError>;

    /// Undoes the transaction, if the failure has left one open.
    fn roll_back(&self, connection: &Self::Connection);

    /// Runs the commands in one transaction and commits it; on any failure nothing of them is left.
    fn carry_out(
        &self,
        connection: &Self::Connection,
        known: &mut Known,
        shared: &Shared,
        commands: &mut [Command],
    ) -> Result<(), Cause> {
        one_at_a_time(self, connection, known, shared, commands)
    }

    /// Closes the connection in good order.
    fn close(connection: Self::Connection);
}

pub(crate) struct Writer<D: Database> {
    database: D,
    shared: Arc<Shared>,
    queue: Arc<Queue<Command>>,
    /// `None` while what it shows is being doubted.
    connection: Option<D::Connection>,
    known: Known,
    /// Settlements and flushes that wait for the database, and decisions that wait for a change to end: never
    /// dropped, at most one per open action.
    deferred: VecDeque<Command>,
    stopped: Option<Stopped>,
}

struct Stopped {
    cause: Cause,
    since: Instant,
    tried: Instant,
    refused: u64,
    /// Decisions whose commit failed: whoever asked was refused, so nothing was sent for them.
    in_doubt: Vec<(String, String)>,
}

impl<D: Database> Writer<D> {
    pub(crate) fn new(
        database: D,
        connection: D::Connection,
        shared: Arc<Shared>,
        queue: Arc<Queue<Command>>,
    ) -> Result<Self, StoreError> {
        let known = database.known(&connection)?;
        show_appended(&shared, &known);
        let (connection, deferred) = (Some(connection), VecDeque::new());
        Ok(Self { database, shared, queue, connection, known, deferred, stopped: None })
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        loop {
            let Some(taken) = self.queue.take(BATCH_MAX, self.patience()) else { break };
            if self.stopped.is_some() && !self.resumed() {
                self.refuse(taken);
                continue;
            }
            let commands: Vec<Command> = self.deferred.drain(..).chain(taken).collect();
            if !commands.is_empty() {
                self.batch(commands);
            }
        }
        let left: Vec<Command> = self.deferred.drain(..).collect();
        if self.stopped.is_none() && !left.is_empty() {
            self.batch(left);
        }
        if let Some(connection) = self.connection.take() {
            D::close(connection);
        }
    }

    /// How long to wait for new commands; `None`: as long as it takes.
    fn patience(&self) -> Option<Duration> {
        match (&self.stopped, self.deferred.is_empty()) {
            (Some(_), _) => Some(PROBE_EVERY),
            (None, false) => Some(LOOK_AGAIN),
            (None, true) => None,
        }
    }

    /// Everything in one transaction, then the answers.
    fn batch(&mut self, mut commands: Vec<Command>) {
        let Some(connection) = &self.connection else { return self.refuse(commands) };
        let started = Instant::now();
        match self.database.carry_out(connection, &mut self.known, &self.shared, &mut commands) {
            Ok(()) => {
                self.shared.stats.committed(commands.len(), started.elapsed());
                show_appended(&self.shared, &self.known);
                for command in commands {
                    match command {
                        Command::Change(change) => change.answer(Ok(())),
                        Command::Record(job) if job.is_undecided() && job.may_wait() => {
                            self.deferred.push_back(Command::Record(job));
                        }
                        Command::Record(job) => job.answer(Ok(())),
                        Command::Once(job) => job.answer(Ok(())),
                        Command::Settle(_) => {}
                        Command::Flush(reply) => drop(reply.send(())),
                    }
                }
            }
            Err(cause) => self.stop(cause, commands),
        }
    }

    /// Takes no more work; refuses the batch that failed.
    fn stop(&mut self, cause: Cause, commands: Vec<Command>) {
        tracing::error!(cause = cause.code(), "the database does not take work: {cause}");
        self.shared.stats.stops.fetch_add(1, Ordering::Relaxed);
        let in_doubt = commands.iter().filter_map(|command| match command {
            Command::Record(job) => Some(job.key()),
            _ => None,
        });
        let since = Instant::now();
        let in_doubt = in_doubt.collect();
        self.stopped = Some(Stopped { cause: cause.clone(), since, tried: since, refused: 0, in_doubt });
        self.shared.set_health(D::NAME, Health::Stopped { cause: cause.clone(), since: now() });
        self.known.forget();
        self.connection = self.connection.take().filter(|_| self.database.outlives(&cause));
        self.refuse(commands);
    }

    /// Refuses what can be refused and keeps what must not be lost.
    fn refuse(&mut self, commands: Vec<Command>) {
        let cause = self.stopped.as_ref().map_or(Cause::Closed, |s| s.cause.clone());
        for command in commands {
            match command {
                Command::Change(change) => change.answer(Err(cause.clone())),
                Command::Record(job) => job.answer(Err(cause.clone())),
                Command::Once(job) => job.answer(Err(cause.clone())),
                kept @ (Command::Settle(_) | Command::Flush(_)) => {
                    self.deferred.push_back(kept);
                    continue;
                }
            }
            self.shared.stats.refused.fetch_add(1, Ordering::Relaxed);
            if let Some(stopped) = &mut self.stopped {
                stopped.refused += 1;
            }
        }
    }

    /// Tries whether the database works again; says so in the ledger when it does.
    fn resumed(&mut self) -> bool {
        let Some(stopped) = &mut self.stopped else { return true };
        if stopped.tried.elapsed() < PROBE_GAP {
            return false;
        }
        stopped.tried = Instant::now();
        match self.probe() {
            Ok(()) => {
                tracing::info!("the database takes work again");
                self.stopped = None;
                self.shared.set_health(D::NAME, Health::Working);
                true
            }
            Err(error) => {
                tracing::warn!("the database still does not take work: {error}");
                self.known.forget();
                let outlives = |e: &StoreError| match e {
                    StoreError::Unavailable(cause) => self.database.outlives(cause),
                    _ => false,
                };
                self.connection = self.connection.take().filter(|_| outlives(&error));
                false
            }
        }
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.reopen()?,
        };
        let connection = self.connection.insert(connection);
        let Some(stopped) = &self.stopped else { return Ok(()) };
        let mut known = self.database.known(connection)?;
        if let (Some(found), Some(acknowledged)) = (known.next(), self.known.acknowledged())
            && found < acknowledged
        {
            return Err(Cause::Corrupt(format!("entries {found} to {acknowledged} are missing")).into());
        }
        self.database.begin(connection)?;
        let written = say_resumed(D::conn(connection), &mut known, stopped);
        if let Err(error) = written.and_then(|()| self.database.commit(connection)) {
            self.database.roll_back(connection);
            return Err(error);
        }
        known.committed();
        self.known = known;
        Ok(())
    }
}

fn show_appended(shared: &Shared, known: &Known) {
    if let Some(appended) = known.acknowledged() {
        shared.stats.appended.store(appended, Ordering::Relaxed);
    }
}

/// The small real write that shows that the database works: the entry that says so.
fn say_resumed(conn: Conn<'_>, known: &mut Known, stopped: &Stopped) -> Result<(), StoreError> {
    let mut batch = Batch::new(conn, known);
    let mut tx = batch.tx();
    for (tenant, decision) in &stopped.in_doubt {
        crate::record::close_unanswered(&mut tx, tenant, decision)?;
    }
    let mut body = Map::new();
    let reason = format!("{}; {} requests were refused meanwhile", stopped.cause, stopped.refused);
    body.insert("code".into(), Value::from(stopped.cause.code()));
    body.insert("reason".into(), Value::from(reason));
    let stopped_ms = u64::try_from(stopped.since.elapsed().as_millis()).unwrap_or(0);
    body.insert("stopped_ms".into(), Value::from(stopped_ms));
    tx.append_install("audit.resumed", body)?;
    batch.keep(tx);
    Ok(())
}

/// Runs the commands one statement after another and commits them.
pub(crate) fn one_at_a_time<D: Database + ?Sized>(
    database: &D,
    connection: &D::Connection,
    known: &mut Known,
    shared: &Shared,
    commands: &mut [Command],
) -> Result<(), Cause> {
    database.begin(connection).map_err(fatal)?;
    let mut batch = Batch::new(D::conn(connection), known);
    let ran = commands.iter_mut().try_for_each(|command| match command {
        Command::Change(change) => batch.write_usage().map_err(fatal).and_then(|()| change.run(&mut batch)),
        Command::Record(job) => job.run(&mut batch).map_err(fatal),
        Command::Settle(settled) => settled.run(&mut batch).map_err(fatal),
        Command::Once(job) => job.run(&mut batch).map_err(fatal),
        Command::Flush(_) => Ok(()),
    });
    let counted = ran.and_then(|()| batch.write_usage().map_err(fatal));
    let committed = counted.and_then(|()| database.commit(connection).map_err(fatal));
    if let Err(cause) = committed {
        database.roll_back(connection);
        return Err(cause);
    }
    let (versions, usage) = batch.finish();
    shared.cells.publish(versions.iter().map(|(subject, version)| (subject, *version)));
    shared.usage.publish(usage);
    Ok(())
}

/// An error of the writer's own steps, which have no savepoint: the batch is lost.
pub(crate) fn fatal(error: StoreError) -> Cause {
    match error {
        StoreError::Unavailable(cause) => cause,
        other => Cause::Other(other.to_string()),
    }
}

/// The health of each writer, for readers to look at.
#[derive(Default)]
pub(crate) struct HealthCell(Mutex<BTreeMap<&'static str, Health>>);

impl HealthCell {
    /// That of the first writer that does not take work; work needs all of them.
    pub(crate) fn get(&self) -> Health {
        let writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.values().find(|health| **health != Health::Working).cloned().unwrap_or_default()
    }

    pub(crate) fn set(&self, writer: &'static str, health: Health) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(writer, health);
    }
}
