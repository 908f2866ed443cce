//! What the writer thread and everybody else look at together.

use crate::snapshot::SnapshotCache;
use crate::stamp::Cells;
use crate::stats::StoreStats;
use crate::usage::UsageCells;
use crate::writer::{Health, HealthCell};

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) cells: Cells,
    pub(crate) usage: UsageCells,
    pub(crate) cache: SnapshotCache,
    pub(crate) stats: StoreStats,
    #[cfg(test)]
    pub(crate) fault: crate::fault::Fault,
    health: HealthCell,
}

impl Shared {
    pub(crate) fn health(&self) -> Health {
        self.health.get()
    }

    pub(crate) fn set_health(&self, writer: &'static str, health: Health) {
        self.health.set(writer, health);
    }
}
