//! Copies of everything: from either database into a file, from a file into either, and the move from one to the other.

mod common;

use std::path::Path;

use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::note::Signer;
use accredit_store::copy::{Copied, CopyError, Database, backup, migrate, restore};
use accredit_store::{Address, ForkKind, OpenError, Store};
use accredit_tests_postgres::Role;
use common::{Place, World, config, place_all, run};
use rusqlite::Connection;

const ORIGIN: &str = "accredit.test/ledger";

fn address(place: &Place) -> Address {
    let Place::Shared(_, database, _) = place else { panic!("a file has no address") };
    Address::parse(&database.url(Role::Service), None).expect("an address")
}

fn database(place: &Place) -> Database {
    match place {
        Place::Embedded(directory) => Database::File(config(directory.path()).path),
        Place::Shared(..) => Database::Server(Box::new(address(place))),
    }
}

/// Runs the same test with either database as the first, and new ones of both sorts to copy into.
fn from_each_to_each(test: impl AsyncFn(&Place, &[Place; 2])) {
    for place in [Place::embedded(), Place::shared()] {
        let targets = [Place::embedded(), Place::shared()];
        run(test(&place, &targets));
    }
}

async fn copying(
    work: impl FnOnce() -> Result<Copied, CopyError> + Send + 'static,
) -> Result<Copied, CopyError> {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

async fn taken(place: &Place, to: &Path) -> Result<Copied, CopyError> {
    let (from, to) = (database(place), to.to_owned());
    copying(move || backup(&from, &to, &|_| ())).await
}

async fn restored(from: &Path, place: &Place) -> Result<Copied, CopyError> {
    let (from, into) = (from.to_owned(), database(place));
    copying(move || restore(&from, &into, &|_| ())).await
}

async fn moved(from: &Place, to: &Place) -> Result<Copied, CopyError> {
    let Place::Embedded(directory) = from else { panic!("only a file is moved") };
    let (config, to) = (config(directory.path()), address(to));
    copying(move || migrate(&config.path, &config.head_path, &to, &|_| ())).await
}

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).expect("a key")
}

/// Signs everything there is; how many entries that is.
async fn sign(store: &Store) -> u64 {
    place_all(store).await;
    let signed = store.checkpoint(|size, root| Checkpoint::new(ORIGIN, size, *root)?.sign(&signer())).await;
    signed.expect("signed").expect("a head").size
}

/// A world in which something happened, with a signed head and entries after it.
async fn lived_in(store: Store) -> World {
    let world = World::on(store, "acme").await;
    for _ in 0..3 {
        let task = world.start(&["github: *"]).await;
        let caller = world.caller(&task);
        for _ in 0..100 {
            assert!(world.use_once(&caller, &task, "GET", "/").await.permit().is_ok());
        }
    }
    sign(&world.store).await;
    let task = world.start(&["github: *"]).await;
    assert!(world.use_once(&world.caller(&task), &task, "GET", "/").await.permit().is_ok());
    world.store.flushed().await;
    world
}

/// Every row of a backup, but for what says that it is one.
fn rows(file: &Path) -> Vec<String> {
    let file = Connection::open(file).expect("a database");
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name";
    let mut names = file.prepare(names).expect("a query");
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names");
    let mut out = Vec::new();
    for name in names {
        let keys = if name == "meta" { "WHERE key NOT IN ('backup', 'restored')" } else { "" };
        let mut select = file.prepare(&format!("SELECT * FROM \"{name}\" {keys}")).expect("a query");
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let mut rows = select.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let values = columns.iter().enumerate().filter(|(_, column)| *column != "n");
            let values: Vec<_> =
                values.map(|(at, _)| format!("{:?}", row.get_ref(at).expect("a value"))).collect();
            out.push(format!("{name}: {}", values.join(", ")));
        }
    }
    out.sort();
    out
}

// case: FLT-18
#[test]
fn what_is_restored_into_either_database_is_what_was_in_either() {
    from_each_to_each(async |place, targets| {
        let files = tempfile::tempdir().expect("a directory");
        let (first, second) = (files.path().join("first"), files.path().join("second"));
        let world = lived_in(place.open().await).await;
        // The store is open: others may go on working meanwhile.
        let copied = taken(place, &first).await.expect("a backup");
        assert!(copied.entries > copied.size && copied.size > 300, "{copied:?}");
        drop(world);
        for target in targets {
            assert_eq!(restored(&first, target).await.expect("restored").root, copied.root);
            let again = taken(target, &second).await.expect("a backup of it");
            assert_eq!((again.entries, again.size, &again.root), (copied.entries, copied.size, &copied.root));
            assert_eq!(rows(&first), rows(&second));
            std::fs::remove_file(&second).expect("gone");
        }
    });
}

// case: ADM-09, AUD-06
#[test]
fn a_restored_database_takes_no_work_until_it_is_acknowledged_and_then_goes_on() {
    from_each_to_each(async |place, targets| {
        let files = tempfile::tempdir().expect("a directory");
        let file = files.path().join("backup");
        drop(lived_in(place.open().await).await);
        taken(place, &file).await.expect("a backup");
        for target in targets {
            let copied = restored(&file, target).await.expect("restored");
            let store = target.open().await;
            assert_eq!(store.fork().map(|fork| fork.kind), Some(ForkKind::Restored { missing: 0 }));
            let refused = store.change(|tx| tx.ensure_tenant(&common::tenant("other"))).await;
            assert!(refused.is_err());
            drop(store);
            let store = target.open().await;
            store.acknowledge_fork("ana@corp", "the disk failed").await.expect("acknowledged");
            assert!(store.read(|view| view.granted_before_epoch()).await.expect("read"));
            assert_eq!(store.read(|view| view.tree_head()).await.expect("read").epoch, 1);
            let size = sign(&store).await;
            assert!(size > copied.entries, "the acknowledgement, and the outcome of what was open");
            let verified =
                store.verify_all(vec![signer().verifier().clone()], |_| ()).await.expect("verifies");
            assert_eq!(
                (verified.size, verified.checkpoints),
                (size, 1),
                "what was signed before is a prefix"
            );
            drop(store);
            assert_eq!(target.open().await.fork(), None);
        }
    });
}

#[test]
fn nothing_is_overwritten_and_nothing_half_made_is_left() {
    let (one, two, server) = (Place::embedded(), Place::embedded(), Place::shared());
    run(async {
        let files = tempfile::tempdir().expect("a directory");
        let file = files.path().join("backup");
        assert!(matches!(taken(&one, &file).await, Err(CopyError::Missing(_))));
        assert!(!file.exists());
        drop(lived_in(one.open().await).await);
        taken(&one, &file).await.expect("a backup");
        assert!(matches!(taken(&one, &file).await, Err(CopyError::Exists(at)) if at == file));
        assert!(matches!(restored(&file, &one).await, Err(CopyError::Exists(_))));
        let (missing, foreign) = (files.path().join("missing"), files.path().join("foreign"));
        std::fs::write(&foreign, "no database").expect("a file");
        assert!(matches!(restored(&missing, &two).await, Err(CopyError::Missing(_))));
        assert!(matches!(restored(&foreign, &two).await, Err(CopyError::Foreign(_))));
        // What was changed in a copy is found, and is not put anywhere.
        let changed = files.path().join("changed");
        std::fs::copy(&file, &changed).expect("a copy");
        let tampered = Connection::open(&changed).expect("a database");
        tampered
            .execute_batch(
                "DROP TRIGGER entry_is_never_changed;
                UPDATE entry SET body = (SELECT body FROM entry WHERE seq = 8) WHERE seq = 7",
            )
            .expect("tampered with");
        drop(tampered);
        for target in [&two, &server] {
            assert!(matches!(restored(&changed, target).await, Err(CopyError::NotWhole(_))));
            restored(&file, target).await.expect("it is as empty as before");
        }
        assert!(matches!(restored(&file, &server).await, Err(CopyError::NotEmpty(_))));
        let left = std::fs::read_dir(files.path()).expect("a listing").count();
        assert_eq!(left, 3, "backup, foreign, changed");
    });
}

#[test]
fn an_installation_moves_to_a_server_and_goes_on_there() {
    let (file, server, other) = (Place::embedded(), Place::shared(), Place::shared());
    run(async {
        let Place::Embedded(directory) = &file else { unreachable!("it is one") };
        let world = lived_in(file.open().await).await;
        let task = world.start(&["github: *"]).await;
        world.store.flushed().await;
        assert!(matches!(moved(&file, &server).await, Err(CopyError::Open(OpenError::InUse(_)))));
        // The keys of the world outlive its store.
        let keys = world.through(Place::embedded().open().await);
        drop(world);
        let copied = moved(&file, &server).await.expect("moved");
        std::fs::copy(config(directory.path()).head_path, server.head(0)).expect("the head goes along");
        let there = keys.through(server.open().await);
        assert_eq!(there.store.fork(), None, "the same ledger goes on");
        let caller = there.caller(&task);
        assert!(there.use_once(&caller, &task, "GET", "/").await.permit().is_ok());
        assert!(sign(&there.store).await > copied.entries);
        there.store.verify_all(vec![signer().verifier().clone()], |_| ()).await.expect("verifies");
        let back = Store::open(config(directory.path())).err().expect("it takes no work");
        assert!(matches!(back, OpenError::Moved(to) if to == address(&server).shown()));
        assert!(matches!(moved(&file, &other).await, Err(CopyError::Open(OpenError::Moved(_)))));
        // The same move again finds that everything is there.
        moved(&file, &server).await.expect("it was done");
    });
}
