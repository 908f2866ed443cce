//! What was cosigned last of each log: one file each, the signed checkpoint itself, replaced as a whole.
//!
//! Comparing with the last one and replacing it happen under one lock, and the file is durable before anything is
//! cosigned: of two requests that race, the second sees what the first has kept, so no size is ever taken back.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use accredit_ledger::checkpoint::{self, CheckpointError, VerifiedCheckpoint};
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::note::{NOTE_BYTES_MAX, VerifierKey};
use accredit_ledger::witness::{Refusal, Submitted};

/// Why what was cosigned last cannot be told or kept.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// A file cannot be read or written.
    #[error("`{path}` cannot be read or written: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold a checkpoint of its log. It is never taken for the absence of one.
    #[error("`{path}` does not hold the checkpoint cosigned last of `{origin}`: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The log.
        origin: String,
        /// Why not.
        reason: CheckpointError,
    },
}

/// Why a checkpoint was not taken into the book.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdvanceError {
    /// It does not follow the one cosigned last.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be kept.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// A checkpoint that follows the one before and is durable. [`Book::advance`] alone makes one, and only such a one is
/// cosigned.
pub(crate) struct Kept {
    checkpoint: VerifiedCheckpoint,
}

impl Kept {
    pub(crate) const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}

/// The checkpoints cosigned last.
pub(crate) struct Book {
    dir: PathBuf,
    logs: Vec<VerifierKey>,
    /// One for all logs: a witness is asked some times a second, and the disk flushes one file at a time anyway.
    turn: Mutex<()>,
}

impl Book {
    /// Opens the book in a directory, with the keys of every log. What is in it must be readable.
    pub(crate) fn open(dir: PathBuf, logs: Vec<VerifierKey>) -> Result<Self, BookError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| BookError::Io { path: dir.clone(), error })?;
        let book = Self { dir, logs, turn: Mutex::new(()) };
        book.logs.iter().try_for_each(|key| book.last(key.name()).map(drop))?;
        Ok(book)
    }

    pub(crate) fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// Keeps a submitted checkpoint if it follows the one cosigned last. Durable when this returns.
    pub(crate) fn advance(&self, submitted: Submitted<'_>) -> Result<Kept, AdvanceError> {
        // Whoever panicked while holding the lock has left a whole file or the one before.
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.last(submitted.checkpoint().origin())?;
        let follows = submitted.follow(last.as_deref())?;
        // Written even when nothing changes: an earlier write may have failed after the file was in place.
        self.keep(follows.checkpoint().origin(), follows.signed())?;
        drop(turn);
        Ok(Kept { checkpoint: follows.into_checkpoint() })
    }

    /// The checkpoint cosigned last of a log, checked with the keys of that log.
    fn last(&self, origin: &str) -> Result<Option<VerifiedCheckpoint>, BookError> {
        let path = self.path(origin);
        let io = |error| BookError::Io { path: path.clone(), error };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut signed = String::new();
        file.take(NOTE_BYTES_MAX as u64 + 1).read_to_string(&mut signed).map_err(io)?;
        let keys: Vec<_> = self.logs.iter().filter(|key| key.name() == origin).cloned().collect();
        checkpoint::open(&signed, &keys).map(Some).map_err(|reason| BookError::Malformed {
            path,
            origin: origin.to_owned(),
            reason,
        })
    }

    fn keep(&self, origin: &str, signed: &str) -> Result<(), BookError> {
        let path = self.path(origin);
        let new = path.with_extension("new");
        let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let kept = opened
            .and_then(|mut file| {
                file.write_all(signed.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        kept.map_err(|error| BookError::Io { path, error })
    }

    /// A name for each log that no origin can turn into a path.
    fn path(&self, origin: &str) -> PathBuf {
        self.dir.join(Path::new(&leaf_hash(origin.as_bytes()).to_string()))
    }
}
