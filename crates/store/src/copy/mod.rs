//! Copies of everything: a backup, what is restored from one, and the move from a file to a server.
//!
//! A backup is always a database file of the embedded store, whichever store it is of: it can be looked at with any tool for
//! SQLite, and restored into either. What is in the schema of that file is what is copied; there is no other list.
//! Everything here blocks: it runs on a thread where waiting harms nobody, inside a runtime.

mod check; //    the ledger of a copy, recomputed
mod into; //     a file into a server
mod out; //      a server into a file
mod tables; //   what there is to copy

mod backup;
mod migrate;
mod restore;

use std::path::PathBuf;

use crate::error::StoreError;
use crate::ledger::Fork;
use crate::postgres::{Address, SchemaError};
use crate::sqlite::MigrateError;
use crate::store::OpenError;

pub use backup::backup;
pub use migrate::migrate;
pub use restore::restore;

/// Under this key stands when and by which version a backup was taken: only in the backup.
const TAKEN: &str = "backup";
/// Under this key stands, from a restore until the fork is acknowledged, of when the backup was.
pub(crate) const RESTORED: &str = "restored";
/// Under this key stands where a database was moved to: it takes no work any more.
pub(crate) const MOVED: &str = "moved";

/// Where everything durable is.
#[derive(Debug, Clone)]
pub enum Database {
    /// In a file of the embedded store.
    File(PathBuf),
    /// In a database that replicas share.
    Server(Box<Address>),
}

/// How far a copy is, for who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the file that were copied, of about so many.
    Bytes(u64, u64),
    /// Rows that were copied, over all tables.
    Rows(u64),
    /// Entries of the ledger that were recomputed, of so many.
    Checked(u64, u64),
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Entries of the ledger.
    pub entries: u64,
    /// Those of them that are under its head: their root was recomputed.
    pub size: u64,
    /// Root of these.
    pub root: String,
    /// When the backup was taken, in milliseconds since 1970; nothing where the file does not say so.
    pub taken_at: Option<i64>,
}

/// Why nothing was copied. What was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is a file already.
    #[error("`{0}` is there already")]
    Exists(PathBuf),
    /// There is no such file.
    #[error("`{0}` is not there")]
    Missing(PathBuf),
    /// A file cannot be read or written.
    #[error("`{path}` cannot be read or written: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is no database of Accredit.
    #[error("`{0}` is not a database of Accredit")]
    Foreign(PathBuf),
    /// A server works on the database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server's database holds something already.
    #[error("the database {0} is not empty")]
    NotEmpty(String),
    /// The source does not continue the head kept outside it.
    #[error("{0}")]
    Forked(Box<Fork>),
    /// The file was written with another schema than the server has.
    #[error("the file has schema {file}, the server's database has {server}")]
    OtherSchema {
        /// Number of the newest migration in the file.
        file: i64,
        /// Number of the newest migration on the server.
        server: i64,
    },
    /// What was copied is not whole.
    #[error("the ledger is not whole: {0}")]
    NotWhole(String),
    /// The schema cannot be used.
    #[error(transparent)]
    Schema(#[from] MigrateError),
    /// The server's database cannot be worked on.
    #[error(transparent)]
    Server(#[from] SchemaError),
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

fn file_error(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> CopyError {
    let path = path.to_owned();
    move |error| CopyError::File { path, error }
}

/// SQLite takes the names of files as UTF-8.
fn unnamed(path: &std::path::Path) -> CopyError {
    let why = std::io::Error::new(std::io::ErrorKind::InvalidInput, "its name is no UTF-8");
    file_error(path)(why)
}

/// The name of a file with this ending added.
fn with_ending(path: &std::path::Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}
