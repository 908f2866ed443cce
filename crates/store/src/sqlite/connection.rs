//! Connections: how the database file is opened, and the pools of readers.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::sql::Conn;
use crate::store::OpenError;
use crate::view::View;

/// How long SQLite waits for a lock that only a checkpoint of ours can hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept prepared per connection: more than the crate has.
const STATEMENTS_MAX: usize = 160;
/// Pages in the write-ahead log before they are copied home: 16 MB, a few ms of work at a time.
const CHECKPOINT_PAGES: u32 = 4_096;
/// Size that the write-ahead log is cut back to, in bytes.
const LOG_BYTES_KEPT: u32 = 64 * 1024 * 1024;

/// Creates the database file, readable by its owner alone; SQLite gives its companions the same rights.
pub(crate) fn create_file(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?.sync_all()?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Keeps other processes away from the database for as long as the file that this gives is open.
pub(crate) fn lock(path: &Path) -> Result<File, OpenError> {
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

/// Opens the connection that writes.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    Ok(connection)
}

/// Opens a file that may be another process's at work, and is not made: for copying it.
pub(crate) fn open_existing(path: &Path) -> Result<Option<Connection>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    Ok(Some(connection))
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Views and triggers of a file that somebody else wrote must not run functions with side effects.
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(())
}

/// Connections that only read, opened when first needed.
pub(crate) struct Pool {
    path: PathBuf,
    max: usize,
    inner: Mutex<Inner>,
    returned: Condvar,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Connection>,
    open: usize,
}

impl Pool {
    pub(crate) fn new(path: &Path, max: usize) -> Self {
        Self { path: path.to_owned(), max: max.max(1), inner: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `read` on a connection inside one read transaction, so that all its queries see one moment.
    pub(crate) fn with<R, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let lent = self.lend()?;
        let transaction = lent.connection().unchecked_transaction().map_err(StoreError::from)?;
        let result = read(&View::new(Conn::Sqlite(&transaction)));
        // A refusal leaves the connection as good as it was; a failure or a panic does not.
        if transaction.finish().is_ok() {
            lent.keep();
        }
        result
    }

    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = inner.idle.pop() {
                return Ok(Lent { pool: self, connection: Some(connection), keep: false.into() });
            }
            if inner.open < self.max {
                inner.open += 1;
                drop(inner);
                // Counted first, so that a failure to open is uncounted by the drop of what is lent.
                let mut lent = Lent { pool: self, connection: None, keep: false.into() };
                lent.connection = Some(open_reader(&self.path)?);
                return Ok(lent);
            }
            inner = self.returned.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A connection that goes back to its pool, or is closed when an error or a panic left it in doubt.
struct Lent<'p> {
    pool: &'p Pool,
    connection: Option<Connection>,
    keep: std::cell::Cell<bool>,
}

impl Lent<'_> {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a connection is lent until the drop")
    }

    fn keep(&self) {
        self.keep.set(true);
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|_| self.keep.get());
        let mut inner = self.pool.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match connection {
            Some(connection) => inner.idle.push(connection),
            None => inner.open -= 1,
        }
        self.pool.returned.notify_one();
    }
}
