//! The schema of PostgreSQL and its history: made by the role that owns it, looked at by the service.
//!
//! A replica of the version before may still be running while a migration is applied, so migrations only add. Each
//! says from which one on a program can work with it: a program that is older than the database, but not older than
//! that, goes on.

use accredit_core::digest::Digest;
use tokio_postgres::Client;

use super::address::Address;
use crate::error::{Cause, StoreError};

/// The schema that everything is in.
pub(crate) const SCHEMA: &str = "accredit";
/// The oldest server that the schema works on: views that run with the rights of whoever asks.
const SERVER_VERSION_MIN: i32 = 150_000;
/// Key of the lock that keeps two migrations apart.
const MIGRATION_LOCK: i64 = 0x6163_6372_6d69_6772;

/// One step of the schema's history.
struct Migration {
    sql: &'static str,
    /// The number of the oldest migration that a program must know to work with this one.
    works_from: i64,
}

/// Every migration, in order; the first has number 1.
const MIGRATIONS: [Migration; 3] = [
    Migration { sql: include_str!("../../migrations/postgres/0001.sql"), works_from: 1 },
    // A program that knows only the first refuses what it cannot read: answers to requests.
    Migration { sql: include_str!("../../migrations/postgres/0002.sql"), works_from: 1 },
    Migration { sql: include_str!("../../migrations/postgres/0003.sql"), works_from: 1 },
];

/// What the service may do, table by table. Entries, their places and checkpoints are never changed or removed.
const GRANTS: [(&str, &str); 31] = [
    ("tenant", "SELECT, INSERT"),
    ("stamp", "SELECT, INSERT, UPDATE"),
    ("task", "SELECT, INSERT, UPDATE"),
    ("agent", "SELECT, INSERT, UPDATE"),
    ("agent_key", "SELECT, INSERT"),
    ("owner", "SELECT, INSERT, UPDATE"),
    ("resource", "SELECT, INSERT, UPDATE"),
    ("resource_endpoint", "SELECT, INSERT, DELETE"),
    ("credential", "SELECT, INSERT, UPDATE"),
    ("sealed", "SELECT, INSERT, UPDATE, DELETE"),
    ("meta", "SELECT, INSERT, UPDATE, DELETE"),
    ("signing_key", "SELECT, INSERT, UPDATE"),
    ("join_token", "SELECT, INSERT, UPDATE"),
    ("operator", "SELECT, INSERT, UPDATE"),
    ("operator_link", "SELECT, INSERT, UPDATE, DELETE"),
    ("operator_session", "SELECT, INSERT, UPDATE, DELETE"),
    ("used_once", "SELECT, INSERT, DELETE"),
    ("policy_set", "SELECT, INSERT"),
    ("policy_head", "SELECT, INSERT, UPDATE"),
    ("facts", "SELECT, INSERT"),
    ("usage", "SELECT, INSERT, UPDATE"),
    ("seen", "SELECT, INSERT"),
    ("open_action", "SELECT, INSERT, DELETE"),
    ("request", "SELECT, INSERT, UPDATE"),
    ("watched, profile, finding", "SELECT, INSERT, UPDATE"),
    ("arrival, leaf, entry, checkpoint, migration", "SELECT"),
    ("arrival, leaf, checkpoint", "INSERT"),
    ("cosignature", "SELECT, INSERT, UPDATE"),
    ("tile", "SELECT, INSERT, UPDATE"),
    ("tree, leader", "SELECT, UPDATE"),
    ("replica, cut, hold", "SELECT, INSERT, UPDATE, DELETE"),
];

/// Why a database cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The server is too old.
    #[error("the server is PostgreSQL {0}: version 15 or a newer one is needed")]
    ServerTooOld(String),
    /// Nobody has made the schema.
    #[error("the database has not been prepared")]
    NotPrepared,
    /// The schema is older than this program.
    #[error("the database has schema {found}, this version needs {known}")]
    Older {
        /// Number of the newest migration in the database.
        found: i64,
        /// Number of the newest migration known here.
        known: i64,
    },
    /// The schema is too new for this program.
    #[error(
        "the database has schema {found}, which works from {works_from} on, and this version knows {known}"
    )]
    Newer {
        /// Number of the newest migration in the database.
        found: i64,
        /// The oldest migration that a program must know to work with it.
        works_from: i64,
        /// Number of the newest migration known here.
        known: i64,
    },
    /// A migration was applied with another text than this version has.
    #[error("migration {0} of the database is not the one that this version has")]
    Changed(i64),
    /// The service signs in as somebody whom row-level security or grants do not bind.
    #[error("the role `{role}` {why}: the service needs a role of its own that row-level security binds")]
    TooMighty {
        /// The role.
        role: String,
        /// What it is.
        why: &'static str,
    },
    /// A table without row-level security.
    #[error("row-level security is not in force on table `{0}`")]
    Unprotected(String),
    /// The role that the service works as is not there.
    #[error("there is no role `{0}`: create it first (CREATE ROLE … LOGIN)")]
    NoRole(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for SchemaError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes the schema, or brings it up to date, as the role that owns it, and lets `service_role` work with it. Gives
/// the number of the newest migration.
///
/// # Errors
/// [`SchemaError`]; then nothing was changed.
pub async fn prepare(owner: &Address, service_role: &str) -> Result<i64, SchemaError> {
    let mut client = owner.connect("accredit prepare", &[("search_path", SCHEMA)]).await?.drive();
    server_is_new_enough(&client).await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    let sql = "SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = $1";
    let Some(role) = transaction.query_opt(sql, &[&service_role]).await? else {
        return Err(SchemaError::NoRole(service_role.to_owned()));
    };
    let role: String = role.get(0);
    transaction
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {SCHEMA};
            CREATE TABLE IF NOT EXISTS migration (
                number BIGINT PRIMARY KEY, checksum TEXT NOT NULL, works_from BIGINT NOT NULL
            );"
        ))
        .await?;
    let known = MIGRATIONS.len() as i64;
    let sql =
        "SELECT max(number), (SELECT works_from FROM migration ORDER BY number DESC LIMIT 1) FROM migration";
    let newest = transaction.query_one(sql, &[]).await?;
    if let (Some(found), Some(works_from)) = (newest.get::<_, Option<i64>>(0), newest.get(1))
        && found > known
    {
        return Err(SchemaError::Newer { found, works_from, known });
    }
    for (number, migration) in (1_i64..).zip(&MIGRATIONS) {
        let checksum = Digest::of(migration.sql.as_bytes()).to_string();
        let sql = "SELECT checksum FROM migration WHERE number = $1";
        match transaction.query_opt(sql, &[&number]).await?.map(|row| row.get::<_, String>(0)) {
            Some(applied) if applied == checksum => continue,
            Some(_) => return Err(SchemaError::Changed(number)),
            None => {}
        }
        transaction.batch_execute(migration.sql).await?;
        let sql = "INSERT INTO migration (number, checksum, works_from) VALUES ($1, $2, $3)";
        transaction.execute(sql, &[&number, &checksum, &migration.works_from]).await?;
    }
    let grants: String =
        GRANTS.iter().map(|(tables, rights)| format!("GRANT {rights} ON {tables} TO {role};\n")).collect();
    transaction.batch_execute(&format!("GRANT USAGE ON SCHEMA {SCHEMA} TO {role};\n{grants}")).await?;
    transaction.commit().await?;
    Ok(known)
}

/// Looks whether the service can work on the database, and is bound by it.
pub(crate) async fn check(client: &Client) -> Result<(), SchemaError> {
    server_is_new_enough(client).await?;
    role_is_bound(client).await?;
    let known = MIGRATIONS.len() as i64;
    let sql = "SELECT number, works_from FROM migration ORDER BY number DESC LIMIT 1";
    let newest = match client.query_opt(sql, &[]).await {
        Ok(row) => row.ok_or(SchemaError::NotPrepared)?,
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
            return Err(SchemaError::NotPrepared);
        }
        Err(error) => return Err(error.into()),
    };
    let (found, works_from): (i64, i64) = (newest.get(0), newest.get(1));
    if found < known {
        return Err(SchemaError::Older { found, known });
    }
    if works_from > known {
        return Err(SchemaError::Newer { found, works_from, known });
    }
    tables_are_protected(client).await
}

async fn server_is_new_enough(client: &Client) -> Result<(), SchemaError> {
    let sql =
        "SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('server_version')";
    let row = client.query_one(sql, &[]).await?;
    match row.get::<_, i32>(0) {
        number if number >= SERVER_VERSION_MIN => Ok(()),
        _ => Err(SchemaError::ServerTooOld(row.get(1))),
    }
}

/// Neither superuser nor exempt from row-level security nor owner of a table, directly or by membership.
async fn role_is_bound(client: &Client) -> Result<(), SchemaError> {
    let sql = "SELECT current_user::text, bool_or(rolsuper), bool_or(rolbypassrls), EXISTS (
            SELECT 1 FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
            WHERE s.nspname = $1 AND pg_has_role(current_user, c.relowner, 'MEMBER')
        ) FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER')";
    let row = client.query_one(sql, &[&SCHEMA]).await?;
    let role: String = row.get(0);
    let too_mighty = |why| Err(SchemaError::TooMighty { role: role.clone(), why });
    match (row.get(1), row.get(2), row.get(3)) {
        (true, _, _) => too_mighty("is a superuser"),
        (_, true, _) => too_mighty("is exempt from row-level security"),
        (_, _, true) => too_mighty("owns the tables"),
        (false, false, false) => Ok(()),
    }
}

async fn tables_are_protected(client: &Client) -> Result<(), SchemaError> {
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
        WHERE s.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity
            AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid))
        LIMIT 1";
    match client.query_opt(sql, &[&SCHEMA]).await? {
        Some(row) => Err(SchemaError::Unprotected(row.get(0))),
        None => Ok(()),
    }
}

impl From<SchemaError> for StoreError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Store(error) => error,
            other => Cause::Other(other.to_string()).into(),
        }
    }
}
