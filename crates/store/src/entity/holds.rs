//! Which runners hold their tasks, where a runner may come back to another replica than the one that it was on. With one
//! process, that process knows, and nothing is kept here.

use accredit_core::id::{TaskId, TenantName};
use accredit_core::task::Task;

use crate::error::StoreError;
use crate::sql::Conn;
use crate::tx::Tx;
use crate::view::View;

impl View<'_> {
    /// Active tasks of all tenants whose runners are gone.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn tasks_without_runner(&self, limit: usize) -> Result<Vec<Task>, StoreError> {
        let Conn::Postgres(_) = self.conn() else { return Ok(Vec::new()) };
        let sql =
            "SELECT task.doc FROM task LEFT JOIN hold ON hold.tenant = task.tenant AND hold.task = task.id
            WHERE task.held = 1 AND task.state = 'active'
                AND (hold.until IS NULL OR hold.until < clock_timestamp()) ORDER BY task.n LIMIT ?1";
        self.docs("task", sql, [limit])
    }
}

impl Tx<'_> {
    /// A runner holds its task, or is awaited, for so many milliseconds from now.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn hold_task(&mut self, tenant: &TenantName, task: &TaskId, ms: u64) -> Result<(), StoreError> {
        let Conn::Postgres(_) = self.conn() else { return Ok(()) };
        let sql = "INSERT INTO hold (tenant, task, until)
            VALUES (?1, ?2, clock_timestamp() + CAST(?3 AS BIGINT) * INTERVAL '1 millisecond')
            ON CONFLICT (tenant, task) DO UPDATE SET until = excluded.until";
        self.execute(sql, (tenant.as_str(), task.as_str(), ms)).map(|_| ())
    }

    /// Nobody holds the task any more.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_hold(&mut self, tenant: &TenantName, task: &TaskId) -> Result<(), StoreError> {
        let Conn::Postgres(_) = self.conn() else { return Ok(()) };
        let sql = "DELETE FROM hold WHERE tenant = ?1 AND task = ?2";
        self.execute(sql, (tenant.as_str(), task.as_str())).map(|_| ())
    }
}
