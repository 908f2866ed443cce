//! Protected resources: exact endpoints, an owner, a mode, and the way in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;

/// Whether decisions about a resource are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything is decided and recorded, nothing inside a live task is blocked.
    Observe,
    /// What is not allowed does not happen.
    Enforce,
}

/// How much harm its content could do in the wrong hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// Known to everybody.
    Public,
    /// For the organisation.
    Internal,
    /// For few.
    Confidential,
    /// For named people.
    Restricted,
}

/// What a resource speaks on top of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// An operation is a method.
    Plain,
    /// Git's smart HTTP: `git.fetch` reads, `git.push` writes.
    Git,
}

/// Whether a resource may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResourceStatus {
    /// In use.
    Active,
    /// Out of use for ever.
    Retired,
}

/// One protected resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    /// Its name, never reused.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Where it runs.
    pub environment: String,
    /// How sensitive it is.
    pub sensitivity: Sensitivity,
    /// Whether decisions are enforced.
    pub mode: Mode,
    /// Where exactly it answers, such as `https://api.example.com`.
    pub endpoints: Vec<String>,
    /// Whether it may resolve to a private or loopback address.
    pub private_network: bool,
    /// PEM of the authorities that its certificate must chain to, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Whether its `Set-Cookie` fields reach the agent.
    pub pass_cookies: bool,
    /// The way into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Whether it may be used.
    pub status: ResourceStatus,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub added_at: String,
}

/// Registers a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddResource {
    /// A new name: lower-case letters, digits, `.`, `_` and `-`.
    #[schema(value_type = form::Name)]
    pub name: String,
    /// Who answers for it: a registered owner.
    #[schema(value_type = form::OwnerName)]
    pub owner: String,
    /// Where it runs, such as `prod`.
    #[schema(value_type = form::Name)]
    pub environment: String,
    /// How sensitive it is.
    pub sensitivity: Sensitivity,
    /// Whether decisions are enforced; `enforce` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Where exactly it answers: `host`, `host:port`, `https://host[:port]` or `http://host[:port]`.
    /// The first is the one that base-URL mode uses.
    #[schema(value_type = Vec<form::Endpoint>, min_items = 1, max_items = 32)]
    pub endpoints: Vec<String>,
    /// Whether it may resolve to a private or loopback address.
    #[serde(default)]
    pub private_network: bool,
    /// PEM of the authorities that its certificate must chain to, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::CertificatesPem>)]
    pub ca_pem: Option<String>,
    /// What it speaks; `plain` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// Whether its `Set-Cookie` fields reach the agent.
    #[serde(default)]
    pub pass_cookies: bool,
}

/// Changes a resource: fields that are absent stay as they are.
///
/// When the endpoints change, the value of the credential is dropped and must be set again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeResource {
    /// Another registered owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::OwnerName>)]
    pub owner: Option<String>,
    /// Another environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Name>)]
    pub environment: Option<String>,
    /// Another sensitivity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// Another mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Other endpoints, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<form::Endpoint>>, min_items = 1, max_items = 32)]
    pub endpoints: Option<Vec<String>>,
    /// Whether it may resolve to a private or loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_network: Option<bool>,
    /// Other authorities as PEM; an empty text goes back to the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::CertificatesPemOrNone>)]
    pub ca_pem: Option<String>,
    /// Another dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// Whether its `Set-Cookie` fields reach the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_cookies: Option<bool>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}

/// A changed resource, and what the change cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceChanged {
    /// The resource as it is now.
    pub resource: Resource,
    /// The credential whose value was dropped because the endpoints changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_value_of: Option<String>,
}

/// Takes a resource out of use for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetireResource {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}
