//! Refusals that help: a stable code, one sentence, and what to do next.
//!
//! A refusal never says what other tenants, secrets or policies exist.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $title:literal, $hard:literal;)*) => {
        /// Why something was refused. The words are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }
        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            /// The stable word, such as `outside_boundary`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }
            /// A short title for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
            /// Whether it blocks in `observe` mode too: then it is not about what policy says, but
            /// about who is asking, or about something that does not exist or went wrong.
            #[must_use]
            pub const fn hard(self) -> bool {
                match self { $(Self::$name => $hard),* }
            }
        }
    };
}

codes! {
    /// The task is over: completed, failed or revoked.
    TaskEnded = "task_ended", "The task is over", true;
    /// The task's time ran out.
    TaskExpired = "task_expired", "The task has expired", true;
    /// The task has not started.
    TaskNotStarted = "task_not_started", "The task has not started", true;
    /// The task was held back because of a finding.
    TaskSuspended = "task_suspended", "The task is suspended", true;
    /// The agent is suspended.
    AgentSuspended = "agent_suspended", "The agent is suspended", true;
    /// Whoever answers for the agent or the resource no longer does.
    OwnerLapsed = "owner_lapsed", "Nobody answers for this any more", true;
    /// The caller is not the one that the task was given to.
    NotYourTask = "not_your_task", "The task was given to somebody else", true;
    /// No resource is registered at that place.
    UnknownHost = "unknown_host", "This host is not registered", true;
    /// The gateway does not carry that method.
    MethodNotCarried = "method_not_carried", "This method is not carried", true;
    /// The resource was taken out of use.
    ResourceRetired = "resource_retired", "The resource is out of use", true;
    /// The credential was revoked.
    CredentialRevoked = "credential_revoked", "The credential was revoked", true;
    /// The credential holds no value.
    SecretMissing = "secret_missing", "The credential holds no value", true;
    /// No grant of the task covers the action.
    OutsideBoundary = "outside_boundary", "Outside what this task may touch", false;
    /// The chain of tasks that hand authority down would be too long.
    ChainTooLong = "chain_too_long", "Handed down too often", true;
    /// Too many tasks live below one root.
    TooManyTasks = "too_many_tasks", "Too many tasks below one", true;
    /// A grant covers it, and its limit is used up.
    LimitReached = "limit_reached", "A limit of this task is used up", false;
    /// No policy permits it, or one forbids it.
    DeniedByPolicy = "denied_by_policy", "Policy does not allow this", false;
    /// A policy could not be evaluated.
    PolicyError = "policy_error", "A policy could not be evaluated", true;
    /// A person must say yes first.
    ApprovalPending = "approval_pending", "Waiting for a person", false;
    /// A person said no to exactly this.
    ApprovalDenied = "approval_denied", "A person said no", false;
    /// The task has asked people too often.
    QuestionsUsedUp = "questions_used_up", "This task has asked too many questions", false;
    /// The vault has no key: secrets cannot be opened.
    Sealed = "sealed", "The vault is sealed", true;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One refusal, ready for whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// One sentence about this case.
    pub detail: String,
    /// What to do next.
    pub next_step: String,
}

impl Refusal {
    /// A refusal with these words.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), next_step: next_step.into() }
    }
}
