//! The real binary, running: `accredit serve` with a state directory, a home and ports of its own, and everything that
//! a person would type against it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use accredit_tests_postgres::{Cluster, Database, Role};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::canary::{self, Canary, Leak};
use crate::names::{self, Names};
use crate::net::Part;

/// How long a server may take until it accepts work.
const READY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long anything that a test waits for may take.
pub const WAIT: Duration = Duration::from_secs(20);

/// Names another binary to test than the one of this build, such as a released one.
const BINARY: &str = "ACCREDIT_TEST_BINARY";

/// `postgres`: servers that are not about the embedded database work on a shared one.
const STORE: &str = "ACCREDIT_TEST_STORE";

/// The binary of this build. It is built when it is missing or older than its sources.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(other) = std::env::var_os(BINARY) {
            return PathBuf::from(other);
        }
        let path = sibling("accredit");
        let built = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        if built.is_none_or(|built| built < newest_source()) {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "-q", "-p", "accredit"]).current_dir(root());
            if path.parent().is_some_and(|dir| dir.ends_with("release")) {
                cargo.arg("--release");
            }
            let status = cargo.status().expect("cargo can be started");
            assert!(status.success(), "`cargo build -p accredit` failed");
        }
        path
    })
}

/// A program of this build, next to the test that runs: `target/PROFILE/NAME`.
///
/// # Panics
/// When the test does not know where it is.
#[must_use]
pub fn sibling(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let dir = test.parent().filter(|dir| !dir.ends_with("deps")).or_else(|| test.parent()?.parent());
    dir.expect("a test lies in target/PROFILE/deps").join(name)
}

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout").to_owned()
}

/// A program that `scripts/setup-tests` installs, by its path below `.tools`.
///
/// # Panics
/// When it is missing, with what to do.
#[must_use]
pub fn tool(path: &str) -> PathBuf {
    let tool = root().join(".tools").join(path);
    assert!(tool.exists(), "`{}` is missing: run scripts/setup-tests", tool.display());
    tool
}

fn newest_source() -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut left = vec![root().join("crates"), root().join("Cargo.toml")];
    while let Some(path) = left.pop() {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() && !path.ends_with("tests") && !path.ends_with("examples") {
            left.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if metadata.is_file() {
            newest = newest.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        }
    }
    newest
}

/// A port of this machine that is free at the moment.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    // Below what systems give to outgoing connections, one of which would take it before it is listened on, and below the
    // ports of the databases of `tests/postgres`.
    const PORTS: std::ops::Range<u32> = 10_000..20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < PORTS.end, "no port is free");
        let place = std::process::id().wrapping_mul(257).wrapping_add(number) % (PORTS.end - PORTS.start);
        let port = u16::try_from(PORTS.start + place).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What a server is started with, beside the defaults of the tests.
#[derive(Default)]
pub struct Setup {
    /// Lines for the configuration, after `[server]` with its addresses.
    pub config: String,
    /// Variables of the server's environment.
    pub environment: Vec<(String, String)>,
    /// How it knows the names of upstreams.
    pub names: Option<Names>,
    /// A state directory to go on with; a new one when absent.
    pub state: Option<PathBuf>,
    /// The database that it shares with others. When absent, an embedded one, or with [`STORE`] one of its own.
    pub shared: Option<Arc<Database>>,
    /// Whether the test is about the files of the embedded database.
    pub embedded: bool,
    /// Where control plane and gateway listen; free ports when absent.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// What clients call control plane and gateway; where they listen when absent.
    pub urls: Option<(String, String)>,
    /// The part of a network that it runs in; that of the test when absent.
    pub part: Option<Part>,
    /// The servers of the shared database, when they are not those that it was made on.
    pub servers: Vec<(String, u16)>,
}

impl Setup {
    /// A server that is known by a name on this machine, as browsers want it for passkeys.
    #[must_use]
    pub fn at_localhost() -> Self {
        let [listen, gateway] =
            [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Self {
            addresses: Some((listen, gateway)),
            urls: Some((format!("http://localhost:{}", listen.port()), format!("http://{gateway}"))),
            ..Self::default()
        }
    }
}

/// A new database with the schema, as `accredit database prepare` makes it.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn shared_database() -> Arc<Database> {
    prepared_database(Cluster::shared())
}

/// The same on a cluster of the test's own.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn prepared_database(cluster: &Cluster) -> Arc<Database> {
    let prepare = |database: &Database| {
        let mut command = Command::new(binary());
        command.args([
            "database",
            "prepare",
            "--role",
            Role::Service.name(),
            "--database",
            "${env:OWNER_URL}",
        ]);
        let said = Said::of(&command.env("OWNER_URL", database.url(Role::Owner)).output().expect("accredit"));
        assert_eq!(said.code, 0, "{}", said.stderr);
    };
    Arc::new(cluster.database_like("accredit", prepare))
}

/// The lines of a configuration that lead to a database, with the password in a file of its own.
fn lines_of(url: &str, dir: &Path) -> String {
    let (user, rest) = url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).expect("a user");
    let (password, rest) = rest.split_once('@').expect("a password");
    let file = dir.join("database.password");
    write_private(&file, password);
    format!("database = \"postgres://{user}@{rest}\"\ndatabase_password = \"${{file:{}}}\"\n", file.display())
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// What a command said and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code, or 128 and the number of the signal.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// From what a process left.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let code = output.status.code().or_else(|| output.status.signal().map(|n| 128 + n)).unwrap_or(-1);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The same, when it ended with 0.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Its output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("{error} in:\n{}\nstderr:\n{}", self.stdout, self.stderr),
        }
    }
}

/// A running authority.
pub struct Accredit {
    /// Where the control plane listens.
    pub listen: SocketAddr,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    state: PathBuf,
    dir: TempDir,
    child: Option<Child>,
    setup: Setup,
}

impl Accredit {
    /// Starts a server and waits until it accepts work.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let mut accredit = Self::prepare(setup);
        accredit.launch();
        accredit.wait_until_ready();
        accredit
    }

    /// Starts a server that may refuse to: then its exit code and what it said.
    ///
    /// # Errors
    /// When it ended before it accepted work.
    ///
    /// # Panics
    /// When it neither accepts work nor ends.
    #[track_caller]
    pub fn try_start(setup: Setup) -> Result<Self, Said> {
        let mut accredit = Self::prepare(setup);
        accredit.launch();
        let until = Instant::now() + READY_TIME_MAX;
        loop {
            if accredit.is_ready() {
                return Ok(accredit);
            }
            let ended = accredit.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(Said {
                    code: status.code().unwrap_or(-1),
                    stdout: String::new(),
                    stderr: accredit.log(),
                });
            }
            assert!(Instant::now() < until, "the server neither works nor ends:\n{}", accredit.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the server says that it accepts work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.get("/v1/ready").is_ok_and(|(status, _)| status == 200)
    }

    /// Fetches a page of the control plane, from where the server runs.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn get(&self, path: &str) -> io::Result<(u16, Vec<u8>)> {
        let (listen, get) = (self.listen, http_get);
        match &self.setup.part {
            Some(part) => part.inside(|| get(listen, path)),
            None => get(listen, path),
        }
    }

    /// What clients call the control plane.
    #[must_use]
    pub fn url(&self) -> String {
        self.setup.urls.as_ref().map_or_else(|| format!("http://{}", self.listen), |urls| urls.0.clone())
    }

    /// What clients call the gateway.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        self.setup.urls.as_ref().map_or_else(|| format!("http://{}", self.gateway), |urls| urls.1.clone())
    }

    /// Everything but the start.
    ///
    /// # Panics
    /// When the directories cannot be made.
    #[must_use]
    pub fn prepare(setup: Setup) -> Self {
        let dir = tempfile::Builder::new().prefix("accredit-test-").tempdir().expect("a temporary directory");
        let state = setup.state.clone().unwrap_or_else(|| dir.path().join("state"));
        let free = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (listen, gateway) = setup.addresses.unwrap_or_else(|| (free(), free()));
        std::fs::create_dir_all(&state).expect("a state directory");
        std::fs::create_dir_all(dir.path().join("home")).expect("a home directory");
        let mut setup = setup;
        let own = setup.shared.is_none()
            && !setup.embedded
            && std::env::var_os(STORE).is_some_and(|s| s == "postgres");
        if own {
            setup.shared = Some(shared_database());
        }
        let accredit = Self { listen, gateway, state, dir, child: None, setup };
        accredit.write_config(&accredit.setup.config);
        accredit
    }

    /// Writes the configuration anew, for the next start.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_config(&self, lines: &str) {
        let url = |database: &Arc<Database>| match &*self.setup.servers {
            [] => database.url(Role::Service),
            servers => database.url_at(Role::Service, servers),
        };
        let database = self.setup.shared.as_ref().map(|database| lines_of(&url(database), &self.state));
        let database = database.unwrap_or_default();
        let urls = self.setup.urls.as_ref().map(|(url, gateway)| {
            format!("url = \"{url}\"\ngateway_url = \"{gateway}\"\nbehind_proxy = true\n")
        });
        let urls = urls.unwrap_or_default();
        let text = format!(
            "[server]\nlisten = \"{}\"\ngateway = \"{}\"\n{urls}{database}{lines}\n",
            self.listen, self.gateway
        );
        write_private(&self.state.join("accredit.toml"), &text);
    }

    /// Starts the process, without waiting.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn launch(&mut self) {
        self.launch_with(&[]);
    }

    /// Starts the process with these arguments of `accredit serve`, without waiting.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn launch_with(&mut self, arguments: &[&str]) {
        assert!(self.child.is_none(), "it runs already");
        let log = |name: &str| {
            File::options()
                .create(true)
                .append(true)
                .open(self.dir.path().join(name))
                .expect("a file for its output")
        };
        let part = self.setup.part.as_ref().map(Part::prefix).unwrap_or_default();
        let names = self.setup.names.as_ref().map(Names::prefix).unwrap_or_default();
        let mut command = names::command(&[part, names].concat(), binary().as_os_str());
        command.arg("--state").arg(&self.state).arg("serve").args(arguments);
        command.env("HOME", self.home()).envs(self.setup.environment.iter().map(|(k, v)| (k, v)));
        command.env_remove("ACCREDIT_URL").env_remove("ACCREDIT_STATE");
        let command = command.stdin(Stdio::null()).stdout(log("serve.out")).stderr(log("serve.err"));
        self.child = Some(command.spawn().expect("the server can be started"));
    }

    /// Waits until the server accepts work.
    ///
    /// # Panics
    /// When it ends, or takes too long; with what it said.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        let until = Instant::now() + READY_TIME_MAX;
        loop {
            if self.is_ready() {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            let late = Instant::now() > until;
            assert!(ended.is_none() && !late, "the server is not ready ({ended:?}):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server as a power cut would, and waits until it has gone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("a process that was killed has gone");
    }

    /// Stops the server in order and gives its exit code.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        let mut child = self.child.take().expect("it runs");
        signal(child.id(), Signal::TERM);
        let ended = wait_for(|| child.try_wait().expect("a child can be waited for"));
        ended.code().unwrap_or(-1)
    }

    /// Waits until the server ends by itself and gives its exit code.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> i32 {
        let mut child = self.child.take().expect("it runs");
        let ended = wait_for(|| child.try_wait().expect("a child can be waited for"));
        ended.code().unwrap_or(-1)
    }

    /// The server's process.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The local socket, which works from every part of a network.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state.join("accredit.sock")
    }

    /// A directory for files of the test; outside the state directory, gone with the test.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The home directory of everything that is started. Nothing of ours may ever appear in it.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// What the server printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("serve.out"), read("serve.err")].concat()).into_owned()
    }

    /// The command line, ready for arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("--state").arg(&self.state).env("HOME", self.home()).stdin(Stdio::null());
        command.env_remove("ACCREDIT_URL").env_remove("ACCREDIT_STATE");
        command
    }

    /// Runs a command of the operator.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn cli<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        Said::of(&self.command().args(arguments).output().expect("the command can be started"))
    }

    /// Runs a command of the operator with something on its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command can be started");
        let mut stdin = child.stdin.take().expect("it has an input");
        // A command that does not read its input says so by its exit code.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Said::of(&child.wait_with_output().expect("its end"))
    }

    /// Runs a command of the operator that must succeed, with `-o json`.
    ///
    /// # Panics
    /// When it fails or prints no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.cli(&[&["-o", "json"], arguments].concat()).ok().json()
    }

    /// Every secret that shows where none may: the state directory, what the server printed, its metrics page, and the
    /// exported ledger.
    ///
    /// # Panics
    /// When a place cannot be looked at.
    #[track_caller]
    #[must_use]
    pub fn leaks(&self, canaries: &[Canary]) -> Vec<Leak> {
        let mut leaks = canary::in_tree(canaries, &self.state);
        leaks.extend(canary::in_bytes(canaries, self.log().as_bytes(), "what the server printed"));
        let (status, metrics) = self.get("/metrics").expect("a metrics page");
        assert_eq!(status, 200, "the metrics page can be read");
        leaks.extend(canary::in_bytes(canaries, &metrics, "metrics page"));
        let export = self.cli(&["audit", "export"]).ok();
        assert!(!export.stdout.is_empty(), "the ledger holds something");
        leaks.extend(canary::in_bytes(canaries, export.stdout.as_bytes(), "exported ledger"));
        leaks.extend(canary::in_tree(canaries, &self.home()));
        leaks
    }
}

impl Drop for Accredit {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let _ = writeln!(io::stderr(), "-- the server said last:");
            for line in tail.iter().rev() {
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }
}

/// What a task is started with.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The agent; without one, the local user.
    pub agent: Option<String>,
    /// What it is for.
    pub purpose: String,
    /// Which ticket or run asked for it.
    pub workflow: Option<String>,
    /// Which person asked for it.
    pub requested_by: Option<String>,
    /// What it may touch.
    pub allow: Vec<String>,
    /// Other arguments of `accredit run`.
    pub more: Vec<String>,
    /// Variables that the command inherits.
    pub environment: Vec<(String, String)>,
}

impl Run {
    /// A task of this agent with this boundary.
    #[must_use]
    pub fn of(agent: &str, allow: &[&str]) -> Self {
        Self {
            agent: Some(agent.to_owned()),
            purpose: format!("what {agent} does in a test"),
            workflow: Some("TEST-1".to_owned()),
            requested_by: Some("ana@acme.test".to_owned()),
            allow: allow.iter().map(|grant| (*grant).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// The whole command line, around `command`.
    #[must_use]
    pub fn around<S: AsRef<OsStr>>(&self, accredit: &Accredit, command: &[S]) -> Command {
        let mut run = accredit.command();
        run.arg("run");
        let mut pair = |name: &str, value: &str| {
            run.arg(name).arg(value);
        };
        if let Some(agent) = &self.agent {
            pair("--agent", agent);
        }
        pair("--task", &self.purpose);
        if let Some(workflow) = &self.workflow {
            pair("--workflow", workflow);
        }
        if let Some(person) = &self.requested_by {
            pair("--requested-by", person);
        }
        for grant in &self.allow {
            pair("--allow", grant);
        }
        run.args(&self.more).arg("--").args(command);
        run.envs(self.environment.iter().map(|(name, value)| (name, value)));
        run
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn output<S: AsRef<OsStr>>(&self, accredit: &Accredit, command: &[S]) -> Said {
        Said::of(&self.around(accredit, command).output().expect("the command can be started"))
    }
}

/// Sends a signal to a process.
///
/// # Panics
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("process ids are small and positive");
    kill_process(pid, signal).expect("the process is there");
}

/// Waits until something is there.
///
/// # Panics
/// When it takes longer than [`WAIT`].
#[track_caller]
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited for {WAIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Fetches a page over plain HTTP.
///
/// # Errors
/// When nobody answers.
pub fn http_get(address: SocketAddr, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..answer.len().min(16)]).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let status = status.ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
    Ok((status, answer.split_off(body)))
}

/// The processes below a process, itself not among them.
#[must_use]
pub fn descendants(root: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let below =
        |pid: u32| std::iter::successors(Some(pid), |pid| parent(*pid)).skip(1).take(64).any(|up| up == root);
    pids.into_iter().filter(|pid| below(*pid)).collect()
}
