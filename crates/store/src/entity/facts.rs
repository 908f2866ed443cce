//! Facts that decisions were made from, by their digest: what a replay needs beside the policy set.

use accredit_core::digest::Digest;
use accredit_core::id::TenantName;

use crate::error::StoreError;
use crate::view::View;

impl View<'_> {
    /// The text of the facts with this digest, if a decision of the tenant was made from them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn facts(&self, tenant: &TenantName, digest: &Digest) -> Result<Option<String>, StoreError> {
        let sql = "SELECT text FROM facts WHERE tenant = ?1 AND digest = ?2";
        self.row(sql, (tenant.as_str(), digest.as_bytes()), |row| row.get(0))
    }
}
