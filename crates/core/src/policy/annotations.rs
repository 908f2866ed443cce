//! What a policy's annotations say: its id, a note for people, and the terms of an approval.
//!
//! Checked when the set is loaded, so that a mistyped `@quorum` is an error and never a default.

use crate::approval::{Per, Terms, VALID_FOR_S_DEFAULT};
use crate::text::{Owner, misleading};

/// Most approvers that one policy names: a person must be able to read them.
pub const APPROVERS_MAX: usize = 16;
/// Most people that one policy can require to agree.
pub const QUORUM_MAX: u32 = 10;
/// Longest time that a request may stand, in seconds: a week, because nobody remembers older ones.
pub const VALID_FOR_S_MAX: u64 = 7 * 24 * 3_600;
/// Longest text about how something could be undone, in bytes: one sentence.
pub const UNDO_BYTES_MAX: usize = 200;
/// Longest id of a policy, in bytes: it stands in every decision.
pub const ID_BYTES_MAX: usize = 128;

/// What one policy says about the approval that it needs. All empty: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stated {
    approvers: Vec<String>,
    quorum: Option<u32>,
    valid_for_s: Option<u64>,
    per: Option<Per>,
    passkey: bool,
    not_owner: bool,
    undo: Option<String>,
}

/// What is wrong with an annotation, and what to write instead.
pub(crate) type Wrong = (String, String);

/// The annotations of one policy, read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) id: Option<String>,
    pub(crate) stated: Stated,
    pub(crate) wrong: Vec<Wrong>,
}

/// Reads the annotations of one policy.
pub(crate) fn read<'a>(annotations: impl Iterator<Item = (&'a str, &'a str)>) -> Read {
    let mut read = Read::default();
    for (key, value) in annotations {
        let taken = match key {
            "id" => id(value).map(|v| read.id = Some(v)),
            "approvers" => approvers(value).map(|v| read.stated.approvers = v),
            "quorum" => quorum(value).map(|v| read.stated.quorum = Some(v)),
            "valid_for" => valid_for(value).map(|v| read.stated.valid_for_s = Some(v)),
            "per" => per(value).map(|v| read.stated.per = Some(v)),
            "step_up" => step_up(value).map(|()| read.stated.passkey = true),
            "not" => not(value).map(|()| read.stated.not_owner = true),
            "undo" => undo(value).map(|v| read.stated.undo = Some(v)),
            "note" | "description" => Ok(()),
            _ => Err(
                "known annotations: @id, @note, @description, @approvers, @quorum, @valid_for, @per, @step_up, @not, @undo",
            ),
        };
        if let Err(help) = taken {
            let known = !help.starts_with("known");
            let message = if known {
                format!("`@{key}(\"{value}\")` is not valid")
            } else {
                format!("unknown annotation `@{key}`")
            };
            read.wrong.push((message, help.to_owned()));
        }
    }
    read
}

impl Stated {
    /// Whether the policy says anything about approval.
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The terms that satisfy every one of these policies where a single list can say so: the
    /// highest quorum, the shortest time, the narrowest reach. Approvers are joined.
    pub(crate) fn together<'a>(stated: impl Iterator<Item = &'a Self>) -> Terms {
        let stated: Vec<_> = stated.filter(|s| s.any()).collect();
        let mut approvers: Vec<_> = stated.iter().flat_map(|s| s.approvers.iter().cloned()).collect();
        approvers.sort();
        approvers.dedup();
        let whole_task = !stated.is_empty() && stated.iter().all(|s| s.per == Some(Per::Task));
        Terms {
            approvers,
            quorum: stated.iter().filter_map(|s| s.quorum).max().unwrap_or(1),
            valid_for_s: stated.iter().filter_map(|s| s.valid_for_s).min().unwrap_or(VALID_FOR_S_DEFAULT),
            per: if whole_task { Per::Task } else { Per::Action },
            passkey: stated.iter().any(|s| s.passkey),
            not_owner: stated.iter().any(|s| s.not_owner),
            undo: stated.iter().find_map(|s| s.undo.clone()),
        }
    }
}

fn id(value: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/#-".contains(&b);
    let fits = (1..=ID_BYTES_MAX).contains(&value.len())
        && value.bytes().all(plain)
        && value.as_bytes()[0].is_ascii_alphanumeric();
    let help =
        "an id is 1 to 128 letters, digits, `.`, `_`, `/`, `#` and `-`, and starts with a letter or digit";
    if fits { Ok(value.to_owned()) } else { Err(help) }
}

fn approvers(value: &str) -> Result<Vec<String>, &'static str> {
    let help = "name 1 to 16 of `role:NAME`, `team:NAME` or `person@organisation`, separated by commas";
    let names: Vec<_> = value.split(',').map(|n| n.trim().to_owned()).collect();
    let role = |n: &str| n.strip_prefix("role:").is_some_and(|r| Owner::parse(&format!("team:{r}")).is_ok());
    let fits = names.len() <= APPROVERS_MAX && names.iter().all(|n| role(n) || Owner::parse(n).is_ok());
    if fits { Ok(names) } else { Err(help) }
}

fn quorum(value: &str) -> Result<u32, &'static str> {
    let number = value.parse::<u32>().ok().filter(|n| n.to_string() == value);
    number
        .filter(|n| (1..=QUORUM_MAX).contains(n))
        .ok_or("a quorum is a whole number from 1 to 10, such as `@quorum(\"2\")`")
}

fn valid_for(value: &str) -> Result<u64, &'static str> {
    let help =
        "write a whole number of s, m, h or d, at least 1s and at most 7d, such as `@valid_for(\"10m\")`";
    let factor = match value.bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 24 * 3_600,
        _ => return Err(help),
    };
    let digits = &value[..value.len() - 1];
    let number = digits.parse::<u64>().ok().filter(|n| n.to_string() == digits);
    let seconds = number.and_then(|n| n.checked_mul(factor));
    seconds.filter(|s| (1..=VALID_FOR_S_MAX).contains(s)).ok_or(help)
}

fn per(value: &str) -> Result<Per, &'static str> {
    match value {
        "action" => Ok(Per::Action),
        "task" => Ok(Per::Task),
        _ => Err("write `@per(\"action\")` or `@per(\"task\")`"),
    }
}

fn step_up(value: &str) -> Result<(), &'static str> {
    if value == "passkey" { Ok(()) } else { Err("write `@step_up(\"passkey\")`") }
}

fn not(value: &str) -> Result<(), &'static str> {
    let help = "write `@not(\"owner\")`; whoever asked for the task can never answer";
    if value == "owner" { Ok(()) } else { Err(help) }
}

fn undo(value: &str) -> Result<String, &'static str> {
    let fits = (1..=UNDO_BYTES_MAX).contains(&value.len()) && !value.chars().any(|c| misleading(c).is_some());
    if fits {
        Ok(value.to_owned())
    } else {
        Err("say in at most 200 bytes of plain text how it can be undone")
    }
}

/// The text with every character that could mislead its reader replaced.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if misleading(c).is_some() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &str) -> bool {
        read([(key, value)].into_iter()).wrong.is_empty()
    }

    // case: APR-11
    #[test]
    fn a_quorum_is_a_whole_number_from_one() {
        for bad in ["", "0", "-1", "true", "null", "1.0", "+2", "02", " 2", "11", "two", "4294967297"] {
            assert!(!check("quorum", bad), "{bad:?}");
        }
        for good in ["1", "2", "10"] {
            assert!(check("quorum", good), "{good:?}");
        }
    }

    #[test]
    fn other_annotations_are_checked_too() {
        let bad = [
            ("approvers", ""),
            ("approvers", "payments"),
            ("approvers", "role:"),
            ("approvers", "role:a,"),
            ("valid_for", "10"),
            ("valid_for", "0m"),
            ("valid_for", "8d"),
            ("valid_for", "-1m"),
            ("valid_for", "99999999999999999999d"),
            ("valid_for", "5µ"),
            ("per", "tasks"),
            ("id", ""),
            ("id", "a b"),
            ("id", "#1"),
            ("qourum", "2"),
        ];
        for (key, value) in bad {
            assert!(!check(key, value), "@{key}({value:?})");
        }
        for (key, value) in [
            ("approvers", "role:payments, ana@corp,team:x"),
            ("valid_for", "10m"),
            ("per", "task"),
            ("id", "prod#3"),
            ("note", "ü"),
        ] {
            assert!(check(key, value), "@{key}({value:?})");
        }
    }

    #[test]
    fn the_strictest_terms_hold_for_several_policies() {
        let of = |pairs: &[(&'static str, &'static str)]| read(pairs.iter().copied()).stated;
        let payments =
            of(&[("approvers", "role:payments"), ("quorum", "2"), ("valid_for", "1h"), ("per", "task")]);
        let security = of(&[("approvers", "role:security"), ("valid_for", "10m")]);
        let silent = of(&[("note", "x")]);
        let terms = Stated::together([&payments, &security, &silent].into_iter());
        assert_eq!(terms.approvers, ["role:payments", "role:security"]);
        assert_eq!((terms.quorum, terms.valid_for_s, terms.per), (2, 600, Per::Action));
        assert_eq!(Stated::together([&payments, &silent].into_iter()).per, Per::Task);
        assert_eq!(Stated::together([&silent].into_iter()).valid_for_s, VALID_FOR_S_DEFAULT);
    }
}
