//! Signing in through an `OpenID` provider, in a browser.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::sensitive::Sensitive;
use crate::session::Role;

/// Begins to sign somebody in through the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginOpenId {
    /// The role of the session; the first that they have when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// Where to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenIdBegun {
    /// The address at the provider, for this browser alone and for ten minutes.
    pub address: String,
}

/// Signs in whoever came back from the provider.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishOpenId {
    /// The code of the address that they came back to.
    #[schema(value_type = String, max_length = 4096)]
    pub code: Sensitive,
    /// Its state.
    #[schema(max_length = 256)]
    pub state: String,
    /// Its issuer, where it names one (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub iss: Option<String>,
}

/// Why a security event was not taken (RFC 8935 §2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRefused {
    /// `authentication_failed`: it is not the provider's, or not of a kind that is acted on.
    pub err: String,
    /// In words.
    pub description: String,
}
