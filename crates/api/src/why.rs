//! One decision, explained by replaying it from what was recorded.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::request::ApprovalRequest;
use crate::task::Task;
use crate::uses::{Outcome, Use};

/// The explanation of a decision, a request or a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// What was asked about.
    pub subject: String,
    /// The task, as it stands now.
    pub task: Task,
    /// The tasks above it, as they stand now, the nearest first; the last was asked for by a person or the agent itself.
    pub above: Vec<Task>,
    /// The request, when it was asked about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ApprovalRequest>,
    /// The decisions, newest first; of a task, the newest 50.
    pub decisions: Vec<WhyDecision>,
}

/// One decision with everything that it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyDecision {
    /// What was done, and how it ended.
    #[serde(rename = "use")]
    pub used: Use,
    /// The agent behind it, as it stood then.
    pub identity: WhyIdentity,
    /// The tasks above this one, the nearest first.
    pub chain: Vec<String>,
    /// The grant of the task that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The policies that determined it, with their texts.
    pub policies: Vec<WhyPolicy>,
    /// Policies that could not be evaluated.
    pub errors: Vec<String>,
    /// Hash of the policy set that was in force.
    pub policy_set: String,
    /// Digest of the facts that it was made from.
    pub facts: String,
    /// Version of the credential's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<u64>,
    /// The request for approval that it raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The request whose answer let it out, with who gave it and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRequest>,
    /// What comes out when it is decided again.
    pub replay: Replay,
}

/// The agent behind a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyIdentity {
    /// The agent.
    pub agent: String,
    /// Its kind.
    pub kind: String,
    /// Its environment.
    pub environment: String,
    /// Who answered for it.
    pub owner: String,
    /// The running instance.
    pub instance: String,
    /// How the instance proved itself.
    pub attestation: String,
    /// Thumbprint of the key that the task was bound to.
    pub key: String,
}

/// One policy that determined a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyPolicy {
    /// Its id.
    pub id: String,
    /// Its text, as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What comes out when a decision is made again from its recorded inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// `same`, `different`, or `impossible` when inputs are no longer at hand.
    pub result: ReplayResult,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// `allowed`, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The sentence that explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What could be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// How a replay compares with the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayResult {
    /// The same answer for the same reason.
    Same,
    /// Another answer: something was changed that must not change.
    Different,
    /// The inputs are no longer at hand.
    Impossible,
}
