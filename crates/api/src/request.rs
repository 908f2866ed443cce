//! Requests for a person's answer, and answers to them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::form;
use crate::passkey::PasskeyUsed;

/// Where a request stands. Waiting too long is not a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestStatus {
    /// Waits for answers.
    Pending,
    /// Enough people said yes, and it was not used yet.
    Granted,
    /// It was used, and is used up.
    Consumed,
    /// Somebody said no.
    Denied,
    /// The time passed, for an answer or for its use.
    Expired,
    /// Taken back: by the task that asked, its end, or whoever granted it.
    Withdrawn,
}

/// How far an answer reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Exactly what is shown, once.
    Call,
    /// This operation of this resource, for the rest of this task.
    Operation,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// One use of a resource.
    Call,
    /// The start of a task.
    Start,
}

/// The body that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestBody {
    /// Keyed digest of all of it.
    pub digest: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its beginning, as it is: show it inert. Absent: it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether more follows than is shown.
    pub cut: bool,
}

/// The use that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestCall {
    /// The resource.
    pub resource: String,
    /// Who answers for it.
    pub owner: String,
    /// The operation.
    pub operation: String,
    /// Its effect.
    pub effect: String,
    /// Method.
    pub method: String,
    /// Scheme, host, port and path, as they would be sent.
    pub url: String,
    /// Query, as it would be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Body; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<RequestBody>,
}

/// The task whose start is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestStart {
    /// Who answers for the agent.
    pub owner: String,
    /// What it is for, in the words of whoever proposed it.
    pub purpose: String,
    /// Where the work is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What it could do itself.
    pub usable: Vec<String>,
    /// What it could hand down.
    pub delegable: Vec<String>,
    /// How long it would live, in seconds.
    pub ttl_s: u64,
}

/// One task of the chain that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestChainLink {
    /// The task.
    pub task: String,
    /// Its agent.
    pub agent: String,
    /// Who answers for the agent.
    pub owner: String,
    /// What it is for.
    pub purpose: String,
    /// The person who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// Who must answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestTerms {
    /// Who may answer, such as `role:payments`; empty: whoever answers for what is asked about.
    pub approvers: Vec<String>,
    /// How many different people must agree.
    pub quorum: u32,
    /// How many of them are missing.
    pub missing: u32,
    /// The scopes that may be chosen.
    pub scopes: Vec<Scope>,
    /// Whether a passkey is asked for.
    pub passkey: bool,
    /// Whether the owner of the agent may not answer.
    pub not_owner: bool,
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestYes {
    /// Who.
    pub by: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// How far it reaches.
    pub scope: Scope,
    /// Whether a passkey was used.
    pub passkey: bool,
    /// Why, where they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the task that asks has done so far, to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestSoFar {
    /// Uses that were let out.
    pub uses: u64,
    /// Uses that were refused.
    pub refused: u64,
    /// Uses of this resource that were let out.
    pub on_resource: u64,
    /// In what this differs, in plain words.
    pub differs: Vec<String>,
}

/// One request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalRequest {
    /// Its id.
    pub id: String,
    /// Where it stands now.
    pub status: RequestStatus,
    /// What it is about.
    pub kind: RequestKind,
    /// One line that says what would be done.
    pub summary: String,
    /// The use, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<RequestCall>,
    /// The start, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<RequestStart>,
    /// The task that asked, or would be started.
    pub task: String,
    /// The agent that asked.
    pub agent: String,
    /// The task that asked and those above it.
    pub chain: Vec<RequestChainLink>,
    /// Digest of exactly what is asked about: an answer names it.
    pub digest: String,
    /// Who must answer.
    pub terms: RequestTerms,
    /// Who said yes so far.
    pub yes: Vec<RequestYes>,
    /// Who said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_by: Option<String>,
    /// Why it was denied, and what to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far the grant reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Until when the grant can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub granted_until: Option<String>,
    /// The decision that used it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The policies that ask.
    pub policies: Vec<String>,
    /// The policy set that they are of.
    pub policy_set: String,
    /// How it could be undone, in the words of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// What the task has done so far; only where one request is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub so_far: Option<RequestSoFar>,
    /// What happens if nobody answers.
    pub if_unanswered: String,
    /// How often it was asked.
    pub count: u64,
    /// When it was first asked.
    #[schema(format = DateTime)]
    pub raised_at: String,
    /// When it becomes `expired`, unless it is answered.
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

/// How a request is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RequestQuery {
    /// Waits as long for an answer, while it is pending: whole seconds, at most 50, such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^([1-9]|[1-4][0-9]|50)s$", min_length = 2, max_length = 3)]
    pub wait: Option<String>,
}

/// A yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The digest of what was shown.
    #[schema(value_type = form::DigestHex)]
    pub digest: String,
    /// How far it reaches.
    pub scope: Scope,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
    /// A passkey that was used for exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey: Option<PasskeyUsed>,
}

/// A no, or a taking back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// Why, and what to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}
