//! Named boundaries from which tasks of one sort are started.

use accredit_identity::id::TemplateName;
use serde::{Deserialize, Serialize};

use crate::boundary::Boundary;

/// A named boundary with its lifetime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Unique in the configuration.
    pub name: TemplateName,
    /// What a task started from it may touch.
    pub boundary: Boundary,
    /// How long such a task lives when nobody asks for less, in seconds.
    pub ttl_s: u64,
}
