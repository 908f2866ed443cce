//! Clients that write rows to a PostgreSQL database, and remember which of them it acknowledged.
//!
//! They go on whatever happens: a connection that breaks, or says nothing, is replaced by another. What they were not
//! told may be there or not; what they were told must be.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use accredit_tests_postgres::{Cluster, Database, Role};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_tokio_postgres::MakeRustlsConnect;
use tokio_postgres::Client;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use crate::harness::{WAIT, wait_for};
use crate::inject::say;
use crate::net::Part;

/// How long a client waits for an answer before it takes the connection for broken.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long a client rests after a failure, so that a server that is down is not flooded.
const REST: Duration = Duration::from_millis(20);

/// The table that they write to.
const TABLE: &str =
    "CREATE TABLE written (id bigint PRIMARY KEY); GRANT SELECT, INSERT ON written TO accredit_service";

/// What the clients saw.
#[derive(Default)]
struct Seen {
    acknowledged: Mutex<BTreeSet<i64>>,
    failures: Mutex<Vec<String>>,
    next: AtomicU64,
    over: AtomicBool,
}

/// Clients at work, until they are dropped.
pub struct Writers {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Makes the table, as its owner.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub fn prepare(cluster: &Cluster, database: &Database) {
        // Not over the network, which this process is no part of.
        cluster.admin_in(database, &format!("SET ROLE {}; {TABLE}", Role::Owner.name()));
    }

    /// Starts so many clients that connect with this URI, from inside a part of a network or from here, and waits
    /// until each could have written.
    ///
    /// # Panics
    /// When nothing is acknowledged.
    #[track_caller]
    #[must_use]
    pub fn start(url: &str, count: usize, from: Option<&Part>) -> Self {
        let seen = Arc::<Seen>::default();
        let threads = (0..count).map(|_| {
            let (seen, url, from) = (Arc::clone(&seen), url.to_owned(), from.cloned());
            std::thread::spawn(move || {
                if let Some(part) = from {
                    part.enter();
                }
                work(&seen, &url);
            })
        });
        let writers = Self { threads: threads.collect(), seen };
        writers.wait_for_more(count);
        writers
    }

    /// How many rows were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.seen.acknowledged().len()
    }

    /// Waits until so many more rows were acknowledged.
    ///
    /// # Panics
    /// When they are not, with what the clients met last.
    #[track_caller]
    pub fn wait_for_more(&self, count: usize) {
        let before = self.acknowledged();
        let until = Instant::now() + WAIT;
        while self.acknowledged() < before + count {
            let met = self.failures().last().cloned();
            assert!(Instant::now() < until, "only {} rows were acknowledged; {met:?}", self.acknowledged());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until nothing was acknowledged for longer than a client is patient.
    ///
    /// # Panics
    /// When they go on.
    #[track_caller]
    pub fn wait_for_standstill(&self) {
        let mut last = (self.acknowledged(), Instant::now());
        wait_for(|| {
            let now = self.acknowledged();
            if now != last.0 {
                last = (now, Instant::now());
            }
            (last.1.elapsed() > PATIENCE).then_some(())
        });
    }

    /// What failed so far, in the clients' own words.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.seen.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends them, and looks for every row that was acknowledged. `read` runs a statement on the server that counts.
    ///
    /// # Panics
    /// When one of them is not there.
    #[track_caller]
    pub fn judge(self, what: &str, read: impl FnOnce(&str) -> String) {
        let failures = self.failures().len();
        let acknowledged = self.end();
        let rows = read("SELECT id FROM written");
        let there: BTreeSet<i64> = rows.lines().map(|id| id.parse().expect("a number")).collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        say(&format!(
            "  {what}: {} acknowledged, {} there, {failures} failures",
            acknowledged.len(),
            there.len()
        ));
        assert!(lost.is_empty(), "{what}: acknowledged and lost: {lost:?}");
    }

    fn end(mut self) -> BTreeSet<i64> {
        self.seen.over.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        std::mem::take(&mut *self.seen.acknowledged())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn acknowledged(&self) -> std::sync::MutexGuard<'_, BTreeSet<i64>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

fn work(seen: &Seen, url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        while !seen.is_over() {
            if let Err(why) = write(seen, url).await {
                seen.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
                tokio::time::sleep(REST).await;
            }
        }
    });
}

/// Writes through one connection until it breaks.
async fn write(seen: &Seen, url: &str) -> Result<(), String> {
    let client = in_time(connect(url)).await?;
    let insert =
        in_time(async { client.prepare("INSERT INTO written VALUES ($1)").await.map_err(other) }).await?;
    while !seen.is_over() {
        let id = i64::try_from(seen.next.fetch_add(1, Ordering::Relaxed)).expect("fewer rows than that");
        in_time(async { client.execute(&insert, &[&id]).await.map_err(other) }).await?;
        seen.acknowledged().insert(id);
    }
    Ok(())
}

/// Silence is a failure as well.
async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|why| why.to_string()),
        Err(_) => Err(format!("no answer in {PATIENCE:?}")),
    }
}

/// A client at a URI of a [`Database`], over TLS to whom its authority vouches for.
///
/// # Errors
/// When the server cannot be reached, or refuses.
///
/// # Panics
/// When the authority's certificate cannot be read.
pub async fn connect(url: &str) -> io::Result<Client> {
    let (plain, options) = url.split_once('?').unwrap_or((url, ""));
    let mut config: tokio_postgres::Config = plain.parse().map_err(other)?;
    config.ssl_mode(SslMode::Require).connect_timeout(PATIENCE).tcp_user_timeout(PATIENCE);
    if options.contains("target_session_attrs=read-write") {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let root = options.split('&').find_map(|option| option.strip_prefix("sslrootcert="));
    let root = CertificateDer::from_pem_file(root.expect("the URI names an authority"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.expect("a certificate")).expect("a certificate of an authority");
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await.map_err(other)?;
    // Ends when the client is dropped, or the connection breaks; the client is told.
    tokio::spawn(connection);
    Ok(client)
}

/// The server's own words where there are any.
fn other(why: tokio_postgres::Error) -> io::Error {
    match why.as_db_error() {
        Some(said) => io::Error::other(format!("{} {}", said.code().code(), said.message())),
        None => io::Error::other(why),
    }
}
