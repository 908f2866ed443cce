//! One way of asking either database: the same texts, the same values, the same rows.
//!
//! A query is written once, with `?1` or `?` for its parameters, in the part of SQL that both understand. What only
//! one of them can do (schema, locks, many rows in one statement) stands in the modules of that database.

mod postgres; // a session of PostgreSQL, as a thread that may wait uses it
mod sqlite; //   a connection to SQLite
mod value; //    what goes in and comes out

pub(crate) use postgres::{PgRow, PgSession};
pub(crate) use value::{Column, Owned, Params, Value};

use crate::error::StoreError;

/// Where queries go.
#[derive(Clone, Copy)]
pub(crate) enum Conn<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c PgSession),
}

/// One row of an answer.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

impl Row<'_> {
    /// The value of a column, counted from 0.
    pub(crate) fn get<T: Column>(&self, at: usize) -> Result<T, StoreError> {
        T::read(self, at)
    }

    fn integer(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    fn text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    fn blob(&self, at: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => Ok(row.try_get(at)?),
        }
    }
}

impl Conn<'_> {
    /// Calls `read` with each row until it says that it has seen enough.
    pub(crate) fn each(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<Go, StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => sqlite::each(connection, sql, params, read),
            Self::Postgres(session) => session.each(sql, params, read),
        }
    }

    /// Changes rows and says how many.
    pub(crate) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        match self {
            Self::Sqlite(connection) => sqlite::execute(connection, sql, params),
            Self::Postgres(session) => session.execute(sql, params),
        }
    }

    /// Runs statements that take nothing and give nothing, such as `SAVEPOINT`.
    pub(crate) fn run(&self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Self::Postgres(session) => session.run(sql),
        }
    }
}

/// Whether more rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    On,
    Enough,
}
