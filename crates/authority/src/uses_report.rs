//! Who used what for which task: decisions joined with how the actions ended, from the ledger; and the
//! receipt of one task.

use std::collections::BTreeMap;

use accredit_core::id::{CredentialName, TaskId, TenantName};
use accredit_core::task::{Task, TaskState};
use accredit_core::time::Timestamp;
use accredit_ledger::Entry;
use accredit_store::{EntryFilter, StoreError, StoredEntry, View};
use serde_json::Value;

use crate::Authority;
use crate::fault::Fault;

/// Kind of the first entry of an action.
pub(crate) const DECIDED: &str = "action.decided";
/// Kind of the second entry of an action.
pub(crate) const SETTLED: &str = "action.settled";
/// Most entries that are looked at for one receipt; beyond them it says that it is cut.
const RECEIPT_ENTRIES_MAX: usize = 200_000;
/// Entries read at once.
const BATCH: usize = 1_000;

/// Which uses are wanted; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct UsesFilter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this task.
    pub task: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Before this place in the ledger.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// One use: the entry of the decision, and the entry of its end where there is one.
#[derive(Debug, Clone)]
pub struct Use {
    /// Place of the decision's entry.
    pub seq: u64,
    decided: Entry,
    settled: Option<Entry>,
}

impl Use {
    /// When it was decided: the instant of the decision, not of its record.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        let now = self.number("now").and_then(|n| i64::try_from(n).ok());
        Timestamp::from_ms(now.unwrap_or_else(|| self.decided.at()))
    }

    /// A text field of the decision.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.decided.text(field)
    }

    /// A number of the decision.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.decided.body().get(field).and_then(Value::as_u64)
    }

    /// A list of texts of the decision.
    #[must_use]
    pub fn list(&self, field: &str) -> Vec<String> {
        let items = self.decided.body().get(field).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }

    /// Whether the decision was enforced, or the resource only observed.
    #[must_use]
    pub fn enforced(&self) -> bool {
        self.decided.body().get("enforced").and_then(Value::as_bool).unwrap_or(true)
    }

    /// Whether the action was let out.
    #[must_use]
    pub fn let_out(&self) -> bool {
        self.text("outcome") == Some("allow") || !self.enforced()
    }

    /// How the action ended, in one word.
    #[must_use]
    pub fn settled(&self) -> Option<&str> {
        self.settled.as_ref()?.text("outcome")
    }

    /// A number of how it ended.
    #[must_use]
    pub fn settled_number(&self, field: &str) -> Option<u64> {
        self.settled.as_ref()?.body().get(field).and_then(Value::as_u64)
    }
}

/// What a task did.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The task.
    pub task: Task,
    /// From its start to its end, or to now, in milliseconds.
    pub duration_ms: u64,
    /// Actions that were let out.
    pub uses: u64,
    /// Actions that were refused.
    pub refused: u64,
    /// Actions that asked for a person.
    pub asked: u64,
    /// Credentials that were used, sorted.
    pub credentials: Vec<String>,
    /// What was done at each resource, sorted by name.
    pub resources: BTreeMap<String, AtResource>,
    /// Place of the newest entry about the task.
    pub last_entry: Option<u64>,
}

/// What a task did at one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AtResource {
    /// Actions that read.
    pub reads: u64,
    /// Actions that added or changed.
    pub writes: u64,
    /// Actions that removed.
    pub deletes: u64,
    /// Actions with any other effect.
    pub others: u64,
    /// Actions that were refused.
    pub refused: u64,
    /// Bytes of bodies, both ways together.
    pub bytes: u64,
}

impl Authority {
    /// Uses of a credential, newest first.
    ///
    /// # Errors
    /// [`Fault`] when there is no such credential.
    pub async fn uses_of(&self, credential: CredentialName, filter: UsesFilter) -> Result<Vec<Use>, Fault> {
        let tenant = self.tenant().clone();
        self.read_ledger(move |view| {
            if view.credential(&tenant, &credential)?.is_none() {
                return Ok(Err(Fault::not_found("credential", &credential)));
            }
            let filter = EntryFilter {
                tenant: Some(tenant.clone()),
                kinds: vec![DECIDED.to_owned()],
                credential: Some(credential.to_string()),
                agent: filter.agent,
                task: filter.task,
                outcome: filter.outcome,
                since: filter.since,
                until: filter.until,
                before_seq: filter.before,
                limit: filter.limit,
                ..EntryFilter::default()
            };
            join(view, &tenant, &filter).map(Ok)
        })
        .await?
    }

    /// What a task did.
    ///
    /// # Errors
    /// [`Fault`] when there is no such task.
    pub async fn receipt(&self, id: TaskId) -> Result<Receipt, Fault> {
        let task = self.task(id).await?;
        let (tenant, about) = (self.tenant().clone(), task.id.to_string());
        let (tally, last_entry) = self.read_ledger(move |view| Tally::of(view, &tenant, &about)).await?;
        let ended_at = match &task.state {
            TaskState::Ended { at, .. } => *at,
            TaskState::Proposed | TaskState::Active { .. } => self.now(),
        };
        Ok(Receipt {
            duration_ms: u64::try_from(ended_at.ms_since(task.proposed_at)).unwrap_or(0),
            task,
            uses: tally.uses,
            refused: tally.refused,
            asked: tally.asked,
            credentials: tally.credentials.into_keys().collect(),
            resources: tally.resources,
            last_entry,
        })
    }
}

/// The uses that fit, newest first.
pub(crate) fn join(
    view: &View<'_>,
    tenant: &TenantName,
    filter: &EntryFilter,
) -> Result<Vec<Use>, StoreError> {
    let mut uses = Vec::new();
    for stored in view.entries(filter)? {
        uses.extend(use_of(view, tenant, &stored)?);
    }
    Ok(uses)
}

/// The use that a stored decision is about. `None`: the entry cannot be read, which verification reports.
pub(crate) fn use_of(
    view: &View<'_>,
    tenant: &TenantName,
    stored: &StoredEntry,
) -> Result<Option<Use>, StoreError> {
    let Ok(decided) = stored.decode() else { return Ok(None) };
    let Some(decision) = decided.text("decision").map(str::to_owned) else { return Ok(None) };
    let entries = view.decision_entries(tenant, &decision)?;
    let settled = entries.iter().filter_map(|e| e.decode().ok()).find(|e| e.kind() == SETTLED);
    Ok(Some(Use { seq: stored.seq, decided, settled }))
}

#[derive(Default)]
struct Tally {
    uses: u64,
    refused: u64,
    asked: u64,
    credentials: BTreeMap<String, ()>,
    resources: BTreeMap<String, AtResource>,
}

impl Tally {
    fn of(view: &View<'_>, tenant: &TenantName, task: &str) -> Result<(Self, Option<u64>), StoreError> {
        let mut tally = Self::default();
        let mut filter = EntryFilter {
            tenant: Some(tenant.clone()),
            task: Some(task.to_owned()),
            ..EntryFilter::default()
        };
        filter.limit = BATCH;
        let mut last = None;
        for _ in 0..RECEIPT_ENTRIES_MAX / BATCH {
            let entries = view.entries(&filter)?;
            let Some(oldest) = entries.last().map(|e| e.seq) else { break };
            last = last.or_else(|| entries.first().map(|e| e.seq));
            entries.iter().filter_map(|e| e.decode().ok()).for_each(|e| tally.add(&e));
            filter.before_seq = Some(oldest);
        }
        Ok((tally, last))
    }

    fn add(&mut self, entry: &Entry) {
        match entry.kind() {
            DECIDED => self.add_decided(entry),
            SETTLED => {
                let bytes = |field| entry.body().get(field).and_then(Value::as_u64).unwrap_or(0);
                self.at(entry).bytes += bytes("request_bytes") + bytes("response_bytes");
            }
            _ => {}
        }
    }

    fn add_decided(&mut self, entry: &Entry) {
        let enforced = entry.body().get("enforced").and_then(Value::as_bool).unwrap_or(true);
        let outcome = entry.text("outcome").unwrap_or("deny");
        if outcome != "allow" && enforced {
            self.at(entry).refused += 1;
            if outcome == "ask" {
                self.asked += 1
            } else {
                self.refused += 1
            }
            return;
        }
        self.uses += 1;
        if let Some(credential) = entry.text("credential") {
            self.credentials.insert(credential.to_owned(), ());
        }
        let place = self.at(entry);
        match entry.text("effect") {
            Some("read") => place.reads += 1,
            Some("write") => place.writes += 1,
            Some("delete") => place.deletes += 1,
            _ => place.others += 1,
        }
    }

    fn at(&mut self, entry: &Entry) -> &mut AtResource {
        self.resources.entry(entry.text("resource").unwrap_or("-").to_owned()).or_default()
    }
}
