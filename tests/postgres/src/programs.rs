//! Where PostgreSQL's programs are, and as whom they run.
//!
//! PostgreSQL refuses to run as root. When the tests do, its programs run as the user `postgres` of the package, or as
//! `nobody` where there is none.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where Debian keeps them, one directory for each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Users that own nothing of this machine that matters.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// An unprivileged user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// As whom the programs run: nobody else, unless this is root.
pub(crate) fn user() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").expect("a machine has accounts");
    let found = USERS.iter().find_map(|name| account(&accounts, name));
    Some(found.expect("a machine has the user `nobody`"))
}

fn account(accounts: &str, name: &str) -> Option<User> {
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// The path of one of PostgreSQL's programs.
///
/// # Panics
/// When PostgreSQL is not installed, with what to do.
#[track_caller]
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let dir = FOUND.get_or_init(directory).as_ref();
    dir.expect("PostgreSQL is installed: run scripts/setup-tests").join(name)
}

/// The newest of Debian's versions, or the first on the path that has a server.
fn directory() -> Option<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let debian = versions.map(|entry| entry.path().join("bin")).filter(|dir| dir.join("postgres").exists());
    let version = |dir: &PathBuf| -> Option<u32> { dir.parent()?.file_name()?.to_str()?.parse().ok() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .max_by_key(version)
        .or_else(|| std::env::split_paths(&path).find(|dir| dir.join("postgres").exists()))
}

/// A command that runs as the servers' user, within `prefix` (such as `ip netns exec NAME`), from `dir`.
#[track_caller]
pub(crate) fn command(prefix: &[String], program: impl AsRef<OsStr>, dir: &Path) -> Command {
    let mut words: Vec<String> = prefix.to_vec();
    if let Some(User { uid, gid }) = user() {
        words
            .extend(["setpriv", "--reuid", &uid.to_string(), "--regid", &gid.to_string()].map(str::to_owned));
        words.extend(["--clear-groups", "--"].map(str::to_owned));
    }
    let mut command = match words.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.current_dir(dir).stdin(Stdio::null());
    // What the machine's own PostgreSQL is configured with is nothing to a test.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // Nor are the certificates of whoever runs the tests.
    command.env("LC_ALL", "C.UTF-8").env("HOME", dir);
    command
}

/// Runs a command to its end and gives what it printed.
///
/// # Panics
/// When it fails, with what it said.
#[track_caller]
pub(crate) fn run(mut command: Command) -> String {
    let what = format!("{command:?}");
    let done = command.output().unwrap_or_else(|why| panic!("{what} cannot be started: {why}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{what} failed ({}):\n{said}", done.status);
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts =
            "root:x:0:0::/root:/bin/sh\nmypostgres:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/sh\n";
        let found = account(accounts, "postgres").expect("it is there");
        assert_eq!((found.uid, found.gid), (101, 104));
        assert!(account(accounts, "nobody").is_none());
    }
}
