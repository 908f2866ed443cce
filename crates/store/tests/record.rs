//! The record step: what is recorded, what is not, and in which order a revocation and a use come.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use accredit_core::decision::Outcome;
use accredit_core::id::TaskId;
use accredit_core::owner::{OwnerRecord, Standing};
use accredit_core::resource::{Mode, Sensitivity};
use accredit_core::task::Task;
use accredit_core::text::{Owner, Reason};
use accredit_store::{EntryFilter, FactsError, RecordError, RequestFilter, RequestStatus, StoreError};
use common::{
    World, agent, credential, endpoint, entries, entries_of, now, on_both, open, place_all, resource, run,
    tenant,
};

// case: REV-01, REV-06
#[test]
fn no_use_is_recorded_once_the_end_of_its_task_has_returned() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        for _ in 0..20 {
            let task = world.start(&["github: *"]).await;
            let caller = world.caller(&task);
            let over = Arc::new(AtomicBool::new(false));
            let before = Arc::new(AtomicU64::new(0));
            let users: Vec<_> = (0..8)
                .map(|_| {
                    let (world, task, caller) = (world.clone(), task.clone(), caller.clone());
                    let (over, before) = (Arc::clone(&over), Arc::clone(&before));
                    tokio::spawn(async move {
                        loop {
                            let was_over = over.load(Ordering::SeqCst);
                            let recorded = world.use_once(&caller, &task, "GET", "/").await;
                            let id = recorded.decision().id().clone();
                            let allowed = recorded.permit().is_ok();
                            assert!(!(was_over && allowed), "{id} was recorded after the end had returned");
                            if !allowed {
                                return;
                            }
                            before.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            while before.load(Ordering::SeqCst) < 8 {
                tokio::task::yield_now().await;
            }
            world.end(&task).await.expect("ended");
            over.store(true, Ordering::SeqCst);
            for user in users {
                user.await.expect("no use after the end");
            }
        }
    });
}

/// A decision made before a change cannot be recorded after it, whatever was changed.
async fn check_narrowed(world: &World, what: &str, change: impl AsyncFnOnce(&World)) {
    let task = world.start(&["github: *"]).await;
    let caller = world.caller(&task);
    let snapshot = world.snapshot(&task).await;
    let decision = world.decide(&caller, &snapshot, "GET", "/");
    let id = decision.id().clone();
    change(world).await;
    let answer = world.record(decision, &snapshot).await;
    assert!(matches!(&answer, Err(RecordError::Narrowed(d)) if *d.id() == id), "{what}: {:?}", answer.err());
    assert!(entries_of(&world.store, &world.tenant, &id).await.is_empty(), "{what}");
    let again = world.snapshot(&task).await;
    let decision = world.decide(&caller, &again, "GET", "/");
    assert!(world.record(decision, &again).await.is_ok(), "{what}: fresh facts are recorded");
}

// case: REV-01
#[test]
fn whatever_a_decision_rests_on_stops_it_when_it_changes() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        macro_rules! changed {
            ($what:literal, |$tx:ident, $tenant:ident| $change:expr) => {
                check_narrowed(&world, $what, async |world: &World| {
                    let $tenant = world.tenant.clone();
                    let change = world.store.change(move |$tx| -> Result<(), StoreError> { $change });
                    change.await.expect("changed");
                })
                .await;
            };
        }
        let why = || Reason::parse("test").expect("a reason");
        changed!("agent", |tx, tenant| tx.put_agent(&agent(&tenant).suspend(why(), now()).resume()));
        changed!("resource", |tx, tenant| tx.put_resource(&resource(&tenant, Mode::Enforce)));
        changed!("credential", |tx, tenant| tx.put_credential(&credential(&tenant).with_next_version()));
        changed!("policy", |tx, tenant| {
            let digest = tx.policy_head(&tenant)?.expect("a set is in force");
            tx.set_policy_head(&tenant, &digest, now())
        });
        changed!("owner", |tx, tenant| {
            let owner = Owner::parse("ana@corp").expect("an owner");
            tx.put_owner(&tenant, &OwnerRecord { owner, standing: Standing::Active, added_at: now() })
        });
    });
}

#[test]
fn a_change_of_an_ancestor_stops_the_child_and_one_of_a_stranger_does_not() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let (root, stranger) = (world.start(&["github: *"]).await, world.start(&["github: *"]).await);
        let child = world.task(&["github: *"], Some(root.id.clone()));
        world.put(child.clone()).await;
        let below = |id: &TaskId| {
            let (tenant, id) = (world.tenant.clone(), id.clone());
            world.store.read(move |view| view.descendants(&tenant, &id))
        };
        assert_eq!(below(&root.id).await.expect("read"), vec![child.clone()]);
        assert!(below(&child.id).await.expect("read").is_empty());
        let caller = world.caller(&child);
        let snapshot = world.snapshot(&child).await;
        assert_eq!(snapshot.prepared.facts().chain.len(), 2);
        world.end(&stranger).await.expect("ended");
        let first = world.decide(&caller, &snapshot, "GET", "/");
        assert!(world.record(first, &snapshot).await.is_ok());
        world.end(&root).await.expect("ended");
        let second = world.decide(&caller, &snapshot, "GET", "/");
        assert!(matches!(world.record(second, &snapshot).await, Err(RecordError::Narrowed(_))));
    });
}

// case: POL-09
#[test]
fn what_a_task_may_have_seen_is_durable_and_a_decision_that_did_not_know_it_is_made_again() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let (task, other) = (world.start(&["github: *"]).await, world.start(&["github: *"]).await);
        let caller = world.caller(&task);
        let seen = async |world: &World, task: &Task| {
            world.snapshot(task).await.usage.seen().expect("recorded").clone()
        };
        let before = world.snapshot(&task).await;
        let (read, write) =
            (world.decide(&caller, &before, "GET", "/"), world.decide(&caller, &before, "POST", "/"));
        assert!(world.record(read, &before).await.is_ok());
        let late = world.record(write, &before).await;
        assert!(matches!(late, Err(RecordError::LimitReached(_) | RecordError::Narrowed(_))));
        let after = world.snapshot(&task).await;
        assert_eq!(seen(&world, &task).await.into_iter().collect::<Vec<_>>(), [Sensitivity::Internal]);
        assert!(seen(&world, &other).await.is_empty(), "another task has seen nothing");
        let write = world.decide(&caller, &after, "POST", "/");
        assert!(world.record(write, &after).await.is_ok());
        let denied = world.use_once(&world.caller(&other), &other, "TRACE", "/").await;
        assert!(
            denied.permit().is_err() && seen(&world, &other).await.is_empty(),
            "what was refused was not seen"
        );
        let (tenant, id) = (world.tenant.clone(), task.id.clone());
        drop((before, after, world));
        let store = place.open().await;
        let usage = store.read(move |view| view.usage(&tenant, &id)).await.expect("read");
        assert_eq!(usage.seen().map(|s| s.contains(&Sensitivity::Internal)), Some(true), "after a restart");
    });
}

#[test]
fn a_stamp_of_other_facts_records_nothing() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let (one, other) = (world.start(&["github: *"]).await, world.start(&["github: *"]).await);
        let snapshot = world.snapshot(&one).await;
        let decision = world.decide(&world.caller(&one), &snapshot, "GET", "/");
        let answer = world.record(decision, &world.snapshot(&other).await).await;
        assert!(matches!(answer, Err(RecordError::Unavailable(_))));
    });
}

#[test]
fn concurrent_uses_never_exceed_a_limit() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let task = world.start(&["github: * calls<=7"]).await;
        let caller = world.caller(&task);
        let users: Vec<_> = (0..50)
            .map(|_| {
                let (world, task, caller) = (world.clone(), task.clone(), caller.clone());
                tokio::spawn(async move { world.use_once(&caller, &task, "GET", "/").await.permit().is_ok() })
            })
            .collect();
        let mut allowed = 0;
        for user in users {
            allowed += usize::from(user.await.expect("no panic"));
        }
        assert_eq!(allowed, 7);
        let (tenant, id) = (world.tenant.clone(), task.id.clone());
        let usage = world.store.read(move |view| view.usage(&tenant, &id)).await.expect("read");
        assert_eq!(usage.of(0).calls, 7);
    });
}

// case: AUD-12
#[test]
fn an_action_has_one_intent_and_one_outcome_and_its_bytes_count() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let task = world.start(&["github: * bytes<=100"]).await;
        let caller = world.caller(&task);
        let recorded = world.use_once(&caller, &task, "GET", "/").await;
        let permit = recorded.permit().map_err(|r| r.refusal).expect("allowed");
        for _ in 0..3 {
            world.store.settle(world.settled(permit.decision(), 100)).await;
        }
        world.store.flushed().await;
        let entries = entries_of(&world.store, &world.tenant, permit.decision().id()).await;
        let expected = [("action.decided", "allow"), ("action.settled", "done")];
        assert_eq!(entries, expected.map(|(k, o)| (k.to_owned(), o.to_owned())));
        assert_eq!(world.snapshot(&task).await.usage.of(0).bytes, 100);
        let refused = world.use_once(&caller, &task, "GET", "/").await;
        assert_eq!(refused.decision().code(), "limit_reached");
    });
}

#[test]
fn the_facts_of_a_decision_are_kept_under_their_digest() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let task = world.start(&["github: *"]).await;
        let recorded = world.use_once(&world.caller(&task), &task, "GET", "/").await;
        let prepared = Arc::clone(recorded.decision().prepared());
        let digest = prepared.digest();
        let read = |tenant| world.store.read(move |view| view.facts(&tenant, &digest));
        assert_eq!(read(world.tenant.clone()).await.expect("read").as_deref(), Some(prepared.text()));
        assert_eq!(read(tenant("other")).await.expect("read"), None);
    });
}

#[test]
fn the_same_question_is_asked_once() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let task = world.start(&["github: *"]).await;
        let caller = world.caller(&task);
        let mut asked = HashSet::new();
        for path in ["/a", "/a", "/b", "/a"] {
            let recorded = world.use_once(&caller, &task, "DELETE", path).await;
            assert!(matches!(recorded.decision().outcome(), Outcome::Ask(..)));
            asked.insert((path, recorded.request().expect("a request").clone()));
            assert!(recorded.permit().is_err());
        }
        assert_eq!(asked.len(), 2);
        let tenant = world.tenant.clone();
        let list = |filter: RequestFilter| {
            let tenant = tenant.clone();
            world.store.read(move |view| view.requests(&tenant, &filter))
        };
        let counts: Vec<u64> =
            list(RequestFilter::default()).await.expect("read").iter().map(|r| r.count).collect();
        assert_eq!(counts, [1, 3]);
        let (of, id) = (world.tenant.clone(), task.id.clone());
        let withdrawn = world.store.change(move |tx| tx.withdraw_requests(&of, &id, now()));
        assert_eq!(withdrawn.await.expect("withdrawn").len(), 2);
        let pending = RequestFilter { status: Some(RequestStatus::Pending), ..RequestFilter::default() };
        assert!(list(pending).await.expect("read").is_empty());
        let kinds = ["request.raised", "request.repeated", "request.closed"].map(|kind| {
            let filter = EntryFilter { kinds: vec![kind.to_owned()], ..EntryFilter::default() };
            entries(&world.store, filter)
        });
        let mut found = Vec::new();
        for kind in kinds {
            found.push(kind.await.len());
        }
        assert_eq!(found, [2, 2, 2]);
    });
}

// case: AUD-12, FLT-01
#[test]
fn an_action_without_outcome_is_settled_as_unknown_at_the_next_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let (tenant, id) = run(async {
        let world = World::on(open(directory.path()), "acme").await;
        let task = world.start(&["github: *"]).await;
        let recorded = world.use_once(&world.caller(&task), &task, "GET", "/").await;
        (world.tenant.clone(), recorded.decision().id().clone())
    });
    for _ in 0..2 {
        let store = open(directory.path());
        let entries = run(entries_of(&store, &tenant, &id));
        let expected = [("action.decided", "allow"), ("action.settled", "unknown")];
        assert_eq!(entries, expected.map(|(k, o)| (k.to_owned(), o.to_owned())));
    }
}

// case: TEN-05, REV-07
#[test]
fn the_same_names_in_two_tenants_never_meet() {
    on_both(async |place| {
        let store = place.open().await;
        let (one, two) = (World::on(store.clone(), "one").await, World::on(store.clone(), "two").await);
        let (task, other) = (one.start(&["github: *"]).await, two.start(&["github: *"]).await);
        // The same task id, asked for under the other tenant, is no task there.
        let foreign = store.snapshot(&two.tenant, &task.id, &endpoint()).await;
        assert!(matches!(foreign.map(|_| ()), Err(FactsError::NoTask)));
        let snapshot = two.snapshot(&other).await;
        let why = Reason::parse("test").expect("a reason");
        let suspended = agent(&one.tenant).suspend(why, now());
        let change = store.change(move |tx| tx.put_agent(&suspended));
        change.await.expect("changed");
        let decision = two.decide(&two.caller(&other), &snapshot, "GET", "/");
        assert!(
            two.record(decision, &snapshot).await.is_ok_and(|r| r.permit().is_ok()),
            "two is not concerned"
        );
        let refused = one.use_once(&one.caller(&task), &task, "GET", "/").await;
        assert_eq!(refused.decision().code(), "agent_suspended");
        let filter =
            |tenant: &_| EntryFilter { tenant: Some(Clone::clone(tenant)), ..EntryFilter::default() };
        let (mine, theirs) = (filter(&one.tenant), filter(&two.tenant));
        place_all(&store).await;
        let read = store.read(move |view| Ok((view.entries(&mine)?, view.entries(&theirs)?)));
        let (mine, theirs) = read.await.expect("read");
        assert!(!mine.is_empty() && !theirs.is_empty());
        let foreign = mine.iter().filter(|e| e.decode().is_ok_and(|e| e.tenant() != "one")).count();
        assert_eq!(foreign, 0);
        assert!(theirs.iter().all(|e| mine.iter().all(|m| m.seq != e.seq)));
    });
}

#[test]
fn a_snapshot_comes_from_memory_until_something_changes() {
    on_both(async |place| {
        let world = World::on(place.open().await, "acme").await;
        let task = world.start(&["github: *"]).await;
        let misses = || world.store.stats().snapshot_misses.load(Ordering::Relaxed);
        let first = world.snapshot(&task).await;
        assert!(Arc::ptr_eq(&first.prepared, &world.snapshot(&task).await.prepared));
        assert_eq!(misses(), 1);
        world.end(&task).await.expect("ended");
        assert!(!Arc::ptr_eq(&first.prepared, &world.snapshot(&task).await.prepared));
        assert_eq!(misses(), 2);
        // An endpoint where nothing answers, until something is registered there.
        let free = accredit_core::host::Endpoint::parse("new.example").expect("an endpoint");
        let target = async || {
            let found = world.store.snapshot(&world.tenant, &task.id, &free).await.expect("facts");
            found.prepared.facts().target.clone()
        };
        assert!(target().await.is_none() && target().await.is_none());
        let mut moved = resource(&world.tenant, Mode::Enforce);
        moved.endpoints.push(free.clone());
        world.store.change(move |tx| tx.put_resource(&moved)).await.expect("changed");
        assert!(target().await.is_some());
    });
}
