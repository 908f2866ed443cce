//! Reading: one consistent moment of the database. The queries of each sort of thing are in `entity`.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use crate::error::{Cause, StoreError};
use crate::sql::{Conn, Go, Params, Row};

/// One moment of the database. Every query names the tenant; nothing is found by its id alone.
pub struct View<'c> {
    conn: Conn<'c>,
    /// The failure that makes everything read here worthless, once there was one.
    fault: RefCell<Option<Cause>>,
}

impl<'c> View<'c> {
    pub(crate) const fn new(conn: Conn<'c>) -> Self {
        Self { conn, fault: RefCell::new(None) }
    }

    pub(crate) const fn conn(&self) -> Conn<'c> {
        self.conn
    }

    pub(crate) fn fault(&self) -> Option<Cause> {
        self.fault.borrow().clone()
    }

    /// Remembers an error when the whole transaction is lost with it.
    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Unavailable(cause)) = &result {
            *self.fault.borrow_mut() = Some(cause.clone());
        }
        result
    }

    /// The one row of a query, if there is one.
    pub(crate) fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let (mut read, mut found) = (Some(read), None);
        let each = &mut |row: &Row<'_>| {
            if let Some(read) = read.take() {
                found = Some(read(row)?);
            }
            Ok(Go::Enough)
        };
        self.note(params.with(|params| self.conn.each(sql, params, each)))?;
        Ok(found)
    }

    /// All rows of a query; the query has a limit of its own where rows grow with use.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut out = Vec::new();
        let each = &mut |row: &Row<'_>| {
            out.push(read(row)?);
            Ok(Go::On)
        };
        self.note(params.with(|params| self.conn.each(sql, params, each)))?;
        Ok(out)
    }

    /// Changes rows and says how many.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.note(params.with(|params| self.conn.execute(sql, params)))
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
