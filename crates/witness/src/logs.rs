//! The logs that a witness cosigns for: their verifier keys, one a line, in a file that people edit. A log has several
//! while its key is changed.

use std::io;
use std::path::{Path, PathBuf};

use accredit_ledger::note::{NoteError, VerifierKey};

/// Most keys of logs; the list is looked through for each request.
pub(crate) const LOGS_MAX: usize = 1_024;

/// Why the list of logs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The file cannot be read or written.
    #[error("the list of logs in `{path}` cannot be read or written: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line is no verifier key.
    #[error("`{path}`, line {line}: {error}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        error: NoteError,
    },
    /// There are more than are looked through.
    #[error("`{0}` has more than {LOGS_MAX} keys")]
    TooMany(PathBuf),
}

const HEADER: &str =
    "# Verifier keys of the logs that this witness cosigns for, one a line: `accredit audit key`.\n";

pub(crate) fn write(path: &Path, logs: &[VerifierKey]) -> Result<(), LogsError> {
    let lines: String = logs.iter().map(|key| format!("{key}\n")).collect();
    std::fs::write(path, format!("{HEADER}{lines}"))
        .map_err(|error| LogsError::Io { path: path.to_owned(), error })
}

pub(crate) fn read(path: &Path) -> Result<Vec<VerifierKey>, LogsError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| LogsError::Io { path: path.to_owned(), error })?;
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(line, text)| {
        VerifierKey::parse(text).map_err(|error| LogsError::Line { path: path.to_owned(), line, error })
    });
    let keys = keys.take(LOGS_MAX + 1).collect::<Result<Vec<_>, _>>()?;
    if keys.len() > LOGS_MAX { Err(LogsError::TooMany(path.to_owned())) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accredit_ledger::note::Signer;

    #[test]
    fn keys_are_read_with_comments_and_a_broken_line_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logs");
        let key = Signer::from_seed("log.example", &[1; 32]).expect("a signer").verifier().clone();
        write(&path, std::slice::from_ref(&key)).expect("written");
        assert_eq!(read(&path).expect("read"), vec![key.clone()]);
        std::fs::write(&path, format!("\n# one\n{key}\nlog.example+0+x\n")).expect("written");
        assert!(matches!(read(&path), Err(LogsError::Line { line: 4, .. })));
        std::fs::write(&path, format!("{key}\n").repeat(LOGS_MAX + 1)).expect("written");
        assert!(matches!(read(&path), Err(LogsError::TooMany(_))));
    }
}
