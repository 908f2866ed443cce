//! Faults of the disk for the tests of this crate: a file that may not grow, a commit that fails before or after it
//! has reached the file. And the tests of what the store does then.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use rusqlite::Connection;

use crate::error::Cause;

/// Nothing fails at the commit.
const NONE: u8 = 0;
/// The commit fails, the file does not have it.
const BEFORE: u8 = 1;
/// The commit is reported as failed, and yet the file has it.
const AFTER: u8 = 2;

#[derive(Default)]
pub(crate) struct Fault {
    pages_max: AtomicI64,
    commit: AtomicU8,
}

impl Fault {
    pub(crate) fn limit_pages(&self, connection: &Connection) {
        let pages = match self.pages_max.load(Ordering::SeqCst) {
            0 => i64::from(u32::MAX - 1),
            pages => pages,
        };
        let sql = format!("PRAGMA max_page_count = {pages}");
        let _: i64 = connection.query_row(&sql, [], |row| row.get(0)).expect("a pragma");
    }

    pub(crate) fn at_commit(&self, connection: &Connection) -> Option<Cause> {
        match self.commit.swap(NONE, Ordering::SeqCst) {
            NONE => return None,
            AFTER => connection.execute_batch("COMMIT").expect("commits"),
            _ => {}
        }
        Some(Cause::Io("injected".into()))
    }
}

#[path = "../tests/common/mod.rs"]
mod common;

mod tests {
    use std::time::Duration;

    use accredit_core::event::Event;

    use super::common::{World, entries_of, open, run, tenant};
    use super::*;
    use crate::error::{ChangeError, RecordError, StoreError};
    use crate::ledger::EntryFilter;
    use crate::store::Store;
    use crate::writer::Health;

    /// A change with an entry of some 900 bytes.
    async fn append(store: &Store) -> Result<(), ChangeError<StoreError>> {
        let change = store.change(|tx| {
            let event = Event::new(&tenant("acme"), "owner.lapsed").with("owner", "a@b");
            tx.append(event.with("reason", "x".repeat(900)))
        });
        change.await
    }

    /// Waits for the store to resume: at most 10 s, its own bound.
    async fn resumed(store: &Store) {
        for _ in 0..200 {
            if store.health() == Health::Working {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{:?}", store.health());
    }

    async fn size(store: &Store) -> u64 {
        store.read(|view| view.ledger_size()).await.expect("read")
    }

    // case: AUD-01, FLT-04
    #[test]
    fn a_full_disk_refuses_everything_and_work_resumes_by_itself() {
        run(async {
            let directory = tempfile::tempdir().expect("a directory");
            let store = open(directory.path());
            let pages = store.read(|view| view.row("PRAGMA page_count", (), |row| row.get::<i64>(0))).await;
            let pages = pages.expect("read").expect("a number");
            store.fault().pages_max.store(pages + 10, Ordering::SeqCst);
            let mut acknowledged = 0;
            let cause = loop {
                match append(&store).await {
                    Ok(()) => acknowledged += 1,
                    Err(ChangeError::Unavailable(cause)) => break cause,
                    Err(other) => panic!("{other}"),
                }
                assert!(acknowledged < 1_000, "the disk never filled");
            };
            assert_eq!(cause, Cause::DiskFull);
            assert!(matches!(store.health(), Health::Stopped { cause: Cause::DiskFull, .. }));
            for _ in 0..20 {
                assert!(matches!(append(&store).await, Err(ChangeError::Unavailable(Cause::DiskFull))));
            }
            assert_eq!(size(&store).await, acknowledged, "what was acknowledged is there, and nothing else");
            store.fault().pages_max.store(0, Ordering::SeqCst);
            resumed(&store).await;
            let filter = EntryFilter { kinds: vec!["audit.resumed".into()], ..EntryFilter::default() };
            let said = store.read(move |view| view.entries(&filter)).await.expect("read");
            let entry = said[0].decode().expect("an entry");
            assert_eq!((said.len(), entry.text("code")), (1, Some("disk_full")));
            assert!(
                entry.text("reason").is_some_and(|r| r.contains("21 requests were refused")),
                "{entry:?}"
            );
            append(&store).await.expect("works again");
            assert_eq!(size(&store).await, acknowledged + 2);
        });
    }

    /// A flush fails under a decision; whatever the file has of it, nobody was told that it was recorded.
    fn check_failed_flush(fault: u8, expected: &[(&str, &str)]) {
        run(async {
            let directory = tempfile::tempdir().expect("a directory");
            let store = open(directory.path());
            let world = World::on(store.clone(), "acme").await;
            let task = world.start(&["github: * calls<=2"]).await;
            let caller = world.caller(&task);
            let first = world.use_once(&caller, &task, "GET", "/").await;
            let before = size(&store).await;
            let snapshot = world.snapshot(&task).await;
            let decision = world.decide(&caller, &snapshot, "GET", "/");
            let id = decision.id().clone();
            store.fault().commit.store(fault, Ordering::SeqCst);
            let answer = world.record(decision, &snapshot).await;
            assert!(matches!(answer, Err(RecordError::Unavailable(_))));
            assert!(matches!(store.health(), Health::Stopped { cause: Cause::Io(_), .. }));
            // An outcome that comes meanwhile waits and is not lost.
            store.settle(world.settled(first.decision(), 5)).await;
            resumed(&store).await;
            store.flushed().await;
            assert_eq!(store.fault().commit.load(Ordering::SeqCst), NONE, "the fault was met");
            let entries = entries_of(&store, &world.tenant, &id).await;
            let entries: Vec<_> =
                entries.iter().map(|(kind, outcome)| (kind.as_str(), outcome.as_str())).collect();
            assert_eq!(entries, expected);
            let settled = entries_of(&store, &world.tenant, first.decision().id()).await;
            assert_eq!(settled.last(), Some(&("action.settled".to_owned(), "done".to_owned())));
            // The entries of the failed commit, `audit.resumed`, and the outcome.
            assert_eq!(size(&store).await, before + expected.len() as u64 + 2);
            assert!(append(&store).await.is_ok());
        });
    }

    // case: AUD-02, FLT-03
    #[test]
    fn a_failed_flush_is_never_taken_for_success() {
        check_failed_flush(BEFORE, &[]);
        check_failed_flush(AFTER, &[("action.decided", "allow"), ("action.settled", "unknown")]);
    }
}
