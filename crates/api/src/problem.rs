//! Errors: `application/problem+json` (RFC 9457) with a stable code and what to do next.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why something was not done, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A page about this sort of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sort of problem, in a few words.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// A stable word, such as `unknown_agent`.
    #[schema(pattern = "^[a-z][a-z0-9_]*$")]
    pub code: String,
    /// One sentence about this case.
    pub detail: String,
    /// What to do next, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// The field of the request that is wrong, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The decision behind a refusal: pass it to `GET /v1/why/{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The request for approval to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}
