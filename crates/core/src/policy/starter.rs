//! A policy set to begin with. An empty set denies everything; this one leaves the deciding to the
//! boundaries of tasks.

use crate::policy::source::PolicySources;

/// Name of its one source.
pub const STARTER_NAME: &str = "starter.cedar";

/// Its text.
pub const STARTER_TEXT: &str = include_str!("starter.cedar");

/// The starter set's sources.
#[must_use]
pub fn starter() -> PolicySources {
    PolicySources::one(STARTER_NAME, STARTER_TEXT)
        .expect("its name and length are part of this crate and tested")
}
