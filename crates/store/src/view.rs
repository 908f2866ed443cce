//! Reading: one consistent moment of the database. The queries of each sort of thing are in `entity`.

use std::cell::RefCell;

use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use serde::de::DeserializeOwned;

use crate::error::{Cause, StoreError};

/// One moment of the database. Every query names the tenant; nothing is found by its id alone.
pub struct View<'c> {
    connection: &'c Connection,
    /// The failure that makes everything read here worthless, once there was one.
    fault: RefCell<Option<Cause>>,
}

impl<'c> View<'c> {
    pub(crate) const fn new(connection: &'c Connection) -> Self {
        Self { connection, fault: RefCell::new(None) }
    }

    pub(crate) fn fault(&self) -> Option<Cause> {
        self.fault.borrow().clone()
    }

    /// Turns an error of SQLite into ours and remembers it when the whole transaction is lost.
    fn note<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = StoreError::from(error);
            if let StoreError::Unavailable(cause) = &error {
                *self.fault.borrow_mut() = Some(cause.clone());
            }
            error
        })
    }

    /// The one row of a query, if there is one.
    pub(crate) fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.note(self.connection.prepare_cached(sql))?;
        self.note(statement.query_row(params, read).optional())
    }

    /// All rows of a query; the query has a limit of its own where rows grow with use.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.note(self.connection.prepare_cached(sql))?;
        let mut rows = self.note(statement.query(params))?;
        let mut out = Vec::new();
        while let Some(row) = self.note(rows.next())? {
            out.push(self.note(read(row))?);
        }
        Ok(out)
    }

    /// Changes rows and says how many.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let mut statement = self.note(self.connection.prepare_cached(sql))?;
        self.note(statement.execute(params))
    }

    /// The one document of a query, if there is one.
    pub(crate) fn doc<T: DeserializeOwned>(
        &self,
        what: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.row(sql, params, |row| row.get(0))?;
        text.map(|text| parse(what, &text)).transpose()
    }

    /// All documents of a query.
    pub(crate) fn docs<T: DeserializeOwned>(
        &self,
        what: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<Vec<T>, StoreError> {
        let texts: Vec<String> = self.rows(sql, params, |row| row.get(0))?;
        texts.iter().map(|text| parse(what, text)).collect()
    }
}

fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::document(what, e))
}
