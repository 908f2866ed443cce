//! Checking inclusion and consistency proofs (RFC 9162 §2.1.3.2 and §2.1.4.2).
//!
//! Follows the verification algorithms of the RFC and shares no code with `tree`, which makes the proofs.

use crate::hash::{Hash, empty_root, node_hash};

/// Why a proof does not prove what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The entry's index is not below the tree's size, or the old size is above the new one.
    #[error("the proof is for an entry or size outside the tree")]
    OutOfRange,
    /// Fewer or more hashes than a proof of these numbers has.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes do not lead to the root.
    #[error("the proof leads to another root")]
    Root,
}

/// Checks that the entry with hash `leaf` is number `index` in the tree of `size` entries with this root.
///
/// # Errors
/// [`ProofError`] when it is not, or the proof is not of the right form.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `old` entries with root `old_root` is a prefix of the tree of `size` entries with `root`.
///
/// # Errors
/// [`ProofError`] when it is not, or the proof is not of the right form.
pub fn verify_consistency(
    old: u64,
    size: u64,
    proof: &[Hash],
    old_root: &Hash,
    root: &Hash,
) -> Result<(), ProofError> {
    if old > size {
        return Err(ProofError::OutOfRange);
    }
    if old == size || old == 0 {
        return verify_trivial(old, size, proof, old_root, root);
    }
    // A complete old tree is itself the first node of the path.
    let (first, rest) = match proof {
        [] => return Err(ProofError::Length),
        _ if old.is_power_of_two() => (old_root, proof),
        [first, rest @ ..] => (first, rest),
    };
    let (mut node, mut last) = (old - 1, size - 1);
    let shift = node.trailing_ones();
    (node, last) = (node >> shift, last >> shift);
    let (mut old_hash, mut hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old_hash == *old_root && hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Equal sizes have equal roots; the empty tree is a prefix of every tree. Neither has a proof.
fn verify_trivial(
    old: u64,
    size: u64,
    proof: &[Hash],
    old_root: &Hash,
    root: &Hash,
) -> Result<(), ProofError> {
    let same = old != size || old_root == root;
    let empty = old != 0 || *old_root == empty_root();
    match (proof, same && empty) {
        ([], true) => Ok(()),
        ([], false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}
