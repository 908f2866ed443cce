//! Cosignatures (C2SP tlog-cosignature v1.0, `cosignature/v1` with Ed25519): a witness says that, as of a time, a
//! checkpoint is the largest consistent one it has seen of a log.
//!
//! Not here: whether a witness may say so (`witness`), and the ML-DSA-44 type, whose lines are ignored like those of any
//! unknown key.

use crate::checkpoint::Checkpoint;
use crate::note::{self, Cosigner, CosignerKey, ED25519_SIGNATURE_BYTES, NoteError, SignatureLine};

const FIRST_LINE: &str = "cosignature/v1";
const TIME_BYTES: usize = 8;
/// Latest time a cosignature may carry (tlog-cosignature, "Format").
const TIME_S_MAX: u64 = i64::MAX as u64;
/// Longest signature line in bytes: a key name of 512, Base64 of 76 bytes, marks.
pub const COSIGNATURE_BYTES_MAX: usize = 1024;

/// A cosignature that was checked: whose, of when, and its line. [`find`] and [`Cosigner::cosign`] alone make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    by: CosignerKey,
    time_s: u64,
    line: String,
}

impl Cosignature {
    /// The key that made it.
    #[must_use]
    pub const fn by(&self) -> &CosignerKey {
        &self.by
    }

    /// When it was made, in seconds since 1970, by the clock of the cosigner.
    #[must_use]
    pub const fn time_s(&self) -> u64 {
        self.time_s
    }

    /// Its signature line with the final newline, to be put after a checkpoint's own.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}

impl Cosigner {
    /// Cosigns a checkpoint as of a time. Whoever calls has made durable that this checkpoint was seen.
    ///
    /// # Errors
    /// [`NoteError::Text`] for a time that a cosignature cannot carry.
    pub fn cosign(&self, checkpoint: &Checkpoint, time_s: u64) -> Result<Cosignature, NoteError> {
        if time_s > TIME_S_MAX {
            return Err(NoteError::Text);
        }
        let line = self.line(message(checkpoint, time_s).as_bytes(), &time_s.to_be_bytes());
        Ok(Cosignature { by: self.verifier().clone(), time_s, line })
    }
}

/// The cosignatures of known keys in signature lines over a checkpoint. Lines of unknown keys are ignored; of several by
/// one key the first counts.
///
/// # Errors
/// [`NoteError`] when there are too many lines, one is malformed, or a known key's does not fit.
pub fn find(
    checkpoint: &Checkpoint,
    lines: &str,
    known: &[CosignerKey],
) -> Result<Vec<Cosignature>, NoteError> {
    // The specification lets a client put the lines after the checkpoint and read both as one note.
    let note = format!("{}\n{lines}", checkpoint.text());
    let (text, lines) = note::split(&note)?;
    // Lines with an empty one among them would be read as more text.
    if text != checkpoint.text() {
        return Err(NoteError::Malformed);
    }
    let mut found: Vec<Cosignature> = Vec::new();
    for text in lines {
        let line = SignatureLine::parse(text)?;
        let Some(key) = known.iter().find(|key| key.is_of(&line)) else { continue };
        let time_s = verify(checkpoint, &line, key)?;
        if !found.iter().any(|earlier| earlier.by == *key) {
            found.push(Cosignature { by: key.clone(), time_s, line: format!("{text}\n") });
        }
    }
    Ok(found)
}

/// The cosignatures of known keys on a signed checkpoint: those among its signature lines.
///
/// # Errors
/// [`NoteError`] as [`find`] has it.
pub fn on_note(
    checkpoint: &Checkpoint,
    note: &str,
    known: &[CosignerKey],
) -> Result<Vec<Cosignature>, NoteError> {
    let lines = note.strip_prefix(&checkpoint.text()).and_then(|rest| rest.strip_prefix('\n'));
    find(checkpoint, lines.ok_or(NoteError::Malformed)?, known)
}

fn verify(checkpoint: &Checkpoint, line: &SignatureLine<'_>, key: &CosignerKey) -> Result<u64, NoteError> {
    let (time, signature) =
        line.signature.split_first_chunk::<TIME_BYTES>().ok_or(NoteError::BadSignature)?;
    let time_s = u64::from_be_bytes(*time);
    let fits = time_s <= TIME_S_MAX
        && signature.len() == ED25519_SIGNATURE_BYTES
        && key.fits(message(checkpoint, time_s).as_bytes(), signature);
    if fits { Ok(time_s) } else { Err(NoteError::BadSignature) }
}

/// What is signed: a header, the time, and the whole text of the checkpoint (tlog-cosignature, "Ed25519 signed message").
fn message(checkpoint: &Checkpoint, time_s: u64) -> String {
    format!("{FIRST_LINE}\ntime {time_s}\n{}", checkpoint.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint;
    use crate::hash::leaf_hash;
    use crate::note::Signer;

    fn cosigner(seed: u8) -> Cosigner {
        Cosigner::from_seed("witness.example/w1", &[seed; 32]).expect("a good name and seed")
    }

    fn head(size: u64) -> Checkpoint {
        Checkpoint::new("log.example/one", size, leaf_hash(b"root")).expect("a checkpoint")
    }

    #[test]
    fn a_cosignature_is_found_with_its_key_alone() {
        let made = cosigner(1).cosign(&head(7), 1_679_315_147).expect("a good time");
        let (own, other) = (cosigner(1).verifier().clone(), cosigner(2).verifier().clone());
        assert_eq!(find(&head(7), made.line(), std::slice::from_ref(&own)), Ok(vec![made.clone()]));
        assert_eq!(find(&head(7), made.line(), &[other]), Ok(vec![]), "of an unknown key");
        assert_eq!(find(&head(8), made.line(), &[own]), Err(NoteError::BadSignature), "of another head");
    }

    #[test]
    fn the_time_is_signed_and_one_key_counts_once() {
        let (first, second) = (cosigner(1).cosign(&head(7), 1), cosigner(1).cosign(&head(7), 2));
        let lines = [first.clone(), second].map(|made| made.expect("a good time").line().to_owned()).concat();
        let known = [cosigner(1).verifier().clone()];
        assert_eq!(find(&head(7), &lines, &known), Ok(vec![first.expect("a good time")]));
        assert!(cosigner(1).cosign(&head(7), u64::MAX).is_err());
    }

    #[test]
    fn every_changed_byte_of_a_line_is_noticed() {
        let made = cosigner(1).cosign(&head(7), 1_679_315_147).expect("a good time");
        let known = [cosigner(1).verifier().clone()];
        for at in 0..made.line().len() {
            let mut bytes = made.line().to_owned().into_bytes();
            bytes[at] ^= 0x01;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let found = find(&head(7), &changed, &known);
            assert!(found.is_err() || found == Ok(vec![]), "byte {at}");
        }
    }

    #[test]
    fn a_signed_head_keeps_its_own_signature_beside_cosignatures() {
        let log = Signer::from_seed("log.example/one", &[3; 32]).expect("a good name and seed");
        let note = head(7).sign(&log).expect("of its own log");
        let made = cosigner(1).cosign(&head(7), 5).expect("a good time");
        let together = format!("{note}{}", made.line());
        let opened = checkpoint::open(&together, &[log.verifier().clone()]).expect("signed by the log");
        assert_eq!(on_note(&opened, &together, &[cosigner(1).verifier().clone()]), Ok(vec![made]));
        assert_eq!(on_note(&head(8), &together, &[]), Err(NoteError::Malformed));
    }

    // A key for one type of signature is none for another, though name and public key are the same.
    #[test]
    fn the_same_seed_gives_another_id_to_a_cosigner_than_to_a_log() {
        let log = Signer::from_seed("witness.example/w1", &[1; 32]).expect("a good name and seed");
        assert_ne!(log.verifier().id(), cosigner(1).verifier().id());
        assert!(CosignerKey::parse(&log.verifier().to_string()).is_err());
        assert_eq!(
            CosignerKey::parse(&cosigner(1).verifier().to_string()).as_ref(),
            Ok(cosigner(1).verifier())
        );
    }
}
