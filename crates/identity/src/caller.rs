//! The caller: the verified agent instance behind one action, and the task that it acts in.
//!
//! There is one way to a [`Caller`]: a task token that we signed, and a proof, made for this request and this
//! token, with the key that the token is bound to.

use crate::dpop::ProvenPossession;
use crate::id::{AgentName, Environment, InstanceId, TaskId, TenantName, TokenId};
use crate::key::Thumbprint;
use crate::spiffe::{AgentKind, SpiffeId};
use crate::time::Timestamp;
use crate::token::{Subject, VerifiedToken};

pub use crate::agent::Attestation;

/// Why token and proof do not make a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// The proof was made with another key than the token's.
    #[error("the proof was made with another key than the one that the token is bound to")]
    OtherKey,
    /// The proof was made for another token.
    #[error("the proof was made for another token")]
    OtherToken,
}

/// A verified agent instance, acting in a task.
///
/// ```
/// use accredit_identity::agent::Attestation;
/// use accredit_identity::caller::Caller;
/// use accredit_identity::dpop::{self, ProvedRequest};
/// use accredit_identity::id::{InstanceId, TaskId, TokenId};
/// use accredit_identity::key::SigningKey;
/// use accredit_identity::key_set::{KeyId, KeySet, KeyState, TokenKey};
/// use accredit_identity::time::Timestamp;
/// use accredit_identity::token::{self, Expected, Subject, TaskTokenClaims};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, holder) = (SigningKey::generate()?, SigningKey::generate()?);
/// let (now, url) = (Timestamp::from_ms(1_795_377_600_000), "https://accredit.example/u/github/issues");
/// let claims = TaskTokenClaims {
///     issuer: "https://accredit.example".into(),
///     subject: Subject::parse("ana@example.com")?,
///     audience: "https://accredit.example/u".into(),
///     issued_at: now,
///     expires_at: now.plus_ms(300_000),
///     id: TokenId::from_random([1; 16]),
///     agent: "spiffe://accredit.example/acme/prod/agent/invoices".parse()?,
///     instance: InstanceId::from_random([2; 16]),
///     attestation: Attestation::KeyProof,
///     task: TaskId::from_random([3; 16]),
///     actor: None,
///     key: holder.public().thumbprint(),
///     authorization_details: vec![],
/// };
/// let text = token::mint(claims, &ours, &KeyId::of(ours.public()))?;
/// let proof = dpop::mint_proof(&holder, "POST", url, Some(text.expose()), now, [4; 16])?;
///
/// let keys = KeySet::new([TokenKey { key: ours.public().clone(), not_before: now, state: KeyState::Valid }])?;
/// let expected = Expected { issuer: "https://accredit.example", audience: "https://accredit.example/u" };
/// let token = token::verify(text.expose(), &keys, &expected, now)?;
/// let key = token.claims().key;
/// let request = ProvedRequest { method: "POST", url, access_token: Some(text.expose()), key: Some(&key) };
/// let possession = dpop::verify_proof(&proof, &request, now, |_| true)?;
/// let caller = Caller::from_token(token, &possession)?;
/// assert_eq!(caller.agent().as_str(), "invoices");
/// # Ok(())
/// # }
/// ```
///
/// Without them there is none:
///
/// ```compile_fail,E0451
/// fn forged(real: accredit_identity::caller::Caller) -> accredit_identity::caller::Caller {
///     accredit_identity::caller::Caller { task: real.task().clone(), ..real }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    id: SpiffeId,
    instance: InstanceId,
    task: TaskId,
    subject: Subject,
    attestation: Attestation,
    key: Thumbprint,
    token_id: TokenId,
    token_expires_at: Timestamp,
}

impl Caller {
    /// The holder of the token that proved possession of the token's key.
    ///
    /// # Errors
    /// [`CallerError`] when the proof is not for this token or not of its key.
    pub fn from_token(token: VerifiedToken, possession: &ProvenPossession) -> Result<Self, CallerError> {
        if *possession.key() != token.claims().key {
            return Err(CallerError::OtherKey);
        }
        if possession.access_token_sha256() != Some(token.text_sha256()) {
            return Err(CallerError::OtherToken);
        }
        let claims = token.into_claims();
        Ok(Self {
            id: claims.agent,
            instance: claims.instance,
            task: claims.task,
            subject: claims.subject,
            attestation: claims.attestation,
            key: claims.key,
            token_id: claims.id,
            token_expires_at: claims.expires_at,
        })
    }

    /// The tenant of the agent.
    #[must_use]
    pub const fn tenant(&self) -> &TenantName {
        self.id.tenant()
    }

    /// The environment of the agent.
    #[must_use]
    pub const fn environment(&self) -> &Environment {
        self.id.environment()
    }

    /// The kind of the agent.
    #[must_use]
    pub const fn kind(&self) -> AgentKind {
        self.id.kind()
    }

    /// The name of the agent.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        self.id.name()
    }

    /// The SPIFFE ID of the agent.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.id
    }

    /// The running instance of the agent.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The task that it acts in.
    #[must_use]
    pub const fn task(&self) -> &TaskId {
        &self.task
    }

    /// For whom the task is done.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// How the instance proved itself when the task started.
    #[must_use]
    pub const fn attestation(&self) -> Attestation {
        self.attestation
    }

    /// Whether no key of the agent's own stood behind the start of the task.
    #[must_use]
    pub const fn is_unattested(&self) -> bool {
        self.attestation.is_unattested()
    }

    /// Thumbprint of the key that it proved to hold for this action.
    #[must_use]
    pub const fn key(&self) -> &Thumbprint {
        &self.key
    }

    /// The token that it came with (`jti`).
    #[must_use]
    pub const fn token_id(&self) -> &TokenId {
        &self.token_id
    }

    /// When that token expires; skew is not counted in.
    #[must_use]
    pub const fn token_expires_at(&self) -> Timestamp {
        self.token_expires_at
    }
}
