//! Several replicas on one database: what one of them ends is over on all of them, one of them gives places in the
//! ledger, and each is bound by the database's own rules.

mod common;

use std::time::{Duration, Instant};

use accredit_core::event::about_task;
use accredit_core::resource::Mode;
use accredit_core::task::Ending;
use accredit_core::text::Reason;
use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::note::Signer;
use accredit_store::{
    Address, Cut, EntryFilter, OpenError, RecordError, SchemaError, SharedConfig, Store, prepare,
};
use accredit_tests_postgres::{Cluster, Database, Role};
use common::{Place, World, agent, entries, entries_of, now, place_all, resource, run};

const ORIGIN: &str = "accredit.test/ledger";

fn database(place: &Place) -> &Database {
    match place {
        Place::Shared(_, database, _) => database,
        Place::Embedded(_) => panic!("a file is not shared"),
    }
}

/// The same world as another replica sees it.
async fn elsewhere(world: &World, place: &Place) -> World {
    world.through(place.open().await)
}

// case: REV-01, REV-06
#[test]
fn what_one_replica_ended_no_other_records_a_use_of() {
    let place = Place::shared();
    run(async {
        let one = World::on(place.open().await, "acme").await;
        let two = elsewhere(&one, &place).await;
        let task = one.start(&["github: *"]).await;
        let caller = one.caller(&task);
        assert!(two.use_once(&caller, &task, "GET", "/").await.permit().is_ok());
        // The other replica has the facts in memory, and is told of nothing.
        let (snapshot, orders) = (two.snapshot(&task).await, two.store.cut_orders());
        let carrying_out = tokio::spawn(carry_out(orders.expect("nobody else takes them")));
        one.end(&task).await.expect("ended");
        let late = two.decide(&caller, &snapshot, "GET", "/");
        assert!(matches!(two.record(late, &snapshot).await, Err(RecordError::Narrowed(_))));
        let refused = two.use_once(&caller, &task, "GET", "/").await;
        assert_eq!(refused.decision().code(), "task_ended");
        drop((one, two));
        let cuts = carrying_out.await.expect("no panic");
        assert_eq!(cuts, [Cut::Task(task.tenant.clone(), task.id.clone())]);
    });
}

async fn carry_out(mut orders: tokio::sync::mpsc::Receiver<accredit_store::CutOrder>) -> Vec<Cut> {
    let mut cuts = Vec::new();
    while let Some(order) = orders.recv().await {
        cuts.push(order.cut.clone());
    }
    cuts
}

// case: REV-02
#[test]
fn a_change_that_cuts_returns_when_every_replica_has_cut_or_has_given_itself_up() {
    let place = Place::shared();
    run(async {
        let one = World::on(place.open().await, "acme").await;
        let two = elsewhere(&one, &place).await;
        tokio::spawn(carry_out(one.store.cut_orders().expect("nobody else takes them")));
        let mut orders = two.store.cut_orders().expect("nobody else takes them");
        let task = one.start(&["github: *"]).await;
        let ending = tokio::spawn({
            let (one, task) = (one.clone(), task.clone());
            async move { one.end(&task).await }
        });
        let order = orders.recv().await.expect("an order");
        assert_eq!(order.cut, Cut::Task(task.tenant.clone(), task.id.clone()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!ending.is_finished(), "it waits for the other replica");
        drop(order);
        ending.await.expect("no panic").expect("ended");
        // A replica that does not carry out its orders is not waited for longer than it is taken to be there.
        let held = agent(&one.tenant).suspend(Reason::parse("test").expect("a reason"), now());
        let begun = Instant::now();
        let suspended = one.store.change_and_cut(move |tx| tx.put_agent(&held)).await.expect("suspended");
        assert_eq!(suspended.1, 0, "it has given itself up");
        assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(two.store.is_stale() && !one.store.is_stale());
        drop(orders);
    });
}

// case: REV-02, FLT-06, FLT-08
#[test]
fn a_replica_is_given_up_by_the_clocks_of_the_others_and_not_by_that_of_the_database() {
    let place = Place::shared();
    run(async {
        let world = World::on(place.open().await, "acme").await;
        let database = database(&place);
        let suspend = async || {
            let held = agent(&world.tenant).suspend(Reason::parse("test").expect("a reason"), now());
            let begun = Instant::now();
            let change = world.store.change_and_cut(move |tx| tx.put_agent(&held)).await;
            (change.expect("suspended").1, begun.elapsed())
        };
        // The clock of the database went ahead by an hour after a replica was last heard of, or back.
        for (ghost, seen) in [("ahead", "- INTERVAL '1 hour'"), ("back", "+ INTERVAL '1 hour'")] {
            let enter = format!(
                "INSERT INTO accredit.replica (id, seen, cuts) VALUES ('{ghost}', clock_timestamp() {seen}, 0)"
            );
            Cluster::shared().admin_in(database, &enter);
            let (pending, took) = suspend().await;
            assert_eq!(pending, 0, "{ghost}: it has given itself up");
            assert!(took > Duration::from_millis(4_500), "{ghost}: it may be there: {took:?}");
            assert!(took < Duration::from_millis(6_500), "{ghost}: {took:?}");
            let (pending, took) = suspend().await;
            assert!(pending == 0 && took < Duration::from_secs(1), "{ghost}: it is known: {took:?}");
            let lost = format!("{:?}", world.store.lost_replicas());
            assert!(!lost.contains(ghost), "not for so long that it is gone: {lost}");
        }
        let begun = Instant::now();
        while world.store.lost_replicas().len() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(8), "they are gone by now");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // One of them comes back at the last moment: what it has let out is its own.
        Cluster::shared().admin_in(database, "UPDATE accredit.replica SET seen = seen WHERE id = 'back'");
        for lost in world.store.lost_replicas() {
            let settled = world.store.change(move |tx| tx.settle_lost(&lost)).await;
            assert_eq!(settled.expect("settled"), 0);
        }
        let left = "SELECT id FROM accredit.replica WHERE id IN ('ahead', 'back')";
        assert_eq!(Cluster::shared().admin_in(database, left).trim(), "back");
        // One that is there and does not carry out what it is ordered is not taken for gone.
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let beat = "UPDATE accredit.replica SET seen = seen WHERE id = 'back'";
                    Cluster::shared().admin_in(database, beat);
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
            let (pending, took) =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(suspend()));
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(pending == 1 && took > Duration::from_secs(6), "{pending}, {took:?}");
        });
    });
}

// case: FLT-06
#[test]
fn a_lease_runs_out_by_the_clocks_of_the_others_and_not_by_that_of_the_database() {
    let place = Place::shared();
    run(async {
        let world = World::on(place.open().await, "acme").await;
        let database = database(&place);
        assert!(world.store.leads().await.expect("read"), "nobody else does");
        Cluster::shared().admin_in(database, "INSERT INTO accredit.replica (id, cuts) VALUES ('ghost', 0)");
        for until in ["- INTERVAL '1 hour'", "+ INTERVAL '1 hour'"] {
            let taken = format!(
                "UPDATE accredit.leader SET holder = 'ghost', token = token + 1, until = clock_timestamp() {until}"
            );
            Cluster::shared().admin_in(database, &taken);
            let begun = Instant::now();
            while !world.store.leads().await.expect("read") {
                assert!(begun.elapsed() < Duration::from_secs(5), "the lease has run out");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(begun.elapsed() > Duration::from_millis(2_900), "it runs: {:?}", begun.elapsed());
        }
        let taken = "UPDATE accredit.leader SET holder = 'ghost', token = token + 1;
            DELETE FROM accredit.replica WHERE id = 'ghost'";
        Cluster::shared().admin_in(database, taken);
        assert!(world.store.leads().await.expect("read"), "whoever has left leads no more");
    });
}

// case: REV-01, REV-02
#[test]
fn a_task_that_all_replicas_use_without_a_pause_is_ended_all_the_same() {
    let place = Place::shared();
    // Each commit takes as long as on a slow disk: so that something is always shared.
    for slow in ["commit_delay = 100000", "commit_siblings = 0"] {
        Cluster::shared().admin(&format!("ALTER DATABASE {} SET {slow}", database(&place).name()));
    }
    run(async {
        let one = World::on(place.open().await, "acme").await;
        let worlds = [one.clone(), elsewhere(&one, &place).await, elsewhere(&one, &place).await];
        for world in &worlds {
            tokio::spawn(carry_out(world.store.cut_orders().expect("nobody else takes them")));
        }
        for _ in 0..3 {
            let task = one.start(&["github: *"]).await;
            let caller = one.caller(&task);
            assert!(one.use_once(&caller, &task, "GET", "/").await.permit().is_ok());
            let users: Vec<_> = (0..24)
                .map(|user| {
                    let (world, task, caller) = (worlds[user % 3].clone(), task.clone(), caller.clone());
                    tokio::spawn(async move {
                        let mut used = 0;
                        while world.use_once(&caller, &task, "GET", "/").await.permit().is_ok() {
                            used += 1;
                        }
                        used
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            let begun = Instant::now();
            one.end(&task).await.expect("ended");
            let took = begun.elapsed();
            let mut used = 0;
            for user in users {
                used += user.await.expect("no panic");
            }
            assert!(took < Duration::from_secs(2), "{took:?} while it was used {used} times");
            assert!(used > 24, "it was in use");
        }
    });
}

// case: FLT-08
#[test]
fn uses_of_two_replicas_that_race_changes_are_each_before_or_after() {
    let place = Place::shared();
    run(async {
        let one = World::on(place.open().await, "acme").await;
        let two = elsewhere(&one, &place).await;
        for world in [&one, &two] {
            tokio::spawn(carry_out(world.store.cut_orders().expect("nobody else takes them")));
        }
        for round in 0..20 {
            let task = one.start(&["github: * calls<=9"]).await;
            let caller = one.caller(&task);
            let users: Vec<_> = (0..24)
                .map(|user| {
                    let world = if user % 2 == 0 { one.clone() } else { two.clone() };
                    let (task, caller) = (task.clone(), caller.clone());
                    tokio::spawn(async move { world.use_once(&caller, &task, "GET", "/").await })
                })
                .collect();
            let changed = resource(&one.tenant, Mode::Enforce);
            let change = two.store.change(move |tx| tx.put_resource(&changed));
            change.await.expect("changed");
            if round % 2 == 0 {
                one.end(&task).await.expect("ended");
                let late = two.use_once(&caller, &task, "GET", "/").await;
                assert_eq!(late.decision().code(), "task_ended");
            }
            let mut allowed = 0;
            for user in users {
                allowed += usize::from(user.await.expect("no panic").permit().is_ok());
            }
            assert!(allowed <= 9, "{allowed} of 9");
            assert!(round % 2 == 0 || allowed == 9, "{allowed} of 9");
        }
    });
}

// case: REV-01, FLT-08
#[test]
fn a_use_that_a_change_has_waited_for_stands_before_it_in_the_ledger() {
    let place = Place::shared();
    run(async {
        let one = World::on(place.open().await, "acme").await;
        let two = elsewhere(&one, &place).await;
        for world in [&one, &two] {
            tokio::spawn(carry_out(world.store.cut_orders().expect("nobody else takes them")));
        }
        let task = one.start(&["github: *"]).await;
        let caller = one.caller(&task);
        // The first use of a task is a change as well.
        assert!(one.use_once(&caller, &task, "GET", "/").await.permit().is_ok());
        let (began, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let (active, ended) = (task.clone(), task.clone().end(Ending::Revoked, None, now()));
        let store = two.store.clone();
        let change = tokio::spawn(async move {
            let change = store.change(move |tx| {
                // The first thing that it writes gives the transaction its number.
                tx.append(about_task("task.started", &active))?;
                began.send(()).expect("it is waited for");
                may_go_on.recv().expect("it is let go on");
                tx.put_task(&ended)?;
                tx.append(
                    about_task("task.ended", &ended).with("outcome", Ending::Revoked).with("by", "test"),
                )
            });
            change.await
        });
        has_begun.await.expect("it began");
        assert!(one.use_once(&caller, &task, "GET", "/").await.permit().is_ok());
        go_on.send(()).expect("it waits");
        change.await.expect("no panic").expect("ended");
        let kinds = entries(&one.store, EntryFilter::default()).await;
        let kinds = kinds.iter().map(|e| e.decode().expect("an entry").kind().to_owned());
        let newest: Vec<_> =
            kinds.filter(|kind| kind.starts_with("task.") || kind == "action.decided").collect();
        assert_eq!(newest[..2], ["task.ended", "action.decided"], "{newest:?}");
    });
}

#[test]
fn one_replica_gives_places_and_another_takes_over_when_it_is_gone() {
    let place = Place::shared();
    run(async {
        let one = World::on(place.open().await, "acme").await;
        let two = elsewhere(&one, &place).await;
        let task = one.start(&["github: *"]).await;
        let caller = one.caller(&task);
        place_all(&one.store).await;
        let first = sign(&one.store).await.expect("the leader signs");
        let used = two.use_once(&caller, &task, "GET", "/").await.decision().id().clone();
        assert_eq!(sign(&two.store).await, Some(first), "another leads");
        assert_eq!(two.store.integrate(100).await.expect("read").size, first, "and gives places");
        assert_eq!(entries_of(&one.store, &one.tenant, &used).await.len(), 1);
        two.store.follow().await.expect("it continues what it has seen");
        drop(one);
        let taking_over = async {
            while sign(&two.store).await <= Some(first) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), taking_over).await.expect("another takes over");
        let three = place.open().await;
        assert_eq!(three.fork(), None);
        three.follow().await.expect("a checkpoint to begin with");
        let signer = Signer::from_seed(ORIGIN, &[7; 32]).expect("a signer");
        let report = three.verify_all(vec![signer.verifier().clone()], |_| {}).await.expect("it verifies");
        assert!(report.size > first);
    });
}

/// Signs as the leader does; the size of the newest checkpoint.
async fn sign(store: &Store) -> Option<u64> {
    let signer = Signer::from_seed(ORIGIN, &[7; 32]).expect("a signer");
    let signed = store.checkpoint(|size, root| Checkpoint::new(ORIGIN, size, *root)?.sign(&signer)).await;
    signed.expect("signed").map(|head| head.size)
}

// case: TEN-01, TEN-09
#[test]
fn every_table_is_under_row_level_security_and_without_a_scope_nothing_is_seen() {
    let place = Place::shared();
    run(async {
        let world = World::on(place.open().await, "acme").await;
        world
            .use_once(
                &world.caller(&world.start(&["github: *"]).await),
                &world.start(&["github: *"]).await,
                "GET",
                "/",
            )
            .await;
        place_all(&world.store).await;
        let database = database(&place);
        let service = |sql: &str| database.psql(Role::Service, &format!("SET search_path = accredit; {sql}"));
        let unprotected = service(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace \
             WHERE s.nspname = 'accredit' AND c.relkind = 'r' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
        );
        assert_eq!(unprotected.expect("read").trim().replace("SET", ""), "");
        let tables = service(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped \
             WHERE s.nspname = 'accredit' AND c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT')",
        );
        let tables = tables.expect("read");
        let tables: Vec<&str> = tables.lines().filter(|name| !name.is_empty() && *name != "SET").collect();
        assert!(tables.len() > 15, "{tables:?}");
        for table in tables {
            for scope in ["", "SET accredit.tenants = 'other';"] {
                let sql = format!("{scope} SELECT count(*) FROM {table} WHERE tenant <> '-'");
                let seen = service(&sql).expect("read");
                assert_eq!(seen.lines().last(), Some("0"), "{table} with `{scope}`");
            }
        }
    });
}

// case: ADM-01, TEN-01
#[test]
fn the_service_cannot_change_or_remove_what_is_in_the_ledger() {
    let place = Place::shared();
    run(async {
        let world = World::on(place.open().await, "acme").await;
        world.start(&["github: *"]).await;
        place_all(&world.store).await;
    });
    for table in ["arrival", "leaf", "entry", "checkpoint", "migration", "facts", "policy_set"] {
        for change in
            [format!("DELETE FROM {table}"), format!("TRUNCATE {table}"), format!("DROP TABLE {table}")]
        {
            let sql = format!("SET search_path = accredit; SET accredit.tenants = '*'; {change}");
            let said = database(&place).psql(Role::Service, &sql).expect_err(&change);
            assert!(
                ["denied", "must be owner", "cannot", "is not a table"].iter().any(|no| said.contains(no)),
                "{change}: {said}"
            );
        }
    }
    for change in
        ["UPDATE arrival SET tenant = 'x'", "UPDATE leaf SET seq = 9", "UPDATE checkpoint SET size = 1"]
    {
        let sql = format!("SET search_path = accredit; SET accredit.tenants = '*'; {change}");
        let said = database(&place).psql(Role::Service, &sql).expect_err(change);
        assert!(said.contains("denied"), "{change}: {said}");
    }
}

#[test]
fn a_service_that_the_database_does_not_bind_is_refused() {
    let place = Place::shared();
    let database = database(&place);
    let directory = tempfile::tempdir().expect("a directory");
    let connect = |url: &str| {
        let config = SharedConfig {
            address: Address::parse(url, None).expect("an address"),
            head_path: directory.path().join("head"),
            readers: 1,
            queue_max: 8,
        };
        run(Store::connect(config)).map(|_| ())
    };
    let owner = connect(&database.url(Role::Owner));
    assert!(
        matches!(&owner, Err(OpenError::Shared(SchemaError::TooMighty { why: "owns the tables", .. }))),
        "{owner:?}"
    );
    let empty = Cluster::shared().database();
    let unprepared = connect(&empty.url(Role::Service));
    assert!(matches!(unprepared, Err(OpenError::Shared(SchemaError::NotPrepared))), "{unprepared:?}");
    // This machine does not vouch for the certificate of a test.
    let url = database.url(Role::Service);
    let (before, _) = url.split_once("&sslrootcert").expect("a file of certificates");
    let unknown = connect(before).expect_err("a server that nobody vouches for").to_string();
    assert!(unknown.contains("certificate"), "{unknown}");
}

// case: FLT-20
#[test]
fn the_schema_is_made_once_and_a_newer_one_is_worked_on_as_far_as_it_says() {
    let database = Cluster::shared().database();
    let owner = Address::parse(&database.url(Role::Owner), None).expect("an address");
    for _ in 0..2 {
        run(prepare(&owner, Role::Service.name())).expect("made, and again nothing");
    }
    assert!(matches!(run(prepare(&owner, "nobody")), Err(SchemaError::NoRole(role)) if role == "nobody"));
    let directory = tempfile::tempdir().expect("a directory");
    let connect = || {
        let config = SharedConfig {
            address: Address::parse(&database.url(Role::Service), None).expect("an address"),
            head_path: directory.path().join("head"),
            readers: 1,
            queue_max: 8,
        };
        run(Store::connect(config)).map(|_| ())
    };
    let newer = |works_from: u64| {
        let sql = format!(
            "INSERT INTO accredit.migration VALUES (9999, 'x', {works_from})
             ON CONFLICT (number) DO UPDATE SET works_from = {works_from}"
        );
        database.psql(Role::Owner, &sql).expect("written");
    };
    newer(1);
    connect().expect("a newer schema that this version still works with");
    newer(9999);
    let refused = connect();
    assert!(
        matches!(refused, Err(OpenError::Shared(SchemaError::Newer { works_from: 9999, .. }))),
        "{refused:?}"
    );
}

/// A replica that is killed between the head outside and its checkpoint leaves a head that nobody has signed: that is no
/// ledger that lost something.
#[test]
fn a_head_that_is_not_signed_yet_is_waited_for() {
    let place = Place::shared();
    run(async {
        let world = World::on(place.open().await, "acme").await;
        let sign = async |store: &Store| {
            place_all(store).await;
            sign(store).await.expect("a head")
        };
        world.start(&["github: *"]).await;
        let old = sign(&world.store).await;
        world.start(&["github: *"]).await;
        let new = sign(&world.store).await;
        assert!(new > old);
        let gone = format!("DELETE FROM accredit.checkpoint WHERE size = {new}");
        Cluster::shared().admin_in(database(&place), &gone);
        let signer = Signer::from_seed(ORIGIN, &[7; 32]).expect("a key");
        let (store, key) = (world.store.clone(), signer.verifier().clone());
        let verifying = tokio::spawn(async move { store.verify_all(vec![key], |_| ()).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!verifying.is_finished(), "it waits for whoever signs next");
        assert_eq!(sign(&world.store).await, new);
        assert_eq!(verifying.await.expect("no panic").expect("verifies").size, new);
    });
}
