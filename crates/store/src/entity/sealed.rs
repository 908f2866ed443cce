//! Sealed values and signing keys: bytes that only the vault can open. Opaque here.

use std::fmt;

use accredit_core::id::{CredentialName, TenantName};
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::sql::Row;
use crate::tx::Tx;
use crate::view::View;

/// One sealed value.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedValue {
    /// Whose.
    pub tenant: TenantName,
    /// Of which credential.
    pub credential: CredentialName,
    /// Which version of its value.
    pub version: u32,
    /// The sealed bytes.
    pub blob: Vec<u8>,
}

impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedValue({}/{} version {})", self.tenant, self.credential, self.version)
    }
}

/// One signing key: what it is for, and its sealed bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Its id.
    pub id: String,
    /// What it signs, such as `token`.
    pub purpose: String,
    /// The sealed key.
    pub blob: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs no more.
    pub retired_at: Option<Timestamp>,
}

impl fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeyRow({} for {})", self.id, self.purpose)
    }
}

type Raw = (String, String, u32, Vec<u8>);

fn raw(row: &Row<'_>) -> Result<Raw, StoreError> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn value((tenant, credential, version, blob): Raw) -> Result<SealedValue, StoreError> {
    let tenant = TenantName::parse(&tenant).map_err(|e| StoreError::document("sealed value", e))?;
    let credential =
        CredentialName::parse(&credential).map_err(|e| StoreError::document("sealed value", e))?;
    Ok(SealedValue { tenant, credential, version, blob })
}

impl View<'_> {
    /// The sealed value of a version.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn sealed(
        &self,
        tenant: &TenantName,
        credential: &CredentialName,
        version: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT blob FROM sealed WHERE tenant = ?1 AND credential = ?2 AND version = ?3";
        self.row(sql, (tenant.as_str(), credential.as_str(), version), |row| row.get(0))
    }

    /// Every sealed value of every tenant, to be sealed again under another key.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn all_sealed(&self) -> Result<Vec<SealedValue>, StoreError> {
        let sql = "SELECT tenant, credential, version, blob FROM sealed ORDER BY tenant, credential, version";
        self.rows(sql, (), raw)?.into_iter().map(value).collect()
    }

    /// Signing keys for a purpose, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn signing_keys(&self, purpose: &str) -> Result<Vec<SigningKeyRow>, StoreError> {
        let sql = "SELECT id, purpose, blob, created_at, retired_at FROM signing_key WHERE purpose = ?1
            ORDER BY created_at, id";
        self.rows(sql, [purpose], |row| {
            let retired_at: Option<i64> = row.get(4)?;
            Ok(SigningKeyRow {
                id: row.get(0)?,
                purpose: row.get(1)?,
                blob: row.get(2)?,
                created_at: Timestamp::from_ms(row.get(3)?),
                retired_at: retired_at.map(Timestamp::from_ms),
            })
        })
    }
}

impl Tx<'_> {
    /// Keeps a sealed value, in place of an earlier one of the same version.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_sealed(
        &mut self,
        tenant: &TenantName,
        credential: &CredentialName,
        version: u32,
        blob: &[u8],
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO sealed (tenant, credential, version, blob) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (tenant, credential, version) DO UPDATE SET blob = excluded.blob";
        self.execute(sql, (tenant.as_str(), credential.as_str(), version, blob)).map(|_| ())
    }

    /// Drops every version of a credential's value. Gives how many there were.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn delete_sealed(
        &mut self,
        tenant: &TenantName,
        credential: &CredentialName,
    ) -> Result<usize, StoreError> {
        self.execute(
            "DELETE FROM sealed WHERE tenant = ?1 AND credential = ?2",
            (tenant.as_str(), credential.as_str()),
        )
    }

    /// Drops the versions before this one. Gives how many there were.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn delete_sealed_before(
        &mut self,
        tenant: &TenantName,
        credential: &CredentialName,
        version: u32,
    ) -> Result<usize, StoreError> {
        let sql = "DELETE FROM sealed WHERE tenant = ?1 AND credential = ?2 AND version < ?3";
        self.execute(sql, (tenant.as_str(), credential.as_str(), version))
    }

    /// Keeps a signing key, new or changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_signing_key(&mut self, key: &SigningKeyRow) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO signing_key (id, purpose, blob, created_at, retired_at) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (id) DO UPDATE SET blob = excluded.blob, retired_at = excluded.retired_at";
        let retired_at = key.retired_at.map(Timestamp::as_ms);
        self.execute(sql, (&key.id, &key.purpose, &key.blob, key.created_at.as_ms(), retired_at)).map(|_| ())
    }
}
