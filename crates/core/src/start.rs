//! Whether a task may start: who asks, whether it may act at all, then policy.
//!
//! Pure, like [`crate::decide`]. What a start decides about is the boundary that is asked for; every
//! use of it is decided again, from the facts of that moment.

use accredit_identity::id::{AgentName, TaskId, TemplateName};
use serde::Serialize;

use crate::agent::Agent;
use crate::boundary::Boundary;
use crate::decide::{ABOVE, alive};
use crate::decision::{Grounds, Outcome};
use crate::digest::Digest;
use crate::facts::Link;
use crate::owner::Standing;
use crate::policy::slice::About;
use crate::policy::{Evaluation, PolicySet, Verdict, context, entities, schema};
use crate::refusal::{Code, Refusal};
use crate::task::{DEPTH_MAX, DESCENDANTS_MAX};
use crate::text::{Purpose, Requester, Workflow};
use crate::time::Timestamp;

/// What an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// What the task is for.
    pub purpose: Purpose,
    /// Where the work is tracked.
    pub workflow: Option<Workflow>,
    /// The person who asked for it.
    pub requested_by: Option<Requester>,
    /// The template that it is started from. `None`: ad hoc.
    pub template: Option<TemplateName>,
    /// What it would touch.
    pub boundary: Boundary,
    /// How long it would live, in seconds.
    pub ttl_s: u64,
    /// The task that would hand it down. What a person says yes to is under that task and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
}

impl Proposal {
    /// Digest of everything that is asked for, and who asks: what an approval of it is bound to.
    #[must_use]
    pub fn digest(&self, agent: &AgentName) -> Digest {
        Digest::of(&serde_json::to_vec(&("accredit-start-v1", agent, self)).unwrap_or_default())
    }
}

/// Everything that the decision is made from.
pub struct StartQuestion<'a> {
    /// Who asks.
    pub agent: &'a Agent,
    /// Whether the agent's owner still answers.
    pub agent_owner: &'a Standing,
    /// Whether the instance proved itself with a key.
    pub proven: bool,
    /// What is asked for.
    pub proposal: &'a Proposal,
    /// The task that would hand it down and those above that, the nearest first. Empty: nobody does.
    pub above: &'a [Link],
    /// How many tasks live below the root of that chain.
    pub descendants: usize,
    /// The compiled policy set in force.
    pub policies: &'a PolicySet,
    /// The instant to decide for.
    pub now: Timestamp,
}

/// The answer, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartDecision {
    /// The answer.
    pub outcome: Outcome,
    /// What the policy engine said.
    pub grounds: Grounds,
}

/// Decides whether the task may start.
#[must_use]
pub fn decide_start(question: &StartQuestion<'_>) -> StartDecision {
    match may_ask(question) {
        Ok(()) => by_policy(question),
        Err(refusal) => StartDecision { outcome: Outcome::Deny(refusal), grounds: Grounds::default() },
    }
}

fn may_ask(question: &StartQuestion<'_>) -> Result<(), Refusal> {
    let agent = question.agent;
    if !agent.enabled() {
        let detail = format!("the agent `{}` is suspended", agent.name);
        return Err(Refusal::new(Code::AgentSuspended, detail, format!("Ask {} to resume it.", agent.owner)));
    }
    if let Standing::Lapsed { .. } = question.agent_owner {
        let detail = format!("{} no longer answers for the agent", agent.owner);
        return Err(Refusal::new(Code::OwnerLapsed, detail, "Ask an administrator to name a new owner."));
    }
    may_be_handed_down(question)?;
    match &question.proposal.template {
        Some(name) if name.as_str() == schema::ADHOC => {
            let detail = format!("`{name}` stands for tasks without a template and cannot name one");
            Err(Refusal::new(Code::DeniedByPolicy, detail, "Name another template, or none."))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the task above may hand this down, as it stands now: delegation only narrows.
fn may_be_handed_down(question: &StartQuestion<'_>) -> Result<(), Refusal> {
    let Some(parent) = question.above.first() else { return Ok(()) };
    question.above.iter().try_for_each(|link| alive(link, ABOVE, question.now))?;
    if question.above.len() >= DEPTH_MAX {
        let detail = format!("authority is handed down at most {} times", DEPTH_MAX - 1);
        return Err(Refusal::new(Code::ChainTooLong, detail, "Do the work in this task."));
    }
    if question.descendants >= DESCENDANTS_MAX {
        let detail = format!("{DESCENDANTS_MAX} tasks live below the first one of this chain");
        return Err(Refusal::new(Code::TooManyTasks, detail, "Wait until some of them have ended."));
    }
    let Some(grant) = question.proposal.boundary.beyond(&parent.task.boundary.delegable) else {
        return Ok(());
    };
    let held = parent.task.boundary.delegable.iter().map(|grant| format!("`{grant}`"));
    let held = held.collect::<Vec<_>>().join(", ");
    Err(Refusal::new(
        Code::OutsideBoundary,
        format!("the task above may not hand down `{grant}`"),
        match held.as_str() {
            "" => "It may hand down nothing: start it with `--delegate GRANT`.".to_owned(),
            held => format!("Ask for no more than {held}."),
        },
    ))
}

fn by_policy(question: &StartQuestion<'_>) -> StartDecision {
    let plain = evaluate(question, false);
    let (verdict, grounds) = question.policies.judge(plain, || evaluate(question, true));
    let owner = &question.agent.owner;
    let what = what(question);
    let outcome = match verdict {
        Verdict::Allow => Outcome::Allow,
        Verdict::Ask(terms) => Outcome::Ask(
            terms,
            Refusal::new(
                Code::ApprovalPending,
                format!("starting {what} needs a person's approval"),
                "Tell the user, and ask for the same task again after approval.",
            ),
        ),
        Verdict::Deny => Outcome::Deny(Refusal::new(
            Code::DeniedByPolicy,
            format!("policy does not allow `{}` to start {what}", question.agent.name),
            format!("Do not try another way. If the work needs it, ask {owner}, who answers for this agent."),
        )),
        Verdict::Unsure => Outcome::Deny(Refusal::new(
            Code::PolicyError,
            "a policy about starting tasks could not be evaluated",
            "Do not repeat it. Tell whoever maintains the policies.",
        )),
    };
    StartDecision { outcome, grounds }
}

fn evaluate(question: &StartQuestion<'_>, granted: bool) -> Evaluation {
    let StartQuestion { agent, proven, proposal, above, policies, now, .. } = question;
    let template = proposal.template.as_ref();
    let entities = match entities::for_start(agent, template) {
        Ok(entities) => entities,
        Err(e) => return Evaluation::failed(&e),
    };
    let about = About {
        principal: &schema::agent(&agent.name),
        action: schema::start(),
        resource: &schema::template(template),
        within: None,
        tenant: &schema::tenant(&agent.tenant),
    };
    let chain = std::iter::once(&agent.name).chain(above.iter().map(|link| &link.agent.name));
    let context = context::of_start(proposal, chain, *proven, *now, granted);
    policies.evaluate(about, &entities, &context)
}

fn what(question: &StartQuestion<'_>) -> String {
    match &question.proposal.template {
        Some(name) => format!("a task from the template `{name}`"),
        None => "a task without a template".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::AgentStatus;
    use crate::fixture;
    use crate::text::Reason;

    fn proposal(template: Option<&str>, grants: &[&str]) -> Proposal {
        Proposal {
            purpose: Purpose::parse("fix checkout bug").expect("a purpose"),
            workflow: Some(Workflow::parse("SHOP-12").expect("a workflow")),
            requested_by: None,
            template: template.map(|t| TemplateName::parse(t).expect("a name")),
            boundary: Boundary::parse(grants.iter().copied()).expect("grants"),
            ttl_s: 600,
            parent: None,
        }
    }

    fn code(
        agent: &Agent,
        owner: &Standing,
        proposal: &Proposal,
        policies: &str,
    ) -> (&'static str, Vec<String>) {
        let policies = fixture::set(policies);
        let now = fixture::now();
        let question = StartQuestion {
            agent,
            agent_owner: owner,
            proven: false,
            proposal,
            above: &[],
            descendants: 0,
            policies: &policies,
            now,
        };
        let StartDecision { outcome, grounds } = decide_start(&question);
        (outcome.refusal().map_or("allowed", |r| r.code.as_str()), grounds.policies)
    }

    // case: POL-01, POL-02, POL-08
    #[test]
    fn a_task_starts_when_policy_lets_it() {
        let start = "action == Action::\"start\"";
        let check = |policies: &str, expected: &str| {
            let proposal = proposal(Some("coding"), &["github: GET /a/**", "billing: DELETE *"]);
            assert_eq!(
                code(&fixture::agent("bot"), &Standing::Active, &proposal, policies).0,
                expected,
                "{policies}"
            );
        };
        check("", "denied_by_policy");
        check("permit(principal, action, resource);", "allowed");
        check(
            &format!("permit(principal == Agent::\"bot\", {start}, resource == Template::\"coding\");"),
            "allowed",
        );
        check(
            &format!("permit(principal == Agent::\"bot\", {start}, resource == Template::\"adhoc\");"),
            "denied_by_policy",
        );
        check("permit(principal, action in Action::\"use\", resource);", "denied_by_policy");
        check(
            &format!(
                "permit(principal, {start}, resource) when {{ context.request.resources.contains(\"billing\") && context.request.grants == 2 && context.request.ttl_s <= 600 }};"
            ),
            "allowed",
        );
        check(
            &format!(
                "permit(principal, {start}, resource) when {{ context.request.effects == [\"read\", \"delete\"] }};"
            ),
            "allowed",
        );
        check(
            &format!("permit(principal, {start}, resource) unless {{ context.request has requested_by }};"),
            "allowed",
        );
        check(
            &format!("permit(principal, {start}, resource) when {{ context.attested }};"),
            "denied_by_policy",
        );
        check(
            &format!(
                "permit(principal, action, resource); forbid(principal, {start}, resource) unless {{ context.approval.granted }};"
            ),
            "approval_pending",
        );
        check(
            &format!(
                "permit(principal, action, resource); forbid(principal, {start}, resource) when {{ context.request.ttl_s + 9223372036854775807 > 0 }};"
            ),
            "policy_error",
        );
    }

    // case: DEL-01, DEL-03, DEL-09
    #[test]
    fn authority_is_handed_down_and_only_narrows() {
        let policies = fixture::set("permit(principal, action, resource);");
        let link = |number: u8, name: &str| {
            let mut link = fixture::link(number, name, &["github: *"]);
            let delegable = Boundary::parse(["github: GET /a/**"]).expect("grants").usable;
            link.task.boundary.delegable = delegable;
            link
        };
        let start = |above: &[Link], descendants: usize, grants: &[&str]| {
            let (agent, owner) = (fixture::agent("bot"), Standing::Active);
            let question = StartQuestion {
                agent: &agent,
                agent_owner: &owner,
                proven: true,
                proposal: &proposal(None, grants),
                above,
                descendants,
                policies: &policies,
                now: fixture::now(),
            };
            decide_start(&question).outcome.refusal().map_or("allowed", |r| r.code.as_str())
        };
        let boss = link(2, "boss");
        assert_eq!(start(std::slice::from_ref(&boss), 0, &["github: GET /a/b"]), "allowed");
        assert_eq!(start(std::slice::from_ref(&boss), 0, &["github: GET /b"]), "outside_boundary");
        assert_eq!(start(std::slice::from_ref(&boss), 0, &["github: *"]), "outside_boundary");
        assert_eq!(
            start(std::slice::from_ref(&boss), DESCENDANTS_MAX, &["github: GET /a/b"]),
            "too_many_tasks"
        );
        let chain: Vec<Link> = (1..=5).map(|n| link(n, "boss")).collect();
        assert_eq!(start(&chain[..4], 0, &["github: GET /a/b"]), "allowed");
        assert_eq!(start(&chain, 0, &["github: GET /a/b"]), "chain_too_long");
        let mut over = link(2, "boss");
        over.task = over.task.end(crate::task::Ending::Revoked, None, fixture::now());
        assert_eq!(start(&[boss, over], 0, &["github: GET /a/b"]), "task_ended");
    }

    // case: DEL-07
    #[test]
    fn a_yes_to_a_start_is_for_one_parent() {
        let bot = AgentName::parse("bot").expect("a name");
        let below = |n: Option<u8>| {
            let parent = n.map(|n| TaskId::from_random([n; 16]));
            Proposal { parent, ..proposal(None, &["github: *"]) }.digest(&bot)
        };
        assert_eq!(below(Some(1)), below(Some(1)));
        assert!(below(None) != below(Some(1)) && below(Some(1)) != below(Some(2)));
    }

    #[test]
    fn who_may_not_act_may_not_start() {
        let at = fixture::now();
        let stopped = Agent {
            status: AgentStatus::Suspended { at, reason: Reason::parse("odd").expect("a reason") },
            ..fixture::agent("bot")
        };
        let (bot, fine, permit) =
            (fixture::agent("bot"), proposal(None, &["github: *"]), "permit(principal, action, resource);");
        assert_eq!(code(&bot, &Standing::Active, &fine, permit), ("allowed", vec!["p#1".to_owned()]));
        assert_eq!(code(&stopped, &Standing::Active, &fine, permit).0, "agent_suspended");
        assert_eq!(code(&bot, &Standing::Lapsed { at }, &fine, permit).0, "owner_lapsed");
        assert_eq!(
            code(&bot, &Standing::Active, &proposal(Some("adhoc"), &["github: *"]), permit).0,
            "denied_by_policy"
        );
    }
}
