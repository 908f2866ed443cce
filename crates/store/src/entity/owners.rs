//! Owners: who answers for agents, resources and credentials.

use accredit_core::id::TenantName;
use accredit_core::owner::OwnerRecord;
use accredit_core::text::Owner;

use crate::error::StoreError;
use crate::stamp::Subject;
use crate::tx::{Tx, text};
use crate::view::View;

impl View<'_> {
    /// One owner.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn owner(&self, tenant: &TenantName, owner: &Owner) -> Result<Option<OwnerRecord>, StoreError> {
        let sql = "SELECT doc FROM owner WHERE tenant = ?1 AND name = ?2";
        self.doc("owner", sql, (tenant.as_str(), owner.as_str()))
    }

    /// Every owner of a tenant, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn owners(&self, tenant: &TenantName) -> Result<Vec<OwnerRecord>, StoreError> {
        self.docs("owner", "SELECT doc FROM owner WHERE tenant = ?1 ORDER BY name", [tenant.as_str()])
    }
}

impl Tx<'_> {
    /// Writes an owner, new or changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_owner(&mut self, tenant: &TenantName, record: &OwnerRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO owner (tenant, name, doc) VALUES (?1, ?2, ?3)
            ON CONFLICT (tenant, name) DO UPDATE SET doc = excluded.doc";
        self.execute(sql, (tenant.as_str(), record.owner.as_str(), text("owner", record)?))?;
        self.bump(Subject::owner(tenant, &record.owner))
    }
}
