//! People and teams that answer for agents, resources and credentials.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;

/// Whether an owner still answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OwnerStanding {
    /// Answers for what it owns.
    Active,
    /// Has left: what it owns is stopped.
    Lapsed,
}

/// One owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Owner {
    /// `person@organisation` or `team:name`.
    pub owner: String,
    /// Whether it still answers.
    pub standing: OwnerStanding,
    /// When it was added.
    #[schema(format = DateTime)]
    pub added_at: String,
    /// When it lapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub lapsed_at: Option<String>,
}

/// Adds an owner, or lets a lapsed one answer again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddOwner {
    /// `person@organisation` or `team:name`, in lower case.
    #[schema(value_type = form::OwnerName)]
    pub owner: String,
}

/// Stops everything that an owner answers for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LapseOwner {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}
