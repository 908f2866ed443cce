//! Requests for a person's answer, the answers, and what a grant is worth at the moment of use.
//!
//! `pending → granted → consumed`, or `denied`, `expired`, `withdrawn`: six different words on every surface. Transitions
//! consume the request and return the next one. A grant is bound to the digest of exactly what was shown, to the policy
//! set that asked, and to its task; who gave it is looked at again whenever it is used.

use std::collections::BTreeSet;

use accredit_identity::id::{
    AgentName, DecisionId, OperationName, RequestId, ResourceName, TaskId, TemplateName, TenantName,
};
use serde::{Deserialize, Serialize};

use crate::boundary::Boundary;
use crate::digest::Digest;
use crate::effect::Effect;
use crate::facts::Link;
use crate::operator::{Operator, Role};
use crate::refusal::{Code, Refusal};
use crate::text::{Owner, Purpose, Reason, Requester, Workflow};
use crate::time::Timestamp;

/// Deadline of a request for which policy states none, in seconds.
pub const VALID_FOR_S_DEFAULT: u64 = 24 * 3_600;
/// How long a yes to one exact call can be used, in seconds: an agent that waits comes back within minutes.
pub const GRANT_S_CALL: u64 = 3_600;
/// How long a yes for the rest of a task can be used at most, in seconds. The task's own end is earlier, usually.
pub const GRANT_S_TASK: u64 = 24 * 3_600;
/// Most different questions that one task may have people asked: beyond, nobody reads them any more.
pub const QUESTIONS_MAX: u64 = 20;
/// Most requests of one agent that can wait before another is raised about the start of a task.
pub const QUESTIONS_PER_AGENT: usize = 100;
/// Most bytes of a body that are shown to whoever answers; the digest covers all of it.
pub const BODY_SHOWN_BYTES_MAX: usize = 8 * 1024;

/// Who must answer, how many of them, and for how long the question stands; from the annotations
/// of the policies that would permit the action once approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Who may answer, such as `role:payments`; empty: the owner of the resource.
    pub approvers: Vec<String>,
    /// How many different people must agree, at least 1.
    pub quorum: u32,
    /// How long the request stands, in seconds.
    pub valid_for_s: u64,
    /// Whether one answer is for one action or for the rest of the task.
    pub per: Per,
    /// Whether whoever says yes must have used a passkey just before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub passkey: bool,
    /// Whether the owner of the asking agent may not answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_owner: bool,
    /// How it could be undone, in the words of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

impl Terms {
    /// The terms of a question that no policy asks: whoever answers for the resource, for this or for the rest of the task.
    #[must_use]
    pub const fn of_owner() -> Self {
        Self {
            approvers: Vec::new(),
            quorum: 1,
            valid_for_s: VALID_FOR_S_DEFAULT,
            per: Per::Task,
            passkey: false,
            not_owner: false,
            undo: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// How far one answer may reach, as policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// This exact action, once.
    Action,
    /// This operation for the rest of the task.
    Task,
}

/// How far an answer reaches, as the person chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Exactly what was shown, once.
    Call,
    /// This operation of this resource for the rest of this task.
    Operation,
}

impl Scope {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Operation => "operation",
        }
    }

    /// What a person who chooses it says yes to.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Call => "exactly this, once",
            Self::Operation => "this operation of this resource, for the rest of this task",
        }
    }
}

/// The body of a request, as whoever answers sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyShown {
    /// Keyed digest of all of it.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    /// Media type, without parameters.
    pub content_type: Option<String>,
    /// Its beginning, at most [`BODY_SHOWN_BYTES_MAX`]. `None`: it is no text.
    pub text: Option<String>,
}

impl BodyShown {
    /// Whether more follows than is shown.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.text.as_ref().is_some_and(|text| (text.len() as u64) < self.bytes)
    }
}

/// What a person is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Asked {
    /// One use of a resource.
    Call {
        /// The resource.
        resource: ResourceName,
        /// Who answers for it.
        owner: Owner,
        /// The operation.
        operation: OperationName,
        /// Its effect.
        effect: Effect,
        /// Method, as sent.
        method: String,
        /// Scheme, host, port and path, as sent.
        url: String,
        /// Query, as sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        query: Option<String>,
        /// Body; `None`: there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<BodyShown>,
    },
    /// The start of a task.
    Start {
        /// Who answers for the agent.
        owner: Owner,
        /// What it is for.
        purpose: Purpose,
        /// Where the work is tracked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workflow: Option<Workflow>,
        /// The template that it would be started from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<TemplateName>,
        /// What it would touch.
        boundary: Boundary,
        /// How long it would live, in seconds.
        ttl_s: u64,
    },
}

impl Asked {
    /// Who answers for what is asked about.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        match self {
            Self::Call { owner, .. } | Self::Start { owner, .. } => owner,
        }
    }

    /// One line that says what it is.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Call { method, url, query: Some(query), .. } => format!("{method} {url}?{query}"),
            Self::Call { method, url, .. } => format!("{method} {url}"),
            Self::Start { purpose, .. } => format!("start a task: {purpose}"),
        }
    }

    /// The resource, where it is about one.
    #[must_use]
    pub const fn resource(&self) -> Option<&ResourceName> {
        match self {
            Self::Call { resource, .. } => Some(resource),
            Self::Start { .. } => None,
        }
    }

    /// The operation, where it is about one.
    #[must_use]
    pub const fn operation(&self) -> Option<&OperationName> {
        match self {
            Self::Call { operation, .. } => Some(operation),
            Self::Start { .. } => None,
        }
    }

    /// The effect, where it has one.
    #[must_use]
    pub const fn effect(&self) -> Option<Effect> {
        match self {
            Self::Call { effect, .. } => Some(*effect),
            Self::Start { .. } => None,
        }
    }
}

/// One task of the chain that asks, as it was when it asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainLink {
    /// The task.
    pub task: TaskId,
    /// Its agent.
    pub agent: AgentName,
    /// Who answers for the agent.
    pub owner: Owner,
    /// What it is for.
    pub purpose: Purpose,
    /// The person who asked for it.
    pub requested_by: Option<Requester>,
    /// User id of its runner on the authority's machine, where it came through the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

impl ChainLink {
    /// A link of a chain, as it is.
    #[must_use]
    pub fn of(link: &Link) -> Self {
        Self {
            task: link.task.id.clone(),
            agent: link.agent.name.clone(),
            owner: link.agent.owner.clone(),
            purpose: link.task.purpose.clone(),
            requested_by: link.task.requested_by.clone(),
            uid: link.task.instance.process.map(|(_, uid)| uid),
        }
    }
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yes {
    /// Who.
    pub by: Owner,
    /// The person behind that account.
    pub person: Owner,
    /// When.
    pub at: Timestamp,
    /// How far it reaches.
    pub scope: Scope,
    /// Whether a passkey was used for it.
    pub passkey: bool,
    /// Why, where they said.
    pub reason: Option<Reason>,
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum RequestState {
    /// Waits for answers.
    Pending,
    /// Enough people said yes; it can be used.
    Granted {
        /// Since when.
        at: Timestamp,
        /// How far it reaches: the narrowest that anybody chose.
        scope: Scope,
        /// From when on it is worthless.
        until: Timestamp,
    },
    /// It was used, and is used up.
    Consumed {
        /// When.
        at: Timestamp,
        /// By which decision. `None`: by a task that was started.
        decision: Option<DecisionId>,
    },
    /// Somebody said no.
    Denied {
        /// When.
        at: Timestamp,
        /// Who.
        by: Owner,
        /// Why, and what to do instead.
        reason: Option<Reason>,
    },
    /// The time passed, for an answer or for its use. Not a denial.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Taken back: its task ended, the agent cancelled it, or whoever granted it thought better of it.
    Withdrawn {
        /// When.
        at: Timestamp,
        /// By whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
}

impl RequestState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted { .. } => "granted",
            Self::Consumed { .. } => "consumed",
            Self::Denied { .. } => "denied",
            Self::Expired { .. } => "expired",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// One request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Whose.
    pub tenant: TenantName,
    /// Its id: 128 random bits, so that no two requests ever share an answer.
    pub id: RequestId,
    /// The task that asked, or would be started.
    pub task: TaskId,
    /// The agent that asked.
    pub agent: AgentName,
    /// What is asked about.
    pub asked: Asked,
    /// Digest of exactly that: the same request asked again is the same question.
    pub digest: Digest,
    /// The task that asked and those above it.
    pub chain: Vec<ChainLink>,
    /// Who must answer.
    pub terms: Terms,
    /// The policies that ask.
    pub policies: Vec<String>,
    /// The policy set that they are of.
    pub policy_set: Digest,
    /// How often it was asked.
    pub count: u64,
    /// When it was first asked.
    pub raised_at: Timestamp,
    /// When it becomes `expired`, unless it is answered.
    pub expires_at: Timestamp,
    /// Who said yes so far, each person once.
    pub yes: Vec<Yes>,
    /// Where it stands.
    pub state: RequestState,
}

/// Why somebody cannot answer, or an answer changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is over, or was answered.
    #[error("the request is {0}, so it cannot be answered any more")]
    NotPending(&'static str),
    /// Only a grant that was not used can be taken back.
    #[error("the request is {0}: there is nothing to take back")]
    NothingToWithdraw(&'static str),
    /// What was shown is not what is asked.
    #[error("the answer is about something else than this request asks")]
    OtherDigest,
    /// They lapsed.
    #[error("{0} may not act any more")]
    Lapsed(Owner),
    /// Policy asks others.
    #[error("{who} is not among those who may answer: {asked}")]
    NotAsked {
        /// Who.
        who: Owner,
        /// Who may.
        asked: String,
    },
    /// Separation of duties.
    #[error("{who} {why}, so somebody else must answer")]
    Involved {
        /// Who.
        who: Owner,
        /// How.
        why: &'static str,
    },
    /// A passkey is asked for.
    #[error("this needs a passkey")]
    NeedsPasskey,
    /// They said yes before.
    #[error("{0} has answered already: somebody else must agree as well")]
    Twice(Owner),
    /// Policy wants an answer for each action.
    #[error("policy wants an answer for each action: only the scope `call` can be chosen")]
    ScopeTooWide,
}

/// Who asks, as far as the separation of duties looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Involved<'a> {
    /// Who answers for the agent.
    pub owner: &'a Owner,
    /// The person who asked for the task.
    pub requested_by: Option<&'a Requester>,
    /// User id of the runner on this machine.
    pub uid: Option<u32>,
}

/// Whether a person may answer, as they stand now. `owner`: who answers for what is asked about.
///
/// # Errors
/// [`AnswerError`] with the reason.
pub fn may_answer<'a>(
    who: &Operator,
    terms: &Terms,
    owner: &Owner,
    chain: impl IntoIterator<Item = Involved<'a>>,
) -> Result<(), AnswerError> {
    if !who.active() {
        return Err(AnswerError::Lapsed(who.name.clone()));
    }
    let involved = |why| Err(AnswerError::Involved { who: who.name.clone(), why });
    for link in chain {
        let is = |name: &str| name == who.name.as_str() || name == who.person().as_str();
        if link.requested_by.is_some_and(|r| is(&r.as_str().trim().to_ascii_lowercase())) {
            return involved("asked for the task");
        }
        if link.uid.is_some_and(|uid| is(&format!("uid-{uid}@localhost"))) {
            return involved("is the user that the agent runs as");
        }
        if terms.not_owner && (who.is_or_in(link.owner) || who.person() == link.owner) {
            return involved("answers for the agent");
        }
    }
    let asked = match terms.approvers.as_slice() {
        // Whoever owns it, in whatever role they were registered; a role is for more than one's own.
        [] => who.is_or_in(owner),
        named => named.iter().any(|name| match name.strip_prefix("role:") {
            Some(role) => who.plays(role),
            None => Owner::parse(name).is_ok_and(|name| who.is_or_in(&name)),
        }),
    };
    let able = [Role::Owner, Role::Approver].into_iter().any(|role| who.roles.contains(&role));
    if asked && able {
        return Ok(());
    }
    let asked = match terms.approvers.as_slice() {
        [] => owner.to_string(),
        named => named.join(", "),
    };
    Err(AnswerError::NotAsked { who: who.name.clone(), asked })
}

impl Request {
    /// The word for where the request stands at `now`.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> &'static str {
        match &self.state {
            RequestState::Pending if now >= self.expires_at => "expired",
            RequestState::Granted { until, .. } if now >= *until => "expired",
            state => state.as_str(),
        }
    }

    /// Whether nothing can change about it at `now` any more.
    #[must_use]
    pub fn is_over_at(&self, now: Timestamp) -> bool {
        !matches!(self.status_at(now), "pending" | "granted")
    }

    /// Whether the grant can be used at `now` for the start that it is about: the policy set is still the one that
    /// asked, and enough of those who said yes could still say it under the terms that policy states now.
    #[must_use]
    pub fn lets_start(
        &self,
        terms: &Terms,
        policy_set: Digest,
        operator: impl Fn(&Owner) -> Option<Operator>,
        now: Timestamp,
    ) -> bool {
        let people =
            self.yes.iter().filter(|yes| yes.passkey || !terms.passkey).filter_map(|yes| operator(&yes.by));
        let able = people.filter(|who| may_answer(who, terms, self.asked.owner(), self.involved()).is_ok());
        let people: BTreeSet<Owner> = able.map(|who| who.person().clone()).collect();
        matches!(self.asked, Asked::Start { .. })
            && self.status_at(now) == "granted"
            && self.policy_set == policy_set
            && people.len() >= usize::try_from(terms.quorum.max(1)).unwrap_or(usize::MAX)
    }

    /// How many more people must say yes.
    #[must_use]
    pub fn missing(&self) -> u32 {
        self.terms.quorum.saturating_sub(u32::try_from(self.yes.len()).unwrap_or(u32::MAX))
    }

    fn involved(&self) -> impl Iterator<Item = Involved<'_>> {
        self.chain.iter().map(|link| Involved {
            owner: &link.owner,
            requested_by: link.requested_by.as_ref(),
            uid: link.uid,
        })
    }

    /// Whether this person may answer it, as they stand now.
    ///
    /// # Errors
    /// [`AnswerError`] with the reason.
    pub fn may_be_answered_by(&self, who: &Operator) -> Result<(), AnswerError> {
        may_answer(who, &self.terms, self.asked.owner(), self.involved())
    }

    fn pending_at(&self, now: Timestamp) -> Result<(), AnswerError> {
        match self.status_at(now) {
            "pending" => Ok(()),
            other => Err(AnswerError::NotPending(other)),
        }
    }

    /// The request with a person's yes to what has this digest; granted when it was the last one that was missing.
    ///
    /// # Errors
    /// [`AnswerError`] when the answer does not count; then nothing changed.
    pub fn approve(
        self,
        who: &Operator,
        digest: &Digest,
        scope: Scope,
        passkey: bool,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> Result<Self, AnswerError> {
        self.pending_at(now)?;
        self.may_be_answered_by(who)?;
        if *digest != self.digest {
            return Err(AnswerError::OtherDigest);
        }
        if self.terms.passkey && !passkey {
            return Err(AnswerError::NeedsPasskey);
        }
        let is_start = matches!(self.asked, Asked::Start { .. });
        if scope == Scope::Operation && (self.terms.per == Per::Action || is_start) {
            return Err(AnswerError::ScopeTooWide);
        }
        if self.yes.iter().any(|yes| yes.person == *who.person()) {
            return Err(AnswerError::Twice(who.name.clone()));
        }
        let mut next = self;
        let (by, person) = (who.name.clone(), who.person().clone());
        next.yes.push(Yes { by, person, at: now, scope, passkey, reason });
        if next.missing() == 0 {
            let scope = next.yes.iter().map(|yes| yes.scope).min().unwrap_or(Scope::Call);
            let valid_s = match scope {
                Scope::Call => GRANT_S_CALL,
                Scope::Operation => GRANT_S_TASK,
            };
            let until = now.plus_ms(i64::try_from(valid_s * 1_000).unwrap_or(i64::MAX));
            next.state = RequestState::Granted { at: now, scope, until };
        }
        Ok(next)
    }

    /// The request, denied: one no is enough.
    ///
    /// # Errors
    /// [`AnswerError`] when the answer does not count.
    pub fn deny(self, who: &Operator, reason: Option<Reason>, now: Timestamp) -> Result<Self, AnswerError> {
        self.pending_at(now)?;
        self.may_be_answered_by(who)?;
        Ok(Self { state: RequestState::Denied { at: now, by: who.name.clone(), reason }, ..self })
    }

    /// The request, taken back before it was used.
    ///
    /// # Errors
    /// [`AnswerError::NothingToWithdraw`] when it is over.
    pub fn withdraw(self, by: Option<&str>, now: Timestamp) -> Result<Self, AnswerError> {
        if self.is_over_at(now) {
            return Err(AnswerError::NothingToWithdraw(self.status_at(now)));
        }
        Ok(Self { state: RequestState::Withdrawn { at: now, by: by.map(str::to_owned) }, ..self })
    }

    /// The request, used up by a decision, or by the start of the task that it was about.
    ///
    /// # Errors
    /// [`AnswerError::NotPending`] when it is not granted at `now`.
    pub fn consume(self, decision: Option<DecisionId>, now: Timestamp) -> Result<Self, AnswerError> {
        match self.status_at(now) {
            "granted" => Ok(Self { state: RequestState::Consumed { at: now, decision }, ..self }),
            other => Err(AnswerError::NotPending(other)),
        }
    }
}

/// A grant that a task could use, as part of the facts of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The request that was granted.
    pub request: RequestId,
    /// How far it reaches.
    pub scope: Scope,
    /// Digest of exactly what was shown.
    pub digest: Digest,
    /// The resource.
    pub resource: ResourceName,
    /// The operation.
    pub operation: OperationName,
    /// The policy set that asked.
    pub policy_set: Digest,
    /// From when on it is worthless.
    pub until: Timestamp,
    /// Who said yes, each as they stand now.
    pub by: Vec<Approver>,
}

/// Somebody who said yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approver {
    /// The person, as they stand now. `None`: there is no such person any more.
    pub operator: Option<Operator>,
    /// Whether a passkey was used.
    pub passkey: bool,
}

/// A no to an exact call of a task, as part of the facts of a decision: asked again, nobody is asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// The request that was denied.
    pub request: RequestId,
    /// Digest of exactly what was shown.
    pub digest: Digest,
    /// Who said no.
    pub by: Owner,
    /// Why, and what to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Denial {
    /// The denial that a request is. `None`: nobody said no.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let RequestState::Denied { by, reason, .. } = &request.state else { return None };
        let (request, digest) = (request.id.clone(), request.digest);
        Some(Self { request, digest, by: by.clone(), reason: reason.clone() })
    }

    /// The refusal of what was denied, `what` in words.
    #[must_use]
    pub fn refusal(&self, what: &str) -> Refusal {
        let why = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Refusal::new(
            Code::ApprovalDenied,
            format!("{} said no to {what} ({}){why}", self.by, self.request),
            "Do not repeat it and do not try another route. Do what the answer says, or tell the user.",
        )
    }
}

/// What a use is held against an approval with.
pub(crate) struct Use<'a> {
    pub(crate) resource: &'a ResourceName,
    pub(crate) operation: &'a OperationName,
    /// Digest of exactly what will be sent. `None`: not known, because its body was not read yet.
    pub(crate) exact: Option<Digest>,
    pub(crate) policy_set: Digest,
    pub(crate) owner: &'a Owner,
    pub(crate) now: Timestamp,
}

impl Approval {
    /// The approval that a request is worth, with those who said yes as they stand now. `None`: it is not granted, or
    /// not about a use.
    #[must_use]
    pub fn of(request: &Request, operator: impl Fn(&Owner) -> Option<Operator>) -> Option<Self> {
        let RequestState::Granted { scope, until, .. } = request.state else { return None };
        let Asked::Call { resource, operation, .. } = &request.asked else { return None };
        let by = request.yes.iter();
        let by = by.map(|yes| Approver { operator: operator(&yes.by), passkey: yes.passkey }).collect();
        Some(Self {
            request: request.id.clone(),
            scope,
            digest: request.digest,
            resource: resource.clone(),
            operation: operation.clone(),
            policy_set: request.policy_set,
            until,
            by,
        })
    }

    /// Whether it makes this use one that a person said yes to, under the terms that policy states now.
    pub(crate) fn covers<'a>(
        &self,
        used: &Use<'_>,
        terms: &Terms,
        chain: impl Iterator<Item = Involved<'a>> + Clone,
    ) -> bool {
        let about = self.resource == *used.resource
            && self.operation == *used.operation
            && match self.scope {
                Scope::Call => used.exact == Some(self.digest),
                Scope::Operation => terms.per == Per::Task,
            };
        // A policy that changed since may ask for something else.
        let holds = self.policy_set == used.policy_set && used.now < self.until;
        let counts = |approver: &&Approver| {
            let Some(who) = &approver.operator else { return false };
            (approver.passkey || !terms.passkey) && may_answer(who, terms, used.owner, chain.clone()).is_ok()
        };
        let people: BTreeSet<&Owner> =
            self.by.iter().filter(counts).filter_map(|a| a.operator.as_ref()).map(Operator::person).collect();
        about && holds && people.len() >= usize::try_from(terms.quorum.max(1)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
