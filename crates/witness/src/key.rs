//! The witness's secret key in its file, in the form that Go's `sumdb/note` writes: `PRIVATE+KEY+<name>+<id>+<key>`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use accredit_ledger::note::{Cosigner, KEY_BYTES, NoteError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const PREFIX: &str = "PRIVATE+KEY+";
/// Signature type of a cosigner's Ed25519 key (C2SP tlog-cosignature).
const COSIGNER_TYPE: u8 = 0x04;
/// Longest key file in bytes: a name of 512, a key, marks.
const FILE_BYTES_MAX: u64 = 1024;

/// Why the key of a witness cannot be used. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("the key in `{path}` cannot be read or written: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others may read the file.
    #[error("the key in `{path}` has mode {mode:o}: only its owner may read it (chmod 600)")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold the key of a witness.
    #[error("`{0}` does not hold the key of a witness")]
    Malformed(PathBuf),
    /// The name cannot be that of a key.
    #[error(transparent)]
    Name(NoteError),
}

/// Makes the key with this name and seed, in a new file that only its owner may read.
pub(crate) fn create(path: &Path, name: &str, seed: &[u8; KEY_BYTES]) -> Result<Cosigner, KeyFileError> {
    let cosigner = Cosigner::from_seed(name, seed).map_err(KeyFileError::Name)?;
    let material = Zeroizing::new([&[COSIGNER_TYPE][..], seed].concat());
    let id = u32::from_be_bytes(cosigner.verifier().id());
    let secret = Zeroizing::new(STANDARD.encode(material));
    let text = Zeroizing::new(format!("{PREFIX}{name}+{id:08x}+{}\n", *secret));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(|error| KeyFileError::Io { path: path.to_owned(), error })?;
    Ok(cosigner)
}

/// Reads the key, if only its owner may.
pub(crate) fn read(path: &Path) -> Result<Cosigner, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io)?;
    parse(&text).ok_or_else(|| KeyFileError::Malformed(path.to_owned()))
}

fn parse(text: &str) -> Option<Cosigner> {
    let mut parts = text.trim_end_matches('\n').strip_prefix(PREFIX)?.splitn(3, '+');
    let (name, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let material = Zeroizing::new(STANDARD.decode(secret).ok()?);
    let (first, seed) = material.split_first()?;
    let cosigner = Cosigner::from_seed(name, seed.try_into().ok()?).ok()?;
    let fits =
        *first == COSIGNER_TYPE && format!("{:08x}", u32::from_be_bytes(cosigner.verifier().id())) == id;
    fits.then_some(cosigner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_read_back_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        let made = create(&path, "witness.example/w1", &[3; 32]).expect("a key");
        assert_eq!(read(&path).expect("the key").verifier(), made.verifier());
        assert!(matches!(create(&path, "witness.example/w1", &[4; 32]), Err(KeyFileError::Io { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(read(&path), Err(KeyFileError::Permissions { mode: 0o640, .. })));
    }

    #[test]
    fn what_is_not_a_witness_key_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        create(&path, "witness.example/w1", &[3; 32]).expect("a key");
        let text = std::fs::read_to_string(&path).expect("its text");
        for bad in [
            String::new(),
            text.replacen("w1", "w2", 1),
            text.replacen("PRIVATE", "PUBLIC", 1),
            text.replacen("+BA", "+AQ", 1),
            text[..text.len() - 5].to_owned(),
        ] {
            assert!(parse(&bad).is_none(), "{}", bad.len());
        }
    }
}
