//! A server of the test's own: TLS with its own authority, an owner role for migrations, a service role that owns
//! nothing, and databases that are made and dropped in a moment.
//!
//! [`Cluster::shared`] is one server for all tests of a process, which none of them can stop; a test that wants to
//! break something starts its own with [`Cluster::start`].

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use accredit_tests_pki::Pki;

use crate::database::{Admin, Database, Passwords, Reach, Role, Rooms};
use crate::home::Home;
use crate::programs;
use crate::server::{Launch, Server};

/// Databases that exist at one time; a test that asks for one more waits. With [`CONNECTIONS_EACH_MAX`] it keeps tests
/// that run side by side within the memory of a small machine, however many processors invite them.
pub const DATABASES_MAX: usize = 8;
/// Connections to one database: a few replicas with their pools.
pub const CONNECTIONS_EACH_MAX: usize = 40;
/// All of the above and some for administration.
const CONNECTIONS_MAX: usize = DATABASES_MAX * CONNECTIONS_EACH_MAX + 20;

/// Quick, and as durable as in production: nothing here weakens a promise that was made to a client.
const SETTINGS: [(&str, &str); 18] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("ssl", "on"),
    ("ssl_min_protocol_version", "'TLSv1.3'"),
    ("password_encryption", "'scram-sha-256'"),
    ("wal_level", "replica"),
    ("hot_standby", "on"),
    ("max_wal_senders", "5"),
    ("wal_keep_size", "'64MB'"),
    ("min_wal_size", "'16MB'"),
    ("max_wal_size", "'256MB'"),
    ("shared_buffers", "'32MB'"),
    // In files of the data directory, so that a kill leaves nothing elsewhere on the machine.
    ("dynamic_shared_memory_type", "mmap"),
    ("huge_pages", "off"),
    ("jit", "off"),
    ("timezone", "'UTC'"),
    ("log_line_prefix", "'%m [%p] %q%u@%d '"),
];

/// Over the network with TLS only, and nobody without a password.
const ACCESS: &str = "local   all         all             scram-sha-256\n\
                      hostssl all         all         all scram-sha-256\n\
                      hostssl replication replicator  all scram-sha-256\n";

/// What a cluster may differ in.
#[derive(Debug, Default)]
pub struct Options {
    /// Where its files lie; a new home when there is none.
    pub home: Option<Home>,
    /// Addresses that it also listens on; clients are pointed at the first of them instead of `localhost`.
    pub addresses: Vec<IpAddr>,
    /// What its processes are started with, such as `ip netns exec NAME`.
    pub prefix: Vec<String>,
    /// Variables of its processes.
    pub environment: Vec<(String, String)>,
    /// Another place for its data, such as a small disk.
    pub data: Option<PathBuf>,
    /// Another place for its write-ahead log.
    pub wal: Option<PathBuf>,
    /// More lines of its configuration, which win.
    pub settings: Vec<(String, String)>,
}

/// A running server with its roles.
pub struct Cluster {
    server: Server,
    pki: Pki,
    reach: Reach,
    admin: Admin,
    rooms: Arc<Rooms>,
    templates: Mutex<HashMap<String, String>>,
    home: Home,
}

impl Cluster {
    /// The one of this process, started at the first call. It is removed when the process has ended.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Options::default()))
    }

    /// Starts one.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[track_caller]
    #[must_use]
    pub fn start(options: Options) -> Self {
        let home = options.home.unwrap_or_default();
        let pki = Pki::new().expect("an authority can be made");
        let passwords = Passwords::new();
        let inside = |place: &Option<PathBuf>| place.clone().unwrap_or_else(|| home.path().to_owned());
        let (data, wal) = (inside(&options.data).join("data"), inside(&options.wal).join("wal"));
        init(&home, &data, &wal, &passwords);
        configure(&data, &options.settings);
        let root = home.path().join("root.pem");
        std::fs::write(&root, pki.pem()).expect("a file in an own directory");
        let launch = Launch {
            name: "primary".to_owned(),
            data,
            addresses: with_loopback(&options.addresses),
            prefix: options.prefix,
            environment: options.environment,
            certificate: certify(&home, &pki, &options.addresses),
        };
        let server = Server::launch(&home, launch);
        let reach = Reach { hosts: vec![host(&server, &options.addresses)], root, passwords };
        let admin = Admin::of(&server, &reach.passwords);
        let cluster =
            Self { server, pki, reach, admin, rooms: Arc::default(), templates: Mutex::default(), home };
        cluster.make_roles();
        cluster
    }

    #[track_caller]
    fn make_roles(&self) {
        let nothing = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS";
        let Passwords { owner, service, replicator, .. } = &self.reach.passwords;
        self.admin(&format!(
            "CREATE ROLE {} {nothing} PASSWORD '{owner}';\n\
             CREATE ROLE {} {nothing} PASSWORD '{service}';\n\
             CREATE ROLE replicator LOGIN REPLICATION PASSWORD '{replicator}';\n",
            Role::Owner.name(),
            Role::Service.name(),
        ));
    }

    /// A new, empty database, dropped when the value is. Waits when [`DATABASES_MAX`] exist; a test that needs several
    /// starts a cluster of its own.
    ///
    /// # Panics
    /// When it cannot be made, or none of the others is given back.
    #[track_caller]
    #[must_use]
    pub fn database(&self) -> Database {
        self.copy_of("template0")
    }

    /// A new database that is as `prepare` leaves an empty one. `prepare` runs once for each `kind`; it must close its
    /// connections. Roles have no hold on each other's copies.
    ///
    /// # Panics
    /// When it cannot be made, or none of the others is given back.
    #[track_caller]
    #[must_use]
    pub fn database_like(&self, kind: &str, prepare: impl FnOnce(&Database)) -> Database {
        let template = {
            let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(made) = templates.get(kind) {
                made.clone()
            } else {
                let template = Database::create(&self.admin, &self.reach, "template0", None);
                prepare(&template);
                let name = template.name().to_owned();
                self.admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
                templates.insert(kind.to_owned(), name.clone());
                name
            }
        };
        self.copy_of(&template)
    }

    #[track_caller]
    fn copy_of(&self, template: &str) -> Database {
        Database::create(&self.admin, &self.reach, template, Some(Rooms::enter(&self.rooms)))
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

    /// Runs statements as superuser and gives what they returned, a row a line.
    ///
    /// # Errors
    /// What the server said when one of them failed.
    pub fn try_admin(&self, sql: &str) -> Result<String, String> {
        self.admin.try_run("postgres", sql)
    }

    /// The certificate of the authority that clients must trust.
    #[must_use]
    pub fn root_certificate(&self) -> &Path {
        &self.reach.root
    }

    /// Host and port that clients connect to.
    #[must_use]
    pub fn host(&self) -> &(String, u16) {
        &self.reach.hosts[0]
    }

    /// The directory of its files; it goes with the cluster.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
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

    pub(crate) const fn pki(&self) -> &Pki {
        &self.pki
    }

    pub(crate) const fn reach(&self) -> &Reach {
        &self.reach
    }
}

#[track_caller]
fn init(home: &Home, data: &Path, wal: &Path, passwords: &Passwords) {
    home.make_dir(data);
    home.make_dir(wal);
    let password = home.write("superuser", &passwords.superuser);
    let mut initdb = programs::command(&[], programs::program("initdb"), home.path());
    initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
    // Small segments fit on small disks. What is flushed late here was promised to nobody.
    initdb.args(["--wal-segsize=4", "--no-sync"]);
    initdb.arg("--pwfile").arg(password).arg("--waldir").arg(wal).arg("-D").arg(data);
    programs::run(initdb);
    std::fs::write(data.join("pg_hba.conf"), ACCESS).expect("a file of an own cluster");
}

fn configure(data: &Path, more: &[(String, String)]) {
    let own = SETTINGS.iter().map(|(name, value)| format!("{name} = {value}\n"));
    let limit = std::iter::once(format!("max_connections = {CONNECTIONS_MAX}\n"));
    let more = more.iter().map(|(name, value)| format!("{name} = {value}\n"));
    let text: String = own.chain(limit).chain(more).collect();
    // In place, so that it stays a file of the servers' user.
    std::fs::write(data.join("postgresql.conf"), text).expect("a file of an own cluster");
}

/// Makes a certificate for a server of this home, and the key to it.
pub(crate) fn certify(home: &Home, pki: &Pki, addresses: &[IpAddr]) -> (PathBuf, PathBuf) {
    let names = std::iter::once("localhost".to_owned())
        .chain(with_loopback(addresses).iter().map(IpAddr::to_string))
        .collect::<Vec<_>>();
    let pem = pki.server_pem(&names).expect("a certificate can be made");
    (home.write("server.pem", &pem.certificate), home.write("server.key", &pem.key))
}

pub(crate) fn with_loopback(addresses: &[IpAddr]) -> Vec<IpAddr> {
    std::iter::once(Ipv4Addr::LOCALHOST.into()).chain(addresses.iter().copied()).collect()
}

/// What clients call a server.
pub(crate) fn host(server: &Server, addresses: &[IpAddr]) -> (String, u16) {
    let name = addresses.first().map_or_else(|| "localhost".to_owned(), IpAddr::to_string);
    (name, server.port())
}

impl Passwords {
    fn new() -> Self {
        Self { superuser: password(), owner: password(), service: password(), replicator: password() }
    }
}

fn password() -> String {
    let mut bytes = [0; 16];
    let mut random = File::open("/dev/urandom").expect("a machine has random bytes");
    random.read_exact(&mut bytes).expect("they do not end");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
