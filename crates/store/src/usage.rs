//! What tasks have used so far, as snapshots see it: the newest committed figures of tasks in use.
//!
//! A hint for deciding. The limit itself is held by the writer, against figures of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accredit_core::facts::{Usage, Used};
use accredit_core::id::{TaskId, TenantName};
use accredit_core::resource::Sensitivity;

use crate::batch::TaskKey;
use crate::error::StoreError;
use crate::view::View;

/// Most tasks kept, about 200 bytes each; those that no cached snapshot refers to go first.
const TASKS_MAX: usize = 200_000;

pub(crate) type UsageCell = Arc<Mutex<Usage>>;

#[derive(Default)]
pub(crate) struct UsageCells(Mutex<HashMap<TaskKey, UsageCell>>);

impl UsageCells {
    /// The figures of a task; `read` are those of the snapshot, which may be newer or older than what is known.
    pub(crate) fn cell(&self, key: TaskKey, read: Usage) -> UsageCell {
        let mut cells = self.lock();
        if cells.len() > TASKS_MAX {
            cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        let cell = cells.entry(key).or_default();
        cell.lock().unwrap_or_else(PoisonError::into_inner).join(&read);
        Arc::clone(cell)
    }

    /// Takes in committed figures.
    pub(crate) fn publish(&self, figures: impl IntoIterator<Item = (TaskKey, Usage)>) {
        let cells = self.lock();
        for (key, usage) in figures {
            if let Some(cell) = cells.get(&key) {
                cell.lock().unwrap_or_else(PoisonError::into_inner).join(&usage);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskKey, UsageCell>> {
        // Every update leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View<'_> {
    /// What a task has used so far.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn usage(&self, tenant: &TenantName, task: &TaskId) -> Result<Usage, StoreError> {
        let sql = "SELECT place, calls, bytes FROM usage WHERE tenant = ?1 AND task = ?2 ORDER BY place";
        let rows: Vec<(usize, Used)> = self.rows(sql, (tenant.as_str(), task.as_str()), |row| {
            Ok((row.get(0)?, Used { calls: row.get(1)?, bytes: row.get(2)? }))
        })?;
        let mut usage = Usage::default();
        rows.into_iter().for_each(|(place, used)| usage.add(place, used.calls, used.bytes));
        let sql = "SELECT count(*) FROM request WHERE tenant = ?1 AND task = ?2";
        let asked = self.row(sql, (tenant.as_str(), task.as_str()), |row| row.get::<u64>(0))?;
        usage.ask(asked.unwrap_or(0));
        let sql = "SELECT sensitivity FROM seen WHERE tenant = ?1 AND task = ?2";
        for word in self.rows(sql, (tenant.as_str(), task.as_str()), |row| row.get::<String>(0))? {
            let known = Sensitivity::parse(&word);
            usage.see(known.ok_or_else(|| StoreError::document("usage", "it has an unknown sensitivity"))?);
        }
        Ok(usage)
    }
}
