//! The installation's own keys: made once, sealed by the vault, opened at start.

use std::sync::Arc;

use accredit_core::digest::DigestKey;
use accredit_core::time::Timestamp;
use accredit_identity::key::{PublicKey, SigningKey};
use accredit_identity::key_set::{KeyId, KeySet, KeyState, TokenKey};
use accredit_ledger::note::{Signer, VerifierKey};
use accredit_store::{Store, Tx};
use accredit_vault::Vault;
use zeroize::Zeroizing;

use crate::clock::draw;
use crate::fault::Fault;

/// Names under which the keys are sealed.
const TOKEN_KEY: &str = "token";
const LEDGER_KEY: &str = "ledger";
const DIGEST_KEY: &str = "digest";
/// Name of the key that the gateway makes for its certificate authority.
pub const GATEWAY_CA: &str = "gateway-ca";

/// Every name, for a rotation of the data key.
pub(crate) const OWN_KEYS: [&str; 4] = [TOKEN_KEY, LEDGER_KEY, DIGEST_KEY, GATEWAY_CA];

/// The keys that this installation acts with.
pub struct OwnKeys {
    token: SigningKey,
    token_id: KeyId,
    token_set: KeySet,
    ledger: Signer,
    pub(crate) digest: Arc<DigestKey>,
}

impl OwnKeys {
    /// Opens the keys; makes those that do not exist yet.
    pub(crate) async fn open(store: &Store, vault: &Vault, origin: &str) -> Result<Self, Fault> {
        let token = own_key(store, vault, TOKEN_KEY, || {
            SigningKey::generate().and_then(|k| k.to_pkcs8()).map_err(|e| broken(TOKEN_KEY, &e))
        })
        .await?;
        let random = || Ok(Zeroizing::new(draw::<32>().to_vec()));
        let ledger = own_key(store, vault, LEDGER_KEY, random).await?;
        let digest = own_key(store, vault, DIGEST_KEY, random).await?;
        let token = SigningKey::from_pkcs8(&token).map_err(|e| broken(TOKEN_KEY, &e))?;
        let public: PublicKey = token.public().clone();
        let key = TokenKey { key: public.clone(), not_before: Timestamp::from_ms(0), state: KeyState::Valid };
        let token_set = KeySet::new([key]).map_err(|e| broken(TOKEN_KEY, &e))?;
        let seed: [u8; 32] = bytes32(LEDGER_KEY, &ledger)?;
        Ok(Self {
            token_id: KeyId::of(&public),
            token,
            token_set,
            ledger: Signer::from_seed(origin, &seed).map_err(|e| broken(LEDGER_KEY, &e))?,
            digest: Arc::new(DigestKey::new(&bytes32(DIGEST_KEY, &digest)?)),
        })
    }

    /// Signs task tokens.
    pub(crate) const fn token(&self) -> (&SigningKey, &KeyId) {
        (&self.token, &self.token_id)
    }

    /// Verifies task tokens.
    #[must_use]
    pub const fn token_set(&self) -> &KeySet {
        &self.token_set
    }

    /// Signs checkpoints of the ledger.
    pub(crate) const fn ledger(&self) -> &Signer {
        &self.ledger
    }

    /// Verifies checkpoints of the ledger.
    #[must_use]
    pub const fn ledger_verifier(&self) -> &VerifierKey {
        self.ledger.verifier()
    }
}

/// The own key of this name; `make` gives it when it does not exist yet.
pub(crate) async fn own_key(
    store: &Store,
    vault: &Vault,
    name: &'static str,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, Fault>,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let place = meta_name(name);
    let asked = place.clone();
    if let Some(blob) = store.read(move |view| view.meta_get(&asked)).await? {
        return vault.open_own(name, &blob).map_err(|e| broken(name, &e));
    }
    let key = make()?;
    let blob = vault.seal_own(name, &key).map_err(|e| broken(name, &e))?;
    let keep_first = move |tx: &mut Tx<'_>| {
        // Another replica may have been first; then its key is the one.
        let kept = tx.meta_get(&place)?;
        if kept.is_none() {
            tx.meta_set(&place, &blob)?;
        }
        Ok::<_, Fault>(kept)
    };
    match store.change(keep_first).await? {
        None => Ok(key),
        Some(blob) => vault.open_own(name, &blob).map_err(|e| broken(name, &e)),
    }
}

/// Where an own key is kept.
pub(crate) fn meta_name(name: &str) -> String {
    format!("own-key/{name}")
}

fn bytes32(name: &'static str, bytes: &[u8]) -> Result<[u8; 32], Fault> {
    bytes.try_into().map_err(|_| broken(name, &"not 32 bytes"))
}

fn broken(name: &str, cause: &dyn std::fmt::Display) -> Fault {
    tracing::error!(key = name, %cause, "an own key cannot be used");
    Fault::unavailable("own_key_broken", format!("the installation's `{name}` key cannot be used"))
}
