//! Entries: how an event becomes a row, and how rows are searched.

use accredit_core::event::Event;
use accredit_core::id::TenantName;
use accredit_core::time::Timestamp;
use accredit_ledger::{Entry, EntryError};
use serde_json::{Map, Value};

use crate::error::StoreError;
use crate::sql::{Conn, Owned, Row};
use crate::view::View;

/// Most entries that one search returns: a page that a person or a client can take.
pub const ENTRIES_MAX: usize = 1_000;

/// Fields of the body that have a column of their own, in the order of the columns.
const COLUMNS: [&str; 8] =
    ["task", "agent", "resource", "credential", "decision", "request", "workflow", "outcome"];

/// How the entry of a change arrives in a database with many writers: without a place, under the number of the last
/// transaction that has ended if that is later than its own. A change has its number before it waits for uses of what
/// it changes, and they may have later ones; they were before it, and must stand before it. No number that was given a
/// place can be later: the change's own holds that back for as long as it runs.
pub(crate) const ARRIVE: &str = "INSERT INTO arrival (tx, tenant, body)
    SELECT GREATEST(pg_current_xact_id(),
        CAST(CAST(CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT) - 1 AS TEXT) AS XID8)),
        CAST(?1 AS TEXT), CAST(?2 AS BYTEA)";

/// The fields of an entry that are searched for.
pub(crate) fn columns(entry: &Entry) -> [Option<&str>; 8] {
    COLUMNS.map(|field| entry.text(field))
}

/// An entry that was checked and encoded, before it has its place.
pub(crate) struct NewEntry {
    entry: Entry,
    bytes: Vec<u8>,
}

impl NewEntry {
    pub(crate) fn of(event: Event, at: Timestamp) -> Result<Self, EntryError> {
        let (kind, tenant) = (event.kind(), event.tenant().clone());
        Self::new(kind, at, tenant.as_str(), event.into_body())
    }

    pub(crate) fn new(
        kind: &str,
        at: Timestamp,
        tenant: &str,
        body: Map<String, Value>,
    ) -> Result<Self, EntryError> {
        let entry = Entry::new(kind, at.as_ms(), tenant, body)?;
        let bytes = entry.encode()?.into_bytes();
        Ok(Self { entry, bytes })
    }

    /// An entry as it is stored already.
    pub(crate) fn stored(bytes: Vec<u8>) -> Result<Self, EntryError> {
        Ok(Self { entry: Entry::decode(&bytes)?, bytes })
    }

    /// Writes the row, at its place where the one writer counts them; else it gets its place later, from the leader.
    pub(crate) fn insert(&self, view: &View<'_>, place: Option<u64>) -> Result<(), StoreError> {
        match place {
            Some(seq) => self.insert_at(view, seq),
            None => self.arrive(view),
        }
    }

    fn arrive(&self, view: &View<'_>) -> Result<(), StoreError> {
        view.execute(ARRIVE, (self.entry.tenant(), &self.bytes)).map(|_| ())
    }

    /// Whose entry it is.
    pub(crate) fn tenant(&self) -> &str {
        self.entry.tenant()
    }

    /// The bytes that are hashed and proved.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn insert_at(&self, view: &View<'_>, seq: u64) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO entry (seq, tenant, kind, at, task, agent, resource, credential, decision, request,
            workflow, outcome, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let [task, agent, resource, credential, decision, request, workflow, outcome] = columns(&self.entry);
        let e = &self.entry;
        let row = (
            seq,
            e.tenant(),
            e.kind(),
            e.at(),
            task,
            agent,
            resource,
            credential,
            decision,
            request,
            workflow,
            outcome,
            &self.bytes,
        );
        view.execute(sql, row).map(|_| ())
    }
}

/// One stored entry.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// Its place in the ledger, from 0.
    pub seq: u64,
    /// The bytes that are hashed and proved.
    pub bytes: Vec<u8>,
}

impl StoredEntry {
    /// The entry that the bytes say.
    ///
    /// # Errors
    /// [`EntryError`] when they were tampered with.
    pub fn decode(&self) -> Result<Entry, EntryError> {
        Entry::decode(&self.bytes)
    }
}

/// What to search for; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Whose entries. `None`: everybody's and the installation's, for verifiers and operators of the whole.
    pub tenant: Option<TenantName>,
    /// One of these kinds; empty: any.
    pub kinds: Vec<String>,
    /// About this task.
    pub task: Option<String>,
    /// About this agent.
    pub agent: Option<String>,
    /// About this resource.
    pub resource: Option<String>,
    /// About this credential.
    pub credential: Option<String>,
    /// About this decision.
    pub decision: Option<String>,
    /// About this request for approval.
    pub request: Option<String>,
    /// With this workflow reference.
    pub workflow: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Before this place in the ledger, to go on from an earlier page.
    pub before_seq: Option<u64>,
    /// At most so many, and at most [`ENTRIES_MAX`]; 0: [`ENTRIES_MAX`].
    pub limit: usize,
}

impl EntryFilter {
    /// The query and its values. Only fixed texts make up the query.
    fn query(&self, conn: Conn<'_>) -> (String, Vec<Owned>) {
        let mut sql = String::from("SELECT seq, body FROM entry WHERE TRUE");
        let mut values: Vec<Owned> = Vec::new();
        let mut also = |condition: &str, value: Owned| {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        };
        // Most telling first: in SQLite the first one given chooses the index, and `+` keeps the others out of that
        // choice. PostgreSQL knows how often values occur and chooses by itself.
        let aside = match conn {
            Conn::Sqlite(_) => "+",
            Conn::Postgres(_) => "",
        };
        let texts = [
            ("decision", &self.decision),
            ("task", &self.task),
            ("credential", &self.credential),
            ("workflow", &self.workflow),
            ("agent", &self.agent),
            ("resource", &self.resource),
            ("request", &self.request),
            ("outcome", &self.outcome),
        ];
        if let Some(tenant) = &self.tenant {
            also("tenant = ?", Owned::Text(tenant.as_str().to_owned()));
        }
        let given = texts.into_iter().filter_map(|(column, value)| Some((column, value.clone()?)));
        for (place, (column, value)) in given.enumerate() {
            let plus = if place == 0 { "" } else { aside };
            also(&format!("{plus}{column} = ?"), Owned::Text(value));
        }
        let numbers = [
            ("at >= ?", self.since.map(Timestamp::as_ms)),
            ("at < ?", self.until.map(Timestamp::as_ms)),
            ("seq < ?", self.before_seq.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX))),
        ];
        for (condition, value) in numbers {
            if let Some(value) = value {
                also(condition, Owned::Integer(value));
            }
        }
        if !self.kinds.is_empty() {
            let marks = vec!["?"; self.kinds.len()].join(", ");
            sql.push_str(&format!(" AND kind IN ({marks})"));
            values.extend(self.kinds.iter().cloned().map(Owned::Text));
        }
        let limit = if self.limit == 0 { ENTRIES_MAX } else { self.limit.min(ENTRIES_MAX) };
        sql.push_str(" ORDER BY seq DESC LIMIT ?");
        values.push(Owned::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        (sql, values)
    }
}

fn stored(row: &Row<'_>) -> Result<StoredEntry, StoreError> {
    Ok(StoredEntry { seq: row.get(0)?, bytes: row.get(1)? })
}

impl View<'_> {
    /// Entries that fit, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn entries(&self, filter: &EntryFilter) -> Result<Vec<StoredEntry>, StoreError> {
        let (sql, values) = filter.query(self.conn());
        self.rows(&sql, values, stored)
    }

    /// The entry at a place in the ledger, whoever's it is.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn entry_by_seq(&self, seq: u64) -> Result<Option<StoredEntry>, StoreError> {
        self.row("SELECT seq, body FROM entry WHERE seq = ?1", [seq], stored)
    }

    /// Every entry about one decision of the tenant, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn decision_entries(
        &self,
        tenant: &TenantName,
        decision: &str,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let sql = "SELECT seq, body FROM entry WHERE tenant = ?1 AND decision = ?2 ORDER BY seq LIMIT ?3";
        self.rows(sql, (tenant.as_str(), decision, ENTRIES_MAX), stored)
    }

    /// Entries from a place on, oldest first: for exports and for the tree.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn entries_from(&self, seq: u64, limit: usize) -> Result<Vec<StoredEntry>, StoreError> {
        self.rows("SELECT seq, body FROM entry WHERE seq >= ?1 ORDER BY seq LIMIT ?2", (seq, limit), stored)
    }

    /// How many entries the ledger has.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn ledger_size(&self) -> Result<u64, StoreError> {
        let last: Option<Option<u64>> = self.row("SELECT max(seq) FROM entry", (), |row| row.get(0))?;
        Ok(last.flatten().map_or(0, |seq| seq + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How SQLite goes about a search.
    fn plan(filter: EntryFilter) -> String {
        let mut connection = rusqlite::Connection::open_in_memory().expect("memory");
        crate::sqlite::migrate(&mut connection).expect("a schema");
        let tenant = TenantName::parse("acme").ok();
        let conn = Conn::Sqlite(&connection);
        let (sql, values) = EntryFilter { tenant, before_seq: Some(9), ..filter }.query(conn);
        let view = View::new(conn);
        let steps = view.rows(&format!("EXPLAIN QUERY PLAN {sql}"), values, |row| row.get(3));
        let steps: Vec<String> = steps.expect("a plan");
        steps.join("; ")
    }

    #[test]
    fn every_usual_search_follows_an_index_in_the_order_of_the_answer() {
        let some = || Some("x".to_owned());
        let any = EntryFilter::default;
        let cases = [
            (EntryFilter { credential: some(), ..any() }, "entry_credential"),
            (EntryFilter { agent: some(), outcome: some(), ..any() }, "entry_agent"),
            (EntryFilter { agent: some(), task: some(), ..any() }, "entry_task"),
            (
                EntryFilter { workflow: some(), kinds: vec!["action.decided".into()], ..any() },
                "entry_workflow",
            ),
            (EntryFilter { decision: some(), credential: some(), ..any() }, "entry_decision"),
            (EntryFilter { since: Some(Timestamp::from_ms(1)), ..any() }, "INTEGER PRIMARY KEY"),
        ];
        for (filter, index) in cases {
            let plan = plan(filter);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{index}: {plan}");
        }
    }
}
