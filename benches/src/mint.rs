//! P6: tasks started and their first tokens issued, each durable, by callers that prove themselves each time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::figures::{Times, short};
use crate::report::{Report, Table};
use crate::world::World;
use crate::{Failure, Scale, disk};

/// Callers at a time.
const CALLERS: [usize; 3] = [1, 32, 128];

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut flushes = disk::flushes(directory.path(), scale)?;
    let title = "Tasks with their first token (P6: at least 2,000/s at 32 callers)";
    let mut table = Table::new(title, &["callers", "tasks/s", "p50 us", "p99 us"]);
    runtime.block_on(async {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let world = Arc::new(World::open(directory.path(), nowhere).await?);
        for callers in CALLERS {
            let each = scale.of(4_000_usize.div_ceil(callers), 2);
            let (rate, mut times) = starts(&world, callers, each).await?;
            let [p50, p99, _] = times.usual_us();
            table.row([callers.to_string(), short(rate), short(p50), short(p99)]);
        }
        Ok::<_, Failure>(())
    })?;
    flushes.extend(disk::flushes(directory.path(), scale)?);
    table.note("one start: a DPoP proof made and checked, policy decided, task and entries durable, token signed and recorded");
    table.note(disk::note(&mut flushes));
    report.add(&table);
    Ok(())
}

async fn starts(world: &Arc<World>, callers: usize, each: usize) -> Result<(f64, Times), Failure> {
    let begun = Instant::now();
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let world = Arc::clone(world);
        working.spawn(async move {
            let mut times = Times::default();
            for _ in 0..each {
                let begun = Instant::now();
                world.start().await?;
                times.add(begun.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Times::default();
    while let Some(done) = working.join_next().await {
        times.extend(done??);
    }
    Ok(((callers * each) as f64 / begun.elapsed().as_secs_f64(), times))
}
