//! The directory of one run: certificate bundle and start-up files, for its owner alone, gone when the run is over.
//! Nothing outside of it is written, so that two runs never meet.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::bundle::Bundle;
use super::environment::Wiring;
use super::trust_store;
use crate::config::paths::{private_dir, write_private};

/// A directory that is removed when this is dropped. It is locked as long as its runner lives, so that another runner
/// knows what was left behind without asking for a process id, which may be another process's by then.
pub(crate) struct RunDir {
    path: PathBuf,
    /// Locked; commands do not inherit it.
    _lock: File,
}

impl RunDir {
    /// Makes the directory of this run below `runs`, and removes those whose runner is gone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(runs: &Path) -> io::Result<Self> {
        private_dir(runs)?;
        // Nobody sweeps between the making of a directory and its lock.
        let making = File::open(runs)?;
        making.lock()?;
        sweep(runs);
        let random: [u8; 4] = random();
        let name = format!("{}-{}", std::process::id(), u32::from_be_bytes(random));
        let path = runs.join(name);
        std::fs::DirBuilder::new().recursive(false).create(&path)?;
        private_dir(&path)?;
        let lock = File::open(&path)?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Writes what the command's clients read.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn fill(wiring: &Wiring, bundle: &Bundle, own_wgetrc: &str) -> io::Result<()> {
    let pem = wiring.bundle();
    write_private(&pem, bundle.to_pem().as_bytes())?;
    write_private(&wiring.trust_store(), &trust_store::encode(bundle.certificates()))?;
    let wgetrc = format!("{own_wgetrc}\nca_certificate = {}\n", pem.display());
    write_private(&wiring.wgetrc(), wgetrc.trim_start().as_bytes())?;
    private_dir(&wiring.php_dir())?;
    let ini = format!("curl.cainfo = \"{0}\"\nopenssl.cafile = \"{0}\"\n", pem.display());
    write_private(&wiring.php_dir().join("accredit.ini"), ini.as_bytes())
}

/// Removes what runners that were killed left behind.
fn sweep(runs: &Path) {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    for entry in entries {
        let left = File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok());
        if left {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn random() -> [u8; 4] {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wiring(dir: &Path) -> Wiring {
        Wiring { port: 1, task: "t_1".to_owned(), dir: dir.to_owned(), base_urls: vec![], keep: vec![] }
    }

    #[test]
    fn two_runs_share_no_file_and_leave_none() {
        let home = tempfile::tempdir().expect("a directory");
        let runs = home.path().join("runs");
        let (one, two) = (RunDir::new(&runs).expect("one"), RunDir::new(&runs).expect("two"));
        assert_ne!(one.path(), two.path());
        for run in [&one, &two] {
            fill(&wiring(run.path()), &Bundle::default(), "timeout = 5").expect("files");
        }
        drop(one);
        let wgetrc = std::fs::read_to_string(wiring(two.path()).wgetrc()).expect("the other's file");
        assert!(wgetrc.starts_with("timeout = 5\nca_certificate = "), "{wgetrc}");
        drop(two);
        assert_eq!(std::fs::read_dir(&runs).expect("a listing").count(), 0);
    }

    #[test]
    fn what_a_killed_runner_left_is_removed_by_the_next() {
        let home = tempfile::tempdir().expect("a directory");
        let runs = home.path().join("runs");
        let gone = runs.join(format!("{}-1", std::process::id())); // whoever has that process id now
        std::fs::create_dir_all(gone.join("php")).expect("a stale directory");
        let alive = RunDir::new(&runs).expect("a new one");
        assert!(!gone.exists() && alive.path().exists());
        RunDir::new(&runs).expect("another");
        assert!(alive.path().exists(), "a live runner keeps its directory");
    }
}
