//! Made-up uses, answered by the same function that decides real ones: for policy tests and for
//! questions such as "who can". No decision comes out of this, so nothing can be done with it.

use accredit_identity::caller::Attestation;
use accredit_identity::id::{InstanceId, TaskId, TemplateName};
use accredit_identity::key::Thumbprint;

use crate::action::{Action, Body, Call};
use crate::agent::{Agent, AgentStatus};
use crate::boundary::{Boundary, Grant};
use crate::decide::{Who, weigh};
use crate::decision::{Grounds, Outcome};
use crate::digest::Digest;
use crate::facts::{Facts, Link, PrepareError, Prepared, Target, Usage, Used};
use crate::host::Endpoint;
use crate::owner::Standing;
use crate::policy::PolicySet;
use crate::resource::{Resource, Sensitivity};
use crate::task::{Instance, TTL_S_MAX, Task, TaskState};
use crate::text::{Purpose, Requester, Workflow};
use crate::time::Timestamp;

/// What a made-up task is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSketch {
    /// What it is for.
    pub purpose: Purpose,
    /// Where the work is tracked.
    pub workflow: Option<Workflow>,
    /// The person who asked for it.
    pub requested_by: Option<Requester>,
    /// The template it was started from.
    pub template: Option<TemplateName>,
    /// Whether its instance proved itself with a key.
    pub attested: bool,
    /// Seconds since it started, less than a day.
    pub age_s: u64,
    /// Calls let out so far.
    pub calls: u64,
    /// How sensitive the resources are that it may have had an answer from.
    pub seen: Vec<Sensitivity>,
    /// What it may touch. `None`: everything on the resource.
    pub boundary: Option<Boundary>,
}

impl Default for TaskSketch {
    fn default() -> Self {
        Self {
            purpose: Purpose::parse("policy question").expect("a plain text is a purpose"),
            workflow: None,
            requested_by: None,
            template: None,
            attested: true,
            age_s: 0,
            calls: 0,
            seen: Vec::new(),
            boundary: None,
        }
    }
}

/// What a made-up request is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSketch {
    /// Method, in capitals.
    pub method: String,
    /// Path.
    pub path: String,
    /// Where it goes. `None`: the first endpoint of the resource.
    pub endpoint: Option<Endpoint>,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Length of the body in bytes.
    pub body_bytes: Option<u64>,
}

/// A made-up use: by an agent that is enabled, of a resource that is in use and needs no credential.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Who.
    pub agent: &'a Agent,
    /// What.
    pub resource: &'a Resource,
    /// In which task.
    pub task: &'a TaskSketch,
    /// By which request.
    pub request: &'a RequestSketch,
    /// When.
    pub now: Timestamp,
}

/// What would be decided, and what that rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The answer.
    pub outcome: Outcome,
    /// What the policy engine said.
    pub grounds: Grounds,
}

impl Answer {
    /// The stable word: `allowed`, or the code of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.outcome.refusal().map_or("allowed", |r| r.code.as_str())
    }
}

impl Situation<'_> {
    /// What the decision would be under these policies.
    ///
    /// # Errors
    /// [`PrepareError`] when the situation is impossible, such as an agent of another tenant.
    pub fn answer(&self, policies: &PolicySet) -> Result<Answer, PrepareError> {
        let prepared = Prepared::new(self.facts(policies.digest()))?;
        let action = self.action();
        let calls = Used { calls: self.task.calls, bytes: 0 };
        // The calls stand at a place that no grant has: they are for policy to see, not for limits.
        let mut usage = Usage::default();
        usage.add(prepared.own().task.boundary.usable.len(), calls.calls, calls.bytes);
        self.task.seen.iter().for_each(|&sensitivity| {
            usage.see(sensitivity);
        });
        let who = Who::holder(prepared.own());
        let weighed = weigh(&who, &prepared, &action, &usage, policies, self.now);
        Ok(Answer { outcome: weighed.outcome, grounds: weighed.grounds })
    }

    fn facts(&self, policy_set: Digest) -> Facts {
        let agent = Agent { status: AgentStatus::Enabled, ..self.agent.clone() };
        let resource = Resource { credential: None, ..self.resource.clone() };
        let link = Link { task: self.task(), agent, agent_owner: Standing::Active };
        let target = Target { resource, owner: Standing::Active, credential: None };
        Facts {
            tenant: self.agent.tenant.clone(),
            chain: vec![link],
            target: Some(target),
            policy_set,
            approvals: Vec::new(),
            denials: Vec::new(),
        }
    }

    fn task(&self) -> Task {
        let sketch = self.task;
        let age_s = sketch.age_s.min(TTL_S_MAX);
        let since = self.now.plus_ms(-(age_s as i64 * 1_000));
        let everything =
            || Boundary { usable: vec![Grant::whole(&self.resource.name)], delegable: Vec::new() };
        Task {
            tenant: self.agent.tenant.clone(),
            id: TaskId::from_random([0; 16]),
            agent: self.agent.name.clone(),
            instance: instance(sketch.attested),
            purpose: sketch.purpose.clone(),
            workflow: sketch.workflow.clone(),
            requested_by: sketch.requested_by.clone(),
            parent: None,
            template: sketch.template.clone(),
            boundary: sketch.boundary.clone().unwrap_or_else(everything),
            proposed_at: since,
            held: false,
            state: TaskState::Active { since, expires_at: self.now.plus_ms(1) },
            restraint: None,
        }
    }

    fn action(&self) -> Action {
        let RequestSketch { method, path, endpoint, content_type, body_bytes } = self.request.clone();
        let nowhere = || Endpoint::parse("unregistered.invalid").expect("a plain name is a host");
        let endpoint = endpoint.or_else(|| self.resource.endpoints.first().cloned()).unwrap_or_else(nowhere);
        let call = Call {
            endpoint,
            method,
            path,
            sent_path: None,
            query: None,
            head: Digest::from_bytes([0; 32]),
            content_type,
            body_bytes,
            body: Body::None,
            query_shown: None,
            traceparent: String::new(),
        };
        Action::new(call, Some(self.resource))
    }
}

fn instance(attested: bool) -> Instance {
    Instance {
        id: InstanceId::from_random([0; 16]),
        attestation: if attested { Attestation::KeyProof } else { Attestation::SocketPeer },
        key: Thumbprint::parse(&"A".repeat(43)).expect("43 characters of base64url are a thumbprint"),
        process: None,
    }
}
