//! Tasks: propose and start, renew the token, extend, end, hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use accredit_core::agent::Agent;
use accredit_core::approval::{
    Asked, ChainLink, Denial, GRANT_S_CALL, QUESTIONS_PER_AGENT, Request, RequestState, Terms,
};
use accredit_core::boundary::Boundary;
use accredit_core::decision::{Grounds, Outcome};
use accredit_core::digest::Digest;
use accredit_core::event::{Event, about_raised, about_request, about_task};
use accredit_core::facts::Link;
use accredit_core::id::{RequestId, TaskId, TemplateName, TokenId};
use accredit_core::refusal::{Code, Refusal};
use accredit_core::start::{Proposal, StartQuestion, decide_start};
use accredit_core::task::{Ending, Instance, Task, TaskState, TransitionError};
use accredit_core::text::{Owner, Purpose, Reason, Requester, Workflow};
use accredit_core::time::Timestamp;
use accredit_identity::agent::ProvenAgent;
use accredit_identity::caller::Caller;
use accredit_identity::token::{Subject, TaskToken, TaskTokenClaims, mint};
use accredit_store::Tx;

use crate::Authority;
use crate::delegation::{Parent, ttl_below};
use crate::fault::{Fault, FaultKind};
use crate::live::CutReport;
use crate::operators::ms;
use crate::revoke::{End, end_with_descendants};
use crate::settings::TOKEN_TTL_S;
use crate::shared::HELD_FOR;

/// How long a task waits for its runner after its start, or after a restart of the authority.
const RUNNER_ARRIVES: Duration = Duration::from_secs(15);
/// How long a task waits for its runner to come back after its connection broke.
const RUNNER_RETURNS: Duration = Duration::from_secs(2);

/// What is asked for when a task is to start.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is for.
    pub purpose: Purpose,
    /// Where the work is tracked.
    pub workflow: Option<Workflow>,
    /// The person who asked.
    pub requested_by: Option<Requester>,
    /// The task that hands authority down.
    pub parent: Option<Parent>,
    /// The template to start from.
    pub template: Option<TemplateName>,
    /// The boundary, when no template is named.
    pub boundary: Option<Boundary>,
    /// Life in seconds, when not the template's or the default.
    pub ttl_s: Option<u64>,
    /// Whether a runner will hold it.
    pub held: bool,
    /// Process id and user id of the runner, as the kernel says at the other end of the socket.
    pub runner: Option<(u32, u32)>,
}

/// A started task with its first token.
pub struct Started {
    /// The task.
    pub task: Task,
    /// Its token.
    pub token: IssuedToken,
}

/// A token, and until when it is good.
pub struct IssuedToken {
    /// The token.
    pub token: TaskToken,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl Authority {
    /// Proposes a task and, if policy lets it, starts it and issues its first token. What is
    /// granted is never more than what was asked.
    ///
    /// # Errors
    /// [`Fault`]: refused by policy, an unknown template, a boundary that names nothing, …
    pub async fn start_task(&self, by: ProvenAgent, wanted: Wanted) -> Result<Started, Fault> {
        let wanted = self.inherit(wanted).await?;
        let (boundary, ttl_s) = self.shape(&wanted)?;
        let now = self.now();
        let task = Task {
            tenant: by.tenant().clone(),
            id: TaskId::from_random(self.draw16()),
            agent: by.agent().clone(),
            instance: Instance {
                id: by.instance().clone(),
                attestation: by.attestation(),
                key: *by.key(),
                process: wanted.runner,
            },
            purpose: wanted.purpose.clone(),
            workflow: wanted.workflow.clone(),
            requested_by: wanted.requested_by.clone(),
            parent: wanted.parent.map(|parent| parent.task().clone()),
            template: wanted.template.clone(),
            boundary: boundary.clone(),
            proposed_at: now,
            held: wanted.held,
            restraint: None,
            state: TaskState::Proposed,
        };
        let proposal = Proposal {
            purpose: wanted.purpose,
            workflow: wanted.workflow,
            requested_by: wanted.requested_by,
            template: wanted.template,
            boundary,
            ttl_s,
            parent: task.parent.clone(),
        };
        let task = self.propose(by, proposal, task, now).await?;
        if task.held {
            self.holds.expect(task.id.clone(), RUNNER_ARRIVES);
        }
        let token = self.issue(&task, now).await?;
        Ok(Started { task, token })
    }

    /// What is wanted, with the person and the work of the task that hands it down: on their behalf it is done.
    async fn inherit(&self, wanted: Wanted) -> Result<Wanted, Fault> {
        let Some(parent) = &wanted.parent else { return Ok(wanted) };
        let above = self.task(parent.task().clone()).await?;
        if wanted.requested_by.is_some() && wanted.requested_by != above.requested_by {
            return Err(Fault::invalid(
                "other_requester",
                "whoever asked for the task above asked for this one",
                "Leave `requested_by` out.",
            ));
        }
        let workflow = wanted.workflow.or(above.workflow);
        Ok(Wanted { requested_by: above.requested_by, workflow, ..wanted })
    }

    /// The boundary and life of what is wanted.
    fn shape(&self, wanted: &Wanted) -> Result<(Boundary, u64), Fault> {
        let max = self.settings.task_ttl_s_max;
        let (boundary, default_s) = match (&wanted.template, &wanted.boundary) {
            (Some(_), Some(_)) => {
                return Err(Fault::invalid(
                    "template_and_boundary",
                    "a template and a boundary were given",
                    "Give one of the two.",
                ));
            }
            (None, None) => {
                return Err(Fault::invalid(
                    "no_boundary",
                    "neither a template nor a boundary was given",
                    "Name a template (`accredit template ls`) or grants such as `github: GET *`.",
                ));
            }
            (Some(name), None) => {
                let template =
                    self.settings.template(name).ok_or_else(|| Fault::not_found("template", name))?;
                (template.boundary.clone(), template.ttl_s)
            }
            (None, Some(boundary)) => (boundary.clone(), self.settings.default_ttl_s()),
        };
        if boundary.usable.is_empty() {
            return Err(Fault::invalid(
                "no_boundary",
                "the boundary grants nothing",
                "Give at least one grant such as `github: GET *`.",
            ));
        }
        let ttl_s = wanted.ttl_s.unwrap_or(default_s.min(max));
        if ttl_s == 0 || ttl_s > max {
            let detail = format!("a task lives 1 to {max} seconds here");
            return Err(Fault::invalid(
                "ttl_out_of_range",
                detail,
                "Ask for a shorter life; it can be extended.",
            ));
        }
        Ok((boundary, ttl_s))
    }

    /// Decides the start and makes the answer durable, in one change.
    async fn propose(
        &self,
        by: ProvenAgent,
        proposal: Proposal,
        task: Task,
        now: Timestamp,
    ) -> Result<Task, Fault> {
        let tenant = task.tenant.clone();
        let head = self.policy_head().await?;
        let policies = self.policy_set(head).await?;
        let max_s = self.settings.task_ttl_s_max;
        let proven = !by.attestation().is_unattested();
        let request = RequestId::from_random(self.draw16());
        self.store
            .change(move |tx| {
                if tx.policy_head(&tenant)? != Some(head) {
                    return Err(Fault::conflict(
                        "policy_changed",
                        "the policy changed meanwhile",
                        "Repeat the call.",
                    ));
                }
                let Some(agent) = tx.agent(&tenant, &task.agent)? else {
                    return Err(Fault::not_found("agent", &task.agent));
                };
                let owner = tx.owner(&tenant, &agent.owner)?;
                let Some(owner) = owner else { return Err(Fault::not_found("owner", &agent.owner)) };
                for grant in proposal.boundary.usable.iter().chain(&proposal.boundary.delegable) {
                    if tx.resource(&tenant, grant.resource())?.is_none() {
                        return Err(Fault::not_found("resource", grant.resource()));
                    }
                }
                let above = match &task.parent {
                    Some(parent) => tx.chain(&tenant, parent)?,
                    None => Vec::new(),
                };
                let descendants = match above.last() {
                    Some(root) => tx.living_descendants(&tenant, &root.task.id)?,
                    None => 0,
                };
                let chained = above.iter().map(|link| &link.task.id);
                let proposed = about_task("task.proposed", &task).with_list("chain", chained.clone());
                tx.append(with_boundary(proposed, &task.boundary))?;
                let decision = decide_start(&StartQuestion {
                    agent: &agent,
                    agent_owner: &owner.standing,
                    proven,
                    proposal: &proposal,
                    above: &above,
                    descendants,
                    policies: &policies,
                    now,
                });
                let (agent, proposal) = (&agent, &proposal);
                let asks = Asks { agent, proposal, task: &task, above: &above, head, now, id: request };
                let (outcome, request) = asks.answer(tx, decision.outcome, &decision.grounds)?;
                if let Outcome::Ask(_, refusal) | Outcome::Deny(refusal) = outcome {
                    // The refusal is recorded, so this change commits; nothing is started.
                    let event = about_task("task.refused", &task)
                        .with_list("chain", chained)
                        .with_opt("request", request.as_ref())
                        .with("code", refusal.code)
                        .with_list("policies", &decision.grounds.policies)
                        .with_list("errors", &decision.grounds.errors)
                        .with("policy_set", head);
                    tx.append(event)?;
                    return Ok(Err(Fault { request, ..Fault::from(refusal) }));
                }
                // Nothing outlives what handed it down.
                let ttl_s = above.first().map(|link| ttl_below(&link.task, proposal.ttl_s, now));
                let task =
                    task.start(ttl_s.unwrap_or(proposal.ttl_s), max_s, now).map_err(|e| wrong_state(&e))?;
                tx.put_task(&task)?;
                if task.held {
                    let ms = u64::try_from(RUNNER_ARRIVES.as_millis()).unwrap_or(u64::MAX);
                    tx.hold_task(&task.tenant, &task.id, ms)?;
                }
                let mut event = with_boundary(about_task("task.started", &task), &task.boundary)
                    .with_list("chain", chained)
                    .with_list("policies", &decision.grounds.policies)
                    .with("policy_set", head)
                    .with_opt("request", request)
                    .with_flag("held", task.held);
                if let TaskState::Active { expires_at, .. } = &task.state {
                    event = event.with_number("expires_at", u64::try_from(expires_at.as_ms()).unwrap_or(0));
                }
                tx.append(event)?;
                Ok(Ok(task))
            })
            .await?
    }

    /// Issues another token to the running instance that holds the task.
    ///
    /// # Errors
    /// [`Fault`] when the task is over or the caller is not its holder.
    pub async fn renew_token(&self, caller: &Caller) -> Result<IssuedToken, Fault> {
        let task = self.own_task(caller).await?;
        let now = self.now();
        task.active_at(now).map_err(|e| over(&e))?;
        self.issue(&task, now).await
    }

    /// The task of a caller, as it stands.
    ///
    /// # Errors
    /// [`Fault`] when there is none, or it was given to another instance.
    pub async fn own_task(&self, caller: &Caller) -> Result<Task, Fault> {
        let (tenant, id) = (caller.tenant().clone(), caller.task().clone());
        let task = self.store.read(move |view| view.task(&tenant, &id)).await?;
        task.filter(|t| t.instance.id == *caller.instance() && t.instance.key == *caller.key())
            .ok_or_else(|| Fault::not_found("task", caller.task()))
    }

    async fn issue(&self, task: &Task, now: Timestamp) -> Result<IssuedToken, Fault> {
        let keys = self.keys().ok_or_else(Fault::sealed)?;
        let (_, ends) = task.active_at(now).map_err(|e| over(&e))?;
        let expires_at = ends.min(now.plus_ms(i64::try_from(TOKEN_TTL_S * 1_000).unwrap_or(0)));
        let (tenant, name) = (task.tenant.clone(), task.agent.clone());
        let agent = self.store.read(move |view| view.agent(&tenant, &name)).await?;
        let agent = agent.ok_or_else(|| Fault::not_found("agent", &task.agent))?;
        let id = self.spiffe_id(&agent)?;
        let asked_by = task.requested_by.as_ref().and_then(|r| Subject::parse(r.as_str()).ok());
        let (root, actor) = self.acting(task).await?;
        let token_id = TokenId::from_random(self.draw16());
        let claims = TaskTokenClaims {
            issuer: self.settings.issuer.clone(),
            subject: asked_by.or(root).unwrap_or_else(|| Subject::from(&id)),
            audience: self.settings.gateway_url.clone(),
            issued_at: now,
            expires_at,
            id: token_id.clone(),
            agent: id,
            instance: task.instance.id.clone(),
            attestation: task.instance.attestation,
            task: task.id.clone(),
            actor,
            key: task.instance.key,
            authorization_details: vec![serde_json::json!({
                "type": "accredit_task",
                "purpose": task.purpose,
            })],
        };
        let (key, kid) = keys.token();
        let token =
            mint(claims, key, kid).map_err(|e| Fault::unavailable("token_not_made", e.to_string()))?;
        let event = Event::new(&task.tenant, "token.issued")
            .with("task", &task.id)
            .with("agent", &task.agent)
            .with("instance", &task.instance.id)
            .with("token", token_id)
            .with_number("expires_at", u64::try_from(expires_at.as_ms()).unwrap_or(0));
        self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await?;
        Ok(IssuedToken { token, expires_at })
    }

    /// Extends a task. For operators: an agent does not widen its own authority.
    ///
    /// # Errors
    /// [`Fault`] when there is no such task, it is not active, or it would live too long.
    pub async fn extend_task(&self, by: &str, id: TaskId, by_s: u64) -> Result<Task, Fault> {
        let (tenant, now, by, max_s) =
            (self.tenant().clone(), self.now(), by.to_owned(), self.settings.task_ttl_s_max);
        let task = self
            .store
            .change(move |tx| {
                let Some(task) = tx.task(&tenant, &id)? else { return Err(Fault::not_found("task", &id)) };
                if let Some(parent) = &task.parent {
                    let parent = tx.task(&tenant, parent)?;
                    must_not_outlive(&task, parent.as_ref(), by_s)?;
                }
                let task = task.extend(by_s, max_s, now).map_err(|e| wrong_state(&e))?;
                tx.put_task(&task)?;
                let mut event = about_task("task.extended", &task).with("by", &by);
                if let TaskState::Active { expires_at, .. } = &task.state {
                    event = event.with_number("expires_at", u64::try_from(expires_at.as_ms()).unwrap_or(0));
                }
                tx.append(event)?;
                Ok(task)
            })
            .await?;
        Ok(task)
    }

    /// Ends a task and everything below it, and cuts what is under way. Ending an ended task
    /// changes nothing.
    ///
    /// # Errors
    /// [`Fault`] when there is no such task or the change could not be made durable.
    pub async fn end_task(
        &self,
        by: &str,
        id: TaskId,
        how: Ending,
        reason: Option<Reason>,
    ) -> Result<(Task, CutReport), Fault> {
        let (tenant, now, by, asked) = (self.tenant().clone(), self.now(), by.to_owned(), id.clone());
        let (task, ended) = self
            .store
            .change(move |tx| {
                let Some(task) = tx.task(&tenant, &asked)? else {
                    return Err(Fault::not_found("task", &asked));
                };
                let mut ended = Vec::new();
                let end = End { how, reason: reason.as_ref(), by: &by, now };
                end_with_descendants(tx, task, &end, &mut ended)?;
                let task = tx.task(&tenant, &asked)?.ok_or_else(|| Fault::not_found("task", &asked))?;
                Ok((task, ended))
            })
            .await?;
        self.holds.forget(&id);
        let cut = self.cut_tasks(&ended).await;
        Ok((task, cut))
    }

    /// Holds a task for its runner: when the guard is dropped and does not come back within
    /// moments, the task ends as failed.
    ///
    /// # Errors
    /// [`Fault`] when the task is over or the caller is not its holder.
    pub async fn hold_task(self: &Arc<Self>, caller: &Caller) -> Result<Hold, Fault> {
        let task = self.own_task(caller).await?;
        task.active_at(self.now()).map_err(|e| over(&e))?;
        self.holds.take(&task.id);
        let hold = Hold { authority: self.clone(), task: task.id };
        self.say_held(vec![hold.task.clone()], HELD_FOR).await?;
        Ok(hold)
    }

    /// After a start: tasks that were held wait for their runners to come back.
    pub(crate) async fn expect_runners(&self) -> Result<(), Fault> {
        // Where there are replicas, the database knows until when a runner is awaited.
        if self.store.is_shared() {
            return Ok(());
        }
        for task in self.store.read(|view| view.held_tasks()).await? {
            self.holds.expect(task.id, RUNNER_ARRIVES);
        }
        Ok(())
    }

    /// Ends the tasks whose runners are gone.
    pub(crate) async fn end_lost(&self) {
        for task in self.holds.lost() {
            let reason = Reason::parse("its runner is gone").ok();
            if let Err(fault) = self.end_task("system", task.clone(), Ending::Failed, reason).await {
                tracing::warn!(%task, %fault, "a task without its runner could not be ended yet");
                if fault.kind != FaultKind::NotFound {
                    self.holds.expect(task, RUNNER_RETURNS);
                }
            }
        }
    }
}

/// What a task may do itself, and where it may hand something down, that as well.
fn with_boundary(event: Event, boundary: &Boundary) -> Event {
    let event = event.with_list("boundary", &boundary.usable);
    match &*boundary.delegable {
        [] => event,
        delegable => event.with_list("delegable", delegable),
    }
}

/// A task ends before the one that handed it down.
fn must_not_outlive(task: &Task, parent: Option<&Task>, by_s: u64) -> Result<(), Fault> {
    let ends = |task: &Task| match &task.state {
        TaskState::Active { expires_at, .. } => Some(*expires_at),
        TaskState::Proposed | TaskState::Ended { .. } => None,
    };
    let (Some(own), Some(above)) = (ends(task), parent.and_then(ends)) else { return Ok(()) };
    if own.plus_ms(ms(by_s)) <= above {
        return Ok(());
    }
    let detail = "it would live longer than the task that handed it down";
    Err(Fault::conflict("beyond_parent", detail, "Extend the task above it first."))
}

/// A proposal that policy may want a person's answer to.
struct Asks<'a> {
    agent: &'a Agent,
    proposal: &'a Proposal,
    task: &'a Task,
    /// The tasks above it, the nearest first.
    above: &'a [Link],
    /// The policy set in force.
    head: Digest,
    now: Timestamp,
    /// Id of the request, should it be a new one.
    id: RequestId,
}

impl Asks<'_> {
    /// The answer once people are considered: an ask that was granted is used up and becomes a start; any other is
    /// raised or repeated. Gives the request that it is about.
    fn answer(
        self,
        tx: &mut Tx<'_>,
        outcome: Outcome,
        grounds: &Grounds,
    ) -> Result<(Outcome, Option<RequestId>), Fault> {
        let Outcome::Ask(terms, refusal) = outcome else { return Ok((outcome, None)) };
        let (tenant, digest) = (&self.task.tenant, self.proposal.digest(&self.agent.name));
        let latest = tx.latest_request_of(tenant, &self.agent.name, &digest)?;
        if let Some(denial) = latest.as_ref().filter(|r| self.still_denied(r)).and_then(Denial::of) {
            let id = denial.request.clone();
            return Ok((Outcome::Deny(denial.refusal("the start of this task")), Some(id)));
        }
        let open = latest.filter(|request| !request.is_over_at(self.now));
        if let Some(granted) = open.as_ref().filter(|r| matches!(r.state, RequestState::Granted { .. })) {
            let mut people = BTreeMap::new();
            for yes in &granted.yes {
                people.insert(yes.by.clone(), tx.operator(tenant, &yes.by)?);
            }
            let operator = |name: &Owner| people.get(name).cloned().flatten();
            if granted.lets_start(&terms, self.head, operator, self.now) {
                let used = granted.clone().consume(None, self.now);
                let used = used.map_err(|e| Fault::conflict("request_over", e.to_string(), "Ask again."))?;
                tx.change_request(&used)?;
                tx.append(about_request("request.consumed", &used))?;
                return Ok((Outcome::Allow, Some(used.id)));
            }
        }
        let request = match open.filter(|r| matches!(r.state, RequestState::Pending)) {
            Some(same) => {
                let again = Request { count: same.count.saturating_add(1), ..same };
                tx.append(about_request("request.repeated", &again).with_number("repeats", again.count))?;
                again
            }
            None if tx.questions_of(tenant, &self.agent.name, QUESTIONS_PER_AGENT)?
                >= QUESTIONS_PER_AGENT =>
            {
                return Ok((Outcome::Deny(self.too_many_questions()), None));
            }
            None => {
                let new = self.raise(terms.clone(), digest, grounds);
                tx.append(about_raised(&new))?;
                new
            }
        };
        tx.change_request(&request)?;
        Ok((Outcome::Ask(terms, refusal), Some(request.id)))
    }

    /// Whether a no holds: it is about exactly this, and not long ago.
    fn still_denied(&self, request: &Request) -> bool {
        let RequestState::Denied { at, .. } = &request.state else { return false };
        self.now < at.plus_ms(ms(GRANT_S_CALL))
    }

    fn too_many_questions(&self) -> Refusal {
        let agent = &self.agent.name;
        Refusal::new(
            Code::QuestionsUsedUp,
            format!("{QUESTIONS_PER_AGENT} requests of `{agent}` wait for a person already"),
            "Wait until some of them are answered, or withdraw those that nobody needs any more.",
        )
    }

    fn raise(self, terms: Terms, digest: Digest, grounds: &Grounds) -> Request {
        let Proposal { purpose, workflow, requested_by, template, boundary, ttl_s, parent: _ } =
            self.proposal.clone();
        let owner = self.agent.owner.clone();
        let link = ChainLink {
            task: self.task.id.clone(),
            agent: self.agent.name.clone(),
            owner: owner.clone(),
            purpose: purpose.clone(),
            requested_by,
            uid: self.task.instance.process.map(|(_, uid)| uid),
        };
        let expires_at = self.now.plus_ms(ms(terms.valid_for_s));
        Request {
            tenant: self.task.tenant.clone(),
            id: self.id,
            task: self.task.id.clone(),
            agent: self.agent.name.clone(),
            asked: Asked::Start { owner, purpose, workflow, template, boundary, ttl_s },
            digest,
            chain: std::iter::once(link).chain(self.above.iter().map(ChainLink::of)).collect(),
            terms,
            policies: grounds.policies.clone(),
            policy_set: self.head,
            count: 1,
            raised_at: self.now,
            expires_at,
            yes: Vec::new(),
            state: RequestState::Pending,
        }
    }
}

fn wrong_state(error: &TransitionError) -> Fault {
    Fault::conflict("wrong_state", error.to_string(), "Look at it with `accredit task show`.")
}

fn over(error: &TransitionError) -> Fault {
    Fault::new(FaultKind::Denied, "task_ended", error.to_string(), "Start a new task if the work must go on.")
}

/// Which held tasks have their runner.
#[derive(Default)]
pub(crate) struct Holds(Mutex<BTreeMap<TaskId, HoldState>>);

enum HoldState {
    /// This many connections of its runner.
    Held(usize),
    /// None; lost at this instant.
    Waiting(Instant),
}

impl Holds {
    fn expect(&self, task: TaskId, within: Duration) {
        self.lock().entry(task).or_insert(HoldState::Waiting(Instant::now() + within));
    }

    fn take(&self, task: &TaskId) {
        let mut holds = self.lock();
        let count = match holds.get(task) {
            Some(HoldState::Held(count)) => count + 1,
            Some(HoldState::Waiting(_)) | None => 1,
        };
        holds.insert(task.clone(), HoldState::Held(count));
    }

    /// Tasks that their runners hold here.
    pub(crate) fn held(&self) -> Vec<TaskId> {
        let holds = self.lock();
        let held = holds.iter().filter(|(_, state)| matches!(state, HoldState::Held(_)));
        held.map(|(task, _)| task.clone()).collect()
    }

    fn release(&self, task: &TaskId) {
        let mut holds = self.lock();
        match holds.get_mut(task) {
            Some(HoldState::Held(count)) if *count > 1 => *count -= 1,
            Some(state @ HoldState::Held(_)) => *state = HoldState::Waiting(Instant::now() + RUNNER_RETURNS),
            Some(HoldState::Waiting(_)) | None => {}
        }
    }

    fn forget(&self, task: &TaskId) {
        self.lock().remove(task);
    }

    fn lost(&self) -> Vec<TaskId> {
        let now = Instant::now();
        let mut holds = self.lock();
        let lost: Vec<TaskId> = holds
            .iter()
            .filter(|(_, state)| matches!(state, HoldState::Waiting(until) if *until <= now))
            .map(|(task, _)| task.clone())
            .collect();
        for task in &lost {
            holds.remove(task);
        }
        lost
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, HoldState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A runner's hold on its task.
pub struct Hold {
    authority: Arc<Authority>,
    task: TaskId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.authority.holds.release(&self.task);
        // Where there are replicas, the others are told that it may come back to one of them.
        if self.authority.store.is_shared()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (authority, task) = (self.authority.clone(), self.task.clone());
            runtime.spawn(async move {
                if !authority.holds.held().contains(&task)
                    && let Err(fault) = authority.say_held(vec![task], RUNNER_RETURNS).await
                {
                    tracing::warn!(%fault, "that a runner has gone could not be said: it is noticed a little later");
                }
            });
        }
    }
}
