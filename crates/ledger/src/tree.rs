//! The Merkle tree over tiles: appending entries, the root of any size, and proofs (RFC 6962 §2.1).
//!
//! Tiles are read through a closure that may fail and may answer `None` for a tile that is not there. It may also answer with a
//! wider version of the tile asked for: the narrower one is its beginning. Nothing is written here: new
//! tiles are returned. Checking proofs is in `audit_path`, which shares no code with making them.

use crate::hash::{Hash, empty_root, node_hash, row_root};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, TREE_SIZE_MAX, Tile, TileError};

/// Why a root or a proof could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError<E> {
    /// The reader of tiles failed.
    #[error("reading a tile failed: {0}")]
    Read(E),
    /// A tile that a tree of this size has is not there.
    #[error("tile `{0}` is missing")]
    Missing(Tile),
    /// A tile's bytes are not its hashes.
    #[error(transparent)]
    Tile(TileError),
    /// The index or size asked for is not in the tree, or the tree would become too large.
    #[error("entry or size {asked} is not in a tree of {size} entries")]
    OutOfRange {
        /// Index or size asked for.
        asked: u64,
        /// Size of the tree.
        size: u64,
    },
}

/// The right edge of a tree: the tiles that are not full yet, from the leaves up.
///
/// All that appending needs: at most 255 hashes per level, seven levels at the largest size (57 KB).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RightEdge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// The outcome of [`append`]: the new head and the tiles to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Entries in the tree afterwards.
    pub size: u64,
    /// Root of the tree afterwards.
    pub root: Hash,
    /// Tiles that became full or grew, with their bytes, each at most once: full ones first.
    pub tiles: Vec<(Tile, Vec<u8>)>,
}

impl RightEdge {
    /// The edge of the tree without entries.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the edge of a tree of `size` entries.
    ///
    /// # Errors
    /// [`TreeError`] when a partial tile cannot be read, is missing or malformed.
    pub fn load<E>(
        size: u64,
        mut read: impl FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, TreeError<E>> {
        if size > TREE_SIZE_MAX {
            return Err(TreeError::OutOfRange { asked: size, size: TREE_SIZE_MAX });
        }
        let mut levels = Vec::new();
        let mut hashes = size;
        while hashes > 0 {
            // At most seven levels: a size is below 2^53.
            let tile = Tile::of_tree(levels.len() as u8, hashes / TILE_WIDTH, size);
            levels.push(tile.map_or_else(|| Ok(Vec::new()), |tile| read_tile(tile, &mut read))?);
            hashes /= TILE_WIDTH;
        }
        Ok(Self { size, levels })
    }

    /// Entries in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf. `grown` is told of each tile that gained a hash, leaf level first, with all its hashes.
    ///
    /// The caller keeps the size at or below [`TREE_SIZE_MAX`].
    pub fn push(&mut self, leaf: Hash, mut grown: impl FnMut(Tile, &[Hash])) {
        let (mut hash, mut index, mut level) = (leaf, self.size, 0);
        self.size += 1;
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(TILE_WIDTH as usize));
            }
            let row = &mut self.levels[level];
            row.push(hash);
            let tile = Tile::new(level as u8, index / TILE_WIDTH, row.len() as u16);
            grown(tile.expect("level, index and width of a tree within TREE_SIZE_MAX are in range"), row);
            if (row.len() as u64) < TILE_WIDTH {
                return;
            }
            hash = row_root(row);
            row.clear();
            index /= TILE_WIDTH;
            level += 1;
        }
    }

    /// The root of the tree (RFC 6962 §2.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for row in &self.levels {
            let mut end = row.len();
            // Complete subtrees from the right, smallest first: one per set bit of the width.
            while end > 0 {
                let begin = end - (1 << end.trailing_zeros());
                let subtree = row_root(&row[begin..end]);
                root = Some(root.map_or(subtree, |right| node_hash(&subtree, &right)));
                end = begin;
            }
        }
        root.unwrap_or_else(empty_root)
    }

    /// The partial tiles of the edge, leaf level first.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        self.levels.iter().enumerate().filter_map(|(level, row)| {
            let level = level as u8;
            let index = self.size >> (u32::from(level) * TILE_HEIGHT) >> TILE_HEIGHT;
            Some((Tile::new(level, index, row.len() as u16).ok()?, row.as_slice()))
        })
    }
}

/// Appends leaves to a tree of `size` entries and says which tiles to store.
///
/// # Errors
/// [`TreeError`] when the edge of the tree cannot be read or the tree would exceed [`TREE_SIZE_MAX`].
pub fn append<E>(
    size: u64,
    leaves: &[Hash],
    read: impl FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
) -> Result<Appended, TreeError<E>> {
    let asked = size.saturating_add(leaves.len() as u64);
    if asked > TREE_SIZE_MAX {
        return Err(TreeError::OutOfRange { asked, size: TREE_SIZE_MAX });
    }
    let mut edge = RightEdge::load(size, read)?;
    let mut tiles = Vec::new();
    for leaf in leaves {
        edge.push(*leaf, |tile, row| {
            if tile.is_full() {
                tiles.push((tile, Tile::bytes(row)));
            }
        });
    }
    let grew = |tile: &Tile| {
        let shift = u32::from(tile.level()) * TILE_HEIGHT;
        size >> shift != asked >> shift
    };
    let partial = edge.partial_tiles().filter(|(tile, _)| grew(tile));
    tiles.extend(partial.map(|(tile, row)| (tile, Tile::bytes(row))));
    Ok(Appended { size: edge.size(), root: edge.root(), tiles })
}

/// The root of the first `size` entries, from the tiles of a tree of `tree_size` entries.
///
/// # Errors
/// [`TreeError`] when `size` exceeds the tree or a tile cannot be used.
pub fn root_at<E>(
    size: u64,
    tree_size: u64,
    read: impl FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
) -> Result<Hash, TreeError<E>> {
    if size == 0 {
        return Ok(empty_root());
    }
    Prover::new(tree_size, size, read)?.range(0, size)
}

/// The audit path of one entry (RFC 6962 §2.1.1), from the leaf's sibling up: at most 53 hashes.
///
/// # Errors
/// [`TreeError`] when the entry is not in the tree or a tile cannot be used.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    read: impl FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Hash>, TreeError<E>> {
    if index >= size {
        return Err(TreeError::OutOfRange { asked: index, size });
    }
    let mut proof = Vec::new();
    Prover::new(size, size, read)?.path(index, 0, size, &mut proof)?;
    Ok(proof)
}

/// The proof that the tree of `old` entries is a prefix of the tree of `size` entries (RFC 6962 §2.1.2).
///
/// Empty when `old` is 0 or equal to `size`.
///
/// # Errors
/// [`TreeError`] when `old` exceeds the tree or a tile cannot be used.
pub fn consistency_proof<E>(
    old: u64,
    size: u64,
    read: impl FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Hash>, TreeError<E>> {
    let mut proof = Vec::new();
    let mut prover = Prover::new(size, old, read)?;
    if old > 0 {
        prover.subproof(old, 0, size, true, &mut proof)?;
    }
    Ok(proof)
}

/// Computes node hashes from tiles, reading each tile at most once.
struct Prover<R> {
    size: u64,
    read: R,
    seen: Vec<(Tile, Vec<Hash>)>,
}

impl<R, E> Prover<R>
where
    R: FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
{
    fn new(size: u64, asked: u64, read: R) -> Result<Self, TreeError<E>> {
        if asked > size || size > TREE_SIZE_MAX {
            return Err(TreeError::OutOfRange { asked, size: size.min(TREE_SIZE_MAX) });
        }
        Ok(Self { size, read, seen: Vec::new() })
    }

    /// RFC 6962 §2.1.1 `PATH(index, D[begin:end])`.
    fn path(&mut self, index: u64, begin: u64, end: u64, out: &mut Vec<Hash>) -> Result<(), TreeError<E>> {
        if end - begin == 1 {
            return Ok(());
        }
        let middle = begin + split(end - begin);
        let sibling = if index < middle {
            self.path(index, begin, middle, out)?;
            self.range(middle, end)?
        } else {
            self.path(index, middle, end, out)?;
            self.range(begin, middle)?
        };
        out.push(sibling);
        Ok(())
    }

    /// RFC 6962 §2.1.2 `SUBPROOF(old, D[begin:end], known)`; `old` counts from the tree's first entry.
    fn subproof(
        &mut self,
        old: u64,
        begin: u64,
        end: u64,
        known: bool,
        out: &mut Vec<Hash>,
    ) -> Result<(), TreeError<E>> {
        if old == end {
            if !known {
                out.push(self.range(begin, end)?);
            }
            return Ok(());
        }
        let middle = begin + split(end - begin);
        let other = if old <= middle {
            self.subproof(old, begin, middle, known, out)?;
            self.range(middle, end)?
        } else {
            self.subproof(old, middle, end, false, out)?;
            self.range(begin, middle)?
        };
        out.push(other);
        Ok(())
    }

    /// RFC 6962 §2.1 `MTH(D[begin:end])`; `begin` is a border of the tree's own splitting.
    fn range(&mut self, begin: u64, end: u64) -> Result<Hash, TreeError<E>> {
        let width = end - begin;
        if width.is_power_of_two() {
            return self.subtree(width.trailing_zeros(), begin >> width.trailing_zeros());
        }
        let middle = begin + split(width);
        let left = self.range(begin, middle)?;
        Ok(node_hash(&left, &self.range(middle, end)?))
    }

    /// The root of the complete subtree of this height, the `index`-th of its height.
    fn subtree(&mut self, height: u32, index: u64) -> Result<Hash, TreeError<E>> {
        let (level, rise) = ((height / TILE_HEIGHT) as u8, height % TILE_HEIGHT);
        let first = index << rise;
        let size = self.size;
        let tile = Tile::of_tree(level, first / TILE_WIDTH, size)
            .ok_or(TreeError::OutOfRange { asked: first, size })?;
        let row = self.tile(tile)?;
        let from = (first % TILE_WIDTH) as usize;
        let hashes = row.get(from..from + (1 << rise)).ok_or(TreeError::OutOfRange { asked: first, size })?;
        Ok(row_root(hashes))
    }

    fn tile(&mut self, tile: Tile) -> Result<&[Hash], TreeError<E>> {
        let known = self.seen.iter().position(|(seen, _)| *seen == tile);
        let at = match known {
            Some(at) => at,
            None => {
                let row = read_tile(tile, &mut self.read)?;
                self.seen.push((tile, row));
                self.seen.len() - 1
            }
        };
        Ok(&self.seen[at].1)
    }
}

fn read_tile<E>(
    tile: Tile,
    read: &mut impl FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Hash>, TreeError<E>> {
    let bytes = read(tile).map_err(TreeError::Read)?.ok_or(TreeError::Missing(tile))?;
    tile.hashes(&bytes).map_err(TreeError::Tile)
}

/// The largest power of two below `width` (RFC 6962 §2.1), which is at least 2.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}
