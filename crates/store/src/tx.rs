//! Changing: a use case's part of one transaction. What it changes and what it appends to the ledger
//! become durable together or not at all.

use std::ops::Deref;
use std::time::{SystemTime, UNIX_EPOCH};

use accredit_core::event::Event;
use accredit_core::time::Timestamp;
use accredit_ledger::entry::INSTALL_TENANT;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::StoreError;
use crate::ledger::entries::NewEntry;
use crate::postgres::{Cut, raise};
use crate::sql::Conn;
use crate::stamp::Subject;
use crate::view::View;

/// One change in the making. Reads see what the change has written so far.
pub struct Tx<'c> {
    view: View<'c>,
    /// The place of the next entry, where the writer counts them.
    next: Option<u64>,
    bumps: Vec<(Subject, u64)>,
    /// The last order to cut that this change gives.
    order: Option<u64>,
}

impl<'c> Deref for Tx<'c> {
    type Target = View<'c>;

    fn deref(&self) -> &View<'c> {
        &self.view
    }
}

impl<'c> Tx<'c> {
    pub(crate) const fn new(conn: Conn<'c>, next: Option<u64>) -> Self {
        Self { view: View::new(conn), next, bumps: Vec::new(), order: None }
    }

    /// What the batch must know when the change stays: the next place in the ledger and the new versions.
    pub(crate) fn into_parts(self) -> (Option<u64>, Vec<(Subject, u64)>) {
        (self.next, self.bumps)
    }

    /// Appends an entry to the ledger, at the present time.
    ///
    /// # Errors
    /// [`StoreError::Entry`] when the ledger does not know the kind or a field.
    pub fn append(&mut self, event: Event) -> Result<(), StoreError> {
        let entry = NewEntry::of(event, now())?;
        self.append_entry(&entry)
    }

    /// Appends an entry about the installation as a whole, which belongs to no tenant.
    ///
    /// # Errors
    /// [`StoreError::Entry`] when the ledger does not know the kind or a field.
    pub fn append_install(&mut self, kind: &str, body: Map<String, Value>) -> Result<(), StoreError> {
        let entry = NewEntry::new(kind, now(), INSTALL_TENANT, body)?;
        self.append_entry(&entry)
    }

    pub(crate) fn append_entry(&mut self, entry: &NewEntry) -> Result<(), StoreError> {
        entry.insert(&self.view, self.next)?;
        self.next = self.next.map(|place| place + 1);
        Ok(())
    }

    /// Orders every other replica to cut something, with this change; the change returns when they have. What ends a
    /// task, suspends an agent or takes a credential's value away orders that by itself.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn order(&mut self, cut: &Cut) -> Result<(), StoreError> {
        let Conn::Postgres(_) = self.view.conn() else { return Ok(()) };
        let sql = "WITH told AS (SELECT pg_notify('accredit_cut', ''))
            INSERT INTO cut (tenant, what, name) SELECT CAST(?1 AS TEXT), CAST(?2 AS TEXT), CAST(?3 AS TEXT) FROM told
            RETURNING n";
        self.order = self.row(sql, cut.row(), |row| row.get(0))?;
        Ok(())
    }

    /// The last order to cut that this change gives.
    pub(crate) const fn ordered(&self) -> Option<u64> {
        self.order
    }

    /// Raises the version of a subject: no decision made before this change can be recorded after it.
    pub(crate) fn bump(&mut self, subject: Subject) -> Result<(), StoreError> {
        let version = match self.view.conn() {
            Conn::Sqlite(_) => {
                let sql = "INSERT INTO stamp (subject, version) VALUES (?1, 1)
                    ON CONFLICT (subject) DO UPDATE SET version = stamp.version + 1 RETURNING version";
                self.view.row(sql, [subject.as_str()], |row| row.get(0))?.unwrap_or(1)
            }
            Conn::Postgres(_) => raise(&self.view, &subject)?,
        };
        self.bumps.push((subject, version));
        Ok(())
    }
}

/// The text that a document is stored as.
pub(crate) fn text(what: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::document(what, e))
}

/// The present time: only for when something was written down, never for whether it may happen.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
