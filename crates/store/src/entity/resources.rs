//! Resources and where they answer: at most one active resource per endpoint of a tenant.

use accredit_core::host::Endpoint;
use accredit_core::id::{ResourceName, TenantName};
use accredit_core::resource::Resource;
use accredit_core::text::Owner;

use crate::error::StoreError;
use crate::stamp::Subject;
use crate::tx::{Tx, text};
use crate::view::View;

impl View<'_> {
    /// One resource.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn resource(&self, tenant: &TenantName, name: &ResourceName) -> Result<Option<Resource>, StoreError> {
        let sql = "SELECT doc FROM resource WHERE tenant = ?1 AND name = ?2";
        self.doc("resource", sql, (tenant.as_str(), name.as_str()))
    }

    /// Every resource of a tenant, by name, retired ones among them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn resources(&self, tenant: &TenantName) -> Result<Vec<Resource>, StoreError> {
        self.docs("resource", "SELECT doc FROM resource WHERE tenant = ?1 ORDER BY name", [tenant.as_str()])
    }

    /// Every resource that an owner answers for.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn resources_of_owner(
        &self,
        tenant: &TenantName,
        owner: &Owner,
    ) -> Result<Vec<Resource>, StoreError> {
        let sql = "SELECT doc FROM resource WHERE tenant = ?1 AND owner = ?2 ORDER BY name";
        self.docs("resource", sql, (tenant.as_str(), owner.as_str()))
    }

    /// The active resource that answers at an endpoint.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn resource_at(
        &self,
        tenant: &TenantName,
        endpoint: &Endpoint,
    ) -> Result<Option<Resource>, StoreError> {
        let sql = "SELECT resource.doc FROM resource_endpoint AS at
            JOIN resource ON resource.tenant = at.tenant AND resource.name = at.resource
            WHERE at.tenant = ?1 AND at.endpoint = ?2";
        self.doc("resource", sql, (tenant.as_str(), endpoint.to_string()))
    }
}

impl Tx<'_> {
    /// Writes a resource, new or changed. A retired one gives its endpoints back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another active resource answers at one of its endpoints.
    pub fn put_resource(&mut self, resource: &Resource) -> Result<(), StoreError> {
        let (tenant, name) = (resource.tenant.as_str(), resource.name.as_str());
        let sql = "INSERT INTO resource (tenant, name, owner, doc) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (tenant, name) DO UPDATE SET owner = excluded.owner, doc = excluded.doc";
        self.execute(sql, (tenant, name, resource.owner.as_str(), text("resource", resource)?))?;
        self.execute("DELETE FROM resource_endpoint WHERE tenant = ?1 AND resource = ?2", (tenant, name))?;
        for endpoint in resource.endpoints.iter().filter(|_| resource.active()) {
            let sql = "INSERT INTO resource_endpoint (tenant, endpoint, resource) VALUES (?1, ?2, ?3)";
            self.execute(sql, (tenant, endpoint.to_string(), name)).map_err(|error| match error {
                StoreError::Conflict(_) => StoreError::Conflict(format!("endpoint `{endpoint}`")),
                other => other,
            })?;
        }
        self.bump(Subject::endpoints(&resource.tenant))?;
        self.bump(Subject::resource(&resource.tenant, &resource.name))
    }
}
