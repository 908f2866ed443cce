//! The one pure function: all facts in, one answer out, errors inside it.
//!
//! The order is fixed: who is asking and whether its chain is alive, what is there, what the
//! task and each ancestor may touch as they stand now, then policy. The first refusal stands.

use std::sync::Arc;

use accredit_identity::caller::Caller;
use accredit_identity::id::{AgentName, CredentialName, DecisionId, InstanceId, TaskId, TenantName};
use accredit_identity::key::Thumbprint;

use crate::action::Action;
use crate::approval::{self, Approval, Denial, QUESTIONS_MAX, Terms};
use crate::boundary::{Asked, Boundary, Grant};
use crate::decision::{Approved, Charge, Decision, Grounds, Outcome};
use crate::facts::{Facts, Link, Prepared, Target, Usage, Used};
use crate::owner::Standing;
use crate::policy::{PolicySet, Verdict};
use crate::refusal::{Code, Refusal};
use crate::task::{Ending, RestraintKind, TransitionError};
use crate::time::Timestamp;

/// Everything one decision is made from.
pub struct Question<'a> {
    /// The id that the decision will have.
    pub id: DecisionId,
    /// Who asks, verified.
    pub caller: Caller,
    /// What is asked.
    pub action: Action,
    /// The facts.
    pub prepared: Arc<Prepared>,
    /// What the task used so far.
    pub usage: &'a Usage,
    /// The compiled policy set that the facts name.
    pub policies: &'a PolicySet,
    /// The instant to decide for.
    pub now: Timestamp,
}

/// Decides one action.
#[must_use]
pub fn decide(question: Question<'_>) -> Decision {
    let Question { id, caller, action, prepared, usage, policies, now } = question;
    let Weighed { outcome, grounds, charges } =
        weigh(&Who::of(&caller), &prepared, &action, usage, policies, now);
    Decision { id, at: now, caller, action, outcome, grounds, charges, usage: usage.clone(), prepared }
}

/// Who asks, as far as a decision looks at it. A [`Caller`] gives one; so does what was recorded of
/// an earlier caller, for a replay, from which no [`Decision`] can be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) tenant: &'a TenantName,
    pub(crate) agent: &'a AgentName,
    pub(crate) task: &'a TaskId,
    pub(crate) instance: &'a InstanceId,
    pub(crate) key: &'a Thumbprint,
}

impl<'a> Who<'a> {
    const fn of(caller: &'a Caller) -> Self {
        Self {
            tenant: caller.tenant(),
            agent: caller.agent(),
            task: caller.task(),
            instance: caller.instance(),
            key: caller.key(),
        }
    }

    /// Whoever the task was given to.
    pub(crate) const fn holder(link: &'a Link) -> Self {
        let task = &link.task;
        Self {
            tenant: &task.tenant,
            agent: &task.agent,
            task: &task.id,
            instance: &task.instance.id,
            key: &task.instance.key,
        }
    }
}

/// An answer with what it rests on, before it is anybody's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weighed {
    pub(crate) outcome: Outcome,
    pub(crate) grounds: Grounds,
    /// The grants that it counts against, that of the task first. Empty: none covers it.
    pub(crate) charges: Vec<Charge>,
}

impl Weighed {
    /// The place of the grant that covers the action.
    pub(crate) fn grant(&self) -> Option<usize> {
        self.charges.first().map(|charge| charge.place)
    }
}

/// The whole decision, as a function of values.
pub(crate) fn weigh(
    who: &Who<'_>,
    prepared: &Prepared,
    action: &Action,
    usage: &Usage,
    policies: &PolicySet,
    now: Timestamp,
) -> Weighed {
    let facts = prepared.facts();
    let covered =
        structural(who, facts, action, now).and_then(|asked| within_boundaries(facts, &asked, usage, now));
    match covered {
        Err(refusal) => {
            Weighed { outcome: Outcome::Deny(refusal), grounds: Grounds::default(), charges: Vec::new() }
        }
        Ok(charges) => {
            let (outcome, grounds) = by_policy(prepared, action, usage, policies, now);
            Weighed { outcome, grounds, charges }
        }
    }
}

/// Whether the caller, its chain and the target are there and alive; then, what is asked of the boundary.
fn structural<'a>(
    who: &Who<'_>,
    facts: &'a Facts,
    action: &'a Action,
    now: Timestamp,
) -> Result<Asked<'a>, Refusal> {
    let own = facts.own().ok_or_else(|| not_yours("the facts name no task"))?;
    if *who.tenant != facts.tenant || *who.task != own.task.id || *who.agent != own.agent.name {
        return Err(not_yours("the caller is not the agent that this task was given to"));
    }
    if *who.instance != own.task.instance.id || *who.key != own.task.instance.key {
        return Err(not_yours("the task was given to another running instance of this agent"));
    }
    facts.chain.iter().try_for_each(|link| {
        let whose = if link.task.id == own.task.id { "this task" } else { ABOVE };
        alive(link, whose, now)
    })?;
    let Some(target) = &facts.target else { return Err(unknown_host(action)) };
    if !target.resource.endpoints.contains(&action.call().endpoint) {
        return Err(unknown_host(action));
    }
    let Some(asked) = action.asked() else { return Err(method_not_carried(action)) };
    if *asked.resource != target.resource.name {
        return Err(unknown_host(action));
    }
    target_usable(target)?;
    Ok(asked)
}

/// What a refusal calls a task of the chain that is not the one that asks.
pub(crate) const ABOVE: &str = "a task above this one";

/// Whether a task of the chain, its agent and whoever answers for that are what they must be. `whose`: what the refusal
/// calls the task.
pub(crate) fn alive(link: &Link, whose: &str, now: Timestamp) -> Result<(), Refusal> {
    let restart = "Stop. Start a new task if the work must go on; nothing is wrong with the upstream's key.";
    link.task.active_at(now).map_err(|why| match why {
        TransitionError::Ended(Ending::Expired) => {
            Refusal::new(Code::TaskExpired, format!("{whose} has expired"), restart)
        }
        TransitionError::Ended(how) => {
            Refusal::new(Code::TaskEnded, format!("{whose} has ended ({how})"), restart)
        }
        _ => Refusal::new(
            Code::TaskNotStarted,
            format!("{whose} has not started"),
            "Wait until the task is started.",
        ),
    })?;
    if let Some(restraint) = &link.task.restraint
        && restraint.kind == RestraintKind::Suspended
    {
        return Err(Refusal::new(
            Code::TaskSuspended,
            format!("{whose} was suspended because of what it did ({})", restraint.finding),
            "Stop and tell the user. Somebody must look at it and release it.",
        ));
    }
    if !link.agent.enabled() {
        let detail = format!("the agent `{}` is suspended", link.agent.name);
        return Err(Refusal::new(
            Code::AgentSuspended,
            detail,
            format!("Ask {} to resume it.", link.agent.owner),
        ));
    }
    match link.agent_owner {
        Standing::Active => Ok(()),
        Standing::Lapsed { .. } => Err(owner_lapsed("the agent", &link.agent.owner)),
    }
}

fn target_usable(target: &Target) -> Result<(), Refusal> {
    let resource = &target.resource;
    if !resource.active() {
        let detail = format!("the resource `{}` was taken out of use", resource.name);
        return Err(Refusal::new(Code::ResourceRetired, detail, format!("Ask {}.", resource.owner)));
    }
    if let Standing::Lapsed { .. } = target.owner {
        return Err(owner_lapsed("the resource", &resource.owner));
    }
    let Some(credential) = &target.credential else {
        return match &resource.credential {
            None => Ok(()),
            Some(name) => Err(secret_missing(name, &resource.owner)),
        };
    };
    let ask = format!("Ask {}, who answers for this credential.", credential.owner);
    if !credential.active() {
        let detail = format!("the credential `{}` was revoked", credential.name);
        return Err(Refusal::new(Code::CredentialRevoked, detail, ask));
    }
    if credential.secret_version.is_none() {
        return Err(secret_missing(&credential.name, &credential.owner));
    }
    Ok(())
}

/// The grants that cover the action now, that of the task itself first; every ancestor must hold a delegable grant that
/// covers it too, and what is limited there is shared by everything below it.
fn within_boundaries(
    facts: &Facts,
    asked: &Asked<'_>,
    usage: &Usage,
    now: Timestamp,
) -> Result<Vec<Charge>, Refusal> {
    let (own, ancestors) = facts.chain.split_first().ok_or_else(|| not_yours("the facts name no task"))?;
    let mut charges = Vec::with_capacity(facts.chain.len());
    let mut limited = None;
    for (place, grant) in own.task.boundary.covering(asked) {
        let used = usage.of(place);
        match room(grant, own, used, now) {
            Ok(()) => {
                charges.push(charge(own, place, grant, used));
                break;
            }
            Err(limit) => limited = Some(limit),
        }
    }
    for (nth, link) in ancestors.iter().enumerate() {
        let held = link.task.boundary.delegable.iter().enumerate();
        let mut held = held.filter(|(_, g)| g.covers(asked) && in_time(g, link, now)).peekable();
        if held.peek().is_none() {
            return Err(outside(asked, "a task above this one no longer hands this down"));
        }
        let with_used = held.map(|(place, grant)| {
            let place = Boundary::place_of_delegable(place);
            (place, grant, usage.of_above(nth, place))
        });
        let with_room = with_used.map(|(place, grant, used)| match room(grant, link, used, now) {
            Ok(()) => Ok((place, grant, used)),
            Err(limit) => Err(limit),
        });
        match with_room.reduce(Result::or) {
            Some(Ok((place, grant, used))) if grant.limits().are_counted() => {
                charges.push(charge(link, place, grant, used));
            }
            Some(Err(limit)) => return Err(used_up(asked, "a limit of a task above this one", limit)),
            Some(Ok(_)) | None => {}
        }
    }
    match limited {
        _ if charges.first().is_some_and(|first| first.task == own.task.id) => Ok(charges),
        Some(limit) => Err(used_up(asked, "the task's limit", limit)),
        None => Err(outside(asked, "no grant of this task covers it")),
    }
}

fn charge(link: &Link, place: usize, grant: &Grant, used: Used) -> Charge {
    Charge { task: link.task.id.clone(), place, limits: *grant.limits(), used }
}

fn used_up(asked: &Asked<'_>, whose: &str, limit: &str) -> Refusal {
    Refusal::new(
        Code::LimitReached,
        format!("{whose} on {limit} is used up for `{}`", asked.resource),
        "Finish without it, or ask whoever started the task for a new one with a higher limit.",
    )
}

fn in_time(grant: &Grant, link: &Link, now: Timestamp) -> bool {
    let Ok((since, _)) = link.task.active_at(now) else { return false };
    grant
        .limits()
        .within_s
        .is_none_or(|s| now < since.plus_ms(i64::try_from(s.saturating_mul(1_000)).unwrap_or(i64::MAX)))
}

fn room(grant: &Grant, own: &Link, used: Used, now: Timestamp) -> Result<(), &'static str> {
    let limits = grant.limits();
    if limits.calls_max.is_some_and(|max| used.calls >= max) {
        return Err("calls");
    }
    if limits.bytes_max.is_some_and(|max| used.bytes >= max) {
        return Err("bytes");
    }
    if in_time(grant, own, now) { Ok(()) } else { Err("time") }
}

/// What policy says, and whether an approval would turn a denial into a permit.
fn by_policy(
    prepared: &Prepared,
    action: &Action,
    usage: &Usage,
    policies: &PolicySet,
    now: Timestamp,
) -> (Outcome, Grounds) {
    let (verdict, grounds) = policies.judge_use(prepared, action, usage, now);
    let held_back = prepared.facts().chain.iter().any(|link| link.task.restraint.is_some());
    let verdict = match verdict {
        // After a finding, what policy permits is asked about.
        Verdict::Allow if held_back => Verdict::Ask(Terms::of_owner()),
        verdict => verdict,
    };
    let outcome = match verdict {
        Verdict::Allow => Outcome::Allow,
        Verdict::Ask(terms) => match approved(prepared, action, &terms, now) {
            Some(approval) => {
                let (request, scope) = (approval.request.clone(), approval.scope);
                let by = approval.by.iter().filter_map(|approver| approver.operator.as_ref());
                let by = by.map(|who| who.name.clone()).collect();
                let approval = Some(Approved { request, scope, by });
                return (Outcome::Allow, Grounds { approval, ..grounds });
            }
            None => match said_no(prepared, action) {
                Some(denial) => Outcome::Deny(denial.refusal(&what(action))),
                None if usage.questions() >= QUESTIONS_MAX => Outcome::Deny(too_many_questions(action)),
                None => Outcome::Ask(terms, pending(prepared, action)),
            },
        },
        Verdict::Deny => Outcome::Deny(denied(prepared, action)),
        Verdict::Unsure => Outcome::Deny(Refusal::new(
            Code::PolicyError,
            "a policy that applies to this action could not be evaluated",
            "Do not repeat it. Give the decision id to whoever maintains the policies.",
        )),
    };
    (outcome, grounds)
}

/// What a person said yes to that makes this use a permitted one. One that is for more than this call goes first: the
/// other is worth something only once.
fn approved<'a>(
    prepared: &'a Prepared,
    action: &Action,
    terms: &Terms,
    now: Timestamp,
) -> Option<&'a Approval> {
    let facts = prepared.facts();
    let asked = action.asked()?;
    let used = approval::Use {
        resource: asked.resource,
        operation: asked.operation,
        exact: action.call().exact(),
        policy_set: facts.policy_set,
        owner: &facts.target.as_ref()?.resource.owner,
        now,
    };
    let covering = facts.approvals.iter().filter(|a| a.covers(&used, terms, facts.involved()));
    covering.max_by_key(|approval| approval.scope)
}

/// The no that a person gave to exactly this.
fn said_no<'a>(prepared: &'a Prepared, action: &Action) -> Option<&'a Denial> {
    let exact = action.call().exact()?;
    prepared.facts().denials.iter().find(|denial| denial.digest == exact)
}

fn what(action: &Action) -> String {
    let call = action.call();
    format!("{} {}{}", call.method, call.endpoint, call.path)
}

fn pending(prepared: &Prepared, action: &Action) -> Refusal {
    let who = prepared
        .facts()
        .target
        .as_ref()
        .map_or_else(String::new, |t| format!(" (owner: {})", t.resource.owner));
    Refusal::new(
        Code::ApprovalPending,
        format!("{} needs a person's approval{who}", what(action)),
        "Tell the user, continue other work, and repeat this exact call after approval. Do not try another route.",
    )
}

fn too_many_questions(action: &Action) -> Refusal {
    Refusal::new(
        Code::QuestionsUsedUp,
        format!(
            "{} needs a person's approval, and this task has asked {QUESTIONS_MAX} questions already",
            what(action)
        ),
        "Do not try another route. Finish without it, or tell the user that a task with a wider boundary is needed.",
    )
}

fn denied(prepared: &Prepared, action: &Action) -> Refusal {
    let owner = prepared.facts().target.as_ref().map(|t| t.resource.owner.to_string()).unwrap_or_default();
    Refusal::new(
        Code::DeniedByPolicy,
        format!("policy does not allow {}", what(action)),
        format!(
            "Do not try another route. If the task needs it, ask {owner}, who answers for this resource."
        ),
    )
}

fn outside(asked: &Asked<'_>, why: &str) -> Refusal {
    let grant = format!("{}: {} {}", asked.resource, asked.method, asked.path);
    Refusal::new(
        Code::OutsideBoundary,
        format!(
            "{} {} on `{}` is outside what this task may touch: {why}",
            asked.method, asked.path, asked.resource
        ),
        format!(
            "Do not try another route. If the task needs it, ask whoever started it for a task that includes `{grant}`."
        ),
    )
}

fn unknown_host(action: &Action) -> Refusal {
    let endpoint = &action.call().endpoint;
    Refusal::new(
        Code::UnknownHost,
        format!("nothing is registered at {endpoint}, so nothing was sent there"),
        format!(
            "If the task needs it, ask an operator to run `accredit resource add NAME --endpoint {endpoint} --owner WHO`."
        ),
    )
}

fn method_not_carried(action: &Action) -> Refusal {
    let method = &action.call().method;
    Refusal::new(
        Code::MethodNotCarried,
        format!("the method `{method}` is not carried"),
        "Use GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE, in capitals.",
    )
}

fn secret_missing(name: &CredentialName, who: &crate::text::Owner) -> Refusal {
    let detail = format!("the credential `{name}` holds no value");
    Refusal::new(Code::SecretMissing, detail, format!("Ask {who}, who answers for it."))
}

fn owner_lapsed(what: &str, owner: &crate::text::Owner) -> Refusal {
    Refusal::new(
        Code::OwnerLapsed,
        format!("{owner} no longer answers for {what}"),
        "Ask an administrator to name a new owner.",
    )
}

fn not_yours(detail: &str) -> Refusal {
    Refusal::new(Code::NotYourTask, detail, "Use the task that was started for this agent and this run.")
}

#[cfg(test)]
mod tests;
