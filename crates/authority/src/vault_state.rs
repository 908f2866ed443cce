//! What can be told of the vault: sealed or not, the ids of its keys, how many values it holds. Never a key.

use crate::Authority;
use crate::fault::Fault;

/// What can be told of the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultState {
    /// Whether nothing can be opened.
    pub sealed: bool,
    /// Id of the key-encryption key in use.
    pub kek: Option<String>,
    /// Numbers of the data keys, the one in use last.
    pub data_keys: Vec<u32>,
    /// Values that are held.
    pub secrets: u64,
}

impl Authority {
    /// What can be told of the vault.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn vault_state(&self) -> Result<VaultState, Fault> {
        let tenant = self.tenant().clone();
        let credentials = self.store.read(move |view| view.credentials(&tenant)).await?;
        let secrets = credentials.iter().filter(|c| c.secret_version.is_some()).count() as u64;
        let mut data_keys: Vec<u32> = self.wrapped_keys().await?.iter().map(|w| w.number).collect();
        data_keys.sort_unstable();
        let kek = self.vault.key_ids().map(|(kek, _)| kek.to_string());
        Ok(VaultState { sealed: self.vault.is_sealed(), kek, data_keys, secrets })
    }
}
