//! Rotation of both vault keys, while everything goes on.
//!
//! *Data key*: a new one is made and wrapped; every sealed value and own key is sealed again under
//! it, a few in one change. *Key-encryption key*: the data keys are wrapped again, in one change;
//! only for a key in a file, whose successor stands beside it as `FILE.next` until it takes its
//! place. Killed at any point, the next start finds every value readable: old data keys are kept
//! until nothing is sealed under them, and `FILE.next` is tried when `FILE` does not open.

use std::path::{Path, PathBuf};

use accredit_core::event::Event;
use accredit_vault::{KeyEncryptionKey, KeySource, Vault};
use zeroize::Zeroizing;

use crate::Authority;
use crate::clock::draw;
use crate::fault::Fault;
use crate::jobs::KEYS_EVERY;
use crate::keys::{OWN_KEYS, meta_name};
use crate::open::{no_key, put_wrapped};

/// Values sealed again in one change, so that records do not wait for long.
const RESEAL_MAX: usize = 100;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Id of the key-encryption key in use now.
    pub kek: String,
    /// Number of the data key in use now.
    pub data_key: u32,
    /// Values that were sealed again.
    pub resealed: u64,
}

impl Authority {
    /// Makes a new data key and seals every value again under it.
    ///
    /// # Errors
    /// [`Fault`] while sealed, or when the store cannot be written; then call it again.
    pub async fn rotate_data_key(&self, by: &str) -> Result<Rotated, Fault> {
        let kek = self.read_key()?;
        let mut wrapped = self.wrapped_keys().await?;
        let number = wrapped.iter().map(|w| w.number).max().unwrap_or(0) + 1;
        wrapped.push(Vault::wrap_new(&kek, number, &Zeroizing::new(draw())).map_err(|e| no_key(&e))?);
        let kept = wrapped.clone();
        self.store().change(move |tx| Ok::<_, Fault>(put_wrapped(tx, &kept)?)).await?;
        self.vault().unseal(&kek, &wrapped).map_err(|e| no_key(&e))?;
        if self.store().is_shared() {
            // Every replica takes the new key before anything is sealed under it alone.
            tokio::time::sleep(KEYS_EVERY * 3).await;
        }
        let resealed = self.reseal_secrets().await? + self.reseal_own().await?;
        wrapped.retain(|w| w.number == number);
        let (tenant, by, id) = (self.tenant().clone(), by.to_owned(), kek.id().to_string());
        let (kept, kek_id) = (wrapped.clone(), id.clone());
        self.store()
            .change(move |tx| {
                put_wrapped(tx, &kept)?;
                let event = Event::new(&tenant, "secret.dek_rotated").with("by", by).with("kek", kek_id);
                let event = event.with_number("data_key", number.into()).with_number("resealed", resealed);
                Ok::<_, Fault>(tx.append(event)?)
            })
            .await?;
        self.vault().unseal(&kek, &wrapped).map_err(|e| no_key(&e))?;
        Ok(Rotated { kek: id, data_key: number, resealed })
    }

    /// Wraps the data keys by a new key-encryption key, made as `FILE.next` if it does not stand
    /// there already, and puts it in the place of `FILE`.
    ///
    /// # Errors
    /// [`Fault`] when the key does not come from a file, or something cannot be written.
    pub async fn rotate_key_encryption_key(&self, by: &str) -> Result<Rotated, Fault> {
        let KeySource::File(path) = &self.settings().key else {
            return Err(Fault::conflict(
                "key_not_a_file",
                "the key-encryption key does not come from a file, so it cannot be replaced here",
                "Replace it where it comes from, with the old one still at hand, as the guide says.",
            ));
        };
        let from = self.read_key()?;
        let next = next_to(path);
        if !next.exists() {
            KeySource::create_file(&next, draw()).map_err(|e| no_key(&e))?;
        }
        let to = KeySource::File(next.clone()).read().map_err(|e| no_key(&e))?;
        let wrapped = Vault::rewrap(&from, &to, &self.wrapped_keys().await?).map_err(|e| no_key(&e))?;
        let data_key = wrapped.iter().map(|w| w.number).max().unwrap_or(0);
        let (tenant, by, id) = (self.tenant().clone(), by.to_owned(), to.id().to_string());
        let (kept, kek_id, previous) = (wrapped.clone(), id.clone(), from.id().to_string());
        self.store()
            .change(move |tx| {
                put_wrapped(tx, &kept)?;
                let event = Event::new(&tenant, "secret.kek_rotated").with("by", by).with("kek", kek_id);
                let event = event.with("previous_kek", previous).with_number("data_key", data_key.into());
                Ok::<_, Fault>(tx.append(event)?)
            })
            .await?;
        self.vault().unseal(&to, &wrapped).map_err(|e| no_key(&e))?;
        take_place(&next, path).map_err(|e| no_key(&e))?;
        Ok(Rotated { kek: id, data_key, resealed: 0 })
    }

    /// The key-encryption key that opens the vault: the configured one, or its successor when a
    /// rotation was interrupted before it took its place.
    pub(crate) fn read_key(&self) -> Result<KeyEncryptionKey, Fault> {
        let in_use = self.vault().key_ids().map(|(kek, _)| kek);
        let first = self.settings().key.read();
        let KeySource::File(path) = &self.settings().key else { return first.map_err(|e| no_key(&e)) };
        let fits = |key: &KeyEncryptionKey| in_use.as_ref().is_none_or(|id| key.id() == *id);
        match first {
            Ok(key) if fits(&key) => Ok(key),
            other => match KeySource::File(next_to(path)).read() {
                Ok(next) if fits(&next) => Ok(next),
                _ => other.map_err(|e| no_key(&e)),
            },
        }
    }

    async fn reseal_secrets(&self) -> Result<u64, Fault> {
        let all = self.store().of_installation().read(|view| view.all_sealed()).await?;
        let mut done = 0;
        for some in all.chunks(RESEAL_MAX) {
            let mut again = Vec::new();
            for value in some {
                let sealed =
                    self.vault().reseal(&value.tenant, &value.credential, value.version, &value.blob);
                if let Some(blob) = sealed.map_err(|e| no_key(&e))? {
                    again.push((value.clone(), blob));
                }
            }
            let written = self
                .store()
                .change(move |tx| {
                    let mut written = 0;
                    for (value, blob) in again {
                        // It may have been changed or dropped since it was read.
                        let now = tx.sealed(&value.tenant, &value.credential, value.version)?;
                        if now.is_some_and(|now| now == value.blob) {
                            tx.put_sealed(&value.tenant, &value.credential, value.version, &blob)?;
                            written += 1;
                        }
                    }
                    Ok::<_, Fault>(written)
                })
                .await?;
            done += written;
        }
        self.blobs.clear();
        Ok(done)
    }

    async fn reseal_own(&self) -> Result<u64, Fault> {
        let mut done = 0;
        for name in OWN_KEYS {
            let place = meta_name(name);
            let asked = place.clone();
            let Some(blob) = self.store().read(move |view| view.meta_get(&asked)).await? else { continue };
            let Some(again) = self.vault().reseal_own(name, &blob).map_err(|e| no_key(&e))? else { continue };
            self.store().change(move |tx| Ok::<_, Fault>(tx.meta_set(&place, &again)?)).await?;
            done += 1;
        }
        Ok(done)
    }
}

/// Where the successor of a key file stands.
pub(crate) fn next_to(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    PathBuf::from(name)
}

fn take_place(next: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::rename(next, path)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(parent)?.sync_all()
}
