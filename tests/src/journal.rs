//! What clients were told, written down outside the system under test before it counts.
//!
//! One JSON object a line, each on the disk before [`Journal::note`] returns, so that a line here is a promise
//! that was made. The upstream's effect log has the same form. Neither knows what the lines should be: that is
//! the oracle's.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The wall clock in microseconds since 1970: what every log of one run is stamped with.
#[must_use]
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// One answer that a client has received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    /// When it was received, in microseconds since 1970.
    pub at_us: i64,
    /// What it said.
    pub what: What,
}

/// What an answer said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The upstream's own answer came back through the gateway.
    Used {
        /// Trace id that the client had sent, 32 hexadecimal digits.
        trace: String,
        /// Status of the answer.
        status: u16,
    },
    /// Accredit said no before anything was to be sent. Not for exchanges that broke on the way.
    Refused {
        /// Trace id that the client had sent.
        trace: String,
        /// Code of the refusal.
        code: String,
        /// The decision that it named, if it was recorded.
        decision: Option<String>,
    },
    /// The control plane said that a change was made.
    Changed {
        /// Kind of the entry that must be there, such as `task.started`.
        kind: String,
        /// What the entry is about: its first field.
        subject: String,
    },
}

/// A file of promises.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens the file, made anew if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Writes a promise down; it is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written: then it does not count.
    pub fn note(&self, what: What) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Acknowledged { at_us: now_us(), what })?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)?;
        file.sync_data()
    }

    /// Everything noted so far.
    ///
    /// # Errors
    /// When the file cannot be read or a line is not one of ours.
    pub fn read(&self) -> io::Result<Vec<Acknowledged>> {
        read_lines(&self.path)
    }
}

/// Reads a file of JSON lines. A last line without its end was never finished and does not count.
///
/// # Errors
/// When the file cannot be read or a finished line is of another form; the error names the line.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let text = std::fs::read_to_string(path)?;
    let finished = text.rfind('\n').map_or("", |end| &text[..end]);
    let wrong = |(at, error): (usize, serde_json::Error)| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}:{}: {error}", path.display(), at + 1))
    };
    let lines = finished.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(at, line)| serde_json::from_str(line).map_err(|e| wrong((at, e)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_read_back_and_an_unfinished_line_does_not_count() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let journal = Journal::open(&path).expect("a file");
        let used = What::Used { trace: "a".repeat(32), status: 200 };
        let changed = What::Changed { kind: "task.started".to_owned(), subject: "t_1".to_owned() };
        for what in [&used, &changed] {
            journal.note(what.clone()).expect("written");
        }
        let mut file = OpenOptions::new().append(true).open(&path).expect("the file");
        file.write_all(b"{\"at_us\":1,\"wha").expect("written");
        let read: Vec<_> = journal.read().expect("lines").into_iter().map(|a| a.what).collect();
        assert_eq!(read, [used, changed]);
        file.write_all(b"t\n").expect("written");
        let error = journal.read().expect_err("a broken line").to_string();
        assert!(error.contains("journal:3: "), "{error}");
    }
}
