//! Credentials. Values are written and never read: no answer of any endpoint holds one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;
use crate::sensitive::Sensitive;
use crate::strict;

/// Where a secret is placed in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "in", rename_all = "lowercase", deny_unknown_fields)]
pub enum Placement {
    /// A header field.
    Header {
        /// Field name, such as `x-api-key`.
        #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9-]+$")]
        field: String,
        /// Text before the secret, such as `Bearer `.
        #[serde(default)]
        #[schema(max_length = 64, pattern = "^[ -~]*$")]
        prefix: String,
    },
    /// `Authorization: Basic`, the secret as password.
    Basic {
        /// User name without `:`.
        #[schema(min_length = 1, max_length = 128, pattern = "^[ -9;-~]+$")]
        user: String,
    },
}

/// Whether a credential may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialStatus {
    /// In use.
    Active,
    /// Taken away from every task for ever.
    Revoked,
}

/// One credential, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// The one resource that it is the way into.
    pub resource: String,
    /// The endpoints of that resource: its value goes nowhere else.
    pub endpoints: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Who may revoke it at its source.
    pub revocation_authority: String,
    /// When its value must have been changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub rotation_due: Option<String>,
    /// Where its secret goes.
    pub placement: Placement,
    /// Version of the value that is held. Absent: no value is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<u32>,
    /// Whether it may be used.
    pub status: CredentialStatus,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_because: Option<String>,
    /// When it was added.
    #[schema(format = DateTime)]
    pub added_at: String,
}

/// Adds a credential. Its value is set afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCredential {
    /// A new name: lower-case letters, digits, `.`, `_` and `-`.
    #[schema(value_type = form::Name)]
    pub name: String,
    /// The resource that it is the way into; one that has no credential yet.
    #[schema(value_type = form::Name)]
    pub resource: String,
    /// Who answers for it: a registered owner.
    #[schema(value_type = form::OwnerName)]
    pub owner: String,
    /// Who may revoke it at its source; the owner when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::OwnerName>)]
    pub revocation_authority: Option<String>,
    /// When its value must have been changed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub rotation_due: Option<String>,
    /// Where its secret goes.
    #[serde(deserialize_with = "strict::object")]
    pub placement: Placement,
}

/// Sets the value of a credential.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// The value: 8 to 4096 bytes of visible ASCII. It is sealed at once and never shown again.
    #[schema(value_type = form::SecretText, write_only)]
    pub value: Sensitive,
}
