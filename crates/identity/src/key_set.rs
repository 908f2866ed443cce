//! The keys that sign our task tokens, and their rotation.
//!
//! A fixed set in memory: nothing is fetched, and an unknown `kid` is a refusal. A key is *valid* from its `not_before`
//! on, *retained* after its successor took over (what it signed before stays good until it expires), or *revoked*.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::jws::JwsError;
use crate::key::{Algorithm, PublicKey, Thumbprint};
use crate::time::Timestamp;
use crate::token::SKEW_MS;

/// Most keys in a set: a valid and a next one, and retained ones from a rotation every minute.
pub const KEYS_MAX: usize = 32;

/// The name of one of our token keys in a header: the thumbprint of the key (RFC 7638 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Thumbprint);

impl KeyId {
    /// The name of `key`.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self(key.thumbprint())
    }

    /// Parses a `kid`.
    ///
    /// # Errors
    /// [`JwsError::UnknownKey`] when no key of ours can have that name.
    pub fn parse(text: &str) -> Result<Self, JwsError> {
        Thumbprint::parse(text).map(Self).map_err(|_| JwsError::UnknownKey)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a token key stands in its rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum KeyState {
    /// Signs, or will sign once its time has come.
    Valid,
    /// Signs no longer. What it signed before stays good until it expires.
    Retained {
        /// When its successor took over.
        since: Timestamp,
    },
    /// Nothing that it signed is good any more.
    Revoked,
}

/// One of our token keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// The key; ES256.
    pub key: PublicKey,
    /// It signed nothing before this moment.
    pub not_before: Timestamp,
    /// Where it stands.
    pub state: KeyState,
}

/// Why keys are not a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// More than [`KEYS_MAX`].
    #[error("a key set has at most {KEYS_MAX} keys")]
    TooMany,
    /// The same key twice.
    #[error("a key occurs twice in the key set")]
    Twice,
    /// Not ES256.
    #[error("task tokens are signed with ES256 keys only")]
    Algorithm,
}

/// Our token keys.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<(KeyId, TokenKey)>,
}

impl KeySet {
    /// The set of these keys.
    ///
    /// # Errors
    /// [`KeySetError`] when there are too many, one occurs twice or one is not ES256.
    pub fn new(keys: impl IntoIterator<Item = TokenKey>) -> Result<Self, KeySetError> {
        let mut set = Self::default();
        for key in keys {
            set.add(key)?;
        }
        Ok(set)
    }

    fn add(&mut self, key: TokenKey) -> Result<(), KeySetError> {
        let kid = KeyId::of(&key.key);
        if key.key.algorithm() != Algorithm::Es256 {
            return Err(KeySetError::Algorithm);
        }
        if self.keys.iter().any(|(known, _)| *known == kid) {
            return Err(KeySetError::Twice);
        }
        if self.keys.len() == KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        self.keys.push((kid, key));
        Ok(())
    }

    /// The key that a header names, if it may verify anything at all.
    pub(crate) fn find(&self, kid: Option<&str>) -> Result<&TokenKey, JwsError> {
        let kid = KeyId::parse(kid.ok_or(JwsError::UnknownKey)?)?;
        let (_, key) = self.keys.iter().find(|(known, _)| *known == kid).ok_or(JwsError::UnknownKey)?;
        match key.state {
            KeyState::Valid | KeyState::Retained { .. } => Ok(key),
            KeyState::Revoked => Err(JwsError::UnknownKey),
        }
    }

    /// The JWK set that others verify our tokens with (RFC 7517 §5): every key that is not revoked, also the next
    /// one before its time, so that verifiers know it when it comes.
    #[must_use]
    pub fn to_jwks(&self) -> Value {
        let shown = |(_, key): &&(KeyId, TokenKey)| match key.state {
            KeyState::Valid | KeyState::Retained { .. } => true,
            KeyState::Revoked => false,
        };
        json!({ "keys": self.keys.iter().filter(shown).map(|(kid, key)| jwk(kid, &key.key)).collect::<Vec<_>>() })
    }
}

fn jwk(kid: &KeyId, key: &PublicKey) -> Value {
    let mut jwk: Value = serde_json::from_str(&key.to_jwk()).expect("a key writes JSON");
    jwk["kid"] = kid.to_string().into();
    jwk["alg"] = key.algorithm().as_str().into();
    jwk["use"] = "sig".into();
    jwk
}

impl TokenKey {
    /// Whether the key was in use at `issued_at`, give or take the clocks of our own replicas.
    pub(crate) fn signed_at(&self, issued_at: Timestamp) -> bool {
        let begun = issued_at.plus_ms(SKEW_MS) >= self.not_before;
        match self.state {
            KeyState::Valid => begun,
            KeyState::Retained { since } => begun && issued_at <= since.plus_ms(SKEW_MS),
            KeyState::Revoked => false,
        }
    }
}
