//! The schema and its history: numbered SQL, applied once each, with a checksum of what was applied.
//!
//! A published migration is never edited: a database that has it would no longer be told apart.

use accredit_core::digest::Digest;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::StoreError;

/// Every migration, in order; the first has number 1.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/sqlite/0001.sql"),
    include_str!("../../migrations/sqlite/0002.sql"),
    include_str!("../../migrations/sqlite/0003.sql"),
];

/// Why the schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A later version of Accredit wrote this database.
    #[error(
        "the database has schema {found}, this version knows {known}: use the version that wrote it, or a later one"
    )]
    Newer {
        /// Number of the newest migration in the database.
        found: u64,
        /// Number of the newest migration known here.
        known: u64,
    },
    /// A migration was applied with another text than this version has.
    #[error("migration {0} of the database is not the one that this version has")]
    Changed(u64),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Brings the schema up to date, each migration in a transaction of its own.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), MigrateError> {
    apply(connection, &MIGRATIONS)
}

fn apply(connection: &mut Connection, migrations: &[&str]) -> Result<(), MigrateError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, checksum TEXT NOT NULL) STRICT",
    )?;
    let found: Option<u64> =
        connection.query_row("SELECT max(number) FROM migration", [], |row| row.get(0))?;
    let known = migrations.len() as u64;
    match found {
        Some(found) if found > known => return Err(MigrateError::Newer { found, known }),
        _ => {}
    }
    for (number, sql) in (1_u64..).zip(migrations) {
        let checksum = Digest::of(sql.as_bytes()).to_string();
        let transaction = connection.transaction()?;
        let applied: Option<String> = transaction
            .query_row("SELECT checksum FROM migration WHERE number = ?1", [number], |row| row.get(0))
            .optional()?;
        match applied {
            Some(applied) if applied == checksum => continue,
            Some(_) => return Err(MigrateError::Changed(number)),
            None => {}
        }
        transaction.execute_batch(sql)?;
        transaction
            .execute("INSERT INTO migration (number, checksum) VALUES (?1, ?2)", (number, checksum))?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: FLT-20
    #[test]
    fn a_schema_is_applied_once_and_a_newer_or_changed_one_is_refused() {
        let mut connection = Connection::open_in_memory().expect("memory");
        let (one, two) = ("CREATE TABLE a (x)", "CREATE TABLE b (x)");
        for _ in 0..2 {
            apply(&mut connection, &[one, two]).expect("applies, and again does nothing");
        }
        let newer = apply(&mut connection, &[one]).expect_err("older program");
        assert!(matches!(newer, MigrateError::Newer { found: 2, known: 1 }));
        let changed = apply(&mut connection, &[one, "CREATE TABLE c (x)"]).expect_err("other text");
        assert!(matches!(changed, MigrateError::Changed(2)));
        let broken = apply(&mut connection, &[one, two, "CREATE TABLE d (x); CREATE TABLE a (x)"]);
        assert!(broken.is_err());
        let half: Option<i64> = connection
            .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'd'", [], |row| row.get(0))
            .optional()
            .expect("a query");
        assert_eq!(half, None, "nothing of a failed migration is left");
    }
}
