//! P4: decisions made durable by the store, at 1 to 512 writers, beside rows of the same size in plain SQLite with a
//! group commit, and beside the disk.

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use accredit_core::id::RequestId;
use accredit_core::owner::{OwnerRecord, Standing};
use accredit_core::policy::{PolicySet, PolicySources};
use accredit_core::time::Timestamp;
use accredit_store::{PolicySetRow, Snapshot, Store, StoreConfig, StoreError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::decide::{Actors, agent, decision, endpoint, owner, resource, tenant};
use crate::figures::{Times, short};
use crate::report::{Report, Table};
use crate::world::random;
use crate::{Failure, Scale, disk, machine};

/// Writers at a time.
const WRITERS: [usize; 5] = [1, 8, 64, 256, 512];
/// Bytes of a row of the floor: a small record.
const ROW_BYTES: usize = 512;
/// Most rows of one commit of the floor.
const GROUP_MAX: usize = 512;
/// Everything may be done within its boundary.
const POLICY: &str = "permit(principal, action in Action::\"use\", resource);";

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let heads = [
        "writers",
        "records/s",
        "p50 us",
        "p99 us",
        "plain rows/s",
        "plain p50 us",
        "x of plain",
        "entry bytes",
    ];
    let mut table =
        Table::new("Records (P4: at 64 writers at least 1.0 x the plain floor, p50 at most 2 ms)", &heads);
    let mut flushes = disk::flushes(directory.path(), scale)?;
    for writers in WRITERS {
        let each = scale.of(20_000_usize.div_ceil(writers).max(50), 3);
        let plain = plain(directory.path(), writers, each)?;
        let ours = runtime.block_on(ours(directory.path(), writers, each))?;
        let (mut ours_times, mut plain_times) = (ours.times, plain.times);
        let ([p50, p99, _], [plain_p50, ..]) = (ours_times.usual_us(), plain_times.usual_us());
        table.row([
            writers.to_string(),
            short(ours.rate),
            short(p50),
            short(p99),
            short(plain.rate),
            short(plain_p50),
            short(ours.rate / plain.rate),
            ours.bytes.to_string(),
        ]);
    }
    flushes.extend(disk::flushes(directory.path(), scale)?);
    table.note(disk::note(&mut flushes));
    table.note(format!("plain: own writer thread, one table, rows of {ROW_BYTES} bytes, WAL, synchronous=FULL, at most {GROUP_MAX} a commit"));
    report.add(&table);
    Ok(())
}

/// What was written.
pub(crate) struct Written {
    /// Records a second.
    pub(crate) rate: f64,
    /// From the call of each to its return.
    pub(crate) times: Times,
    /// Bytes of one.
    bytes: usize,
}

async fn ours(directory: &Path, writers: usize, each: usize) -> Result<Written, Failure> {
    let directory = tempfile::tempdir_in(directory)?;
    let config = StoreConfig {
        path: directory.path().join("accredit.db"),
        head_path: directory.path().join("ledger.head"),
        readers: 2,
        queue_max: 10_000,
    };
    on(&[Store::open(config)?], writers, each).await
}

/// Records of so many writers, spread over the stores of one database, which is empty. Decisions are made before the
/// clock runs; only their record is measured.
pub(crate) async fn on(stores: &[Store], writers: usize, each: usize) -> Result<Written, Failure> {
    let policies =
        PolicySet::compile(PolicySources::one("p.cedar", POLICY)?).map_err(|_| "the policy is broken")?;
    let (bot, actors) = (agent("bot")?, Actors::new()?);
    let task = actors.task(&bot)?;
    let caller = actors.caller(&bot, &task)?;
    let first_store = stores.first().ok_or("a store is needed")?;
    furnish(first_store, &policies, &task).await?;
    let mut snapshots = Vec::new();
    for store in stores {
        let facts = async || Ok::<_, Failure>(store.snapshot(&tenant()?, &task.id, &endpoint()?).await?);
        // The first use of a task also notes what it may have seen; what is measured is every later one.
        let snapshot = facts().await?;
        let first = decision(&caller, &snapshot.prepared, &snapshot.usage, &policies, machine::now())?;
        let recorded = store.record(first, snapshot.stamp.clone(), RequestId::from_random(random())).await;
        recorded.map_err(|error| error.to_string())?;
        snapshots.push((store.clone(), facts().await?));
    }
    let mut work = Vec::with_capacity(writers);
    for (_, snapshot) in snapshots.iter().cycle().take(writers) {
        let make = || decision(&caller, &snapshot.prepared, &snapshot.usage, &policies, machine::now());
        work.push((0..each).map(|_| make()).collect::<Result<Vec<_>, _>>()?);
    }
    let begun = Instant::now();
    let mut working = tokio::task::JoinSet::new();
    for (decisions, (store, snapshot)) in work.into_iter().zip(snapshots.iter().cycle()) {
        let (store, snapshot): (Store, Snapshot) = (store.clone(), snapshot.clone());
        working.spawn(async move {
            let mut times = Times::default();
            for decision in decisions {
                let begun = Instant::now();
                let id = RequestId::from_random(random());
                let recorded = store.record(decision, snapshot.stamp.clone(), id).await;
                recorded.map_err(|error| error.to_string())?;
                times.add(begun.elapsed());
            }
            Ok::<_, String>(times)
        });
    }
    let mut times = Times::default();
    while let Some(done) = working.join_next().await {
        times.extend(done??);
    }
    let rate = (writers * each) as f64 / begun.elapsed().as_secs_f64();
    let last = first_store.read(|view| view.entry_by_seq(view.ledger_size()?.saturating_sub(1))).await?;
    Ok(Written { rate, times, bytes: last.map_or(0, |entry| entry.bytes.len()) })
}

pub(crate) async fn furnish(
    store: &Store,
    policies: &PolicySet,
    task: &accredit_core::task::Task,
) -> Result<(), Failure> {
    let digest = policies.digest();
    let sources = serde_json::to_string(policies.sources())?;
    let (tenant, owner, resource, bot, task) =
        (tenant()?, owner()?, resource()?, agent("bot")?, task.clone());
    let change = store.change(move |tx| -> Result<(), StoreError> {
        let at = Timestamp::from_ms(0);
        tx.ensure_tenant(&tenant)?;
        tx.put_owner(&tenant, &OwnerRecord { owner, standing: Standing::Active, added_at: at })?;
        tx.put_agent(&bot)?;
        tx.put_resource(&resource)?;
        tx.put_policy_set(&PolicySetRow { digest, sources, added_at: at })?;
        tx.set_policy_head(&tenant, &digest, at)?;
        tx.put_task(&task)
    });
    Ok(change.await?)
}

/// The floor: threads hand rows to one writer, which commits what has gathered.
fn plain(directory: &Path, writers: usize, each: usize) -> Result<Written, Failure> {
    let directory = tempfile::tempdir_in(directory)?;
    let connection = Connection::open(directory.path().join("plain.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")?;
    let (sender, receiver) = mpsc::channel::<oneshot::Sender<()>>();
    let writer = std::thread::spawn(move || commit(&connection, &receiver));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let begun = Instant::now();
    let times = runtime.block_on(async {
        let mut working = tokio::task::JoinSet::new();
        for _ in 0..writers {
            let sender = sender.clone();
            working.spawn(async move {
                let mut times = Times::default();
                for _ in 0..each {
                    let begun = Instant::now();
                    let (reply, answer) = oneshot::channel();
                    sender.send(reply).map_err(|_| "the writer has gone")?;
                    answer.await.map_err(|_| "the writer has gone")?;
                    times.add(begun.elapsed());
                }
                Ok::<_, &'static str>(times)
            });
        }
        let mut times = Times::default();
        while let Some(done) = working.join_next().await {
            times.extend(done??);
        }
        Ok::<_, Failure>(times)
    })?;
    let rate = (writers * each) as f64 / begun.elapsed().as_secs_f64();
    drop(sender);
    writer.join().map_err(|_| "the writer panicked")??;
    Ok(Written { rate, times, bytes: ROW_BYTES })
}

fn commit(
    connection: &Connection,
    rows: &mpsc::Receiver<oneshot::Sender<()>>,
) -> Result<(), rusqlite::Error> {
    let body = [b'x'; ROW_BYTES];
    while let Ok(first) = rows.recv() {
        let mut group = vec![first];
        group.extend(rows.try_iter().take(GROUP_MAX - 1));
        let transaction = connection.unchecked_transaction()?;
        let mut insert = transaction.prepare_cached("INSERT INTO row (body) VALUES (?1)")?;
        for _ in &group {
            insert.execute([&body[..]])?;
        }
        drop(insert);
        transaction.commit()?;
        for reply in group {
            let _ = reply.send(());
        }
    }
    Ok(())
}
