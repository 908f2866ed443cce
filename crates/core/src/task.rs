//! The unit of authority and its lifecycle: `Proposed → Active → Ended`.
//!
//! Transitions consume the task and return the next one, so that no stale copy is kept by mistake.

use std::fmt;

use accredit_identity::caller::Attestation;
use accredit_identity::id::{AgentName, FindingId, InstanceId, TaskId, TemplateName, TenantName};
use accredit_identity::key::Thumbprint;
use serde::{Deserialize, Serialize};

use crate::boundary::Boundary;
use crate::text::{Purpose, Reason, Requester, Workflow};
use crate::time::Timestamp;

/// Longest life of one task, in seconds: a working day and its night. Configuration may lower it.
pub const TTL_S_MAX: u64 = 24 * 3_600;
/// Life of a task for which nobody asked otherwise, in seconds.
pub const TTL_S_DEFAULT: u64 = 3_600;
/// Longest chain of delegation, the root counted (design: at most 4 steps below it).
pub const DEPTH_MAX: usize = 5;

/// Most tasks that live below one root at a time.
pub const DESCENDANTS_MAX: usize = 256;

/// The running workload that a task was given to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Drawn when the workload proved itself.
    pub id: InstanceId,
    /// How it proved itself.
    pub attestation: Attestation,
    /// The key that every use must be proved with (RFC 7638).
    pub key: Thumbprint,
    /// Process id and user id on this machine, where it came through the socket.
    pub process: Option<(u32, u32)>,
}

/// How a task came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Its work was done.
    Completed,
    /// Its work failed, or its runner was lost.
    Failed,
    /// Its time ran out.
    Expired,
    /// Somebody took it away.
    Revoked,
}

impl Ending {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum TaskState {
    /// Asked for, not started.
    Proposed,
    /// May be used until it expires.
    Active {
        /// When it started.
        since: Timestamp,
        /// From when on it may not be used.
        expires_at: Timestamp,
    },
    /// Over. Nothing leads back from here.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        how: Ending,
        /// Why, where somebody said.
        reason: Option<Reason>,
    },
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Whose.
    pub tenant: TenantName,
    /// Its id.
    pub id: TaskId,
    /// Which agent it was given to.
    pub agent: AgentName,
    /// Which running instance of that agent.
    pub instance: Instance,
    /// What it is for.
    pub purpose: Purpose,
    /// Where the work is tracked.
    pub workflow: Option<Workflow>,
    /// The person who asked for it.
    pub requested_by: Option<Requester>,
    /// The task that handed this authority down.
    pub parent: Option<TaskId>,
    /// The template it was started from.
    pub template: Option<TemplateName>,
    /// What it may touch.
    pub boundary: Boundary,
    /// When it was asked for.
    pub proposed_at: Timestamp,
    /// Whether a runner holds it: then it ends when the runner is gone.
    pub held: bool,
    /// Where it stands.
    pub state: TaskState,
    /// What was put on it because of a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restraint: Option<Restraint>,
}

/// What a finding puts on a running task until somebody releases it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restraint {
    /// How much of it.
    pub kind: RestraintKind,
    /// The finding.
    pub finding: FindingId,
    /// Since when.
    pub at: Timestamp,
}

/// How much a restraint holds back, the milder first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestraintKind {
    /// A person is asked before each use that would be let out.
    Ask,
    /// Nothing is let out.
    Suspended,
}

impl RestraintKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Suspended => "suspended",
        }
    }
}

/// A transition that the state of the task does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// Only a proposed task can start.
    #[error("the task was already started")]
    NotProposed,
    /// Only an active task can be renewed or extended.
    #[error("the task is not active")]
    NotActive,
    /// The task is over.
    #[error("the task has ended ({0})")]
    Ended(Ending),
    /// An extension beyond the longest life.
    #[error("a task lives at most {max_s} seconds from its start")]
    TooLong {
        /// Longest life, in seconds.
        max_s: u64,
    },
    /// An extension into the past.
    #[error("an extension must lie after the present expiry")]
    NotLater,
}

impl Task {
    /// The task, started.
    ///
    /// # Errors
    /// [`TransitionError::NotProposed`], [`TransitionError::TooLong`].
    pub fn start(self, ttl_s: u64, max_s: u64, now: Timestamp) -> Result<Self, TransitionError> {
        let TaskState::Proposed = self.state else { return Err(TransitionError::NotProposed) };
        if ttl_s == 0 || ttl_s > max_s {
            return Err(TransitionError::TooLong { max_s });
        }
        let expires_at = now.plus_ms(ms(ttl_s));
        Ok(Self { state: TaskState::Active { since: now, expires_at }, ..self })
    }

    /// The task with a later expiry.
    ///
    /// # Errors
    /// When it is not active at `now`, or the new expiry is not later, or too late.
    pub fn extend(self, by_s: u64, max_s: u64, now: Timestamp) -> Result<Self, TransitionError> {
        let (since, expires_at) = self.active_at(now)?;
        let later = expires_at.plus_ms(ms(by_s));
        if by_s == 0 {
            return Err(TransitionError::NotLater);
        }
        if later > since.plus_ms(ms(max_s)) {
            return Err(TransitionError::TooLong { max_s });
        }
        Ok(Self { state: TaskState::Active { since, expires_at: later }, ..self })
    }

    /// The task, held back. The stronger restraint stands; a task that is over needs none.
    #[must_use]
    pub fn restrain(self, restraint: Restraint) -> Self {
        let stronger = self.restraint.as_ref().is_none_or(|before| before.kind < restraint.kind);
        let over = matches!(self.state, TaskState::Ended { .. });
        if stronger && !over { Self { restraint: Some(restraint), ..self } } else { self }
    }

    /// The task, no longer held back.
    #[must_use]
    pub fn release(self) -> Self {
        Self { restraint: None, ..self }
    }

    /// The task, over. Ending an ended task changes nothing: the first ending stands.
    #[must_use]
    pub fn end(self, how: Ending, reason: Option<Reason>, now: Timestamp) -> Self {
        match self.state {
            TaskState::Ended { .. } => self,
            TaskState::Proposed | TaskState::Active { .. } => {
                Self { state: TaskState::Ended { at: now, how, reason }, ..self }
            }
        }
    }

    /// Since when and until when the task is active, if it is so at `now`.
    ///
    /// # Errors
    /// [`TransitionError`] with where it stands instead.
    pub fn active_at(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), TransitionError> {
        match &self.state {
            TaskState::Active { since, expires_at } if now < *expires_at => Ok((*since, *expires_at)),
            TaskState::Active { .. } => Err(TransitionError::Ended(Ending::Expired)),
            TaskState::Proposed => Err(TransitionError::NotActive),
            TaskState::Ended { how, .. } => Err(TransitionError::Ended(*how)),
        }
    }

    /// Whether the task is over, by its state or by its expiry.
    #[must_use]
    pub fn over_at(&self, now: Timestamp) -> bool {
        matches!(self.active_at(now), Err(TransitionError::Ended(_)))
    }

    /// The word for where the task stands at `now`.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> &'static str {
        match self.active_at(now) {
            Ok(_) => "active",
            Err(TransitionError::Ended(how)) => how.as_str(),
            Err(_) => "proposed",
        }
    }
}

const fn ms(seconds: u64) -> i64 {
    (seconds.saturating_mul(1_000)) as i64
}
