//! Detected deviations, and letting a task go on that one holds back.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::form;

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Containment {
    /// It is recorded and listed.
    Alert,
    /// Whatever the task does next, a person is asked first.
    Ask,
    /// The task stands still until somebody releases it.
    SuspendTask,
    /// The task is revoked, and everything below it.
    RevokeTask,
    /// The agent is suspended, and all of its tasks are revoked.
    SuspendAgent,
}

/// One detected deviation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Its id.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// What follows.
    pub then: Containment,
    /// The agent.
    pub agent: String,
    /// The task.
    pub task: String,
    /// Place of the entry that fulfilled the rule.
    pub entry: u64,
    /// When that was.
    #[schema(format = DateTime)]
    pub at: String,
    /// What was seen, in one sentence.
    pub detail: String,
    /// When what follows was done. Absent: it is still to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub contained_at: Option<String>,
}

/// Which findings are wanted; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FindingsQuery {
    /// Of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::Name>, inline)]
    pub agent: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::FindingId>, inline)]
    pub cursor: Option<String>,
    /// Most items wanted; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// Lets a task go on that a finding holds back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTask {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}
