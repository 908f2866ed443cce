//! P1, P2: requests through the gateway with every decision durable before it goes on, beside a bare proxy and nginx
//! in the same run. One proxy at a time works on the measured processor; client and upstream share the other.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use accredit_gateway::Gateway;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::child::{self, Place, Process};
use crate::figures::{Times, median, short, spread};
use crate::load::{Outcome, Run};
use crate::peers::nginx;
use crate::report::{Report, Table};
use crate::world::{self, Entrance, World};
use crate::{Failure, Scale, disk};

/// Connections at a time (the goals name 1, 16 and 64).
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Requests a second of the open loop, which shows times without a queue of its own making.
const RATE: f64 = 1_000.0;

/// What the gateway's process tells about itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) ca_pem: String,
}

/// Plays the gateway in front of the address that the parent gives, its state in a new directory.
pub(crate) fn serve() -> Result<(), Failure> {
    let upstream: SocketAddr = child::task()?;
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = World::open(directory.path(), upstream).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let gateway = Gateway::open(world.authority.clone(), vec![address]).await.map_err(world::said)?;
        let path = format!("/u/{}/v1/orders", world::resource()?);
        child::answer(&Opened { address, path, ca_pem: gateway.ca_pem().to_owned() })?;
        tokio::spawn(gateway.serve(listener, CancellationToken::new(), Duration::ZERO));
        // A new task and token for each line of input: tokens live for minutes.
        while tokio::task::spawn_blocking(child::task::<()>).await?.is_ok() {
            child::answer(&world.entrance(&world.start().await?)?)?;
        }
        Ok(())
    })
}

/// A new way in.
pub(crate) fn entrance(gateway: &mut Process) -> Result<Entrance, Failure> {
    gateway.tell(&())?;
    gateway.hear()
}

/// One proxy.
struct Side<'p> {
    name: &'static str,
    process: Option<&'p RefCell<Process>>,
    address: SocketAddr,
    path: String,
    /// Whether it wants to know who asks.
    attaches: bool,
}

/// What one side did in one round.
struct Round {
    rate: f64,
    cpu_us: f64,
    errors: u64,
    times: Times,
}

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let mut upstream = Process::role("upstream", Place::Around)?;
    let service: SocketAddr = upstream.hear()?;
    let mut bare = Process::role("bare-proxy", Place::Measured)?;
    bare.tell(&service)?;
    let floor: SocketAddr = bare.hear()?;
    let mut ours = Process::role("gateway", Place::Measured)?;
    ours.tell(&service)?;
    let opened: Opened = ours.hear()?;
    let nginx =
        nginx::start(directory.path(), service)?.map(|n| (RefCell::new(n.process), n.plain, n.asking));
    let (bare, ours) = (RefCell::new(bare), RefCell::new(ours));
    let mut load = Process::role("load", Place::Around)?;

    let plain = |name, process, address| Side {
        name,
        process,
        address,
        path: "/v1/orders".to_owned(),
        attaches: false,
    };
    let mut sides =
        vec![plain("none (direct)", None, service), plain("bare hyper proxy", Some(&bare), floor)];
    if let Some((process, address, asking)) = &nginx {
        sides.push(plain("nginx proxy_pass", Some(process), *address));
        sides.extend(asking.map(|address| plain("nginx auth_request", Some(process), address)));
    }
    sides.push(Side {
        name: "accredit, durable",
        process: Some(&ours),
        address: opened.address,
        path: opened.path,
        attaches: true,
    });
    for connections in CONNECTIONS {
        let mut flushes = disk::flushes(directory.path(), scale)?;
        let rounds = rounds(scale, &sides, &mut load, connections, None)?;
        let mut table = closed(&sides, rounds, connections);
        table.note(disk::note(&mut flushes));
        missing(&mut table, nginx.as_ref().map(|(_, _, asking)| asking.is_some()));
        report.add(&table);
    }
    let mut flushes = disk::flushes(directory.path(), scale)?;
    let [flush_us, ..] = flushes.usual_us();
    let rate = scale.of(RATE, 200.0);
    let mut table = opened_loop(&sides, rounds(scale, &sides, &mut load, 1, Some(rate))?, rate, flush_us);
    table.note(disk::note(&mut flushes));
    report.add(&table);
    Ok(())
}

/// `asking`: whether nginx is there, and then whether it can ask.
fn missing(table: &mut Table, asking: Option<bool>) {
    match asking {
        None => table.note("nginx is not installed, so it was not measured: scripts/setup-tests"),
        Some(false) => table.note("this nginx has no auth_request"),
        Some(true) => {}
    }
}

/// Every side once in each round, so that what disturbs the machine disturbs all alike.
fn rounds(
    scale: Scale,
    sides: &[Side<'_>],
    load: &mut Process,
    connections: usize,
    rate: Option<f64>,
) -> Result<Vec<Vec<Round>>, Failure> {
    let mut rounds: Vec<Vec<Round>> = sides.iter().map(|_| Vec::new()).collect();
    for _ in 0..scale.of(5, 1) {
        for (side, rounds) in sides.iter().zip(&mut rounds) {
            rounds.push(round(scale, side, load, connections, rate)?);
        }
    }
    Ok(rounds)
}

fn round(
    scale: Scale,
    side: &Side<'_>,
    load: &mut Process,
    connections: usize,
    rate: Option<f64>,
) -> Result<Round, Failure> {
    let entrance = match side.process.filter(|_| side.attaches) {
        Some(process) => Some(entrance(&mut process.borrow_mut())?),
        None => None,
    };
    let run = |for_ms| Run {
        address: side.address,
        path: side.path.clone(),
        entrance: entrance.clone(),
        connections,
        rate,
        for_ms,
    };
    load.tell(&run(scale.of(300, 100)))?;
    let _warm: Outcome = load.hear()?;
    let cpu = || side.process.map(|process| process.borrow().cpu());
    let before = cpu();
    load.tell(&run(scale.of(3_000, 500)))?;
    let outcome: Outcome = load.hear()?;
    let cpu = cpu().zip(before).map(|(after, before)| after - before);
    let answers = outcome.answers.max(1) as f64;
    Ok(Round {
        rate: outcome.answers as f64 / outcome.seconds,
        cpu_us: cpu.map_or(f64::NAN, |cpu| cpu.as_secs_f64() * 1e6 / answers),
        errors: outcome.errors,
        times: Times::of_ns(outcome.times_ns),
    })
}

fn closed(sides: &[Side<'_>], rounds: Vec<Vec<Round>>, connections: usize) -> Table {
    let heads =
        ["proxy", "req/s", "x floor", "spread", "p50 us", "p99 us", "CPU us/req", "x floor", "errors"];
    let title = format!(
        "Gateway, {connections} connections, closed loop (P1: CPU <= 2 x, req/s >= 0.5 x the bare proxy)"
    );
    let mut table = Table::new(title, &heads);
    let sums: Vec<Sums> = rounds.into_iter().map(Sums::of).collect();
    for (side, sum) in sides.iter().zip(&sums) {
        // Of the second side, the bare proxy, round by round: a ratio within one round is what repeats.
        let ratio = |of: fn(&Sums) -> &Vec<f64>| {
            let each: Vec<f64> = of(sum).iter().zip(of(&sums[1])).map(|(own, floor)| own / floor).collect();
            short(median(&each))
        };
        table.row([
            side.name.to_owned(),
            short(median(&sum.rates)),
            ratio(|s| &s.rates),
            format!("{:.0} %", spread(&sum.rates) * 100.0),
            short(sum.p50),
            short(sum.p99),
            short(median(&sum.cpus)),
            ratio(|s| &s.cpus),
            sum.errors.to_string(),
        ]);
    }
    table
}

fn opened_loop(sides: &[Side<'_>], rounds: Vec<Vec<Round>>, rate: f64, flush_us: f64) -> Table {
    let title =
        format!("Gateway, 1 connection, open loop at {rate:.0}/s (P2: added p50 <= fdatasync p50 + 150 us)");
    let mut table =
        Table::new(title, &["proxy", "answered/s", "p50 us", "p99 us", "p50 above bare", "errors"]);
    let sums: Vec<Sums> = rounds.into_iter().map(Sums::of).collect();
    for (side, sum) in sides.iter().zip(&sums) {
        let added = sum.p50 - sums[1].p50;
        table.row([
            side.name.to_owned(),
            short(median(&sum.rates)),
            short(sum.p50),
            short(sum.p99),
            format!("{added:+.0}"),
            sum.errors.to_string(),
        ]);
    }
    table.note(format!("the goal on this disk: an added p50 of at most {:.0} us", flush_us + 150.0));
    table
}

/// The rounds of one side together.
struct Sums {
    rates: Vec<f64>,
    cpus: Vec<f64>,
    p50: f64,
    p99: f64,
    errors: u64,
}

impl Sums {
    fn of(rounds: Vec<Round>) -> Self {
        let (mut rates, mut cpus, mut errors, mut times) = (Vec::new(), Vec::new(), 0, Times::default());
        for round in rounds {
            rates.push(round.rate);
            cpus.push(round.cpu_us);
            errors += round.errors;
            times.extend(round.times);
        }
        let [p50, p99, _] = times.usual_us();
        Self { rates, cpus, p50, p99, errors }
    }
}
