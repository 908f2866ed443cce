//! What is registered of an agent, and the agent that proved itself against it.
//!
//! [`ProvenAgent`] may ask for a task. It is not a caller: actions need a task and its token.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dpop::ProvenPossession;
use crate::id::{AgentName, InstanceId, TenantName};
use crate::key::{PublicKey, Thumbprint};
use crate::peer::{PeerError, SocketPeer};
use crate::spiffe::SpiffeId;

/// How an agent instance proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attestation {
    /// It signed with a key that an operator registered.
    KeyProof,
    /// It signed with a key that was registered with a one-time join token.
    JoinedKey,
    /// It is a process of the expected user on this machine; the kernel says so, and nothing else does.
    SocketPeer,
}

impl Attestation {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyProof => "key_proof",
            Self::JoinedKey => "joined_key",
            Self::SocketPeer => "socket_peer",
        }
    }

    /// Whether no key of the agent's own stands behind it: any process of the same user could have done the same.
    #[must_use]
    pub const fn is_unattested(self) -> bool {
        match self {
            Self::KeyProof | Self::JoinedKey => false,
            Self::SocketPeer => true,
        }
    }
}

impl fmt::Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a key came to be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOrigin {
    /// By an operator.
    Registered,
    /// By the agent, with a one-time join token.
    Joined,
}

/// One public key of a registered agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredKey {
    /// The key.
    pub key: PublicKey,
    /// How it came to be registered.
    pub origin: KeyOrigin,
}

/// What a proof is held against: the facts registered of one agent, as they stand now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRegistration {
    /// Who the agent is.
    pub id: SpiffeId,
    /// The keys that it may prove itself with.
    pub keys: Vec<RegisteredKey>,
    /// The user id whose processes may be this agent, where the Unix socket is a way in for it.
    pub socket_uid: Option<u32>,
}

/// A registered agent's running instance that proved itself just now.
#[derive(Debug)]
pub struct ProvenAgent {
    id: SpiffeId,
    instance: InstanceId,
    attestation: Attestation,
    key: Thumbprint,
    peer: Option<SocketPeer>,
}

impl ProvenAgent {
    /// Called by `assertion::verify` once every check has passed.
    pub(crate) fn from_signature(id: SpiffeId, instance: InstanceId, key: &RegisteredKey) -> Self {
        let attestation = match key.origin {
            KeyOrigin::Registered => Attestation::KeyProof,
            KeyOrigin::Joined => Attestation::JoinedKey,
        };
        Self { id, instance, attestation, key: key.key.thumbprint(), peer: None }
    }

    /// The process at the other end of our Unix socket, unattested. `possession` shows the key that its tasks
    /// will be bound to.
    ///
    /// # Errors
    /// [`PeerError`] when the agent has no socket user registered or the process is of another user.
    pub fn from_socket_peer(
        peer: SocketPeer,
        possession: &ProvenPossession,
        registration: &AgentRegistration,
        instance: InstanceId,
    ) -> Result<Self, PeerError> {
        let uid = registration.socket_uid.ok_or(PeerError::NotRegistered)?;
        if peer.uid() != uid {
            return Err(PeerError::OtherUser { uid: peer.uid() });
        }
        Ok(Self {
            id: registration.id.clone(),
            instance,
            attestation: Attestation::SocketPeer,
            key: *possession.key(),
            peer: Some(peer),
        })
    }

    /// The same agent, its tasks bound to a key of this run instead of the key that it proved itself with.
    #[must_use]
    pub fn bound_to(self, possession: &ProvenPossession) -> Self {
        Self { key: *possession.key(), ..self }
    }

    /// Who it is.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.id
    }

    /// Its tenant.
    #[must_use]
    pub const fn tenant(&self) -> &TenantName {
        self.id.tenant()
    }

    /// Its name.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        self.id.name()
    }

    /// This running instance of it.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// How it proved itself.
    #[must_use]
    pub const fn attestation(&self) -> Attestation {
        self.attestation
    }

    /// Thumbprint of the key that its tasks will be bound to.
    #[must_use]
    pub const fn key(&self) -> &Thumbprint {
        &self.key
    }

    /// The process, where it came through the Unix socket.
    #[must_use]
    pub const fn peer(&self) -> Option<&SocketPeer> {
        self.peer.as_ref()
    }
}
