//! The whole ledger from the first entry to the head: recomputed, compared, and the first problem named.
//!
//! Entries, tiles and checkpoints come from the storage under suspicion; the verifier key and the outside head are what
//! is trusted. One pass, constant memory: the right edge of the tree and one tile per level.
//! Not here: telling what was done to an entry that does not match its leaf (`diagnose`).

use std::fmt;

use crate::checkpoint::{self, CheckpointError, VerifiedCheckpoint};
use crate::diagnose::diagnose;
use crate::entry::{Described, describe};
use crate::hash::{Hash, leaf_hash};
use crate::head::Head;
use crate::note::VerifierKey;
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, Tile};
use crate::tree::RightEdge;

/// What is trusted, and what the ledger is held against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Verifier keys of the log; more than one while keys are rotated.
    pub log: &'a [VerifierKey],
    /// The current signed checkpoint.
    pub latest: &'a str,
    /// The head kept outside the database, if there is one.
    pub head: Option<&'a Head>,
    /// What entries after the signed checkpoint are.
    pub tail: Tail,
}

/// What entries after the current checkpoint are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Added by someone: whoever calls has signed everything.
    Refuse,
    /// Not yet signed, as between two checkpoints or after a crash: counted in [`Report::unsigned`].
    Count,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Entries under the current checkpoint, all verified.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// Earlier checkpoints that were shown to be prefixes.
    pub checkpoints: u64,
    /// Entries after the current checkpoint: not covered by any signature yet.
    pub unsigned: u64,
}

/// Why verification did not end well: the storage could not be read, or it holds something wrong.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError<E> {
    /// Reading failed; nothing is said about the ledger.
    #[error("reading the ledger failed: {0}")]
    Read(E),
    /// The ledger is not what was signed.
    #[error(transparent)]
    Problem(Box<Problem>),
}

/// An entry by its number and, where its bytes can be read, by what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Number of the entry as it is stored now, from 0.
    pub index: u64,
    /// What its bytes say it is; they may have been tampered with.
    pub about: Option<Described>,
}

/// The first thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes of an entry differ from what was signed.
    #[error("{0} was changed")]
    Changed(Located),
    /// Entries that were signed are not there; those after them moved up.
    #[error("{count} entries are missing from entry {first} on")]
    Removed {
        /// Number of the first one missing.
        first: u64,
        /// How many.
        count: u64,
    },
    /// Two entries changed places.
    #[error("{0} and {1} were swapped")]
    Swapped(Located, Located),
    /// A copy of an entry was put in.
    #[error("{entry} is a second copy of the one signed as entry {of}")]
    Duplicated {
        /// The copy.
        entry: Located,
        /// Number under which the original was signed.
        of: u64,
    },
    /// Entries that were never signed were put in.
    #[error("{entry} was added ({count} in all)")]
    Added {
        /// The first of them.
        entry: Located,
        /// How many in a row.
        count: u64,
    },
    /// The ledger ends before its signed or outside head.
    #[error("the ledger ends after {have} entries, its head has {expected}")]
    Truncated {
        /// Entries that are there.
        have: u64,
        /// Entries that the head has.
        expected: u64,
    },
    /// Entries and their leaf hashes were changed together: the tree above them does not fit any more.
    #[error(
        "entries {first} to {last} do not fit what was signed: at least one was changed together with its hash"
    )]
    Rewritten {
        /// First entry of the range.
        first: u64,
        /// Last entry of the range.
        last: u64,
    },
    /// A tile was changed; the entries are as signed.
    #[error("`{0}` was changed, the entries under it are as signed")]
    TileChanged(Tile),
    /// A tile that the tree needs is not there.
    #[error("`{0}` is missing")]
    TileMissing(Tile),
    /// Two heads of equal size with different roots: the log was split, and one history was shown to some.
    #[error("two heads of {size} entries have different roots: `{one}` and `{other}`")]
    Forked {
        /// Size of both.
        size: u64,
        /// Root that is signed or kept outside.
        one: Hash,
        /// Root found beside it.
        other: Hash,
    },
    /// An old signed checkpoint is not a prefix of a later one.
    #[error("the checkpoint of {size} entries is not a prefix of the one of {later}")]
    NotAPrefix {
        /// Size of the old one.
        size: u64,
        /// Size of the later one, which fits the entries.
        later: u64,
    },
    /// A checkpoint is malformed, wrongly signed or of another log.
    #[error("the checkpoint after that of {after} entries is refused: {reason}")]
    Checkpoint {
        /// Size of the checkpoint before it, 0 for the first.
        after: u64,
        /// Why it is refused.
        reason: CheckpointError,
    },
    /// Checkpoints are not in the order of their sizes, or one is larger than the current one.
    #[error("a checkpoint of {size} entries comes after one of {after}")]
    CheckpointOrder {
        /// Size of the one out of place.
        size: u64,
        /// Size of the one before it.
        after: u64,
    },
    /// The outside head is of another log.
    #[error("the outside head is of log `{0}`")]
    ForeignHead(String),
}

impl<E> From<Problem> for VerifyError<E> {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl Located {
    pub(crate) fn new(index: u64, bytes: &[u8]) -> Self {
        Self { index, about: describe(bytes) }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.index)?;
        match &self.about {
            Some(Described { kind, subject: Some(subject) }) => write!(f, " (`{kind}` of `{subject}`)"),
            Some(Described { kind, subject: None }) => write!(f, " (`{kind}`)"),
            None => Ok(()),
        }
    }
}

/// Verifies a ledger.
///
/// `entries` gives the stored entries in order and then `None`. `tiles` gives a stored tile (a wider version of it will do)
/// or `None`. `checkpoints` gives the earlier signed checkpoints by rising size and then `None`; the current one may be among them.
///
/// # Errors
/// [`VerifyError::Problem`] with the first thing wrong; [`VerifyError::Read`] when a source fails.
pub fn verify<E>(
    expected: &Expected<'_>,
    entries: impl FnMut() -> Result<Option<Vec<u8>>, E>,
    tiles: impl FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
    checkpoints: impl FnMut() -> Result<Option<String>, E>,
) -> Result<Report, VerifyError<E>> {
    let latest = checkpoint::open(expected.latest, expected.log)
        .map_err(|reason| Problem::Checkpoint { after: 0, reason })?;
    hold_against_head(&latest, expected.head)?;
    let size = latest.size();
    let mut marks = Marks::new(expected, latest, checkpoints)?;
    let mut walk = Walk::new(size, *marks.latest.root(), entries, tiles);
    loop {
        if marks.next == walk.edge.size() {
            marks.check(&walk.edge, walk.suspect)?;
        }
        if walk.edge.size() == size {
            break;
        }
        walk.step()?;
    }
    let unsigned = walk.tail(expected.tail)?;
    Ok(Report { size, root: *marks.latest.root(), checkpoints: marks.passed, unsigned })
}

fn hold_against_head(latest: &VerifiedCheckpoint, head: Option<&Head>) -> Result<(), Problem> {
    let Some(head) = head else { return Ok(()) };
    if head.origin() != latest.origin() {
        return Err(Problem::ForeignHead(head.origin().to_owned()));
    }
    if head.size() > latest.size() {
        return Err(Problem::Truncated { have: latest.size(), expected: head.size() });
    }
    if head.size() == latest.size() && head.root() != latest.root() {
        return Err(Problem::Forked { size: head.size(), one: *head.root(), other: *latest.root() });
    }
    Ok(())
}

/// Entries whose tile above the leaves does not fit: their range, and the tile.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    tile: Tile,
    first: u64,
    last: u64,
}

/// Sizes at which the root is known: earlier checkpoints, the outside head, the current checkpoint.
struct Marks<'a, C> {
    expected: &'a Expected<'a>,
    latest: VerifiedCheckpoint,
    checkpoints: C,
    /// The next earlier checkpoint, already opened.
    pending: Option<VerifiedCheckpoint>,
    /// Size of the next mark.
    next: u64,
    /// Largest size whose root fitted.
    good: u64,
    /// First mark whose root did not fit.
    bad: Option<Bad>,
    passed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Bad {
    size: u64,
    /// Present when the outside head was at odds, with its root and the one found.
    head: Option<(Hash, Hash)>,
}

impl<'a, C, E> Marks<'a, C>
where
    C: FnMut() -> Result<Option<String>, E>,
{
    fn new(
        expected: &'a Expected<'a>,
        latest: VerifiedCheckpoint,
        checkpoints: C,
    ) -> Result<Self, VerifyError<E>> {
        let mut marks =
            Self { expected, latest, checkpoints, pending: None, next: 0, good: 0, bad: None, passed: 0 };
        marks.advance(0, None)?;
        Ok(marks)
    }

    /// Opens the next earlier checkpoint; `before` is the one just dealt with.
    fn advance(&mut self, at: u64, before: Option<&VerifiedCheckpoint>) -> Result<(), VerifyError<E>> {
        let after = before.map_or(0, |checkpoint| checkpoint.size());
        let signed = (self.checkpoints)().map_err(VerifyError::Read)?;
        let opened = signed.map(|signed| checkpoint::open(&signed, self.expected.log)).transpose();
        self.pending = opened.map_err(|reason| Problem::Checkpoint { after, reason })?;
        if let Some(next) = &self.pending {
            let (size, latest) = (next.size(), self.latest.size());
            if size < after {
                return Err(Problem::CheckpointOrder { size, after }.into());
            }
            if size > latest {
                return Err(Problem::CheckpointOrder { size, after: latest }.into());
            }
            let beside = before.filter(|before| before.size() == size).map(|before| *before.root());
            let beside = beside.or((size == latest).then_some(*self.latest.root()));
            if let Some(one) = beside.filter(|one| one != next.root()) {
                return Err(Problem::Forked { size, one, other: *next.root() }.into());
            }
        }
        self.next = self.next_size(at);
        Ok(())
    }

    fn next_size(&self, at: u64) -> u64 {
        let pending = self.pending.as_ref().map(|checkpoint| checkpoint.size());
        let head = self.expected.head.map(Head::size).filter(|size| *size > at);
        pending.into_iter().chain(head).fold(self.latest.size(), u64::min)
    }

    /// Compares the recomputed root with every mark of this size.
    fn check(&mut self, edge: &RightEdge, suspect: Option<Suspect>) -> Result<(), VerifyError<E>> {
        let (size, root) = (edge.size(), edge.root());
        let mut fits = true;
        while let Some(checkpoint) = self.pending.take_if(|checkpoint| checkpoint.size() == size) {
            fits &= *checkpoint.root() == root;
            self.passed += u64::from(size < self.latest.size());
            self.advance(size, Some(&checkpoint))?;
        }
        let head = self.expected.head.filter(|head| head.size() == size && *head.root() != root);
        let head = head.map(|head| (*head.root(), root));
        fits &= head.is_none();
        if size == self.latest.size() {
            fits &= *self.latest.root() == root;
        }
        self.next = self.next_size(size);
        self.judge(size, fits, head, suspect)?;
        Ok(())
    }

    fn judge(
        &mut self,
        size: u64,
        fits: bool,
        head: Option<(Hash, Hash)>,
        suspect: Option<Suspect>,
    ) -> Result<(), Problem> {
        match (fits, suspect, self.bad) {
            (true, Some(suspect), _) => Err(Problem::TileChanged(suspect.tile)),
            (true, None, Some(Bad { size, head: Some((one, other)) })) => {
                Err(Problem::Forked { size, one, other })
            }
            (true, None, Some(Bad { size: old, head: None })) => {
                Err(Problem::NotAPrefix { size: old, later: size })
            }
            (true, None, None) => {
                self.good = size;
                Ok(())
            }
            (false, Some(suspect), None) => {
                Err(Problem::Rewritten { first: suspect.first, last: suspect.last.min(size - 1) })
            }
            (false, _, earlier) => {
                let bad = earlier.unwrap_or(Bad { size, head });
                self.bad = Some(bad);
                if size < self.latest.size() {
                    return Ok(());
                }
                Err(Problem::Rewritten { first: self.good.min(bad.size - 1), last: bad.size - 1 })
            }
        }
    }
}

/// One pass over the entries.
pub(crate) struct Walk<N, T> {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    entries: N,
    pub(crate) tiles: T,
    edge: RightEdge,
    /// One stored tile per level.
    rows: Vec<Option<(Tile, Vec<Hash>)>>,
    placed: Vec<(Tile, Hash)>,
    suspect: Option<Suspect>,
}

impl<N, T, E> Walk<N, T>
where
    N: FnMut() -> Result<Option<Vec<u8>>, E>,
    T: FnMut(Tile) -> Result<Option<Vec<u8>>, E>,
{
    fn new(size: u64, root: Hash, entries: N, tiles: T) -> Self {
        Self {
            size,
            root,
            entries,
            tiles,
            edge: RightEdge::empty(),
            rows: Vec::new(),
            placed: Vec::new(),
            suspect: None,
        }
    }

    /// Takes the next entry into the tree.
    fn step(&mut self) -> Result<(), VerifyError<E>> {
        let index = self.edge.size();
        let Some(entry) = self.entry()? else {
            return Err(Problem::Truncated { have: index, expected: self.size }.into());
        };
        let leaf = leaf_hash(&entry);
        if self.stored(0, index)? != leaf {
            return Err(diagnose(self, index, &entry)?.into());
        }
        self.placed.clear();
        let placed = &mut self.placed;
        self.edge.push(leaf, |tile, row| placed.extend(row.last().map(|hash| (tile, *hash))));
        for at in 1..self.placed.len() {
            self.compare_above(self.placed[at])?;
        }
        Ok(())
    }

    /// Compares a hash above the leaves with the stored one; the next mark tells which of the two is wrong.
    fn compare_above(&mut self, (grown, hash): (Tile, Hash)) -> Result<(), VerifyError<E>> {
        let place = grown.index() * TILE_WIDTH + u64::from(grown.width()) - 1;
        if self.suspect.is_some() || self.stored(grown.level(), place)? == hash {
            return Ok(());
        }
        let shift = u32::from(grown.level()) * TILE_HEIGHT;
        let tile = Tile::of_tree(grown.level(), grown.index(), self.size).unwrap_or(grown);
        self.suspect = Some(Suspect { tile, first: place << shift, last: ((place + 1) << shift) - 1 });
        Ok(())
    }

    /// The next stored entry.
    pub(crate) fn entry(&mut self) -> Result<Option<Vec<u8>>, VerifyError<E>> {
        (self.entries)().map_err(VerifyError::Read)
    }

    /// The stored hash at this place of a level.
    pub(crate) fn stored(&mut self, level: u8, place: u64) -> Result<Hash, VerifyError<E>> {
        let slot = usize::from(level);
        if self.rows.len() <= slot {
            self.rows.resize(slot + 1, None);
        }
        let (index, at) = (place / TILE_WIDTH, (place % TILE_WIDTH) as usize);
        if let Some((tile, row)) = &self.rows[slot]
            && tile.index() == index
        {
            return Ok(row[at]);
        }
        let tile = Tile::of_tree(level, index, self.size)
            .expect("a place below the tree's size lies in a tile of the tree");
        let bytes = (self.tiles)(tile).map_err(VerifyError::Read)?.ok_or(Problem::TileMissing(tile))?;
        let row = tile.hashes(&bytes).map_err(|_| Problem::TileChanged(tile))?;
        let hash = row[at];
        self.rows[slot] = Some((tile, row));
        Ok(hash)
    }

    /// Entries after the current checkpoint.
    fn tail(&mut self, tail: Tail) -> Result<u64, VerifyError<E>> {
        let mut unsigned = 0;
        let mut first = None;
        while let Some(entry) = self.entry()? {
            first.get_or_insert_with(|| Located::new(self.size, &entry));
            unsigned += 1;
        }
        match (first, tail) {
            (Some(entry), Tail::Refuse) => Err(Problem::Added { entry, count: unsigned }.into()),
            (Some(_), Tail::Count) | (None, _) => Ok(unsigned),
        }
    }
}
