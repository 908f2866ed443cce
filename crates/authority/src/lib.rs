//! The use cases of Accredit, one file each. This crate orders effects (store, vault, ledger,
//! what is under way); it holds no rules: an `if` about permission belongs into `accredit-core`.

pub mod admission; // whether an operator may do something; recorded when not
pub mod agents; // registered identities and their keys
pub mod approvals; // people's answers to requests, and waiting for them
pub mod audit; // the ledger for its readers
pub mod authenticate; // proofs → callers, with the memory that makes proofs single use
mod clock; //         time and randomness, the two things that rules take as arguments
pub mod credentials; // the ways into resources, write-only values
pub mod delegation; // whose consent counts, and the chain that a task stands in
mod epoch; //         nothing granted before it counts
pub mod fault; //     what use cases answer when they cannot do it
pub mod figures; // numbers for whoever watches
pub mod findings; // deviations: looked for in the ledger, contained, released
mod jobs; //          expiry, ledger integration, lost runners
pub mod join; // one-time join tokens
mod keys; //          the installation's own keys, sealed in the vault
pub mod live; //      what is under way, to be cut by a revocation
mod open; //          start: store, fork check, vault, keys
pub mod openid; // sign-in through an OpenID provider, and what it says later
pub mod operators; // sign-in by one-time link, sessions
pub mod owners; // people and teams that answer
pub mod passkeys; // devices of people, and a yes that is made with one
pub mod people; // who is registered, with which roles: add, change, lapse
pub mod policies; // policy sets: check, apply, replay, who could
pub mod publication; // the whole ledger for a publisher, and how far that came
pub mod requests; // what waits for a person; tasks as operators list them
pub mod resources; // what is protected
pub mod revocations; // revocations that operators ask for
pub mod revoke; //    one call that ends things, and waits until they are over
pub mod rotate; // both vault keys
pub mod settings; //  what the configuration says
mod shared; //        what replicas do beside each other
pub mod tasks; //     propose, start, renew, extend, end, hold
pub mod traces; //    what watchers are told of an action
pub mod traffic; //   figures of the data plane
pub mod uses; //      the one path: facts → decide → record → open → settle
pub mod uses_report; // who used what for which task; receipts
pub mod vault_state; // sealed or not
pub mod why; // a decision explained by making it again
pub mod witnesses; // others cosign the ledger's head

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use accredit_core::digest::{Digest, DigestKey};
use accredit_core::id::TenantName;
use accredit_core::policy::{PolicySet, PolicySources};
use accredit_core::time::Timestamp;
use accredit_store::Store;
use accredit_vault::Vault;
use arc_swap::ArcSwapOption;

pub use clock::Clock;
pub use keys::{GATEWAY_CA, OwnKeys};
pub use open::OpenError;
pub use settings::Settings;

/// Compiled policy sets kept in memory: the one in force and a few that replays ask for.
const COMPILED_SETS_MAX: usize = 16;

/// The authority: everything that use cases need. Shared by the control plane and the gateways.
pub struct Authority {
    settings: Settings,
    clock: Clock,
    store: Store,
    vault: Vault,
    keys: ArcSwapOption<OwnKeys>,
    compiled: Mutex<BTreeMap<Digest, Arc<PolicySet>>>,
    live: live::Live,
    memory: authenticate::ProofMemory,
    misuses: authenticate::Misuses,
    blobs: uses::SealedCache,
    holds: tasks::Holds,
    answers: approvals::Answers,
    traffic: traffic::Traffic,
    traces: traces::Traces,
    /// Whether this start made the tenant.
    is_new: std::sync::atomic::AtomicBool,
    /// Since when entries could not be integrated or signed.
    stalled_since: Mutex<Option<std::time::Instant>>,
    witnesses: witnesses::Witnesses,
    publication: publication::Publication,
}

impl Authority {
    /// What the configuration says.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The tenant that this installation serves.
    #[must_use]
    pub const fn tenant(&self) -> &TenantName {
        &self.settings.tenant
    }

    /// Whether there was nothing before this start: nobody has signed in yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Durable state.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Secrets at rest.
    #[must_use]
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What is under way.
    #[must_use]
    pub const fn live(&self) -> &live::Live {
        &self.live
    }

    /// Figures of the data plane.
    #[must_use]
    pub const fn traffic(&self) -> &traffic::Traffic {
        &self.traffic
    }

    /// Where reports of actions go.
    #[must_use]
    pub const fn traces(&self) -> &traces::Traces {
        &self.traces
    }

    /// The instant it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// 16 random bytes.
    #[must_use]
    pub fn draw16(&self) -> [u8; 16] {
        clock::draw()
    }

    /// 32 random bytes.
    #[must_use]
    pub fn draw32(&self) -> [u8; 32] {
        clock::draw()
    }

    /// The installation's own keys; none while the vault is sealed.
    #[must_use]
    pub fn keys(&self) -> Option<Arc<OwnKeys>> {
        self.keys.load_full()
    }

    /// Makes keyed digests of request parts; none while the vault is sealed.
    #[must_use]
    pub fn digest_key(&self) -> Option<Arc<DigestKey>> {
        self.keys().map(|k| k.digest.clone())
    }

    /// The compiled policy set with this content address.
    ///
    /// # Errors
    /// When no such set is kept, or the store cannot be read.
    pub async fn policy_set(&self, hash: Digest) -> Result<Arc<PolicySet>, fault::Fault> {
        if let Some(found) = self.compiled().get(&hash) {
            return Ok(found.clone());
        }
        let sources = self.policy_sources(hash).await?.ok_or_else(|| {
            fault::Fault::unavailable("policy_missing", format!("policy set {hash} is not kept here"))
        })?;
        let compiled = PolicySet::compile(sources).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            fault::Fault::unavailable("policy_broken", format!("policy set {hash} does not compile: {first}"))
        })?;
        let compiled = Arc::new(compiled);
        let mut kept = self.compiled();
        if kept.len() >= COMPILED_SETS_MAX {
            kept.clear();
        }
        kept.insert(hash, compiled.clone());
        Ok(compiled)
    }

    /// The sources of the policy set with this content address, if it is kept here.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds is not what its address says.
    pub async fn policy_sources(&self, hash: Digest) -> Result<Option<PolicySources>, fault::Fault> {
        let Some(row) = self.store.read(move |view| view.policy_set(&hash)).await? else { return Ok(None) };
        let broken = || fault::Fault::unavailable("policy_broken", format!("policy set {hash} is damaged"));
        let sources: PolicySources = serde_json::from_str(&row.sources).map_err(|_| broken())?;
        if sources.digest() == hash { Ok(Some(sources)) } else { Err(broken()) }
    }

    /// The content address of the policy set in force.
    ///
    /// # Errors
    /// When the store cannot be read, or no set is in force.
    pub async fn policy_head(&self) -> Result<Digest, fault::Fault> {
        let tenant = self.tenant().clone();
        let head = self.store.read(move |view| view.policy_head(&tenant)).await?;
        head.ok_or_else(|| fault::Fault::unavailable("policy_missing", "no policy set is in force"))
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<PolicySet>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
