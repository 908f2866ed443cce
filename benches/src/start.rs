//! P10: how long an authority with many tasks takes from its start to its first decision.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use accredit_authority::Authority;
use accredit_core::task::{Ending, Task, TaskState};
use accredit_store::StoreError;

use crate::decide::{Actors, agent};
use crate::report::{Report, Table};
use crate::world::{World, settings};
use crate::{Failure, Scale};

/// Tasks written in one change while the database is filled.
const PER_CHANGE: usize = 2_000;

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let tasks = scale.of(1_000_000, 2_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(fill(directory.path(), tasks))?;
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let title = format!("Start with {tasks} tasks, half of them active (P10: ready within 2 s)");
    let mut table = Table::new(title, &["step", "s"]);
    runtime.block_on(async {
        let begun = Instant::now();
        let authority = Authority::open(settings(directory.path())?, false).await?;
        table.row(["open: ready to decide".to_owned(), format!("{:.2}", begun.elapsed().as_secs_f64())]);
        let begun = Instant::now();
        authority.integrate().await.map_err(crate::world::said)?;
        table.row([
            "ledger integrated and signed".to_owned(),
            format!("{:.2}", begun.elapsed().as_secs_f64()),
        ]);
        Ok::<_, Failure>(())
    })?;
    let bytes = std::fs::metadata(directory.path().join("accredit.db"))?.len();
    table.note(format!("database: {} MB", bytes / 1_000_000));
    report.add(&table);
    Ok(())
}

async fn fill(directory: &std::path::Path, tasks: usize) -> Result<(), Failure> {
    let world = World::open(directory, SocketAddr::from((Ipv4Addr::LOCALHOST, 9))).await?;
    let (actors, bot) = (Actors::new()?, agent("bench")?);
    for first in (0..tasks).step_by(PER_CHANGE) {
        let make = |n: usize| {
            let task = actors.task(&bot)?;
            Ok::<_, Failure>(if n.is_multiple_of(2) { task } else { over(task) })
        };
        let some = (first..tasks.min(first + PER_CHANGE)).map(make).collect::<Result<Vec<_>, _>>()?;
        let write = move |tx: &mut accredit_store::Tx<'_>| -> Result<(), StoreError> {
            some.iter().try_for_each(|task| tx.put_task(task))
        };
        world.authority.store().change(write).await?;
    }
    world.authority.store().flushed().await;
    Ok(())
}

/// The same task, whose work is done.
pub(crate) fn over(task: Task) -> Task {
    let at = task.proposed_at;
    Task { state: TaskState::Ended { at, how: Ending::Completed, reason: None }, ..task }
}
