//! Why a command did not do what was asked, in the four parts that every error has: what happened, why, what to
//! do, and a stable code. Printing is `output`'s part.

use std::fmt;

use serde::Serialize;

use crate::exit::Exit;
use crate::output::safe;

/// A command that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    parts: Box<Parts>,
}

/// What a person reads, and what `-o json` carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Parts {
    what: String,
    why: String,
    #[serde(rename = "do")]
    todo: String,
    code: String,
}

impl Failure {
    /// A failure with its stable code and the reason; `what` is a whole thought in lower case.
    pub(crate) fn new(exit: Exit, code: &str, what: impl Into<String>, why: impl fmt::Display) -> Self {
        let parts =
            Parts { what: what.into(), why: why.to_string(), todo: String::new(), code: code.to_owned() };
        Self { exit, parts: Box::new(parts) }
    }

    /// The same failure with what to do about it, a command wherever there is one.
    pub(crate) fn todo(mut self, todo: impl Into<String>) -> Self {
        self.parts.todo = todo.into();
        self
    }

    /// The command line was not understood.
    pub(crate) fn usage(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "usage", what, why)
    }

    /// A file could not be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        let what = format!("`{}` could not be used", path.display());
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Error };
        Self::new(exit, "file", what, error)
    }

    /// Whoever read the output has gone (`| head`): the command ends early, and nobody needs to hear of it.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Exit::ReaderGone, "file", "nothing more was written", "nobody reads it any more")
    }

    /// The same failure under another exit code: `run` keeps 1 to 8 for its command.
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// How the process ends because of it.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> &str {
        &self.parts.code
    }

    /// The form that `-o json` prints: `{"error": {what, why, do, code, exit}}`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut error = serde_json::to_value(&self.parts).unwrap_or_default();
        error["exit"] = self.exit.code().into();
        serde_json::json!({ "error": error })
    }

    /// The lines that a person reads.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Parts { what, why, todo, code } = &*self.parts;
        let mut lines = vec![format!("error: {}", safe(what))];
        if !why.is_empty() {
            lines.push(format!("  why  {}", safe(why)));
        }
        if !todo.is_empty() {
            lines.push(format!("  do   {}", safe(todo)));
        }
        lines.push(format!("  code {code}"));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_same_four_parts_for_people_and_programs() {
        let failure =
            Failure::new(Exit::Denied, "boundary", "the task was not started", "`x` is not granted")
                .todo("accredit template ls");
        assert_eq!(
            failure.lines(),
            [
                "error: the task was not started",
                "  why  `x` is not granted",
                "  do   accredit template ls",
                "  code boundary"
            ]
        );
        let json = failure.to_json();
        assert_eq!(
            json,
            serde_json::json!({ "error": {
                "what": "the task was not started", "why": "`x` is not granted",
                "do": "accredit template ls", "code": "boundary", "exit": 4
            } })
        );
    }
}
