//! The context of a decision: what policies see beside agent and operation.
//!
//! Built from typed values, never from JSON. Everything that the agent says stands under `request`,
//! whose fields are written out here one by one, so that it cannot shadow a trusted fact.

use cedar_policy::{Context, RestrictedExpression};

use accredit_identity::id::AgentName;

use crate::action::Action;
use crate::facts::{Prepared, Usage};
use crate::start::Proposal;
use crate::task::TaskState;
use crate::time::Timestamp;

type Pair = (&'static str, RestrictedExpression);

/// The context of one use.
pub struct UseContext<'a> {
    prepared: &'a Prepared,
    action: &'a Action,
    usage: &'a Usage,
    now: Timestamp,
    built: Result<Context, String>,
}

impl<'a> UseContext<'a> {
    /// The context of the action as it stands, without approval.
    #[must_use]
    pub fn new(prepared: &'a Prepared, action: &'a Action, usage: &'a Usage, now: Timestamp) -> Self {
        Self::build(prepared, action, usage, now, false)
    }

    /// The same, had a person said yes.
    #[must_use]
    pub fn approved(&self) -> Self {
        Self::build(self.prepared, self.action, self.usage, self.now, true)
    }

    fn build(
        prepared: &'a Prepared,
        action: &'a Action,
        usage: &'a Usage,
        now: Timestamp,
        granted: bool,
    ) -> Self {
        let pairs = [
            ("task", task(prepared, usage, now)),
            ("chain", chain(prepared.facts().agents())),
            ("approval", approval(granted)),
            ("now", Ok(instant(now))),
            ("request", request(action)),
        ];
        Self { prepared, action, usage, now, built: context(pairs) }
    }

    pub(crate) const fn built(&self) -> &Result<Context, String> {
        &self.built
    }
}

/// The context of starting a task.
pub(crate) fn of_start<'a>(
    proposal: &Proposal,
    chained: impl Iterator<Item = &'a AgentName>,
    attested: bool,
    now: Timestamp,
    granted: bool,
) -> Result<Context, String> {
    let grants = || proposal.boundary.usable.iter().chain(&proposal.boundary.delegable);
    let mut asked = vec![
        ("purpose", text(proposal.purpose.as_str())),
        ("ttl_s", number(proposal.ttl_s)),
        ("resources", set(grants().map(|g| g.resource().as_str()))),
        ("effects", set(grants().flat_map(|g| g.effects()).map(|e| e.as_str()))),
        ("grants", number(grants().count() as u64)),
    ];
    asked.extend(proposal.workflow.as_ref().map(|w| ("workflow", text(w.as_str()))));
    asked.extend(proposal.requested_by.as_ref().map(|r| ("requested_by", text(r.as_str()))));
    context([
        ("attested", Ok(RestrictedExpression::new_bool(attested))),
        ("chain", chain(chained)),
        ("approval", approval(granted)),
        ("now", Ok(instant(now))),
        ("request", record(asked)),
    ])
}

fn task(prepared: &Prepared, usage: &Usage, now: Timestamp) -> Result<RestrictedExpression, String> {
    let task = &prepared.own().task;
    let age_s = match &task.state {
        TaskState::Active { since, .. } => now.ms_since(*since).max(0) / 1_000,
        TaskState::Proposed | TaskState::Ended { .. } => 0,
    };
    let mut pairs = vec![
        ("id", text(task.id.as_str())),
        ("purpose", text(task.purpose.as_str())),
        ("attested", RestrictedExpression::new_bool(!task.instance.attestation.is_unattested())),
        ("age_s", RestrictedExpression::new_long(age_s)),
        ("calls", number(usage.calls())),
    ];
    pairs.extend(usage.seen().map(|seen| ("seen", set(seen.iter().map(|s| s.as_str())))));
    pairs.extend(task.workflow.as_ref().map(|w| ("workflow", text(w.as_str()))));
    pairs.extend(task.requested_by.as_ref().map(|r| ("requested_by", text(r.as_str()))));
    pairs.extend(task.template.as_ref().map(|t| ("template", text(t.as_str()))));
    record(pairs)
}

/// The agents of a chain of tasks, the acting one first.
fn chain<'a>(agents: impl Iterator<Item = &'a AgentName>) -> Result<RestrictedExpression, String> {
    let agents: Vec<&str> = agents.map(AgentName::as_str).collect();
    let above = agents.len().saturating_sub(1) as u64;
    record([("depth", number(above)), ("agents", set(agents.into_iter()))])
}

fn approval(granted: bool) -> Result<RestrictedExpression, String> {
    record([("granted", RestrictedExpression::new_bool(granted))])
}

fn request(action: &Action) -> Result<RestrictedExpression, String> {
    let call = action.call();
    let mut pairs = vec![
        ("method", text(&call.method)),
        ("path", text(&call.path)),
        ("host", text(call.endpoint.host.as_str())),
        ("port", number(u64::from(call.endpoint.port))),
        ("scheme", text(call.endpoint.scheme.as_str())),
    ];
    pairs.extend(call.content_type.as_ref().map(|c| ("content_type", text(c))));
    pairs.extend(call.body_bytes.map(|b| ("body_bytes", number(b))));
    record(pairs)
}

fn context<const N: usize>(
    pairs: [(&'static str, Result<RestrictedExpression, String>); N],
) -> Result<Context, String> {
    let pairs: Vec<_> =
        pairs.into_iter().map(|(k, v)| v.map(|v| (k.to_owned(), v))).collect::<Result<_, _>>()?;
    Context::from_pairs(pairs).map_err(|e| e.to_string())
}

fn record(pairs: impl IntoIterator<Item = Pair>) -> Result<RestrictedExpression, String> {
    let pairs = pairs.into_iter().map(|(k, v)| (k.to_owned(), v));
    RestrictedExpression::new_record(pairs).map_err(|e| e.to_string())
}

fn set<'a>(values: impl Iterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.map(text))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

/// A count; what does not fit Cedar's 64-bit signed integers is as good as its largest.
fn number(value: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}

/// RFC 3339 in UTC with milliseconds, as Cedar's `datetime` reads it (years 0000 to 9999).
fn instant(at: Timestamp) -> RestrictedExpression {
    RestrictedExpression::new_datetime(at.to_string())
}
