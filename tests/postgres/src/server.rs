//! One data directory and the PostgreSQL process on it.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::home::Home;
use crate::programs;

/// How long a server may take to start or to stop; recovery after a kill is part of a start.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Below the range that this machine hands out by itself, so that a stopped server finds its port free again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried before giving up.
const PORT_TRIES: usize = 20;

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are ended, everything is written, then it ends.
    Fast,
    /// It ends at once and recovers at the next start.
    Immediate,
}

/// Where a server runs and what it is started with.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Its short name; files of this name lie in the home.
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) prefix: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Its certificate and the key to it.
    pub(crate) certificate: (PathBuf, PathBuf),
}

/// A server. It runs from [`Server::start`] on, and not after it was dropped.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    home: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server for the first time, on a port that is free.
    #[track_caller]
    pub(crate) fn launch(home: &Home, launch: Launch) -> Self {
        let mut server = Self { launch, home: home.path().to_owned(), port: 0, child: None };
        for _ in 0..PORT_TRIES {
            server.port = free_port();
            match server.try_start() {
                Ok(()) => return server,
                // Somebody else took it in between.
                Err(_) if server.log().contains("Address already in use") => {
                    let _ = std::fs::remove_file(server.file("log"));
                }
                Err(ended) => panic!("PostgreSQL does not start ({ended}):\n{}", server.log()),
            }
        }
        panic!("none of {PORT_TRIES} ports stays free");
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.home
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.launch.data
    }

    /// Whether its process is there.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.file("log")).unwrap_or_default()).into_owned()
    }

    /// Its processes, the first one first.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let first = self.pid();
        std::iter::once(first).chain(children(first)).collect()
    }

    /// Its first process.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Starts it again and waits until it answers, which is after recovery.
    ///
    /// # Panics
    /// When it does not start, with what it logged.
    #[track_caller]
    pub fn start(&mut self) {
        if let Err(ended) = self.try_start() {
            panic!("PostgreSQL does not start ({ended}):\n{}", self.log());
        }
    }

    /// Starts it again; it may end instead, as on a full disk.
    ///
    /// # Errors
    /// How it ended, when it did before it answered.
    ///
    /// # Panics
    /// When it runs already, or neither answers nor ends.
    #[track_caller]
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        assert!(!self.is_running(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.file("log")).expect("a log");
        let mut command =
            programs::command(&self.launch.prefix, programs::program("postgres"), &self.launch.data);
        command.arg("-D").arg(&self.launch.data);
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.envs(self.launch.environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: the terminal's signals are for the test.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = self.child.insert(command.spawn().expect("PostgreSQL can be started"));
        let (pid, until) = (child.id(), Instant::now() + TIME_MAX);
        std::fs::write(self.home.join(format!("{}.pid", self.launch.name)), pid.to_string())
            .expect("a file in an own directory");
        loop {
            let child = self.child.as_mut().expect("it was put there above");
            if let Some(ended) = child.try_wait().expect("a child can be waited for") {
                self.child = None;
                return Err(ended);
            }
            if self.is_ready(pid) {
                return Ok(());
            }
            assert!(Instant::now() < until, "PostgreSQL neither answers nor ends:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What differs between the servers of one cluster; the rest is in their `postgresql.conf`.
    fn settings(&self) -> [(&'static str, String); 5] {
        let addresses: Vec<String> = self.launch.addresses.iter().map(IpAddr::to_string).collect();
        [
            ("port", self.port.to_string()),
            ("listen_addresses", addresses.join(",")),
            ("unix_socket_directories", self.home.display().to_string()),
            ("ssl_cert_file", self.launch.certificate.0.display().to_string()),
            ("ssl_key_file", self.launch.certificate.1.display().to_string()),
        ]
    }

    /// The eighth line of its lock file says when it answers.
    fn is_ready(&self, pid: u32) -> bool {
        let lock = self.launch.data.join("postmaster.pid");
        let text = std::fs::read_to_string(&lock).unwrap_or_default();
        let mut lines = text.lines();
        let ours = lines.next() == Some(pid.to_string().as_str());
        let ready = ours && lines.nth(6).is_some_and(|status| status.trim() == "ready");
        if ready {
            // Where whoever removes the home finds it, wherever the data lies.
            let _ = std::fs::copy(&lock, self.file("lockfile"));
        }
        ready
    }

    /// Stops it.
    ///
    /// # Panics
    /// When it does not run, or does not stop in time.
    #[track_caller]
    pub fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        send(self.pid(), signal);
        self.wait_for_end();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not run, or does not end in time.
    #[track_caller]
    pub fn wait_for_end(&mut self) {
        let child = self.child.as_mut().expect("the server runs");
        let until = Instant::now() + TIME_MAX;
        while child.try_wait().expect("a child can be waited for").is_none() {
            assert!(Instant::now() < until, "PostgreSQL does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = None;
        self.forget_lock();
    }

    /// A server that ended in order has removed its lock file, and what that names is gone.
    fn forget_lock(&self) {
        if !self.launch.data.join("postmaster.pid").exists() {
            let _ = std::fs::remove_file(self.file("lockfile"));
        }
    }

    /// Kills all its processes at once, as the end of its machine would, and waits until they have gone. What the
    /// operating system had taken over from them stays; a power cut of the disk is another fault.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill(&mut self) {
        // Stopped first, so that it starts no other process between the look and the kill.
        send(self.pid(), Signal::STOP);
        let pids = self.pids();
        for pid in &pids {
            send(*pid, Signal::KILL);
        }
        self.wait_for_end();
        let until = Instant::now() + TIME_MAX;
        while pids.iter().any(|pid| lives(*pid)) {
            assert!(Instant::now() < until, "a killed process stays");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it and starts it again.
    ///
    /// # Panics
    /// When one of both fails.
    #[track_caller]
    pub fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.start();
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.home.join(format!("{}.{extension}", self.launch.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        for pid in self.pids() {
            send(pid, Signal::CONT);
        }
        send(self.pid(), Signal::QUIT);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        self.forget_lock();
    }
}

/// Sends a signal; a process that has ended in between needs none.
fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("process ids are small and positive");
    let _ = kill_process(pid, signal);
}

/// The processes that this one has started and that still live.
fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let size = PORTS.end - PORTS.start;
    // Processes start at different places, so that those which run side by side seldom meet.
    let first = u16::try_from(std::process::id() * 97 % u32::from(size)).expect("less than a port number");
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..size)
        .map(|_| PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed) % size) % size)
        .find(free)
        .expect("one of twelve thousand ports is free")
}
