//! People who are registered: what they may do, and what becomes of what they own when they go.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;
use crate::session::Role;

/// Whether an operator may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperatorStanding {
    /// May act, as far as their roles go.
    Active,
    /// Has left: nothing that they said counts any more.
    Lapsed,
}

/// One registered person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Operator {
    /// `person@organisation`.
    pub operator: String,
    /// What they may do.
    pub roles: Vec<Role>,
    /// Which groups they are in: `role:…` and `team:…` in policies and as owners.
    pub groups: Vec<String>,
    /// Whether they may act.
    pub standing: OperatorStanding,
    /// The account that stands for the same person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_person_as: Option<String>,
    /// The owner that takes over what they own when they lapse; without one, it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// How many passkeys they registered.
    pub passkeys: u64,
    /// When they were registered.
    #[schema(format = DateTime)]
    pub added_at: String,
    /// When they lapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub lapsed_at: Option<String>,
}

/// Registers a person, or lets one who lapsed act again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddOperator {
    /// `person@organisation`, in lower case.
    #[schema(value_type = form::PersonName)]
    pub operator: String,
    /// What they may do.
    #[schema(min_items = 1, max_items = 4)]
    pub roles: Vec<Role>,
    /// Which groups they are in.
    #[serde(default)]
    #[schema(value_type = Vec<form::GroupName>, max_items = 64)]
    pub groups: Vec<String>,
    /// Another account of the same person, for the separation of duties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::PersonName>)]
    pub same_person_as: Option<String>,
    /// The owner that takes over what they own when they lapse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::OwnerName>)]
    pub successor: Option<String>,
}

/// Changes a person: fields that are absent stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeOperator {
    /// Other roles, all of them. Sessions for a role that is not among them end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 4)]
    pub roles: Option<Vec<Role>>,
    /// Other groups, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<form::GroupName>>, max_items = 64)]
    pub groups: Option<Vec<String>>,
    /// Another account of the same person; an empty text: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::PersonNameOrNone>)]
    pub same_person_as: Option<String>,
    /// Another successor; an empty text: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::OwnerNameOrNone>)]
    pub successor: Option<String>,
    /// Takes their passkeys away: they lost their devices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop_passkeys: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}

/// Lets a person lapse, with every account of theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LapseOperator {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}

/// A person who lapsed, and what that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorLapsed {
    /// The person.
    pub operator: Operator,
    /// Every account of theirs that lapsed.
    pub accounts: Vec<String>,
    /// Sessions that ended.
    pub sessions: u64,
    /// Who owns from now on what they owned; absent: it stops, or there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell_to: Option<String>,
}
