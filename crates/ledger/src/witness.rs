//! What a witness does (C2SP tlog-witness v1.0): the request to add a checkpoint, and whether it follows what the
//! witness has cosigned before. Pure: the state is an argument, keeping it is the caller's.
//!
//! Not here: the cosignature itself (`cosignature`), HTTP, and files.

use crate::audit_path::verify_consistency;
use crate::checkpoint::{self, Checkpoint, CheckpointError, VerifiedCheckpoint};
use crate::hash::Hash;
use crate::note::{NOTE_BYTES_MAX, NoteError, VerifierKey};
use crate::tile::decimal;

/// Most lines of a consistency proof (tlog-witness, "add-checkpoint").
pub const PROOF_LINES_MAX: usize = 63;
/// A line of a proof: 44 characters and a newline.
const PROOF_LINE_BYTES: usize = 45;
/// Longest request in bytes: the old size, the proof, a note.
pub const REQUEST_BYTES_MAX: usize = 64 + PROOF_LINES_MAX * PROOF_LINE_BYTES + NOTE_BYTES_MAX;

/// A request to cosign a checkpoint that follows one of `old` entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    old: u64,
    proof: Vec<Hash>,
    checkpoint: String,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is not of the form, or its old size is above the checkpoint's.
    #[error("the request is not an old size, a proof and a checkpoint")]
    Malformed,
    /// The witness has no key of this log.
    #[error("the log is not one that this witness cosigns for")]
    UnknownLog,
    /// No signature of a key that the witness has for the log fits.
    #[error("the checkpoint is not signed by a key of its log")]
    Unsigned,
    /// The old size is not that of the checkpoint cosigned last.
    #[error("the checkpoint cosigned last has {size} entries")]
    Conflict {
        /// Entries of the one cosigned last, 0 when there is none.
        size: u64,
    },
    /// The checkpoint has the size of the one cosigned last and another root: the log was split.
    #[error("the checkpoint cosigned last has {size} entries and another root")]
    Forked {
        /// Entries of both.
        size: u64,
    },
    /// The proof does not lead from the checkpoint cosigned last to this one.
    #[error("the checkpoint cosigned last is not shown to be a prefix of this one")]
    NotAPrefix,
}

/// The size that a conflict names: decimal, no sign, no leading zero.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    decimal(text)
}

impl Refusal {
    /// The HTTP status that says so (tlog-witness, "add-checkpoint").
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unsigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict { .. } | Self::Forked { .. } => 409,
            Self::NotAPrefix => 422,
        }
    }
}

/// A checkpoint of a known log, signed by it, of a well-formed request. [`AddCheckpoint::identify`] alone makes one.
#[derive(Debug)]
pub struct Submitted<'r> {
    request: &'r AddCheckpoint,
    checkpoint: VerifiedCheckpoint,
}

/// A checkpoint that follows the one cosigned last: to be kept, then cosigned. [`Submitted::follow`] alone makes one.
///
/// ```compile_fail,E0451
/// fn unchecked(checkpoint: accredit_ledger::checkpoint::VerifiedCheckpoint) {
///     let _ = accredit_ledger::witness::Follows { checkpoint, signed: String::new() };
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    checkpoint: VerifiedCheckpoint,
    signed: String,
}

impl AddCheckpoint {
    /// The request to cosign this signed checkpoint.
    #[must_use]
    pub const fn new(old: u64, proof: Vec<Hash>, checkpoint: String) -> Self {
        Self { old, proof, checkpoint }
    }

    /// Reads a request; one request has one text.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > REQUEST_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(Refusal::Malformed)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(Refusal::Malformed)?;
        // One more than allowed is enough to know that there are too many.
        let proof: Option<Vec<Hash>> = lines.take(PROOF_LINES_MAX + 1).map(Hash::from_base64).collect();
        let proof = proof.filter(|proof| proof.len() <= PROOF_LINES_MAX).ok_or(Refusal::Malformed)?;
        if checkpoint.len() > NOTE_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The text of the request.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text + "\n" + &self.checkpoint
    }

    /// Finds out whose checkpoint it is, with the keys of every log that the witness cosigns for.
    ///
    /// # Errors
    /// [`Refusal::UnknownLog`] before anything else is looked at but the form, [`Refusal::Unsigned`],
    /// [`Refusal::Malformed`].
    pub fn identify(&self, logs: &[VerifierKey]) -> Result<Submitted<'_>, Refusal> {
        let (origin, _) = self.checkpoint.split_once('\n').ok_or(Refusal::Malformed)?;
        let keys: Vec<VerifierKey> = logs.iter().filter(|key| key.name() == origin).cloned().collect();
        if keys.is_empty() {
            return Err(Refusal::UnknownLog);
        }
        let checkpoint = checkpoint::open(&self.checkpoint, &keys).map_err(|error| match error {
            CheckpointError::Note(NoteError::Unsigned | NoteError::BadSignature) => Refusal::Unsigned,
            CheckpointError::Note(_) | CheckpointError::Malformed | CheckpointError::Origin { .. } => {
                Refusal::Malformed
            }
        })?;
        if self.old > checkpoint.size() {
            return Err(Refusal::Malformed);
        }
        Ok(Submitted { request: self, checkpoint })
    }
}

impl Submitted<'_> {
    /// The checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// Whether the checkpoint follows the one cosigned last, if there was one. Whoever calls lets nobody else change that
    /// until the answer is kept.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], [`Refusal::Forked`] or [`Refusal::NotAPrefix`].
    pub fn follow(self, last: Option<&Checkpoint>) -> Result<Follows, Refusal> {
        let size = last.map_or(0, Checkpoint::size);
        if self.request.old != size {
            return Err(Refusal::Conflict { size });
        }
        match last {
            Some(last) if last.size() == self.checkpoint.size() && last.root() != self.checkpoint.root() => {
                return Err(Refusal::Forked { size });
            }
            Some(last) => self.check_proof(size, last.root())?,
            None if self.request.proof.is_empty() => {}
            None => return Err(Refusal::NotAPrefix),
        }
        Ok(Follows { checkpoint: self.checkpoint, signed: self.request.checkpoint.clone() })
    }

    fn check_proof(&self, size: u64, root: &Hash) -> Result<(), Refusal> {
        let (new, proof) = (&self.checkpoint, &self.request.proof);
        verify_consistency(size, new.size(), proof, root, new.root()).map_err(|_| Refusal::NotAPrefix)
    }
}

impl Follows {
    /// The checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// The signed checkpoint as it was submitted.
    #[must_use]
    pub fn signed(&self) -> &str {
        &self.signed
    }

    /// The checkpoint alone.
    #[must_use]
    pub fn into_checkpoint(self) -> VerifiedCheckpoint {
        self.checkpoint
    }
}
