//! Credentials: the ways into resources. Their sealed values are in `sealed`.

use accredit_core::credential::Credential;
use accredit_core::id::{CredentialName, ResourceName, TenantName};

use crate::error::StoreError;
use crate::postgres::Cut;
use crate::stamp::Subject;
use crate::tx::{Tx, text};
use crate::view::View;

impl View<'_> {
    /// One credential.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn credential(
        &self,
        tenant: &TenantName,
        name: &CredentialName,
    ) -> Result<Option<Credential>, StoreError> {
        let sql = "SELECT doc FROM credential WHERE tenant = ?1 AND name = ?2";
        self.doc("credential", sql, (tenant.as_str(), name.as_str()))
    }

    /// Every credential of a tenant, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn credentials(&self, tenant: &TenantName) -> Result<Vec<Credential>, StoreError> {
        self.docs(
            "credential",
            "SELECT doc FROM credential WHERE tenant = ?1 ORDER BY name",
            [tenant.as_str()],
        )
    }

    /// The active credential of a resource.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn credential_of(
        &self,
        tenant: &TenantName,
        resource: &ResourceName,
    ) -> Result<Option<Credential>, StoreError> {
        let sql = "SELECT doc FROM credential WHERE tenant = ?1 AND resource = ?2 AND active = 1 ORDER BY name LIMIT 1";
        self.doc("credential", sql, (tenant.as_str(), resource.as_str()))
    }
}

impl Tx<'_> {
    /// Writes a credential, new or changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_credential(&mut self, credential: &Credential) -> Result<(), StoreError> {
        let sql = "INSERT INTO credential (tenant, name, resource, active, doc) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (tenant, name) DO UPDATE SET resource = excluded.resource, active = excluded.active,
                doc = excluded.doc";
        let doc = text("credential", credential)?;
        let (tenant, name) = (credential.tenant.as_str(), credential.name.as_str());
        self.execute(sql, (tenant, name, credential.resource.as_str(), credential.active(), doc))?;
        if !credential.active() || credential.secret_version.is_none() {
            self.order(&Cut::Credential(credential.tenant.clone(), credential.name.clone()))?;
        }
        self.bump(Subject::credential(&credential.tenant, &credential.name))
    }
}
