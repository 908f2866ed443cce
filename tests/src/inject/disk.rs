//! A disk that is full, and one that loses its power.

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

/// A disk with a journaling file system of its own, mounted until this is dropped, that can lose its power: what was not
/// flushed by then is gone, and nothing can be read or written until it is back.
pub struct PowerDisk {
    image: PathBuf,
    path: PathBuf,
}

impl PowerDisk {
    /// Makes and mounts a disk of this size below `scratch`.
    ///
    /// # Panics
    /// When it cannot be made or mounted, which only root can.
    #[track_caller]
    #[must_use]
    pub fn mount(scratch: &Path, megabytes: u64) -> Self {
        let disk = Self { image: scratch.join("power-disk.image"), path: scratch.join("power-disk") };
        std::fs::create_dir_all(&disk.path).expect("a directory");
        let image = File::create(&disk.image).expect("a file");
        image.set_len(megabytes * 1_024 * 1_024).expect("room for a file with holes");
        must(Command::new("mkfs.ext4").arg("-q").arg(&disk.image));
        disk.attach();
        disk
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the power away, with what lies in the memory of the system and was not flushed.
    ///
    /// # Panics
    /// When the file system does not take it.
    #[track_caller]
    pub fn cut(&self) {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
        let shutdown = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        must(Command::new("python3").args(["-c", shutdown]).arg(&self.path));
    }

    /// Gives the power back. Whoever had a file open there must have ended.
    ///
    /// # Panics
    /// When it cannot be mounted again.
    #[track_caller]
    pub fn restore(&self) {
        must(Command::new("umount").arg(&self.path));
        // A copy, because whoever made himself a namespace of mounts meanwhile still holds the one without power.
        let lost = self.image.with_extension("lost");
        std::fs::rename(&self.image, &lost).expect("a file");
        must(Command::new("cp").arg("--sparse=always").args([&lost, &self.image]));
        std::fs::remove_file(&lost).expect("a file");
        self.attach();
    }

    #[track_caller]
    fn attach(&self) {
        must(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.path));
    }
}

#[track_caller]
fn must(command: &mut Command) {
    let ended = command.status();
    assert!(ended.is_ok_and(|status| status.success()), "as root, this succeeds: {command:?}");
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whatever still has a file open there keeps it until it ends. It may have gone with its home.
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}
