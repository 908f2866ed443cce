//! Policy sets, named by their content: show, check, apply, and try against what really happened.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;
use crate::strict;
use crate::uses::Outcome;

/// One policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name without folders, such as `coding.cedar`.
    #[schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    pub name: String,
    /// Its Cedar text.
    pub text: String,
}

/// One policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicySet {
    /// SHA-256 of the set, 64 hexadecimal digits.
    pub hash: String,
    /// Whether it is in force.
    pub head: bool,
    /// Its files.
    pub files: Vec<PolicyFile>,
    /// The ids of its policies.
    pub policies: Vec<String>,
}

/// Checks a policy set without applying it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckPolicies {
    /// All files of the set.
    #[serde(deserialize_with = "strict::objects")]
    #[schema(max_items = 64)]
    pub files: Vec<PolicyFile>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyCheck {
    /// Whether the set could be applied.
    pub ok: bool,
    /// The hash that it would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The ids of its policies.
    pub policies: Vec<String>,
    /// What is wrong with it.
    pub problems: Vec<PolicyProblem>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<PolicyProblem>,
}

/// One thing that is wrong with a policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyProblem {
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Puts a policy set in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyPolicies {
    /// All files of the set.
    #[serde(deserialize_with = "strict::objects")]
    #[schema(max_items = 64)]
    pub files: Vec<PolicyFile>,
    /// The hash that is believed to be in force. When another one is, nothing is applied (409).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::DigestHex>)]
    pub expected_head: Option<String>,
}

/// Tries a policy set against recorded decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayPolicies {
    /// All files of the set.
    #[serde(deserialize_with = "strict::objects")]
    #[schema(max_items = 64)]
    pub files: Vec<PolicyFile>,
    /// Decisions from this moment on, RFC 3339.
    #[schema(format = DateTime)]
    pub since: String,
}

/// What would have been decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyReplay {
    /// Decisions that were looked at.
    pub examined: u64,
    /// Decisions that would have come out the same.
    pub same: u64,
    /// Decisions whose inputs are no longer at hand.
    pub not_replayed: u64,
    /// Decisions that would have come out otherwise, the oldest first; at most 1,000.
    pub changed: Vec<ReplayChange>,
    /// Whether there are more changes, or more decisions, than were looked at.
    pub cut: bool,
}

/// One decision that would have come out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayChange {
    /// The decision.
    pub decision: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub time: String,
    /// The agent.
    pub agent: String,
    /// The task.
    pub task: String,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Method of the request.
    pub method: String,
    /// Path of the request.
    pub path: String,
    /// What was decided.
    pub was: Outcome,
    /// What would be decided.
    pub would_be: Outcome,
    /// The policies that would determine it.
    pub policies: Vec<String>,
}

/// Asks who could make a request now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskWhoCan {
    /// The resource.
    #[schema(value_type = form::Name)]
    pub resource: String,
    /// The method, such as `POST`.
    #[schema(value_type = form::Method)]
    pub method: String,
    /// The path, such as `/repos/acme/shop/pulls`.
    #[schema(value_type = form::RequestPath)]
    pub path: String,
}
