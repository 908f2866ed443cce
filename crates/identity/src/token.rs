//! Task tokens: JWT access tokens (RFC 9068) of one task, signed by us with ES256.
//!
//! A token says who is asking, for which task, with which key. It never says what is allowed:
//! `authorization_details` tells the holder what was granted and is read by nobody here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::agent::Attestation;
use crate::id::{InstanceId, TaskId, TenantName, TokenId};
use crate::jws::{self, HeaderRule, JwsError, Unverified};
use crate::key::{Algorithm, KeyError, SigningKey, Thumbprint, sha256};
use crate::key_set::{KeyId, KeySet};
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;

/// The `typ` of a task token (RFC 9068 §2.1).
pub const TOKEN_TYPE: &str = "at+jwt";
/// How far our own replicas' clocks may be apart, in milliseconds. Within it a token is still, or already, good.
pub const SKEW_MS: i64 = 30_000;
/// Longest life of a token, in milliseconds, whatever its claims say: a stolen token dies with its quarter of an hour.
pub const LIFETIME_MS_MAX: i64 = 15 * 60 * 1_000;
/// Longest `act` chain: one more than the longest chain of delegation.
pub const ACT_DEPTH_MAX: usize = 8;
/// Longest `sub` in bytes (OpenID Connect Core §2 has the same bound).
pub const SUBJECT_BYTES_MAX: usize = 255;

/// For whom a task is done: the person who asked for it, or the agent's own SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Subject(String);

impl Subject {
    /// Parses 1 to [`SUBJECT_BYTES_MAX`] bytes of visible ASCII.
    ///
    /// # Errors
    /// [`JwsError::Claims`] for any other text.
    pub fn parse(text: &str) -> Result<Self, JwsError> {
        let fits =
            (1..=SUBJECT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(JwsError::Claims) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&SpiffeId> for Subject {
    fn from(id: &SpiffeId) -> Self {
        // longer than SUBJECT_BYTES_MAX only with an absurd trust domain, and then nothing is minted for it
        Self(id.to_string())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// Who acts, and on whose behalf before that (RFC 8693 §4.1). Informational: no decision reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The actor.
    pub sub: Subject,
    /// The actor before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

impl Actor {
    fn depth(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.act.as_deref()).count()
    }
}

/// The claims of a task token.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskTokenClaims {
    /// Our issuer identifier.
    pub issuer: String,
    /// For whom the task is done.
    pub subject: Subject,
    /// The one gateway that the token is for.
    pub audience: String,
    /// When it was issued; whole seconds in the token, rounded down.
    pub issued_at: Timestamp,
    /// From when on it is refused; whole seconds in the token, rounded down.
    pub expires_at: Timestamp,
    /// Names this token.
    pub id: TokenId,
    /// The agent (`client_id`).
    pub agent: SpiffeId,
    /// The agent instance.
    pub instance: InstanceId,
    /// How the instance proved itself when the task started.
    pub attestation: Attestation,
    /// The task.
    pub task: TaskId,
    /// Who acts, where the task was delegated.
    pub actor: Option<Actor>,
    /// Thumbprint of the key that every use must be proved with (`cnf.jkt`, RFC 9449 §6.1).
    pub key: Thumbprint,
    /// What was granted, for the holder to read (RFC 9396 §9.1): an array of objects.
    pub authorization_details: Vec<Value>,
}

/// The claims as they stand in the token.
#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    sub: Subject,
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: TokenId,
    client_id: SpiffeId,
    instance: InstanceId,
    attestation: Attestation,
    task: TaskId,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
    cnf: Confirmation,
    authorization_details: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    jkt: Thumbprint,
}

/// The text of a task token. It can be sent, not printed, copied or stored.
///
/// ```compile_fail,E0277
/// fn printed(token: &accredit_identity::token::TaskToken) -> String {
///     format!("{token:?}")
/// }
/// ```
pub struct TaskToken(Zeroizing<String>);

impl TaskToken {
    /// The text, to be handed to the agent that holds the key.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a token was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The key is not ES256.
    #[error("task tokens are signed with ES256 keys only")]
    Algorithm,
    /// The token would not live, or longer than [`LIFETIME_MS_MAX`].
    #[error("a task token lives for more than 0 and at most {} minutes", LIFETIME_MS_MAX / 60_000)]
    Lifetime,
    /// The token would be too large, or its chain of actors too long.
    #[error("the claims do not fit into a task token")]
    TooLarge,
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Signs the claims.
///
/// # Errors
/// [`MintError`]; what is signed is what [`verify`] accepts.
pub fn mint(claims: TaskTokenClaims, key: &SigningKey, kid: &KeyId) -> Result<TaskToken, MintError> {
    if key.public().algorithm() != Algorithm::Es256 {
        return Err(MintError::Algorithm);
    }
    if !lifetime_fits(claims.issued_at.as_s(), claims.expires_at.as_s()) {
        return Err(MintError::Lifetime);
    }
    let fits = claims.actor.as_ref().is_none_or(|actor| actor.depth() <= ACT_DEPTH_MAX)
        && claims.subject.as_str().len() <= SUBJECT_BYTES_MAX;
    let header = json!({ "typ": TOKEN_TYPE, "alg": Algorithm::Es256.as_str(), "kid": kid });
    let wire = serde_json::to_value(Wire::from(claims)).expect("string keys and finite numbers make JSON");
    let text = Zeroizing::new(jws::sign(&header, &wire, key)?);
    if fits && text.len() <= jws::JWS_BYTES_MAX { Ok(TaskToken(text)) } else { Err(MintError::TooLarge) }
}

impl From<TaskTokenClaims> for Wire {
    fn from(claims: TaskTokenClaims) -> Self {
        Self {
            iss: claims.issuer,
            sub: claims.subject,
            aud: claims.audience,
            iat: claims.issued_at.as_s(),
            exp: claims.expires_at.as_s(),
            nbf: None,
            jti: claims.id,
            client_id: claims.agent,
            instance: claims.instance,
            attestation: claims.attestation,
            task: claims.task,
            act: claims.actor,
            cnf: Confirmation { jkt: claims.key },
            authorization_details: claims.authorization_details,
        }
    }
}

fn lifetime_fits(issued_s: i64, expires_s: i64) -> bool {
    expires_s.checked_sub(issued_s).is_some_and(|s| (1..=LIFETIME_MS_MAX / 1_000).contains(&s))
}

/// Whose tokens are accepted here.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Our issuer identifier, byte for byte.
    pub issuer: &'a str,
    /// The one audience that is us, byte for byte.
    pub audience: &'a str,
}

/// Why a token is refused. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a signed text of ours.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// Another issuer's.
    #[error("the token was issued by somebody else")]
    Issuer,
    /// For somebody else.
    #[error("the token is not for this audience alone")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It claims a longer life than any token has.
    #[error("the token claims a life that no token has")]
    Lifetime,
    /// Its key was not in use when it claims to have been issued.
    #[error("the token's key was not in use when the token was issued")]
    KeyNotInUse,
}

/// A token that we signed, for us, in its time. Not a caller yet: its holder has proved nothing.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    claims: TaskTokenClaims,
    text_sha256: [u8; 32],
}

impl VerifiedToken {
    /// What the token says.
    #[must_use]
    pub const fn claims(&self) -> &TaskTokenClaims {
        &self.claims
    }

    /// The tenant of the agent.
    #[must_use]
    pub const fn tenant(&self) -> &TenantName {
        self.claims.agent.tenant()
    }

    pub(crate) fn into_claims(self) -> TaskTokenClaims {
        self.claims
    }

    /// What the `ath` of a proof for this token must be (RFC 9449 §4.2).
    pub(crate) const fn text_sha256(&self) -> &[u8; 32] {
        &self.text_sha256
    }
}

/// [`verify`] for bytes from the wire; never panics, whatever they are.
///
/// # Errors
/// [`TokenError`].
pub fn verify_bytes(
    bytes: &[u8],
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<VerifiedToken, TokenError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JwsError::NotCompact)?;
    verify(text, keys, expected, now)
}

/// Verifies that we signed the text, for this audience, and that `now` is in its time (RFC 9068 §4).
///
/// # Errors
/// [`TokenError`].
pub fn verify(
    text: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<VerifiedToken, TokenError> {
    let unverified = Unverified::parse(text, HeaderRule::KeyByName)?;
    if unverified.typ.as_deref() != Some(TOKEN_TYPE) {
        return Err(JwsError::Type.into());
    }
    let key = keys.find(unverified.kid.as_deref())?;
    let wire: Wire = jws::typed(unverified.verify(&key.key)?)?;
    if wire.iss != expected.issuer {
        return Err(TokenError::Issuer);
    }
    if wire.aud != expected.audience {
        return Err(TokenError::Audience);
    }
    in_its_time(&wire, now)?;
    let claims = TaskTokenClaims::try_from(wire)?;
    if !key.signed_at(claims.issued_at) {
        return Err(TokenError::KeyNotInUse);
    }
    Ok(VerifiedToken { claims, text_sha256: sha256(text.as_bytes()) })
}

fn in_its_time(wire: &Wire, now: Timestamp) -> Result<(), TokenError> {
    if !lifetime_fits(wire.iat, wire.exp) {
        return Err(TokenError::Lifetime);
    }
    let moment = |seconds| Timestamp::from_s(seconds).ok_or(TokenError::Jws(JwsError::Claims));
    let begins = moment(wire.nbf.map_or(wire.iat, |nbf| nbf.max(wire.iat)))?;
    if now.plus_ms(SKEW_MS) < begins {
        return Err(TokenError::NotYetValid);
    }
    // RFC 7519 §4.1.4: on `exp` it is over already
    if now >= moment(wire.exp)?.plus_ms(SKEW_MS) {
        return Err(TokenError::Expired);
    }
    Ok(())
}

impl TryFrom<Wire> for TaskTokenClaims {
    type Error = JwsError;
    fn try_from(wire: Wire) -> Result<Self, JwsError> {
        if wire.act.as_ref().is_some_and(|actor| actor.depth() > ACT_DEPTH_MAX) {
            return Err(JwsError::Claims);
        }
        Ok(Self {
            issuer: wire.iss,
            subject: wire.sub,
            audience: wire.aud,
            issued_at: Timestamp::from_s(wire.iat).ok_or(JwsError::Claims)?,
            expires_at: Timestamp::from_s(wire.exp).ok_or(JwsError::Claims)?,
            id: wire.jti,
            agent: wire.client_id,
            instance: wire.instance,
            attestation: wire.attestation,
            task: wire.task,
            actor: wire.act,
            key: wire.cnf.jkt,
            authorization_details: wire.authorization_details,
        })
    }
}
