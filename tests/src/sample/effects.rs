//! The effect log: what the sample service did, as JSON lines. It is what such a service can know: with one key for
//! everybody, nothing in it tells one caller from another.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The service acted on a request.
    Acted,
    /// The key was absent or wrong: nothing was done.
    Refused,
    /// The last byte of a response was handed to the connection, or the connection ended before.
    Ended,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Nanoseconds since 1970, by the wall clock of the machine.
    pub ns: u64,
    /// What happened.
    pub event: Event,
    /// Number of the connection, from 1.
    pub connection: u64,
    /// Address that the connection came from, without port.
    pub peer: String,
    /// Which key was presented: there is only one.
    pub key: Option<String>,
    /// Method of the request.
    pub method: String,
    /// Path of the request, without query.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// `traceparent` of the request.
    pub traceparent: Option<String>,
    /// SHA-256 of the head as received, in hexadecimal: method, target, then `name: value` of each field in order,
    /// a line feed after each; the field that carries the key has an empty value, and `traceparent` is left out.
    pub head_sha256: String,
    /// Bytes of the response body that left, when the line tells of its end.
    pub bytes: Option<u64>,
}

/// The log, open for appending.
pub struct EffectLog {
    path: PathBuf,
    file: Mutex<File>,
}

impl EffectLog {
    /// Opens the log at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, in one write.
    pub(crate) fn append(&self, effect: &Effect) {
        let mut line = serde_json::to_vec(effect).expect("texts and numbers can be written as JSON");
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).expect("a test needs its effect log: is the disk full?");
    }
}

/// Reads a log.
///
/// # Errors
/// When it cannot be read, or holds a line that is not an effect.
pub fn read(path: &Path) -> io::Result<Vec<Effect>> {
    let text = std::fs::read_to_string(path)?;
    // The last line may be half written: it belongs to what has not happened yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
}

/// Nanoseconds since 1970.
///
/// # Panics
/// When the clock stands before 1970 or after 2500.
#[must_use]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    u64::try_from(since.as_nanos()).expect("the clock stands before 2500")
}
