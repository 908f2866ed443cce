//! The store itself: opening, changing, reading, snapshots, recording and settling.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use accredit_core::decision::Decision;
use accredit_core::host::Endpoint;
use accredit_core::id::{RequestId, TaskId, TenantName};
use accredit_core::record::Recorded;
use accredit_ledger::head::Head;
use rusqlite::Connection;
use tokio::sync::{MutexGuard, Semaphore, oneshot};

use crate::change::ChangeJob;
use crate::connection::{Pool, create_file, open_writer};
use crate::error::{Cause, ChangeError, FactsError, RecordError, StoreError};
use crate::ledger::fork::{self, Fork};
use crate::ledger::head::HeadFile;
use crate::ledger::tree;
use crate::migrate::{MigrateError, migrate};
use crate::queue::{Queue, Refused};
use crate::record::{self, RecordJob, Settled};
use crate::shared::Shared;
use crate::snapshot::{self, Snapshot};
use crate::stamp::Stamp;
use crate::stats::StoreStats;
use crate::tx::Tx;
use crate::view::View;
use crate::writer::{Command, Health, Writer};

/// Connections that read facts for snapshots, so that long searches never delay a decision.
const FACTS_READERS: usize = 2;

/// Where the store keeps its files, and its bounds.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The database file.
    pub path: PathBuf,
    /// The head of the ledger, outside the database: best on another disk.
    pub head_path: PathBuf,
    /// Most reads at one time, snapshots not counted.
    pub readers: usize,
    /// Most commands that wait for the writer.
    pub queue_max: usize,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("`{0}` is in use by another process")]
    InUse(PathBuf),
    /// The lock file cannot be made.
    #[error("`{path}` cannot be locked: {error}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The database file cannot be made.
    #[error("`{path}` cannot be created: {error}")]
    Create {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The schema cannot be used.
    #[error(transparent)]
    Schema(#[from] MigrateError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer thread cannot be started.
    #[error("the writer cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Durable state. Clones are handles to the same store; the last one that goes closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue<Command>>,
    readers: Arc<Pool>,
    reading: Semaphore,
    facts: Pool,
    head_file: Arc<HeadFile>,
    /// The head outside as this store last read or wrote it. Held while the tree or the head moves.
    ledger: tokio::sync::Mutex<Option<Head>>,
    fork: Mutex<Option<Fork>>,
    writer: Option<JoinHandle<()>>,
    /// Held as long as the store is open: the lock that keeps other processes away.
    _lock: File,
}

impl Store {
    /// Opens the database, creates or migrates it, settles as unknown what an earlier run left without outcome,
    /// and compares it with the head outside.
    ///
    /// # Errors
    /// [`OpenError`]; a fork is not one: see [`Store::fork`].
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let lock = lock(&config.path)?;
        create_file(&config.path).map_err(|error| OpenError::Create { path: config.path.clone(), error })?;
        let mut connection = open_writer(&config.path)?;
        migrate(&mut connection)?;
        tree::create(&connection)?;
        let head_file = Arc::new(HeadFile::new(config.head_path));
        let (fork, head) = fork::find(&connection, &head_file)?;
        if fork.is_none() {
            recover(&connection)?;
        }
        let shared = Arc::new(Shared::default());
        show_sizes(&connection, &shared.stats)?;
        let queue = Arc::new(Queue::new(config.queue_max));
        let writer = Writer::new(config.path.clone(), connection, Arc::clone(&shared), Arc::clone(&queue))?;
        let thread = std::thread::Builder::new().name("accredit-writer".into());
        let closing = CloseOnExit(Arc::clone(&queue));
        let writer = thread.spawn(move || {
            let _closing = closing;
            writer.run();
        });
        let readers = config.readers.max(1);
        Ok(Self(Arc::new(Inner {
            shared,
            queue,
            readers: Arc::new(Pool::new(&config.path, readers)),
            reading: Semaphore::new(readers.min(Semaphore::MAX_PERMITS)),
            facts: Pool::new(&config.path, FACTS_READERS),
            head_file,
            ledger: tokio::sync::Mutex::new(head),
            fork: Mutex::new(fork),
            writer: Some(writer.map_err(OpenError::Thread)?),
            _lock: lock,
        })))
    }

    /// Makes a change: everything that `change` writes and appends becomes durable together, before this
    /// returns, or nothing of it does. An error of its own undoes it and disturbs nobody else.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change<R, E>(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<R, ChangeError<E>>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        if self.forked().is_some() {
            return Err(ChangeError::Unavailable(Cause::Forked));
        }
        self.change_although_forked(change).await
    }

    pub(crate) async fn change_although_forked<R, E>(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<R, ChangeError<E>>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        let (job, answer) = ChangeJob::new(change);
        match self.0.queue.try_push(Command::Change(Box::new(job))) {
            Ok(()) => answer.await.unwrap_or(Err(ChangeError::Closed)),
            Err(Refused::Full(_)) => Err(ChangeError::Full),
            Err(Refused::Closed(_)) => Err(ChangeError::Closed),
        }
    }

    /// Reads one moment of the database, on a thread where waiting harms nobody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let _permit = self.0.reading.acquire().await.map_err(|_| Cause::Closed)?;
        let pool = Arc::clone(&self.0.readers);
        let reading =
            tokio::task::spawn_blocking(move || pool.with(|connection| read(&View::new(connection))));
        reading.await.unwrap_or_else(|_| Err(Cause::Panicked.into()))
    }

    /// The facts for one decision about `endpoint` in the name of `task`: from memory when nothing has changed,
    /// else read from the database on this thread.
    ///
    /// # Errors
    /// [`FactsError`]; the caller must refuse.
    pub fn snapshot(
        &self,
        tenant: &TenantName,
        task: &TaskId,
        endpoint: &Endpoint,
    ) -> Result<Snapshot, FactsError> {
        let shared = &self.0.shared;
        if let Some(found) = snapshot::cached(shared, tenant, task, endpoint) {
            return Ok(found);
        }
        let moment =
            self.0.facts.with(|connection| snapshot::read(&View::new(connection), tenant, task, endpoint))?;
        snapshot::keep(shared, endpoint, moment)
    }

    /// Makes a decision durable, on the condition that nothing its facts rest on has changed since `stamp` and
    /// that the limits of its grant still have room. `request_id` names the request for approval, should the
    /// decision raise a new one.
    ///
    /// # Errors
    /// [`RecordError`]; then the action must not happen.
    pub async fn record(
        &self,
        decision: Decision,
        stamp: Stamp,
        request_id: RequestId,
    ) -> Result<Recorded, RecordError> {
        if self.forked().is_some() {
            return Err(RecordError::Unavailable(Cause::Forked.to_string()));
        }
        let (job, answer) = RecordJob::new(decision, stamp, request_id).map_err(|refused| {
            RecordError::Unavailable(format!("the ledger refuses the entry: {refused}"))
        })?;
        match self.0.queue.try_push(Command::Record(Box::new(job))) {
            Ok(()) => {}
            Err(Refused::Full(_)) => return Err(RecordError::Overloaded),
            Err(Refused::Closed(_)) => return Err(RecordError::Unavailable(Cause::Closed.to_string())),
        }
        let closed = || Err(RecordError::Unavailable(Cause::Closed.to_string()));
        answer.await.unwrap_or_else(|_| closed())
    }

    /// Queues the outcome of an action. Waits for room in the queue only, not for the disk; once queued it is kept
    /// until it is durable, or else the action is settled as unknown at the next start.
    pub async fn settle(&self, settled: Settled) {
        let queued = self.0.queue.push(Command::Settle(Box::new(settled))).await;
        if queued.is_err() {
            tracing::warn!("an outcome came after the store was closed: it will be settled as unknown");
        }
    }

    /// Waits until everything queued before is durable.
    pub async fn flushed(&self) {
        let (reply, durable) = oneshot::channel();
        if self.0.queue.push(Command::Flush(reply)).await.is_ok() {
            // An error: the store was closed meanwhile, nothing more becomes durable.
            let _ = durable.await;
        }
    }

    /// Whether the store takes work.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.shared.health()
    }

    /// Commands that wait for the writer, of [`StoreConfig::queue_max`].
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.queue.len()
    }

    /// Figures about the store.
    #[must_use]
    pub fn stats(&self) -> &StoreStats {
        &self.0.shared.stats
    }

    #[cfg(test)]
    pub(crate) fn fault(&self) -> &crate::fault::Fault {
        &self.0.shared.fault
    }

    /// The right to move the tree or the head: one at a time.
    pub(crate) async fn ledger(&self) -> MutexGuard<'_, Option<Head>> {
        self.0.ledger.lock().await
    }

    pub(crate) fn forked(&self) -> Option<Fork> {
        self.0.fork.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear_fork(&self) {
        *self.0.fork.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Works with the head file on a thread where waiting harms nobody.
    pub(crate) async fn with_head_file<R: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&HeadFile) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E> {
        let file = Arc::clone(&self.0.head_file);
        let working = tokio::task::spawn_blocking(move || work(&file));
        working.await.unwrap_or_else(|_| Err(StoreError::from(Cause::Panicked).into()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        let Some(writer) = self.writer.take() else { return };
        // A change may hold the last handle; its thread cannot wait for itself.
        if writer.thread().id() != std::thread::current().id() {
            let _ = writer.join();
        }
    }
}

/// Closes the queue when the writer ends, even by a panic, so that nobody waits for it for ever.
struct CloseOnExit(Arc<Queue<Command>>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.close();
        while self.0.take(usize::MAX, None).is_some() {}
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| OpenError::Lock { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
        Err(TryLockError::Error(error)) => Err(OpenError::Lock { path, error }),
    }
}

fn recover(connection: &Connection) -> Result<(), StoreError> {
    loop {
        let transaction = connection.unchecked_transaction()?;
        let mut tx = Tx::new(&transaction, View::new(&transaction).ledger_size()?);
        let settled = record::recover(&mut tx)?;
        drop(tx);
        transaction.commit()?;
        match settled {
            0 => return Ok(()),
            n => tracing::warn!("{n} actions of an earlier run had no outcome and were settled as unknown"),
        }
    }
}

fn show_sizes(connection: &Connection, stats: &StoreStats) -> Result<(), StoreError> {
    let view = View::new(connection);
    stats.integrated.store(view.tree_head()?.size, Ordering::Relaxed);
    stats.checkpointed.store(view.latest_checkpoint()?.map_or(0, |c| c.size), Ordering::Relaxed);
    Ok(())
}
