//! Start: the store, the check for a fork, the vault, the own keys, the first tenant's policy.

use std::sync::Arc;
use std::time::Duration;

use accredit_core::digest::Digest;
use accredit_core::event::Event;
use accredit_core::id::TenantName;
use accredit_core::policy::PolicySources;
use accredit_core::policy::starter::starter;
use accredit_core::time::Timestamp;
use accredit_store::{PolicySetRow, SharedConfig, Store, StoreConfig, StoreError, Tx};
use accredit_vault::{KeySource, Vault, WrappedKey};
use arc_swap::ArcSwapOption;
use zeroize::Zeroizing;

use crate::Authority;
use crate::authenticate::ProofMemory;
use crate::clock::{Clock, draw};
use crate::fault::Fault;
use crate::jobs::Jobs;
use crate::keys::{OwnKeys, own_key};
use crate::live::Live;
use crate::publication::Publication;
use crate::rotate::next_to;
use crate::settings::{DATABASE_FILE, Database, Settings};
use crate::tasks::Holds;
use crate::traces::Traces;
use crate::traffic::Traffic;
use crate::uses::SealedCache;
use crate::witnesses::Witnesses;

/// Where the wrapped data keys are kept, a line for each: number, key-encryption key, hexadecimal.
const DATA_KEYS: &str = "data-keys";
/// Connections that read the embedded database.
const READERS: usize = 4;
/// Sessions that read a shared database: each waits for the network most of its time.
const SHARED_READERS: usize = 16;
/// How often a sealed vault looks for its key.
pub(crate) const UNSEAL_EVERY: Duration = Duration::from_secs(5);

/// Why the authority does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] accredit_store::OpenError),
    /// The ledger's head, kept outside the database, says otherwise than the database.
    #[error("{0}")]
    Fork(accredit_store::Fork),
    /// Something that was needed to start could not be done.
    #[error("{0}")]
    Fault(#[from] Fault),
}

impl Authority {
    /// Opens the authority and starts its background jobs. Without its key it opens *sealed*: the
    /// control plane answers, nothing that needs a secret works, and it goes on by itself when the
    /// key appears.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed, except after a fork was to be acknowledged.
    pub async fn open(settings: Settings, acknowledge_fork: bool) -> Result<Arc<Self>, OpenError> {
        let store = open_store(&settings).await?.of_tenant(&settings.tenant);
        if let Some(fork) = store.fork() {
            if !acknowledge_fork {
                return Err(OpenError::Fork(fork));
            }
            let acknowledged =
                store.acknowledge_fork("operator at start", "acknowledged on the command line").await;
            acknowledged.map_err(|e| Fault::unavailable("fork_not_acknowledged", e.to_string()))?;
        }
        let authority = Arc::new(Self {
            witnesses: Witnesses::new(&settings.witnesses),
            settings,
            clock: Clock,
            store,
            vault: Vault::sealed(),
            keys: ArcSwapOption::empty(),
            compiled: std::sync::Mutex::default(),
            live: Live::default(),
            memory: ProofMemory::default(),
            misuses: crate::authenticate::Misuses::default(),
            blobs: SealedCache::default(),
            holds: Holds::default(),
            answers: crate::approvals::Answers::default(),
            traffic: Traffic::default(),
            traces: Traces::default(),
            is_new: std::sync::atomic::AtomicBool::default(),
            stalled_since: std::sync::Mutex::default(),
            publication: Publication::default(),
        });
        authority.void_what_was_granted_before().await?;
        authority.ensure_tenant().await?;
        authority.begin_to_watch().await?;
        if let Err(fault) = authority.unseal().await {
            tracing::error!(cause = %fault, "the vault stays sealed");
        }
        authority.expect_runners().await?;
        // A crash may have come between the head and its checkpoint: both are right again before anybody asks.
        if let Err(fault) = authority.integrate().await {
            tracing::warn!(%fault, "the newest entries are not under a checkpoint yet");
        }
        Jobs::start(&authority);
        Witnesses::start(&authority);
        Ok(authority)
    }

    /// Opens the vault and the own keys. On the first start the key file and the keys are made.
    ///
    /// # Errors
    /// [`Fault`] when the key is absent or not the one in use; the vault stays sealed.
    pub async fn unseal(&self) -> Result<(), Fault> {
        let wrapped = self.wrapped_keys().await?;
        if wrapped.is_empty() {
            self.make_first_keys().await?;
            return Box::pin(self.unseal()).await;
        }
        self.unseal_with_key_at_hand(&wrapped)?;
        let keys = OwnKeys::open(&self.store, &self.vault, &self.ledger_origin()).await;
        let keys = keys.inspect_err(|_| self.vault.seal())?;
        self.keys.store(Some(Arc::new(keys)));
        let (kek, number) = self.vault.key_ids().ok_or_else(Fault::sealed)?;
        let tenant = self.tenant().clone();
        self.store
            .change(move |tx| {
                let event = Event::new(&tenant, "vault.unsealed")
                    .with("kek", kek)
                    .with_number("data_key", number.into());
                Ok::<_, Fault>(tx.append(event)?)
            })
            .await?;
        Ok(())
    }

    /// With the configured key, or its successor when a rotation was interrupted.
    pub(crate) fn unseal_with_key_at_hand(&self, wrapped: &[WrappedKey]) -> Result<(), Fault> {
        let first = self.settings.key.read().map_err(|e| no_key(&e));
        let opened = first.and_then(|kek| self.vault.unseal(&kek, wrapped).map_err(|e| no_key(&e)));
        let (Err(fault), KeySource::File(path)) = (&opened, &self.settings.key) else { return opened };
        let Ok(next) = KeySource::File(next_to(path)).read() else { return Err(fault.clone()) };
        self.vault.unseal(&next, wrapped).map_err(|e| no_key(&e))
    }

    /// The name of this ledger in its checkpoints (C2SP tlog-checkpoint): the issuer without scheme.
    #[must_use]
    pub fn ledger_origin(&self) -> String {
        let issuer = &self.settings.issuer;
        let name = issuer.split_once("://").map_or(issuer.as_str(), |(_, rest)| rest);
        format!("{name}/ledger")
    }

    /// One of the installation's own keys; `make` gives it when it does not exist yet.
    ///
    /// # Errors
    /// [`Fault`] while the vault is sealed, or when `make` fails.
    pub async fn own_key(
        &self,
        name: &'static str,
        make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, Fault>,
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        own_key(&self.store, &self.vault, name, make).await
    }

    pub(crate) async fn wrapped_keys(&self) -> Result<Vec<WrappedKey>, Fault> {
        let stored = self.store.read(|view| view.meta_get(DATA_KEYS)).await?;
        let lines = String::from_utf8(stored.unwrap_or_default()).map_err(|_| broken_data_key())?;
        lines.lines().map(|line| read_wrapped(line).ok_or_else(broken_data_key)).collect()
    }

    async fn make_first_keys(&self) -> Result<(), Fault> {
        if let KeySource::File(path) = &self.settings.key
            && !path.exists()
        {
            KeySource::create_file(path, draw()).map_err(|e| no_key(&e))?;
            tracing::info!(path = %path.display(), "a new key-encryption key was made: keep a copy elsewhere");
        }
        let kek = self.settings.key.read().map_err(|e| no_key(&e))?;
        let wrapped = Vault::wrap_new(&kek, 1, &Zeroizing::new(draw())).map_err(|e| no_key(&e))?;
        let keep_first = move |tx: &mut Tx<'_>| {
            // Another replica may have been first; then its key is the one.
            match tx.meta_get(DATA_KEYS)? {
                Some(_) => Ok(()),
                None => Ok::<_, Fault>(put_wrapped(tx, &[wrapped])?),
            }
        };
        Ok(self.store.change(keep_first).await?)
    }

    /// The tenant, with the starter policy, on the first start.
    async fn ensure_tenant(&self) -> Result<(), Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let is_new = self
            .store
            .change(move |tx| {
                let is_new = tx.ensure_tenant(&tenant)?;
                if is_new {
                    tx.append(
                        Event::new(&tenant, "install.created").with("version", env!("CARGO_PKG_VERSION")),
                    )?;
                    apply_policy(tx, &tenant, &starter(), "system", now)?;
                }
                Ok::<_, Fault>(is_new)
            })
            .await?;
        self.is_new.store(is_new, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

async fn open_store(settings: &Settings) -> Result<Store, accredit_store::OpenError> {
    let head_path = settings.head_path.clone();
    match &settings.database {
        Database::Embedded => Store::open(StoreConfig {
            path: settings.data_dir.join(DATABASE_FILE),
            head_path,
            readers: READERS,
            queue_max: settings.queue_max,
        }),
        Database::Shared(address) => {
            let (address, readers) = ((**address).clone(), SHARED_READERS);
            let config = SharedConfig { address, head_path, readers, queue_max: settings.queue_max };
            Store::connect(config).await
        }
    }
}

/// Keeps a policy set for ever and puts it in force.
pub(crate) fn apply_policy(
    tx: &mut Tx<'_>,
    tenant: &TenantName,
    sources: &PolicySources,
    by: &str,
    now: Timestamp,
) -> Result<Digest, Fault> {
    let digest = sources.digest();
    let text =
        serde_json::to_string(sources).map_err(|e| Fault::unavailable("policy_broken", e.to_string()))?;
    tx.put_policy_set(&PolicySetRow { digest, sources: text, added_at: now })?;
    tx.set_policy_head(tenant, &digest, now)?;
    let event = Event::new(tenant, "policy.applied").with("policy_set", digest).with("by", by);
    tx.append(event.with_list("files", sources.iter().map(|s| &s.name)))?;
    Ok(digest)
}

/// Keeps the wrapped data keys, in place of those kept before.
pub(crate) fn put_wrapped(tx: &mut Tx<'_>, wrapped: &[WrappedKey]) -> Result<(), StoreError> {
    let line = |w: &WrappedKey| {
        let blob: String = w.blob.iter().map(|b| format!("{b:02x}")).collect();
        format!("{} {} {blob}\n", w.number, w.kek)
    };
    tx.meta_set(DATA_KEYS, wrapped.iter().map(line).collect::<String>().as_bytes())
}

fn read_wrapped(line: &str) -> Option<WrappedKey> {
    let mut words = line.split(' ');
    let (number, kek, blob) = (words.next()?.parse().ok()?, words.next()?.to_owned(), words.next()?);
    let byte = |at: usize| u8::from_str_radix(blob.get(at..at + 2)?, 16).ok();
    let blob = (0..blob.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    Some(WrappedKey { number, kek, blob })
}

fn broken_data_key() -> Fault {
    Fault::unavailable("data_key_broken", "a stored data key cannot be read")
}

pub(crate) fn no_key(cause: &dyn std::fmt::Display) -> Fault {
    let mut fault = Fault::sealed();
    fault.detail = cause.to_string();
    fault
}
