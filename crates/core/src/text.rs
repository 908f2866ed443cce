//! Bounded texts that people and agents write: purposes, workflow references, requesters, reasons.
//!
//! One rule for all of them: at most a stated number of bytes, printable, on one line, and free of
//! characters that change how their neighbours are shown (bidirectional overrides, zero-width
//! characters). A text that breaks the rule is refused with the reason, never repaired silently.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("the {what} is empty")]
    Empty {
        /// Which text.
        what: &'static str,
    },
    /// Longer than its bound.
    #[error("the {what} is {bytes} bytes long, the most is {max}")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Length found, in bytes.
        bytes: usize,
        /// Longest allowed, in bytes.
        max: usize,
    },
    /// Holds a character that could mislead its reader.
    #[error("the {what} holds U+{code:04X} ({kind}) at byte {at}; remove it")]
    Character {
        /// Which text.
        what: &'static str,
        /// The code point.
        code: u32,
        /// What sort of character it is.
        kind: &'static str,
        /// Where it stands, in bytes.
        at: usize,
    },
    /// Not of the form that this text has.
    #[error("the {what} is not of the form {form}")]
    Form {
        /// Which text.
        what: &'static str,
        /// The form expected.
        form: &'static str,
    },
}

/// The sort of a character that must not stand in a text that a person will read, if it is one.
#[must_use]
pub fn misleading(c: char) -> Option<&'static str> {
    match c {
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some("a bidirectional control")
        }
        '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{00ad}' | '\u{180e}' => {
            Some("an invisible character")
        }
        '\u{2028}' | '\u{2029}' => Some("a line separator"),
        '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => {
            Some("a special character")
        }
        c if c.is_control() => Some("a control character"),
        _ => None,
    }
}

fn check(what: &'static str, max: usize, text: &str) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty { what });
    }
    if text.len() > max {
        return Err(TextError::TooLong { what, bytes: text.len(), max });
    }
    for (at, c) in text.char_indices() {
        if let Some(kind) = misleading(c) {
            return Err(TextError::Character { what, code: u32::from(c), kind, at });
        }
    }
    Ok(())
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);
        impl $name {
            /// Longest text, in bytes.
            pub const BYTES_MAX: usize = $max;
            /// Parses and checks the text.
            ///
            /// # Errors
            /// [`TextError`] with the reason.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                check($what, $max, text)?;
                Self::check_form(text)?;
                Ok(Self(text.into()))
            }
            /// The text.
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
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::parse(text)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

texts! {
    /// What a task is for, in a person's words. A claim, never an instruction.
    Purpose = "purpose", 300;
    /// Where the work is tracked: a ticket, a run, a pull request, a branch.
    Workflow = "workflow reference", 200;
    /// The person who asked for a task, as stated by whoever started it.
    Requester = "requester", 200;
    /// Why something was ended, revoked or suspended.
    Reason = "reason", 300;
    /// A person (`ana@corp`) or a team (`team:payments`) answerable for something.
    Owner = "owner", 200;
}

impl Purpose {
    fn check_form(_: &str) -> Result<(), TextError> {
        Ok(())
    }
}
impl Workflow {
    fn check_form(_: &str) -> Result<(), TextError> {
        Ok(())
    }
}
impl Requester {
    fn check_form(_: &str) -> Result<(), TextError> {
        Ok(())
    }
}
impl Reason {
    fn check_form(_: &str) -> Result<(), TextError> {
        Ok(())
    }
}
impl Owner {
    fn check_form(text: &str) -> Result<(), TextError> {
        let plain = |s: &str| {
            !s.is_empty()
                && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._+-".contains(&b))
        };
        let fits = match (text.strip_prefix("team:"), text.split_once('@')) {
            (Some(team), _) => plain(team),
            (None, Some((name, at))) => plain(name) && plain(at),
            (None, None) => false,
        };
        if fits {
            Ok(())
        } else {
            Err(TextError::Form {
                what: "owner",
                form: "`person@organisation` or `team:name`, in lower case",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: AUD-09
    #[test]
    fn texts_that_mislead_their_reader_are_refused() {
        for bad in [
            "",
            "  ",
            "a\nb",
            "a\0b",
            "a\u{2028}b",
            "\u{1b}[31mred",
            "a\u{202e}b",
            "a\u{200b}b",
            &"x".repeat(301),
        ] {
            assert!(Purpose::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["fix checkout bug", "Rechnung prüfen", "請求書"] {
            assert_eq!(Purpose::parse(good).expect("a purpose").as_str(), good);
        }
    }

    #[test]
    fn owners_are_people_or_teams() {
        for bad in ["ana", "Ana@corp", "team:", "@corp", "ana@", "team:a b"] {
            assert!(Owner::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["ana@corp", "team:payments", "a.b+c@host-1"] {
            assert!(Owner::parse(good).is_ok(), "{good:?}");
        }
    }
}
