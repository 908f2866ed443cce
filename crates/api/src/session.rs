//! How a person signs in: a one-time link becomes a session. There is no password.
//!
//! A link is made on the machine of the server (through its socket) or by somebody who is signed in. It
//! burns when it is used. A session made through the socket works through the socket only.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::form;
use crate::sensitive::Sensitive;

/// Which way a session may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Only through the local socket.
    Socket,
    /// Through the network listener.
    Tcp,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Administers: agents, resources, policies, people.
    Admin,
    /// Answers for what they own.
    Owner,
    /// Answers requests that policy routes to them.
    Approver,
    /// Reads everything, changes nothing.
    Auditor,
}

/// Asks for a one-time link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLink {
    /// Who will sign in with it: `person@organisation`. When absent: whoever is signed in, or the local
    /// user as `uid-1000@localhost` through the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::PersonName>)]
    pub operator: Option<String>,
    /// What they will be able to do; `admin` when absent, never more than the one who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// A one-time link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkCreated {
    /// The code to present to `POST /v1/sessions`, once.
    pub code: Sensitive,
    /// Who signs in with it.
    pub operator: String,
    /// From when on it no longer works.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Signs in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// The code of a one-time link.
    #[schema(value_type = String, max_length = 256)]
    pub link_code: Sensitive,
}

/// A session, with the token that is shown this once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionCreated {
    /// Present it as `Authorization: Bearer …`.
    pub token: Sensitive,
    /// The session.
    pub session: Session,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Who is signed in.
    pub operator: String,
    /// What they may do.
    pub role: Role,
    /// Which way the session may be used.
    pub bound_to: Transport,
    /// When they signed in.
    #[schema(format = DateTime)]
    pub signed_in_at: String,
    /// When the session ends.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Who is asking, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The tenant.
    pub tenant: String,
    /// The session that was presented.
    pub session: Session,
}
