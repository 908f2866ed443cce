//! The way into a resource. Here: the *inject* rung, one shared key that only the gateway uses.

use accredit_identity::id::{CredentialName, ResourceName, TenantName};
use serde::{Deserialize, Deserializer, Serialize};

use crate::text::{Owner, Reason};
use crate::time::Timestamp;

/// Where a secret is placed in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "lowercase", deny_unknown_fields)]
pub enum Placement {
    /// A header field: the secret after a fixed prefix such as `Bearer `.
    Header {
        /// Field name, in lower case.
        field: FieldName,
        /// Text before the secret.
        prefix: Prefix,
    },
    /// `Authorization: Basic`, with this user name and the secret as password (RFC 7617).
    Basic {
        /// User name without `:`.
        user: UserName,
    },
}

impl Placement {
    /// The header field that carries the secret, in lower case.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Header { field, .. } => &field.0,
            Self::Basic { .. } => "authorization",
        }
    }
}

/// Why a placement is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Not a header field name, or one that carries meaning for the connection.
    #[error("`{0}` is not a header field that a secret can be placed in")]
    Field(String),
    /// A prefix with other than printable ASCII, or longer than 64 bytes.
    #[error("a prefix is at most 64 printable ASCII characters")]
    Prefix,
    /// A user name with `:`, other than printable ASCII, or longer than 128 bytes.
    #[error("a user name is 1 to 128 printable ASCII characters without `:`")]
    User,
}

/// A header field name in lower case (RFC 9110 §5.6.2) that may carry a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FieldName(String);

/// Fields that belong to the message or the connection, never to a credential.
const NOT_FOR_SECRETS: [&str; 16] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "content-type",
    "content-encoding",
    "traceparent",
    "tracestate",
    "via",
];

impl FieldName {
    /// Parses a field name; capitals are folded.
    ///
    /// # Errors
    /// [`PlacementError::Field`].
    pub fn parse(text: &str) -> Result<Self, PlacementError> {
        let lower = text.to_ascii_lowercase();
        let token = (1..=64).contains(&lower.len())
            && lower.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if token && !NOT_FOR_SECRETS.contains(&lower.as_str()) {
            Ok(Self(lower))
        } else {
            Err(PlacementError::Field(text.to_owned()))
        }
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text before a secret, such as `Bearer `.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Prefix(String);

impl Prefix {
    /// Parses a prefix.
    ///
    /// # Errors
    /// [`PlacementError::Prefix`].
    pub fn parse(text: &str) -> Result<Self, PlacementError> {
        let fits = text.len() <= 64 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(PlacementError::Prefix) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A user name for Basic authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct UserName(String);

impl UserName {
    /// Parses a user name.
    ///
    /// # Errors
    /// [`PlacementError::User`].
    pub fn parse(text: &str) -> Result<Self, PlacementError> {
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b':');
        if fits { Ok(Self(text.to_owned())) } else { Err(PlacementError::User) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! checked_on_read {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
checked_on_read!(FieldName, Prefix, UserName);

/// Whether a credential may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase", deny_unknown_fields)]
pub enum CredentialStatus {
    /// In use.
    Active,
    /// Taken away from every task. Nothing leads back: make a new credential.
    Revoked {
        /// When.
        at: Timestamp,
        /// Why.
        reason: Option<Reason>,
    },
}

/// One credential. Its secret's value is kept sealed elsewhere; here is only its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Whose.
    pub tenant: TenantName,
    /// Unique in its tenant.
    pub name: CredentialName,
    /// The one resource that it is the way into.
    pub resource: ResourceName,
    /// Who answers for it.
    pub owner: Owner,
    /// Who may revoke it at its source.
    pub revocation_authority: Owner,
    /// When its value must have been changed.
    pub rotation_due: Option<Timestamp>,
    /// Where its secret goes.
    pub placement: Placement,
    /// Version of the sealed value. `None`: no value is held, nothing can be injected.
    pub secret_version: Option<u32>,
    /// Highest version ever used, so that none is given twice.
    pub last_version: u32,
    /// Whether it may be used.
    pub status: CredentialStatus,
    /// When it was added.
    pub added_at: Timestamp,
}

impl Credential {
    /// Whether it may be used.
    #[must_use]
    pub const fn active(&self) -> bool {
        matches!(self.status, CredentialStatus::Active)
    }

    /// The credential with the version that its next value will have.
    #[must_use]
    pub fn with_next_version(self) -> Self {
        let version = self.last_version + 1;
        Self { secret_version: Some(version), last_version: version, ..self }
    }

    /// The credential without a value.
    #[must_use]
    pub fn without_value(self) -> Self {
        Self { secret_version: None, ..self }
    }

    /// The credential, taken away from everybody.
    #[must_use]
    pub fn revoke(self, reason: Option<Reason>, now: Timestamp) -> Self {
        match self.status {
            CredentialStatus::Revoked { .. } => self,
            CredentialStatus::Active => {
                Self { status: CredentialStatus::Revoked { at: now, reason }, secret_version: None, ..self }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_only_into_fields_of_their_own() {
        for bad in ["", "Host", "content-length", "x api", "x_api_key", "Cookie:", "transfer-encoding"] {
            assert!(FieldName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(FieldName::parse("X-Api-Key").expect("a field").as_str(), "x-api-key");
        assert!(Prefix::parse("Bearer\r\n").is_err());
        assert!(UserName::parse("a:b").is_err());
    }
}
