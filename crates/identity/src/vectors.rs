//! Test vectors for any implementation: fixed signed texts, and what becomes of each.
//!
//! ES256 signatures differ from one signing to the next, so the texts are signed once and checked in under
//! `vectors/identity/`. [`generate`] verifies them anew and writes the files as they should be: a change of a verdict
//! is a diff. It signs nothing.

use serde::{Deserialize, Serialize};

use crate::agent::{AgentRegistration, KeyOrigin, RegisteredKey};
use crate::assertion;
use crate::dpop::{self, ProvedRequest};
use crate::id::InstanceId;
use crate::key::{PublicKey, Thumbprint};
use crate::key_set::{KeySet, KeyState, TokenKey};
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;
use crate::token::{self, Expected};

const THUMBPRINTS: &str = include_str!("../../../vectors/identity/thumbprints.json");
const TOKENS: &str = include_str!("../../../vectors/identity/tokens.json");
const PROOFS: &str = include_str!("../../../vectors/identity/proofs.json");
const ASSERTIONS: &str = include_str!("../../../vectors/identity/assertions.json");

/// Why a vector file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {source}")]
pub struct VectorError {
    /// The file under `vectors/identity/`.
    pub file: &'static str,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

/// What becomes of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Accepted.
    Accepted,
    /// Refused, in our words; other implementations need only refuse.
    Refused(String),
}

impl Verdict {
    fn of<T, E: ToString>(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Accepted,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// One text and its verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is special about the text.
    pub name: String,
    /// The signed text.
    pub text: String,
    /// The time of verification, in milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: Timestamp,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// `thumbprints.json`: public keys and their thumbprints (RFC 7638).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thumbprints {
    /// What the file is.
    pub about: String,
    /// Keys and thumbprints.
    pub keys: Vec<KeyVector>,
}

/// A public key and its thumbprint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyVector {
    /// Where the key comes from.
    pub name: String,
    /// The key.
    pub jwk: PublicKey,
    /// Its thumbprint.
    pub thumbprint: Thumbprint,
}

/// `tokens.json`: task tokens (RFC 9068).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// What the file is.
    pub about: String,
    /// The one issuer.
    pub issuer: String,
    /// The one audience.
    pub audience: String,
    /// The one valid key; its `kid` is its thumbprint.
    pub key: PublicKey,
    /// Texts and verdicts.
    pub cases: Vec<Case>,
}

/// `proofs.json`: DPoP proofs (RFC 9449).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proofs {
    /// What the file is.
    pub about: String,
    /// The method of the request.
    pub method: String,
    /// The URL of the request.
    pub url: String,
    /// The access token that comes with the request.
    pub access_token: String,
    /// The key that the token is bound to.
    pub key: Thumbprint,
    /// Texts and verdicts.
    pub cases: Vec<Case>,
}

/// `assertions.json`: client assertions (RFC 7523, RFC 10070).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertions {
    /// What the file is.
    pub about: String,
    /// The issuer identifier of the authorization server.
    pub issuer: String,
    /// The agent.
    pub agent: SpiffeId,
    /// Its registered key.
    pub key: PublicKey,
    /// Texts and verdicts.
    pub cases: Vec<Case>,
}

impl Thumbprints {
    /// The same keys with the thumbprints that they have.
    #[must_use]
    pub fn verified(mut self) -> Self {
        for vector in &mut self.keys {
            vector.thumbprint = vector.jwk.thumbprint();
        }
        self
    }
}

impl Tokens {
    /// The same texts with the verdicts that they get.
    #[must_use]
    pub fn verified(mut self) -> Self {
        let key =
            TokenKey { key: self.key.clone(), not_before: Timestamp::from_ms(0), state: KeyState::Valid };
        let keys = KeySet::new([key]);
        let expected = Expected { issuer: &self.issuer, audience: &self.audience };
        for case in &mut self.cases {
            case.verdict = match &keys {
                Ok(keys) => Verdict::of(token::verify(&case.text, keys, &expected, case.now_ms)),
                Err(error) => Verdict::Refused(error.to_string()),
            };
        }
        self
    }
}

impl Proofs {
    /// The same texts with the verdicts that they get.
    #[must_use]
    pub fn verified(mut self) -> Self {
        let request = ProvedRequest {
            method: &self.method,
            url: &self.url,
            access_token: Some(&self.access_token),
            key: Some(&self.key),
        };
        for case in &mut self.cases {
            case.verdict = Verdict::of(dpop::verify_proof(&case.text, &request, case.now_ms, |_| true));
        }
        self
    }
}

impl Assertions {
    /// The same texts with the verdicts that they get.
    #[must_use]
    pub fn verified(mut self) -> Self {
        let key = RegisteredKey { key: self.key.clone(), origin: KeyOrigin::Registered };
        let registration = AgentRegistration { id: self.agent.clone(), keys: vec![key], socket_uid: None };
        for case in &mut self.cases {
            let instance = InstanceId::from_random([0; 16]);
            let result =
                assertion::verify(&case.text, &registration, &self.issuer, instance, case.now_ms, |_| true);
            case.verdict = Verdict::of(result);
        }
        self
    }
}

/// The vector files as checked in and as they should be: file name under `vectors/identity/`, JSON text.
///
/// # Errors
/// [`VectorError`] when a file is not of its form.
pub fn generate() -> Result<Vec<(&'static str, String)>, VectorError> {
    Ok(vec![
        anew("thumbprints.json", THUMBPRINTS, Thumbprints::verified)?,
        anew("tokens.json", TOKENS, Tokens::verified)?,
        anew("proofs.json", PROOFS, Proofs::verified)?,
        anew("assertions.json", ASSERTIONS, Assertions::verified)?,
    ])
}

fn anew<T: Serialize + serde::de::DeserializeOwned>(
    file: &'static str,
    text: &str,
    verified: fn(T) -> T,
) -> Result<(&'static str, String), VectorError> {
    let parsed: T = serde_json::from_str(text).map_err(|source| VectorError { file, source })?;
    Ok((file, write(&verified(parsed)).map_err(|source| VectorError { file, source })?))
}

/// How a vector file is written: indented JSON and a last line feed.
///
/// # Errors
/// Never for the types of this module.
pub fn write<T: Serialize>(file: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(file).map(|json| json + "\n")
}
