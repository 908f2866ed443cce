//! Proof of possession of a key for one request (DPoP, RFC 9449).
//!
//! A proof shows that its maker held a key a moment ago and meant this method and URL. Who the key
//! belongs to is for the token or the registration to say.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::jws::{self, HeaderRule, JwsError, Unverified};
use crate::key::{KeyError, SigningKey, Thumbprint, sha256};
use crate::time::Timestamp;

/// The `typ` of a proof (RFC 9449 §4.2).
pub const PROOF_TYPE: &str = "dpop+jwt";
/// How far from `now` a proof may have been made, in milliseconds, both ways: clocks of agents are worse than ours.
pub const PROOF_AGE_MS_MAX: i64 = 60_000;
/// Longest `jti` in bytes; a UUID has 36.
pub const JTI_BYTES_MAX: usize = 255;
/// Longest URL in bytes that a proof is for.
pub const URL_BYTES_MAX: usize = 2_048;

/// Why a proof is refused. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DpopError {
    /// Not a signed text with its key inside.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// For another HTTP method.
    #[error("the proof is for another method")]
    Method,
    /// For another URL, or one of the two is not a URL.
    #[error("the proof is for another URL")]
    Url,
    /// Made too long ago, or in the future.
    #[error("the proof was not made within {} seconds of now", PROOF_AGE_MS_MAX / 1_000)]
    Age,
    /// For another access token, or for none.
    #[error("the proof is for another access token")]
    AccessToken,
    /// Made with another key.
    #[error("the proof was made with another key")]
    OtherKey,
    /// The `jti` is empty or too long.
    #[error("the proof's `jti` has no bytes or more than {JTI_BYTES_MAX}")]
    Id,
    /// Seen before.
    #[error("the proof was used before")]
    Replayed,
}

/// Names one proof for the memory of used ones: the same bytes for the same `jti` of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofId {
    digest: [u8; 32],
    remember_until: Timestamp,
}

impl ProofId {
    /// `what` keeps proofs and assertions of the same key apart.
    pub(crate) fn new(what: &str, key: &Thumbprint, jti: &str, remember_until: Timestamp) -> Option<Self> {
        let fits = (1..=JTI_BYTES_MAX).contains(&jti.len());
        fits.then(|| Self { digest: sha256(format!("{what}\n{key}\n{jti}").as_bytes()), remember_until })
    }

    /// 32 bytes, whatever the length of the `jti`.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.digest
    }

    /// From this moment on the proof is refused by its age, and need not be remembered.
    #[must_use]
    pub const fn remember_until(&self) -> Timestamp {
        self.remember_until
    }
}

/// The request that a proof must be for.
#[derive(Clone, Copy)]
pub struct ProvedRequest<'a> {
    /// The method, in the case in which it was sent.
    pub method: &'a str,
    /// The URL without regard to query and fragment, as the client meant it.
    pub url: &'a str,
    /// The access token that came with the request; `None` where none is used, as at the token endpoint.
    pub access_token: Option<&'a str>,
    /// The key that the proof must be made with; `None` where any key will do, as when a key is first bound.
    pub key: Option<&'a Thumbprint>,
}

/// Somebody held this key a moment ago, for the request that was checked.
#[derive(Debug)]
pub struct ProvenPossession {
    key: Thumbprint,
    access_token_sha256: Option<[u8; 32]>,
}

impl ProvenPossession {
    /// Thumbprint of the key.
    #[must_use]
    pub const fn key(&self) -> &Thumbprint {
        &self.key
    }

    /// SHA-256 of the access token that the proof was checked to be for.
    pub(crate) const fn access_token_sha256(&self) -> Option<&[u8; 32]> {
        self.access_token_sha256.as_ref()
    }
}

/// The claims of a proof (RFC 9449 §4.2); others pass.
#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    ath: Option<String>,
}

/// Makes a proof for one request. `jti` are fresh random bytes.
///
/// # Errors
/// [`KeyError::Library`] when the key did not sign.
pub fn mint_proof(
    key: &SigningKey,
    method: &str,
    url: &str,
    access_token: Option<&str>,
    now: Timestamp,
    jti: [u8; 16],
) -> Result<String, KeyError> {
    let jwk: Value = serde_json::from_str(&key.public().to_jwk()).expect("a key writes JSON");
    let header = json!({ "typ": PROOF_TYPE, "alg": key.public().algorithm().as_str(), "jwk": jwk });
    let plain_url = url.split(['?', '#']).next().unwrap_or_default();
    let jti = BASE64_URL_SAFE_NO_PAD.encode(jti);
    let mut claims = json!({ "jti": jti, "htm": method, "htu": plain_url, "iat": now.as_s() });
    if let Some(token) = access_token {
        claims["ath"] = BASE64_URL_SAFE_NO_PAD.encode(sha256(token.as_bytes())).into();
    }
    jws::sign(&header, &claims, key)
}

/// Checks one `DPoP` header value (RFC 9449 §4.3; that there is exactly one header is the caller's check 1).
///
/// `fresh` remembers the proof and says whether it was new; it is asked last, so that a refused proof burns no `jti`.
///
/// # Errors
/// [`DpopError`].
pub fn verify_proof(
    header_value: &str,
    request: &ProvedRequest<'_>,
    now: Timestamp,
    fresh: impl FnOnce(&ProofId) -> bool,
) -> Result<ProvenPossession, DpopError> {
    // checks 2, 4, 5, 7: one JWS, its type, an asymmetric algorithm, a public key inside
    let unverified = Unverified::parse(header_value, HeaderRule::KeyInside)?;
    if unverified.typ.as_deref() != Some(PROOF_TYPE) {
        return Err(JwsError::Type.into());
    }
    let public = unverified.jwk.clone().ok_or(JwsError::Header)?;
    let key = public.thumbprint();
    // check 12: the key is the one that the token is bound to
    if request.key.is_some_and(|expected| *expected != key) {
        return Err(DpopError::OtherKey);
    }
    // checks 6, 3: signed by that key, all required claims there
    let claims: Claims = jws::typed(unverified.verify(&public)?)?;
    // checks 8, 9
    if claims.htm != request.method {
        return Err(DpopError::Method);
    }
    if !same_url(&claims.htu, request.url) {
        return Err(DpopError::Url);
    }
    // check 11 (check 10, the nonce, is for servers that hand one out)
    let made_at = Timestamp::from_s(claims.iat).ok_or(JwsError::Claims)?;
    if now.ms_since(made_at).unsigned_abs() > PROOF_AGE_MS_MAX.unsigned_abs() {
        return Err(DpopError::Age);
    }
    let access_token_sha256 = check_access_token(request.access_token, claims.ath.as_deref())?;
    let remember_until = made_at.plus_ms(PROOF_AGE_MS_MAX + 1);
    let id = ProofId::new("dpop", &key, &claims.jti, remember_until).ok_or(DpopError::Id)?;
    if !fresh(&id) {
        return Err(DpopError::Replayed);
    }
    Ok(ProvenPossession { key, access_token_sha256 })
}

/// Check 12: `ath` is the hash of the access token that came along.
fn check_access_token(token: Option<&str>, ath: Option<&str>) -> Result<Option<[u8; 32]>, DpopError> {
    let Some(token) = token else { return Ok(None) };
    let expected = sha256(token.as_bytes());
    let text = BASE64_URL_SAFE_NO_PAD.encode(expected);
    let equal = ath.is_some_and(|ath| verify_slices_are_equal(ath.as_bytes(), text.as_bytes()).is_ok());
    if equal { Ok(Some(expected)) } else { Err(DpopError::AccessToken) }
}

fn same_url(claimed: &str, actual: &str) -> bool {
    match (PlainUrl::parse(claimed), PlainUrl::parse(actual)) {
        (Some(claimed), Some(actual)) => claimed == actual,
        _ => false,
    }
}

/// What of an `http(s)` URL a proof is about: case and default port normalised, query and fragment left out
/// (RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3).
#[derive(PartialEq, Eq)]
struct PlainUrl<'a> {
    scheme: String,
    host: String,
    port: u16,
    path: &'a str,
}

impl<'a> PlainUrl<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let printable = url.len() <= URL_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        let (scheme, rest) = printable.then(|| url.split_once("://")).flatten()?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next()?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority, default_port)?;
        let path = if path.is_empty() { "/" } else { path };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port, path })
    }
}

fn split_port(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    // the colons inside `[::1]` are not the port's
    let after_host = authority.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match authority[after_host..].find(':') {
        Some(colon) => (&authority[..after_host + colon], &authority[after_host + colon + 1..]),
        None => (authority, ""),
    };
    let plain = !host.is_empty() && !host.contains('@') && port.bytes().all(|b| b.is_ascii_digit());
    let port = if port.is_empty() { Some(default_port) } else { port.parse().ok() };
    if plain { Some((host, port?)) } else { None }
}
