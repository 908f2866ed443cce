//! Registered agents, their keys, and one-time join tokens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;
use crate::sensitive::Sensitive;
use crate::strict;

/// What sort of workload an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// Hands tasks to other agents.
    Orchestrator,
    /// Works on tasks, driven by a model.
    Agent,
    /// Does one thing for agents.
    Tool,
    /// A long-running program.
    Service,
    /// A program that runs and ends.
    Job,
}

/// Whether an agent may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// May start tasks.
    Enabled,
    /// May do nothing until resumed.
    Suspended,
}

/// One registered agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its name, never reused.
    pub name: String,
    /// `spiffe://<trust domain>/<tenant>/<environment>/<kind>/<name>`.
    pub spiffe_id: String,
    /// What sort of workload it is.
    pub kind: AgentKind,
    /// Where it runs.
    pub environment: String,
    /// Who answers for it.
    pub owner: String,
    /// Whether it may act.
    pub status: AgentStatus,
    /// Since when it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub suspended_at: Option<String>,
    /// Why it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_because: Option<String>,
    /// The operating system user that may act as this agent through the local socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_uid: Option<u32>,
    /// The public keys that it proves itself with.
    pub keys: Vec<AgentKey>,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub registered_at: String,
}

/// One public key of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentKey {
    /// SHA-256 thumbprint (RFC 7638), base64url. It is also the `kid` of assertions.
    pub thumbprint: String,
    /// `ES256` or `EdDSA`.
    pub algorithm: String,
}

/// Registers an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterAgent {
    /// A new name: lower-case letters, digits, `.`, `_` and `-`.
    #[schema(value_type = form::Name)]
    pub name: String,
    /// What sort of workload it is.
    pub kind: AgentKind,
    /// Where it runs, such as `prod`.
    #[schema(value_type = form::Name)]
    pub environment: String,
    /// Who answers for it: a registered owner.
    #[schema(value_type = form::OwnerName)]
    pub owner: String,
    /// Its public key (P-256 or Ed25519): PEM, or a JWK as JSON text. Without one, and without
    /// `socket_uid`, it needs a join token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::PublicKeyText>)]
    pub public_key: Option<String>,
    /// The operating system user that may act as this agent through the local socket without a key.
    #[serde(default, deserialize_with = "strict::whole_opt", skip_serializing_if = "Option::is_none")]
    pub socket_uid: Option<u32>,
}

/// Stops an agent and ends its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendAgent {
    /// Why.
    #[schema(value_type = form::Line)]
    pub reason: String,
}

/// Lets an agent start tasks again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeAgent {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}

/// Gives an agent to another owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAgentOwner {
    /// A registered owner.
    #[schema(value_type = form::OwnerName)]
    pub owner: String,
}

/// Adds a public key to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddAgentKey {
    /// P-256 or Ed25519: PEM, or a JWK as JSON text.
    #[schema(value_type = form::PublicKeyText)]
    pub public_key: String,
}

/// Asks for a join token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// How long it may be redeemed, in seconds; 600 when absent.
    #[serde(default, deserialize_with = "strict::whole_opt", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub ttl_s: Option<u64>,
}

/// A join token, shown this once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct JoinTokenCreated {
    /// Its id in the ledger.
    pub id: String,
    /// The agent that it is for.
    pub agent: String,
    /// Redeem it once at `POST /v1/join`.
    pub token: Sensitive,
    /// From when on it no longer works.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Redeems a join token: registers the agent's key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The join token.
    #[schema(value_type = String, max_length = 256)]
    pub token: Sensitive,
    /// The agent's public key (P-256 or Ed25519): PEM, or a JWK as JSON text.
    #[schema(value_type = form::PublicKeyText)]
    pub public_key: String,
}

/// What a join token was redeemed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Joined {
    /// The agent.
    pub agent: String,
    /// Its SPIFFE ID.
    pub spiffe_id: String,
    /// The key that was registered.
    pub key: AgentKey,
}
