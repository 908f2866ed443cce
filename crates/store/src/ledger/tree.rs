//! The integrated part of the ledger: entries get their place in the Merkle tree, at most a second after they
//! were appended. Tiles are kept at their widest.

use accredit_ledger::hash::{HASH_BYTES, Hash, empty_root, leaf_hash};
use accredit_ledger::tile::{Bundle, TILE_WIDTH, Tile};
use accredit_ledger::tree::{self, Appended, TreeError};
use rusqlite::OptionalExtension as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{ChangeError, StoreError};
use crate::postgres::{Leader, Led};
use crate::store::{Backend, Store};
use crate::tx::Tx;
use crate::view::View;

/// Most entries that one step puts into the tree: their bytes are in memory at once, some 5 MB.
pub const INTEGRATE_MAX: usize = 4_096;

/// How long a reader waits for the newest entries to get their place: longer than a new leader needs to take over.
pub(crate) const PLACED_TIME_MAX: Duration = Duration::from_secs(8);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The integrated part: how many entries, and their root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Entries in the tree.
    pub size: u64,
    /// Root of the tree (RFC 6962 §2.1).
    pub root: Hash,
    /// How many forks were acknowledged.
    pub epoch: u64,
    /// No checkpoint of this size or a smaller one may be signed.
    pub(crate) floor: u64,
}

impl<E: std::fmt::Display> From<TreeError<E>> for StoreError {
    fn from(error: TreeError<E>) -> Self {
        Self::Tree(error.to_string())
    }
}

pub(crate) fn create(connection: &rusqlite::Connection) -> Result<(), StoreError> {
    let there: Option<i64> =
        connection.query_row("SELECT 1 FROM tree WHERE id = 1", (), |row| row.get(0)).optional()?;
    if there.is_none() {
        let sql = "INSERT INTO tree (id, size, root, epoch, floor) VALUES (1, 0, ?1, 0, 0)";
        connection.execute(sql, [empty_root().as_bytes()])?;
    }
    Ok(())
}

impl View<'_> {
    /// The integrated part of the ledger.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn tree_head(&self) -> Result<TreeHead, StoreError> {
        let row: Option<(u64, Vec<u8>, u64, u64)> =
            self.row("SELECT size, root, epoch, floor FROM tree WHERE id = 1", (), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        let (size, root, epoch, floor) = row.ok_or_else(|| StoreError::Tree("its row is missing".into()))?;
        let root =
            Hash::from_slice(&root).ok_or_else(|| StoreError::Tree("its root is not a hash".into()))?;
        Ok(TreeHead { size, root, epoch, floor })
    }

    /// The bytes of a tile as wide as it is kept.
    pub(crate) fn widest_tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT hashes FROM tile WHERE level = ?1 AND position = ?2";
        self.row(sql, (tile.level(), tile.index()), |row| row.get(0))
    }

    /// The bytes of exactly this tile (C2SP tlog-tiles), if the tree has it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = usize::from(tile.width()) * HASH_BYTES;
        let widest = self.widest_tile(tile)?.filter(|hashes| hashes.len() >= bytes);
        Ok(widest.map(|mut hashes| {
            hashes.truncate(bytes);
            hashes
        }))
    }

    /// The bytes of exactly this bundle of entries (C2SP tlog-tiles), if the tree has all of them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn bundle(&self, bundle: Bundle) -> Result<Option<Vec<u8>>, StoreError> {
        let width = usize::from(bundle.width());
        let first = bundle.index() * TILE_WIDTH;
        if first + width as u64 > self.tree_head()?.size {
            return Ok(None);
        }
        let entries = self.entries_from(first, width)?;
        let mut bytes = Vec::new();
        let whole = (first..)
            .zip(&entries)
            .all(|(seq, entry)| seq == entry.seq && Bundle::append(&mut bytes, &entry.bytes).is_some());
        Ok((whole && entries.len() == width).then_some(bytes))
    }

    /// The root of the first `size` entries.
    ///
    /// # Errors
    /// [`StoreError::Tree`] when the tree is smaller, or its tiles cannot be used.
    pub fn root_at(&self, size: u64) -> Result<Hash, StoreError> {
        Ok(tree::root_at(size, self.tree_head()?.size, |tile| self.widest_tile(tile))?)
    }

    /// The proof that an entry is in the tree of `size` entries.
    ///
    /// # Errors
    /// [`StoreError::Tree`] when the tree is smaller, or its tiles cannot be used.
    pub fn inclusion_proof(&self, seq: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        self.within(size)?;
        Ok(tree::inclusion_proof(seq, size, |tile| self.widest_tile(tile))?)
    }

    /// The proof that the tree of `old` entries is a prefix of that of `size` entries.
    ///
    /// # Errors
    /// [`StoreError::Tree`] when the tree is smaller, or its tiles cannot be used.
    pub fn consistency_proof(&self, old: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        self.within(size)?;
        Ok(tree::consistency_proof(old, size, |tile| self.widest_tile(tile))?)
    }

    fn within(&self, size: u64) -> Result<(), StoreError> {
        let have = self.tree_head()?.size;
        if size <= have {
            Ok(())
        } else {
            Err(StoreError::Tree(format!("it has {have} entries, not {size}")))
        }
    }
}

/// What one step adds to the tree.
struct Step {
    before: TreeHead,
    appended: Appended,
}

fn next_step(view: &View<'_>, max: usize) -> Result<Option<Step>, StoreError> {
    let before = view.tree_head()?;
    let entries = view.entries_from(before.size, max)?;
    if entries.is_empty() {
        return Ok(None);
    }
    if let Some((seq, _)) = (before.size..).zip(&entries).find(|(seq, entry)| *seq != entry.seq) {
        return Err(StoreError::Tree(format!("entry {seq} is missing")));
    }
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(&entry.bytes)).collect();
    let appended = tree::append(before.size, &leaves, |tile| view.widest_tile(tile))?;
    Ok(Some(Step { before, appended }))
}

fn write_step(tx: &Tx<'_>, step: &Step) -> Result<(), StoreError> {
    let Appended { size, root, tiles } = &step.appended;
    let sql = "UPDATE tree SET size = ?1, root = ?2 WHERE id = 1 AND size = ?3 AND root = ?4";
    let (old_size, old_root) = (step.before.size, step.before.root.as_bytes());
    if tx.execute(sql, (size, root.as_bytes(), old_size, old_root))? != 1 {
        return Err(StoreError::Tree("it was changed by somebody else".into()));
    }
    for (tile, hashes) in tiles {
        let sql = "INSERT INTO tile (level, position, hashes) VALUES (?1, ?2, ?3)
            ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes";
        tx.execute(sql, (tile.level(), tile.index(), hashes))?;
    }
    Ok(())
}

impl Store {
    /// Puts up to `max` durable entries, at most [`INTEGRATE_MAX`], into the tree. Gives its head.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or an entry is missing.
    pub async fn integrate(&self, max: usize) -> Result<TreeHead, StoreError> {
        let _one_at_a_time = self.ledger().await;
        let head = match &**self.backend() {
            Backend::Sqlite(_) => self.integrate_own(max.clamp(1, INTEGRATE_MAX)).await?,
            Backend::Postgres(_) => self.integrate_led(max).await?,
        };
        self.stats().integrated.store(head.size, std::sync::atomic::Ordering::Relaxed);
        Ok(head)
    }

    /// With one writer: entries have their places, and get into the tree.
    async fn integrate_own(&self, max: usize) -> Result<TreeHead, StoreError> {
        // A reader sees only what was committed and flushed: nothing else gets a place.
        let Some(step) = self.read(move |view| next_step(view, max)).await? else {
            return self.read(|view| view.tree_head()).await;
        };
        let head = TreeHead { size: step.appended.size, root: step.appended.root, ..step.before };
        self.change(move |tx| write_step(tx, &step)).await.map_err(flat)?;
        Ok(head)
    }

    /// With many writers: the leader gives entries their places, and puts them into the tree.
    async fn integrate_led(&self, max: usize) -> Result<TreeHead, StoreError> {
        match self.with_leader(move |leader| leader.integrate(max)).await? {
            Led::Done(head) => Ok(head),
            Led::ByAnother => self.of_installation().read(|view| view.tree_head()).await,
        }
    }

    /// Whether this replica is the one that gives places, signs and does what is done once for all of them. The only
    /// one always is.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn leads(&self) -> Result<bool, StoreError> {
        match &**self.backend() {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(_) => Ok(matches!(self.with_leader(Leader::lead).await?, Led::Done(()))),
        }
    }

    /// Works as the leader does, on a thread where waiting harms nobody.
    pub(crate) async fn with_leader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Leader) -> Result<Led<T>, StoreError> + Send + 'static,
    ) -> Result<Led<T>, StoreError> {
        let backend = Arc::clone(self.backend());
        let working = tokio::task::spawn_blocking(move || match &*backend {
            Backend::Sqlite(_) => Ok(Led::ByAnother),
            Backend::Postgres(postgres) => work(postgres.leader()),
        });
        working.await.unwrap_or_else(|_| Err(crate::error::Cause::Panicked.into()))
    }

    /// Waits until everything that was durable before has its place in the ledger, so that a reader finds it there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or nobody gives places for 8 s.
    pub async fn placed(&self) -> Result<(), StoreError> {
        let Backend::Postgres(_) = &**self.backend() else { return Ok(()) };
        let store = self.of_installation();
        let sql = "SELECT CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT)";
        let now: String =
            store.read(move |view| view.row(sql, (), |row| row.get(0))).await?.unwrap_or_default();
        let until = Instant::now() + PLACED_TIME_MAX;
        loop {
            let now = now.clone();
            let sql = "SELECT count(*) FROM arrival, tree WHERE tree.id = 1
                AND (arrival.era, arrival.tx, arrival.n) > (tree.last_era, tree.last_tx, tree.last_n)
                AND arrival.tx < CAST(CAST(?1 AS TEXT) AS XID8)";
            let waiting =
                store.read(move |view| view.row(sql, [now.as_str()], |row| row.get::<u64>(0))).await?;
            if waiting == Some(0) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(StoreError::Tree(
                    "the newest entries have no place yet: nobody gives places".into(),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A change whose own errors are those of the store.
pub(crate) fn flat(error: ChangeError<StoreError>) -> StoreError {
    use crate::error::Cause;
    match error {
        ChangeError::Refused(error) => error,
        ChangeError::Unavailable(cause) => cause.into(),
        ChangeError::Full => Cause::Other("too much to do".into()).into(),
        ChangeError::Closed => Cause::Closed.into(),
    }
}
