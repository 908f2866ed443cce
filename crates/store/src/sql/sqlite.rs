//! Queries on a connection to SQLite. Its statements stay prepared.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::{Go, Row, Value};
use crate::error::StoreError;

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn each(
    connection: &Connection,
    sql: &str,
    params: &[Value<'_>],
    read: &mut dyn FnMut(&Row<'_>) -> Result<Go, StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        if read(&Row::Sqlite(row))? == Go::Enough {
            break;
        }
    }
    Ok(())
}

pub(super) fn execute(connection: &Connection, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError> {
    Ok(connection.prepare_cached(sql)?.execute(params_from_iter(params))?)
}
