//! What a use case answers when it cannot do what was asked: whose doing, why, what to do next.

use std::fmt;

use accredit_core::id::RequestId;
use accredit_core::refusal::Refusal;
use accredit_store::{ChangeError, FactsError, StoreError};

/// Whose doing it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The request is not well-formed.
    Invalid,
    /// Nobody has proved who they are.
    Unauthenticated,
    /// Somebody may not do this.
    Denied,
    /// There is no such thing (or it is not the caller's to see).
    NotFound,
    /// It does not fit what is there.
    Conflict,
    /// Too much at once; later it may fit.
    Overloaded,
    /// We cannot do it now.
    Unavailable,
}

/// One answer that is not the one hoped for. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose doing.
    pub kind: FaultKind,
    /// Stable word.
    pub code: &'static str,
    /// One sentence about this case.
    pub detail: String,
    /// What to do next.
    pub next_step: String,
    /// The request for a person's answer that it waits for.
    pub request: Option<RequestId>,
}

impl Fault {
    /// A fault with these words.
    #[must_use]
    pub fn new(
        kind: FaultKind,
        code: &'static str,
        detail: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self { kind, code, detail: detail.into(), next_step: next_step.into(), request: None }
    }

    /// The request is not well-formed.
    #[must_use]
    pub fn invalid(code: &'static str, detail: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, code, detail, next_step)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(what: &str, name: impl fmt::Display) -> Self {
        let next = where_listed(what);
        Self::new(FaultKind::NotFound, "not_found", format!("there is no {what} `{name}`"), next)
    }

    /// It does not fit what is there.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::new(FaultKind::Conflict, code, detail, next_step)
    }

    /// We cannot do it now.
    #[must_use]
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Unavailable, code, detail, "Try again; `accredit health` says what is wrong.")
    }

    /// The vault has no key.
    #[must_use]
    pub fn sealed() -> Self {
        Self::new(
            FaultKind::Unavailable,
            "sealed",
            "the vault is sealed: the key-encryption key is absent or not the one in use",
            "Give the authority its key (`[server] seal`); it goes on by itself.",
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::new(FaultKind::Denied, refusal.code.as_str(), refusal.detail, refusal.next_step)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "the store refuses");
        match error {
            StoreError::Entry(_) => Self::unavailable(
                "entry_refused",
                "the ledger does not take an entry about this, so it was not done; this is a defect of Accredit",
            ),
            _ => Self::unavailable("store_unavailable", "the database cannot be read now"),
        }
    }
}

impl From<FactsError> for Fault {
    fn from(error: FactsError) -> Self {
        match error {
            FactsError::NoTask => Self::new(
                FaultKind::Denied,
                "not_your_task",
                "there is no such task",
                "Use the task that was started for this agent and this run.",
            ),
            FactsError::Unavailable(cause) => {
                tracing::error!(error = %cause, "the facts cannot be read");
                Self::unavailable("store_unavailable", "the facts cannot be read now, so nothing is allowed")
            }
        }
    }
}

impl From<ChangeError<Self>> for Fault {
    fn from(error: ChangeError<Self>) -> Self {
        match error {
            ChangeError::Refused(fault) => fault,
            ChangeError::Full => Self::new(
                FaultKind::Overloaded,
                "overloaded",
                "too many changes wait for the database",
                "Repeat it after a second.",
            ),
            other => {
                tracing::error!(error = %other, "the store cannot be written");
                Self::unavailable("audit_unavailable", "the ledger cannot be written now, so nothing is done")
            }
        }
    }
}

/// What shows the things of this sort that there are.
#[must_use]
pub fn where_listed(what: &str) -> &'static str {
    match what {
        "agent" => "List what there is with `accredit agent ls`.",
        "credential" => "List what there is with `accredit credential ls`.",
        "operator" => "List what there is with `accredit operator ls`.",
        "owner" => "List what there is with `accredit owner ls`.",
        "passkey" => "The page in the browser lists yours.",
        "policy" => "`accredit policy show` prints the set in force.",
        "request" => "List what there is with `accredit request ls`.",
        "resource" => "List what there is with `accredit resource ls`.",
        "task" => "List what there is with `accredit task ls`.",
        "template" => "List what there is with `accredit template ls`.",
        "certificate authority" => "The gateway makes it when the vault is open: `accredit health`.",
        _ => "Search for it with `accredit audit search`.",
    }
}
