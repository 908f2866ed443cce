//! Copies of an installation with many tasks and entries: backup, restore, and the move to PostgreSQL, beside a plain copy of
//! the file; and what decisions wait while a backup is taken.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::note::Signer;
use accredit_store::copy::{Copied, CopyError, Database, backup, migrate, restore};
use accredit_store::{Store, StoreConfig, StoreError};

use crate::decide::{Actors, agent, tenant};
use crate::figures::{Times, short};
use crate::ledger::event;
use crate::replicas::{address, database};
use crate::report::{Report, Table};
use crate::start::over;
use crate::{Failure, Scale, disk};

/// Tasks and entries of one change while the database is filled.
const PER_CHANGE: usize = 2_000;
/// Name of the log.
const ORIGIN: &str = "bench.test/ledger";

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let count = scale.of(1_000_000, 2_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Store::open(config(directory.path()))?;
    runtime.block_on(fill(&store, count))?;
    let title = format!(
        "Copies of {count} tasks and {count} entries (online backup at most 60 s, p99 of changes at most 2 x; restore at most 180 s)"
    );
    let mut table = Table::new(title, &["step", "s", "x of plain"]);
    let begun = Instant::now();
    std::fs::copy(config(directory.path()).path, at("plain"))?;
    File::open(at("plain"))?.sync_all()?;
    let plain = begun.elapsed().as_secs_f64();
    table.row(["plain copy of the file, flushed".to_owned(), short(plain), "1.00".to_owned()]);
    let mut add =
        |step: &str, seconds: f64| table.row([step.to_owned(), short(seconds), short(seconds / plain)]);

    let file = || Database::File(config(directory.path()).path);
    let (mut alone, mut beside) = (Times::default(), Times::default());
    runtime.block_on(changing(&store, &mut alone, async {
        tokio::time::sleep(std::time::Duration::from_secs(scale.of(5, 1))).await
    }))?;
    let (from, to) = (file(), at("backup"));
    let took = runtime.block_on(changing(&store, &mut beside, timed(move || backup(&from, &to, &|_| ()))))?;
    add("backup of the file, while it is worked on", took?);
    let into = at("restored");
    std::fs::create_dir(&into)?;
    let (from, target) = (at("backup"), Database::File(config(&into).path));
    add("restore into a file", runtime.block_on(timed(move || restore(&from, &target, &|_| ())))?);
    drop(store);

    let server = database(&runtime)?;
    let (from, to) = (config(directory.path()), address(&server)?);
    let moving = timed(move || migrate(&from.path, &from.head_path, &to, &|_| ()));
    add("move to PostgreSQL", runtime.block_on(moving)?);
    let (from, to) = (Database::Server(Box::new(address(&server)?)), at("of-server"));
    add("backup of PostgreSQL", runtime.block_on(timed(move || backup(&from, &to, &|_| ())))?);
    let other = database(&runtime)?;
    let (from, target) = (at("of-server"), Database::Server(Box::new(address(&other)?)));
    add("restore into PostgreSQL", runtime.block_on(timed(move || restore(&from, &target, &|_| ())))?);

    let bytes = std::fs::metadata(at("backup"))?.len();
    let ([p50, p99, _], [p50_beside, p99_beside, _]) = (alone.usual_us(), beside.usual_us());
    table.note(format!(
        "the backup has {} MB; every copy is read back and its ledger recomputed",
        bytes / 1_000_000
    ));
    table.note(format!(
        "one change after another: alone p50 {} us, p99 {} us; during the backup p50 {} us, p99 {} us ({} x)",
        short(p50),
        short(p99),
        short(p50_beside),
        short(p99_beside),
        short(p99_beside / p99)
    ));
    table.note(disk::note(&mut disk::flushes(directory.path(), scale)?));
    report.add(&table);
    Ok(())
}

fn config(directory: &Path) -> StoreConfig {
    StoreConfig {
        path: directory.join("accredit.db"),
        head_path: directory.join("ledger.head"),
        readers: 2,
        queue_max: 1_000,
    }
}

/// Seconds that a copy takes.
async fn timed(copy: impl FnOnce() -> Result<Copied, CopyError> + Send + 'static) -> Result<f64, Failure> {
    let begun = Instant::now();
    tokio::task::spawn_blocking(copy).await??;
    Ok(begun.elapsed().as_secs_f64())
}

/// Makes one small change after another while `work` goes on, and takes their times.
pub(crate) async fn changing<T>(
    store: &Store,
    times: &mut Times,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let done = Arc::new(AtomicBool::new(false));
    let (store, until) = (store.clone(), Arc::clone(&done));
    let changes = tokio::spawn(async move {
        let mut times = Times::default();
        let mut n = 0;
        while !until.load(Ordering::Relaxed) {
            let (tenant, begun) = (tenant().map_err(|error| error.to_string())?, Instant::now());
            let change = store.change(move |tx| tx.append(event(&tenant, n)).map(drop));
            change.await.map_err(|error| error.to_string())?;
            times.add(begun.elapsed());
            n += 1;
        }
        Ok::<_, String>(times)
    });
    let worked = work.await;
    done.store(true, Ordering::Relaxed);
    times.extend(changes.await??);
    Ok(worked)
}

async fn fill(store: &Store, count: usize) -> Result<(), Failure> {
    let (actors, bot) = (Actors::new()?, agent("bench")?);
    for first in (0..count).step_by(PER_CHANGE) {
        let range = first..count.min(first + PER_CHANGE);
        let tasks = range.clone().map(|n| {
            let task = actors.task(&bot)?;
            Ok::<_, Failure>(if n.is_multiple_of(100) { task } else { over(task) })
        });
        let (tasks, tenant) = (tasks.collect::<Result<Vec<_>, _>>()?, tenant()?);
        let change = store.change(move |tx| -> Result<(), StoreError> {
            tx.ensure_tenant(&tenant)?;
            tasks.iter().try_for_each(|task| tx.put_task(task))?;
            range.into_iter().try_for_each(|n| tx.append(event(&tenant, n)).map(drop))
        });
        change.await?;
    }
    while store.integrate(accredit_store::INTEGRATE_MAX).await?.size < count as u64 {}
    let signer = Signer::from_seed(ORIGIN, &[7; 32])?;
    store.checkpoint(|size, root| Checkpoint::new(ORIGIN, size, *root)?.sign(&signer)).await?;
    Ok(())
}
