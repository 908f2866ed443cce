//! One transaction in the making: what the writer knows, and what the batch has changed of it so far.
//!
//! What is known is a copy of committed rows, read when first needed. The batch keeps its changes apart and
//! they become known only after the commit, so that a failed batch leaves no trace in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use accredit_core::digest::Digest;
use accredit_core::facts::{Prepared, Usage, Used};
use accredit_core::id::{DecisionId, RequestId, TaskId, TenantName};
use accredit_core::resource::Sensitivity;
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::ledger::entries::NewEntry;
use crate::record::{OpenAction, Recording};
use crate::scope::Scope;
use crate::sql::Conn;
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
    places: Places,
}

/// Who gives entries their places.
#[derive(Clone, Copy)]
enum Places {
    /// This writer, the only one: it counts them.
    Counted {
        /// The place of the next entry, with the batch in the making.
        next: u64,
        /// Entries that were committed, and so possibly acknowledged.
        acknowledged: u64,
    },
    /// The leader, later: there are other writers.
    Later,
}

impl Known {
    /// What the only writer knows of a database.
    pub(crate) fn of_one_writer(view: &View<'_>) -> Result<Self, StoreError> {
        let next = view.ledger_size()?;
        Ok(Self::new(Places::Counted { next, acknowledged: next }))
    }

    /// What one of many writers knows before it has looked.
    pub(crate) fn of_many_writers() -> Self {
        Self::new(Places::Later)
    }

    fn new(places: Places) -> Self {
        Self { versions: HashMap::new(), usage: HashMap::new(), facts: HashSet::new(), places }
    }

    /// Entries that were committed, where this writer counts them.
    pub(crate) const fn acknowledged(&self) -> Option<u64> {
        match self.places {
            Places::Counted { acknowledged, .. } => Some(acknowledged),
            Places::Later => None,
        }
    }

    /// What was appended is committed.
    pub(crate) const fn committed(&mut self) {
        if let Places::Counted { next, acknowledged } = &mut self.places {
            *acknowledged = *next;
        }
    }

    /// Drops what others may have changed since.
    pub(crate) fn forget_changing(&mut self) {
        self.versions.clear();
        self.usage.clear();
    }

    /// Drops everything but how many entries were acknowledged.
    pub(crate) fn forget(&mut self) {
        self.forget_changing();
        self.facts.clear();
        if let Places::Counted { next, acknowledged } = &mut self.places {
            *next = *acknowledged;
        }
    }

    /// The place of the next entry, where this writer counts them.
    pub(crate) const fn next(&self) -> Option<u64> {
        match self.places {
            Places::Counted { next, .. } => Some(next),
            Places::Later => None,
        }
    }

    const fn set_next(&mut self, place: Option<u64>) {
        if let (Places::Counted { next, .. }, Some(place)) = (&mut self.places, place) {
            *next = place;
        }
    }

    pub(crate) fn append(&mut self, view: &View<'_>, entry: &NewEntry) -> Result<(), StoreError> {
        let place = self.next();
        entry.insert(view, place)?;
        self.set_next(place.map(|place| place + 1));
        Ok(())
    }

    /// Whether facts are known to be stored.
    pub(crate) fn has_facts(&self, key: &(TenantName, Digest)) -> bool {
        self.facts.contains(key)
    }

    /// Facts that are stored now.
    pub(crate) fn learn_facts(&mut self, facts: impl IntoIterator<Item = (TenantName, Digest)>) {
        if self.facts.len() > KNOWN_MAX {
            self.facts.clear();
        }
        self.facts.extend(facts);
    }
}

pub(crate) struct Batch<'c> {
    view: View<'c>,
    known: &'c mut Known,
    versions: HashMap<Subject, u64>,
    usage: HashMap<TaskKey, Usage>,
    /// Figures of `usage` that are not in the database yet.
    counted: BTreeMap<(TaskKey, usize), Used>,
    facts: HashSet<(TenantName, Digest)>,
}

impl<'c> Batch<'c> {
    pub(crate) fn new(conn: Conn<'c>, known: &'c mut Known) -> Self {
        Self {
            view: View::new(conn),
            known,
            versions: HashMap::new(),
            usage: HashMap::new(),
            counted: BTreeMap::new(),
            facts: HashSet::new(),
        }
    }

    /// A change of a use case on this transaction. The caller holds a savepoint.
    pub(crate) fn tx(&self) -> Tx<'c> {
        Tx::new(self.view.conn(), self.known.next())
    }

    /// Keeps what a change has done.
    pub(crate) fn keep(&mut self, tx: Tx<'c>) {
        let (next, bumps) = tx.into_parts();
        self.known.set_next(next);
        self.versions.extend(bumps);
    }

    /// Begins a part that can be undone by itself, in the scope of whoever asked for it.
    pub(crate) fn begin_part(&self, scope: &Scope) -> Result<(), StoreError> {
        match self.view.conn() {
            conn @ Conn::Sqlite(_) => conn.run("SAVEPOINT part"),
            conn @ Conn::Postgres(_) => conn.run(&format!("SAVEPOINT part; {}", scope.setting())),
        }
    }

    /// Keeps the part.
    pub(crate) fn keep_part(&self) -> Result<(), StoreError> {
        match self.view.conn() {
            conn @ Conn::Sqlite(_) => conn.run("RELEASE part"),
            conn @ Conn::Postgres(_) => conn.run(&format!("RELEASE part; {}", Scope::Installation.setting())),
        }
    }

    /// Undoes the part, its scope included.
    pub(crate) fn undo_part(&self) -> Result<(), StoreError> {
        self.view.conn().run("ROLLBACK TO part; RELEASE part")
    }

    fn figures(&mut self, key: &TaskKey) -> Result<&mut Usage, StoreError> {
        if !self.usage.contains_key(key) {
            let usage = match self.known.usage.get(key) {
                Some(usage) => usage.clone(),
                None => self.view.usage(&key.0, &key.1)?,
            };
            self.usage.insert(key.clone(), usage);
        }
        Ok(self.usage.get_mut(key).expect("it was put there above"))
    }

    /// Writes down what was counted: before a change that may look at it, and before the commit.
    pub(crate) fn write_usage(&mut self) -> Result<(), StoreError> {
        // Added, not set: with several replicas others count meanwhile.
        let sql = "INSERT INTO usage (tenant, task, place, calls, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (tenant, task, place)
                DO UPDATE SET calls = usage.calls + excluded.calls, bytes = usage.bytes + excluded.bytes";
        for ((key, grant), used) in std::mem::take(&mut self.counted) {
            let (calls, bytes) = (used.calls.min(i64::MAX as u64), used.bytes.min(i64::MAX as u64));
            self.view.execute(sql, (key.0.as_str(), key.1.as_str(), grant, calls, bytes))?;
        }
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
        known.learn_facts(self.facts);
        known.versions.extend(self.versions.iter().map(|(s, v)| (s.clone(), *v)));
        known.usage.extend(self.usage.iter().map(|(k, u)| (k.clone(), u.clone())));
        (self.versions, self.usage)
    }
}

impl Recording for Batch<'_> {
    fn view(&self) -> &View<'_> {
        &self.view
    }

    fn version(&mut self, subject: &Subject) -> Result<Option<u64>, StoreError> {
        let seen = self.versions.get(subject).or_else(|| self.known.versions.get(subject));
        if let Some(version) = seen {
            return Ok(Some(*version));
        }
        let sql = "SELECT version FROM stamp WHERE subject = ?1";
        let version = self.view.row(sql, [subject.as_str()], |row| row.get(0))?.unwrap_or(0);
        // Not touched by this batch, so what was read is committed.
        self.known.versions.insert(subject.clone(), version);
        Ok(Some(version))
    }

    fn usage(&mut self, key: &TaskKey) -> Result<&Usage, StoreError> {
        self.figures(key).map(|usage| &*usage)
    }

    fn exact(&mut self, key: &TaskKey, place: usize) -> Result<Used, StoreError> {
        let Conn::Postgres(_) = self.view.conn() else { return Ok(self.figures(key)?.of(place)) };
        let (tenant, task) = (key.0.as_str(), key.1.as_str());
        let first = "INSERT INTO usage (tenant, task, place, calls, bytes) VALUES (?1, ?2, ?3, 0, 0)
            ON CONFLICT DO NOTHING";
        self.view.execute(first, (tenant, task, place))?;
        let sql = "SELECT calls, bytes FROM usage WHERE tenant = ?1 AND task = ?2 AND place = ?3 FOR UPDATE";
        let read = self
            .view
            .row(sql, (tenant, task, place), |row| Ok(Used { calls: row.get(0)?, bytes: row.get(1)? }))?;
        let (read, own) = (read.unwrap_or_default(), self.counted.get(&(key.clone(), place)));
        let own = own.copied().unwrap_or_default();
        Ok(Used { calls: read.calls.saturating_add(own.calls), bytes: read.bytes.saturating_add(own.bytes) })
    }

    fn open_action(&mut self, action: &OpenAction<'_>) -> Result<bool, StoreError> {
        let sql = "INSERT INTO open_action (tenant, decision, task, agent, resource, credential, at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
        Ok(self.view.execute(sql, action.row())? == 1)
    }

    fn close_action(&mut self, tenant: &str, decision: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM open_action WHERE tenant = ?1 AND decision = ?2";
        Ok(self.view.execute(sql, (tenant, decision))? == 1)
    }

    fn keep_facts(&mut self, prepared: &Prepared) -> Result<(), StoreError> {
        let key = (prepared.facts().tenant.clone(), prepared.digest());
        if self.known.has_facts(&key) || self.facts.contains(&key) {
            return Ok(());
        }
        let sql = "INSERT INTO facts (tenant, digest, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.view.execute(sql, (key.0.as_str(), key.1.as_bytes(), prepared.text()))?;
        self.facts.insert(key);
        Ok(())
    }

    /// The row is written once for the whole batch, by [`Batch::write_usage`].
    fn count(&mut self, key: &TaskKey, grant: usize, calls: u64, bytes: u64) -> Result<(), StoreError> {
        self.figures(key)?.add(grant, calls, bytes);
        let counted = self.counted.entry((key.clone(), grant)).or_default();
        counted.calls = counted.calls.saturating_add(calls);
        counted.bytes = counted.bytes.saturating_add(bytes);
        Ok(())
    }

    fn saw_more(&mut self, key: &TaskKey, decided_with: &Usage) -> Result<bool, StoreError> {
        Ok(self.figures(key)?.seen() != decided_with.seen())
    }

    /// Written once for each task, so that later uses cost nothing. Where others record at the same time, it counts as
    /// a change of the task: what they decided without it cannot be recorded after it.
    fn see(&mut self, key: &TaskKey, sensitivity: Sensitivity) -> Result<(), StoreError> {
        if !self.figures(key)?.see(sensitivity) {
            return Ok(());
        }
        let sql = "INSERT INTO seen (tenant, task, sensitivity) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.view.execute(sql, (key.0.as_str(), key.1.as_str(), sensitivity.as_str()))?;
        if let Conn::Postgres(_) = self.view.conn() {
            let mut tx = self.tx();
            tx.bump(Subject::task(&key.0, &key.1))?;
            self.keep(tx);
        }
        Ok(())
    }

    fn ask(&mut self, key: &TaskKey) -> Result<(), StoreError> {
        self.figures(key)?.ask(1);
        Ok(())
    }

    fn use_approval(
        &mut self,
        tenant: &TenantName,
        request: &RequestId,
        decision: &DecisionId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.tx();
        let taken = tx.use_request(tenant, request, decision, at)?;
        self.keep(tx);
        Ok(taken)
    }

    fn use_once(&mut self, kind: &'static str, hash: &str, expires_at: i64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO used_once (kind, hash, expires_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        Ok(self.view.execute(sql, (kind, hash, expires_at))? == 1)
    }

    fn append(&mut self, entry: &NewEntry) -> Result<(), StoreError> {
        self.known.append(&self.view, entry)
    }
}
