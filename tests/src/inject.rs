//! Faults that are put into a real process on one machine: failing and slow flushes, a full disk, a clock that jumps.
//! Each counts how often it took effect: a fault that never fired has tested nothing.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{root, signal};

/// How long `strace` may take until it has attached itself.
const ATTACH_TIME_MAX: Duration = Duration::from_secs(10);

/// System calls that make bytes durable.
const FLUSHES: &str = "fsync,fdatasync";

/// Says something to whoever runs the faults by hand: seeds, and how often a fault struck.
pub fn say(text: &str) {
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Pseudo-random numbers that are a pure function of a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Schedule(u64);

impl Schedule {
    /// The schedule of the seed in `ACCREDIT_FAULT_SEED`, or of a new one; it is printed either way.
    #[must_use]
    pub fn announced(what: &str) -> Self {
        let given = std::env::var("ACCREDIT_FAULT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| crate::journal::now_us().unsigned_abs());
        say(&format!("{what}: ACCREDIT_FAULT_SEED={seed}"));
        Self(seed)
    }

    /// The next number from `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from + (mixed ^ (mixed >> 31)) % (to - from + 1)
    }
}

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
    /// Attaches to a process; the fault is in force when this returns.
    ///
    /// # Panics
    /// When `strace` is missing or may not attach.
    #[track_caller]
    #[must_use]
    pub fn inject(pid: u32, what: Flushes, scratch: &Path) -> Self {
        let log = scratch.join(format!("strace-{}", crate::journal::now_us()));
        let effect = match what {
            Flushes::Fail => format!("inject={FLUSHES}:error=EIO"),
            Flushes::Slow(by) => format!("inject={FLUSHES}:delay_enter={}", by.as_micros()),
        };
        let mut tracer = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-e", &format!("trace={FLUSHES}"), "-e", &effect, "-o"])
            .arg(&log)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed: scripts/setup-tests");
        let until = Instant::now() + ATTACH_TIME_MAX;
        while tracer_of(pid).is_none_or(|found| found != tracer.id()) {
            let ended = tracer.try_wait().expect("a child can be waited for");
            assert!(
                ended.is_none() && Instant::now() < until,
                "strace does not attach to process {pid}: {ended:?}"
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
    /// When the tracer cannot be ended.
    pub fn lift(mut self) -> usize {
        self.end();
        self.fired()
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

/// A small disk in memory, mounted until this is dropped.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of this size below `scratch`.
    ///
    /// # Panics
    /// When it cannot be mounted, which only root can.
    #[track_caller]
    #[must_use]
    pub fn mount(scratch: &Path, megabytes: u64) -> Self {
        let path = scratch.join("small-disk");
        std::fs::create_dir_all(&path).expect("a directory");
        let size = format!("size={megabytes}m,mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a disk in memory can be mounted, as root only"
        );
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves not one byte free.
    ///
    /// # Panics
    /// When something else than a full disk stops it.
    pub fn fill(&self) {
        let file = File::create(self.path.join("filler")).expect("a file");
        let piece = vec![b'x'; 64 * 1024];
        let mut at = 0;
        for size in [piece.len(), 4_096, 1] {
            loop {
                match file.write_at(&piece[..size], at) {
                    Ok(n) => at += n as u64,
                    Err(full) => {
                        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
                        break;
                    }
                }
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn empty(&self) {
        std::fs::remove_file(self.path.join("filler")).expect("the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whatever still has a file open there keeps it until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// The wall clock of processes that start with [`ClockShift::environment`].
pub struct ClockShift {
    library: PathBuf,
    shared: PathBuf,
    file: File,
}

impl ClockShift {
    /// Compiles the shim and makes its file.
    ///
    /// # Panics
    /// When there is no C compiler.
    #[track_caller]
    #[must_use]
    pub fn build(scratch: &Path) -> Self {
        let (library, shared) = (scratch.join("clock.so"), scratch.join("clock"));
        let source = root().join("tests/shims/clock.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(built.is_ok_and(|status| status.success()), "cc compiles the shim: scripts/setup-tests");
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&shared);
        let file = file.expect("a file");
        file.write_all_at(&[0; 16], 0).expect("room for two numbers");
        Self { library, shared, file }
    }

    /// What a process must be started with.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let pair = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        vec![pair("LD_PRELOAD", &self.library), pair("CLOCK_SHIFT_FILE", &self.shared)]
    }

    /// Sets the clock off by so many seconds, from now on.
    ///
    /// # Panics
    /// When the file has gone.
    pub fn set_s(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the file is there");
    }

    /// How many readings of the clock were off so far.
    ///
    /// # Panics
    /// When the file has gone.
    #[must_use]
    pub fn fired(&self) -> u64 {
        let mut count = [0; 8];
        self.file.read_exact_at(&mut count, 8).expect("the file is there");
        u64::from_ne_bytes(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_a_function_of_its_seed_and_stays_within_its_bounds() {
        let draw = |seed| {
            let mut schedule = Schedule(seed);
            (0..1_000).map(|_| schedule.between(20, 800)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|ms| (20..=800).contains(ms)));
        assert!(draw(7).iter().any(|ms| *ms < 100) && draw(7).iter().any(|ms| *ms > 700));
    }
}
