//! The store itself: opening, changing, reading, snapshots, recording and settling.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use accredit_core::decision::Decision;
use accredit_core::digest::Digest;
use accredit_core::host::Endpoint;
use accredit_core::id::{RequestId, TaskId, TenantName};
use accredit_core::record::Recorded;
use accredit_core::time::Timestamp;
use accredit_ledger::head::Head;
use rusqlite::Connection;
use tokio::sync::{MutexGuard, Semaphore, oneshot};

use crate::change::{ChangeJob, Changed};
use crate::copy::MOVED;
use crate::error::{Cause, ChangeError, FactsError, RecordError, StoreError};
use crate::ledger::fork::{self, Fork, ForkKind};
use crate::ledger::head::HeadFile;
use crate::ledger::tree;
use crate::once::OnceJob;
use crate::postgres::{Address, CutOrder, Lost, Postgres, SchemaError};
use crate::queue::{Queue, Refused};
use crate::record::{self, RecordJob, Settled};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::snapshot::{self, Snapshot};
use crate::sql::Conn;
use crate::sqlite::{MigrateError, Pool, Sqlite, create_file, lock, migrate, open_writer};
use crate::stamp::Stamp;
use crate::stats::StoreStats;
use crate::tx::Tx;
use crate::view::View;
use crate::writer::{Command, Database, Health, Writer};

/// Connections that read facts for snapshots, so that long searches never delay a decision.
const FACTS_READERS: usize = 2;

/// Where the embedded store keeps its files, and its bounds.
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

/// Where a shared store is, and its bounds.
#[derive(Debug, Clone)]
pub struct SharedConfig {
    /// The database.
    pub address: Address,
    /// The head of the ledger as this replica knows it, outside the database.
    pub head_path: PathBuf,
    /// Most reads at one time.
    pub readers: usize,
    /// Most commands that wait for each writer.
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
    /// Everything was moved elsewhere: this is what was there before.
    #[error("the database was moved to {0}")]
    Moved(String),
    /// The schema of the embedded database cannot be used.
    #[error(transparent)]
    Schema(#[from] MigrateError),
    /// The shared database cannot be worked on.
    #[error(transparent)]
    Shared(#[from] SchemaError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A writer thread cannot be started.
    #[error("the writer cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Durable state. Clones are handles to the same store; the last one that goes closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    scope: Scope,
}

struct Inner {
    shared: Arc<Shared>,
    /// What waits for the writer of changes, and for that of decisions and outcomes: one and the same for a database
    /// with one writer.
    changes: Arc<Queue<Command>>,
    records: Arc<Queue<Command>>,
    backend: Arc<Backend>,
    reading: Semaphore,
    head_file: Arc<HeadFile>,
    /// The head outside as this store last read or wrote it. Held while the tree or the head moves.
    ledger: tokio::sync::Mutex<Option<Head>>,
    fork: Mutex<Option<Fork>>,
    writers: Vec<JoinHandle<()>>,
}

/// The database behind the store.
pub(crate) enum Backend {
    /// A file of this process.
    Sqlite(Embedded),
    /// A server that other replicas work on as well.
    Postgres(Box<Postgres>),
}

pub(crate) struct Embedded {
    readers: Pool,
    facts: Pool,
    /// Held as long as the store is open: the lock that keeps other processes away.
    _lock: File,
}

impl Backend {
    fn read<R, E: From<StoreError>>(
        &self,
        scope: &Scope,
        read: impl FnOnce(&View<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        match self {
            Self::Sqlite(embedded) => embedded.readers.with(read),
            Self::Postgres(postgres) => postgres.pool().with(scope, read),
        }
    }
}

impl Store {
    /// Opens the embedded database, creates or migrates it, settles as unknown what an earlier run left without
    /// outcome, and compares it with the head outside.
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
        let view = View::new(Conn::Sqlite(&connection));
        if let Some(to) = view.meta_get(MOVED)? {
            return Err(OpenError::Moved(String::from_utf8_lossy(&to).into_owned()));
        }
        let (fork, head) = fork::find(&view, &head_file)?;
        if fork.is_none() {
            recover(&connection)?;
        }
        let shared = Arc::new(Shared::default());
        show_sizes(&view, &shared.stats)?;
        let database = Sqlite::new(config.path.clone(), Arc::clone(&shared));
        let (queue, writer) =
            start_writer("accredit-writer", database, connection, &shared, config.queue_max)?;
        let readers = config.readers.max(1);
        let embedded = Embedded {
            readers: Pool::new(&config.path, readers),
            facts: Pool::new(&config.path, FACTS_READERS),
            _lock: lock,
        };
        Ok(Self::new(Inner {
            shared,
            changes: Arc::clone(&queue),
            records: queue,
            backend: Arc::new(Backend::Sqlite(embedded)),
            reading: Semaphore::new(readers.min(Semaphore::MAX_PERMITS)),
            head_file,
            ledger: tokio::sync::Mutex::new(head),
            fork: Mutex::new(fork),
            writers: vec![writer],
        }))
    }

    /// Joins the replicas that work on a shared database, and compares it with the head that this replica knows.
    ///
    /// # Errors
    /// [`OpenError`]; a fork is not one: see [`Store::fork`].
    pub async fn connect(config: SharedConfig) -> Result<Self, OpenError> {
        let postgres = Postgres::join(config.address).await?;
        let runtime = tokio::runtime::Handle::current();
        let opening = tokio::task::spawn_blocking(move || {
            let head_file = Arc::new(HeadFile::new(config.head_path));
            let shared = Arc::new(Shared::default());
            let (fork, head) = postgres.pool().with(&Scope::Installation, |view| {
                show_sizes(view, &shared.stats)?;
                fork::find(view, &head_file)
            })?;
            // A replica that is new begins with what it finds; those that were there before it know better.
            let fork = fork.filter(|fork| fork.kind != ForkKind::Missing);
            let (changes, records) = postgres.writers(&runtime);
            let (for_changes, for_records) = (changes.reopen()?, records.reopen()?);
            let max = config.queue_max;
            let (changes, first) = start_writer("accredit-changes", changes, for_changes, &shared, max)?;
            let (records, second) = start_writer("accredit-records", records, for_records, &shared, max)?;
            Ok::<_, OpenError>(Self::new(Inner {
                shared,
                changes,
                records,
                backend: Arc::new(Backend::Postgres(Box::new(postgres))),
                reading: Semaphore::new(config.readers.clamp(1, Semaphore::MAX_PERMITS)),
                head_file,
                ledger: tokio::sync::Mutex::new(head),
                fork: Mutex::new(fork),
                writers: vec![first, second],
            }))
        });
        opening.await.unwrap_or_else(|_| Err(StoreError::from(Cause::Panicked).into()))
    }

    fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), scope: Scope::Installation }
    }

    /// The same store, in the scope of one tenant: where the database knows row-level security, nothing else is seen
    /// or written through this handle.
    #[must_use]
    pub fn of_tenant(&self, tenant: &TenantName) -> Self {
        Self { inner: Arc::clone(&self.inner), scope: Scope::Tenant(tenant.clone()) }
    }

    /// The same store, for what the installation does as a whole.
    #[must_use]
    pub fn of_installation(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), scope: Scope::Installation }
    }

    /// Makes a change: everything that `change` writes and appends becomes durable together, before this
    /// returns, or nothing of it does. An error of its own undoes it and disturbs nobody else. What it orders other
    /// replicas to cut, they have cut when this returns.
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
        self.change_and_cut(change).await.map(|(value, _)| value)
    }

    /// The same, and says how many other replicas may still go on with what the change cut, because they were not heard
    /// of: none unless the database fails.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_and_cut<R, E>(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<(R, u64), ChangeError<E>>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        if self.forked().is_some() {
            return Err(ChangeError::Unavailable(Cause::Forked));
        }
        let Changed { value, order } = self.queue_change(change).await?;
        let Some(order) = order else { return Ok((value, 0)) };
        Ok((value, self.everywhere(order).await))
    }

    pub(crate) async fn change_although_forked<R, E>(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<R, ChangeError<E>>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        self.queue_change(change).await.map(|changed| changed.value)
    }

    async fn queue_change<R, E>(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<Changed<R>, ChangeError<E>>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        let (job, answer) = ChangeJob::new(self.scope.clone(), change);
        match self.inner.changes.try_push(Command::Change(Box::new(job))) {
            Ok(()) => answer.await.unwrap_or(Err(ChangeError::Closed)),
            Err(Refused::Full(_)) => Err(ChangeError::Full),
            Err(Refused::Closed(_)) => Err(ChangeError::Closed),
        }
    }

    /// Waits until every other replica has carried out the order with this number, or has given itself up. Gives how
    /// many may not have.
    async fn everywhere(&self, order: u64) -> u64 {
        let backend = Arc::clone(&self.inner.backend);
        let waiting = tokio::task::spawn_blocking(move || match &*backend {
            Backend::Sqlite(_) => Ok(0),
            Backend::Postgres(postgres) => postgres.replicas().everywhere(postgres.pool(), order),
        });
        match waiting.await {
            Ok(Ok(behind)) => behind,
            // The database fails: others cannot record anything either, and cut by themselves what they are not heard
            // about.
            Ok(Err(error)) => {
                tracing::error!(%error, "it is not known whether other replicas have cut what they were ordered to");
                1
            }
            Err(_) => 1,
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
        let _permit = self.inner.reading.acquire().await.map_err(|_| Cause::Closed)?;
        let (backend, scope) = (Arc::clone(&self.inner.backend), self.scope.clone());
        let reading = tokio::task::spawn_blocking(move || backend.read(&scope, read));
        reading.await.unwrap_or_else(|_| Err(Cause::Panicked.into()))
    }

    /// The facts for one decision about `endpoint` in the name of `task`: from memory when nothing is known to have
    /// changed, else read from the database.
    ///
    /// # Errors
    /// [`FactsError`]; the caller must refuse.
    pub async fn snapshot(
        &self,
        tenant: &TenantName,
        task: &TaskId,
        endpoint: &Endpoint,
    ) -> Result<Snapshot, FactsError> {
        let shared = &self.inner.shared;
        if let Some(found) = snapshot::cached(shared, tenant, task, endpoint) {
            return Ok(found);
        }
        let moment = match &*self.inner.backend {
            // A read of a file that is in memory: microseconds, on this thread.
            Backend::Sqlite(embedded) => {
                embedded.facts.with(|view| snapshot::read(view, tenant, task, endpoint))?
            }
            Backend::Postgres(_) => {
                let _permit =
                    self.inner.reading.acquire().await.map_err(|_| StoreError::from(Cause::Closed))?;
                let (backend, scope) = (Arc::clone(&self.inner.backend), Scope::Tenant(tenant.clone()));
                let (tenant, task, endpoint) = (tenant.clone(), task.clone(), endpoint.clone());
                let reading = tokio::task::spawn_blocking(move || {
                    backend.read(&scope, |view| snapshot::read(view, &tenant, &task, &endpoint))
                });
                reading.await.map_err(|_| StoreError::from(Cause::Panicked))??
            }
        };
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
        let queue = if job.is_change() { &self.inner.changes } else { &self.inner.records };
        match queue.try_push(Command::Record(Box::new(job))) {
            Ok(()) => {}
            Err(Refused::Full(_)) => return Err(RecordError::Overloaded),
            Err(Refused::Closed(_)) => return Err(RecordError::Unavailable(Cause::Closed.to_string())),
        }
        let closed = || Err(RecordError::Unavailable(Cause::Closed.to_string()));
        answer.await.unwrap_or_else(|_| closed())
    }

    /// Uses something up, such as a proof: `true` the first time, whichever replica it comes to, then `false` until
    /// after it has expired and was forgotten.
    ///
    /// # Errors
    /// [`StoreError`]; then it must not be taken.
    pub async fn use_once(
        &self,
        kind: &'static str,
        hash: &Digest,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (job, answer) = OnceJob::new(kind, hash, expires_at);
        match self.inner.records.try_push(Command::Once(Box::new(job))) {
            Ok(()) => Ok(answer.await.unwrap_or(Err(Cause::Closed))?),
            Err(Refused::Full(_)) => Err(Cause::Other("too much to do".into()).into()),
            Err(Refused::Closed(_)) => Err(Cause::Closed.into()),
        }
    }

    /// Queues the outcome of an action. Waits for room in the queue only, not for the disk; once queued it is kept
    /// until it is durable, or else the action is settled as unknown at the next start.
    pub async fn settle(&self, settled: Settled) {
        let queued = self.inner.records.push(Command::Settle(Box::new(settled))).await;
        if queued.is_err() {
            tracing::warn!("an outcome came after the store was closed: it will be settled as unknown");
        }
    }

    /// Waits until everything queued before is durable.
    pub async fn flushed(&self) {
        for queue in [&self.inner.changes, &self.inner.records] {
            let (reply, durable) = oneshot::channel();
            if queue.push(Command::Flush(reply)).await.is_ok() {
                // An error: the store was closed meanwhile, nothing more becomes durable.
                let _ = durable.await;
            }
        }
    }

    /// The orders to cut that other replicas give, for the one that carries them out; none where there are no others.
    #[must_use]
    pub fn cut_orders(&self) -> Option<tokio::sync::mpsc::Receiver<CutOrder>> {
        match &*self.inner.backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(postgres) => postgres.replicas().orders(),
        }
    }

    /// Replicas that are gone: what they left open is to be settled.
    #[must_use]
    pub fn lost_replicas(&self) -> Vec<Lost> {
        match &*self.inner.backend {
            Backend::Sqlite(_) => Vec::new(),
            Backend::Postgres(postgres) => postgres.replicas().lost(),
        }
    }

    /// Whether other replicas work on the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(&*self.inner.backend, Backend::Postgres(_))
    }

    /// Whether this replica has not been heard of for so long that nothing may go on.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        match &*self.inner.backend {
            Backend::Sqlite(_) => false,
            Backend::Postgres(postgres) => postgres.replicas().is_stale(),
        }
    }

    /// Whether the store takes work.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.shared.health()
    }

    /// Commands that wait for a writer, of [`StoreConfig::queue_max`].
    #[must_use]
    pub fn queued(&self) -> usize {
        self.inner.changes.len().max(self.inner.records.len())
    }

    /// Figures about the store.
    #[must_use]
    pub fn stats(&self) -> &StoreStats {
        &self.inner.shared.stats
    }

    #[cfg(test)]
    pub(crate) fn fault(&self) -> &crate::fault::Fault {
        &self.inner.shared.fault
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.inner.backend
    }

    /// The right to move the tree or the head: one at a time.
    pub(crate) async fn ledger(&self) -> MutexGuard<'_, Option<Head>> {
        self.inner.ledger.lock().await
    }

    pub(crate) fn forked(&self) -> Option<Fork> {
        self.inner.fork.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_fork(&self, fork: Option<Fork>) {
        *self.inner.fork.lock().unwrap_or_else(PoisonError::into_inner) = fork;
    }

    /// Works with the head file on a thread where waiting harms nobody.
    pub(crate) async fn with_head_file<R: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&HeadFile) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E> {
        let file = Arc::clone(&self.inner.head_file);
        let working = tokio::task::spawn_blocking(move || work(&file));
        working.await.unwrap_or_else(|_| Err(StoreError::from(Cause::Panicked).into()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.changes.close();
        self.records.close();
        for writer in self.writers.drain(..) {
            // A change may hold the last handle; its thread cannot wait for itself.
            if writer.thread().id() != std::thread::current().id() {
                let _ = writer.join();
            }
        }
    }
}

/// Starts the thread of a writer, with its queue.
fn start_writer<D: Database>(
    name: &str,
    database: D,
    connection: D::Connection,
    shared: &Arc<Shared>,
    queue_max: usize,
) -> Result<(Arc<Queue<Command>>, JoinHandle<()>), OpenError> {
    let queue = Arc::new(Queue::new(queue_max));
    let writer = Writer::new(database, connection, Arc::clone(shared), Arc::clone(&queue))?;
    let closing = CloseOnExit(Arc::clone(&queue));
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        let _closing = closing;
        writer.run();
    });
    Ok((queue, thread.map_err(OpenError::Thread)?))
}

/// Closes the queue when the writer ends, even by a panic, so that nobody waits for it for ever.
struct CloseOnExit(Arc<Queue<Command>>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.close();
        while self.0.take(usize::MAX, None).is_some() {}
    }
}

pub(crate) fn recover(connection: &Connection) -> Result<(), StoreError> {
    loop {
        let transaction = connection.unchecked_transaction()?;
        let conn = Conn::Sqlite(&transaction);
        let mut tx = Tx::new(conn, Some(View::new(conn).ledger_size()?));
        let settled = record::recover(&mut tx)?;
        drop(tx);
        transaction.commit()?;
        match settled {
            0 => return Ok(()),
            n => tracing::warn!("{n} actions of an earlier run had no outcome and were settled as unknown"),
        }
    }
}

fn show_sizes(view: &View<'_>, stats: &StoreStats) -> Result<(), StoreError> {
    stats.integrated.store(view.tree_head()?.size, Ordering::Relaxed);
    stats.checkpointed.store(view.latest_checkpoint()?.map_or(0, |c| c.size), Ordering::Relaxed);
    Ok(())
}
