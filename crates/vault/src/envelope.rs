//! One layer of the envelope: AES-256-GCM with a random 96-bit nonce and a label as associated data.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// First byte of every sealed blob: the format below.
const FORMAT: u8 = 1;

/// Identifies a key without telling anything about it: the first 8 bytes of SHA-256 over a
/// constant and the key, in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    pub(crate) fn of(key: &[u8]) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(b"accredit key id v1\0");
        context.update(key);
        let digest = context.finish();
        Self(digest.as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

/// What a sealed value is. Two different labels never have the same bytes.
pub struct Label<'a> {
    /// Tenant, or empty for the installation's own keys.
    pub tenant: &'a str,
    /// Kind of value: `secret`, `data-key`, `signing-key`, …
    pub kind: &'a str,
    /// Its name.
    pub id: &'a str,
    /// Its version.
    pub version: u32,
}

impl Label<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut out = b"accredit sealed v1\0".to_vec();
        for part in [self.tenant, self.kind, self.id] {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&self.version.to_be_bytes());
        out
    }
}

/// Why sealing or opening failed. Says nothing about the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The blob is not in the format of this version.
    #[error("the sealed value is not in a known format")]
    Format,
    /// The key, the label or the bytes are not those that it was sealed with.
    #[error("the sealed value does not open: it was changed, moved, or sealed with another key")]
    Authentication,
    /// The cryptographic library refused.
    #[error("the value could not be sealed")]
    Library,
}

/// One AES-256 key in use.
pub(crate) struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self, SealError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealError::Library)?;
        Ok(Self { key })
    }

    pub(crate) fn seal(&self, label: &Label<'_>, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut inner = Zeroizing::new(value.to_vec());
        let aad = Aad::from(label.bytes());
        let tag = self.key.seal_in_place_separate_tag(aad, &mut inner).map_err(|_| SealError::Library)?;
        let (nonce, tag) = tag;
        let mut out = Vec::with_capacity(1 + NONCE_LEN + inner.len() + tag.as_ref().len());
        out.push(FORMAT);
        out.extend_from_slice(nonce.as_ref());
        out.extend_from_slice(&inner);
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    pub(crate) fn open(&self, label: &Label<'_>, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some((&FORMAT, rest)) = blob.split_first() else { return Err(SealError::Format) };
        if rest.len() < NONCE_LEN {
            return Err(SealError::Format);
        }
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Format)?;
        let mut inner = Zeroizing::new(sealed.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(label.bytes()), &mut inner)
            .map_err(|_| SealError::Authentication)?
            .len();
        inner.truncate(length);
        Ok(inner)
    }
}
