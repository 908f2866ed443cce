//! SQLite as the writer uses it.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;

use super::connection::open_writer;
use crate::batch::Known;
use crate::error::{Cause, StoreError};
use crate::shared::Shared;
use crate::sql::Conn;
use crate::view::View;
use crate::writer::Database;

/// The file, and where its tests inject their faults.
pub(crate) struct Sqlite {
    path: PathBuf,
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests inject faults"))]
    shared: Arc<Shared>,
}

impl Sqlite {
    pub(crate) const fn new(path: PathBuf, shared: Arc<Shared>) -> Self {
        Self { path, shared }
    }
}

impl Database for Sqlite {
    type Connection = Connection;

    const NAME: &'static str = "everything";

    fn conn(connection: &Connection) -> Conn<'_> {
        Conn::Sqlite(connection)
    }

    /// Everything that is visible in the file is written home and flushed before it is believed: a flush that failed
    /// may have left pages that only look written.
    fn reopen(&self) -> Result<Connection, StoreError> {
        let connection = open_writer(&self.path)?;
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy != 0 {
            return Err(Cause::Other("readers hold the write-ahead log".into()).into());
        }
        Ok(connection)
    }

    /// After anything but a full disk, what a connection believes about the file may be wrong.
    fn outlives(&self, cause: &Cause) -> bool {
        *cause == Cause::DiskFull
    }

    fn known(&self, connection: &Connection) -> Result<Known, StoreError> {
        Known::of_one_writer(&View::new(Conn::Sqlite(connection)))
    }

    fn begin(&self, connection: &Connection) -> Result<(), StoreError> {
        #[cfg(test)]
        self.shared.fault.limit_pages(connection);
        Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&self, connection: &Connection) -> Result<(), StoreError> {
        #[cfg(test)]
        if let Some(cause) = self.shared.fault.at_commit(connection) {
            return Err(cause.into());
        }
        Ok(connection.execute_batch("COMMIT")?)
    }

    /// SQLite has rolled back by itself after some errors; where not, this does.
    fn roll_back(&self, connection: &Connection) {
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }

    fn close(connection: Connection) {
        let _ = connection.close();
    }
}
