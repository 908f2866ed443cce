//! One transaction in the making: what the writer knows, and what the batch has changed of it so far.
//!
//! What is known is a copy of committed rows, read when first needed. The batch keeps its changes apart and
//! they become known only after the commit, so that a failed batch leaves no trace in memory.

use std::collections::{HashMap, HashSet};

use accredit_core::digest::Digest;
use accredit_core::facts::{Prepared, Usage};
use accredit_core::id::{TaskId, TenantName};
use accredit_core::resource::Sensitivity;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::ledger::entries::NewEntry;
use crate::stamp::Subject;
use crate::tx::Tx;
use crate::view::View;

/// Most versions and most usage figures remembered, about 150 bytes each; all are forgotten beyond that.
const KNOWN_MAX: usize = 400_000;

/// Whose usage: a task of a tenant.
pub(crate) type TaskKey = (TenantName, TaskId);

/// What the writer knows of the committed state.
pub(crate) struct Known {
    versions: HashMap<Subject, u64>,
    usage: HashMap<TaskKey, Usage>,
    /// Facts that are stored.
    facts: HashSet<(TenantName, Digest)>,
    /// The place of the next entry, with the batch in the making.
    next_seq: u64,
    /// Entries that were committed, and so possibly acknowledged.
    acknowledged: u64,
}

impl Known {
    pub(crate) fn load(connection: &Connection) -> Result<Self, StoreError> {
        let next_seq = View::new(connection).ledger_size()?;
        Ok(Self {
            versions: HashMap::new(),
            usage: HashMap::new(),
            facts: HashSet::new(),
            next_seq,
            acknowledged: next_seq,
        })
    }

    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What was appended is committed.
    pub(crate) const fn committed(&mut self) {
        self.acknowledged = self.next_seq;
    }

    /// Drops everything but how many entries were acknowledged.
    pub(crate) fn forget(&mut self) {
        self.versions.clear();
        self.usage.clear();
        self.facts.clear();
        self.next_seq = self.acknowledged;
    }

    pub(crate) fn append(&mut self, view: &View<'_>, entry: &NewEntry) -> Result<u64, StoreError> {
        let seq = self.next_seq;
        entry.insert(view, seq)?;
        self.next_seq += 1;
        Ok(seq)
    }
}

pub(crate) struct Batch<'c> {
    connection: &'c Connection,
    pub(crate) view: View<'c>,
    known: &'c mut Known,
    versions: HashMap<Subject, u64>,
    usage: HashMap<TaskKey, Usage>,
    /// Figures of `usage` that are not in the database yet.
    counted: HashSet<(TaskKey, usize)>,
    facts: HashSet<(TenantName, Digest)>,
}

impl<'c> Batch<'c> {
    pub(crate) fn new(connection: &'c Connection, known: &'c mut Known) -> Self {
        let view = View::new(connection);
        Self {
            connection,
            view,
            known,
            versions: HashMap::new(),
            usage: HashMap::new(),
            counted: HashSet::new(),
            facts: HashSet::new(),
        }
    }

    /// A change of a use case on this transaction. The caller holds a savepoint.
    pub(crate) fn tx(&self) -> Tx<'c> {
        Tx::new(self.connection, self.known.next_seq)
    }

    /// Keeps what a change has done.
    pub(crate) fn keep(&mut self, tx: Tx<'c>) {
        let (next_seq, bumps) = tx.into_parts();
        self.known.next_seq = next_seq;
        self.versions.extend(bumps);
    }

    pub(crate) fn sql(&self, sql: &str) -> Result<(), StoreError> {
        self.view.execute(sql, []).map(|_| ())
    }

    pub(crate) fn append(&mut self, entry: &NewEntry) -> Result<u64, StoreError> {
        self.known.append(&self.view, entry)
    }

    /// The version that a subject has now, this batch included.
    pub(crate) fn version(&mut self, subject: &Subject) -> Result<u64, StoreError> {
        let seen = self.versions.get(subject).or_else(|| self.known.versions.get(subject));
        if let Some(version) = seen {
            return Ok(*version);
        }
        let sql = "SELECT version FROM stamp WHERE subject = ?1";
        let version = self.view.row(sql, [subject.as_str()], |row| row.get(0))?.unwrap_or(0);
        // Not touched by this batch, so what was read is committed.
        self.known.versions.insert(subject.clone(), version);
        Ok(version)
    }

    /// What a task has used by now, this batch included.
    pub(crate) fn usage(&mut self, key: &TaskKey) -> Result<&mut Usage, StoreError> {
        if !self.usage.contains_key(key) {
            let usage = match self.known.usage.get(key) {
                Some(usage) => usage.clone(),
                None => self.view.usage(&key.0, &key.1)?,
            };
            self.usage.insert(key.clone(), usage);
        }
        Ok(self.usage.get_mut(key).expect("it was put there above"))
    }

    /// Adds to what a task has used. The row is written once for the whole batch, by [`Self::write_usage`].
    pub(crate) fn count(
        &mut self,
        key: &TaskKey,
        grant: usize,
        calls: u64,
        bytes: u64,
    ) -> Result<(), StoreError> {
        self.usage(key)?.add(grant, calls, bytes);
        self.counted.insert((key.clone(), grant));
        Ok(())
    }

    /// Notes that a task may get an answer from something this sensitive; written once for each task, so that
    /// later uses cost nothing.
    pub(crate) fn see(&mut self, key: &TaskKey, sensitivity: Sensitivity) -> Result<(), StoreError> {
        if !self.usage(key)?.see(sensitivity) {
            return Ok(());
        }
        let sql = "INSERT INTO seen (tenant, task, sensitivity) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.view.execute(sql, (key.0.as_str(), key.1.as_str(), sensitivity.as_str())).map(|_| ())
    }

    /// Writes down what was counted: before a change that may look at it, and before the commit.
    pub(crate) fn write_usage(&mut self) -> Result<(), StoreError> {
        let sql = "INSERT INTO usage (tenant, task, place, calls, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (tenant, task, place) DO UPDATE SET calls = excluded.calls, bytes = excluded.bytes";
        for (key, grant) in std::mem::take(&mut self.counted) {
            let used = self.usage(&key)?.of(grant);
            let (calls, bytes) = (used.calls.min(i64::MAX as u64), used.bytes.min(i64::MAX as u64));
            self.view.execute(sql, (key.0.as_str(), key.1.as_str(), grant, calls, bytes))?;
        }
        Ok(())
    }

    /// Keeps the text of the facts under its digest, once.
    pub(crate) fn store_facts(&mut self, prepared: &Prepared) -> Result<(), StoreError> {
        let key = (prepared.facts().tenant.clone(), prepared.digest());
        if self.known.facts.contains(&key) || self.facts.contains(&key) {
            return Ok(());
        }
        let sql = "INSERT INTO facts (tenant, digest, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.view.execute(sql, (key.0.as_str(), key.1.as_bytes(), prepared.text()))?;
        self.facts.insert(key);
        Ok(())
    }

    /// After the commit: what was changed becomes known, and is given to whoever publishes it.
    pub(crate) fn finish(self) -> (HashMap<Subject, u64>, HashMap<TaskKey, Usage>) {
        let known = self.known;
        known.committed();
        if known.versions.len() > KNOWN_MAX {
            known.versions.clear();
        }
        if known.usage.len() > KNOWN_MAX {
            known.usage.clear();
        }
        if known.facts.len() > KNOWN_MAX {
            known.facts.clear();
        }
        known.facts.extend(self.facts);
        known.versions.extend(self.versions.iter().map(|(s, v)| (s.clone(), *v)));
        known.usage.extend(self.usage.iter().map(|(k, u)| (k.clone(), u.clone())));
        (self.versions, self.usage)
    }
}
