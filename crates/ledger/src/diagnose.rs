//! What was done to an entry that does not match its stored leaf: changed, removed, swapped, copied or added.
//!
//! Runs once, at the first mismatch, and reads on to the end where it must: slow is fine, constant memory is not negotiable.

use crate::audit_path::verify_inclusion;
use crate::hash::{Hash, leaf_hash};
use crate::tile::{TILE_WIDTH, Tile};
use crate::tree::{TreeError, inclusion_proof};
use crate::verify::{Located, Problem, VerifyError, Walk};

/// Names what happened at entry `index`, whose stored bytes are `entry`.
///
/// # Errors
/// When a source fails or a tile is missing.
pub(crate) fn diagnose<N, T, E>(
    walk: &mut Walk<N, T>,
    index: u64,
    entry: &[u8],
) -> Result<Problem, VerifyError<E>>
where
    N: FnMut() -> Result<Option<Vec<u8>>, E>,
    T: FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
{
    let (found, signed) = (leaf_hash(entry), walk.stored(0, index)?);
    if !leaf_is_signed(walk, index, &signed)? && leaf_is_signed(walk, index, &found)? {
        let tile = Tile::of_tree(0, index / TILE_WIDTH, walk.size);
        return Ok(tile.map_or(Problem::Changed(Located::new(index, entry)), Problem::TileChanged));
    }
    let located = Located::new(index, entry);
    match look_ahead(walk, index, &found, &signed)? {
        Ahead::Nothing => Ok(Problem::Changed(located)),
        Ahead::FoundLater(count) => Ok(Problem::Removed { first: index, count }),
        Ahead::SignedLater(count) => Ok(match original_of(walk, index, &found)? {
            Some(of) => Problem::Duplicated { entry: located, of },
            None => Problem::Added { entry: located, count },
        }),
        Ahead::Swapped(other) => Ok(Problem::Swapped(located, other)),
        Ahead::Copied(of) => Ok(Problem::Duplicated { entry: located, of }),
    }
}

/// Whether the signed root has this leaf at this index, by the tiles as they are stored.
fn leaf_is_signed<N, T, E>(walk: &mut Walk<N, T>, index: u64, leaf: &Hash) -> Result<bool, VerifyError<E>>
where
    T: FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
{
    match inclusion_proof(index, walk.size, &mut walk.tiles) {
        Ok(path) => Ok(verify_inclusion(leaf, index, walk.size, &path, &walk.root).is_ok()),
        Err(TreeError::Read(error)) => Err(VerifyError::Read(error)),
        Err(TreeError::Missing(tile)) => Err(Problem::TileMissing(tile).into()),
        Err(TreeError::Tile(_) | TreeError::OutOfRange { .. }) => Ok(false),
    }
}

enum Ahead {
    /// Neither of the two turns up again.
    Nothing,
    /// The entry found is the one signed this many places later: those between are missing.
    FoundLater(u64),
    /// The entry signed here is stored this many places later: those before it were put in.
    SignedLater(u64),
    /// The entry signed here is stored where the one found here was signed.
    Swapped(Located),
    /// As after a swap, but what follows is out of step: the one found here is a copy of the one signed there.
    Copied(u64),
}

/// Reads entries and leaves on from `index` until one of the two turns up at the place of the other.
fn look_ahead<N, T, E>(
    walk: &mut Walk<N, T>,
    index: u64,
    found: &Hash,
    signed: &Hash,
) -> Result<Ahead, VerifyError<E>>
where
    N: FnMut() -> Result<Option<Vec<u8>>, E>,
    T: FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
{
    let mut stored_ends = false;
    for place in index + 1.. {
        let next = if stored_ends { None } else { walk.entry()? };
        stored_ends = next.is_none();
        let leaf = if place < walk.size { Some(walk.stored(0, place)?) } else { None };
        if next.is_none() && leaf.is_none() {
            return Ok(Ahead::Nothing);
        }
        let found_later = leaf.as_ref() == Some(found);
        let signed_here = next.as_deref().filter(|entry| leaf_hash(entry) == *signed);
        match (found_later, signed_here) {
            (true, Some(entry)) => {
                let other = Located::new(place, entry);
                return in_step(walk, place + 1)
                    .map(|steady| if steady { Ahead::Swapped(other) } else { Ahead::Copied(place) });
            }
            (true, None) => return Ok(Ahead::FoundLater(place - index)),
            (false, Some(_)) => return Ok(Ahead::SignedLater(place - index)),
            (false, None) => {}
        }
    }
    Ok(Ahead::Nothing)
}

/// Whether the next stored entry is the one signed at `place`, or both have ended.
fn in_step<N, T, E>(walk: &mut Walk<N, T>, place: u64) -> Result<bool, VerifyError<E>>
where
    N: FnMut() -> Result<Option<Vec<u8>>, E>,
    T: FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
{
    let next = walk.entry()?.map(|entry| leaf_hash(&entry));
    let leaf = if place < walk.size { Some(walk.stored(0, place)?) } else { None };
    Ok(next == leaf)
}

/// Where an entry with this hash was signed before `index`.
fn original_of<N, T, E>(walk: &mut Walk<N, T>, index: u64, hash: &Hash) -> Result<Option<u64>, VerifyError<E>>
where
    N: FnMut() -> Result<Option<Vec<u8>>, E>,
    T: FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
{
    for place in 0..index {
        if walk.stored(0, place)? == *hash {
            return Ok(Some(place));
        }
    }
    Ok(None)
}
