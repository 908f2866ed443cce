//! A wave of tasks whose time runs out in the same second: until the last of them has ended, and what changes wait meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use accredit_core::task::{Task, TaskState};
use accredit_core::time::Timestamp;
use accredit_store::{StoreError, TaskFilter, TaskStatus};

use crate::backup::changing;
use crate::decide::{Actors, agent, tenant};
use crate::figures::{Times, short};
use crate::report::{Report, Table};
use crate::world::World;
use crate::{Failure, Scale, disk, machine};

/// Tasks written in one change while the database is filled.
const PER_CHANGE: usize = 2_000;
/// How long the last of them is waited for.
const ENDED_TIME_MAX: Duration = Duration::from_secs(300);

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let count = scale.of(100_000, 1_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut alone, mut beside) = (Times::default(), Times::default());
    let took = runtime.block_on(async {
        let world = World::open(directory.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 9))).await?;
        let store = world.authority.store();
        changing(store, &mut alone, tokio::time::sleep(Duration::from_secs(scale.of(5, 1)))).await?;
        // Far enough ahead that all of them are there when the first one ends.
        let wave = machine::now().plus_ms(scale.of(40_000, 3_000));
        fill(store, count, wave).await?;
        let left = wave.ms_since(machine::now());
        tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or_default())).await;
        let begun = Instant::now();
        changing(store, &mut beside, all_ended(store, begun)).await??;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    let title = format!("{count} tasks that expire in the same second");
    let mut table = Table::new(title, &["changes, one after another", "p50 us", "p99 us", "longest us"]);
    for (name, times) in [("before", &mut alone), ("while they expire", &mut beside)] {
        let [p50, p99, most] = times.usual_us().map(short);
        table.row([name.to_owned(), p50, p99, most]);
    }
    table.note(format!("from their moment until the last one had ended: {:.2} s", took.as_secs_f64()));
    table.note(disk::note(&mut disk::flushes(directory.path(), scale)?));
    report.add(&table);
    Ok(())
}

async fn fill(store: &accredit_store::Store, count: usize, wave: Timestamp) -> Result<(), Failure> {
    let (actors, bot) = (Actors::new()?, agent("bench")?);
    for first in (0..count).step_by(PER_CHANGE) {
        let make = |_| Ok::<_, Failure>(until(actors.task(&bot)?, wave));
        let tasks = (first..count.min(first + PER_CHANGE)).map(make).collect::<Result<Vec<_>, _>>()?;
        let change = store.change(move |tx| -> Result<(), StoreError> {
            tasks.iter().try_for_each(|task| tx.put_task(task))
        });
        change.await?;
    }
    Ok(())
}

fn until(task: Task, expires_at: Timestamp) -> Task {
    let since = task.proposed_at;
    Task { state: TaskState::Active { since, expires_at }, ..task }
}

/// Waits until no task is active any more.
async fn all_ended(store: &accredit_store::Store, begun: Instant) -> Result<(), Failure> {
    loop {
        let (tenant, filter) =
            (tenant()?, TaskFilter { status: Some(TaskStatus::Active), limit: 1, ..TaskFilter::default() });
        if store.read(move |view| view.tasks(&tenant, &filter)).await?.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > ENDED_TIME_MAX {
            return Err("they do not end".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
