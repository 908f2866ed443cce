//! Tasks: the units of authority and how they hang together.

use accredit_core::id::{AgentName, TaskId, TenantName};
use accredit_core::task::{Task, TaskState};
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::postgres::Cut;
use crate::stamp::Subject;
use crate::tx::{Tx, text};
use crate::view::View;

/// Most tasks that one query returns.
pub const TASKS_MAX: usize = 1_000;

/// Where a task stands in the database. An active one may have run out of time and not been ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Not started.
    Proposed,
    /// Started.
    Active,
    /// Over.
    Ended,
}

impl TaskStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }
}

/// Which tasks to list; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Where they stand.
    pub status: Option<TaskStatus>,
    /// Whose agent's.
    pub agent: Option<AgentName>,
    /// Older than this task, to go on from an earlier page.
    pub before: Option<TaskId>,
    /// At most so many, and at most [`TASKS_MAX`]; 0: [`TASKS_MAX`].
    pub limit: usize,
}

impl View<'_> {
    /// One task.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn task(&self, tenant: &TenantName, id: &TaskId) -> Result<Option<Task>, StoreError> {
        let sql = "SELECT doc FROM task WHERE tenant = ?1 AND id = ?2";
        self.doc("task", sql, (tenant.as_str(), id.as_str()))
    }

    /// Tasks of a tenant, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn tasks(&self, tenant: &TenantName, filter: &TaskFilter) -> Result<Vec<Task>, StoreError> {
        let mut sql = String::from("SELECT doc FROM task WHERE tenant = ?1");
        // Unused parameters stay in the text, so that their numbers do not move.
        sql.push_str(if filter.status.is_some() {
            " AND state = ?2"
        } else {
            " AND CAST(?2 AS TEXT) IS NULL"
        });
        sql.push_str(if filter.agent.is_some() {
            " AND agent = ?3"
        } else {
            " AND CAST(?3 AS TEXT) IS NULL"
        });
        sql.push_str(match filter.before {
            Some(_) => " AND n < (SELECT n FROM task WHERE tenant = ?1 AND id = ?4)",
            None => " AND CAST(?4 AS TEXT) IS NULL",
        });
        sql.push_str(" ORDER BY n DESC LIMIT ?5");
        let limit = if filter.limit == 0 { TASKS_MAX } else { filter.limit.min(TASKS_MAX) };
        let status = filter.status.map(TaskStatus::as_str);
        let agent = filter.agent.as_ref().map(|a| a.as_str());
        let before = filter.before.as_ref().map(|b| b.as_str());
        self.docs("task", &sql, (tenant.as_str(), status, agent, before, limit))
    }

    /// Active tasks of all tenants whose time has run out, the earliest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn tasks_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Task>, StoreError> {
        let sql =
            "SELECT doc FROM task WHERE state = 'active' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
        self.docs("task", sql, (now.as_ms(), limit))
    }

    /// When the next active task of any tenant runs out.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn next_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT min(expires_at) FROM task WHERE state = 'active'";
        let ms: Option<Option<i64>> = self.row(sql, (), |row| row.get(0))?;
        Ok(ms.flatten().map(Timestamp::from_ms))
    }

    /// Every task below this one, whatever its state, itself not among them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn descendants(&self, tenant: &TenantName, id: &TaskId) -> Result<Vec<Task>, StoreError> {
        // UNION, not UNION ALL: a circle, which cannot arise, would still end.
        let sql = "WITH RECURSIVE below (id) AS (
                SELECT id FROM task WHERE tenant = ?1 AND parent = ?2
                UNION SELECT task.id FROM task JOIN below ON task.tenant = ?1 AND task.parent = below.id
            ) SELECT doc FROM task WHERE tenant = ?1 AND id IN (SELECT id FROM below) AND id <> ?2 ORDER BY n";
        self.docs("task", sql, (tenant.as_str(), id.as_str()))
    }

    /// How many tasks below this one are not over.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn living_descendants(&self, tenant: &TenantName, id: &TaskId) -> Result<usize, StoreError> {
        let sql = "WITH RECURSIVE below (id) AS (
                SELECT id FROM task WHERE tenant = ?1 AND parent = ?2
                UNION SELECT task.id FROM task JOIN below ON task.tenant = ?1 AND task.parent = below.id
            ) SELECT count(*) FROM task WHERE tenant = ?1 AND id IN (SELECT id FROM below) AND id <> ?2
                AND state <> 'ended'";
        let count: Option<u64> = self.row(sql, (tenant.as_str(), id.as_str()), |row| row.get(0))?;
        Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
    }

    /// Active tasks of all tenants that a runner holds.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn held_tasks(&self) -> Result<Vec<Task>, StoreError> {
        self.docs("task", "SELECT doc FROM task WHERE held = 1 AND state = 'active' ORDER BY n", ())
    }

    /// Every active task of an agent.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn active_tasks_of(&self, tenant: &TenantName, agent: &AgentName) -> Result<Vec<Task>, StoreError> {
        let sql = "SELECT doc FROM task WHERE tenant = ?1 AND agent = ?2 AND state = 'active' ORDER BY n";
        self.docs("task", sql, (tenant.as_str(), agent.as_str()))
    }
}

impl Tx<'_> {
    /// Writes a task, new or changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_task(&mut self, task: &Task) -> Result<(), StoreError> {
        let (state, expires_at) = match &task.state {
            TaskState::Proposed => (TaskStatus::Proposed, None),
            TaskState::Active { expires_at, .. } => (TaskStatus::Active, Some(expires_at.as_ms())),
            TaskState::Ended { .. } => (TaskStatus::Ended, None),
        };
        let sql = "INSERT INTO task (tenant, id, agent, parent, state, expires_at, held, doc)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT (tenant, id) DO UPDATE SET agent = excluded.agent, parent = excluded.parent,
                state = excluded.state, expires_at = excluded.expires_at, held = excluded.held, doc = excluded.doc";
        let parent = task.parent.as_ref().map(|p| p.as_str());
        let doc = text("task", task)?;
        let (tenant, id, agent) = (task.tenant.as_str(), task.id.as_str(), task.agent.as_str());
        self.execute(sql, (tenant, id, agent, parent, state.as_str(), expires_at, task.held, doc))?;
        if state == TaskStatus::Ended {
            self.order(&Cut::Task(task.tenant.clone(), task.id.clone()))?;
            self.forget_hold(&task.tenant, &task.id)?;
        }
        self.bump(Subject::task(&task.tenant, &task.id))
    }
}
