//! Tenants: whose worlds there are.

use accredit_core::id::TenantName;

use crate::error::StoreError;
use crate::tx::{Tx, now};
use crate::view::View;

impl View<'_> {
    /// Every tenant, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn tenants(&self) -> Result<Vec<TenantName>, StoreError> {
        let names: Vec<String> = self.rows("SELECT name FROM tenant ORDER BY name", (), |row| row.get(0))?;
        names.iter().map(|n| TenantName::parse(n).map_err(|e| StoreError::document("tenant", e))).collect()
    }
}

impl Tx<'_> {
    /// Makes sure that the tenant is there. `true`: it was not.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn ensure_tenant(&mut self, name: &TenantName) -> Result<bool, StoreError> {
        let sql = "INSERT INTO tenant (name, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        Ok(self.execute(sql, (name.as_str(), now().as_ms()))? == 1)
    }
}
