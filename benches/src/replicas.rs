//! Several replicas on one PostgreSQL: decisions made durable, beside plain commits of the same server; and a revocation
//! on one of them, until nothing happens on the others.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use accredit_authority::revoke::Target;
use accredit_authority::settings::Database as Place;
use accredit_authority::{Authority, Settings};
use accredit_gateway::Gateway;
use accredit_store::{Address, SharedConfig, Store, prepare};
use accredit_tests_postgres::programs::program;
use accredit_tests_postgres::{Cluster, Database, Role};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::figures::{Times, short};
use crate::load::{Connection, Run};
use crate::report::{Report, Table};
use crate::revoke::{after_the_return, rows};
use crate::upstream::{self, Seen};
use crate::world::{self, World, settings};
use crate::{Failure, Scale, disk, record};

/// Writers at a time.
const WRITERS: [usize; 3] = [1, 64, 256];
/// Most sessions of the floor: each is a process of the server.
const SESSIONS_MAX: usize = 64;
/// Replicas beside one alone.
const REPLICAS: usize = 3;
/// Connections that use the task on another replica while it is revoked.
const CONNECTIONS: usize = 4;
/// How long they use it before, and how long the upstream is watched afterwards.
const BEFORE: Duration = Duration::from_millis(30);
const AFTER: Duration = Duration::from_millis(30);

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    records(directory.path(), &runtime, scale, report)?;
    revocations(directory.path(), &runtime, scale, report)
}

/// A new database with the schema.
pub(crate) fn database(runtime: &tokio::runtime::Runtime) -> Result<Database, Failure> {
    let database = Cluster::shared().database();
    let owner = Address::parse(&database.url(Role::Owner), None)?;
    runtime.block_on(prepare(&owner, Role::Service.name()))?;
    Ok(database)
}

pub(crate) fn address(database: &Database) -> Result<Address, Failure> {
    Ok(Address::parse(&database.url(Role::Service), None)?)
}

fn records(
    directory: &Path,
    runtime: &tokio::runtime::Runtime,
    scale: Scale,
    report: &mut Report,
) -> Result<(), Failure> {
    let heads = ["writers", "replicas", "records/s", "p50 us", "p99 us", "plain commits/s", "x of plain"];
    let title = "Records on PostgreSQL, TLS on loopback, synchronous_commit=on";
    let mut table = Table::new(title, &heads);
    let mut flushes = disk::flushes(directory, scale)?;
    for writers in WRITERS {
        let plain = plain(writers.min(SESSIONS_MAX), scale.of(5, 1))?;
        for replicas in [1, REPLICAS] {
            let database = database(runtime)?;
            let each = scale.of(15_000_usize.div_ceil(writers).max(50), 3);
            let written = runtime.block_on(async {
                let mut stores = Vec::new();
                for replica in 0..replicas {
                    let config = SharedConfig {
                        address: address(&database)?,
                        head_path: directory.join(format!("{}-{replica}.head", database.name())),
                        readers: 4,
                        queue_max: 10_000,
                    };
                    stores.push(Store::connect(config).await?);
                }
                record::on(&stores, writers, each).await
            })?;
            let mut times = written.times;
            let [p50, p99, _] = times.usual_us();
            table.row([
                writers.to_string(),
                replicas.to_string(),
                short(written.rate),
                short(p50),
                short(p99),
                short(plain),
                short(written.rate / plain),
            ]);
        }
    }
    flushes.extend(disk::flushes(directory, scale)?);
    table.note(disk::note(&mut flushes));
    table.note(format!("plain: pgbench on the same server, a row of 512 bytes in a transaction, at most {SESSIONS_MAX} sessions"));
    report.add(&table);
    Ok(())
}

/// Commits a second of so many sessions, each with one row after another.
fn plain(sessions: usize, seconds: u64) -> Result<f64, Failure> {
    let database = Cluster::shared().database();
    Cluster::shared().admin(&format!("ALTER DATABASE {} CONNECTION LIMIT -1", database.name()));
    database.psql(Role::Owner, "CREATE TABLE plain (id BIGSERIAL PRIMARY KEY, body BYTEA NOT NULL); GRANT ALL ON plain, plain_id_seq TO PUBLIC")?;
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), "INSERT INTO plain (body) VALUES (decode(repeat('78', 512), 'hex'));\n")?;
    let sessions = sessions.to_string();
    let output = Command::new(program("pgbench"))
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &sessions, "-T", &seconds.to_string(), "-f"])
        .arg(script.path())
        .arg(database.url(Role::Service))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.ok_or_else(|| format!("pgbench: {said} {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// One replica: its authority, and where its gateway listens.
struct Replica {
    authority: Arc<Authority>,
    gateway: SocketAddr,
}

fn revocations(
    directory: &Path,
    runtime: &tokio::runtime::Runtime,
    scale: Scale,
    report: &mut Report,
) -> Result<(), Failure> {
    let rounds = scale.of(200, 3);
    let database = database(runtime)?;
    let measured = runtime.block_on(rounds_of(directory, &database, rounds))?;
    let title = format!(
        "Revocation on one of {REPLICAS} replicas, {rounds} rounds: {CONNECTIONS} connections use the task on the second, a stream goes on through the third"
    );
    let mut table = Table::new(title, &["from", "p50 us", "p99 us", "longest us"]);
    let Measured { mut returns, mut before, mut late, mut cut } = measured;
    rows(
        &mut table,
        [
            ("call to return", &mut returns),
            ("last effect to return", &mut before),
            ("call to the stream's end at the agent", &mut cut),
        ],
    );
    table.note(after_the_return(&mut late));
    report.add(&table);
    Ok(())
}

#[derive(Default)]
struct Measured {
    returns: Times,
    before: Times,
    late: Times,
    cut: Times,
}

async fn rounds_of(directory: &Path, database: &Database, rounds: usize) -> Result<Measured, Failure> {
    let seen = Seen::default();
    let upstream = upstream::start(seen.clone())?;
    let stop = CancellationToken::new();
    let world = World::with(replica_settings(directory, database, 0)?, upstream).await?;
    let mut replicas = vec![serve(Arc::clone(&world.authority), &stop).await?];
    for n in 1..REPLICAS {
        let authority = Authority::open(replica_settings(directory, database, n)?, false).await?;
        replicas.push(serve(authority, &stop).await?);
    }
    let [first, second, third] = &replicas[..] else { return Err("three replicas are needed".into()) };
    let mut measured = Measured::default();
    for _ in 0..rounds {
        let started = world.start().await?;
        let entrance = || world.entrance(&started).map(Some);
        let run = |address, path: &str, entrance| Run {
            address,
            path: path.to_owned(),
            entrance,
            connections: 1,
            rate: None,
            for_ms: 0,
        };
        let base = format!("/u/{}/v1", world::resource()?);
        let run_here = run(second.gateway, &format!("{base}/orders"), entrance()?);
        let going = Arc::new(AtomicBool::new(true));
        let mut using = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (mut connection, going) = (Connection::open(&run_here).await?, Arc::clone(&going));
            using.spawn(
                async move { while going.load(Ordering::Relaxed) && connection.ask().await.is_ok() {} },
            );
        }
        let mut streaming =
            Connection::open(&run(third.gateway, &format!("{base}/stream"), entrance()?)).await?;
        let stream = tokio::spawn(async move {
            streaming.read_until_cut().await?;
            Ok::<_, Failure>(Instant::now())
        });
        tokio::time::sleep(BEFORE).await;
        let called = Instant::now();
        let revoked = first.authority.revoke("bench", Target::Task(started.task.id.clone()), None).await;
        let returned = Instant::now();
        let last = seen.take_last();
        revoked.map_err(world::said)?;
        measured.returns.add(returned - called);
        if let Some(last) = last {
            measured.before.add(returned.saturating_duration_since(last));
        }
        let ended = tokio::time::timeout(Duration::from_secs(5), stream).await???;
        measured.cut.add(ended.saturating_duration_since(called));
        tokio::time::sleep(AFTER).await;
        if let Some(at) = seen.take_last().filter(|at| *at > returned) {
            measured.late.add(at - returned);
        }
        going.store(false, Ordering::Relaxed);
        using.shutdown().await;
    }
    stop.cancel();
    Ok(measured)
}

/// Every replica has the same key of the vault and a directory of its own.
fn replica_settings(directory: &Path, database: &Database, n: usize) -> Result<Settings, Failure> {
    let own = directory.join(format!("replica-{n}"));
    std::fs::create_dir_all(&own)?;
    let mut settings = settings(&own)?;
    settings.database = Place::Shared(Box::new(address(database)?));
    settings.key = accredit_vault::KeySource::File(directory.join("replicas.key"));
    Ok(settings)
}

async fn serve(authority: Arc<Authority>, stop: &CancellationToken) -> Result<Replica, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let gateway = Gateway::open(authority.clone(), vec![address]).await.map_err(world::said)?;
    tokio::spawn(gateway.serve(listener, stop.clone(), Duration::ZERO));
    Ok(Replica { authority, gateway: address })
}
