//! `Recorded` and `Permit`: values that exist only when the step before them was taken.
//!
//! A decision becomes [`Recorded`] when the store has made it durable on the condition that
//! nothing narrowed since its facts were read. Only an allowed, recorded decision becomes a
//! [`Permit`], and only with a permit does the vault open a secret. Skipping a step does not compile.

use accredit_identity::id::RequestId;

use crate::credential::Credential;
use crate::decision::Decision;
use crate::host::Endpoint;
use crate::refusal::Refusal;

/// A decision that is durable in the ledger.
pub struct Recorded {
    decision: Decision,
    request: Option<RequestId>,
}

impl Recorded {
    /// States that `decision` is durable in the ledger, and that nothing narrowed
    /// between its facts and its record. Has exactly one caller: the store's record step.
    #[must_use]
    pub const fn assertion(decision: Decision, request: Option<RequestId>) -> Self {
        Self { decision, request }
    }

    /// The decision.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The request for approval that it raised or repeated.
    #[must_use]
    pub const fn request(&self) -> Option<&RequestId> {
        self.request.as_ref()
    }

    /// The permit to go on, or the refusal to give back.
    ///
    /// # Errors
    /// [`Refused`] when the decision blocks the action.
    pub fn permit(self) -> Result<Permit, Box<Refused>> {
        match self.decision.blocked_by() {
            None => Ok(Permit { decision: self.decision }),
            Some(refusal) => {
                let refusal = refusal.clone();
                Err(Box::new(Refused { refusal, decision: self.decision, request: self.request }))
            }
        }
    }
}

/// The permission to carry out exactly one recorded action.
pub struct Permit {
    decision: Decision,
}

impl Permit {
    /// The decision that it rests on.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Where the action goes, and nowhere else.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.decision.action().call().endpoint
    }

    /// The credential to be injected, if the resource has one.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.decision.prepared().facts().target.as_ref()?.credential.as_ref()
    }

    /// Bytes of bodies that may still pass under each of the grants, both ways together.
    #[must_use]
    pub fn bytes_left(&self) -> Option<u64> {
        let left = self.decision.charges().iter();
        left.filter_map(|c| Some(c.limits.bytes_max?.saturating_sub(c.used.bytes))).min()
    }
}

/// A recorded decision that does not let the action happen.
pub struct Refused {
    /// Why, and what to do next.
    pub refusal: Refusal,
    /// The decision.
    pub decision: Decision,
    /// The request for approval to wait for.
    pub request: Option<RequestId>,
}

/// How an action ended, as the gateway saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The response was passed on to its end.
    Done,
    /// Nothing was sent upstream.
    NotSent,
    /// The upstream could not be reached or its answer not be read, before it could act.
    Failed,
    /// Cut because the task ended or a bound was reached.
    Cut,
    /// The exchange broke after bytes were sent: whether the upstream acted is not known.
    Unknown,
}

impl Settlement {
    /// The word for it in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotSent => "not_sent",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::Unknown => "unknown",
        }
    }
}
