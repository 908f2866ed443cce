//! Liveness (open to everybody, says nothing else) and readiness (why not, without names).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `ok`: whoever reads it got an answer.
    pub status: String,
    /// Version of the program.
    pub version: String,
}

/// Whether work is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether every check that work waits for passed.
    pub ready: bool,
    /// What was looked at.
    pub checks: Vec<ReadyCheck>,
}

/// One thing that must be well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadyCheck {
    /// `ledger`, `tree`, `vault`, `fork`, or `witness` and `publish`, which work does not wait for.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What is wrong and what to do, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
