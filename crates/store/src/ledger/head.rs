//! The head kept outside the database: one small file, replaced as a whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use accredit_ledger::head::{HEAD_BYTES_MAX, Head};

/// Why the head outside the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadFileError {
    /// The file cannot be read or written.
    #[error("the ledger head in `{path}` cannot be read or written: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not a head.
    #[error("`{0}` does not hold a ledger head")]
    Malformed(PathBuf),
}

pub(crate) struct HeadFile {
    path: PathBuf,
}

impl HeadFile {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The head, or `None` when there is no file.
    pub(crate) fn read(&self) -> Result<Option<Head>, HeadFileError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        let mut text = String::new();
        // One byte more than allowed, so that a longer file is not taken for its beginning.
        match file.take(HEAD_BYTES_MAX as u64 + 1).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(self.malformed()),
            Err(error) => return Err(self.io(error)),
        }
        Head::parse(&text).map(Some).map_err(|_| self.malformed())
    }

    /// Replaces the head. Durable when this returns: the file before its name, the name before the return.
    pub(crate) fn write(&self, head: &Head) -> Result<(), HeadFileError> {
        let new = self.beside("new");
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(head.encode().as_bytes())?;
            file.sync_all()
        });
        written
            .and_then(|()| fs::rename(&new, &self.path))
            .and_then(|()| self.sync_directory())
            .map_err(|e| self.io(e))
    }

    /// Puts the present file aside as evidence of the history that was given up.
    pub(crate) fn put_aside(&self, epoch: u64) -> Result<(), HeadFileError> {
        match fs::rename(&self.path, self.beside(&format!("before-epoch-{epoch}"))) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.io(error)),
            _ => self.sync_directory().map_err(|e| self.io(e)),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(ending);
        name.into()
    }

    fn sync_directory(&self) -> std::io::Result<()> {
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, error: std::io::Error) -> HeadFileError {
        HeadFileError::Io { path: self.path.clone(), error }
    }

    fn malformed(&self) -> HeadFileError {
        HeadFileError::Malformed(self.path.clone())
    }
}

#[cfg(test)]
mod tests {
    use accredit_ledger::hash::empty_root;

    use super::*;

    #[test]
    fn a_head_is_replaced_as_a_whole_and_a_half_written_one_is_not_a_head() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = HeadFile::new(directory.path().join("head"));
        assert!(file.read().expect("absent").is_none());
        let head = |size| Head::new("a.test/ledger", 0, size, empty_root()).expect("a head");
        for size in [1, 2] {
            file.write(&head(size)).expect("written");
            assert_eq!(file.read().expect("read").map(|h| h.size()), Some(size));
        }
        let text = head(2).encode();
        for bad in [&text.as_bytes()[..text.len() - 1], b"", b"\xff\xfe", &[b'x'; 5_000]] {
            fs::write(directory.path().join("head"), bad).expect("written");
            assert!(matches!(file.read(), Err(HeadFileError::Malformed(_))), "{bad:?}");
        }
    }
}
