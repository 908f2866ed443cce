//! Policy sets: show, check, apply, try against recorded decisions, ask who could.

use std::sync::Arc;

use accredit_core::agent::Agent;
use accredit_core::boundary::Boundary;
use accredit_core::decision::Outcome;
use accredit_core::digest::Digest;
use accredit_core::event::Event;
use accredit_core::facts::Usage;
use accredit_core::id::{ResourceName, TenantName};
use accredit_core::policy::problem::PolicyProblem;
use accredit_core::policy::situation::{Answer, RequestSketch, Situation, TaskSketch};
use accredit_core::policy::{PolicySet, PolicySource, PolicySources};
use accredit_core::replay::replay_under;
use accredit_core::resource::Resource;
use accredit_core::rights::Operation;
use accredit_core::task::Task;
use accredit_core::text::Owner;
use accredit_core::time::Timestamp;
use accredit_store::{EntryFilter, PolicySetRow, TaskFilter, TaskStatus, Tx};

use crate::Authority;
use crate::fault::Fault;
use crate::operators::Operator;
use crate::uses_report::{DECIDED, Use, join};

/// Most decisions that one replay looks at.
pub const REPLAY_DECISIONS_MAX: usize = 100_000;
/// Most changed decisions that one replay reports.
pub const REPLAY_CHANGES_MAX: usize = 1_000;
/// Decisions read at once.
const BATCH: usize = 500;
/// Problems of a refused set that its entry repeats.
const PROBLEMS_RECORDED: usize = 16;

/// What a check found.
pub enum Checked {
    /// The set could be applied.
    Good(Arc<PolicySet>),
    /// What is wrong with it.
    Bad(Vec<PolicyProblem>),
}

/// Whether a set was put in force.
pub enum Applied {
    /// It is in force now.
    InForce(Arc<PolicySet>),
    /// What is wrong with it.
    Bad(Vec<PolicyProblem>),
}

/// What would have been decided otherwise.
#[derive(Debug, Default)]
pub struct PolicyReplay {
    /// Decisions that were looked at.
    pub examined: u64,
    /// Decisions that would have come out the same.
    pub same: u64,
    /// Decisions whose inputs are no longer at hand.
    pub not_replayed: u64,
    /// Decisions that would have come out otherwise, newest first.
    pub changed: Vec<ReplayChange>,
    /// Whether a bound was reached.
    pub cut: bool,
}

/// One decision that would have come out otherwise.
#[derive(Debug)]
pub struct ReplayChange {
    /// What was done.
    pub used: Use,
    /// What would be decided.
    pub would_be: Outcome,
    /// The policies that would determine it.
    pub policies: Vec<String>,
}

/// One live task that could reach a resource, and what would be decided.
#[derive(Debug)]
pub struct Could {
    /// The task.
    pub task: Task,
    /// Its grants that reach the resource.
    pub grants: Vec<String>,
    /// What was tried, and the answer.
    pub answers: Vec<(String, Answer)>,
}

impl Authority {
    /// The policy set in force.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn policy_in_force(&self) -> Result<Arc<PolicySet>, Fault> {
        let tenant = self.tenant().clone();
        let head = self.store.read(move |view| view.policy_head(&tenant)).await?;
        let head = head.ok_or_else(|| Fault::unavailable("policy_missing", "no policy set is in force"))?;
        self.policy_set(head).await
    }

    /// A policy set that is kept, by its hash.
    ///
    /// # Errors
    /// [`Fault`] when no such set is kept.
    pub async fn kept_policy(&self, hash: Digest) -> Result<Arc<PolicySet>, Fault> {
        let kept = self.store.read(move |view| view.policy_set(&hash)).await?;
        if kept.is_none() {
            return Err(Fault::not_found("policy", hash));
        }
        self.policy_set(hash).await
    }

    /// Checks a policy set without applying it.
    ///
    /// # Errors
    /// [`Fault`] when the files cannot be a set at all.
    pub async fn check_policies(&self, files: Vec<PolicySource>) -> Result<Checked, Fault> {
        let sources = PolicySources::new(files)
            .map_err(|e| Fault::invalid("policy_files", e.to_string(), "Fix the files."))?;
        Ok(compile(sources).await?.map_or_else(Checked::Bad, |set| Checked::Good(Arc::new(set))))
    }

    /// Puts a policy set in force, if the one in force is the one expected.
    ///
    /// # Errors
    /// [`Fault`] when the files cannot be a set, or another set is in force than expected.
    pub async fn apply_policies(
        &self,
        by: &Operator,
        files: Vec<PolicySource>,
        expected: Option<Digest>,
    ) -> Result<Applied, Fault> {
        let doing = self.apply_unchecked(by.name().clone(), files, expected);
        self.as_operator(by, Operation::PolicyApply, "policies", doing).await
    }

    async fn apply_unchecked(
        &self,
        by: Owner,
        files: Vec<PolicySource>,
        expected: Option<Digest>,
    ) -> Result<Applied, Fault> {
        let set = match self.check_policies(files).await? {
            Checked::Good(set) => set,
            Checked::Bad(problems) => {
                self.record_refused(by, &problems).await?;
                return Ok(Applied::Bad(problems));
            }
        };
        let (tenant, now) = (self.tenant().clone(), self.now());
        let row = row_of(&set, now)?;
        let names: Vec<String> = set.sources().iter().map(|s| s.name.clone()).collect();
        let policies = set.rules().count() as u64;
        self.store
            .change(move |tx| {
                let head = tx.policy_head(&tenant)?;
                if expected.is_some() && head != expected {
                    let is = head.map_or_else(|| "none".to_owned(), |h| h.to_string());
                    let detail = format!("the policy set in force is {is}, not the one that was expected");
                    return Err(Fault::conflict(
                        "policy_changed",
                        detail,
                        "Look at what is in force and apply again.",
                    ));
                }
                put(tx, &tenant, &row, now)?;
                let event = Event::new(&tenant, "policy.applied")
                    .with("policy_set", row.digest)
                    .with_opt("previous_policy_set", head)
                    .with_number("policies", policies)
                    .with_list("files", names)
                    .with("by", by);
                tx.append(event)?;
                Ok(())
            })
            .await?;
        Ok(Applied::InForce(set))
    }

    async fn record_refused(&self, by: Owner, problems: &[PolicyProblem]) -> Result<(), Fault> {
        let event = Event::new(self.tenant(), "policy.refused")
            .with_list("errors", problems.iter().take(PROBLEMS_RECORDED))
            .with("code", "policy_problems")
            .with("by", by);
        self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await?;
        Ok(())
    }

    /// What a policy set would have answered to the decisions since a moment.
    ///
    /// # Errors
    /// [`Fault`] when the files are no good policy set.
    pub async fn replay_policies(
        &self,
        files: Vec<PolicySource>,
        since: Timestamp,
    ) -> Result<PolicyReplay, Fault> {
        let set = match self.check_policies(files).await? {
            Checked::Good(set) => set,
            Checked::Bad(problems) => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                return Err(Fault::invalid(
                    "policy_problems",
                    first,
                    "Check the set first: `accredit policy check`.",
                ));
            }
        };
        let mut found = PolicyReplay::default();
        let mut before = None;
        loop {
            let uses = self.decisions(since, before).await?;
            let Some(oldest) = uses.last().map(|u| u.seq) else { return Ok(found) };
            before = Some(oldest);
            for used in uses {
                self.try_under(&set, used, &mut found).await?;
                if found.examined as usize >= REPLAY_DECISIONS_MAX
                    || found.changed.len() >= REPLAY_CHANGES_MAX
                {
                    found.cut = true;
                    return Ok(found);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn decisions(&self, since: Timestamp, before_seq: Option<u64>) -> Result<Vec<Use>, Fault> {
        let tenant = self.tenant().clone();
        let filter = EntryFilter {
            tenant: Some(tenant.clone()),
            kinds: vec![DECIDED.to_owned()],
            since: Some(since),
            before_seq,
            limit: BATCH,
            ..EntryFilter::default()
        };
        Ok(self.store.read(move |view| join(view, &tenant, &filter)).await?)
    }

    async fn try_under(&self, set: &PolicySet, used: Use, found: &mut PolicyReplay) -> Result<(), Fault> {
        found.examined += 1;
        let replayed = match self.recorded(&used).await? {
            Ok(recorded) => replay_under(&recorded.inputs, &recorded.answered, set).ok(),
            Err(_) => None,
        };
        match replayed {
            None => found.not_replayed += 1,
            Some(r) if Some(r.outcome.as_str()) == used.text("outcome") => found.same += 1,
            Some(r) => {
                let change = ReplayChange { used, would_be: r.outcome, policies: r.grounds.policies };
                found.changed.push(change);
            }
        }
        Ok(())
    }

    /// Which live tasks could reach a resource now, and what would be decided for each request.
    ///
    /// # Errors
    /// [`Fault`] when there is no such resource.
    pub async fn who_can(
        &self,
        name: ResourceName,
        requests: Vec<(String, String)>,
    ) -> Result<Vec<Could>, Fault> {
        let resource = self.resource(name).await?;
        let policies = self.policy_in_force().await?;
        let (tenant, now) = (self.tenant().clone(), self.now());
        let holders = self
            .store
            .read(move |view| {
                let filter = TaskFilter { status: Some(TaskStatus::Active), ..TaskFilter::default() };
                let mut holders = Vec::new();
                for task in view.tasks(&tenant, &filter)? {
                    if let Some(agent) = view.agent(&tenant, &task.agent)? {
                        let usage = view.usage(&tenant, &task.id)?;
                        holders.push(Holder { task, agent, usage });
                    }
                }
                Ok::<_, accredit_store::StoreError>(holders)
            })
            .await?;
        let live = holders.into_iter().filter(|held| held.agent.enabled() && !held.task.over_at(now));
        let could = live.map(|held| could(&policies, &resource, &requests, held, now));
        could.filter_map(Result::transpose).collect()
    }
}

/// Compiling a large set takes a while: not on a thread that answers others.
async fn compile(sources: PolicySources) -> Result<Result<PolicySet, Vec<PolicyProblem>>, Fault> {
    tokio::task::spawn_blocking(move || PolicySet::compile(sources))
        .await
        .map_err(|_| Fault::unavailable("policy_check_failed", "the policy set could not be checked"))
}

fn row_of(set: &PolicySet, added_at: Timestamp) -> Result<PolicySetRow, Fault> {
    let sources = serde_json::to_string(set.sources()).map_err(|e| {
        Fault::unavailable("policy_not_kept", format!("the policy set cannot be written down: {e}"))
    })?;
    Ok(PolicySetRow { digest: set.digest(), sources, added_at })
}

fn put(tx: &mut Tx<'_>, tenant: &TenantName, row: &PolicySetRow, now: Timestamp) -> Result<(), Fault> {
    tx.put_policy_set(row)?;
    Ok(tx.set_policy_head(tenant, &row.digest, now)?)
}

/// A task with what a decision in its name would look at.
struct Holder {
    task: Task,
    agent: Agent,
    usage: Usage,
}

/// What one live task could do, if any of its grants reaches the resource.
fn could(
    policies: &PolicySet,
    resource: &Resource,
    requests: &[(String, String)],
    Holder { task, agent, usage }: Holder,
    now: Timestamp,
) -> Result<Option<Could>, Fault> {
    let grants: Vec<String> = task
        .boundary
        .usable
        .iter()
        .filter(|g| g.resource() == &resource.name)
        .map(ToString::to_string)
        .collect();
    if grants.is_empty() {
        return Ok(None);
    }
    let sketch = sketch(&task, &usage, now);
    let mut answers = Vec::new();
    for (method, path) in requests {
        let request = RequestSketch {
            method: method.clone(),
            path: path.clone(),
            endpoint: None,
            content_type: None,
            body_bytes: None,
        };
        let situation = Situation { agent: &agent, resource, task: &sketch, request: &request, now };
        let answer =
            situation.answer(policies).map_err(|e| Fault::unavailable("situation", e.to_string()))?;
        answers.push((format!("{method} {path}"), answer));
    }
    Ok(Some(Could { task, grants, answers }))
}

fn sketch(task: &Task, usage: &Usage, now: Timestamp) -> TaskSketch {
    let since = task.active_at(now).map_or(now, |(since, _)| since);
    TaskSketch {
        purpose: task.purpose.clone(),
        workflow: task.workflow.clone(),
        requested_by: task.requested_by.clone(),
        template: task.template.clone(),
        attested: !task.instance.attestation.is_unattested(),
        age_s: u64::try_from(now.ms_since(since) / 1_000).unwrap_or(0),
        calls: usage.calls(),
        seen: usage.seen().into_iter().flatten().copied().collect(),
        boundary: Some(Boundary { usable: task.boundary.usable.clone(), delegable: Vec::new() }),
    }
}
