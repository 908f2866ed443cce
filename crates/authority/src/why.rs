//! Why something was decided: one decision explained by making it again from what was recorded.

use accredit_core::approval::Request;
use accredit_core::decision::Outcome;
use accredit_core::digest::Digest;
use accredit_core::effect::Effect;
use accredit_core::facts::{Prepared, Usage};
use accredit_core::host::Endpoint;
use accredit_core::id::{DecisionId, OperationName, RequestId, ResourceName, TaskId};
use accredit_core::policy::PolicySet;
use accredit_core::replay::{Answered, Inputs, RecordedCall, RecordedCaller, recorded_exact, replay};
use accredit_core::task::Task;
use accredit_core::time::Timestamp;
use accredit_identity::key::Thumbprint;
use accredit_store::{EntryFilter, View};

use crate::Authority;
use crate::fault::Fault;
use crate::uses_report::{DECIDED, Use, join, use_of};

/// Decisions of a task that are explained at once: what fits a few screens.
const DECISIONS_MAX: usize = 50;

/// What is to be explained.
#[derive(Debug, Clone)]
pub enum Subject {
    /// One decision.
    Decision(DecisionId),
    /// The decision that raised a request.
    Request(RequestId),
    /// The newest decisions of a task.
    Task(TaskId),
}

/// The explanation.
#[derive(Debug)]
pub struct Why {
    /// The task, as it stands now.
    pub task: Task,
    /// The tasks above it, as they stand now, the nearest first.
    pub above: Vec<Task>,
    /// The request that was asked about.
    pub request: Option<Request>,
    /// The decisions, newest first.
    pub decisions: Vec<Explained>,
}

/// One decision with everything that it rests on.
#[derive(Debug)]
pub struct Explained {
    /// What was done, and how it ended.
    pub used: Use,
    /// The question whose answer let it out.
    pub approval: Option<Request>,
    /// What it was made from. `None`: the facts are no longer at hand.
    pub facts: Option<RestsOn>,
    /// What comes out when it is made again.
    pub replay: Replayed,
}

/// What a decision rests on, from its facts and its policy set.
#[derive(Debug)]
pub struct RestsOn {
    /// Kind of the agent.
    pub kind: &'static str,
    /// Environment of the agent.
    pub environment: String,
    /// Who answered for the agent.
    pub owner: String,
    /// Thumbprint of the key that the task was bound to.
    pub key: String,
    /// The grant of the task that covers the action.
    pub grant: Option<String>,
    /// The policies that determined it, with their texts.
    pub policies: Vec<(String, Option<String>)>,
}

/// What comes out when a decision is made again.
#[derive(Debug)]
pub enum Replayed {
    /// The same answer for the same reason.
    Same(Outcome),
    /// Another answer, and in what it differs.
    Different(Outcome, String),
    /// It cannot be made again, and why.
    Impossible(String),
}

impl Authority {
    /// Explains a decision, a request or a task.
    ///
    /// # Errors
    /// [`Fault`] when there is no such thing.
    pub async fn why(&self, subject: Subject) -> Result<Why, Fault> {
        let request = match &subject {
            Subject::Request(id) => Some(self.request(id.clone()).await?),
            Subject::Decision(_) | Subject::Task(_) => None,
        };
        let uses = self.uses_about(subject.clone()).await?;
        let id = match (&subject, uses.first().and_then(|u| u.text("task"))) {
            (Subject::Task(id), _) => id.clone(),
            (Subject::Decision(id), None) => return Err(Fault::not_found("decision", id)),
            (Subject::Request(id), None) => return Err(Fault::not_found("request", id)),
            (_, Some(task)) => TaskId::parse(task).map_err(|_| Fault::not_found("task", task))?,
        };
        let task = self.task(id).await?;
        let mut above = Vec::new();
        while let Some(parent) = above.last().unwrap_or(&task).parent.clone() {
            above.push(self.task(parent).await?);
        }
        let mut decisions = Vec::new();
        for used in uses {
            decisions.push(self.explain(used).await?);
        }
        Ok(Why { task, above, request, decisions })
    }

    async fn uses_about(&self, subject: Subject) -> Result<Vec<Use>, Fault> {
        let tenant = self.tenant().clone();
        let read = move |view: &View<'_>| {
            let mut filter = EntryFilter {
                tenant: Some(tenant.clone()),
                kinds: vec![DECIDED.to_owned()],
                limit: DECISIONS_MAX,
                ..EntryFilter::default()
            };
            match subject {
                Subject::Decision(id) => filter.decision = Some(id.to_string()),
                Subject::Task(id) => filter.task = Some(id.to_string()),
                Subject::Request(id) => {
                    // The request names its decision in its own entry; older decisions may not name it.
                    filter.kinds = vec!["request.raised".to_owned()];
                    filter.request = Some(id.to_string());
                    let raised = view.entries(&filter)?.iter().find_map(|e| e.decode().ok());
                    let Some(decision) = raised.and_then(|e| e.text("decision").map(str::to_owned)) else {
                        return Ok(Vec::new());
                    };
                    let entries = view.decision_entries(&tenant, &decision)?;
                    let first = entries.iter().find(|e| e.decode().is_ok_and(|e| e.kind() == DECIDED));
                    let found = first.map(|e| use_of(view, &tenant, e)).transpose()?;
                    return Ok(found.flatten().into_iter().collect());
                }
            }
            join(view, &tenant, &filter)
        };
        self.read_ledger(read).await
    }

    async fn explain(&self, used: Use) -> Result<Explained, Fault> {
        let approval = match used.text("approval").and_then(|id| RequestId::parse(id).ok()) {
            Some(id) => Some(self.request(id).await?),
            None => None,
        };
        let recorded = match self.recorded(&used).await? {
            Ok(recorded) => recorded,
            Err(why) => {
                return Ok(Explained { used, approval, facts: None, replay: Replayed::Impossible(why) });
            }
        };
        let facts = recorded.rests_on(&used);
        let replay = match replay(&recorded.inputs, &recorded.answered, &recorded.policies) {
            Err(error) => Replayed::Impossible(error.to_string()),
            Ok(r) if r.differences.is_empty() => Replayed::Same(r.outcome),
            Ok(r) => {
                let of = |d: &accredit_core::replay::Difference| {
                    format!("{}: recorded {}, replayed {}", d.what, d.recorded, d.replayed)
                };
                let differences: Vec<_> = r.differences.iter().map(of).collect();
                Replayed::Different(r.outcome, differences.join("; "))
            }
        };
        Ok(Explained { used, approval, facts: Some(facts), replay })
    }

    /// What is at hand of a decision's inputs, or why not.
    pub(crate) async fn recorded(&self, used: &Use) -> Result<Result<Recorded, String>, Fault> {
        let Some(digest) = used.text("facts").and_then(Digest::parse) else {
            return Ok(Err("the entry names no facts".to_owned()));
        };
        let Some(set) = used.text("policy_set").and_then(Digest::parse) else {
            return Ok(Err("the entry names no policy set".to_owned()));
        };
        let tenant = self.tenant().clone();
        let text = self.store.read(move |view| view.facts(&tenant, &digest)).await?;
        let Some(text) = text else { return Ok(Err("the facts are no longer at hand".to_owned())) };
        let policies = match self.policy_set(set).await {
            Ok(policies) => policies,
            Err(fault) => return Ok(Err(fault.detail)),
        };
        Ok(Recorded::read(used, digest, text, policies))
    }
}

/// A decision's inputs and answer, as recorded.
pub(crate) struct Recorded {
    pub(crate) inputs: Inputs,
    pub(crate) answered: Answered,
    prepared: Prepared,
    policies: std::sync::Arc<PolicySet>,
}

impl Recorded {
    fn read(
        used: &Use,
        facts_digest: Digest,
        facts: String,
        policies: std::sync::Arc<PolicySet>,
    ) -> Result<Self, String> {
        let prepared = Prepared::from_text(&facts).map_err(|e| e.to_string())?;
        let missing = |field: &str| format!("the entry's `{field}` cannot be read");
        let call = recorded_call(used)?;
        let grant = used.number("grant").and_then(|n| usize::try_from(n).ok());
        let now = used.number("now").and_then(|n| i64::try_from(n).ok()).ok_or_else(|| missing("now"))?;
        let answered = Answered {
            outcome: used.text("outcome").ok_or_else(|| missing("outcome"))?.to_owned(),
            code: used.text("code").ok_or_else(|| missing("code"))?.to_owned(),
            policies: used.list("policies"),
            resource: used.text("resource").and_then(|r| ResourceName::parse(r).ok()),
            operation: used
                .text("operation")
                .and_then(|o| OperationName::parse(o).ok())
                .ok_or_else(|| missing("operation"))?,
            effect: used.text("effect").and_then(Effect::parse),
            grant,
        };
        let inputs = Inputs {
            caller: recorded_caller(used, &prepared).ok_or_else(|| missing("key"))?,
            facts,
            facts_digest,
            call,
            usage: used.text("usage").and_then(Usage::parse).ok_or_else(|| missing("usage"))?,
            now: Timestamp::from_ms(now),
        };
        Ok(Self { inputs, answered, prepared, policies })
    }

    fn rests_on(&self, used: &Use) -> RestsOn {
        let own = self.prepared.own();
        let text_of = |id: &String| self.policies.rule(id).map(|r| r.text().to_owned());
        let grant = self.answered.grant.and_then(|g| own.task.boundary.usable.get(g));
        RestsOn {
            kind: own.agent.kind.as_str(),
            environment: own.agent.environment.to_string(),
            owner: own.agent.owner.to_string(),
            key: own.task.instance.key.to_string(),
            grant: grant.map(ToString::to_string),
            policies: used.list("policies").into_iter().map(|id| (id.clone(), text_of(&id))).collect(),
        }
    }
}

fn recorded_call(used: &Use) -> Result<RecordedCall, String> {
    let text = |field: &str| used.text(field).ok_or_else(|| format!("the entry's `{field}` cannot be read"));
    let host = text("host")?;
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let port = used.number("port").ok_or("the entry's `port` cannot be read")?;
    let endpoint = Endpoint::parse(&format!("{}://{open}{host}{close}:{port}", text("scheme")?));
    Ok(RecordedCall {
        endpoint: endpoint.map_err(|e| e.to_string())?,
        method: text("method")?.to_owned(),
        path: text("path")?.to_owned(),
        content_type: used.text("content_type").map(str::to_owned),
        body_bytes: used.number("body_bytes"),
        exact: recorded_exact(
            used.text("request_digest").and_then(Digest::parse),
            used.text("body_digest").and_then(Digest::parse),
            used.number("body_bytes"),
        ),
    })
}

/// Who asked, as the entry says.
fn recorded_caller(used: &Use, prepared: &Prepared) -> Option<RecordedCaller> {
    Some(RecordedCaller {
        tenant: prepared.facts().tenant.clone(),
        agent: used.text("agent")?.parse().ok()?,
        task: used.text("task")?.parse().ok()?,
        instance: used.text("instance")?.parse().ok()?,
        key: Thumbprint::parse(used.text("key")?).ok()?,
    })
}
