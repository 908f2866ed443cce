//! One entry's evidence in one file (C2SP tlog-proof): the entry, its place, its audit path and the signed head.
//!
//! Anyone with the log's verifier key can check it, offline and without us. The entry travels as the format's `extra`
//! line, which is not trusted by itself: it counts only once its own hash leads to the signed root, so a proof of another entry proves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::audit_path::{ProofError, verify_inclusion};
use crate::checkpoint::{self, CheckpointError, VerifiedCheckpoint};
use crate::entry::{Entry, EntryError};
use crate::hash::{Hash, leaf_hash};
use crate::note::{NOTE_BYTES_MAX, VerifierKey};
use crate::tile::{ENTRY_BYTES_MAX, decimal};

/// Longest audit path: a tree has at most 2^53 − 1 entries.
pub const PATH_HASHES_MAX: usize = 53;
/// Longest evidence in bytes: an entry in Base64, a path, a note.
pub const EVIDENCE_BYTES_MAX: usize = ENTRY_BYTES_MAX.div_ceil(3) * 4 + NOTE_BYTES_MAX + 4096;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Evidence for one entry, as read: nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    entry: Vec<u8>,
    index: u64,
    path: Vec<Hash>,
    checkpoint: String,
}

/// An entry that is in the ledger: [`Evidence::verify`] alone makes one.
#[derive(Debug, Clone)]
pub struct VerifiedEntry {
    entry: Entry,
    index: u64,
    checkpoint: VerifiedCheckpoint,
}

/// Why evidence does not prove its entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The text is not of the format.
    #[error("not evidence in the form of {FIRST_LINE}")]
    Malformed,
    /// The signed head is malformed, not signed by the log, or of another log.
    #[error("the signed head is refused: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from this entry to the signed root.
    #[error("the entry is not in the ledger: {0}")]
    Proof(#[from] ProofError),
    /// The evidence is of another entry than the one asked about.
    #[error("the evidence is of another entry")]
    OtherEntry,
    /// The proved bytes are not an entry that this version knows.
    #[error("the proved bytes are not an entry: {0}")]
    Entry(#[from] EntryError),
}

impl Evidence {
    /// Evidence from its parts: the entry's bytes, its index, its audit path from the leaf up, and the signed checkpoint.
    #[must_use]
    pub fn new(entry: Vec<u8>, index: u64, path: Vec<Hash>, checkpoint: String) -> Self {
        Self { entry, index, path, checkpoint }
    }

    /// The one-file form, `.tlog-proof`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text =
            format!("{FIRST_LINE}\nextra {}\nindex {}\n", STANDARD.encode(&self.entry), self.index);
        for hash in &self.path {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads the one-file form. The entry must be there; one evidence has one text.
    ///
    /// # Errors
    /// [`EvidenceError::Malformed`] for any other text.
    pub fn parse(text: &str) -> Result<Self, EvidenceError> {
        if text.len() > EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::Malformed);
        }
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(EvidenceError::Malformed)?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(EvidenceError::Malformed);
        }
        let mut named =
            |name| lines.next().and_then(|l| l.strip_prefix(name)).ok_or(EvidenceError::Malformed);
        let entry = STANDARD.decode(named("extra ")?).map_err(|_| EvidenceError::Malformed)?;
        let index = decimal(named("index ")?).ok_or(EvidenceError::Malformed)?;
        let path: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
        let path = path.filter(|path| path.len() <= PATH_HASHES_MAX).ok_or(EvidenceError::Malformed)?;
        Ok(Self { entry, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// The signed checkpoint as it is carried, with the cosignatures on it.
    #[must_use]
    pub fn signed_checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Checks that the entry carried here is in the ledger of these keys, at the index stated here.
    ///
    /// # Errors
    /// [`EvidenceError`] naming the first thing that does not hold.
    pub fn verify(&self, log: &[VerifierKey]) -> Result<VerifiedEntry, EvidenceError> {
        let checkpoint = checkpoint::open(&self.checkpoint, log)?;
        let leaf = leaf_hash(&self.entry);
        verify_inclusion(&leaf, self.index, checkpoint.size(), &self.path, checkpoint.root())?;
        Ok(VerifiedEntry { entry: Entry::decode(&self.entry)?, index: self.index, checkpoint })
    }

    /// [`Evidence::verify`] for an entry that the caller already has: the evidence must be of exactly these bytes.
    ///
    /// # Errors
    /// [`EvidenceError::OtherEntry`] when it is of another, or as [`Evidence::verify`].
    pub fn verify_of(&self, entry: &[u8], log: &[VerifierKey]) -> Result<VerifiedEntry, EvidenceError> {
        if self.entry != entry {
            return Err(EvidenceError::OtherEntry);
        }
        self.verify(log)
    }
}

impl VerifiedEntry {
    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its number in the ledger, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The signed head that covers it.
    #[must_use]
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}
