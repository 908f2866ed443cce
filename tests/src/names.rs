//! Host names for upstreams on this machine. Clients keep loopback addresses and `localhost` away from a proxy, as
//! they should, so an upstream that is to be reached through one needs a name of its own.
//!
//! Two ways, the first that works: the authority runs in a mount namespace of its own, where `/etc/hosts` knows the
//! names (nobody else on the machine sees them); or the upstream takes the machine's own name.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Puts a hosts file over the machine's, for one process and what it starts, then becomes that process.
const OVERLAY: &str = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";

/// How names of upstreams are made known to the authority.
#[derive(Debug, Clone)]
pub enum Names {
    /// In a private view of `/etc/hosts`.
    Private {
        /// The file that the authority sees there.
        hosts: PathBuf,
    },
    /// Every upstream is called what the machine is called, and told apart by its port.
    Own {
        /// The machine's name.
        name: String,
        /// Its address.
        address: IpAddr,
    },
}

impl Names {
    /// Makes these names known, if the machine lets us; `dir` keeps the file for it.
    ///
    /// # Errors
    /// When neither way works, with what to do.
    pub fn stage(dir: &Path, entries: &[(&str, IpAddr)]) -> io::Result<Self> {
        let hosts = dir.join("hosts");
        let mut text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        for (name, address) in entries {
            write!(text, "\n{address} {name}").expect("writing to a string cannot fail");
        }
        text.push('\n');
        std::fs::write(&hosts, text)?;
        let private = Self::Private { hosts };
        let mut probe = private.command(OsStr::new("true"));
        let works = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if works.is_ok_and(|status| status.success()) {
            return Ok(private);
        }
        own_name().ok_or_else(|| {
            io::Error::other(
                "upstreams need a host name that is not localhost: run as root (a private /etc/hosts is then \
                 possible), or give this machine a name that resolves to one of its addresses",
            )
        })
    }

    /// What an upstream that wants to be called `wanted` is called.
    #[must_use]
    pub fn host(&self, wanted: &str) -> String {
        match self {
            Self::Private { .. } => wanted.to_owned(),
            Self::Own { name, .. } => name.clone(),
        }
    }

    /// Where upstreams listen.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Private { .. } => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::Own { address, .. } => *address,
        }
    }

    /// Whether any name can be given to any address.
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Private { .. })
    }

    /// What stands in front of the authority's command line; it keeps its process id.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        match self {
            Self::Private { hosts } => {
                let hosts = hosts.display().to_string();
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", OVERLAY, "sh", &hosts]
                    .map(str::to_owned)
                    .to_vec()
            }
            Self::Own { .. } => Vec::new(),
        }
    }

    /// A command that sees the names.
    #[must_use]
    pub fn command(&self, program: &OsStr) -> Command {
        command(&self.prefix(), program)
    }
}

/// A program behind what stands in front of it.
#[must_use]
pub fn command(prefix: &[String], program: &OsStr) -> Command {
    let Some((first, rest)) = prefix.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// The machine's name, when it resolves to an address of the machine and is not one that clients keep from proxies.
fn own_name() -> Option<Names> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_ascii_lowercase();
    let exempt = name == "localhost" || name.ends_with(".localhost") || name.is_empty();
    let found = if exempt { None } else { (name.as_str(), 0).to_socket_addrs().ok() };
    let bindable = |address: &SocketAddr| address.is_ipv4() && TcpListener::bind(address).is_ok();
    let address = found?.find(bindable)?.ip();
    Some(Names::Own { name, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_where_the_authority_runs_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let names =
            Names::stage(dir.path(), &[("orders.acme.test", names_address())]).expect("a way to name hosts");
        let look_up = |mut command: Command| {
            let output = command.args(["hosts", &names.host("orders.acme.test")]).output().expect("getent");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(look_up(names.command(OsStr::new("getent"))).contains(&names.address().to_string()));
        assert!(!names.is_private() || look_up(Command::new("getent")).is_empty());
    }

    fn names_address() -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
}
