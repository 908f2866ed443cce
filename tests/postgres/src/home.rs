//! A directory that goes when its test goes, together with the servers, mounts and network namespaces that belong to it.
//!
//! A test ends in many ways: it returns, panics, is killed, or its process exits while a static still holds the
//! directory. So a guardian process waits for the end of a pipe that only the test holds open, and then removes
//! everything. Should the guardian be killed as well, the next test finds the directory unlocked and removes it.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use crate::programs::{self, User};

/// What every home's name starts with.
const PREFIX: &str = "accredit-home-";
/// Locked for as long as the test lives.
const LOCK: &str = "lock";
/// Stops servers, unmounts, deletes.
const REMOVE: &str = include_str!("remove.sh");

/// One such directory. Everything in it is gone when this has been dropped.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    user: Option<User>,
    guardian: Child,
    _lock: File,
}

impl Home {
    /// A new directory below the system's temporary one. Homes that dead tests left behind are removed first.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        static REAPED: Once = Once::new();
        REAPED.call_once(|| reap(&std::env::temp_dir()));
        Self::below(&std::env::temp_dir())
    }

    #[track_caller]
    fn below(parent: &Path) -> Self {
        // Another test may look at the directory between its creation and its lock, and take it for a stale one.
        for _ in 0..10 {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).expect("a directory");
            let path = dir.keep();
            let lock = File::create(path.join(LOCK));
            if let Ok(lock) = lock
                && lock.try_lock().is_ok()
            {
                let guardian = guard(&path);
                let home = Self { path, user: programs::user(), guardian, _lock: lock };
                // Others may pass through to what is theirs, and not list it.
                home.give(&home.path, 0o711);
                return home;
            }
        }
        panic!("no directory below `{}` stays where it was made", parent.display());
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory that the servers' user owns, here or anywhere else.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub fn make_dir(&self, path: &Path) {
        std::fs::create_dir_all(path).expect("a directory");
        self.give(path, 0o700);
    }

    /// Writes a file that only the servers' user may read.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::write(&path, text).expect("a file in an own directory");
        self.give(&path, 0o600);
        path
    }

    #[track_caller]
    fn give(&self, path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod of an own file");
        if let Some(User { uid, gid }) = self.user {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).expect("root may give files away");
        }
    }

    /// Notes a network namespace that is removed with this home. Call it before the namespace is made.
    ///
    /// # Panics
    /// When it cannot be noted.
    #[track_caller]
    pub fn owns_namespace(&self, name: &str) {
        let mut list = File::options()
            .create(true)
            .append(true)
            .open(self.path.join("namespaces"))
            .expect("a list in an own directory");
        writeln!(list, "{name}").expect("a line in an own file");
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// Starts the process that removes the home when its input ends.
fn guard(home: &Path) -> Child {
    let mut sh = Command::new("sh");
    sh.args(["-c", REMOVE, "remove.sh"]).arg(home).current_dir("/");
    // A group of its own: what ends the test from a terminal must not end this.
    sh.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    sh.spawn().expect("a shell can be started")
}

/// Removes the homes that nobody holds locked any more.
fn reap(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        match lock.try_lock() {
            Ok(()) => {
                let mut guardian = guard(&path);
                drop(guardian.stdin.take());
                let _ = guardian.wait();
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_goes_with_its_owner() {
        let home = Home::new();
        let path = home.path().to_owned();
        home.write("note", "x");
        assert!(path.join("note").exists());
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn a_home_that_nobody_holds_is_reaped_and_one_that_is_held_stays() {
        let parent = tempfile::tempdir().expect("a directory");
        let held = Home::below(parent.path());
        let stale = parent.path().join(format!("{PREFIX}stale"));
        std::fs::create_dir(&stale).expect("a directory");
        std::fs::write(stale.join(LOCK), "").expect("a file");
        reap(parent.path());
        assert!(!stale.exists(), "nobody holds it");
        assert!(held.path().exists(), "its owner lives");
    }
}
