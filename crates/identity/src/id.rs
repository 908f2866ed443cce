//! Names and identifiers: one type per kind of thing, declared in one list.
//!
//! Two shapes. A **name** is chosen by a person, unique in its tenant and never reused: lower-case
//! ASCII letters, digits, `.`, `_` and `-`, 1 to 63 bytes, first a letter or digit. An **id** is
//! drawn by Accredit: a prefix and 128 random bits in lower-case base32 (`t_` + 26 characters), so
//! that no id can be guessed. Both are canonical once, here: two spellings never mean one thing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name in bytes: a DNS label, so that a name fits wherever names of the field fit.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is not a name or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text has no bytes.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of name or id was expected.
        what: &'static str,
    },
    /// The text is longer than allowed.
    #[error("{what} is {bytes} bytes long, the most is {max}")]
    TooLong {
        /// Which kind of name or id was expected.
        what: &'static str,
        /// Length found, in bytes.
        bytes: usize,
        /// Longest allowed, in bytes.
        max: usize,
    },
    /// The text holds a character that is not allowed.
    #[error(
        "{what} may hold lower-case letters, digits, `.`, `_` and `-`, and starts with a letter or digit"
    )]
    Character {
        /// Which kind of name was expected.
        what: &'static str,
    },
    /// The text is not the canonical spelling of an id.
    #[error("not {what}: expected `{prefix}` and 26 characters of `a`-`z` and `2`-`7`")]
    NotAnId {
        /// Which kind of id was expected.
        what: &'static str,
        /// The prefix that ids of this kind carry.
        prefix: &'static str,
    },
}

fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(IdError::TooLong { what, bytes: text.len(), max: NAME_BYTES_MAX });
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let starts_plain = text.bytes().next().is_some_and(plain);
    let all_allowed = text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
    if starts_plain && all_allowed && !text.contains("..") {
        Ok(())
    } else {
        Err(IdError::Character { what })
    }
}

const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const ID_CHARS: usize = 26;

fn encode_id(prefix: &str, random: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(random);
    let digit = |i: usize| {
        // 26 digits of 5 bits hold 130 bits: the last digit carries the 3 low bits, padded.
        let shift = 123_i32 - 5 * i as i32;
        let five = if shift >= 0 { bits >> shift } else { bits << -shift };
        char::from(ID_ALPHABET[(five & 31) as usize])
    };
    prefix.chars().chain((0..ID_CHARS).map(digit)).collect()
}

fn check_id(what: &'static str, prefix: &'static str, text: &str) -> Result<(), IdError> {
    let not = IdError::NotAnId { what, prefix };
    let Some(digits) = text.strip_prefix(prefix) else { return Err(not) };
    let canonical = digits.len() == ID_CHARS
        && digits.bytes().all(|b| ID_ALPHABET.contains(&b))
        // the two padding bits of the last digit are zero
        && digits.bytes().last().is_some_and(|b| ID_ALPHABET.iter().position(|&a| a == b).is_some_and(|p| p % 4 == 0));
    if canonical { Ok(()) } else { Err(not) }
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The canonical text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);
        impl $name {
            /// Parses the canonical spelling.
            ///
            /// # Errors
            /// [`IdError`] when the text is not a name.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check_name($what, text).map(|()| Self(text.into()))
            }
        }
        text_type!($name);
    )*};
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);
        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;
            /// The id made of 128 random bits that the caller drew.
            #[must_use]
            pub fn from_random(random: [u8; 16]) -> Self {
                Self(encode_id($prefix, random).into())
            }
            /// Parses the canonical spelling.
            ///
            /// # Errors
            /// [`IdError`] when the text is not an id of this kind.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check_id($what, $prefix, text).map(|()| Self(text.into()))
            }
        }
        text_type!($name);
    )*};
}

names! {
    /// The isolation boundary: nothing crosses it.
    TenantName = "a tenant name";
    /// A label such as `prod` or `staging`.
    Environment = "an environment";
    /// A registered non-human identity.
    AgentName = "an agent name";
    /// Something protected: an HTTP API, a database.
    ResourceName = "a resource name";
    /// The way into a resource.
    CredentialName = "a credential name";
    /// A named boundary with its approval rules and lifetime.
    TemplateName = "a template name";
    /// One thing a resource can do, within its resource.
    OperationName = "an operation name";
}

ids! {
    /// One unit of authority.
    TaskId = "t_", "a task id";
    /// One running agent: its process, its key.
    InstanceId = "i_", "an agent instance id";
    /// One decision, and the action that it was about.
    DecisionId = "d_", "a decision id";
    /// One request for a person's approval.
    RequestId = "r_", "a request id";
    /// One detected deviation.
    FindingId = "f_", "a finding id";
    /// One signed-in session of an operator.
    SessionId = "s_", "a session id";
    /// One one-time join token's record.
    JoinTokenId = "j_", "a join token id";
    /// One task token (`jti`).
    TokenId = "k_", "a task token id";
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: SEC-12, AUD-09
    #[test]
    fn names_have_one_spelling() {
        let long = "a".repeat(64);
        for bad in ["", "A", "a b", "a/b", "..", "a..b", "*", "-a", "a\n", "\u{0430}", "a\u{202e}", &long] {
            assert!(AgentName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "claude-code", "etl_2.nightly", "0a", &long[1..]] {
            assert_eq!(AgentName::parse(good).expect("a name").as_str(), good);
        }
    }

    // case: TEN-10
    #[test]
    fn ids_hold_128_bits_and_have_one_spelling() {
        let id = TaskId::from_random([0xff; 16]);
        assert_eq!(id.as_str().len(), 28);
        assert_eq!(TaskId::parse(id.as_str()).expect("its own spelling"), id);
        assert_ne!(
            TaskId::from_random([0; 16]),
            TaskId::from_random([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        );
        for bad in [
            "t_",
            "t_AAAAAAAAAAAAAAAAAAAAAAAAAA",
            "d_aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "t_aaaaaaaaaaaaaaaaaaaaaaaaab",
        ] {
            assert!(TaskId::parse(bad).is_err(), "{bad}");
        }
    }
}
