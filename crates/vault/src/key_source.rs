//! Where the key-encryption key comes from: a file, an inherited descriptor or a systemd credential.

use std::fs::File;
use std::io::Read;
use std::os::fd::RawFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::KeyId;

/// Longest key file read, in bytes: 64 hexadecimal digits and some white space.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// The key-encryption key: 32 bytes that never reach the database.
pub struct KeyEncryptionKey(pub(crate) Zeroizing<[u8; 32]>);

impl KeyEncryptionKey {
    /// The key made of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(self.0.as_ref())
    }

    /// Parses 32 raw bytes or 64 hexadecimal digits.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
            return Some(Self::new(raw));
        }
        let digits = bytes.trim_ascii();
        if digits.len() != 64 {
            return None;
        }
        let mut key = Zeroizing::new([0; 32]);
        for (out, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *out = (high << 4 | low) as u8;
        }
        Some(Self(key))
    }
}

/// Where to read the key-encryption key from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file of 32 bytes or 64 hexadecimal digits, readable by its owner alone.
    File(PathBuf),
    /// A descriptor that the starting process left open.
    Descriptor(RawFd),
    /// A credential that systemd passes (`LoadCredential=`), by name.
    Systemd(String),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// It cannot be read.
    #[error("the key `{from}` cannot be read: {cause}")]
    Read {
        /// Where it should be.
        from: String,
        /// Why.
        cause: std::io::Error,
    },
    /// Others may read it.
    #[error("the key `{path}` has mode {mode:o}: only its owner may read it (chmod 600)")]
    Permissions {
        /// The file.
        path: String,
        /// Its mode bits.
        mode: u32,
    },
    /// It is not a key.
    #[error("the key `{0}` is not 32 bytes or 64 hexadecimal digits")]
    NotAKey(String),
    /// systemd passes no credentials.
    #[error("systemd passes no credentials: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials,
}

impl KeySource {
    /// Reads the key.
    ///
    /// # Errors
    /// [`KeySourceError`]; the vault stays sealed.
    pub fn read(&self) -> Result<KeyEncryptionKey, KeySourceError> {
        match self {
            Self::File(path) => from_file(path, true),
            Self::Systemd(name) => {
                let dir = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(KeySourceError::NoCredentials)?;
                // systemd owns the directory and its modes.
                from_file(&Path::new(&dir).join(name), false)
            }
            Self::Descriptor(fd) => {
                let named = format!("descriptor {fd}");
                if *fd <= 2 {
                    return Err(KeySourceError::NotAKey(named));
                }
                // Opened anew by its number and not adopted, so that it can be read again and is nobody else's to close.
                let opened = File::open(format!("/proc/self/fd/{fd}"));
                from_reader(
                    &mut opened.map_err(|cause| KeySourceError::Read { from: named.clone(), cause })?,
                    &named,
                )
            }
        }
    }

    /// Makes a new key file with mode 600 from these random bytes.
    ///
    /// # Errors
    /// When a file stands there already, or it cannot be written and synced.
    pub fn create_file(path: &Path, random: [u8; 32]) -> Result<(), KeySourceError> {
        use std::io::Write as _;
        let failed = |cause| KeySourceError::Read { from: path.display().to_string(), cause };
        let text: Zeroizing<String> =
            Zeroizing::new(Zeroizing::new(random).iter().map(|b| format!("{b:02x}")).collect());
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|d| d.sync_all()).map_err(failed)
    }
}

fn from_file(path: &Path, check_mode: bool) -> Result<KeyEncryptionKey, KeySourceError> {
    let named = path.display().to_string();
    let failed = |cause| KeySourceError::Read { from: named.clone(), cause };
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if check_mode && mode & 0o077 != 0 {
        return Err(KeySourceError::Permissions { path: named, mode });
    }
    from_reader(&mut file, &named)
}

fn from_reader(reader: &mut impl Read, named: &str) -> Result<KeyEncryptionKey, KeySourceError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX as usize + 1));
    reader
        .take(KEY_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| KeySourceError::Read { from: named.to_owned(), cause })?;
    KeyEncryptionKey::parse(&bytes).ok_or_else(|| KeySourceError::NotAKey(named.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    // case: ADM-05
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        KeySource::create_file(&path, [7; 32]).expect("a new key");
        let source = KeySource::File(path.clone());
        assert_eq!(source.read().expect("a key").id(), KeyEncryptionKey::new([7; 32]).id());
        assert!(KeySource::create_file(&path, [8; 32]).is_err(), "an existing key must not be replaced");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(source.read(), Err(KeySourceError::Permissions { mode: 0o644, .. })));
    }

    #[test]
    fn an_inherited_descriptor_is_read_as_often_as_it_is_needed() {
        use std::os::fd::AsRawFd as _;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        KeySource::create_file(&path, [7; 32]).expect("a new key");
        let held = File::open(&path).expect("the key");
        let source = KeySource::Descriptor(held.as_raw_fd());
        for _ in 0..3 {
            assert_eq!(source.read().expect("a key").id(), KeyEncryptionKey::new([7; 32]).id());
        }
        assert!(KeySource::Descriptor(1).read().is_err());
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for bad in [b"".as_slice(), b"short", &[b'g'; 64], &[b'a'; 63], &[b'a'; 300]] {
            assert!(matches!(from_reader(&mut &*bad, "x"), Err(KeySourceError::NotAKey(_))), "{bad:?}");
        }
    }
}
