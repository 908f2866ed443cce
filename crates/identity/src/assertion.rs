//! `private_key_jwt`: an agent proves itself with a signed client assertion (RFC 7523 §3, RFC 10070).
//!
//! The audience is our issuer identifier, alone. An endpoint's URL or a list is refused, since a server that can
//! choose where an agent signs for could otherwise replay the assertion elsewhere.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;

use crate::agent::{AgentRegistration, ProvenAgent, RegisteredKey};
use crate::dpop::ProofId;
use crate::id::InstanceId;
use crate::jws::{self, HeaderRule, JwsError, Unverified};
use crate::key::{KeyError, SigningKey};
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;

/// The `typ` of an assertion (RFC 10070); `JWT` and none are accepted from older clients.
pub const ASSERTION_TYPE: &str = "client-authentication+jwt";
/// How far ahead `exp` may lie, in milliseconds: as long as a used assertion is remembered at most.
pub const EXPIRY_MS_MAX: i64 = 5 * 60 * 1_000;
/// How far ahead of ours an agent's clock may be, in milliseconds; 8 s must pass and more than 60 s must not.
pub const FUTURE_MS_MAX: i64 = 60_000;
/// Life of an assertion that we make, in milliseconds: one request.
pub const ASSERTION_LIFE_MS: i64 = 60_000;

/// Why an assertion is refused. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Not a signed text of this agent.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// `iss` and `sub` are not both the agent's SPIFFE ID.
    #[error("`iss` and `sub` of the assertion must both be the agent's SPIFFE ID")]
    Agent,
    /// Not for us alone.
    #[error("the `aud` of the assertion must be the issuer identifier, as one string")]
    Audience,
    /// Its time is over.
    #[error("the assertion has expired")]
    Expired,
    /// It would be good for too long.
    #[error("the `exp` of the assertion lies more than {} minutes ahead", EXPIRY_MS_MAX / 60_000)]
    Lifetime,
    /// Its time has not come.
    #[error("the assertion is not valid yet; the agent's clock may be wrong")]
    NotYetValid,
    /// The `jti` is empty or too long.
    #[error("the `jti` of the assertion is empty or too long")]
    Id,
    /// Seen before.
    #[error("the assertion was used before")]
    Replayed,
}

/// The claims of an assertion (RFC 7523 §3); others pass.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: Option<i64>,
    nbf: Option<i64>,
    jti: String,
}

/// Makes an assertion for one request. `jti` are fresh random bytes.
///
/// # Errors
/// [`KeyError::Library`] when the key did not sign.
pub fn mint(
    agent: &SpiffeId,
    issuer: &str,
    key: &SigningKey,
    now: Timestamp,
    jti: [u8; 16],
) -> Result<String, KeyError> {
    let public = key.public();
    let header =
        json!({ "typ": ASSERTION_TYPE, "alg": public.algorithm().as_str(), "kid": public.thumbprint() });
    let (issued_at, expires_at) = (now.as_s(), now.plus_ms(ASSERTION_LIFE_MS).as_s());
    let jti = BASE64_URL_SAFE_NO_PAD.encode(jti);
    let claims =
        json!({ "iss": agent, "sub": agent, "aud": issuer, "iat": issued_at, "exp": expires_at, "jti": jti });
    jws::sign(&header, &claims, key)
}

/// Who the assertion says it is of, *unverified*: fit to look up the registration that [`verify`] needs, which then
/// checks it again, and for nothing else.
///
/// # Errors
/// [`AssertionError`] when it names no agent.
pub fn claimed_agent(text: &str) -> Result<SpiffeId, AssertionError> {
    #[derive(Deserialize)]
    struct Claimed {
        sub: SpiffeId,
    }
    let claims = Unverified::parse(text, HeaderRule::KeyByName)?.claims()?;
    jws::typed::<Claimed>(claims).map(|claimed| claimed.sub).map_err(|_| AssertionError::Agent)
}

/// Verifies that the registered agent made this assertion just now, for us.
///
/// `issuer` is our issuer identifier. `instance` is the id that the running agent goes by from now on. `fresh`
/// remembers the assertion and says whether it was new; it is asked last.
///
/// # Errors
/// [`AssertionError`].
pub fn verify(
    text: &str,
    registration: &AgentRegistration,
    issuer: &str,
    instance: InstanceId,
    now: Timestamp,
    fresh: impl FnOnce(&ProofId) -> bool,
) -> Result<ProvenAgent, AssertionError> {
    let unverified = Unverified::parse(text, HeaderRule::KeyByName)?;
    match unverified.typ.as_deref() {
        None | Some("JWT" | ASSERTION_TYPE) => {}
        Some(_) => return Err(JwsError::Type.into()),
    }
    let key = select(&unverified, &registration.keys)?;
    let claims: Claims = jws::typed(unverified.verify(&key.key)?)?;
    let agent = registration.id.to_string();
    if claims.iss != agent || claims.sub != agent {
        return Err(AssertionError::Agent);
    }
    if claims.aud != issuer {
        return Err(AssertionError::Audience);
    }
    let expires_at = in_its_time(&claims, now)?;
    let id = ProofId::new("assertion", &key.key.thumbprint(), &claims.jti, expires_at)
        .ok_or(AssertionError::Id)?;
    if !fresh(&id) {
        return Err(AssertionError::Replayed);
    }
    Ok(ProvenAgent::from_signature(registration.id.clone(), instance, key))
}

/// The one registered key: the one that `kid` names by its thumbprint or, without `kid`, the only one there is.
fn select<'k>(unverified: &Unverified<'_>, keys: &'k [RegisteredKey]) -> Result<&'k RegisteredKey, JwsError> {
    match (&unverified.kid, keys) {
        (Some(kid), _) => {
            keys.iter().find(|key| key.key.thumbprint().to_string() == *kid).ok_or(JwsError::UnknownKey)
        }
        (None, [only]) => Ok(only),
        (None, _) => Err(JwsError::UnknownKey),
    }
}

fn in_its_time(claims: &Claims, now: Timestamp) -> Result<Timestamp, AssertionError> {
    let moment = |seconds| Timestamp::from_s(seconds).ok_or(AssertionError::Jws(JwsError::Claims));
    let expires_at = moment(claims.exp)?;
    if now >= expires_at {
        return Err(AssertionError::Expired);
    }
    if expires_at.ms_since(now) > EXPIRY_MS_MAX {
        return Err(AssertionError::Lifetime);
    }
    for begins in [claims.iat, claims.nbf].into_iter().flatten() {
        if moment(begins)?.ms_since(now) > FUTURE_MS_MAX {
            return Err(AssertionError::NotYetValid);
        }
    }
    Ok(expires_at)
}
