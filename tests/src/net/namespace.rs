//! One network namespace, the cable from it to the router, and code and processes inside it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use accredit_tests_postgres::Home;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The interface by which a part reaches the others.
const INTERFACE: &str = "eth0";

/// A part of a network.
#[derive(Debug, Clone)]
pub struct Part {
    name: String,
    namespace: String,
    address: Ipv4Addr,
}

impl Part {
    /// Makes the namespace. The home removes it, and what still runs in it.
    #[track_caller]
    pub(super) fn make(home: &Home, name: &str, address: Ipv4Addr) -> Self {
        let unique = home.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let part = Self { name: name.to_owned(), namespace: format!("{unique}-{name}"), address };
        home.owns_namespace(&part.namespace);
        ip(&["netns", "add", &part.namespace], "");
        part.ip("link set lo up");
        part
    }

    /// Lays a cable to the router, whose end is the way to everybody else.
    #[track_caller]
    pub(super) fn join(&self, router: &Self) {
        let [a, b, c, _] = self.address.octets();
        let (gateway, namespace) = (Ipv4Addr::new(a, b, c, 1), &self.namespace);
        router.ip(&format!(
            "link add to{c} type veth peer name {INTERFACE} netns {namespace}\n\
             addr add {gateway}/30 dev to{c}\n\
             link set to{c} up"
        ));
        self.ip(&format!(
            "addr add {}/30 dev {INTERFACE}\nlink set {INTERFACE} up\nroute add default via {gateway}",
            self.address
        ));
    }

    /// Makes a router of it: passes packets on, also when they come out of a relay.
    #[track_caller]
    pub(super) fn forward(&self) {
        self.inside(|| {
            for (setting, value) in
                [("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/default/rp_filter", "0")]
            {
                let path = format!("/proc/sys/net/ipv4/{setting}");
                std::fs::write(&path, value)
                    .unwrap_or_else(|why| panic!("`{path}` cannot be set in a network namespace: {why}"));
            }
        });
    }

    /// What the test calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the others reach it.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What a command must begin with to run inside.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace].map(str::to_owned).to_vec()
    }

    /// A command that runs inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Runs code inside: sockets that it makes belong to this part, and stay there.
    ///
    /// # Panics
    /// When the namespace has gone, or with the panic of the code.
    pub fn inside<T: Send>(&self, code: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                code()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread inside, for as long as it lives.
    ///
    /// # Panics
    /// When the namespace has gone.
    #[track_caller]
    pub fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.namespace)).expect("the namespace is there");
        let moved = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        moved.expect("root may enter a network namespace");
    }

    /// Runs commands of `ip` inside, one a line.
    ///
    /// # Panics
    /// When one of them fails, with what it said.
    #[track_caller]
    pub(super) fn ip(&self, lines: &str) {
        ip(&["-n", &self.namespace, "-batch", "-"], lines);
    }
}

#[track_caller]
fn ip(arguments: &[&str], lines: &str) {
    let mut ip = Command::new("ip");
    ip.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ip.spawn().expect("`ip` is installed: scripts/setup-tests");
    let mut stdin = child.stdin.take().expect("it has an input");
    // One that failed has not read everything; its exit code says so.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    let done = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "`ip {}` failed:\n{lines}\n{said}", arguments.join(" "));
}
