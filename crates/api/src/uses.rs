//! Who used a credential for what, from the ledger; and who could use it now, from the decision function.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::form;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It may happen.
    Allow,
    /// It may happen once a person has said yes.
    Ask,
    /// It may not happen.
    Deny,
}

/// One use: a decision joined with how the action ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Use {
    /// The decision: pass it to `GET /v1/why/{id}`.
    pub decision: String,
    /// Place of its entry in the ledger.
    pub entry: u64,
    /// When it was decided.
    #[schema(format = DateTime)]
    pub time: String,
    /// The agent.
    pub agent: String,
    /// The running instance of the agent.
    pub instance: String,
    /// The task.
    pub task: String,
    /// What the task is for.
    pub purpose: String,
    /// Where the work is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The person who asked for the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// The request that people said yes to, where it rests on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// Who said yes to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The operation.
    pub operation: String,
    /// Its effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Method of the request.
    pub method: String,
    /// Host of the request.
    pub host: String,
    /// Path of the request.
    pub path: String,
    /// What was decided.
    pub outcome: Outcome,
    /// `allowed`, or why not.
    pub code: String,
    /// Whether the decision was enforced; `false` where a resource is only observed.
    pub enforced: bool,
    /// The policies that determined it.
    pub policies: Vec<String>,
    /// How the action ended: `done`, `not_sent`, `failed`, `cut`, `unknown`. Absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
    /// HTTP status that the upstream answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of the request body that were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<u64>,
    /// Bytes of the response body that were passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_bytes: Option<u64>,
    /// From the record to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// Which uses are wanted; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsesQuery {
    /// Not before this moment, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(format = DateTime)]
    pub since: Option<String>,
    /// Before this moment, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(format = DateTime)]
    pub until: Option<String>,
    /// Of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::Name>, inline)]
    pub agent: Option<String>,
    /// Of this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::TaskId>, inline)]
    pub task: Option<String>,
    /// With this outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub outcome: Option<Outcome>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::PlaceCursor>, inline)]
    pub cursor: Option<String>,
    /// Most items wanted; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// One task that could use something now, as the decision function sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Could {
    /// The agent.
    pub agent: String,
    /// The live task.
    pub task: String,
    /// What the task is for.
    pub purpose: String,
    /// The grants of the task that reach the resource.
    pub grants: Vec<String>,
    /// What would be decided for each effect or for the request that was asked about.
    pub answers: Vec<CouldAnswer>,
    /// When the task expires.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// What would be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CouldAnswer {
    /// The effect that was tried.
    pub effect: String,
    /// The answer.
    pub outcome: Outcome,
    /// `allowed`, or why not.
    pub code: String,
    /// The policies that determine it.
    pub policies: Vec<String>,
}

/// Who could use something now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoCan {
    /// The resource.
    pub resource: String,
    /// Live tasks that could. Empty: nobody can, now.
    pub items: Vec<Could>,
}
