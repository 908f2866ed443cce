//! Processes that stand still, as on a machine that is suspended.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::must_have_struck;
use crate::harness::descendants;

/// How long the processes may take to stand still.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// A process and everything that it started, stopped until this is dropped.
pub struct Pause {
    pids: Vec<u32>,
}

impl Pause {
    /// Stops them; they stand still when this returns.
    ///
    /// # Panics
    /// When one of them goes on.
    #[track_caller]
    #[must_use]
    pub fn of(pid: u32) -> Self {
        // The first one first: it starts no other between the look and the stop.
        let mut pause = Self { pids: Vec::new() };
        pause.stop(pid);
        for below in descendants(pid) {
            pause.stop(below);
        }
        pause
    }

    #[track_caller]
    fn stop(&mut self, pid: u32) {
        self.pids.push(pid);
        let until = Instant::now() + STOP_TIME_MAX;
        send(pid, Signal::STOP);
        while !stands_still(pid) {
            assert!(Instant::now() < until, "process {pid} goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Lets them go on. Gives how many stood still until now.
    ///
    /// # Panics
    /// When none did.
    #[track_caller]
    pub fn lift(self) -> u64 {
        let still = self.pids.iter().filter(|pid| is_stopped(**pid)).count();
        must_have_struck("a pause", still as u64)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        for pid in self.pids.iter().rev() {
            send(*pid, Signal::CONT);
        }
    }
}

/// One that has ended needs no signal.
fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("process ids are small and positive");
    let _ = kill_process(pid, signal);
}

fn stands_still(pid: u32) -> bool {
    is_stopped(pid) || state(pid).is_none_or(|state| state == 'Z')
}

fn is_stopped(pid: u32) -> bool {
    state(pid) == Some('T')
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
