//! A file into a server: every table in one transaction, into a database that was prepared and is empty.

use rusqlite::Connection;
use rusqlite::types::{FromSql as _, ValueRef};
use tokio::runtime::Handle;
use tokio_postgres::types::ToSql;

use super::check::check;
use super::tables::{Kind, Table, tables};
use super::{Copied, CopyError, Progress};
use crate::error::StoreError;
use crate::postgres::{Address, Placed, SCHEMA, alone, check_schema, place};
use crate::sql::{Conn, PgSession};
use crate::view::View;

/// Rows in one statement.
const ROWS: usize = 1_000;
/// Who left open what was open when the copy was made: nobody hears of it any more, so that somebody else settles it.
const LEFT_BY: &str = "r_copied";

/// A copy that is whole and checked, and not there yet.
pub(super) struct Ready {
    session: PgSession,
    pub(super) copied: Copied,
}

impl Ready {
    /// Makes it durable.
    pub(super) fn commit(self) -> Result<Copied, StoreError> {
        let Self { session, copied } = self;
        // Everything at once may take longer than any answer that is waited for elsewhere.
        Handle::current().block_on(session.client().batch_execute("COMMIT"))?;
        Ok(copied)
    }
}

/// Copies everything, and recomputes what arrived. `marks` are put in beside what the file holds, under their keys;
/// those of the file that say what it was are left out.
pub(super) fn into_server(
    file: &Connection,
    address: &Address,
    marks: &[(&str, &[u8])],
    progress: &dyn Fn(Progress),
) -> Result<Ready, CopyError> {
    let runtime = Handle::current();
    let options = [("search_path", SCHEMA), ("accredit.replica", LEFT_BY), ("accredit.era", "0")];
    let session = address.session(&runtime, "accredit restore", &options)?;
    runtime.block_on(check_schema(session.client()))?;
    session.run("SET synchronous_commit = on")?;
    session.run(&format!("BEGIN; SET LOCAL accredit.tenants = '*'; {}", alone()))?;
    must_be_empty(&session, address)?;
    same_schema(file, &session)?;
    session.tell(
        // Nothing goes on there that could be cut: no revocation waits for it.
        "INSERT INTO replica (id, seen, cuts) VALUES ($1, TIMESTAMPTZ '2000-01-01 00:00:00+00', $2)",
        &[&LEFT_BY, &i64::MAX],
    )?;
    let mut copying = Copying { file, session: &session, rows: 0, progress, last: None };
    for table in tables(file)? {
        match table.name.as_str() {
            "entry" => copying.entries()?,
            "tree" => {}
            _ => copying.table(&table)?,
        }
    }
    copying.tree()?;
    for key in [super::TAKEN, super::RESTORED, super::MOVED] {
        session.tell("DELETE FROM meta WHERE key = $1", &[&key])?;
    }
    for (key, value) in marks {
        session.tell("INSERT INTO meta (key, value) VALUES ($1, $2)", &[key, value])?;
    }
    let copied = check(&View::new(Conn::Postgres(&session)), progress)?;
    Ok(Ready { session, copied })
}

fn must_be_empty(session: &PgSession, address: &Address) -> Result<(), CopyError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM tenant) OR EXISTS (SELECT 1 FROM arrival)
        OR EXISTS (SELECT 1 FROM meta) OR EXISTS (SELECT 1 FROM tree WHERE size > 0)";
    let rows = session.ask(sql, &[])?;
    let filled = rows.first().map(|row| row.try_get::<_, bool>(0)).transpose().map_err(StoreError::from)?;
    if filled == Some(false) { Ok(()) } else { Err(CopyError::NotEmpty(address.shown())) }
}

/// Rows go from columns to columns of the same name: both must have them.
fn same_schema(file: &Connection, session: &PgSession) -> Result<(), CopyError> {
    let newest = "SELECT max(number) FROM migration";
    let in_file: Option<i64> = file.query_row(newest, [], |row| row.get(0))?;
    let rows = session.ask(newest, &[])?;
    let there: Option<i64> =
        rows.first().map(|row| row.try_get(0)).transpose().map_err(StoreError::from)?.flatten();
    match (in_file.unwrap_or_default(), there.unwrap_or_default()) {
        (file, server) if file == server => Ok(()),
        (file, server) => Err(CopyError::OtherSchema { file, server }),
    }
}

struct Copying<'c> {
    file: &'c Connection,
    session: &'c PgSession,
    rows: u64,
    progress: &'c dyn Fn(Progress),
    /// The last entry that got its place: transaction and number.
    last: Option<(String, i64)>,
}

impl Copying<'_> {
    fn table(&mut self, table: &Table) -> Result<(), CopyError> {
        let arrays: Vec<String> = table
            .columns
            .iter()
            .zip(1..)
            .map(|(column, at)| {
                let ty = match column.kind {
                    Kind::Integer => "BIGINT",
                    Kind::Text => "TEXT",
                    Kind::Blob => "BYTEA",
                };
                format!("CAST(${at} AS {ty}[])")
            })
            .collect();
        let list = table.list();
        let sql = format!(
            "INSERT INTO \"{}\" ({list}) SELECT {list}
            FROM unnest({}) WITH ORDINALITY AS copied ({list}, in_order) ORDER BY in_order",
            table.name,
            arrays.join(", ")
        );
        let mut select = self.file.prepare(&table.select(table.counted))?;
        let mut rows = select.query([])?;
        loop {
            let mut columns: Vec<Array> = table.columns.iter().map(|column| Array::of(column.kind)).collect();
            let mut taken = 0_u64;
            while taken < ROWS as u64
                && let Some(row) = rows.next()?
            {
                for (at, column) in columns.iter_mut().enumerate() {
                    column.push(row.get_ref(at)?)?;
                }
                taken += 1;
            }
            if taken == 0 {
                return Ok(());
            }
            let values: Vec<&(dyn ToSql + Sync)> = columns.iter().map(Array::param).collect();
            self.all(self.session.tell(&sql, &values)?, taken)?;
        }
    }

    /// Entries arrive and get the places that they had; those that had none wait for one.
    fn entries(&mut self) -> Result<(), CopyError> {
        let size = View::new(Conn::Sqlite(self.file)).tree_head()?.size;
        let arrive = "INSERT INTO arrival (tenant, body)
            SELECT tenant, body FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS BYTEA[])) WITH ORDINALITY
                AS copied (tenant, body, in_order) ORDER BY in_order
            RETURNING CAST(tx AS TEXT), n";
        let view = View::new(Conn::Sqlite(self.file));
        let mut next = 0;
        loop {
            let page = view.entries_from(next, ROWS)?;
            if page.is_empty() {
                return Ok(());
            }
            let decoded = page.iter().map(|entry| entry.decode()).collect::<Result<Vec<_>, _>>();
            let decoded = decoded.map_err(|e| CopyError::NotWhole(e.to_string()))?;
            let tenants: Vec<&str> = decoded.iter().map(|entry| entry.tenant()).collect();
            let bodies: Vec<&[u8]> = page.iter().map(|entry| entry.bytes.as_slice()).collect();
            let arrived = self.session.ask(arrive, &[&tenants, &bodies])?;
            let numbered = arrived.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
            let mut numbered = numbered.collect::<Result<Vec<(String, i64)>, StoreError>>()?;
            numbered.sort_by_key(|(_, n)| *n);
            self.all(numbered.len() as u64, page.len() as u64)?;
            let placed: Vec<Placed> = decoded
                .into_iter()
                .zip(numbered)
                .zip(next..size)
                .map(|((entry, (tx, n)), _)| Placed { era: 0, tx, n, entry })
                .collect();
            if let Some(last) = placed.last() {
                self.last = Some((last.tx.clone(), last.n));
                place(self.session, next, &placed)?;
            }
            next += page.len() as u64;
        }
    }

    fn tree(&self) -> Result<(), CopyError> {
        let head = View::new(Conn::Sqlite(self.file)).tree_head()?;
        let (tx, n) = self.last.clone().unwrap_or_else(|| ("0".to_owned(), 0));
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let sql = "UPDATE tree SET size = $1, root = $2, epoch = $3, floor = $4, last_era = 0,
            last_tx = CAST(CAST($5 AS TEXT) AS XID8), last_n = $6 WHERE id = 1";
        let root = head.root.as_bytes().as_slice();
        self.session
            .tell(sql, &[&whole(head.size), &root, &whole(head.epoch), &whole(head.floor), &tx, &n])?;
        Ok(())
    }

    /// Counts rows; all that were sent must have arrived.
    fn all(&mut self, arrived: u64, sent: u64) -> Result<(), CopyError> {
        if arrived != sent {
            return Err(CopyError::NotWhole(format!("{arrived} of {sent} rows arrived")));
        }
        self.rows += sent;
        (self.progress)(Progress::Rows(self.rows));
        Ok(())
    }
}

/// A part of a column.
enum Array {
    Integer(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Blob(Vec<Option<Vec<u8>>>),
}

impl Array {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integer(Vec::with_capacity(ROWS)),
            Kind::Text => Self::Text(Vec::with_capacity(ROWS)),
            Kind::Blob => Self::Blob(Vec::with_capacity(ROWS)),
        }
    }

    fn push(&mut self, value: ValueRef<'_>) -> Result<(), StoreError> {
        let wrong = |error: rusqlite::types::FromSqlError| StoreError::document("row", error);
        match self {
            Self::Integer(values) => values.push(Option::column_result(value).map_err(wrong)?),
            Self::Text(values) => values.push(Option::column_result(value).map_err(wrong)?),
            Self::Blob(values) => values.push(Option::column_result(value).map_err(wrong)?),
        }
        Ok(())
    }

    fn param(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integer(values) => values,
            Self::Text(values) => values,
            Self::Blob(values) => values,
        }
    }
}
