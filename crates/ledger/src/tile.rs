//! Where hashes and entries are kept: tiles of 256 hashes and bundles of 256 entries (C2SP tlog-tiles v0.1).
//!
//! Coordinates, paths and the byte forms. Not here: what the hashes mean (`tree`) and where files lie (storage).

use std::fmt;

use crate::hash::{HASH_BYTES, Hash};

/// Levels of the tree that one tile spans.
pub const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Highest tile level that a path may name (tlog-tiles, "Merkle Tree").
pub const TILE_LEVEL_MAX: u8 = 63;
/// Largest tree: sizes are written as JSON integers and stored as signed 64-bit ones; 2^53 − 1 fits both.
pub const TREE_SIZE_MAX: u64 = (1 << 53) - 1;
/// Longest entry in bytes: its length in a bundle is 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// One tile of hashes: level, index within the level, and how many hashes it has (1 to 256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// One bundle of entries: index, and how many entries it has (1 to 256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bundle {
    index: u64,
    width: u16,
}

/// Why a coordinate, a path or the bytes of a tile or bundle are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Level above [`TILE_LEVEL_MAX`], width not 1 to 256, or index beyond [`TREE_SIZE_MAX`].
    #[error("no such tile: level {level}, index {index}, width {width}")]
    OutOfRange {
        /// Level asked for.
        level: u8,
        /// Index asked for.
        index: u64,
        /// Width asked for.
        width: u16,
    },
    /// The text is not the path of a tile or bundle.
    #[error("not the path of a tile")]
    NotAPath,
    /// The bytes do not hold the number of hashes or entries that the coordinate says.
    #[error("{path}: expected {expected} items, the bytes do not hold exactly these")]
    Malformed {
        /// Path of the tile or bundle.
        path: String,
        /// Items expected.
        expected: u16,
    },
}

impl Tile {
    /// The tile at these coordinates.
    ///
    /// # Errors
    /// [`TileError::OutOfRange`] when the level, index or width is outside the specification.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        let fits =
            level <= TILE_LEVEL_MAX && index <= TREE_SIZE_MAX && (1..=TILE_WIDTH).contains(&width.into());
        if fits {
            Ok(Self { level, index, width })
        } else {
            Err(TileError::OutOfRange { level, index, width })
        }
    }

    /// The tile with this level and index in a tree of `size` entries, as wide as it is there.
    #[must_use]
    pub fn of_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0);
        let width = hashes.saturating_sub(index.checked_mul(TILE_WIDTH)?).min(TILE_WIDTH);
        Self::new(level, index, width as u16).ok()
    }

    /// Level: 0 holds leaf hashes, each hash above is the root of a full tile below.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Index within the level.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Hashes in the tile, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether the tile has all its 256 hashes and will never change again.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.width as u64 == TILE_WIDTH
    }

    /// `tile/<L>/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(self) -> String {
        format!("tile/{}/{}", self.level, indexed_path(self.index, self.width))
    }

    /// Reads `tile/<L>/<N>[.p/<W>]`; one tile has one path.
    ///
    /// # Errors
    /// [`TileError::NotAPath`] for any other spelling.
    pub fn from_path(path: &str) -> Result<Self, TileError> {
        let (level, rest) =
            path.strip_prefix("tile/").and_then(|p| p.split_once('/')).ok_or(TileError::NotAPath)?;
        let level = decimal(level).and_then(|l| u8::try_from(l).ok()).ok_or(TileError::NotAPath)?;
        let (index, width) = parse_indexed(rest).ok_or(TileError::NotAPath)?;
        Self::new(level, index, width).map_err(|_| TileError::NotAPath)
    }

    /// The hashes of a stored tile. The bytes of a wider version of the same tile are read as well: it holds them first.
    ///
    /// # Errors
    /// [`TileError::Malformed`] when the bytes are not whole hashes or fewer than the width.
    pub fn hashes(self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        let (rows, rest) = bytes.as_chunks::<HASH_BYTES>();
        let width = usize::from(self.width);
        if !rest.is_empty() || rows.len() < width || rows.len() as u64 > TILE_WIDTH {
            return Err(TileError::Malformed { path: self.path(), expected: self.width });
        }
        Ok(rows[..width].iter().map(|row| Hash::from_bytes(*row)).collect())
    }

    /// The byte form of a tile's hashes.
    #[must_use]
    pub fn bytes(hashes: &[Hash]) -> Vec<u8> {
        hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl Bundle {
    /// The bundle with this index and width.
    ///
    /// # Errors
    /// [`TileError::OutOfRange`] when the index or width is outside the specification.
    pub fn new(index: u64, width: u16) -> Result<Self, TileError> {
        Tile::new(0, index, width).map(|tile| Self { index: tile.index, width: tile.width })
    }

    /// The bundle with this index in a tree of `size` entries, as wide as it is there.
    #[must_use]
    pub fn of_tree(index: u64, size: u64) -> Option<Self> {
        Tile::of_tree(0, index, size).map(|tile| Self { index: tile.index, width: tile.width })
    }

    /// Index: the bundle starts at entry `index × 256`.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Entries in the bundle, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// `tile/entries/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(self) -> String {
        format!("tile/entries/{}", indexed_path(self.index, self.width))
    }

    /// Reads `tile/entries/<N>[.p/<W>]`.
    ///
    /// # Errors
    /// [`TileError::NotAPath`] for any other spelling.
    pub fn from_path(path: &str) -> Result<Self, TileError> {
        let rest = path.strip_prefix("tile/entries/").ok_or(TileError::NotAPath)?;
        let (index, width) = parse_indexed(rest).ok_or(TileError::NotAPath)?;
        Self::new(index, width).map_err(|_| TileError::NotAPath)
    }

    /// The entries of a stored bundle, in order.
    ///
    /// # Errors
    /// [`TileError::Malformed`] when the bytes do not hold exactly the bundle's entries.
    pub fn entries(self, bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
        let malformed = || TileError::Malformed { path: self.path(), expected: self.width };
        let mut rest = bytes;
        let mut entries = Vec::with_capacity(usize::from(self.width));
        for _ in 0..self.width {
            let (length, after) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).ok_or_else(malformed)?;
            entries.push(entry);
            rest = after;
        }
        if rest.is_empty() { Ok(entries) } else { Err(malformed()) }
    }

    /// The byte form of one entry in a bundle: its length in 16 bits, big-endian, then the entry.
    ///
    /// Returns `None` for an entry longer than [`ENTRY_BYTES_MAX`].
    #[must_use]
    pub fn append(bundle: &mut Vec<u8>, entry: &[u8]) -> Option<()> {
        let length = u16::try_from(entry.len()).ok()?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
        Some(())
    }
}

fn indexed_path(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < TILE_WIDTH {
        path.push_str(&format!(".p/{width}"));
    }
    path
}

fn parse_indexed(text: &str) -> Option<(u64, u16)> {
    let (index, width) = match text.split_once(".p/") {
        Some((index, width)) => (index, decimal(width).filter(|w| (1..TILE_WIDTH).contains(w))? as u16),
        None => (text, TILE_WIDTH as u16),
    };
    let digits: String = index.split('/').map(|part| part.strip_prefix('x').unwrap_or(part)).collect();
    // 2^53 has 16 digits; in groups of three that is 18.
    if digits.is_empty() || digits.len() > 18 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    // Written back it must read the same: this refuses missing zeros, stray `x` and a leading `x000`.
    (indexed_path(number, width) == text).then_some((number, width))
}

/// A decimal number without sign or leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(level: u8, index: u64, width: u16, path: &str) {
        let tile = Tile::new(level, index, width).expect("in range");
        assert_eq!(tile.path(), path);
        assert_eq!(Tile::from_path(path), Ok(tile));
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        check(0, 0, 256, "tile/0/000");
        check(0, 1_234_067, 256, "tile/0/x001/x234/067");
        check(1, 1, 17, "tile/1/001.p/17");
        check(63, 1000, 255, "tile/63/x001/000.p/255");
        let bundle = Bundle::new(273, 112).expect("in range");
        assert_eq!(bundle.path(), "tile/entries/273.p/112");
        assert_eq!(Bundle::from_path("tile/entries/273.p/112"), Ok(bundle));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for path in [
            "",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/xx01/000",
            "tile/0/x001/x002",
            "tile/0/+01",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/0/\u{661}00",
            "tile/entries/000",
        ] {
            assert_eq!(Tile::from_path(path), Err(TileError::NotAPath), "{path}");
        }
        assert_eq!(Bundle::from_path("tile/0/000"), Err(TileError::NotAPath));
    }

    // The example of tlog-tiles, "Partial Tiles": a tree of 70,000 entries.
    #[test]
    fn widths_follow_the_size_of_the_tree() {
        let width = |level, index| Tile::of_tree(level, index, 70_000).map(Tile::width);
        assert_eq!(width(0, 272), Some(256));
        assert_eq!(width(0, 273), Some(112));
        assert_eq!(width(0, 274), None);
        assert_eq!(width(1, 0), Some(256));
        assert_eq!(width(1, 1), Some(17));
        assert_eq!(width(2, 0), Some(1));
        assert_eq!(width(3, 0), None);
        assert_eq!(width(63, 0), None);
    }

    #[test]
    fn bundles_hold_exactly_their_entries() {
        let mut bytes = Vec::new();
        let longest = vec![b'x'; ENTRY_BYTES_MAX];
        for entry in [&b"one"[..], b"", &longest] {
            Bundle::append(&mut bytes, entry).expect("fits");
        }
        assert_eq!(Bundle::append(&mut bytes.clone(), &vec![0; ENTRY_BYTES_MAX + 1]), None);
        let read = |width, bytes: &[u8]| {
            Bundle::new(0, width).expect("in range").entries(bytes).map(|e| e.len()).map_err(|_| ())
        };
        assert_eq!(read(3, &bytes), Ok(3));
        assert_eq!(read(2, &bytes), Err(()));
        assert_eq!(read(4, &bytes), Err(()));
        assert_eq!(read(3, &bytes[..bytes.len() - 1]), Err(()));
    }

    #[test]
    fn tiles_hold_whole_hashes() {
        let tile = Tile::new(0, 0, 2).expect("in range");
        assert_eq!(tile.hashes(&[7; 64]).map(|h| h.len()), Ok(2));
        assert_eq!(tile.hashes(&[7; 96]).map(|h| h.len()), Ok(2));
        for bytes in [0, 32, 63, 65, 257 * 32] {
            assert!(tile.hashes(&vec![7; bytes]).is_err(), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn any_tile_reads_back_from_its_path(level in 0..=63_u8, index in 0..=TREE_SIZE_MAX, width in 1..=256_u16) {
            let tile = Tile::new(level, index, width).expect("in range");
            prop_assert_eq!(Tile::from_path(&tile.path()), Ok(tile));
        }

        #[test]
        fn no_text_panics_the_path_reader(text in "(tile/)?[0-9x/.p]{0,24}") {
            if let Ok(tile) = Tile::from_path(&text) {
                prop_assert_eq!(tile.path(), text);
            }
        }
    }
}
