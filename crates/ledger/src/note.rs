//! Signed notes (C2SP signed-note v1.0.0) with Ed25519: a text, an empty line, signature lines.
//!
//! Not here: what the text says, and cosignatures, which sign more than the text (`cosignature`). Lines of unknown keys are
//! ignored, as the specification asks.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest note in bytes: sixteen post-quantum signatures of 5 kB in Base64 and a text.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// Most signature lines in a note: what the specification asks a verifier to accept at least.
pub const SIGNATURES_MAX: usize = 16;
/// Longest key name in bytes: a host name of 253 and a path.
pub const KEY_NAME_BYTES_MAX: usize = 512;
/// Length of an Ed25519 seed and of a public key in bytes.
pub const KEY_BYTES: usize = 32;

/// Signature type of a log's key: Ed25519 over the text.
const LOG_TYPE: u8 = 0x01;
/// Signature type of a cosigner's key (C2SP tlog-cosignature): Ed25519 over a time and the text.
const COSIGNER_TYPE: u8 = 0x04;
pub(crate) const ED25519_SIGNATURE_BYTES: usize = 64;
const SIGNATURE_LINE: &str = "\u{2014} ";

/// Why a key or a note is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// A key name is empty, too long, or holds a space, a control character or `+`.
    #[error("a key name has 1 to {KEY_NAME_BYTES_MAX} bytes without spaces, control characters or `+`")]
    KeyName,
    /// The text of a verifier key is not `name+hash+base64` of an Ed25519 key.
    #[error("not the text of an Ed25519 verifier key")]
    Key,
    /// The text to sign does not end in a newline or holds a control character.
    #[error("the text of a note ends in a newline and has no other control character")]
    Text,
    /// The note is longer than [`NOTE_BYTES_MAX`] or has more than [`SIGNATURES_MAX`] signatures.
    #[error("note is longer than {NOTE_BYTES_MAX} bytes or has more than {SIGNATURES_MAX} signatures")]
    TooLarge,
    /// The bytes are not a text followed by an empty line and signature lines.
    #[error("not a signed note")]
    Malformed,
    /// No signature of a known key.
    #[error("no signature of a known key")]
    Unsigned,
    /// A known key's signature does not fit the text.
    #[error("the signature of a known key does not fit the text")]
    BadSignature,
}

/// The public half of a key: its name, id and Ed25519 public key. Safe to show and to publish. What a key of one type
/// signs means something else than what one of another type signs, so the types are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey<const TYPE: u8> {
    name: String,
    id: [u8; 4],
    public: [u8; KEY_BYTES],
}

/// The public half of a log's key.
pub type VerifierKey = PublicKey<LOG_TYPE>;

/// The public half of a cosigner's key, such as a witness has.
///
/// ```compile_fail,E0308
/// fn log_keys(_: &[accredit_ledger::note::VerifierKey]) {}
/// fn a_witness_is_no_log(key: accredit_ledger::note::CosignerKey) {
///     log_keys(&[key]);
/// }
/// ```
pub type CosignerKey = PublicKey<COSIGNER_TYPE>;

/// The private half of a key. It signs and says who it is; it cannot be shown, copied or serialised.
///
/// ```compile_fail,E0277
/// fn shown<T: std::fmt::Debug>() {}
/// shown::<accredit_ledger::note::Signer>();
/// ```
/// ```compile_fail,E0277
/// fn copied<T: Clone>() {}
/// copied::<accredit_ledger::note::Signer>();
/// ```
pub struct SecretKey<const TYPE: u8> {
    pair: Ed25519KeyPair,
    verifier: PublicKey<TYPE>,
}

/// The private half of a log's key.
pub type Signer = SecretKey<LOG_TYPE>;

/// The private half of a cosigner's key.
pub type Cosigner = SecretKey<COSIGNER_TYPE>;

/// A note whose signature by a known key has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNote<'n> {
    text: &'n str,
    signed_by: Vec<String>,
}

impl<const TYPE: u8> PublicKey<TYPE> {
    /// The key with this name and public key.
    ///
    /// # Errors
    /// [`NoteError::KeyName`] when the name cannot be a key name.
    pub fn new(name: &str, public: [u8; KEY_BYTES]) -> Result<Self, NoteError> {
        check_name(name)?;
        let material = [name.as_bytes(), b"\n", &[TYPE], &public].concat();
        let hash = digest(&SHA256, &material);
        let id = *hash.as_ref().first_chunk::<4>().expect("SHA-256 has more than four bytes");
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// Reads `name+hash+base64`, where hash is the key id in eight hexadecimal digits.
    ///
    /// # Errors
    /// [`NoteError`] when the text is anything else, or its hash is not that of the key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let material = STANDARD.decode(material).map_err(|_| NoteError::Key)?;
        let public = match material.as_slice() {
            [first, public @ ..] if *first == TYPE => public,
            _ => return Err(NoteError::Key),
        };
        let key = Self::new(name, public.try_into().map_err(|_| NoteError::Key)?)?;
        if key.to_string() == text { Ok(key) } else { Err(NoteError::Key) }
    }

    /// The key's name: for a log its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id: `SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]`.
    #[must_use]
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The Ed25519 public key (RFC 8032).
    #[must_use]
    pub const fn public_key(&self) -> &[u8; KEY_BYTES] {
        &self.public
    }

    /// Whether a signature line is of this key: lines of other keys are none of its business.
    pub(crate) fn is_of(&self, line: &SignatureLine<'_>) -> bool {
        self.name == line.name && self.id == line.id
    }

    pub(crate) fn fits(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == ED25519_SIGNATURE_BYTES
            && UnparsedPublicKey::new(&ED25519, self.public).verify(message, signature).is_ok()
    }
}

impl<const TYPE: u8> fmt::Display for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id);
        let material = [&[TYPE][..], &self.public].concat();
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(material))
    }
}

impl<const TYPE: u8> SecretKey<TYPE> {
    /// The key with this name and Ed25519 seed (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`NoteError::KeyName`] when the name cannot be a key name, [`NoteError::Key`] when the seed is refused.
    pub fn from_seed(name: &str, seed: &[u8; KEY_BYTES]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Key)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Key)?;
        Ok(Self { pair, verifier: PublicKey::new(name, public)? })
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &PublicKey<TYPE> {
        &self.verifier
    }

    /// The signature line over a message, with `before` between the key's id and the signature.
    pub(crate) fn line(&self, message: &[u8], before: &[u8]) -> String {
        let material = [&self.verifier.id[..], before, self.pair.sign(message).as_ref()].concat();
        format!("{SIGNATURE_LINE}{} {}\n", self.verifier.name, STANDARD.encode(material))
    }
}

impl Signer {
    /// Signs a text: the note with one signature line.
    ///
    /// # Errors
    /// [`NoteError::Text`] when the text cannot be that of a note, [`NoteError::TooLarge`] when it is too long.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        check_text(text)?;
        let note = format!("{text}\n{}", self.line(text.as_bytes(), &[]));
        if note.len() > NOTE_BYTES_MAX { Err(NoteError::TooLarge) } else { Ok(note) }
    }
}

/// Checks a note against the known keys.
///
/// Lines of unknown keys are ignored; every line of a known key must fit, and there must be one.
///
/// # Errors
/// [`NoteError`] when the note is malformed, unsigned by a known key, or a known key's signature does not fit.
pub fn open<'n>(note: &'n str, known: &[VerifierKey]) -> Result<VerifiedNote<'n>, NoteError> {
    let (text, signatures) = split(note)?;
    let mut signed_by = Vec::new();
    for line in signatures {
        let line = SignatureLine::parse(line)?;
        let Some(key) = known.iter().find(|key| key.is_of(&line)) else {
            continue;
        };
        if !key.fits(text.as_bytes(), &line.signature) {
            return Err(NoteError::BadSignature);
        }
        signed_by.push(key.name.clone());
    }
    if signed_by.is_empty() { Err(NoteError::Unsigned) } else { Ok(VerifiedNote { text, signed_by }) }
}

impl<'n> VerifiedNote<'n> {
    /// The signed text, with its final newline.
    #[must_use]
    pub const fn text(&self) -> &'n str {
        self.text
    }

    /// Names of the known keys that signed, in the order of their lines.
    #[must_use]
    pub fn signed_by(&self) -> &[String] {
        &self.signed_by
    }
}

/// One signature line: whose it is, and the bytes after the key's id.
pub(crate) struct SignatureLine<'n> {
    name: &'n str,
    id: [u8; 4],
    pub(crate) signature: Vec<u8>,
}

impl<'n> SignatureLine<'n> {
    /// Reads a line without its newline.
    pub(crate) fn parse(line: &'n str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(SIGNATURE_LINE).ok_or(NoteError::Malformed)?;
        let (name, material) = rest.split_once(' ').ok_or(NoteError::Malformed)?;
        check_name(name).map_err(|_| NoteError::Malformed)?;
        let material = STANDARD.decode(material).map_err(|_| NoteError::Malformed)?;
        let (id, signature) = material.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
        Ok(Self { name, id: *id, signature: signature.to_vec() })
    }
}

/// Text and signature lines; the last empty line separates them.
pub(crate) fn split(note: &str) -> Result<(&str, Vec<&str>), NoteError> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLarge);
    }
    let border = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, signatures) = (&note[..=border], &note[border + 2..]);
    check_text(text).map_err(|_| NoteError::Malformed)?;
    let lines = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    let lines: Vec<&str> = lines.split('\n').collect();
    if lines.len() > SIGNATURES_MAX { Err(NoteError::TooLarge) } else { Ok((text, lines)) }
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let fits = (1..=KEY_NAME_BYTES_MAX).contains(&name.len());
    let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if fits && !name.contains(refused) { Ok(()) } else { Err(NoteError::KeyName) }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let control = |b: u8| b < 0x20 && b != b'\n';
    if text.ends_with('\n') && !text.bytes().any(control) { Ok(()) } else { Err(NoteError::Text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of Go's `golang.org/x/mod/sumdb/note`: another implementation made this key and signature.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> Signer {
        Signer::from_seed("log.example/one", &[7; 32]).expect("a good name and seed")
    }

    fn key(text: &str) -> VerifierKey {
        VerifierKey::parse(text).expect("a verifier key")
    }

    #[test]
    fn a_note_of_another_implementation_verifies() {
        let note = open(GO_NOTE, &[key(GO_KEY)]).expect("signed by the known key");
        assert!(note.text().ends_with("your problem is.\n"));
        assert_eq!(note.signed_by(), ["PeterNeumann"]);
    }

    // RFC 8032 §7.1, test 1: seed and public key.
    #[test]
    fn a_seed_gives_the_public_key_of_the_rfc() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
            0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let signer = Signer::from_seed("rfc", &seed).expect("a good seed");
        assert_eq!(signer.verifier().public_key()[..4], [0xd7, 0x5a, 0x98, 0x01]);
    }

    #[test]
    fn a_signed_text_opens_with_its_key_alone() {
        let signer = signer();
        let note = signer.sign("two\n\nlines\n").expect("a good text");
        let known = [key(GO_KEY), signer.verifier().clone()];
        assert_eq!(open(&note, &known).map(|n| n.text()), Ok("two\n\nlines\n"));
        assert_eq!(open(&note, &known[..1]), Err(NoteError::Unsigned));
        let same_name = Signer::from_seed("log.example/one", &[8; 32]).expect("a good seed");
        assert_eq!(open(&note, &[same_name.verifier().clone()]), Err(NoteError::Unsigned));
    }

    #[test]
    fn lines_of_unknown_keys_are_ignored_and_known_ones_must_all_fit() {
        let signer = signer();
        let note = signer.sign("head\n").expect("a good text");
        let unknown = format!("{note}{SIGNATURE_LINE}witness.example {}\n", STANDARD.encode([9; 80]));
        assert!(open(&unknown, &[signer.verifier().clone()]).is_ok());
        let forged = [&signer.verifier().id()[..], &[0; 64]].concat();
        let forged = format!("{note}{SIGNATURE_LINE}log.example/one {}\n", STANDARD.encode(forged));
        assert_eq!(open(&forged, &[signer.verifier().clone()]), Err(NoteError::BadSignature));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let signer = signer();
        let note = signer.sign("log.example/one\n5\nroot\n").expect("a good text");
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 0x01;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(open(&changed, &[signer.verifier().clone()]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn malformed_notes_are_refused() {
        let known = [signer().verifier().clone()];
        let signature = STANDARD.encode([1; 68]);
        for (note, why) in [
            (String::new(), NoteError::Malformed),
            ("text\n".into(), NoteError::Malformed),
            ("text\n\n".into(), NoteError::Malformed),
            (format!("text\n\n{SIGNATURE_LINE}a {signature}"), NoteError::Malformed),
            (format!("text\n\n- a {signature}\n"), NoteError::Malformed),
            (format!("text\n\n{SIGNATURE_LINE}a+b {signature}\n"), NoteError::Malformed),
            (format!("text\n\n{SIGNATURE_LINE}a {signature} \n"), NoteError::Malformed),
            (format!("te\rxt\n\n{SIGNATURE_LINE}a {signature}\n"), NoteError::Malformed),
            (format!("text\n\n{SIGNATURE_LINE}a AAA=\n"), NoteError::Malformed),
            (
                format!("text\n\n{}", format!("{SIGNATURE_LINE}a {signature}\n").repeat(17)),
                NoteError::TooLarge,
            ),
            (
                format!("text\n\n{}", format!("{SIGNATURE_LINE}a {signature}\n").repeat(16)),
                NoteError::Unsigned,
            ),
            ("x".repeat(NOTE_BYTES_MAX + 1), NoteError::TooLarge),
        ] {
            assert_eq!(open(&note, &known), Err(why), "{note:.60}");
        }
    }

    #[test]
    fn names_texts_and_keys_are_checked() {
        for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", &"n".repeat(KEY_NAME_BYTES_MAX + 1)] {
            assert_eq!(Signer::from_seed(name, &[7; 32]).err(), Some(NoteError::KeyName), "{name}");
        }
        for text in ["", "no newline", "tab\t\n", "cr\r\n"] {
            assert_eq!(signer().sign(text), Err(NoteError::Text), "{text}");
        }
        let vkey = signer().verifier().to_string();
        assert_eq!(key(&vkey), *signer().verifier());
        for text in [
            "",
            "a",
            "a+b",
            &vkey[1..],
            &vkey[..vkey.len() - 1],
            &vkey.replacen('+', "+0", 1),
            &vkey.to_uppercase(),
        ] {
            assert!(VerifierKey::parse(text).is_err(), "{text}");
        }
    }
}
