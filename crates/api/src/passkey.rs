//! Passkeys of people: registered in a browser, and used there to say yes. Bytes are base64url without padding, as WebAuthn has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;
use crate::request::Scope;

/// One passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkey {
    /// The credential's id.
    pub id: String,
    /// The thumbprint of its key, as the ledger names it.
    pub key: String,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub added_at: String,
}

/// The passkeys of whoever is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkeys {
    /// All of them.
    pub passkeys: Vec<Passkey>,
}

/// What a device is to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeyChallenge {
    /// The challenge, good for two minutes.
    pub challenge: String,
    /// The host that passkeys are for.
    pub host: String,
    /// Who the device may show.
    pub operator: String,
    /// A handle of that person that says nothing about them.
    pub handle: String,
    /// The ids of the passkeys that they have.
    pub passkeys: Vec<String>,
}

/// Asks for a challenge with which to say yes to exactly this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskPasskey {
    /// The digest of what was shown.
    #[schema(value_type = form::DigestHex)]
    pub digest: String,
    /// How far the yes will reach.
    pub scope: Scope,
}

/// Registers a passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPasskey {
    /// `clientDataJSON`.
    #[schema(value_type = form::Base64Url)]
    pub client_data: String,
    /// `authenticatorData`.
    #[schema(value_type = form::Base64Url)]
    pub authenticator_data: String,
    /// One that is registered vouches for it: needed as soon as there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<PasskeyUsed>,
}

/// What a device signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyUsed {
    /// The credential's id.
    #[schema(value_type = form::Base64Url)]
    pub id: String,
    /// `clientDataJSON`.
    #[schema(value_type = form::Base64Url)]
    pub client_data: String,
    /// `authenticatorData`.
    #[schema(value_type = form::Base64Url)]
    pub authenticator_data: String,
    /// The signature.
    #[schema(value_type = form::Base64Url)]
    pub signature: String,
}
