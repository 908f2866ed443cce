//! The writer: one thread, the only connection that writes, one commit for everything that waits.
//!
//! What is answered with success was flushed to the disk before. When the database fails, everybody in the
//! batch is refused, what was derived from it in memory is dropped, and no work is taken until the file was
//! proved to be as it was last acknowledged.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use accredit_core::time::Timestamp;
use accredit_ledger::entry::INSTALL_TENANT;
use rusqlite::Connection;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::batch::{Batch, Known};
use crate::connection::open_writer;
use crate::error::{Cause, StoreError};
use crate::ledger::entries::NewEntry;
use crate::queue::Queue;
use crate::record::{RecordJob, Settled};
use crate::shared::Shared;
use crate::tx::now;
use crate::view::View;

/// Most commands in one transaction: bounds how long the first of them waits, and memory.
const BATCH_MAX: usize = 512;
/// How often a stopped store tries whether the database works again: resuming takes at most 10 s.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two tries that waiting commands cause.
const PROBE_GAP: Duration = Duration::from_millis(50);

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

pub(crate) struct Writer {
    path: PathBuf,
    shared: Arc<Shared>,
    queue: Arc<Queue<Command>>,
    /// `None` while the file is being doubted.
    connection: Option<Connection>,
    known: Known,
    /// Settlements and flushes that wait for the database: never dropped, at most one per open action.
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

impl Writer {
    pub(crate) fn new(
        path: PathBuf,
        connection: Connection,
        shared: Arc<Shared>,
        queue: Arc<Queue<Command>>,
    ) -> Result<Self, StoreError> {
        let known = Known::load(&connection)?;
        shared.stats.appended.store(known.next_seq(), Ordering::Relaxed);
        Ok(Self {
            path,
            shared,
            queue,
            connection: Some(connection),
            known,
            deferred: VecDeque::new(),
            stopped: None,
        })
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        loop {
            let timeout = self.stopped.as_ref().map(|_| PROBE_EVERY);
            let Some(taken) = self.queue.take(BATCH_MAX, timeout) else { break };
            if self.stopped.is_some() && !self.resumed() {
                self.refuse(taken);
                continue;
            }
            let commands: Vec<Command> = self.deferred.drain(..).chain(taken).collect();
            if !commands.is_empty() {
                self.batch(commands);
            }
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close();
        }
    }

    /// Everything in one transaction, then the answers.
    fn batch(&mut self, mut commands: Vec<Command>) {
        let Some(connection) = &self.connection else { return self.refuse(commands) };
        let started = Instant::now();
        match carry_out(connection, &mut self.known, &self.shared, &mut commands) {
            Ok(()) => {
                self.shared.stats.committed(commands.len(), started.elapsed());
                self.shared.stats.appended.store(self.known.next_seq(), Ordering::Relaxed);
                for command in commands {
                    match command {
                        Command::Change(change) => change.answer(Ok(())),
                        Command::Record(job) => job.answer(Ok(())),
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
        self.shared.set_health(Health::Stopped { cause: cause.clone(), since: now() });
        self.known.forget();
        // After anything but a full disk, what this connection believes about the file may be wrong.
        if cause != Cause::DiskFull {
            self.connection = None;
        }
        self.refuse(commands);
    }

    /// Refuses what can be refused and keeps what must not be lost.
    fn refuse(&mut self, commands: Vec<Command>) {
        let cause = self.stopped.as_ref().map_or(Cause::Closed, |s| s.cause.clone());
        for command in commands {
            match command {
                Command::Change(change) => change.answer(Err(cause.clone())),
                Command::Record(job) => job.answer(Err(cause.clone())),
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
                self.shared.set_health(Health::Working);
                true
            }
            Err(error) => {
                tracing::warn!("the database still does not take work: {error}");
                self.known.forget();
                if !matches!(error, StoreError::Unavailable(Cause::DiskFull)) {
                    self.connection = None;
                }
                false
            }
        }
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => reopen(&self.path)?,
        };
        let connection = self.connection.insert(connection);
        #[cfg(test)]
        self.shared.fault.limit_pages(connection);
        let Some(stopped) = &self.stopped else { return Ok(()) };
        let acknowledged = self.known.acknowledged();
        let mut known = Known::load(connection)?;
        if known.next_seq() < acknowledged {
            let missing = format!("entries {} to {acknowledged} are missing", known.next_seq());
            return Err(Cause::Corrupt(missing).into());
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let written = say_resumed(connection, &mut known, stopped);
        let written = written.and_then(|()| connection.execute_batch("COMMIT").map_err(StoreError::from));
        if written.is_err() && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        written?;
        known.committed();
        self.known = known;
        Ok(())
    }
}

/// Opens the file anew. Everything that is visible in it is written home and flushed before it is believed: a
/// flush that failed may have left pages that only look written.
fn reopen(path: &Path) -> Result<Connection, StoreError> {
    let connection = open_writer(path)?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        return Err(Cause::Other("readers hold the write-ahead log".into()).into());
    }
    Ok(connection)
}

/// The small real write that shows that the database works: the entry that says so.
fn say_resumed(connection: &Connection, known: &mut Known, stopped: &Stopped) -> Result<(), StoreError> {
    let view = View::new(connection);
    for (tenant, decision) in &stopped.in_doubt {
        crate::record::close_unanswered(&view, known, tenant, decision)?;
    }
    let mut body = Map::new();
    let reason = format!("{}; {} requests were refused meanwhile", stopped.cause, stopped.refused);
    body.insert("code".into(), Value::from(stopped.cause.code()));
    body.insert("reason".into(), Value::from(reason));
    let stopped_ms = u64::try_from(stopped.since.elapsed().as_millis()).unwrap_or(0);
    body.insert("stopped_ms".into(), Value::from(stopped_ms));
    let entry = NewEntry::new("audit.resumed", now(), INSTALL_TENANT, body)?;
    known.append(&view, &entry).map(|_| ())
}

/// Runs the commands and commits them; on any failure of the database nothing of them is left.
fn carry_out(
    connection: &Connection,
    known: &mut Known,
    shared: &Shared,
    commands: &mut [Command],
) -> Result<(), Cause> {
    #[cfg(test)]
    shared.fault.limit_pages(connection);
    connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| fatal(e.into()))?;
    let mut batch = Batch::new(connection, known);
    let ran = commands.iter_mut().try_for_each(|command| match command {
        Command::Change(change) => batch.write_usage().map_err(fatal).and_then(|()| change.run(&mut batch)),
        Command::Record(job) => job.run(&mut batch).map_err(fatal),
        Command::Settle(settled) => settled.run(&mut batch).map_err(fatal),
        Command::Flush(_) => Ok(()),
    });
    let counted = ran.and_then(|()| batch.write_usage().map_err(fatal));
    let committed = counted.and_then(|()| commit(connection, shared));
    if let Err(cause) = committed {
        // SQLite has rolled back by itself after some errors; where not, this does.
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        return Err(cause);
    }
    let (versions, usage) = batch.finish();
    shared.cells.publish(versions.iter().map(|(subject, version)| (subject, *version)));
    shared.usage.publish(usage);
    Ok(())
}

/// After this everything in the transaction is durable; after an error none of it may be relied on.
fn commit(connection: &Connection, shared: &Shared) -> Result<(), Cause> {
    #[cfg(test)]
    if let Some(cause) = shared.fault.at_commit(connection) {
        return Err(cause);
    }
    #[cfg(not(test))]
    let _ = shared;
    connection.execute_batch("COMMIT").map_err(|e| fatal(e.into()))
}

/// An error of the writer's own steps, which have no savepoint: the batch is lost.
fn fatal(error: StoreError) -> Cause {
    match error {
        StoreError::Unavailable(cause) => cause,
        other => Cause::Other(other.to_string()),
    }
}

/// A place for health that readers look at.
#[derive(Default)]
pub(crate) struct HealthCell(Mutex<Health>);

impl HealthCell {
    pub(crate) fn get(&self) -> Health {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}
