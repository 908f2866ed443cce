//! The ledger: search it, follow it, prove an entry, verify all of it.
//!
//! Checkpoints, tiles and proofs are texts and bytes of their own specifications (C2SP tlog-checkpoint,
//! tlog-tiles, tlog-proof), not JSON; here is what is JSON.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::form;

/// The media type of streams of JSON lines.
pub const JSON_LINES: &str = "application/jsonl";

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// Its place in the ledger.
    pub seq: u64,
    /// When it was appended.
    #[schema(format = DateTime)]
    pub time: String,
    /// Its kind, such as `action.decided`.
    pub kind: String,
    /// Its fields.
    #[schema(value_type = Object)]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// Which entries are wanted; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Of this kind, such as `action.decided`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::KindName>, inline)]
    pub kind: Option<String>,
    /// About this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::Name>, inline)]
    pub agent: Option<String>,
    /// About this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::TaskId>, inline)]
    pub task: Option<String>,
    /// With this workflow reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::ShortLine>, inline)]
    pub workflow: Option<String>,
    /// About this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::Name>, inline)]
    pub resource: Option<String>,
    /// About this credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::Name>, inline)]
    pub credential: Option<String>,
    /// With this outcome, such as `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::OutcomeName>, inline)]
    pub outcome: Option<String>,
    /// Not before this moment, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(format = DateTime)]
    pub since: Option<String>,
    /// Before this moment, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(format = DateTime)]
    pub until: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<form::PlaceCursor>, inline)]
    pub cursor: Option<String>,
    /// Most items wanted; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// What the server found when it verified its whole ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyReport {
    /// Whether everything fits.
    pub ok: bool,
    /// Entries that were looked at.
    pub entries: u64,
    /// Size of the newest checkpoint.
    pub size: u64,
    /// Root of the newest checkpoint, base64.
    pub root: String,
    /// What does not fit, a sentence each.
    pub problems: Vec<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// The key that checkpoints are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditKey {
    /// The verifier key (C2SP signed-note): `<origin>+<id>+<key>`.
    pub verifier: String,
}

/// Which checkpoint is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CheckpointQuery {
    /// The newest that this witness has cosigned, by its verifier key; the newest of all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 640)]
    pub cosigned_by: Option<String>,
}

/// Two sizes of the ledger to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsistencyQuery {
    /// The smaller size.
    #[param(minimum = 1, maximum = 9007199254740991_u64)]
    pub old: u64,
    /// The larger size.
    #[param(minimum = 1, maximum = 9007199254740991_u64)]
    pub new: u64,
}

/// Proof that the ledger of one size is a prefix of that of another (RFC 6962 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsistencyProof {
    /// The smaller size.
    pub old: u64,
    /// The larger size.
    pub new: u64,
    /// Hashes, base64.
    pub proof: Vec<String>,
}
