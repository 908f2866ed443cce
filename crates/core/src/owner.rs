//! People and teams that answer for something. When an owner lapses, what it owns stops.

use serde::{Deserialize, Serialize};

use crate::text::Owner;
use crate::time::Timestamp;

/// Whether an owner still answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "lowercase", deny_unknown_fields)]
pub enum Standing {
    /// Answers for what it owns.
    Active,
    /// Has left or was removed.
    Lapsed {
        /// Since when.
        at: Timestamp,
    },
}

/// A registered owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerRecord {
    /// Who.
    pub owner: Owner,
    /// Whether it still answers.
    pub standing: Standing,
    /// When it was registered.
    pub added_at: Timestamp,
}

impl OwnerRecord {
    /// Whether what it owns may be used.
    #[must_use]
    pub const fn answers(&self) -> bool {
        matches!(self.standing, Standing::Active)
    }

    /// The owner, lapsed.
    #[must_use]
    pub fn lapse(self, now: Timestamp) -> Self {
        match self.standing {
            Standing::Active => Self { standing: Standing::Lapsed { at: now }, ..self },
            Standing::Lapsed { .. } => self,
        }
    }
}
