//! Figures for whoever watches the installation: numbers only, no names.

use std::sync::atomic::Ordering;

use accredit_store::{COMMIT_BOUNDS_US, Health};

use crate::Authority;
use crate::publication::{OTHER_HISTORY, PublicationFigures};
use crate::witnesses::WitnessFigures;

/// Upper bounds of the classes in [`Figures::commit_us`], in microseconds; the last class has none.
pub const COMMIT_CLASSES_US: [u64; COMMIT_BOUNDS_US.len()] = COMMIT_BOUNDS_US;

/// Figures since the start, and as they stand.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Transactions that were made durable.
    pub commits: u64,
    /// Commands that were made durable in them.
    pub commands: u64,
    /// Commands that were refused by their own checks.
    pub refused: u64,
    /// Commands that wait for the writer.
    pub queued: u64,
    /// How many commits took how long, by [`COMMIT_CLASSES_US`].
    pub commit_us: Vec<u64>,
    /// Time of all commits together, in microseconds.
    pub commit_us_sum: u64,
    /// Entries that were appended to the ledger.
    pub appended: u64,
    /// Entries in the tree.
    pub integrated: u64,
    /// Entries under the newest checkpoint.
    pub checkpointed: u64,
    /// Facts found in memory.
    pub facts_remembered: u64,
    /// Facts read from the database.
    pub facts_read: u64,
    /// How often the store stopped taking work.
    pub stops: u64,
    /// Whether the vault is sealed.
    pub sealed: bool,
    /// Whether the store takes work.
    pub working: bool,
    /// How witnesses stand to the ledger.
    pub witnesses: WitnessFigures,
    /// How far publishing came.
    pub publication: PublicationFigures,
}

/// One thing that should be well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What is wrong with it. `None`: it is well.
    pub wrong: Option<&'static str>,
    /// Whether no work is accepted until it is well.
    pub needed: bool,
}

impl Authority {
    /// The figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let stats = self.store.stats();
        let of = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        Figures {
            commits: of(&stats.batches),
            commands: of(&stats.commands),
            refused: of(&stats.refused),
            queued: self.store.queued() as u64,
            commit_us: stats.commit_us.iter().map(of).collect(),
            commit_us_sum: of(&stats.commit_us_sum),
            appended: of(&stats.appended),
            integrated: of(&stats.integrated),
            checkpointed: of(&stats.checkpointed),
            facts_remembered: of(&stats.snapshot_hits),
            facts_read: of(&stats.snapshot_misses),
            stops: of(&stats.stops),
            sealed: self.vault.is_sealed(),
            working: self.store.health() == Health::Working,
            witnesses: self.witnesses.figures(),
            publication: self.publication.figures(),
        }
    }

    /// What should be well, and whether work waits for it. Names nothing of any tenant.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let ledger = match self.store.health() {
            Health::Working => None,
            Health::Stopped { cause, .. } => Some(cause.code()),
        };
        let vault = self.vault.is_sealed().then_some("sealed");
        let fork = self.store.fork().map(|_| "ledger_forked");
        // Entries wait for their place in the tree: something is wrong with them, or with the head outside.
        let tree = self.integration_stalled().then_some("integration_stalled");
        let heard = self.store.is_stale().then_some("stale");
        let needed =
            [("ledger", ledger), ("tree", tree), ("vault", vault), ("fork", fork), ("replica", heard)];
        let needed = needed.map(|(name, wrong)| Check { name, wrong, needed: true });
        // Somebody outside, who may be wrong, cannot stop the work: it is an alarm for people.
        let witness = Check { name: "witness", wrong: self.witness_wrong(), needed: false };
        let witness = (!self.settings.witnesses.is_empty()).then_some(witness);
        let publish = Check { name: "publish", wrong: self.publication_wrong(), needed: false };
        let publish = self.publication.figures().enabled.then_some(publish);
        needed.into_iter().chain(witness).chain(publish).collect()
    }

    fn publication_wrong(&self) -> Option<&'static str> {
        let figures = self.publication.figures();
        let late = figures.late.then_some("publish_late");
        figures.other.then_some(OTHER_HISTORY).or(late)
    }

    fn witness_wrong(&self) -> Option<&'static str> {
        let figures = self.witnesses.figures();
        let late = (figures.late > 0).then_some("witness_late");
        (figures.refusing > 0).then_some("witness_refused").or(late)
    }
}
