//! What a publisher of the whole ledger needs, and how far it came. It copies entries of every tenant: it is for the operator
//! of the installation, never for a tenant's reader.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use accredit_ledger::checkpoint;
use accredit_ledger::tile::{Bundle, Tile};
pub use accredit_store::SignedHead;

use crate::Authority;
use crate::audit::cosigned;
use crate::fault::Fault;

/// The code of the fault that the place holds another history.
pub const OTHER_HISTORY: &str = "published_other_history";
/// How long publishing may fail before health says so.
const LATE_AFTER: Duration = Duration::from_secs(300);

/// How far publishing came.
#[derive(Default)]
pub struct Publication {
    enabled: AtomicBool,
    published: AtomicU64,
    other: AtomicBool,
    failing_since: Since,
    /// Since when the place has stood still although there was more.
    behind_since: Since,
}

/// A moment since when something holds.
#[derive(Default)]
struct Since(Mutex<Option<Instant>>);

impl Since {
    fn hold(&self, holds: bool) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if holds { since.or_else(|| Some(Instant::now())) } else { None };
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far publishing came, as figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublicationFigures {
    /// Whether anything is published.
    pub enabled: bool,
    /// Entries under the checkpoint that was published last, by whichever replica.
    pub published: u64,
    /// Whether the last try failed.
    pub failing: bool,
    /// Whether nothing came through for longer than is passed over.
    pub late: bool,
    /// Whether the place holds another history.
    pub other: bool,
}

impl Publication {
    /// A publisher is at work.
    pub fn enable(&self) {
        self.enabled.store(true, Ordering::Relaxed);
    }

    /// Everything up to `size` is published, whoever did it, and there are `head` entries.
    pub fn reached(&self, size: u64, head: u64) {
        let before = self.published.swap(size, Ordering::Relaxed);
        self.behind_since.hold(size < head && size == before);
        self.other.store(false, Ordering::Relaxed);
        self.failing_since.hold(false);
    }

    /// There is nothing to publish, or nothing can be checked now.
    pub fn rested(&self) {
        self.other.store(false, Ordering::Relaxed);
        self.failing_since.hold(false);
        self.behind_since.hold(false);
    }

    /// A try failed; `other`: because the place holds another history.
    pub fn failed(&self, other: bool) {
        self.other.store(other, Ordering::Relaxed);
        self.failing_since.hold(true);
    }

    pub(crate) fn figures(&self) -> PublicationFigures {
        let late = |since: Option<Instant>| since.is_some_and(|at| at.elapsed() > LATE_AFTER);
        let failing = self.failing_since.get();
        PublicationFigures {
            enabled: self.enabled.load(Ordering::Relaxed),
            published: self.published.load(Ordering::Relaxed),
            failing: failing.is_some(),
            late: late(failing) || late(self.behind_since.get()),
            other: self.other.load(Ordering::Relaxed),
        }
    }
}

impl Authority {
    /// How far publishing came.
    #[must_use]
    pub const fn publication(&self) -> &Publication {
        &self.publication
    }

    /// Whether this replica is the one that publishes for all of them.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn publishes(&self) -> Result<bool, Fault> {
        // Asking makes a leader; one whose vault is sealed could not do the rest of the work.
        Ok(self.keys().is_some() && self.store.leads().await?)
    }

    /// The newest checkpoint, with the cosignatures that it has. `None` while none is signed, or while what is published
    /// could not be checked because the vault is sealed.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn head_to_publish(&self) -> Result<Option<SignedHead>, Fault> {
        if self.keys().is_none() {
            return Ok(None);
        }
        let store = self.store.of_installation();
        let read = store.read(|view| {
            let Some(head) = view.latest_checkpoint()? else { return Ok(None) };
            let note = cosigned(view, head.clone())?;
            Ok(Some(SignedHead { note, ..head }))
        });
        Ok(read.await?)
    }

    /// The bytes of a tile.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn tile_to_publish(&self, tile: Tile) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.store.of_installation().read(move |view| view.tile(tile)).await?)
    }

    /// The bytes of a bundle: entries of every tenant.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn bundle_to_publish(&self, bundle: Bundle) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.store.of_installation().read(move |view| view.bundle(bundle)).await?)
    }

    /// Whether a published checkpoint is an earlier state of this ledger; gives its size.
    ///
    /// # Errors
    /// [`Fault`] with [`OTHER_HISTORY`] when it is not; others when that cannot be told now.
    pub async fn check_published(&self, note: &str) -> Result<u64, Fault> {
        let keys = self.keys().ok_or_else(Fault::sealed)?;
        let opened = checkpoint::open(note, std::slice::from_ref(keys.ledger_verifier()));
        let head = opened.map_err(|error| other_history(&format!("its checkpoint is refused: {error}")))?;
        let size = head.size();
        let store = self.store.of_installation();
        let read = store.read(move |view| {
            let newest = view.latest_checkpoint()?.map_or(0, |newest| newest.size);
            if newest < size { Ok(None) } else { view.root_at(size).map(Some) }
        });
        match read.await? {
            Some(root) if root == *head.root() => Ok(size),
            Some(_) => Err(other_history(&format!("its checkpoint of {size} entries has another root"))),
            None => Err(other_history(&format!("its checkpoint has {size} entries, more than this ledger"))),
        }
    }
}

fn other_history(why: &str) -> Fault {
    Fault::conflict(
        "published_other_history",
        format!("the place to publish to holds another history: {why}"),
        "Find out whose it is; if a backup was restored on purpose, publish to a new place.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_behind_while_it_stands_still_and_there_is_more() {
        let publication = Publication::default();
        let behind = |size, head| {
            publication.reached(size, head);
            publication.behind_since.get().is_some()
        };
        assert!(!behind(5, 9), "it came from 0 to 5");
        assert!(behind(5, 9));
        assert!(!behind(7, 12), "it moves");
        assert!(behind(7, 12) && behind(7, 13));
        assert!(!behind(13, 13), "there is no more");
        assert!(!behind(13, 13));
        publication.failed(true);
        assert!(publication.figures().failing && publication.figures().other);
        publication.reached(13, 13);
        assert!(!publication.figures().failing && !publication.figures().other);
    }
}
