//! Registered non-human identities.

use accredit_identity::id::{AgentName, Environment, TenantName};
use accredit_identity::spiffe::AgentKind;
use serde::{Deserialize, Serialize};

use crate::text::{Owner, Reason};
use crate::time::Timestamp;

/// Whether an agent may act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase", deny_unknown_fields)]
pub enum AgentStatus {
    /// May start tasks.
    Enabled,
    /// May do nothing until resumed.
    Suspended {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
}

/// One registered agent. Its keys are kept beside it, because only verification needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Whose.
    pub tenant: TenantName,
    /// Unique in its tenant, never reused.
    pub name: AgentName,
    /// What sort of workload it is.
    pub kind: AgentKind,
    /// Where it runs.
    pub environment: Environment,
    /// Who answers for it.
    pub owner: Owner,
    /// Whether it may act.
    pub status: AgentStatus,
    /// The operating system user that may act as this agent through the local socket, without
    /// any other proof (recorded as *unattested*). `None`: a key is required.
    pub socket_uid: Option<u32>,
    /// When it was registered.
    pub registered_at: Timestamp,
}

impl Agent {
    /// Whether it may act at all.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        matches!(self.status, AgentStatus::Enabled)
    }

    /// The agent, stopped.
    #[must_use]
    pub fn suspend(self, reason: Reason, now: Timestamp) -> Self {
        Self { status: AgentStatus::Suspended { at: now, reason }, ..self }
    }

    /// The agent, able to start tasks again. What was ended meanwhile stays ended.
    #[must_use]
    pub fn resume(self) -> Self {
        Self { status: AgentStatus::Enabled, ..self }
    }
}
