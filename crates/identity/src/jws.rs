//! Strict compact JWS (RFC 7515 §7.1) for tokens, proofs and assertions.
//!
//! The signature mathematics come from `aws-lc-rs` directly. The `jsonwebtoken` crate would parse header and claims
//! by its own rules (repeated keys, unknown header members), take its signature back from text, and
//! reach for a process-wide provider that panics when it was not installed; here neither is wanted.
//!
//! What this is not: it selects no key. The header is a hint for the caller, who holds a fixed set of keys; no
//! header member can bring a key, an address or an extension with it, save the `jwk` of a DPoP proof.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json;
use crate::key::{Algorithm, KeyError, PublicKey, SIGNATURE_BYTES, SigningKey};

/// Longest JWS in bytes, checked before anything is decoded: what HTTP servers take as one header field.
pub const JWS_BYTES_MAX: usize = 8 * 1_024;
/// Longest encoded header in bytes: a `jwk` with every member and a `kid` fit twice.
pub const HEADER_BYTES_MAX: usize = 2 * 1_024;

/// Why a text is not a JWS that we accept. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`JWS_BYTES_MAX`], or its header longer than [`HEADER_BYTES_MAX`].
    #[error("a signed text has at most {JWS_BYTES_MAX} bytes, its header {HEADER_BYTES_MAX}")]
    TooLong,
    /// Not three parts of canonical base64url.
    #[error("not a signed text in compact form")]
    NotCompact,
    /// The header is not one JSON object of the members that are allowed here.
    #[error("the header of the signed text is not allowed here")]
    Header,
    /// The type is not the one expected here.
    #[error("the `typ` of the signed text is not the one expected here")]
    Type,
    /// The algorithm is none of ours, or not that of the key.
    #[error("the `alg` of the signed text is not that of its key")]
    Algorithm,
    /// No key of ours goes by that name.
    #[error("the signed text names no key that is known here")]
    UnknownKey,
    /// The key in the header is not one.
    #[error("the key in the header of the signed text is refused")]
    Key(#[from] KeyError),
    /// The signature is not that of the key.
    #[error("the signature is not that of its key")]
    Signature,
    /// The signed claims are not one JSON object of the expected members.
    #[error("the claims of the signed text are not the expected ones")]
    Claims,
}

/// Which header members a text may carry besides `alg`, `typ` and `kid`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderRule {
    /// None.
    KeyByName,
    /// `jwk`, and it must be there (RFC 9449 §4.2).
    KeyInside,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    jwk: Option<Map<String, Value>>,
}

/// A text whose header was read and whose signature was not verified: nothing in it is believed.
pub(crate) struct Unverified<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) typ: Option<String>,
    pub(crate) kid: Option<String>,
    pub(crate) jwk: Option<PublicKey>,
    signed: &'a str,
    payload: &'a str,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Unverified<'a> {
    /// Takes the text apart; the payload stays encoded until it is verified.
    pub(crate) fn parse(text: &'a str, rule: HeaderRule) -> Result<Self, JwsError> {
        if text.len() > JWS_BYTES_MAX {
            return Err(JwsError::TooLong);
        }
        let (header, payload, signature) = three_parts(text).ok_or(JwsError::NotCompact)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(JwsError::TooLong);
        }
        let signature = decode(signature)?.try_into().map_err(|_| JwsError::Signature)?;
        let members = json::parse_object(&decode(header)?).map_err(|_| JwsError::Header)?;
        let raw: RawHeader = serde_json::from_value(Value::Object(members)).map_err(|_| JwsError::Header)?;
        if raw.jwk.is_some() != (rule == HeaderRule::KeyInside) {
            return Err(JwsError::Header);
        }
        Ok(Self {
            algorithm: Algorithm::parse(&raw.alg).ok_or(JwsError::Algorithm)?,
            typ: raw.typ,
            kid: raw.kid,
            jwk: raw.jwk.map(PublicKey::from_jwk).transpose()?,
            signed: &text[..header.len() + 1 + payload.len()],
            payload,
            signature,
        })
    }

    /// Verifies with the one key that the caller selected, and only then reads the claims.
    pub(crate) fn verify(self, key: &PublicKey) -> Result<Map<String, Value>, JwsError> {
        if self.algorithm != key.algorithm() {
            return Err(JwsError::Algorithm);
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(JwsError::Signature);
        }
        self.claims()
    }

    /// The claims before verification: fit to find the keys to verify with, and for nothing else.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, JwsError> {
        json::parse_object(&decode(self.payload)?).map_err(|_| JwsError::Claims)
    }
}

pub(crate) fn three_parts(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.splitn(4, '.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Some((header, payload, signature)),
        _ => None,
    }
}

/// Base64url without padding; the engine refuses set trailing bits, so that every text has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::NotCompact)
}

/// Reads verified claims into their type; members that the type does not know are left out.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(claims: Map<String, Value>) -> Result<T, JwsError> {
    serde_json::from_value(Value::Object(claims)).map_err(|_| JwsError::Claims)
}

/// Signs a header and claims into compact form.
pub(crate) fn sign(header: &Value, claims: &Value, key: &SigningKey) -> Result<String, KeyError> {
    let encode = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}
