//! On whose behalf the database is asked. Every query names its tenant; where the database knows row-level security,
//! the scope is what it holds every query against, should one ever forget to.

use accredit_core::id::TenantName;

/// Whose rows are seen and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of one tenant.
    Tenant(TenantName),
    /// Everybody's: for what the installation does as a whole, such as the ledger's tree and expiry.
    Installation,
}

impl Scope {
    /// The statement that puts a transaction of PostgreSQL into this scope. A tenant's name has letters, digits and
    /// `._-` only.
    pub(crate) fn setting(&self) -> String {
        match self {
            Self::Tenant(tenant) => format!("SET LOCAL accredit.tenants = '{tenant}'"),
            Self::Installation => "SET LOCAL accredit.tenants = '*'".to_owned(),
        }
    }
}
