//! Figures about the store, for whoever shows them. Plain counters; nothing here decides anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the commit time buckets, in microseconds; the last bucket has none.
pub const COMMIT_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// Counters of one store. How much waits is in [`crate::Store::queued`].
#[derive(Debug, Default)]
pub struct StoreStats {
    /// Transactions committed.
    pub batches: AtomicU64,
    /// Commands carried out in them.
    pub commands: AtomicU64,
    /// Commands refused because the database did not take work.
    pub refused: AtomicU64,
    /// Commits by how long they took; bounds in [`COMMIT_BOUNDS_US`].
    pub commit_us: [AtomicU64; COMMIT_BOUNDS_US.len() + 1],
    /// Sum of all commit times, in microseconds.
    pub commit_us_sum: AtomicU64,
    /// Time of the last commit, in microseconds.
    pub commit_us_last: AtomicU64,
    /// Entries in the ledger.
    pub appended: AtomicU64,
    /// Entries in the tree.
    pub integrated: AtomicU64,
    /// Entries under the last checkpoint.
    pub checkpointed: AtomicU64,
    /// Snapshots answered from memory.
    pub snapshot_hits: AtomicU64,
    /// Snapshots read from the database.
    pub snapshot_misses: AtomicU64,
    /// Times that work stopped because the database failed.
    pub stops: AtomicU64,
}

impl StoreStats {
    pub(crate) fn committed(&self, commands: usize, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = COMMIT_BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(COMMIT_BOUNDS_US.len());
        self.commit_us[bucket].fetch_add(1, Ordering::Relaxed);
        self.commit_us_sum.fetch_add(us, Ordering::Relaxed);
        self.commit_us_last.store(us, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
    }
}
