//! Which files one checkpoint needs beyond those of an earlier one (C2SP tlog-tiles, "Tiles" and "Partial tiles"). Pure.

use accredit_ledger::tile::{Bundle, TILE_HEIGHT, TILE_WIDTH, Tile};

/// One file of the log, but for the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A tile of hashes.
    Tile(Tile),
    /// A bundle of entries.
    Bundle(Bundle),
}

impl Part {
    pub(crate) fn path(self) -> String {
        match self {
            Self::Tile(tile) => tile.path(),
            Self::Bundle(bundle) => bundle.path(),
        }
    }

    /// Whether it will never change again.
    pub(crate) const fn is_full(self) -> bool {
        let width = match self {
            Self::Tile(tile) => tile.width(),
            Self::Bundle(bundle) => bundle.width(),
        };
        width as u64 == TILE_WIDTH
    }
}

/// The files that a tree of `size` entries has and one of `from` has not, narrower ones of the same place included.
pub(crate) fn parts(from: u64, size: u64) -> impl Iterator<Item = Part> {
    let levels = (0_u8..).take_while(move |level| hashes(size, *level) > 0);
    let tiles = levels.flat_map(move |level| {
        let first = hashes(from, level) / TILE_WIDTH;
        let grown = hashes(size, level) > hashes(from, level);
        let tile = move |index| Tile::of_tree(level, index, size).map(Part::Tile);
        (first..).map_while(tile).take_while(move |_| grown)
    });
    let bundle = move |index| Bundle::of_tree(index, size).map(Part::Bundle);
    let bundles = (from / TILE_WIDTH..).map_while(bundle).take_while(move |_| size > from);
    bundles.chain(tiles)
}

/// Hashes of a level in a tree of `size` entries.
const fn hashes(size: u64, level: u8) -> u64 {
    match size.checked_shr(level as u32 * TILE_HEIGHT) {
        Some(hashes) => hashes,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn paths(from: u64, size: u64) -> Vec<String> {
        parts(from, size).map(Part::path).collect()
    }

    #[test]
    fn a_checkpoint_needs_what_the_one_before_did_not_have() {
        assert_eq!(paths(0, 0), Vec::<String>::new());
        assert_eq!(paths(5, 5), Vec::<String>::new());
        assert_eq!(paths(0, 3), ["tile/entries/000.p/3", "tile/0/000.p/3"]);
        assert_eq!(paths(3, 256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(paths(256, 300), ["tile/entries/001.p/44", "tile/0/001.p/44"]);
        assert_eq!(
            paths(300, 520),
            ["tile/entries/001", "tile/entries/002.p/8", "tile/0/001", "tile/0/002.p/8", "tile/1/000.p/2"]
        );
    }

    /// Whatever the steps, in the end everything is there that a tree of that size has.
    #[test]
    fn steps_leave_out_nothing() {
        let size = 70_000;
        let whole: BTreeSet<String> = paths(0, size).into_iter().collect();
        assert!(whole.contains("tile/2/000.p/1") && whole.contains("tile/1/001.p/17"));
        for step in [1, 255, 256, 257, 4_096] {
            let mut have = BTreeSet::new();
            let mut at = 0;
            while at < size {
                let next = (at + step).min(size);
                have.extend(paths(at, next));
                at = next;
            }
            assert!(whole.is_subset(&have), "steps of {step}");
        }
    }
}
