//! The ledger in the database: integration, checkpoints, proofs, forks, tampering, search.

mod common;

use std::path::Path;

use accredit_core::event::Event;
use accredit_core::text::Workflow;
use accredit_ledger::audit_path::{verify_consistency, verify_inclusion};
use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::note::Signer;
use accredit_ledger::tile::{Bundle, Tile};
use accredit_ledger::verify::{Problem, VerifyError};
use accredit_store::{
    ChangeError, EntryFilter, ForkKind, SignError, SignedHead, Store, StoreError, VerifyAllError,
};
use common::{World, config, entries, on_both, open, place_all, run, tenant};

const ORIGIN: &str = "accredit.test/ledger";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).expect("a signer")
}

async fn fill(store: &Store, count: u32) {
    for first in (0..count).step_by(100) {
        let last = (first + 100).min(count);
        let change = store.change(move |tx| -> Result<(), StoreError> {
            for i in first..last {
                tx.append(Event::new(&tenant("acme"), "owner.added").with("owner", format!("owner-{i}")))?;
            }
            Ok(())
        });
        change.await.expect("appended");
    }
}

async fn sign(store: &Store) -> Result<Option<SignedHead>, SignError> {
    loop {
        let before = store.stats().integrated.load(std::sync::atomic::Ordering::Relaxed);
        if store.integrate(300).await.expect("integrated").size == before {
            break;
        }
    }
    place_all(store).await;
    store.checkpoint(|size, root| Checkpoint::new(ORIGIN, size, *root)?.sign(&signer())).await
}

async fn verify(store: &Store) -> Result<accredit_ledger::verify::Report, VerifyAllError> {
    place_all(store).await;
    store.verify_all(vec![signer().verifier().clone()], |_| {}).await
}

// case: AUD-15
#[test]
fn what_was_appended_is_integrated_signed_and_proved() {
    on_both(async |place| {
        let store = place.open().await;
        assert!(matches!(verify(&store).await, Err(VerifyAllError::NoCheckpoint)));
        assert_eq!(sign(&store).await.expect("nothing to sign"), None);
        fill(&store, 300).await;
        let old = sign(&store).await.expect("signed").expect("a checkpoint");
        fill(&store, 400).await;
        let new = sign(&store).await.expect("signed").expect("a checkpoint");
        assert_eq!((old.size, new.size), (300, 700));
        assert_eq!(sign(&store).await.expect("unchanged"), Some(new.clone()));
        let proofs = store.read(move |view| {
            let entry = view.entry_by_seq(299)?.expect("it was appended");
            let tile = view.tile(Tile::new(0, 1, 44).expect("a tile"))?.expect("an old partial tile");
            let bundle = view.bundle(Bundle::new(2, 188).expect("a bundle"))?.expect("the last bundle");
            assert_eq!((tile.len(), view.bundle(Bundle::new(2, 189).expect("a bundle"))?), (44 * 32, None));
            assert!(view.inclusion_proof(0, 701).is_err());
            Ok((entry, bundle, view.inclusion_proof(299, 700)?, view.consistency_proof(300, 700)?))
        });
        let (entry, bundle, inclusion, consistency) = proofs.await.expect("read");
        let leaf = leaf_hash(&entry.bytes);
        verify_inclusion(&leaf, 299, 700, &inclusion, &new.root).expect("it is there");
        assert!(verify_inclusion(&leaf, 298, 700, &inclusion, &new.root).is_err());
        verify_consistency(300, 700, &consistency, &old.root, &new.root).expect("a prefix");
        assert_eq!(Bundle::new(2, 188).expect("a bundle").entries(&bundle).expect("entries").len(), 188);
        fill(&store, 5).await;
        let report = verify(&store).await.expect("verifies");
        assert_eq!((report.size, report.checkpoints, report.unsigned), (700, 1, 5));
    });
}

// case: AUD-07
#[test]
fn nothing_is_signed_that_is_not_this_tree_or_that_somebody_else_moved() {
    on_both(async |place| {
        let store = place.open().await;
        fill(&store, 10).await;
        store.integrate(100).await.expect("integrated");
        for (size, root) in [(9, None), (10, Some(leaf_hash(b"other")))] {
            let wrong = store
                .checkpoint(|_, real| Checkpoint::new(ORIGIN, size, root.unwrap_or(*real))?.sign(&signer()));
            assert!(matches!(wrong.await, Err(SignError::NotThis)));
        }
        sign(&store).await.expect("signed");
        let head = std::fs::read_to_string(place.head(0)).expect("a head");
        fill(&store, 10).await;
        std::fs::write(place.head(0), head.replace("size 10", "size 11")).expect("written");
        assert!(matches!(sign(&store).await, Err(SignError::HeadMoved)));
        std::fs::write(place.head(0), head).expect("written");
        assert_eq!(sign(&store).await.expect("signed").map(|c| c.size), Some(20));
    });
}

fn copy_database(from: &Path, to: &Path) {
    for name in ["accredit.db", "accredit.db-wal"] {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("copied");
        }
    }
}

// case: AUD-06, ADM-09
#[test]
fn an_older_copy_of_the_database_takes_no_work_until_the_fork_is_acknowledged() {
    let (directory, backup) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    run(async {
        let store = open(directory.path());
        fill(&store, 10).await;
        sign(&store).await.expect("signed");
        drop(store);
        copy_database(directory.path(), backup.path());
        let store = open(directory.path());
        assert_eq!(store.fork(), None, "a plain restart is no fork");
        fill(&store, 10).await;
        sign(&store).await.expect("signed");
    });
    copy_database(backup.path(), directory.path());
    run(async {
        let store = open(directory.path());
        let fork = store.fork().expect("an older copy");
        assert_eq!(fork.kind, ForkKind::RolledBack { missing: 10 });
        let change = store.change(|tx| tx.ensure_tenant(&tenant("acme"))).await;
        assert!(matches!(change, Err(ChangeError::Unavailable(accredit_store::Cause::Forked))));
        assert!(sign_only(&store).await.is_err());
        drop(store);
        let store = open(directory.path());
        assert!(store.fork().is_some(), "still");
        store.acknowledge_fork("ana@corp", "restored after the disk failed").await.expect("acknowledged");
        assert_eq!(store.fork(), None);
        let said = EntryFilter { kinds: vec!["ledger.fork_acknowledged".into()], ..EntryFilter::default() };
        let said = store.read(move |view| view.entries(&said)).await.expect("read");
        let entry = said[0].decode().expect("an entry");
        assert_eq!(entry.body()["outside_size"], 20);
        // The other history had a checkpoint of 20: this one signs none until it is longer.
        fill(&store, 9).await;
        assert_eq!(sign(&store).await.expect("nothing new").map(|c| c.size), Some(10));
        fill(&store, 1).await;
        assert_eq!(sign(&store).await.expect("signed").map(|c| c.size), Some(21));
        verify(&store).await.expect("verifies");
        drop(store);
        assert_eq!(open(directory.path()).fork(), None);
    });
}

async fn sign_only(store: &Store) -> Result<Option<SignedHead>, SignError> {
    store.checkpoint(|size, root| Checkpoint::new(ORIGIN, size, *root)?.sign(&signer())).await
}

// case: AUD-06
#[test]
fn a_missing_broken_or_foreign_head_is_a_fork() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = config(directory.path()).head_path;
    run(async {
        let store = open(directory.path());
        fill(&store, 10).await;
        sign(&store).await.expect("signed");
    });
    let good = std::fs::read_to_string(&path).expect("a head");
    let other_root =
        accredit_ledger::head::Head::new(ORIGIN, 0, 10, leaf_hash(b"x")).expect("a head").encode();
    let check = |text: Option<&str>, expected: Option<ForkKind>| {
        let _ = std::fs::remove_file(&path);
        if let Some(text) = text {
            std::fs::write(&path, text).expect("written");
        }
        let store = open(directory.path());
        assert_eq!(store.fork().map(|f| f.kind), expected, "{text:?}");
    };
    check(None, Some(ForkKind::Missing));
    check(Some(&good[..20]), Some(ForkKind::Unreadable));
    check(Some(&good.replace("accredit.test", "other.test")), Some(ForkKind::Diverged));
    check(Some(&other_root), Some(ForkKind::Diverged));
    check(Some(&good.replace("epoch 0", "epoch 1")), Some(ForkKind::RolledBack { missing: 0 }));
    check(Some(&good), None);
}

/// Changes the stored ledger behind the store's back and says what verification finds.
fn tampered(sql: &str) -> Result<(), Problem> {
    let directory = tempfile::tempdir().expect("a directory");
    run(async {
        let store = open(directory.path());
        fill(&store, 300).await;
        sign(&store).await.expect("signed");
        let raw = rusqlite::Connection::open(config(directory.path()).path).expect("opens");
        let guards = "DROP TRIGGER entry_is_never_changed; DROP TRIGGER entry_is_never_removed;";
        raw.execute_batch(&format!("{guards} {sql}")).expect("tampered");
        match verify(&store).await {
            Ok(_) => Ok(()),
            Err(VerifyAllError::Ledger(VerifyError::Problem(problem))) => Err(*problem),
            Err(other) => panic!("{other}"),
        }
    })
}

// case: AUD-04, AUD-05
#[test]
fn whatever_is_done_to_stored_entries_is_found_and_named() {
    assert_eq!(tampered(""), Ok(()));
    let text = |hex: &str| format!("cast(replace(cast(body AS TEXT), {hex}) AS BLOB)");
    let change = format!("UPDATE entry SET body = {} WHERE seq = 42;", text("'owner-42', 'owner-4x'"));
    assert!(matches!(tampered(&change), Err(Problem::Changed(at)) if at.index == 42));
    let when = format!("UPDATE entry SET body = {} WHERE seq = 7;", text("'\"at\":1', '\"at\":2'"));
    assert!(matches!(tampered(&when), Err(Problem::Changed(at)) if at.index == 7));
    assert!(matches!(
        tampered("DELETE FROM entry WHERE seq = 9;"),
        Err(Problem::Removed { first: 9, count: 1 })
    ));
    let tail = "DELETE FROM entry WHERE seq >= 290;";
    assert!(matches!(tampered(tail), Err(Problem::Truncated { have: 290, expected: 300 })));
    let swap = "UPDATE entry SET seq = 9999 WHERE seq = 3; UPDATE entry SET seq = 3 WHERE seq = 250;
        UPDATE entry SET seq = 250 WHERE seq = 9999;";
    assert!(matches!(tampered(swap), Err(Problem::Swapped(a, b)) if (a.index, b.index) == (3, 250)));
    let copy = "UPDATE entry SET seq = -seq - 2 WHERE seq > 5; UPDATE entry SET seq = -seq - 1 WHERE seq < -1;
        INSERT INTO entry SELECT 6, tenant, kind, at, task, agent, resource, credential, decision, request, workflow,
        outcome, body FROM entry WHERE seq = 2;";
    assert!(matches!(tampered(copy), Err(Problem::Duplicated { of: 2, .. })), "{:?}", tampered(copy));
    let tile = "UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND position = 0;";
    assert!(tampered(tile).is_err());
}

#[test]
fn stored_entries_cannot_be_changed_or_removed_by_the_program_itself() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        fill(&store, 3).await;
        let raw = rusqlite::Connection::open(config(directory.path()).path).expect("opens");
        for sql in ["UPDATE entry SET at = 0", "DELETE FROM entry", "UPDATE entry SET seq = seq + 10"] {
            let refused = raw.execute(sql, []).expect_err("refused");
            assert!(refused.to_string().contains("never"), "{refused}");
        }
    });
}

#[test]
fn a_search_finds_the_newest_first_and_goes_on_where_it_stopped() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let task = world.start(&["github: *"]).await;
        let caller = world.caller(&task);
        for i in 0..5 {
            world.use_once(&caller, &task, "GET", &format!("/{i}")).await;
        }
        let search = |filter: EntryFilter| entries(&world.store, filter);
        let workflow = Workflow::parse("PAY-1").expect("a workflow").to_string();
        let filters = [
            EntryFilter { credential: Some("key".into()), ..EntryFilter::default() },
            EntryFilter {
                outcome: Some("allow".into()),
                agent: Some("bot".into()),
                ..EntryFilter::default()
            },
            EntryFilter {
                resource: Some("github".into()),
                task: Some(task.id.to_string()),
                ..EntryFilter::default()
            },
            EntryFilter {
                workflow: Some(workflow),
                kinds: vec!["action.decided".into()],
                ..EntryFilter::default()
            },
        ];
        for filter in filters {
            let filter = EntryFilter { tenant: Some(world.tenant.clone()), ..filter };
            let all = search(filter.clone()).await;
            assert_eq!(all.len(), 5, "{filter:?}");
            assert!(all.is_sorted_by(|a, b| a.seq > b.seq));
            let page = search(EntryFilter { limit: 2, before_seq: Some(all[1].seq), ..filter.clone() });
            let page: Vec<u64> = page.await.iter().map(|e| e.seq).collect();
            assert_eq!(page, [all[2].seq, all[3].seq]);
            let nobody = search(EntryFilter { tenant: Some(tenant("other")), ..filter });
            assert!(nobody.await.is_empty());
        }
    });
}

#[test]
fn cosignatures_are_kept_beside_the_checkpoint_that_they_are_on() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        fill(&store, 3).await;
        let first = sign(&store).await.expect("signed").expect("a checkpoint");
        fill(&store, 2).await;
        let second = sign(&store).await.expect("signed").expect("a checkpoint");
        let keep = async |witness: &'static str, size: u64, line: &'static str| {
            let kept = store.change(move |tx| tx.keep_cosignature(witness, size, line));
            kept.await.map_err(|error: ChangeError<StoreError>| error.to_string())
        };
        for (witness, size, line) in [("b", 3, "old"), ("b", 3, "by b"), ("a", 3, "by a"), ("b", 5, "again")]
        {
            keep(witness, size, line).await.expect("kept");
        }
        assert!(keep("a", 4, "of no checkpoint").await.is_err());
        let read = store.read(|view| {
            Ok((
                view.cosignatures(3)?,
                [view.newest_cosigned("a")?, view.newest_cosigned("b")?, view.newest_cosigned("c")?],
                [view.cosigned_from(1)?, view.cosigned_from(4)?, view.cosigned_from(6)?],
            ))
        });
        let (lines, newest, from) = read.await.expect("read");
        assert_eq!(lines, ["by a", "by b"]);
        assert_eq!(newest, [Some(first.clone()), Some(second.clone()), None]);
        assert_eq!(from, [Some(first), Some(second), None]);
        assert!(verify(&store).await.is_ok(), "the notes stayed as they were signed");
    });
}
