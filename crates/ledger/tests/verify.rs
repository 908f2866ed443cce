//! Tampering with a stored ledger, one case per line, and what verification says about it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use accredit_ledger::checkpoint::{Checkpoint, CheckpointError};
use accredit_ledger::entry::Entry;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::head::Head;
use accredit_ledger::note::{NoteError, Signer};
use accredit_ledger::tile::Tile;
use accredit_ledger::tree::{append, root_at};
use accredit_ledger::verify::{Expected, Located, Problem, Report, Tail, VerifyError, verify};
use serde_json::json;

const ORIGIN: &str = "accredit.example/ledger";
const SIZE: u64 = 700;
const HEAD: u64 = 650;
const SIGNED: [u64; 6] = [0, 1, 100, 256, 300, 600];

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[5; 32]).expect("a good name and seed")
}

fn entry(number: u64) -> Vec<u8> {
    entry_at(number, 1_760_000_000_000 + number as i64)
}

fn entry_at(number: u64, at: i64) -> Vec<u8> {
    let serde_json::Value::Object(body) = json!({
        "decision": format!("d_{number}"), "outcome": "allow", "agent": "deployer", "purpose": "rotate the keys"
    }) else {
        panic!("a body is an object")
    };
    let entry = Entry::new("action.decided", at, "acme", body).expect("allowed");
    entry.encode().expect("small").into_bytes()
}

/// A ledger as a storage keeps it, and as an intruder may rewrite it.
#[derive(Clone)]
struct Stored {
    entries: Vec<Vec<u8>>,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    checkpoints: Vec<String>,
    latest: String,
    head: Option<Head>,
    tail: Tail,
}

impl Stored {
    fn good() -> Self {
        Self::of((0..SIZE).map(entry).collect())
    }

    fn of(entries: Vec<Vec<u8>>) -> Self {
        let mut stored = Self {
            entries,
            tiles: BTreeMap::new(),
            checkpoints: Vec::new(),
            latest: String::new(),
            head: None,
            tail: Tail::Refuse,
        };
        stored.rebuild_tiles();
        stored.checkpoints = SIGNED.into_iter().map(|size| stored.sign(size)).collect();
        stored.latest = stored.sign(stored.entries.len() as u64);
        let root = stored.root(HEAD);
        stored.head = Some(Head::new(ORIGIN, 0, HEAD, root).expect("a good origin"));
        stored
    }

    /// What an intruder with the database, and without the key, can make fit.
    fn rebuild_tiles(&mut self) {
        let leaves: Vec<_> = self.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let appended = append(0, &leaves, |_| Ok::<_, Infallible>(None)).expect("nothing to read");
        self.tiles =
            appended.tiles.into_iter().map(|(tile, bytes)| ((tile.level(), tile.index()), bytes)).collect();
    }

    fn root(&self, size: u64) -> accredit_ledger::Hash {
        root_at(size, self.entries.len() as u64, |tile| self.tile(tile)).expect("tiles are there")
    }

    /// What whoever has the key can make fit as well.
    fn sign(&self, size: u64) -> String {
        let checkpoint = Checkpoint::new(ORIGIN, size, self.root(size)).expect("a good origin");
        checkpoint.sign(&signer()).expect("own key")
    }

    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.tiles.get(&(tile.level(), tile.index())).cloned())
    }

    fn verify(&self) -> Result<Report, Problem> {
        let log = [signer().verifier().clone()];
        let expected =
            Expected { log: &log, latest: &self.latest, head: self.head.as_ref(), tail: self.tail };
        let (mut entries, mut checkpoints) = (self.entries.iter().cloned(), self.checkpoints.iter().cloned());
        let verified =
            verify(&expected, || Ok(entries.next()), |tile| self.tile(tile), || Ok(checkpoints.next()));
        verified.map_err(|error: VerifyError<Infallible>| match error {
            VerifyError::Problem(problem) => *problem,
            VerifyError::Read(never) => match never {},
        })
    }
}

/// Tampers with a good ledger and says what verification must find.
#[track_caller]
fn check(tamper: impl FnOnce(&mut Stored), expected: Problem) {
    let mut stored = Stored::good();
    tamper(&mut stored);
    assert_eq!(stored.verify(), Err(expected));
}

fn located(index: u64, bytes: &[u8]) -> Located {
    Located { index, about: accredit_ledger::entry::describe(bytes) }
}

fn flip(bytes: &mut [u8], at: usize) {
    bytes[at] ^= 1;
}

#[test]
fn an_untouched_ledger_verifies() {
    let stored = Stored::good();
    let report = stored.verify().expect("nothing is wrong");
    assert_eq!(
        (report.size, report.root, report.checkpoints, report.unsigned),
        (SIZE, stored.root(SIZE), 6, 0)
    );
    let without = Stored { head: None, checkpoints: Vec::new(), ..Stored::good() };
    assert_eq!(without.verify().map(|report| report.checkpoints), Ok(0));
    for size in [0, 1, 255, 256, 257] {
        let mut small = Stored { head: None, checkpoints: Vec::new(), ..Stored::good() };
        small.entries.truncate(size);
        small.rebuild_tiles();
        small.latest = small.sign(size as u64);
        assert_eq!(small.verify().map(|report| report.size), Ok(size as u64));
    }
}

// case: AUD-04
#[test]
fn any_changed_byte_of_an_entry_names_that_entry() {
    for index in [0, 1, 255, 256, 511, 642, 699] {
        let length = Stored::good().entries[index].len();
        for at in [0, length / 2, length - 1] {
            let mut stored = Stored::good();
            flip(&mut stored.entries[index], at);
            let changed = located(index as u64, &stored.entries[index]);
            assert_eq!(stored.verify(), Err(Problem::Changed(changed)), "byte {at} of entry {index}");
        }
    }
}

// case: AUD-05
#[test]
fn a_changed_timestamp_is_named() {
    let changed = entry_at(42, 1_760_000_000_999);
    let expected = Problem::Changed(located(42, &changed));
    assert_eq!(expected.to_string(), "entry 42 (`action.decided` of `d_42`) was changed");
    check(|stored| stored.entries[42] = changed, expected);
}

// case: AUD-05
#[test]
fn removed_entries_are_named() {
    for first in [0, 1, 255, 256, 300, 698] {
        check(
            |stored| drop(stored.entries.remove(first)),
            Problem::Removed { first: first as u64, count: 1 },
        );
    }
    check(|stored| drop(stored.entries.drain(250..270)), Problem::Removed { first: 250, count: 20 });
    check(|stored| drop(stored.entries.drain(10..510)), Problem::Removed { first: 10, count: 500 });
}

// case: AUD-05
#[test]
fn swapped_entries_are_named() {
    for (a, b) in [(0, 1), (5, 6), (255, 256), (3, 690), (698, 699)] {
        check(
            |stored| stored.entries.swap(a, b),
            Problem::Swapped(located(a as u64, &entry(b as u64)), located(b as u64, &entry(a as u64))),
        );
    }
}

// case: AUD-05
#[test]
fn duplicated_entries_are_named() {
    for (copy_of, put_at) in [(4, 5), (4, 6), (3, 600), (0, 1), (6, 5)] {
        check(
            |stored| stored.entries.insert(put_at, entry(copy_of)),
            Problem::Duplicated { entry: located(put_at as u64, &entry(copy_of)), of: copy_of },
        );
    }
}

// case: AUD-05
#[test]
fn added_entries_are_named() {
    let added = entry(9_999);
    for at in [0, 17, 256, 699] {
        check(
            |stored| stored.entries.insert(at, added.clone()),
            Problem::Added { entry: located(at as u64, &added), count: 1 },
        );
    }
    check(
        |stored| drop(stored.entries.splice(30..30, (9_000..9_012).map(entry))),
        Problem::Added { entry: located(30, &entry(9_000)), count: 12 },
    );
    // After the head, where no stored leaf stands against it.
    check(
        |stored| stored.entries.push(added.clone()),
        Problem::Added { entry: located(SIZE, &added), count: 1 },
    );
}

#[test]
fn entries_not_signed_yet_are_counted_where_the_caller_expects_them() {
    let mut stored = Stored { tail: Tail::Count, ..Stored::good() };
    stored.entries.extend((SIZE..SIZE + 3).map(entry));
    assert_eq!(stored.verify().map(|report| (report.size, report.unsigned)), Ok((SIZE, 3)));
}

// case: AUD-05, AUD-06
#[test]
fn a_truncated_tail_is_named() {
    check(|stored| stored.entries.truncate(699), Problem::Truncated { have: 699, expected: SIZE });
    check(|stored| stored.entries.truncate(10), Problem::Truncated { have: 10, expected: SIZE });
    check(|stored| stored.entries.clear(), Problem::Truncated { have: 0, expected: SIZE });
    // With the checkpoint put back as well, only the outside head is left to notice it.
    let restored = |stored: &mut Stored| {
        *stored = Stored { latest: stored.sign(600), head: stored.head.take(), ..Stored::good() };
        stored.entries.truncate(600);
        stored.rebuild_tiles();
    };
    check(restored, Problem::Truncated { have: 600, expected: HEAD });
}

// case: AUD-04, AUD-05
#[test]
fn entries_changed_together_with_their_hashes_are_narrowed_down() {
    let rewritten = |first, last| Problem::Rewritten { first, last };
    // The leaf hash in its tile as well: the tile above gives the 256 entries away.
    let with_leaf = |index: usize| {
        move |stored: &mut Stored| {
            flip(&mut stored.entries[index], 20);
            let leaf = leaf_hash(&stored.entries[index]);
            let row = stored.tiles.get_mut(&(0, index as u64 / 256)).expect("the tile of the entry");
            row[index % 256 * 32..][..32].copy_from_slice(leaf.as_bytes());
        }
    };
    check(with_leaf(150), rewritten(0, 255));
    check(with_leaf(511), rewritten(256, 511));
    check(with_leaf(520), rewritten(300, 599));
    // Every tile as well: the next signed checkpoint gives the range away.
    let with_tiles = |index: usize| {
        move |stored: &mut Stored| {
            flip(&mut stored.entries[index], 20);
            stored.rebuild_tiles();
        }
    };
    check(with_tiles(0), rewritten(0, 0));
    check(with_tiles(50), rewritten(1, 99));
    check(with_tiles(299), rewritten(256, 299));
    check(with_tiles(640), rewritten(600, 649));
    check(with_tiles(699), rewritten(650, 699));
}

#[test]
fn a_changed_tile_is_told_from_a_changed_entry() {
    for (level, index, at) in [(0, 0, 0), (0, 1, 255), (0, 2, 100), (1, 0, 0), (1, 0, 1)] {
        let tile = Tile::of_tree(level, index, SIZE).expect("a tile of the tree");
        check(
            |stored| flip(stored.tiles.get_mut(&(level, index)).expect("stored"), at * 32),
            Problem::TileChanged(tile),
        );
        check(|stored| drop(stored.tiles.remove(&(level, index))), Problem::TileMissing(tile));
        check(
            |stored| stored.tiles.get_mut(&(level, index)).expect("stored").truncate(31),
            Problem::TileChanged(tile),
        );
    }
}

// case: AUD-07
#[test]
fn two_heads_of_one_size_are_a_fork() {
    let mut other = Stored::good();
    flip(&mut other.entries[299], 20);
    other.rebuild_tiles();
    let good = Stored::good();
    let fork = |size| Problem::Forked { size, one: good.root(size), other: other.root(size) };
    check(|stored| stored.checkpoints.insert(5, other.sign(300)), fork(300));
    check(|stored| stored.checkpoints.push(other.sign(SIZE)), fork(SIZE));
    let head =
        |from: &Stored, size| Some(Head::new(ORIGIN, 0, size, from.root(size)).expect("a good origin"));
    let reversed = |size| Problem::Forked { size, one: other.root(size), other: good.root(size) };
    check(|stored| stored.head = head(&other, SIZE), reversed(SIZE));
    check(|stored| stored.head = head(&other, HEAD), reversed(HEAD));
    check(|stored| stored.head = head(&other, 600), reversed(600));
}

// case: AUD-07
#[test]
fn an_old_checkpoint_that_is_no_prefix_is_named() {
    let mut other = Stored::good();
    flip(&mut other.entries[2], 20);
    other.rebuild_tiles();
    check(|stored| stored.checkpoints[3] = other.sign(256), Problem::NotAPrefix { size: 256, later: 300 });
    check(|stored| stored.checkpoints[5] = other.sign(600), Problem::NotAPrefix { size: 600, later: HEAD });
    // History rewritten and signed again by whoever has the key: the outside head and the old checkpoint stand against it.
    let resigned = |stored: &mut Stored| {
        stored.entries.clone_from(&other.entries);
        stored.rebuild_tiles();
        stored.latest = stored.sign(SIZE);
        stored.head = None;
    };
    check(resigned, Problem::NotAPrefix { size: 100, later: SIZE });
}

#[test]
fn checkpoints_that_are_not_the_logs_are_refused() {
    let refused = |after, reason| Problem::Checkpoint { after, reason };
    let unsigned = || CheckpointError::Note(NoteError::Unsigned);
    check(
        |stored| stored.latest = "accredit\n1\n".into(),
        refused(0, CheckpointError::Note(NoteError::Malformed)),
    );
    let forged = Signer::from_seed(ORIGIN, &[6; 32]).expect("a good name and seed");
    let forge = |stored: &Stored| {
        Checkpoint::new(ORIGIN, 300, stored.root(300)).expect("a good origin").sign(&forged).expect("own key")
    };
    check(|stored| stored.latest = forge(stored), refused(0, unsigned()));
    check(|stored| stored.checkpoints[4] = forge(stored), refused(256, unsigned()));
    check(
        |stored| stored.checkpoints[4] = stored.checkpoints[4].replacen("\n300\n", "\n301\n", 1),
        refused(256, CheckpointError::Note(NoteError::BadSignature)),
    );
    check(|stored| stored.checkpoints.swap(2, 3), Problem::CheckpointOrder { size: 100, after: 256 });
    check(
        |stored| stored.latest = stored.sign(HEAD),
        Problem::Added { entry: located(HEAD, &entry(HEAD)), count: SIZE - HEAD },
    );
    check(
        |stored| stored.checkpoints.push(Stored::of((0..701).map(entry).collect()).sign(701)),
        Problem::CheckpointOrder { size: 701, after: SIZE },
    );
    let foreign = Head::new("other.example", 0, HEAD, leaf_hash(b"")).expect("a good origin");
    check(|stored| stored.head = Some(foreign), Problem::ForeignHead("other.example".into()));
}

#[test]
fn a_source_that_fails_says_nothing_about_the_ledger() {
    let stored = Stored::good();
    let log = [signer().verifier().clone()];
    let expected = Expected { log: &log, latest: &stored.latest, head: None, tail: Tail::Refuse };
    let mut entries = stored.entries.iter().cloned();
    let result = verify(
        &expected,
        || if entries.len() > 500 { Ok(entries.next()) } else { Err("disk") },
        |tile| Ok(stored.tile(tile).unwrap_or_default()),
        || Ok(None),
    );
    assert!(matches!(result, Err(VerifyError::Read("disk"))), "{result:?}");
}

// case: AUD-18
#[test]
fn a_million_entries_verify_in_one_pass() {
    const MILLION: u64 = 1_000_000;
    const BATCH: u64 = 4096;
    let line = |number: u64| format!("{number:0512}").into_bytes();
    let mut tiles: BTreeMap<(u8, u64), Vec<u8>> = BTreeMap::new();
    let mut signed = Vec::new();
    let mut size = 0;
    while size < MILLION {
        let leaves: Vec<_> =
            (size..(size + BATCH).min(MILLION)).map(|number| leaf_hash(&line(number))).collect();
        let read = |tile: Tile| Ok::<_, Infallible>(tiles.get(&(tile.level(), tile.index())).cloned());
        let appended = append(size, &leaves, read).expect("tiles are there");
        size = appended.size;
        tiles.extend(appended.tiles.into_iter().map(|(tile, bytes)| ((tile.level(), tile.index()), bytes)));
        let checkpoint = Checkpoint::new(ORIGIN, size, appended.root).expect("a good origin");
        signed.push(checkpoint.sign(&signer()).expect("own key"));
    }
    let log = [signer().verifier().clone()];
    let latest = signed.last().expect("at least one batch").clone();
    let expected = Expected { log: &log, latest: &latest, head: None, tail: Tail::Refuse };
    let (mut numbers, mut checkpoints) = (0..MILLION, signed.into_iter());
    let report = verify(
        &expected,
        || Ok::<_, Infallible>(numbers.next().map(line)),
        |tile| Ok(tiles.get(&(tile.level(), tile.index())).cloned()),
        || Ok(checkpoints.next()),
    )
    .expect("nothing is wrong");
    assert_eq!((report.size, report.checkpoints), (MILLION, MILLION / BATCH));
}
