//! A wall clock that jumps, in processes that were started for it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::root;

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
        // A process of another user reads the one and counts in it.
        let open = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&shared, open).expect("chmod of an own file");
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
