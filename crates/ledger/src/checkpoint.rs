//! Checkpoints (C2SP tlog-checkpoint v1.0.0): origin, size and root of the tree, in a signed note.
//!
//! Not here: when to sign one. A checkpoint is signed after its entries are durable and the previous head was compared.

use crate::hash::{Hash, empty_root};
use crate::note::{self, NoteError, Signer, VerifierKey};
use crate::tile::{TREE_SIZE_MAX, decimal};

/// The head of a tree: how many entries it has and their root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

/// A checkpoint whose signature by its own log has been checked. [`open`] alone makes one.
///
/// ```compile_fail,E0423
/// let unchecked = accredit_ledger::checkpoint::Checkpoint::new("o", 1, accredit_ledger::hash::leaf_hash(b""));
/// accredit_ledger::checkpoint::VerifiedCheckpoint(unchecked.unwrap());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint(Checkpoint);

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it is malformed, unsigned or wrongly signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not origin, size, root and extension lines.
    #[error("the signed text is not a checkpoint")]
    Malformed,
    /// The checkpoint is of another log than the key.
    #[error("the checkpoint is of log `{found}`, the key is of log `{expected}`")]
    Origin {
        /// Origin in the checkpoint.
        found: String,
        /// Name of the log's key.
        expected: String,
    },
}

impl Checkpoint {
    /// The checkpoint of a tree.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] when the origin is empty or holds a control character, the size exceeds
    /// [`TREE_SIZE_MAX`], or the size is 0 and the root not that of the empty tree.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_line(origin) || size > TREE_SIZE_MAX || (size == 0 && root != empty_root()) {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Reads the text of a checkpoint; one checkpoint has one text.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] for any other text.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Malformed)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Malformed);
        };
        let size = decimal(size).ok_or(CheckpointError::Malformed)?;
        let root = Hash::from_base64(root).ok_or(CheckpointError::Malformed)?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if !extensions.iter().all(|line| is_line(line)) {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self { extensions, ..Self::new(origin, size, root)? })
    }

    /// The text to sign.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64());
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Signs the checkpoint with the key of its own log.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`] when the key has another name than the origin.
    pub fn sign(&self, signer: &Signer) -> Result<String, CheckpointError> {
        check_origin(&self.origin, signer.verifier().name())?;
        Ok(signer.sign(&self.text())?)
    }

    /// The log's identity.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Entries in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Extension lines; ours have none.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl std::ops::Deref for VerifiedCheckpoint {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.0
    }
}

/// Checks a signed checkpoint against the log's keys (more than one while keys are rotated): signature,
/// form, and that it is of the log whose key signed.
///
/// # Errors
/// [`CheckpointError`] naming what does not fit.
pub fn open(signed: &str, log: &[VerifierKey]) -> Result<VerifiedCheckpoint, CheckpointError> {
    let note = note::open(signed, log)?;
    let checkpoint = Checkpoint::parse(note.text())?;
    note.signed_by().iter().try_for_each(|name| check_origin(&checkpoint.origin, name))?;
    Ok(VerifiedCheckpoint(checkpoint))
}

fn check_origin(found: &str, name: &str) -> Result<(), CheckpointError> {
    if found == name {
        return Ok(());
    }
    Err(CheckpointError::Origin { found: found.to_owned(), expected: name.to_owned() })
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    const ORIGIN: &str = "accredit.example/ledger";

    fn signer() -> Signer {
        Signer::from_seed(ORIGIN, &[3; 32]).expect("a good name and seed")
    }

    // The example of tlog-checkpoint: another implementation wrote this text.
    #[test]
    fn the_text_of_the_specification_is_read_and_written_back() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let checkpoint = Checkpoint::parse(text).expect("a checkpoint");
        assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.text(), text);
    }

    #[test]
    fn every_other_text_is_refused() {
        let root = leaf_hash(b"").to_base64();
        for text in [
            String::new(),
            format!("o\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("o\n01\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n-1\n{root}\n"),
            format!("o\n\n{root}\n"),
            format!("o\n9007199254740992\n{root}\n"),
            format!("o\n99999999999999999999\n{root}\n"),
            format!("o\n1\n{root}\n\n"),
            format!("o\n1\n{}\n", root.trim_end_matches('=')),
            format!("o\n1\n{} \n", root),
            format!("o\n0\n{root}\n"),
            "o\n1\n".into(),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(CheckpointError::Malformed), "{text:?}");
        }
        let extended = format!("o\n1\n{root}\nkey value\n");
        assert_eq!(Checkpoint::parse(&extended).map(|c| c.text()), Ok(extended));
    }

    #[test]
    fn only_the_logs_own_key_opens_and_signs() {
        let checkpoint = Checkpoint::new(ORIGIN, 5, leaf_hash(b"x")).expect("a good origin");
        let signed = checkpoint.sign(&signer()).expect("own key");
        let own = [signer().verifier().clone()];
        let opened = open(&signed, &own).expect("signed by the log");
        assert_eq!((opened.size(), opened.root()), (5, checkpoint.root()));
        let other = Signer::from_seed("other.example", &[3; 32]).expect("a good name and seed");
        assert!(matches!(checkpoint.sign(&other), Err(CheckpointError::Origin { .. })));
        assert_eq!(
            open(&signed, &[other.verifier().clone()]),
            Err(CheckpointError::Note(NoteError::Unsigned))
        );
        // A key that signs for another log: the signature fits, the log does not.
        let foreign = other.sign(&checkpoint.text()).expect("a good text");
        assert!(matches!(open(&foreign, &[other.verifier().clone()]), Err(CheckpointError::Origin { .. })));
    }
}
