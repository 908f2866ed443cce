//! What an operation does to its resource, in five words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The effect of an operation. Policies speak of it as the Cedar action of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Looks, changes nothing.
    Read,
    /// Adds or changes.
    Write,
    /// Removes.
    Delete,
    /// Runs something.
    Execute,
    /// Changes who may do what.
    Admin,
}

impl Effect {
    /// Every effect, mildest first.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Delete, Self::Execute, Self::Admin];

    /// The word used in boundaries, policies and the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Execute => "execute",
            Self::Admin => "admin",
        }
    }

    /// The effect with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.as_str() == word)
    }

    /// The effect that HTTP gives this method (RFC 9110 §9), for operations nobody has named.
    /// `None` for a method that the gateway does not carry.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        match method {
            "GET" | "HEAD" | "OPTIONS" => Some(Self::Read),
            "POST" | "PUT" | "PATCH" => Some(Self::Write),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
