//! Requests for a person's answer. They are listed here; answering them comes with approvals.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::form;

/// Where a request stands. Waiting too long is not a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestStatus {
    /// Nobody answered yet.
    Pending,
    /// The deadline passed without an answer.
    Expired,
    /// Its task ended first.
    Withdrawn,
}

/// One request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalRequest {
    /// Its id.
    pub id: String,
    /// Where it stands now.
    pub status: RequestStatus,
    /// The task that asked.
    pub task: String,
    /// The agent that asked.
    pub agent: String,
    /// The resource.
    pub resource: String,
    /// The operation.
    pub operation: String,
    /// Its effect.
    pub effect: String,
    /// Method and URL without query.
    pub summary: String,
    /// Digest of the exact request.
    pub digest: String,
    /// Who must answer; empty: the owner of the resource.
    pub approvers: Vec<String>,
    /// How many different people must agree.
    pub quorum: u32,
    /// Whether one answer is for one `action` or for the rest of the `task`.
    pub per: String,
    /// The policies that ask.
    pub policies: Vec<String>,
    /// How often it was asked.
    pub count: u64,
    /// When it was first asked.
    #[schema(format = DateTime)]
    pub raised_at: String,
    /// When it becomes `expired`.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Which requests are wanted; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RequestsQuery {
    /// Only those that stand like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<RequestStatus>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::RequestId>, inline)]
    pub cursor: Option<String>,
    /// Most items wanted; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}
