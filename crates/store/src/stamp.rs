//! Stamps: which version of which subject a snapshot was read at.
//!
//! The writer compares a stamp with the versions of its own transaction; that comparison decides.
//! The cells here only tell cached snapshots early that they are out of date.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accredit_core::digest::Digest;
use accredit_core::id::{AgentName, CredentialName, ResourceName, TaskId, TenantName};
use accredit_core::text::Owner;

/// Most cells kept, about 100 bytes each: four subjects for each cached snapshot.
const CELLS_MAX: usize = 400_000;

/// Something that a decision depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject(Arc<str>);

impl Subject {
    pub(crate) fn task(tenant: &TenantName, id: &TaskId) -> Self {
        Self(format!("task/{tenant}/{id}").into())
    }

    pub(crate) fn agent(tenant: &TenantName, name: &AgentName) -> Self {
        Self(format!("agent/{tenant}/{name}").into())
    }

    pub(crate) fn owner(tenant: &TenantName, owner: &Owner) -> Self {
        Self(format!("owner/{tenant}/{owner}").into())
    }

    pub(crate) fn operator(tenant: &TenantName, name: &Owner) -> Self {
        Self(format!("operator/{tenant}/{name}").into())
    }

    pub(crate) fn resource(tenant: &TenantName, name: &ResourceName) -> Self {
        Self(format!("resource/{tenant}/{name}").into())
    }

    pub(crate) fn credential(tenant: &TenantName, name: &CredentialName) -> Self {
        Self(format!("credential/{tenant}/{name}").into())
    }

    pub(crate) fn policy(tenant: &TenantName) -> Self {
        Self(format!("policy/{tenant}").into())
    }

    /// Where the tenant's resources answer: what a snapshot without a target depends on.
    pub(crate) fn endpoints(tenant: &TenantName) -> Self {
        Self(format!("endpoints/{tenant}").into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

struct Read {
    subject: Subject,
    version: u64,
    cell: Arc<AtomicU64>,
}

/// The versions that the facts of a snapshot were read at. Opaque: only the store compares it.
#[derive(Clone)]
pub struct Stamp(Arc<Inner>);

struct Inner {
    facts: Digest,
    reads: Vec<Read>,
}

impl Stamp {
    /// Whether no subject is known to have changed since. `true` is a hint, `false` is certain.
    pub(crate) fn seems_current(&self) -> bool {
        self.0.reads.iter().all(|read| read.cell.load(Ordering::Acquire) == read.version)
    }

    /// The digest of the facts that were read.
    pub(crate) fn facts(&self) -> Digest {
        self.0.facts
    }

    /// Each subject with the version read.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (&Subject, u64)> {
        self.0.reads.iter().map(|read| (&read.subject, read.version))
    }

    /// Tells every snapshot that read this subject which version it has now.
    pub(crate) fn learn(&self, subject: &Subject, version: u64) {
        for read in self.0.reads.iter().filter(|read| read.subject == *subject) {
            read.cell.fetch_max(version, Ordering::AcqRel);
        }
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.reads.iter().map(|r| (r.subject.as_str(), r.version))).finish()
    }
}

/// The newest committed version of each subject that some snapshot holds.
#[derive(Default)]
pub(crate) struct Cells(Mutex<HashMap<Subject, Arc<AtomicU64>>>);

impl Cells {
    /// The stamp of the snapshot with these facts that read these versions.
    pub(crate) fn stamp(&self, facts: Digest, reads: Vec<(Subject, u64)>) -> Stamp {
        let mut cells = self.lock();
        if cells.len() > CELLS_MAX {
            // A cell that a snapshot holds must stay the one that the writer tells.
            cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        let reads = reads.into_iter().map(|(subject, version)| {
            let cell = Arc::clone(cells.entry(subject.clone()).or_default());
            cell.fetch_max(version, Ordering::AcqRel);
            Read { subject, version, cell }
        });
        Stamp(Arc::new(Inner { facts, reads: reads.collect() }))
    }

    /// Publishes committed versions.
    pub(crate) fn publish<'a>(&self, versions: impl Iterator<Item = (&'a Subject, u64)>) {
        let cells = self.lock();
        for (subject, version) in versions {
            if let Some(cell) = cells.get(subject) {
                cell.fetch_max(version, Ordering::AcqRel);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Arc<AtomicU64>>> {
        // Every update leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_notices_what_was_published_after_it_and_nothing_else() {
        let tenant = TenantName::parse("t").expect("a name");
        let (policy, endpoints) = (Subject::policy(&tenant), Subject::endpoints(&tenant));
        let cells = Cells::default();
        let stamp = cells.stamp(Digest::of(b""), vec![(policy.clone(), 3)]);
        assert!(stamp.seems_current());
        cells.publish([(&endpoints, 9), (&policy, 2), (&policy, 3)].into_iter());
        assert!(stamp.seems_current());
        cells.publish([(&policy, 4)].into_iter());
        assert!(!stamp.seems_current());
        // A snapshot that was read before that change and arrives late is out of date at once.
        assert!(!cells.stamp(Digest::of(b""), vec![(policy.clone(), 3)]).seems_current());
        assert!(cells.stamp(Digest::of(b""), vec![(policy, 4)]).seems_current());
    }
}
