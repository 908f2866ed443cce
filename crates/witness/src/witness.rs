//! A witness: its key, the logs it cosigns for, what it cosigned last. A request's text in, an answer out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use accredit_ledger::note::{Cosigner, CosignerKey, KEY_BYTES, VerifierKey};
use accredit_ledger::witness::{AddCheckpoint, Refusal};
use rustix::fs::{FlockOperation, flock};

use crate::book::{AdvanceError, Book, BookError};
use crate::key::{self, KeyFileError};
use crate::logs::{self, LogsError};

const KEY: &str = "key";
const LOGS: &str = "logs";
const LOCK: &str = "lock";
const SEEN: &str = "seen";

/// A witness over its directory. One at a time: a second one would not see what the first keeps.
pub struct Witness {
    cosigner: Cosigner,
    book: Book,
    _lock: File,
}

/// What a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The line of its cosignature.
    Cosigned(String),
    /// It does not cosign.
    Refused(Refusal),
    /// It could not keep the checkpoint, so it did not cosign.
    Failed,
}

/// Why a witness does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used.
    #[error("`{path}` cannot be used: {error}")]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another witness runs on the directory.
    #[error("another witness runs on `{0}`")]
    Running(PathBuf),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The list of logs.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// What was cosigned last.
    #[error(transparent)]
    Book(#[from] BookError),
}

impl Witness {
    /// Makes the key and the list of logs in a directory that is there and empty of them.
    ///
    /// # Errors
    /// [`OpenError`]; a key that is there is never replaced.
    pub fn init(
        dir: &Path,
        name: &str,
        seed: &[u8; KEY_BYTES],
        logs: &[VerifierKey],
    ) -> Result<CosignerKey, OpenError> {
        let cosigner = key::create(&dir.join(KEY), name, seed)?;
        logs::write(&dir.join(LOGS), logs)?;
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| OpenError::Directory { path: dir.to_owned(), error })?;
        Ok(cosigner.verifier().clone())
    }

    /// The public key of the witness in a directory.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn key_in(dir: &Path) -> Result<CosignerKey, KeyFileError> {
        Ok(key::read(&dir.join(KEY))?.verifier().clone())
    }

    /// Opens the witness in a directory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| OpenError::Directory { path, error })?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| OpenError::Running(dir.to_owned()))?;
        let book = Book::open(dir.join(SEEN), logs::read(&dir.join(LOGS))?)?;
        Ok(Self { cosigner: key::read(&dir.join(KEY))?, book, _lock: lock })
    }

    /// Its public key.
    #[must_use]
    pub const fn key(&self) -> &CosignerKey {
        self.cosigner.verifier()
    }

    /// Names of the logs that it cosigns for.
    pub fn logs(&self) -> impl Iterator<Item = &str> {
        self.book.logs().iter().map(VerifierKey::name)
    }

    /// Answers a request, at the time that `now_s` says when the checkpoint has been kept. Blocks on the disk.
    #[must_use]
    pub fn answer(&self, request: &str, now_s: impl FnOnce() -> u64) -> Reply {
        match self.cosign(request, now_s) {
            Ok(line) => Reply::Cosigned(line),
            Err(AdvanceError::Refused(refusal)) => {
                report(request, &refusal);
                Reply::Refused(refusal)
            }
            Err(AdvanceError::Book(error)) => {
                tracing::error!(%error, "a checkpoint could not be kept, so it was not cosigned");
                Reply::Failed
            }
        }
    }

    fn cosign(&self, request: &str, now_s: impl FnOnce() -> u64) -> Result<String, AdvanceError> {
        let request = AddCheckpoint::parse(request)?;
        let kept = self.book.advance(request.identify(self.book.logs())?)?;
        let cosignature = self.cosigner.cosign(kept.checkpoint(), now_s()).map_err(|_| Refusal::Malformed)?;
        Ok(cosignature.line().to_owned())
    }
}

/// A log that was split is what a witness is there for: what shows it goes into the log whole. The signature was checked.
fn report(request: &str, refusal: &Refusal) {
    match refusal {
        Refusal::Forked { .. } | Refusal::NotAPrefix => {
            tracing::warn!(%refusal, request, "a log showed two histories, or a wrong proof");
        }
        Refusal::Malformed | Refusal::UnknownLog | Refusal::Unsigned | Refusal::Conflict { .. } => {
            tracing::debug!(%refusal, "not cosigned");
        }
    }
}
