//! Decisions made again from what was recorded of them: the proof that an answer followed from its
//! facts and policies, and the preview of what another policy set would have answered.
//!
//! A replay gives an answer to compare, never a [`crate::decision::Decision`].

use accredit_identity::caller::Caller;
use accredit_identity::id::{AgentName, InstanceId, OperationName, ResourceName, TaskId, TenantName};
use accredit_identity::key::Thumbprint;
use serde::{Deserialize, Serialize};

use crate::action::{Action, Body, Call, exact_of};
use crate::decide::{Who, weigh};
use crate::decision::{Decision, Grounds, Outcome};
use crate::digest::Digest;
use crate::effect::Effect;
use crate::facts::{PrepareError, Prepared, Usage};
use crate::host::Endpoint;
use crate::policy::PolicySet;
use crate::time::Timestamp;

/// What was recorded of the caller, as far as decisions look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCaller {
    /// Its tenant.
    pub tenant: TenantName,
    /// Its agent.
    pub agent: AgentName,
    /// The task it acted in.
    pub task: TaskId,
    /// The running instance.
    pub instance: InstanceId,
    /// The key that it proved to hold.
    pub key: Thumbprint,
}

impl RecordedCaller {
    /// What is to be recorded of a caller.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        Self {
            tenant: caller.tenant().clone(),
            agent: caller.agent().clone(),
            task: caller.task().clone(),
            instance: caller.instance().clone(),
            key: *caller.key(),
        }
    }

    /// Whoever the task of these facts was given to: the caller of every decision that came as
    /// far as looking at the boundary.
    #[must_use]
    pub fn holder(prepared: &Prepared) -> Self {
        let task = &prepared.own().task;
        Self {
            tenant: task.tenant.clone(),
            agent: task.agent.clone(),
            task: task.id.clone(),
            instance: task.instance.id.clone(),
            key: task.instance.key,
        }
    }
}

/// What was recorded of the request, as far as decisions look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCall {
    /// Where it was to go.
    pub endpoint: Endpoint,
    /// Method.
    pub method: String,
    /// Path.
    pub path: String,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Stated length of the body in bytes.
    pub body_bytes: Option<u64>,
    /// Digest of exactly what was to be sent ([`Call::exact`]), where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Digest>,
}

/// Everything that one decision was made from, beside the policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The text of the facts ([`Prepared::text`]).
    pub facts: String,
    /// The digest of the facts that the ledger holds.
    pub facts_digest: Digest,
    /// Who asked.
    pub caller: RecordedCaller,
    /// What was asked.
    pub call: RecordedCall,
    /// What the task had used under each grant ([`Decision::usage`]).
    pub usage: Usage,
    /// The instant that was decided for.
    pub now: Timestamp,
}

/// Digest of exactly what was to be sent ([`Call::exact`]), from what an entry holds: the digest of the head, that of
/// a body that was read before it was decided on, and the length that the request stated.
#[must_use]
pub fn recorded_exact(head: Option<Digest>, body: Option<Digest>, body_bytes: Option<u64>) -> Option<Digest> {
    match (head, body) {
        (Some(head), Some(body)) => Some(exact_of(&head, &body)),
        (head, None) if body_bytes == Some(0) => head,
        _ => None,
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// `allow`, `ask` or `deny`.
    pub outcome: String,
    /// `allowed`, or the code of the refusal.
    pub code: String,
    /// Ids of the policies that determined it, sorted.
    pub policies: Vec<String>,
    /// The resource.
    pub resource: Option<ResourceName>,
    /// The operation.
    pub operation: OperationName,
    /// Its effect.
    pub effect: Option<Effect>,
    /// The place of the grant that covered it.
    pub grant: Option<usize>,
}

/// Why recorded inputs cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The text of the facts is not the one that the ledger names.
    #[error(
        "the recorded facts are not those of the ledger entry: their digest is {found}, the entry says {recorded}"
    )]
    FactsChanged {
        /// What the ledger says.
        recorded: Digest,
        /// What the text has.
        found: Digest,
    },
    /// The policy set is not the one that was in force.
    #[error("the policy set {given} is not the one that was in force, {recorded}")]
    OtherPolicySet {
        /// What the facts say.
        recorded: Digest,
        /// What was given.
        given: Digest,
    },
    /// The facts cannot be read.
    #[error(transparent)]
    Facts(#[from] PrepareError),
}

/// One respect in which the replay differs from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What differs, such as `outcome`.
    pub what: &'static str,
    /// As recorded.
    pub recorded: String,
    /// As replayed.
    pub replayed: String,
}

/// What came out of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The answer.
    pub outcome: Outcome,
    /// What the policy engine said.
    pub grounds: Grounds,
    /// The same in the form of the record.
    pub answered: Answered,
    /// In what it differs from the record. None: the decision comes out the same.
    pub differences: Vec<Difference>,
}

impl Inputs {
    /// What is to be recorded of a decision.
    #[must_use]
    pub fn of(decision: &Decision) -> Self {
        let call = decision.action().call();
        Self {
            facts: decision.prepared().text().to_owned(),
            facts_digest: decision.prepared().digest(),
            caller: RecordedCaller::of(decision.caller()),
            call: RecordedCall {
                endpoint: call.endpoint.clone(),
                method: call.method.clone(),
                path: call.path.clone(),
                content_type: call.content_type.clone(),
                body_bytes: call.body_bytes,
                exact: call.exact(),
            },
            usage: decision.usage().clone(),
            now: decision.at(),
        }
    }
}

/// Makes the decision again, under the policy set that was in force.
///
/// # Errors
/// [`ReplayError`] when facts or policy set are not those of the record.
pub fn replay(inputs: &Inputs, recorded: &Answered, policies: &PolicySet) -> Result<Replay, ReplayError> {
    let prepared = facts(inputs)?;
    let in_force = prepared.facts().policy_set;
    if policies.digest() != in_force {
        return Err(ReplayError::OtherPolicySet { recorded: in_force, given: policies.digest() });
    }
    Ok(again(&prepared, inputs, recorded, policies))
}

/// Makes the decision again, under another policy set.
///
/// # Errors
/// [`ReplayError`] when the facts are not those of the record.
pub fn replay_under(
    inputs: &Inputs,
    recorded: &Answered,
    proposed: &PolicySet,
) -> Result<Replay, ReplayError> {
    Ok(again(&facts(inputs)?, inputs, recorded, proposed))
}

fn facts(inputs: &Inputs) -> Result<Prepared, ReplayError> {
    let (recorded, found) = (inputs.facts_digest, Digest::of(inputs.facts.as_bytes()));
    if found != recorded {
        return Err(ReplayError::FactsChanged { recorded, found });
    }
    Ok(Prepared::from_text(&inputs.facts)?)
}

fn again(prepared: &Prepared, inputs: &Inputs, recorded: &Answered, policies: &PolicySet) -> Replay {
    let caller = &inputs.caller;
    let who = Who {
        tenant: &caller.tenant,
        agent: &caller.agent,
        task: &caller.task,
        instance: &caller.instance,
        key: &caller.key,
    };
    let action = Action::new(call(&inputs.call), prepared.facts().target.as_ref().map(|t| &t.resource));
    let weighed = weigh(&who, prepared, &action, &inputs.usage, policies, inputs.now);
    let answered = Answered {
        outcome: weighed.outcome.as_str().to_owned(),
        code: weighed.outcome.refusal().map_or("allowed", |r| r.code.as_str()).to_owned(),
        policies: weighed.grounds.policies.clone(),
        resource: action.resource().cloned(),
        operation: action.operation().clone(),
        effect: action.effect(),
        grant: weighed.grant(),
    };
    let differences = differences(recorded, &answered);
    Replay { outcome: weighed.outcome, grounds: weighed.grounds, answered, differences }
}

/// The call with what decisions do not look at left empty.
fn call(recorded: &RecordedCall) -> Call {
    let RecordedCall { endpoint, method, path, content_type, body_bytes, exact } = recorded.clone();
    // Where everything was known, a decision looks at the digest of all of it, whatever it is made of.
    let (head, body) = match exact {
        Some(exact) => (exact, Body::None),
        None => (Digest::from_bytes([0; 32]), Body::Streamed),
    };
    Call {
        endpoint,
        method,
        path,
        sent_path: None,
        query: None,
        head,
        content_type,
        body_bytes,
        body,
        query_shown: None,
        traceparent: String::new(),
    }
}

fn differences(recorded: &Answered, replayed: &Answered) -> Vec<Difference> {
    let none = || "none".to_owned();
    let texts = |a: &Answered| {
        [
            ("outcome", a.outcome.clone()),
            ("code", a.code.clone()),
            ("policies", a.policies.join(", ")),
            ("resource", a.resource.as_ref().map_or_else(none, ToString::to_string)),
            ("operation", a.operation.to_string()),
            ("effect", a.effect.as_ref().map_or_else(none, ToString::to_string)),
            ("grant", a.grant.as_ref().map_or_else(none, ToString::to_string)),
        ]
    };
    let pairs = texts(recorded).into_iter().zip(texts(replayed));
    pairs
        .filter(|((_, was), (_, is))| was != is)
        .map(|((what, recorded), (_, replayed))| Difference { what, recorded, replayed })
        .collect()
}

impl Answered {
    /// What is to be recorded of a decision's answer.
    #[must_use]
    pub fn of(decision: &Decision) -> Self {
        let action = decision.action();
        Self {
            outcome: decision.outcome().as_str().to_owned(),
            code: decision.code().to_owned(),
            policies: decision.grounds().policies.clone(),
            resource: action.resource().cloned(),
            operation: action.operation().clone(),
            effect: action.effect(),
            grant: decision.grant(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Used};
    use crate::fixture;

    const SET: &str = "permit(principal, action == Action::\"read\", resource);
        permit(principal, action == Action::\"delete\", resource) when { context.approval.granted && context.task.calls < 9 };";

    fn inputs(method: &str, grants: &[&str], usage: Usage) -> Inputs {
        let facts = Facts { policy_set: fixture::set(SET).digest(), ..fixture::facts(grants) };
        let prepared = fixture::prepared(&facts);
        Inputs {
            facts: prepared.text().to_owned(),
            facts_digest: prepared.digest(),
            caller: RecordedCaller::holder(&prepared),
            call: RecordedCall {
                endpoint: Endpoint::parse("github.example").expect("an endpoint"),
                method: method.to_owned(),
                path: "/a".to_owned(),
                content_type: None,
                body_bytes: None,
                exact: None,
            },
            usage,
            now: fixture::now(),
        }
    }

    /// What `decide` would record of the same action.
    fn recorded(inputs: &Inputs) -> Answered {
        let prepared = Prepared::from_text(&inputs.facts).expect("facts");
        let action = fixture::action(prepared.facts(), &inputs.call.method, &inputs.call.path);
        let who = Who::holder(prepared.own());
        let weighed = weigh(&who, &prepared, &action, &inputs.usage, &fixture::set(SET), inputs.now);
        Answered {
            outcome: weighed.outcome.as_str().to_owned(),
            code: weighed.outcome.refusal().map_or("allowed", |r| r.code.as_str()).to_owned(),
            policies: weighed.grounds.policies.clone(),
            resource: action.resource().cloned(),
            operation: action.operation().clone(),
            effect: action.effect(),
            grant: weighed.grant(),
        }
    }

    // case: AUD-11
    #[test]
    fn a_recorded_decision_comes_out_the_same() {
        let used = |calls: &[u64]| Usage::new(calls.iter().map(|&calls| Used { calls, bytes: 0 }).collect());
        let limited: &[&str] = &["github: GET * calls<=1", "github: read"];
        for (method, grants, usage, code, grant) in [
            ("GET", &["github: *"][..], used(&[]), "allowed", Some(0)),
            ("GET", limited, used(&[0, 7]), "allowed", Some(0)),
            ("GET", limited, used(&[1, 7]), "allowed", Some(1)),
            ("DELETE", &["github: *"], used(&[8]), "approval_pending", Some(0)),
            ("DELETE", &["github: *"], used(&[9]), "denied_by_policy", Some(0)),
            ("POST", limited, used(&[]), "outside_boundary", None),
            ("GET", &["github: * calls<=2"], used(&[2]), "limit_reached", None),
            ("TRACE", &["github: *"], used(&[]), "method_not_carried", None),
        ] {
            let inputs = inputs(method, grants, usage);
            let text = serde_json::to_string(&inputs).expect("JSON");
            let inputs: Inputs = serde_json::from_str(&text).expect("its own JSON");
            let record = recorded(&inputs);
            assert_eq!((record.code.as_str(), record.grant), (code, grant), "{method} {grants:?}");
            let replay = replay(&inputs, &record, &fixture::set(SET)).expect("the recorded set");
            assert_eq!((replay.differences, replay.answered), (Vec::new(), record));
        }
    }

    // case: AUD-11, POL-09
    #[test]
    fn what_a_task_had_seen_is_replayed_and_absent_where_it_was_not_recorded() {
        let flow = "permit(principal, action, resource);
            forbid(principal, action == Action::\"write\", resource)
            when { context.task has seen && context.task.seen.contains(\"restricted\") };";
        let set = fixture::set(flow);
        for (usage, code) in [
            ("1/0;restricted", "denied_by_policy"),
            ("1/0;internal", "allowed"),
            ("1/0;", "allowed"),
            ("1/0", "allowed"),
        ] {
            let mut inputs = inputs("POST", &["github: *"], Usage::parse(usage).expect("recorded usage"));
            let facts = Facts { policy_set: set.digest(), ..fixture::facts(&["github: *"]) };
            let prepared = fixture::prepared(&facts);
            (inputs.facts, inputs.facts_digest) = (prepared.text().to_owned(), prepared.digest());
            let text = serde_json::to_string(&inputs).expect("JSON");
            let inputs: Inputs = serde_json::from_str(&text).expect("its own JSON");
            let replayed = replay(&inputs, &recorded(&inputs), &set).expect("the recorded set");
            assert_eq!(replayed.answered.code, code, "{usage}");
        }
    }

    // case: AUD-11
    #[test]
    fn a_changed_record_is_noticed() {
        let inputs = inputs("GET", &["github: *"], Usage::default());
        let record = recorded(&inputs);
        let set = fixture::set(SET);
        let changed =
            Inputs { facts: inputs.facts.replace("fix checkout bug", "fix checkout hug"), ..inputs.clone() };
        assert!(matches!(replay(&changed, &record, &set), Err(ReplayError::FactsChanged { .. })));
        assert!(matches!(
            replay(&inputs, &record, &fixture::set("")),
            Err(ReplayError::OtherPolicySet { .. })
        ));
        let forged = Answered { outcome: "deny".to_owned(), grant: None, ..record };
        let found = replay(&inputs, &forged, &set).expect("the recorded set").differences;
        assert_eq!(found.iter().map(|d| d.what).collect::<Vec<_>>(), ["outcome", "grant"]);
        let mut stranger = inputs;
        stranger.caller.instance = InstanceId::from_random([9; 16]);
        let found = replay(&stranger, &forged, &set).expect("the recorded set");
        assert_eq!(found.answered.code, "not_your_task");
    }

    #[test]
    fn a_proposed_set_shows_what_it_would_have_changed() {
        let inputs = inputs("GET", &["github: *"], Usage::default());
        let record = recorded(&inputs);
        let found = replay_under(&inputs, &record, &fixture::set("")).expect("the recorded facts");
        let of: Vec<_> =
            found.differences.iter().map(|d| (d.what, d.recorded.as_str(), d.replayed.as_str())).collect();
        assert_eq!(
            of,
            [("outcome", "allow", "deny"), ("code", "allowed", "denied_by_policy"), ("policies", "p#1", "")]
        );
    }
}
