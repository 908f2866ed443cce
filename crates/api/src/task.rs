//! Tasks: start, renew, extend, hold, end; and the receipt of what one did.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::form;
use crate::sensitive::Sensitive;
use crate::strict;

/// The `client_assertion_type` of RFC 7523 §2.2.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a task may touch, as texts such as `github: GET /repos/acme/** calls<=5`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Boundary {
    /// What it may do itself.
    pub usable: Vec<String>,
    /// What it may hand down.
    #[serde(default)]
    pub delegable: Vec<String>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Asked for, not started.
    Proposed,
    /// May be used until it expires.
    Active,
    /// Its work was done.
    Completed,
    /// Its work failed, or its runner was lost.
    Failed,
    /// Its time ran out.
    Expired,
    /// Somebody took it away.
    Revoked,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Where it stands now.
    pub status: TaskStatus,
    /// Which agent it was given to.
    pub agent: String,
    /// Which running instance of that agent.
    pub instance: String,
    /// How that instance proved itself.
    pub attestation: String,
    /// What it is for.
    pub purpose: String,
    /// Where the work is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The person who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// The task that handed this authority down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What a finding put on it: `ask`, a person is asked before each use; `suspended`, nothing is let out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restraint: Option<String>,
    /// The finding that holds it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// The template it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What it may touch.
    pub boundary: Boundary,
    /// Whether a runner holds it: then it ends when the runner is gone.
    pub held: bool,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub proposed_at: String,
    /// When it started, while it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub started_at: Option<String>,
    /// From when on it may not be used, while it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Why it ended, where somebody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_because: Option<String>,
}

/// The process that runs a task on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Runner {
    /// Its process id.
    #[serde(deserialize_with = "strict::whole")]
    #[schema(minimum = 1)]
    pub pid: u32,
}

/// Proposes a task and starts it if policy allows.
///
/// The agent proves itself with a client assertion (`private_key_jwt`) or as the peer of the local
/// socket; the `DPoP` header names the key of this instance, which every token of the task is bound to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartTask {
    /// Through the socket: which of the agents that this user may act as. Elsewhere the assertion says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Name>)]
    pub agent: Option<String>,
    /// `private_key_jwt` of the agent (RFC 7523), audience: the issuer, alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 8192)]
    pub client_assertion: Option<Sensitive>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, with the assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^urn:ietf:params:oauth:client-assertion-type:jwt-bearer$")]
    pub client_assertion_type: Option<String>,
    /// What it is for, in a person's words.
    #[schema(value_type = form::Line)]
    pub purpose: String,
    /// Where the work is tracked: a ticket, a run, a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::ShortLine>)]
    pub workflow: Option<String>,
    /// The person who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::ShortLine>)]
    pub requested_by: Option<String>,
    /// The template to start from; or else a boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Name>)]
    pub template: Option<String>,
    /// Grants such as `github: GET /repos/acme/**`; or else a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<form::GrantText>>, min_items = 1, max_items = 32)]
    pub boundary: Option<Vec<String>>,
    /// What it may hand down, beside a boundary; a template says that itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<form::GrantText>>, min_items = 1, max_items = 32)]
    pub delegable: Option<Vec<String>>,
    /// How long it shall live, in seconds; that of the template, or an hour, when absent.
    #[serde(default, deserialize_with = "strict::whole_opt", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub ttl_s: Option<u64>,
    /// Whether the runner will hold it (`GET /v1/tasks/{id}/hold`): then it ends when the runner is gone.
    #[serde(default)]
    pub held: bool,
    /// The process that runs it, when it is on this machine.
    #[serde(default, deserialize_with = "strict::object_opt", skip_serializing_if = "Option::is_none")]
    pub runner: Option<Runner>,
    /// The task that hands this authority down. A process that a runner on this machine started needs not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::TaskId>)]
    pub parent: Option<String>,
    /// The present token of that task: its holder agrees. Not needed for a process that its runner started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 8192)]
    pub parent_token: Option<Sensitive>,
}

/// A token of a task.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskToken {
    /// Present it as `Authorization: DPoP …` with a `DPoP` proof of the instance's key.
    pub access_token: Sensitive,
    /// `DPoP`.
    pub token_type: String,
    /// Life of the token, in seconds. Renew it before.
    pub expires_in: u64,
}

/// A started task and its first token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskStarted {
    /// The task, with what was granted.
    pub task: Task,
    /// Its first token.
    pub token: TaskToken,
}

/// Which tasks are wanted; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TasksQuery {
    /// Of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::Name>, inline)]
    pub agent: Option<String>,
    /// Only those that are active now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::TaskId>, inline)]
    pub cursor: Option<String>,
    /// Most items wanted; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// Lets a task live longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendTask {
    /// By how many seconds.
    #[serde(deserialize_with = "strict::whole")]
    #[schema(minimum = 1, maximum = 86400)]
    pub by_s: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}

/// How a task came to its end, in the words of whoever ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndOutcome {
    /// Its work was done.
    Completed,
    /// Its work failed.
    Failed,
}

/// Ends a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndTask {
    /// How.
    pub outcome: EndOutcome,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}

/// One line of `GET /v1/tasks/{id}/hold` (JSON lines): the task still stands, or it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldLine {
    /// Where the task stands. Anything but `active` is the last line.
    pub status: TaskStatus,
    /// When this was so.
    #[schema(format = DateTime)]
    pub at: String,
    /// From when on it may not be used, while it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// What a task did, from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The task.
    pub task: Task,
    /// From its start to its end, or to now, in milliseconds.
    pub duration_ms: u64,
    /// Actions that were let out.
    pub uses: u64,
    /// Actions that were refused.
    pub refused: u64,
    /// Actions that wait, or waited, for a person.
    pub asked: u64,
    /// Credentials that were used.
    pub credentials: Vec<String>,
    /// What was done at each resource.
    pub resources: Vec<ReceiptLine>,
    /// Place of the newest ledger entry about the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_entry: Option<u64>,
}

/// What a task did at one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptLine {
    /// The resource.
    pub resource: String,
    /// Actions that read.
    pub reads: u64,
    /// Actions that added or changed.
    pub writes: u64,
    /// Actions that removed.
    pub deletes: u64,
    /// Actions with any other effect.
    pub others: u64,
    /// Actions that were refused.
    pub refused: u64,
    /// Bytes of bodies, both ways together.
    pub bytes: u64,
}
