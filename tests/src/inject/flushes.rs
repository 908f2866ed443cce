//! Flushes of running processes that fail, or take long.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::must_have_struck;
use crate::harness::signal;

/// How long `strace` may take until it has attached itself.
const ATTACH_TIME_MAX: Duration = Duration::from_secs(10);

/// System calls that make bytes durable.
const FLUSHES: &str = "fsync,fdatasync";

/// What is done to every flush of a process.
#[derive(Debug, Clone, Copy)]
pub enum Flushes {
    /// They fail with an input/output error.
    Fail,
    /// They take this much longer.
    Slow(Duration),
}

/// A fault in the flushes of a running process, until this is dropped.
pub struct FlushFault {
    tracer: Child,
    log: PathBuf,
}

impl FlushFault {
    /// Attaches to processes, and to all that they start from now on; the fault is in force when this returns.
    ///
    /// # Panics
    /// When `strace` is missing or may not attach.
    #[track_caller]
    #[must_use]
    pub fn inject(pids: &[u32], what: Flushes, scratch: &Path) -> Self {
        let log = scratch.join(format!("strace-{}", crate::journal::now_us()));
        let effect = match what {
            Flushes::Fail => format!("inject={FLUSHES}:error=EIO"),
            Flushes::Slow(by) => format!("inject={FLUSHES}:delay_enter={}", by.as_micros()),
        };
        let mut tracer = Command::new("strace")
            .args(["-f", "-e", &format!("trace={FLUSHES}"), "-e", &effect, "-o"])
            .arg(&log)
            .args(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]))
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed: scripts/setup-tests");
        let until = Instant::now() + ATTACH_TIME_MAX;
        while pids.iter().any(|pid| tracer_of(*pid).is_none_or(|found| found != tracer.id())) {
            let ended = tracer.try_wait().expect("a child can be waited for");
            assert!(
                ended.is_none() && Instant::now() < until,
                "strace does not attach to {pids:?}: {ended:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { tracer, log }
    }

    /// How many flushes it has struck so far.
    #[must_use]
    pub fn fired(&self) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)")).count()
    }

    /// Takes the fault away. Gives how many flushes it has struck.
    ///
    /// # Panics
    /// When it has struck none.
    #[track_caller]
    pub fn lift(mut self) -> u64 {
        self.end();
        must_have_struck("flushes", self.fired() as u64)
    }

    fn end(&mut self) {
        if self.tracer.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(self.tracer.id(), Signal::INT);
            let _ = self.tracer.wait();
        }
    }
}

impl Drop for FlushFault {
    fn drop(&mut self) {
        self.end();
    }
}

fn tracer_of(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()
}
