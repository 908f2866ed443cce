//! The vault: sealed or open, data keys, secrets and the installation's own keys.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use accredit_core::id::{CredentialName, TenantName};
use accredit_core::record::Permit;
use zeroize::Zeroizing;

use crate::envelope::{KeyId, Label, SealError, Sealer};
use crate::key_source::KeyEncryptionKey;
use crate::secret::{Secret, SecretValue};

/// A data key, wrapped by the key-encryption key; to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Number of the data key, counted from 1.
    pub number: u32,
    /// Id of the key-encryption key that wraps it.
    pub kek: String,
    /// The wrapped key.
    pub blob: Vec<u8>,
}

/// Why the vault stays sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// The key is not the one that the data keys are wrapped with.
    #[error("the key-encryption key {given} is not the one in use ({wanted})")]
    WrongKey {
        /// Id of the key given.
        given: String,
        /// Id of the key wanted.
        wanted: String,
    },
    /// There is no data key.
    #[error("no data key is stored")]
    NoDataKey,
    /// A data key does not open.
    #[error("data key {number}: {cause}")]
    DataKey {
        /// Its number.
        number: u32,
        /// Why.
        cause: SealError,
    },
}

/// Why a secret cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no key-encryption key.
    #[error("the vault is sealed")]
    Sealed,
    /// The permit is for an action without a credential, or its credential holds no value.
    #[error("the permit names no secret")]
    NoSecret,
    /// The sealed value does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

struct Keys {
    kek: KeyId,
    data: BTreeMap<u32, Sealer>,
    current: u32,
}

/// Secrets at rest. Cheap to share; sealed until [`Vault::unseal`] succeeded.
#[derive(Default)]
pub struct Vault {
    keys: RwLock<Option<Arc<Keys>>>,
}

/// Leading bytes of a sealed value that name its data key.
const NUMBER_BYTES: usize = 4;

impl Vault {
    /// A sealed vault.
    #[must_use]
    pub fn sealed() -> Self {
        Self::default()
    }

    /// Whether nothing can be opened.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.keys().is_none()
    }

    /// Ids of the key-encryption key and of the data key in use.
    #[must_use]
    pub fn key_ids(&self) -> Option<(KeyId, u32)> {
        self.keys().map(|k| (k.kek.clone(), k.current))
    }

    /// Makes a data key of these random bytes and wraps it. For a new installation or a rotation.
    ///
    /// # Errors
    /// [`SealError::Library`].
    pub fn wrap_new(
        kek: &KeyEncryptionKey,
        number: u32,
        random: &Zeroizing<[u8; 32]>,
    ) -> Result<WrappedKey, SealError> {
        let blob =
            Sealer::new(&kek.0)?.seal(&data_key_label(&number.to_string(), number), random.as_ref())?;
        Ok(WrappedKey { number, kek: kek.id().to_string(), blob })
    }

    /// Opens the data keys and with them the vault. The one with the highest number seals from now on.
    ///
    /// # Errors
    /// [`UnsealError`]; the vault is then as it was.
    pub fn unseal(&self, kek: &KeyEncryptionKey, wrapped: &[WrappedKey]) -> Result<(), UnsealError> {
        let opened = open_data_keys(kek, wrapped)?;
        let mut data = BTreeMap::new();
        for (number, key) in opened {
            let sealer = Sealer::new(&key).map_err(|cause| UnsealError::DataKey { number, cause })?;
            data.insert(number, sealer);
        }
        let Some((&current, _)) = data.last_key_value() else { return Err(UnsealError::NoDataKey) };
        let keys = Keys { kek: kek.id(), data, current };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
        Ok(())
    }

    /// Forgets all keys.
    pub fn seal(&self) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The data keys, wrapped by another key-encryption key.
    ///
    /// # Errors
    /// [`UnsealError`] when the present key does not open them.
    pub fn rewrap(
        from: &KeyEncryptionKey,
        to: &KeyEncryptionKey,
        wrapped: &[WrappedKey],
    ) -> Result<Vec<WrappedKey>, UnsealError> {
        open_data_keys(from, wrapped)?
            .into_iter()
            .map(|(number, key)| {
                Self::wrap_new(to, number, &key).map_err(|cause| UnsealError::DataKey { number, cause })
            })
            .collect()
    }

    /// Seals a secret's value for this credential and version.
    ///
    /// # Errors
    /// [`OpenError::Sealed`].
    pub fn seal_secret(
        &self,
        tenant: &TenantName,
        credential: &CredentialName,
        version: u32,
        value: &SecretValue,
    ) -> Result<Vec<u8>, OpenError> {
        self.seal_bytes(&secret_label(tenant, credential, version), value.bytes())
    }

    /// Opens the secret that the permit is about.
    ///
    /// # Errors
    /// [`OpenError`]; the action must be refused.
    pub fn open(&self, permit: &Permit, blob: &[u8]) -> Result<Secret, OpenError> {
        let credential = permit.credential().ok_or(OpenError::NoSecret)?;
        let version = credential.secret_version.ok_or(OpenError::NoSecret)?;
        self.open_bytes(&secret_label(&credential.tenant, &credential.name, version), blob).map(Secret)
    }

    /// Seals a secret's blob again under the data key in use; `None` when it is already so.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn reseal(
        &self,
        tenant: &TenantName,
        credential: &CredentialName,
        version: u32,
        blob: &[u8],
    ) -> Result<Option<Vec<u8>>, OpenError> {
        self.reseal_bytes(&secret_label(tenant, credential, version), blob)
    }

    /// Seals one of the installation's own keys.
    ///
    /// # Errors
    /// [`OpenError::Sealed`].
    pub fn seal_own(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.seal_bytes(&own_label(name), value)
    }

    /// Opens one of the installation's own keys.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_own(&self, name: &str, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.open_bytes(&own_label(name), blob)
    }

    /// Seals one of the installation's own keys again under the data key in use; `None` when it is
    /// already so.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn reseal_own(&self, name: &str, blob: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        self.reseal_bytes(&own_label(name), blob)
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn seal_bytes(&self, label: &Label<'_>, value: &[u8]) -> Result<Vec<u8>, OpenError> {
        let keys = self.keys().ok_or(OpenError::Sealed)?;
        let sealer = keys.data.get(&keys.current).ok_or(OpenError::Sealed)?;
        let mut out = keys.current.to_be_bytes().to_vec();
        out.extend(sealer.seal(label, value)?);
        Ok(out)
    }

    fn open_bytes(&self, label: &Label<'_>, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let keys = self.keys().ok_or(OpenError::Sealed)?;
        let (number, sealed) = split_number(blob)?;
        let sealer = keys.data.get(&number).ok_or(SealError::Authentication)?;
        Ok(sealer.open(label, sealed)?)
    }

    fn reseal_bytes(&self, label: &Label<'_>, blob: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        let keys = self.keys().ok_or(OpenError::Sealed)?;
        if split_number(blob)?.0 == keys.current {
            return Ok(None);
        }
        let value = self.open_bytes(label, blob)?;
        self.seal_bytes(label, &value).map(Some)
    }
}

fn split_number(blob: &[u8]) -> Result<(u32, &[u8]), SealError> {
    let (number, sealed) = blob.split_first_chunk::<NUMBER_BYTES>().ok_or(SealError::Format)?;
    Ok((u32::from_be_bytes(*number), sealed))
}

type DataKey = (u32, Zeroizing<[u8; 32]>);

fn open_data_keys(kek: &KeyEncryptionKey, wrapped: &[WrappedKey]) -> Result<Vec<DataKey>, UnsealError> {
    if wrapped.is_empty() {
        return Err(UnsealError::NoDataKey);
    }
    let given = kek.id().to_string();
    let sealer = Sealer::new(&kek.0).map_err(|cause| UnsealError::DataKey { number: 0, cause })?;
    wrapped
        .iter()
        .map(|w| {
            if w.kek != given {
                return Err(UnsealError::WrongKey { given: given.clone(), wanted: w.kek.clone() });
            }
            let failed = |cause| UnsealError::DataKey { number: w.number, cause };
            let key =
                sealer.open(&data_key_label(&w.number.to_string(), w.number), &w.blob).map_err(failed)?;
            let key = <[u8; 32]>::try_from(key.as_slice()).map_err(|_| failed(SealError::Format))?;
            Ok((w.number, Zeroizing::new(key)))
        })
        .collect()
}

const fn data_key_label(id: &str, number: u32) -> Label<'_> {
    Label { tenant: "", kind: "data-key", id, version: number }
}

const fn own_label(name: &str) -> Label<'_> {
    Label { tenant: "", kind: "own-key", id: name, version: 0 }
}

fn secret_label<'a>(tenant: &'a TenantName, credential: &'a CredentialName, version: u32) -> Label<'a> {
    Label { tenant: tenant.as_str(), kind: "secret", id: credential.as_str(), version }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_vault(kek: u8) -> (Vault, Vec<WrappedKey>) {
        let key = KeyEncryptionKey::new([kek; 32]);
        let wrapped = vec![Vault::wrap_new(&key, 1, &Zeroizing::new([9; 32])).expect("wrapped")];
        let vault = Vault::sealed();
        vault.unseal(&key, &wrapped).expect("the right key");
        (vault, wrapped)
    }

    fn names() -> (TenantName, CredentialName) {
        (TenantName::parse("a").expect("a name"), CredentialName::parse("key").expect("a name"))
    }

    // case: ADM-07
    #[test]
    fn without_the_right_key_the_vault_stays_sealed() {
        let (_, wrapped) = open_vault(1);
        let vault = Vault::sealed();
        assert!(matches!(
            vault.unseal(&KeyEncryptionKey::new([2; 32]), &wrapped),
            Err(UnsealError::WrongKey { .. })
        ));
        assert!(vault.is_sealed());
        assert!(matches!(vault.open_own("x", &[0; 64]), Err(OpenError::Sealed)));
        assert!(matches!(vault.unseal(&KeyEncryptionKey::new([1; 32]), &[]), Err(UnsealError::NoDataKey)));
    }

    // case: ADM-09
    #[test]
    fn a_sealed_value_opens_only_in_its_own_place() {
        let (vault, _) = open_vault(1);
        let (tenant, credential) = names();
        let value = SecretValue::new(b"0123456789abcdef\n".to_vec()).expect("a value");
        let blob = vault.seal_secret(&tenant, &credential, 3, &value).expect("sealed");
        let other_tenant = TenantName::parse("b").expect("a name");
        let other_name = CredentialName::parse("key2").expect("a name");
        let open = |t, c, v, b: &[u8]| vault.open_bytes(&secret_label(t, c, v), b).is_ok();
        assert!(open(&tenant, &credential, 3, &blob));
        assert!(!open(&other_tenant, &credential, 3, &blob));
        assert!(!open(&tenant, &other_name, 3, &blob));
        assert!(!open(&tenant, &credential, 4, &blob));
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            assert!(!open(&tenant, &credential, 3, &changed), "byte {at}");
        }
        assert!(vault.open_own("key", &blob).is_err());
    }

    // case: ADM-11
    #[test]
    fn both_keys_rotate_and_every_value_stays_readable() {
        let (vault, wrapped) = open_vault(1);
        let blob = vault.seal_own("ledger", b"seed").expect("sealed");
        let (old, new) = (KeyEncryptionKey::new([1; 32]), KeyEncryptionKey::new([2; 32]));
        let mut wrapped = Vault::rewrap(&old, &new, &wrapped).expect("rewrapped");
        wrapped.push(Vault::wrap_new(&new, 2, &Zeroizing::new([8; 32])).expect("wrapped"));
        vault.unseal(&new, &wrapped).expect("the new key");
        assert!(vault.unseal(&old, &wrapped).is_err());
        let resealed = vault.reseal_own("ledger", &blob).expect("opened").expect("under the new data key");
        assert_eq!(vault.open_own("ledger", &blob).expect("old").as_slice(), b"seed");
        assert_eq!(vault.open_own("ledger", &resealed).expect("new").as_slice(), b"seed");
        assert!(vault.reseal_own("ledger", &resealed).expect("opened").is_none());
    }

    #[test]
    fn values_that_no_header_can_carry_are_refused() {
        for bad in [
            b"short".to_vec(),
            b"has space inside".to_vec(),
            b"line\nbreak-inside".to_vec(),
            vec![b'x'; 9000],
        ] {
            assert!(SecretValue::new(bad).is_err());
        }
    }
}
