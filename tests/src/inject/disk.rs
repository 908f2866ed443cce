//! A disk that is full.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
        // Processes of other users pass through to what is theirs.
        let size = format!("size={megabytes}m,mode=711");
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
        // Lazily: whatever still has a file open there keeps it until it ends. It may have gone with its home.
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}
