//! Hashes of the Merkle tree (RFC 6962 §2.1): SHA-256 with one byte before the input that tells a leaf
//! from a node, so that no node can be passed off as an entry.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Length of a hash in bytes.
pub const HASH_BYTES: usize = 32;

/// A SHA-256 value: of a leaf, of a node, or the root of a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// The hash with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// The hash with these bytes, if there are exactly [`HASH_BYTES`] of them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The hash with this standard Base64 spelling (RFC 4648 §4, padded).
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        // 44 characters spell 32 bytes; a longer text is not worth decoding.
        if text.len() != 44 {
            return None;
        }
        Self::from_slice(&STANDARD.decode(text).ok()?)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// Standard Base64, the spelling of checkpoints and proofs.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The hash of an entry: `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0x00]);
    context.update(entry);
    finished(context.finish().as_ref())
}

/// The hash of two neighbours: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [0x01; 1 + 2 * HASH_BYTES];
    input[1..=HASH_BYTES].copy_from_slice(&left.0);
    input[1 + HASH_BYTES..].copy_from_slice(&right.0);
    finished(digest(&SHA256, &input).as_ref())
}

/// The root of the tree without entries: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    finished(digest(&SHA256, b"").as_ref())
}

/// The root over a full row of hashes; the row's length is a power of two.
pub(crate) fn row_root(row: &[Hash]) -> Hash {
    debug_assert!(row.len().is_power_of_two(), "only complete rows have a root of their own");
    if let [only] = row {
        return *only;
    }
    let mut level: Vec<Hash> = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    while level.len() > 1 {
        for i in 0..level.len() / 2 {
            level[i] = node_hash(&level[2 * i], &level[2 * i + 1]);
        }
        level.truncate(level.len() / 2);
    }
    level[0]
}

fn finished(bytes: &[u8]) -> Hash {
    Hash::from_slice(bytes).expect("SHA-256 is 32 bytes long")
}

#[cfg(test)]
mod tests {
    use super::*;

    // The values of the reference implementation of certificate-transparency (`merkle_tree_test`).
    #[test]
    fn known_hashes_come_out() {
        let known = |hex: &str, hash: Hash| assert_eq!(hash.to_string(), hex);
        known("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", empty_root());
        known("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", leaf_hash(b""));
        known("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125", {
            node_hash(&leaf_hash(b""), &leaf_hash(&[0x00]))
        });
    }

    #[test]
    fn base64_is_strict() {
        let hash = leaf_hash(b"x");
        assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
        let unpadded = hash.to_base64().trim_end_matches('=').to_owned();
        assert_eq!(Hash::from_base64(&unpadded), None);
        assert_eq!(Hash::from_base64(&format!(" {unpadded}")), None);
        assert_eq!(Hash::from_base64(""), None);
    }
}
