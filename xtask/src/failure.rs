//! Why a chore could not run at all. What a chore *finds* is a `Finding`, not a failure.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The chore itself could not be carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line was not understood; the text says what is.
    Usage(String),
    /// A file of the tree could not be read or written.
    File { path: PathBuf, source: io::Error },
    /// A program could not be started or ended badly.
    Command { what: String, why: String },
    /// A checked-in list has a line that cannot be read.
    List { path: PathBuf, line: usize, why: String },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Command { what, why } => write!(f, "`{what}`: {why}"),
            Self::List { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
        }
    }
}

impl std::error::Error for Failure {}
