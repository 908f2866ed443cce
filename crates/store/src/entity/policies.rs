//! Policy sets by digest, kept for ever so that any decision can be replayed, and which one is in force.

use accredit_core::digest::Digest;
use accredit_core::id::TenantName;
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::stamp::Subject;
use crate::tx::Tx;
use crate::view::View;

/// One policy set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySetRow {
    /// Its digest, as the rules compute it.
    pub digest: Digest,
    /// Its sources, as JSON of the caller's making.
    pub sources: String,
    /// When it was added.
    pub added_at: Timestamp,
}

impl View<'_> {
    /// The policy set with this digest.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn policy_set(&self, digest: &Digest) -> Result<Option<PolicySetRow>, StoreError> {
        let sql = "SELECT sources, added_at FROM policy_set WHERE digest = ?1";
        self.row(sql, [digest.to_string()], |row| {
            let (sources, added_at) = (row.get(0)?, Timestamp::from_ms(row.get(1)?));
            Ok(PolicySetRow { digest: *digest, sources, added_at })
        })
    }

    /// The digest of the policy set in force in a tenant.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn policy_head(&self, tenant: &TenantName) -> Result<Option<Digest>, StoreError> {
        let sql = "SELECT digest FROM policy_head WHERE tenant = ?1";
        let text: Option<String> = self.row(sql, [tenant.as_str()], |row| row.get(0))?;
        let parse =
            |text: String| Digest::parse(&text).ok_or_else(|| StoreError::document("policy head", text));
        text.map(parse).transpose()
    }
}

impl Tx<'_> {
    /// Keeps a policy set. `false`: it was kept already.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_policy_set(&mut self, set: &PolicySetRow) -> Result<bool, StoreError> {
        let sql =
            "INSERT INTO policy_set (digest, sources, added_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        Ok(self.execute(sql, (set.digest.to_string(), &set.sources, set.added_at.as_ms()))? == 1)
    }

    /// Puts a kept policy set in force.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when no such set is kept.
    pub fn set_policy_head(
        &mut self,
        tenant: &TenantName,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO policy_head (tenant, digest, since) VALUES (?1, ?2, ?3)
            ON CONFLICT (tenant) DO UPDATE SET digest = excluded.digest, since = excluded.since";
        self.execute(sql, (tenant.as_str(), digest.to_string(), now.as_ms()))?;
        self.bump(Subject::policy(tenant))
    }
}
