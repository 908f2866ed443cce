//! What is to be written into the ledger: a kind and typed fields, nothing free-form.
//!
//! The rules produce events; the store turns each into a ledger entry in the transaction of the
//! change that it describes. The ledger refuses kinds and fields that its table does not know.

use std::fmt::Display;

use accredit_identity::id::TenantName;
use serde_json::{Map, Value};

use crate::action::{Body, Call};
use crate::approval::{Asked, BodyShown, Request};
use crate::decision::Decision;
use crate::digest::Digest;
use crate::record::Settlement;
use crate::task::Task;

/// One event of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    tenant: TenantName,
    kind: &'static str,
    body: Map<String, Value>,
}

impl Event {
    /// An event of this kind without fields.
    #[must_use]
    pub fn new(tenant: &TenantName, kind: &'static str) -> Self {
        Self { tenant: tenant.clone(), kind, body: Map::new() }
    }

    /// With a text, name or id.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Display) -> Self {
        self.body.insert(field.to_owned(), Value::String(value.to_string()));
        self
    }

    /// With a text, name or id, where there is one.
    #[must_use]
    pub fn with_opt(self, field: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self,
        }
    }

    /// With a number; beyond 2^53 it is written as 2^53 (RFC 8785 §3.2.2.3).
    #[must_use]
    pub fn with_number(mut self, field: &'static str, value: u64) -> Self {
        self.body.insert(field.to_owned(), Value::from(value.min(1 << 53)));
        self
    }

    /// With yes or no.
    #[must_use]
    pub fn with_flag(mut self, field: &'static str, value: bool) -> Self {
        self.body.insert(field.to_owned(), Value::Bool(value));
        self
    }

    /// With a list of texts.
    #[must_use]
    pub fn with_list(mut self, field: &'static str, values: impl IntoIterator<Item = impl Display>) -> Self {
        let list = values.into_iter().map(|v| Value::String(v.to_string())).collect();
        self.body.insert(field.to_owned(), Value::Array(list));
        self
    }

    /// Whose event it is.
    #[must_use]
    pub const fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// Its kind, such as `action.decided`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its fields.
    #[must_use]
    pub const fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// Its fields, taken.
    #[must_use]
    pub fn into_body(self) -> Map<String, Value> {
        self.body
    }
}

/// The first entry of an action: what was decided, and everything that the decision rests on.
#[must_use]
pub fn decided(decision: &Decision) -> Event {
    let own = decision.prepared().own();
    let facts = decision.prepared().facts();
    let call = decision.action().call();
    let credential = facts.target.as_ref().and_then(|t| t.credential.as_ref());
    let mut event = Event::new(&facts.tenant, "action.decided")
        .with("decision", decision.id())
        .with("agent", decision.caller().agent())
        .with("instance", decision.caller().instance())
        .with("attestation", decision.caller().attestation())
        .with("key", decision.caller().key())
        .with("task", decision.caller().task())
        .with_list("chain", facts.chain.iter().skip(1).map(|l| &l.task.id))
        .with("purpose", &own.task.purpose)
        .with_opt("workflow", own.task.workflow.as_ref())
        .with_opt("requested_by", own.task.requested_by.as_ref())
        .with("operation", decision.action().operation())
        .with_opt("effect", decision.action().effect())
        .with_opt("resource", decision.action().resource())
        .with_opt("credential", credential.map(|c| &c.name))
        .with("method", &call.method)
        .with("scheme", call.endpoint.scheme.as_str())
        .with("host", &call.endpoint.host)
        .with_number("port", call.endpoint.port.into())
        .with("path", &call.path)
        .with_opt("sent_path", call.sent_path.as_ref())
        .with_opt("query_digest", call.query)
        .with("request_digest", call.head)
        .with_opt("content_type", call.content_type.as_ref())
        .with_opt("body_digest", held(call).map(|body| body.digest))
        .with("traceparent", &call.traceparent)
        .with("outcome", decision.outcome().as_str())
        .with("code", decision.code())
        .with("mode", decision.mode().as_str())
        .with_flag("enforced", decision.blocked_by().is_some() || decision.outcome().refusal().is_none())
        .with_list("policies", &decision.grounds().policies)
        .with_list("errors", &decision.grounds().errors)
        .with("policy_set", decision.policy_set())
        .with("facts", decision.prepared().digest())
        .with("usage", decision.usage())
        .with_number("now", u64::try_from(decision.at().as_ms()).unwrap_or(0));
    if let Some(version) = credential.and_then(|c| c.secret_version) {
        event = event.with_number("secret_version", version.into());
    }
    if let Some(bytes) = call.body_bytes {
        event = event.with_number("body_bytes", bytes);
    }
    if let Some(grant) = decision.grant() {
        event = event.with_number("grant", grant as u64);
    }
    if let Some(approval) = &decision.grounds().approval {
        event = event.with("approval", &approval.request).with_list("approved_by", &approval.by);
    }
    event
}

fn held(call: &Call) -> Option<&BodyShown> {
    match &call.body {
        Body::Held(body) => Some(body),
        Body::None | Body::Streamed => None,
    }
}

/// What the gateway saw of an action, for its second entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How it ended.
    pub settlement: Settlement,
    /// HTTP status that the upstream answered with.
    pub status: Option<u16>,
    /// Bytes of the request body that were sent.
    pub request_bytes: u64,
    /// Bytes of the response body that were passed on.
    pub response_bytes: u64,
    /// Keyed digest of the request body that was sent.
    pub body_digest: Option<Digest>,
    /// From the record to the end, in milliseconds.
    pub duration_ms: u64,
    /// A stable word for what went wrong, such as `tls_failed`.
    pub cause: Option<&'static str>,
    /// How often the secret was found in the response and replaced.
    pub scrubbed: u64,
}

/// The second entry of an action.
#[must_use]
pub fn settled(decision: &Decision, seen: &Seen) -> Event {
    let own = decision.prepared().own();
    let facts = decision.prepared().facts();
    let credential = facts.target.as_ref().and_then(|t| t.credential.as_ref());
    let event = Event::new(&facts.tenant, "action.settled")
        .with("decision", decision.id())
        .with("task", &own.task.id)
        .with("agent", &own.agent.name)
        .with_opt("resource", decision.action().resource())
        .with_opt("credential", credential.map(|c| &c.name))
        .with("outcome", seen.settlement.as_str())
        .with_number("request_bytes", seen.request_bytes)
        .with_number("response_bytes", seen.response_bytes)
        .with_opt("body_digest", seen.body_digest)
        .with_number("duration_ms", seen.duration_ms)
        .with_opt("cause", seen.cause)
        .with_number("scrubbed", seen.scrubbed);
    match seen.status {
        Some(status) => event.with_number("status", status.into()),
        None => event,
    }
}

/// An event about a task.
#[must_use]
pub fn about_task(kind: &'static str, task: &Task) -> Event {
    Event::new(&task.tenant, kind)
        .with("task", &task.id)
        .with("agent", &task.agent)
        .with("instance", &task.instance.id)
        .with("attestation", task.instance.attestation)
        .with("purpose", &task.purpose)
        .with_opt("workflow", task.workflow.as_ref())
        .with_opt("requested_by", task.requested_by.as_ref())
        .with_opt("parent", task.parent.as_ref())
        .with_opt("template", task.template.as_ref())
}

/// An event about a request.
#[must_use]
pub fn about_request(kind: &'static str, request: &Request) -> Event {
    Event::new(&request.tenant, kind)
        .with("request", &request.id)
        .with("task", &request.task)
        .with("agent", &request.agent)
        .with("request_digest", request.digest)
}

/// The event of a new request.
#[must_use]
pub fn about_raised(request: &Request) -> Event {
    about_request("request.raised", request)
        .with(
            "kind",
            match request.asked {
                Asked::Call { .. } => "call",
                Asked::Start { .. } => "start",
            },
        )
        .with_opt("operation", request.asked.operation())
        .with_opt("effect", request.asked.effect())
        .with_opt("resource", request.asked.resource())
        .with_list("approvers", &request.terms.approvers)
        .with_number("quorum", request.terms.quorum.into())
        .with_flag("passkey", request.terms.passkey)
        .with_number("expires_at", u64::try_from(request.expires_at.as_ms()).unwrap_or(0))
        .with_list("policies", &request.policies)
        .with("policy_set", request.policy_set)
}
