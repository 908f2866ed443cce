//! A second server that follows the first. Commits on the first wait for it, so that none is lost when it takes over.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, certify, host, with_loopback};
use crate::database::{Admin, Database};
use crate::home::Home;
use crate::programs;
use crate::server::{Launch, Server};

/// How the first server knows it.
const NAME: &str = "standby";
/// How long it may take to catch up, or to take over.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A synchronous standby of a [`Cluster`], and after [`Standby::promote`] a server of its own.
pub struct Standby {
    server: Server,
    admin: Admin,
    host: (String, u16),
    _home: Home,
}

impl Standby {
    /// Copies the cluster, follows it, and makes its commits wait for the copy. `addresses` and `prefix` are as in
    /// [`crate::Options`]; everything goes over the network, so that a partition is felt.
    ///
    /// # Panics
    /// When it cannot be made, or does not catch up.
    #[track_caller]
    #[must_use]
    pub fn of(cluster: &Cluster, addresses: &[IpAddr], prefix: &[String]) -> Self {
        let home = Home::new();
        let data = home.path().join("data");
        home.make_dir(&data);
        copy(cluster, &home, prefix);
        let launch = Launch {
            name: NAME.to_owned(),
            data,
            addresses: with_loopback(addresses),
            prefix: prefix.to_vec(),
            environment: Vec::new(),
            certificate: certify(&home, cluster.pki(), addresses),
        };
        let server = Server::launch(&home, launch);
        let admin = Admin::of(&server, &cluster.reach().passwords);
        let standby = Self { host: host(&server, addresses), server, admin, _home: home };
        cluster.admin(&format!("ALTER SYSTEM SET synchronous_standby_names = '{NAME}'"));
        cluster.admin("SELECT pg_reload_conf()");
        wait_until("the standby is synchronous", || {
            cluster.admin("SELECT sync_state FROM pg_stat_replication") == "sync"
        });
        standby
    }

    /// Makes it accept writes, and waits until it does.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn promote(&self) {
        let wait_s = TIME_MAX.as_secs();
        let promoted = self.admin.run("postgres", &format!("SELECT pg_promote(true, {wait_s})"));
        assert_eq!(promoted, "t", "the standby takes over:\n{}", self.server.log());
        // A server that was promoted follows nobody, and waits for nobody.
        self.admin.run("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
        self.admin.run("postgres", "SELECT pg_reload_conf()");
    }

    /// Runs statements as superuser and gives what they returned, a row a line.
    ///
    /// # Panics
    /// When one of them fails, with what the server said.
    #[track_caller]
    pub fn admin(&self, sql: &str) -> String {
        self.admin.run("postgres", sql)
    }

    /// The same in a database of a test.
    ///
    /// # Panics
    /// When one of them fails, with what the server said.
    #[track_caller]
    pub fn admin_in(&self, database: &Database, sql: &str) -> String {
        self.admin.run(database.name(), sql)
    }

    /// Host and port that clients connect to; for [`crate::Database::url_at`], after that of the cluster.
    #[must_use]
    pub const fn host(&self) -> &(String, u16) {
        &self.host
    }

    /// The process, to look at.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// The process, to stop, kill and start.
    pub const fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// A base backup that is ready to follow where it came from.
#[track_caller]
fn copy(cluster: &Cluster, home: &Home, prefix: &[String]) {
    let (name, port) = cluster.host();
    let password = format!("*:*:*:replicator:{}\n", cluster.reach().passwords.replicator);
    let password = home.write("replicator", &password);
    let from = format!(
        "host={name} port={port} user=replicator application_name={NAME} sslmode=verify-full sslrootcert={} passfile={}",
        cluster.root_certificate().display(),
        password.display(),
    );
    let mut backup = programs::command(prefix, programs::program("pg_basebackup"), home.path());
    backup.args([
        "--checkpoint=fast",
        "--wal-method=stream",
        "--write-recovery-conf",
        "--dbname",
        &from,
        "-D",
    ]);
    backup.arg(home.path().join("data"));
    programs::run(backup);
}

#[track_caller]
fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    let until = Instant::now() + TIME_MAX;
    while !look() {
        assert!(Instant::now() < until, "waited {TIME_MAX:?} until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
