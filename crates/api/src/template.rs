//! Named boundaries from which tasks of one sort are started. They come from the configuration.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::task::Boundary;

/// One template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What a task started from it may touch.
    pub boundary: Boundary,
    /// How long such a task lives when nobody asks for less, in seconds.
    pub ttl_s: u64,
}
