//! What came out of deciding, and everything it rests on. Only [`crate::decide`] makes one.

use std::sync::Arc;

use accredit_identity::caller::Caller;
use accredit_identity::id::{DecisionId, RequestId, TaskId};

use crate::action::Action;
use crate::approval::{Scope, Terms};
use crate::boundary::Limits;
use crate::digest::Digest;
use crate::facts::{Prepared, Usage, Used};
use crate::refusal::{Code, Refusal};
use crate::resource::Mode;
use crate::text::Owner;
use crate::time::Timestamp;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It may happen.
    Allow,
    /// It may happen once a person has said yes.
    Ask(Terms, Refusal),
    /// It may not happen.
    Deny(Refusal),
}

impl Outcome {
    /// `allow`, `ask` or `deny`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask(..) => "ask",
            Self::Deny(_) => "deny",
        }
    }

    /// The refusal, unless allowed.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Allow => None,
            Self::Ask(_, r) | Self::Deny(r) => Some(r),
        }
    }

    /// Why it does not happen on a resource in this mode: the refusal, unless it is only observed.
    #[must_use]
    pub fn blocked_by(&self, mode: Mode) -> Option<&Refusal> {
        let refusal = self.refusal()?;
        match mode {
            Mode::Observe if !refusal.code.hard() => None,
            Mode::Observe | Mode::Enforce => Some(refusal),
        }
    }
}

/// What the policy engine said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grounds {
    /// Ids of the policies that determined the answer, sorted.
    pub policies: Vec<String>,
    /// Evaluation errors; any of them denies.
    pub errors: Vec<String>,
    /// The approval without which it would have been an ask.
    pub approval: Option<Approved>,
}

/// A grant that a use is counted against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Whose grant: the task's own, or one of a task above that hands it down.
    pub task: TaskId,
    /// Its place among the grants of that task, the delegable ones after the usable ones.
    pub place: usize,
    /// Its limits.
    pub limits: Limits,
    /// What was used under it before.
    pub used: Used,
}

/// An approval that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The request that was granted.
    pub request: RequestId,
    /// How far the grant reaches: one of scope `call` is used up by the decision.
    pub scope: Scope,
    /// Who said yes.
    pub by: Vec<Owner>,
}

/// One decision.
pub struct Decision {
    pub(crate) id: DecisionId,
    pub(crate) at: Timestamp,
    pub(crate) caller: Caller,
    pub(crate) action: Action,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) outcome: Outcome,
    pub(crate) grounds: Grounds,
    pub(crate) charges: Vec<Charge>,
    pub(crate) usage: Usage,
}

impl Decision {
    /// Its id, the key of both ledger entries.
    #[must_use]
    pub const fn id(&self) -> &DecisionId {
        &self.id
    }

    /// The instant it was decided for.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Who asked.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What was asked.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// What it was decided from.
    #[must_use]
    pub const fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }

    /// The answer.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What the policy engine said.
    #[must_use]
    pub const fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// The place of the grant that covers the action in the task's boundary.
    #[must_use]
    pub fn grant(&self) -> Option<usize> {
        self.charges.first().map(|charge| charge.place)
    }

    /// Every grant that it counts against: that of the task first, then the limited ones of the tasks above that hand it
    /// down. Empty: no grant covers it.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// What the task had used under each of its grants: a replay needs all of it.
    #[must_use]
    pub const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The policy set that was in force.
    #[must_use]
    pub fn policy_set(&self) -> Digest {
        self.prepared.facts().policy_set
    }

    /// The mode of the resource; `enforce` where there is none.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.prepared.facts().target.as_ref().map_or(Mode::Enforce, |t| t.resource.mode)
    }

    /// Why it does not happen: the refusal, unless it is allowed or only observed.
    #[must_use]
    pub fn blocked_by(&self) -> Option<&Refusal> {
        self.outcome.blocked_by(self.mode())
    }

    /// The stable word of the answer: `allowed`, or the code of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.outcome.refusal().map_or("allowed", |r| Code::as_str(r.code))
    }
}
