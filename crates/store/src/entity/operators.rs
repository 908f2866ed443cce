//! Operators: the people who are registered, with their roles and groups.

use accredit_core::id::TenantName;
use accredit_core::operator::Operator;
use accredit_core::text::Owner;

use crate::error::StoreError;
use crate::stamp::Subject;
use crate::tx::{Tx, text};
use crate::view::View;

impl View<'_> {
    /// One operator.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn operator(&self, tenant: &TenantName, name: &Owner) -> Result<Option<Operator>, StoreError> {
        let sql = "SELECT doc FROM operator WHERE tenant = ?1 AND name = ?2";
        self.doc("operator", sql, (tenant.as_str(), name.as_str()))
    }

    /// The operator that an identity provider knows by these claims.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn operator_by_oidc(
        &self,
        tenant: &TenantName,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<Operator>, StoreError> {
        let sql = "SELECT doc FROM operator WHERE tenant = ?1 AND issuer = ?2 AND subject = ?3";
        self.doc("operator", sql, (tenant.as_str(), issuer, subject))
    }

    /// Every operator of a tenant, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn operators(&self, tenant: &TenantName) -> Result<Vec<Operator>, StoreError> {
        self.docs("operator", "SELECT doc FROM operator WHERE tenant = ?1 ORDER BY name", [tenant.as_str()])
    }
}

impl Tx<'_> {
    /// Writes an operator, new or changed. What was decided with the operator as they stood before cannot be recorded
    /// after it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else has the identity at the provider.
    pub fn put_operator(&mut self, operator: &Operator) -> Result<(), StoreError> {
        let sql = "INSERT INTO operator (tenant, name, issuer, subject, doc) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (tenant, name) DO UPDATE
            SET issuer = excluded.issuer, subject = excluded.subject, doc = excluded.doc";
        let (issuer, subject) = operator
            .oidc
            .as_ref()
            .map_or((None, None), |id| (Some(id.issuer.as_str()), Some(id.subject.as_str())));
        let (tenant, name) = (operator.tenant.as_str(), operator.name.as_str());
        self.execute(sql, (tenant, name, issuer, subject, text("operator", operator)?))?;
        self.bump(Subject::operator(&operator.tenant, &operator.name))
    }
}
