//! The tree against known values and against a second, naive implementation of RFC 6962 §2.1.

use std::collections::BTreeMap;
use std::convert::Infallible;

use accredit_ledger::Hash;
use accredit_ledger::audit_path::{ProofError, verify_consistency, verify_inclusion};
use accredit_ledger::hash::{empty_root, leaf_hash, node_hash};
use accredit_ledger::tile::{TREE_SIZE_MAX, Tile};
use accredit_ledger::tree::{TreeError, append, consistency_proof, inclusion_proof, root_at};
use proptest::prelude::*;

/// Tiles as a storage keeps them: the widest version of each.
#[derive(Default)]
struct Tiles {
    size: u64,
    kept: BTreeMap<(u8, u64), Vec<u8>>,
}

impl Tiles {
    fn of(leaves: &[Hash]) -> Self {
        let mut tiles = Self::default();
        tiles.append(leaves);
        tiles
    }

    fn append(&mut self, leaves: &[Hash]) -> Hash {
        let appended = append(self.size, leaves, |tile| self.read(tile)).expect("tiles are there");
        self.size = appended.size;
        self.kept
            .extend(appended.tiles.into_iter().map(|(tile, bytes)| ((tile.level(), tile.index()), bytes)));
        appended.root
    }

    fn read(&self, tile: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.kept.get(&(tile.level(), tile.index())).cloned())
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        inclusion_proof(index, size, |tile| self.read(tile)).expect("tiles are there")
    }

    fn consistency(&self, old: u64, size: u64) -> Vec<Hash> {
        consistency_proof(old, size, |tile| self.read(tile)).expect("tiles are there")
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// RFC 6962 §2.1 word by word.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
        }
    }
}

// The reference tree of certificate-transparency (`merkle_tree_test`): inputs, roots by size, and proofs.
const REFERENCE_INPUTS: [&[u8]; 8] = [
    &[],
    &[0x00],
    &[0x10],
    &[0x20, 0x21],
    &[0x30, 0x31],
    &[0x40, 0x41, 0x42, 0x43],
    &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
    &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
];
const REFERENCE_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn the_reference_tree_has_its_known_roots_and_proofs() {
    let leaves: Vec<Hash> = REFERENCE_INPUTS.iter().map(|input| leaf_hash(input)).collect();
    let mut grown = Tiles::default();
    for (leaf, root) in leaves.iter().zip(REFERENCE_ROOTS) {
        assert_eq!(grown.append(std::slice::from_ref(leaf)).to_string(), root);
    }
    let hex = |proof: Vec<Hash>| proof.iter().map(Hash::to_string).collect::<Vec<_>>();
    let from_one = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    assert_eq!(hex(grown.inclusion(0, 8)), from_one);
    assert_eq!(hex(grown.consistency(1, 8)), from_one);
    assert_eq!(
        hex(grown.inclusion(5, 8)),
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn trees_at_the_borders_of_tiles_agree_with_the_naive_tree() {
    let leaves = leaves(66_000);
    let tiles = Tiles::of(&leaves);
    for size in [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 66_000] {
        let root = root_at(size, tiles.size, |tile| tiles.read(tile)).expect("tiles are there");
        assert_eq!(root, naive_root(&leaves[..size as usize]), "size {size}");
    }
}

#[test]
fn only_tiles_that_grew_are_written() {
    let leaves = leaves(600);
    let grown = |from: u64, to: u64| {
        let tiles = Tiles::of(&leaves[..from as usize]);
        let added = &leaves[from as usize..to as usize];
        let appended = append(from, added, |tile| tiles.read(tile)).expect("tiles are there");
        appended.tiles.iter().map(|(tile, _)| tile.path()).collect::<Vec<_>>()
    };
    assert_eq!(grown(0, 1), ["tile/0/000.p/1"]);
    assert_eq!(grown(10, 12), ["tile/0/000.p/12"]);
    assert_eq!(grown(255, 256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(grown(256, 257), ["tile/0/001.p/1"]);
    assert_eq!(grown(250, 600), ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]);
    assert_eq!(grown(5, 5), [""; 0]);
}

// case: AUD-18
#[test]
fn proofs_in_a_tree_of_a_million_have_at_most_twenty_hashes() {
    // Only the shape counts here: every tile of a tree of equal leaves is made of its level's one hash.
    let size = 1_000_000;
    let mut level_hash = vec![leaf_hash(b"same")];
    for level in 0..3 {
        level_hash.push((0..8).fold(level_hash[level], |hash, _| node_hash(&hash, &hash)));
    }
    let read = |tile: Tile| {
        let hash = level_hash[usize::from(tile.level())];
        Ok::<_, Infallible>(Some(Tile::bytes(&vec![hash; usize::from(tile.width())])))
    };
    let root = root_at(size, size, read).expect("tiles are there");
    for index in [0, 1, 499_999, 524_288, 983_040, 999_999] {
        let proof = inclusion_proof(index, size, read).expect("tiles are there");
        assert!(proof.len() <= 20, "entry {index}: {} hashes", proof.len());
        assert_eq!(verify_inclusion(&level_hash[0], index, size, &proof, &root), Ok(()));
    }
    for old in [1, 2, 3, 500_000, 999_999] {
        let proof = consistency_proof(old, size, read).expect("tiles are there");
        assert!(proof.len() <= 21, "size {old}: {} hashes", proof.len());
        let old_root = root_at(old, size, read).expect("tiles are there");
        assert_eq!(verify_consistency(old, size, &proof, &old_root, &root), Ok(()));
    }
}

#[test]
fn what_is_not_in_the_tree_is_refused() {
    let tiles = Tiles::of(&leaves(300));
    let read = |tile| tiles.read(tile);
    assert!(matches!(inclusion_proof(300, 300, read), Err(TreeError::OutOfRange { asked: 300, size: 300 })));
    assert!(matches!(consistency_proof(301, 300, read), Err(TreeError::OutOfRange { .. })));
    assert!(matches!(root_at(301, 300, read), Err(TreeError::OutOfRange { .. })));
    assert!(matches!(root_at(1, u64::MAX, read), Err(TreeError::OutOfRange { .. })));
    let edge_of_largest = |tile: Tile| Ok::<_, Infallible>(Some(vec![0; usize::from(tile.width()) * 32]));
    assert!(append(TREE_SIZE_MAX - 1, &leaves(1), edge_of_largest).is_ok());
    assert!(matches!(append(TREE_SIZE_MAX, &leaves(1), edge_of_largest), Err(TreeError::OutOfRange { .. })));
    let missing = inclusion_proof(0, 300, |tile| Ok::<_, Infallible>((tile.level() > 0).then(Vec::new)));
    assert!(matches!(missing, Err(TreeError::Missing(_))));
    let short = inclusion_proof(0, 300, |_| Ok::<_, Infallible>(Some(vec![0; 31])));
    assert!(matches!(short, Err(TreeError::Tile(_))));
    assert!(matches!(inclusion_proof(0, 300, |_| Err("disk")), Err(TreeError::Read("disk"))));
}

#[test]
fn trivial_consistency_has_no_proof_and_still_binds() {
    let (one, two) = (leaf_hash(b"1"), leaf_hash(b"2"));
    assert_eq!(verify_consistency(0, 7, &[], &empty_root(), &one), Ok(()));
    assert_eq!(verify_consistency(0, 7, &[], &two, &one), Err(ProofError::Root));
    assert_eq!(verify_consistency(0, 0, &[], &empty_root(), &one), Err(ProofError::Root));
    assert_eq!(verify_consistency(7, 7, &[], &one, &one), Ok(()));
    assert_eq!(verify_consistency(7, 7, &[], &one, &two), Err(ProofError::Root));
    assert_eq!(verify_consistency(7, 7, &[one], &one, &one), Err(ProofError::Length));
    assert_eq!(verify_consistency(8, 7, &[one], &one, &one), Err(ProofError::OutOfRange));
    assert_eq!(verify_inclusion(&one, 0, 0, &[], &one), Err(ProofError::OutOfRange));
}

/// Every way to spoil a proof that leaves something to check.
fn spoiled(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        let mut bytes = *proof[at].as_bytes();
        bytes[at % 32] ^= 0x80;
        let mut changed = proof.to_vec();
        changed[at] = Hash::from_bytes(bytes);
        all.push(changed);
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        all.push(shorter);
        let mut longer = proof.to_vec();
        longer.insert(at, proof[at]);
        all.push(longer);
    }
    let mut longer = proof.to_vec();
    longer.push(leaf_hash(b"extra"));
    all.push(longer);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn growing_in_any_steps_gives_the_same_tree(steps in prop::collection::vec(0_usize..400, 1..6)) {
        let all = leaves(steps.iter().sum::<usize>() as u64);
        let mut tiles = Tiles::default();
        let mut at = 0;
        for step in steps {
            let root = tiles.append(&all[at..at + step]);
            at += step;
            prop_assert_eq!(root, naive_root(&all[..at]));
        }
        prop_assert_eq!(&tiles.kept, &Tiles::of(&all).kept);
    }

    // case: AUD-15
    #[test]
    fn an_inclusion_proof_holds_for_its_entry_alone(size in 1_u64..700, pick in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
        let all = leaves(size);
        let tiles = Tiles::of(&all);
        let (root, index) = (naive_root(&all), pick.index(size as usize) as u64);
        let leaf = &all[index as usize];
        let proof = tiles.inclusion(index, size);
        prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
        for spoiled in spoiled(&proof) {
            prop_assert!(verify_inclusion(leaf, index, size, &spoiled, &root).is_err());
        }
        let other = other.index(size as usize) as u64;
        if other != index {
            prop_assert!(verify_inclusion(&all[other as usize], index, size, &proof, &root).is_err());
            prop_assert!(verify_inclusion(leaf, other, size, &proof, &root).is_err());
        }
        prop_assert!(verify_inclusion(leaf, index, size, &proof, &leaf_hash(b"other root")).is_err());
    }

    // case: AUD-07
    #[test]
    fn a_consistency_proof_holds_for_a_prefix_alone(size in 2_u64..700, pick in any::<prop::sample::Index>()) {
        let all = leaves(size);
        let tiles = Tiles::of(&all);
        let old = 1 + pick.index(size as usize - 1) as u64;
        let (old_root, root) = (naive_root(&all[..old as usize]), naive_root(&all));
        let proof = tiles.consistency(old, size);
        prop_assert_eq!(verify_consistency(old, size, &proof, &old_root, &root), Ok(()));
        for spoiled in spoiled(&proof) {
            prop_assert!(verify_consistency(old, size, &spoiled, &old_root, &root).is_err());
        }
        let mut rewritten = all.clone();
        rewritten[old as usize - 1] = leaf_hash(b"rewritten");
        let forged = Tiles::of(&rewritten).consistency(old, size);
        prop_assert!(verify_consistency(old, size, &forged, &old_root, &naive_root(&rewritten)).is_err());
    }
}
