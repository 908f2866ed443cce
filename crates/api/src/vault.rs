//! Whether secrets can be opened, and the keys that seal them. Never a value, never a key.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Vault {
    /// Whether its key is missing: then nothing can be opened or sealed.
    pub sealed: bool,
    /// Name of the key-encryption key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kek: Option<String>,
    /// Names of the data-encryption keys, the one in use last.
    pub deks: Vec<String>,
    /// Values that are held.
    pub secrets: u64,
}

/// Which key is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VaultKey {
    /// The key that seals the data-encryption keys: it is read again from its source.
    Kek,
    /// The key that seals values: a new one is drawn and every value sealed again.
    Dek,
}

/// Changes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateVault {
    /// Which.
    pub key: VaultKey,
}
