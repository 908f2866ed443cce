//! Requests for a person's answer. Answering them comes with approvals; here they are raised,
//! collapsed when identical, listed, and end with their task or their deadline.

use accredit_identity::id::{AgentName, OperationName, RequestId, ResourceName, TaskId, TenantName};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::effect::Effect;
use crate::time::Timestamp;

/// Deadline of a request for which policy states none, in seconds.
pub const VALID_FOR_S_DEFAULT: u64 = 24 * 3_600;

/// Who must answer, how many of them, and for how long the question stands; from the annotations
/// of the policies that would permit the action once approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Who may answer, such as `role:payments`; empty: the owner of the resource.
    pub approvers: Vec<String>,
    /// How many different people must agree, at least 1.
    pub quorum: u32,
    /// How long the request stands, in seconds.
    pub valid_for_s: u64,
    /// Whether one answer is for one action or for the rest of the task.
    pub per: Per,
}

/// How far one answer reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// This exact action, once.
    Action,
    /// This operation for the rest of the task.
    Task,
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum RequestState {
    /// Nobody answered yet.
    Pending,
    /// The deadline passed without an answer. Not a denial.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Its task ended first.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
}

/// One request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Whose.
    pub tenant: TenantName,
    /// Its id.
    pub id: RequestId,
    /// The task that asked.
    pub task: TaskId,
    /// The agent that asked.
    pub agent: AgentName,
    /// The resource.
    pub resource: ResourceName,
    /// The operation.
    pub operation: OperationName,
    /// Its effect.
    pub effect: Effect,
    /// Method and URL without query, as decided on.
    pub summary: String,
    /// Digest of the exact request: the same request asked again is the same question.
    pub digest: Digest,
    /// Who must answer.
    pub terms: Terms,
    /// The policies that ask.
    pub policies: Vec<String>,
    /// How often it was asked.
    pub count: u64,
    /// When it was first asked.
    pub raised_at: Timestamp,
    /// When it becomes `expired`.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: RequestState,
}

impl Request {
    /// The word for where the request stands at `now`.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> &'static str {
        match self.state {
            RequestState::Pending if now >= self.expires_at => "expired",
            RequestState::Pending => "pending",
            RequestState::Expired { .. } => "expired",
            RequestState::Withdrawn { .. } => "withdrawn",
        }
    }
}
