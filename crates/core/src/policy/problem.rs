//! What is wrong with a policy: where, what, and what to do about it.

use std::fmt;

use miette::Diagnostic;
use serde::Serialize;

use crate::policy::annotations::harmless;

/// Longest message kept, in bytes: it may repeat text of the policy.
const MESSAGE_BYTES_MAX: usize = 600;

/// One problem in one place. `Display` gives `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PolicyProblem {
    /// Name of the source.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl PolicyProblem {
    /// A problem at the byte `at` of a source.
    pub(crate) fn at(file: &str, text: &str, at: usize, message: &str, help: Option<String>) -> Self {
        let (line, column) = place(text, at);
        Self {
            file: file.to_owned(),
            line,
            column,
            message: bounded(message),
            help: help.map(|h| bounded(&h)),
        }
    }

    /// A problem that Cedar found, at its first label or else at the byte `or_at`.
    pub(crate) fn found(file: &str, text: &str, or_at: usize, problem: &dyn Diagnostic) -> Self {
        let labelled = problem.labels().and_then(|mut labels| labels.next()).map(|l| l.offset());
        let help = problem.help().map(|h| h.to_string());
        Self::at(file, text, labelled.unwrap_or(or_at), &problem.to_string(), help)
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// The text on one line, bounded, without characters that mislead.
pub(crate) fn bounded(text: &str) -> String {
    let mut text = harmless(&text.replace('\n', " "));
    if text.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn place(text: &str, at: usize) -> (u32, u32) {
    let at = (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(column))
}
