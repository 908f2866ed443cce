//! A server into a file: every table at one moment of the server, while replicas go on working.

use rusqlite::{Connection, ToSql, params_from_iter};
use tokio::runtime::Handle;

use super::tables::{COUNTER, Kind, Table, tables};
use super::{CopyError, Progress};
use crate::error::StoreError;
use crate::ledger::entries::NewEntry;
use crate::postgres::{Address, SCHEMA, check_schema};
use crate::sql::{Conn, PgRow, PgSession};
use crate::view::View;

/// Rows fetched at a time.
const ROWS: usize = 2_000;
/// Entries that have arrived and have no place, in the order in which they would get one.
const UNPLACED: &str = "SELECT arrival.body FROM arrival, tree WHERE tree.id = 1
    AND (arrival.era, arrival.tx, arrival.n) > (tree.last_era, tree.last_tx, tree.last_n)
    ORDER BY arrival.era, arrival.tx, arrival.n";

/// Copies everything into a file that has its schema and no rows.
pub(super) fn into_file(
    address: &Address,
    file: &Connection,
    progress: &dyn Fn(Progress),
) -> Result<(), CopyError> {
    let runtime = Handle::current();
    let session = address.session(&runtime, "accredit backup", &[("search_path", SCHEMA)])?;
    runtime.block_on(check_schema(session.client()))?;
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL accredit.tenants = '*'")?;
    file.execute_batch("BEGIN")?;
    let mut rows = 0;
    for table in tables(file)? {
        copy(&session, file, &table, &mut rows, progress)?;
        if table.name == "entry" {
            unplaced(&session, file, &mut rows, progress)?;
        }
    }
    file.execute_batch("COMMIT")?;
    session.run("COMMIT")?;
    Ok(())
}

fn copy(
    session: &PgSession,
    file: &Connection,
    table: &Table,
    rows: &mut u64,
    progress: &dyn Fn(Progress),
) -> Result<(), CopyError> {
    let marks = vec!["?"; table.columns.len()].join(", ");
    let sql = format!("INSERT INTO \"{}\" ({}) VALUES ({marks})", table.name, table.list());
    let mut insert = file.prepare(&sql)?;
    let select = table.select(is_counted(session, table)?);
    each(session, &table.name, &select, |row| {
        let values = table.columns.iter().enumerate().map(|(at, column)| value(row, at, column.kind));
        let values = values.collect::<Result<Vec<_>, StoreError>>()?;
        insert.execute(params_from_iter(values.iter().map(|value| &**value)))?;
        *rows += 1;
        if rows.is_multiple_of(ROWS as u64) {
            progress(Progress::Rows(*rows));
        }
        Ok(())
    })
}

/// Whether the server counts the rows of a table as well: of some, it keeps no order.
fn is_counted(session: &PgSession, table: &Table) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_attribute
        WHERE attrelid = CAST(CAST($1 AS TEXT) AS REGCLASS) AND attname = $2 AND NOT attisdropped)";
    let rows = session.ask(sql, &[&table.name, &COUNTER])?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
}

/// Entries that are durable and wait for their place get it in the copy.
fn unplaced(
    session: &PgSession,
    file: &Connection,
    rows: &mut u64,
    progress: &dyn Fn(Progress),
) -> Result<(), CopyError> {
    let view = View::new(Conn::Sqlite(file));
    let mut seq = View::new(Conn::Postgres(session)).tree_head()?.size;
    each(session, "unplaced", UNPLACED, |row| {
        let bytes: Vec<u8> = row.try_get(0).map_err(StoreError::from)?;
        NewEntry::stored(bytes).map_err(StoreError::from)?.insert(&view, Some(seq))?;
        seq += 1;
        *rows += 1;
        Ok(())
    })?;
    progress(Progress::Rows(*rows));
    Ok(())
}

/// Calls `take` with each row of a query, which is never in memory as a whole.
fn each(
    session: &PgSession,
    name: &str,
    sql: &str,
    mut take: impl FnMut(&PgRow) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    session.run(&format!("DECLARE copy_{name} NO SCROLL CURSOR FOR {sql}"))?;
    let fetch = format!("FETCH {ROWS} FROM copy_{name}");
    loop {
        let page = session.ask(&fetch, &[])?;
        for row in &page {
            take(row)?;
        }
        if page.len() < ROWS {
            session.run(&format!("CLOSE copy_{name}"))?;
            return Ok(());
        }
    }
}

fn value(row: &PgRow, at: usize, kind: Kind) -> Result<Box<dyn ToSql>, StoreError> {
    Ok(match kind {
        Kind::Integer => Box::new(row.try_get::<_, Option<i64>>(at)?),
        Kind::Text => Box::new(row.try_get::<_, Option<String>>(at)?),
        Kind::Blob => Box::new(row.try_get::<_, Option<Vec<u8>>>(at)?),
    })
}
