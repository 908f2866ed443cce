//! Every stable code that a person or an agent can meet has its row in the guide's page on errors, and every row there has
//! a code that is still made somewhere.
//!
//! Codes are found where they are made: in the list of refusals, and as the literal that a constructor of a fault, of an
//! answer or of a command's failure is given. A code that comes out of a variable is not found; those are few, and each of
//! them is a literal somewhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::tree::SourceFile;

/// The page that explains them.
const PAGE: &str = "docs/guide/errors.md";
/// Where codes are made.
const MAKERS: [&str; 4] =
    ["crates/authority/src/", "crates/gateway/src/", "crates/server/src/", "crates/accredit/src/"];
/// The list of refusals: `Name = "code", "Title", …;` on each line.
const REFUSALS: &str = "crates/core/src/refusal.rs";
/// Calls whose first literals hold a code.
const CALLS: [&str; 15] = [
    "Fault::new(",
    "Fault::invalid(",
    "Fault::conflict(",
    "Fault::unavailable(",
    "Failure::new(",
    "Self::new(",
    "Self::unavailable(",
    "refuse::plain(",
    "own(",
    "failed(",
    ".answer(",
    "Broken::Upstream(",
    "Broken::Agent(",
    "cut_off(",
    "\"code\": ",
];
/// Literals of one call that are looked at: a title may stand before the code.
const LITERALS: usize = 2;

/// Compares the codes of the sources with the rows of the page.
pub(super) fn check(sources: &[SourceFile]) -> Vec<Finding> {
    let made = made(sources);
    let Some(page) = sources.iter().find(|file| file.path == PAGE) else {
        return vec![Finding::new(PAGE, 0, "the page that explains every code is not there")];
    };
    let rows: BTreeMap<&str, usize> =
        page.lines().flat_map(|(n, line)| row(line).map(move |code| (code, n))).collect();
    let unexplained = made
        .iter()
        .filter(|(code, _)| !rows.contains_key(*code))
        .map(|(code, (path, line))| Finding::new(*path, *line, format!("`{code}` has no row in {PAGE}")));
    let stale = rows
        .iter()
        .filter(|(code, _)| !made.contains_key(*code))
        .map(|(code, line)| Finding::new(PAGE, *line, format!("`{code}` is made nowhere any more")));
    unexplained.chain(stale).collect()
}

/// Every code with the first place that makes it.
fn made(sources: &[SourceFile]) -> BTreeMap<&str, (&str, usize)> {
    let mut made = BTreeMap::new();
    for file in sources {
        let text = before_tests(&file.text);
        let found: BTreeSet<(usize, &str)> = if file.path == REFUSALS {
            listed(text).collect()
        } else if MAKERS.iter().any(|folder| file.path.starts_with(folder)) {
            called(text).chain(causes(text)).collect()
        } else {
            continue;
        };
        for (at, code) in found {
            let line = text[..at].matches('\n').count() + 1;
            made.entry(code).or_insert((file.path.as_str(), line));
        }
    }
    made
}

/// What stands before the tests, which make codes of their own.
fn before_tests(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod tests").map_or(text, |(before, _)| before)
}

/// `Name = "code", "Title", true;`
fn listed(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices(" = \"").filter_map(move |(at, _)| {
        let (word, rest) = text[at + 4..].split_once('"')?;
        (rest.starts_with(", \"") && is_code(word)).then_some((at, word))
    })
}

/// The code that each of the known calls is given.
fn called(text: &str) -> impl Iterator<Item = (usize, &str)> {
    CALLS.iter().flat_map(move |call| text.match_indices(call)).filter_map(move |(at, call)| {
        let before = &text[..at];
        let other = before.ends_with(|c: char| c.is_alphanumeric() || c == '_') || before.ends_with("fn ");
        let rest = &text[at + call.len()..];
        let arguments =
            &rest[..rest.find(';').unwrap_or(rest.len()).min(rest.find("\n}").unwrap_or(rest.len()))];
        let code = literals(arguments).take(LITERALS).find(|word| is_code(word))?;
        (!other || call.starts_with('.')).then_some((at, code))
    })
}

/// `Self::Variant => "code",` in a function called `cause`, and what a settlement that was not sent is given.
fn causes(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = text.find("fn cause(").unwrap_or(text.len());
    let end = text[start..].find("\n    }\n").map_or(text.len(), |length| start + length);
    let arms = text[start..end].match_indices("=> \"").map(move |(at, found)| start + at + found.len());
    let settled = text.match_indices("NotSent, Some(\"").map(|(at, found)| at + found.len());
    let word = |at: usize| Some((at, text[at..].split('"').next()?));
    arms.chain(settled).filter_map(word).filter(|(_, word)| is_code(word))
}

/// The string literals of a piece of source, without their quotes.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// `outside_boundary`, `sealed`: lower-case words joined by `_`.
fn is_code(word: &str) -> bool {
    let part = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_lowercase())
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    !word.is_empty() && word.split('_').all(part)
}

/// The codes in the first cell of a row of a table.
fn row(line: &str) -> impl Iterator<Item = &str> {
    let cell = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next()).unwrap_or_default();
    let cell = if cell.starts_with('`') { cell } else { "" };
    cell.split('`').skip(1).step_by(2).filter(|word| is_code(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_codes(path: &str, source: &str, page: &str, expected: &[&str]) {
        let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let found = check(&[file(path, source), file(PAGE, page)]);
        let messages: Vec<_> = found.iter().map(|f| f.message.as_str()).collect();
        assert_eq!(messages, expected, "{path}: {source}");
    }

    #[test]
    fn a_code_without_a_row_and_a_row_without_a_code_are_found() {
        let page = "| code | means |\n| --- | --- |\n| `sealed` | no key |\n";
        let missing = "`task_ended` has no row in docs/guide/errors.md";
        let stale = "`sealed` is made nowhere any more";
        let cases: [(&str, &str, &[&str]); 9] = [
            (REFUSALS, "    Sealed = \"sealed\", \"The vault is sealed\", true;", &[]),
            (REFUSALS, "    TaskEnded = \"task_ended\", \"The task is over\", true;", &[missing, stale]),
            ("crates/authority/src/a.rs", "Fault::unavailable(\"sealed\", \"no key\")", &[]),
            ("crates/gateway/src/a.rs", "Fault::new(\n    FaultKind::Denied,\n    \"sealed\",\n    x)", &[]),
            ("crates/gateway/src/a.rs", "own(status, \"A title\", \"sealed\", x);", &[]),
            (
                "crates/gateway/src/a.rs",
                "pub const fn cause(&self) {\n match self { Self::A => \"sealed\" }\n    }\n",
                &[],
            ),
            ("crates/gateway/src/a.rs", "seen(Settlement::NotSent, Some(\"sealed\"), x)", &[]),
            ("crates/store/src/a.rs", "Fault::unavailable(\"sealed\", \"no key\")", &[stale]),
            (
                "crates/server/src/a.rs",
                "f();\n#[cfg(test)]\nmod tests {\n Failure::new(s, \"sealed\", d) }",
                &[stale],
            ),
        ];
        for (path, source, expected) in cases {
            check_codes(path, source, page, expected);
        }
    }
}
