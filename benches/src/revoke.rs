//! P5: from the call of `revoke` to its return, under load, and how long before the return the last effect came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use accredit_authority::revoke::Target;
use accredit_gateway::Gateway;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::figures::{Times, short};
use crate::load::{Connection, Run};
use crate::report::{Report, Table};
use crate::upstream::{self, Seen};
use crate::world::{self, World};
use crate::{Failure, Scale, disk};

/// Connections that use the task while it is revoked.
const CONNECTIONS: usize = 8;
/// How long they use it before.
const BEFORE: Duration = Duration::from_millis(20);
/// How long the upstream is watched afterwards.
const AFTER: Duration = Duration::from_millis(30);

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let mut flushes = disk::flushes(directory.path(), scale)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rounds = scale.of(500, 5);
    let (mut returns, mut before, mut late) = runtime.block_on(rounds_of(directory.path(), rounds))?;
    let title = format!(
        "Revocation under load, {rounds} rounds, {CONNECTIONS} connections (P5: p99 at most 10 ms, no effect after the return)"
    );
    let mut table = Table::new(title, &["from", "p50 us", "p99 us", "longest us"]);
    rows(&mut table, [("call to return", &mut returns), ("last effect to return", &mut before)]);
    table.note(after_the_return(&mut late));
    table.note(disk::note(&mut flushes));
    report.add(&table);
    Ok(())
}

/// A row for each of these times.
pub(crate) fn rows<const N: usize>(table: &mut Table, times: [(&str, &mut Times); N]) {
    for (name, times) in times {
        let [p50, p99, most] = times.usual_us().map(short);
        table.row([name.to_owned(), p50, p99, most]);
    }
}

/// How much the upstream saw when it was over, and how late.
pub(crate) fn after_the_return(late: &mut Times) -> String {
    let [_, _, latest] = late.usual_us().map(short);
    match late.count() {
        0 => "no effect was seen by the upstream after the return".to_owned(),
        n => format!("effects that the upstream saw after the return: {n}, the latest by {latest} us"),
    }
}

async fn rounds_of(directory: &std::path::Path, rounds: usize) -> Result<(Times, Times, Times), Failure> {
    let seen = Seen::default();
    let world = World::open(directory, upstream::start(seen.clone())?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let gateway = Gateway::open(world.authority.clone(), vec![address]).await.map_err(world::said)?;
    let stop = CancellationToken::new();
    tokio::spawn(gateway.serve(listener, stop.clone(), Duration::ZERO));
    let (mut returns, mut before, mut late) = (Times::default(), Times::default(), Times::default());
    for _ in 0..rounds {
        let started = world.start().await?;
        let path = format!("/u/{}/v1/orders", world::resource()?);
        let entrance = Some(world.entrance(&started)?);
        let run = Run { address, path, entrance, connections: 1, rate: None, for_ms: 0 };
        let going = Arc::new(AtomicBool::new(true));
        let mut using = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (mut connection, going) = (Connection::open(&run).await?, Arc::clone(&going));
            using.spawn(
                async move { while going.load(Ordering::Relaxed) && connection.ask().await.is_ok() {} },
            );
        }
        tokio::time::sleep(BEFORE).await;
        let called = Instant::now();
        let revoked = world.authority.revoke("bench", Target::Task(started.task.id.clone()), None).await;
        let returned = Instant::now();
        let last = seen.take_last();
        revoked.map_err(world::said)?;
        returns.add(returned - called);
        if let Some(last) = last {
            before.add(returned.saturating_duration_since(last));
        }
        tokio::time::sleep(AFTER).await;
        if let Some(at) = seen.take_last().filter(|at| *at > returned) {
            late.add(at - returned);
        }
        going.store(false, Ordering::Relaxed);
        using.shutdown().await;
    }
    stop.cancel();
    Ok((returns, before, late))
}
