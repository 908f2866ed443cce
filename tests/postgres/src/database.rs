//! One database of one test, and how to reach it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::{CONNECTIONS_EACH_MAX, DATABASES_MAX};
use crate::programs;
use crate::server::Server;

/// How long a test waits for another to give a database back.
const ROOM_TIME_MAX: Duration = Duration::from_secs(300);

/// As whom a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns the database and what migrations make in it. Not a superuser.
    Owner,
    /// Owns nothing and may do what it was granted.
    Service,
}

impl Role {
    /// Its name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "accredit_owner",
            Self::Service => "accredit_service",
        }
    }
}

#[derive(Clone)]
pub(crate) struct Passwords {
    pub(crate) superuser: String,
    pub(crate) owner: String,
    pub(crate) service: String,
    pub(crate) replicator: String,
}

/// What a client must know.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) root: PathBuf,
    pub(crate) passwords: Passwords,
}

/// The way in for the superuser: the Unix socket, which works from every network namespace.
#[derive(Clone)]
pub(crate) struct Admin {
    socket_dir: PathBuf,
    port: u16,
    password: String,
}

impl Admin {
    pub(crate) fn of(server: &Server, passwords: &Passwords) -> Self {
        let (socket_dir, port) = (server.socket_dir().to_owned(), server.port());
        Self { socket_dir, port, password: passwords.superuser.clone() }
    }

    #[track_caller]
    pub(crate) fn run(&self, database: &str, sql: &str) -> String {
        self.try_run(database, sql).unwrap_or_else(|said| panic!("`{sql}` failed:\n{said}"))
    }

    pub(crate) fn try_run(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = psql(&self.socket_dir);
        psql.arg("-h").arg(&self.socket_dir).args(["-p", &self.port.to_string(), "-U", "postgres", database]);
        psql.env("PGPASSWORD", &self.password);
        feed(psql, sql)
    }
}

/// A database. It is dropped with the value, and whoever is still connected is cut off.
pub struct Database {
    name: String,
    reach: Reach,
    /// What a database of a test has and a template has not.
    own: Option<(Admin, Room)>,
}

impl Database {
    #[track_caller]
    pub(crate) fn create(admin: &Admin, reach: &Reach, template: &str, room: Option<Room>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (owner, service) = (Role::Owner.name(), Role::Service.name());
        admin.run(
            "postgres",
            &format!(
                "CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} CONNECTION LIMIT {CONNECTIONS_EACH_MAX};\n\
                 REVOKE ALL ON DATABASE {name} FROM PUBLIC;\n\
                 GRANT CONNECT ON DATABASE {name} TO {service};\n"
            ),
        );
        Self { name, reach: reach.clone(), own: room.map(|room| (admin.clone(), room)) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The certificate of the authority that clients must trust.
    #[must_use]
    pub fn root_certificate(&self) -> &Path {
        &self.reach.root
    }

    /// How this role connects: a URI with password, `sslmode=verify-full` and `sslrootcert`.
    #[must_use]
    pub fn url(&self, role: Role) -> String {
        self.url_at(role, &self.reach.hosts)
    }

    /// The same with a list of servers, of which clients must take the one that accepts writes.
    #[must_use]
    pub fn url_at(&self, role: Role, hosts: &[(String, u16)]) -> String {
        let password = match role {
            Role::Owner => &self.reach.passwords.owner,
            Role::Service => &self.reach.passwords.service,
        };
        let at: Vec<String> = hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let which = if hosts.len() > 1 { "&target_session_attrs=read-write" } else { "" };
        format!(
            "postgres://{}:{password}@{}/{}?sslmode=verify-full&sslrootcert={}{which}",
            role.name(),
            at.join(","),
            self.name,
            self.reach.root.display(),
        )
    }

    /// Runs statements with `psql` over TLS and gives what they returned, a row a line.
    ///
    /// # Errors
    /// What `psql` said when one of them failed, or when it could not connect.
    pub fn psql(&self, role: Role, sql: &str) -> Result<String, String> {
        psql_at(&self.url(role), sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((admin, _)) = &self.own {
            // A server that was stopped or killed takes the database with it when it goes.
            let _ = admin.try_run("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// Runs statements with `psql` at a connection URI and gives what they returned, a row a line.
///
/// # Errors
/// What `psql` said when one of them failed, or when it could not connect.
pub fn psql_at(url: &str, sql: &str) -> Result<String, String> {
    let mut psql = psql(Path::new("/"));
    psql.arg(url);
    feed(psql, sql)
}

fn psql(dir: &Path) -> Command {
    let mut psql = programs::command(&[], programs::program("psql"), dir);
    psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", "--file=-"]);
    psql
}

/// Gives the statements through the standard input, so that each is a transaction of its own.
fn feed(mut psql: Command, sql: &str) -> Result<String, String> {
    use std::io::Write as _;
    let psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = psql.spawn().map_err(|why| format!("psql cannot be started: {why}"))?;
    let mut stdin = child.stdin.take().expect("it has an input");
    // One that cannot connect does not read; its exit code says so.
    let _ = stdin.write_all(sql.as_bytes());
    drop(stdin);
    let done = child.wait_with_output().map_err(|why| why.to_string())?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&done.stderr).trim_end().to_owned())
    }
}

/// How many databases of tests exist.
#[derive(Default)]
pub(crate) struct Rooms {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// One of them, until this is dropped.
pub(crate) struct Room(Arc<Rooms>);

impl Rooms {
    #[track_caller]
    pub(crate) fn enter(rooms: &Arc<Self>) -> Room {
        let taken = rooms.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken >= DATABASES_MAX;
        let waited = rooms.freed.wait_timeout_while(taken, ROOM_TIME_MAX, full);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "{DATABASES_MAX} databases are in use and none is given back: a test that needs several starts a cluster of its own"
        );
        *taken += 1;
        Room(Arc::clone(rooms))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_there_is_room_for_waits_until_another_leaves() {
        let rooms = Arc::new(Rooms::default());
        let mut inside: Vec<Room> = (0..DATABASES_MAX).map(|_| Rooms::enter(&rooms)).collect();
        let waiting = {
            let rooms = Arc::clone(&rooms);
            std::thread::spawn(move || drop(Rooms::enter(&rooms)))
        };
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished(), "there is no room");
        inside.pop();
        waiting.join().expect("it entered");
        assert_eq!(*rooms.taken.lock().expect("no panic"), DATABASES_MAX - 1);
    }
}
