//! Where the ledger is published: a directory or a bucket, and what can be put there.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
};
use zeroize::Zeroizing;

use crate::connect::Connector;

/// Region of a bucket whose region was not named: what S3-compatible stores take.
pub const REGION_DEFAULT: &str = "us-east-1";
/// How often one request is tried again before the whole turn is.
const RETRIES: usize = 2;
/// How long one request is tried again.
const RETRY_TIME_MAX: Duration = Duration::from_secs(30);
/// Largest checkpoint that is read back, in bytes: the longest signed note.
const CHECKPOINT_BYTES_MAX: u64 = 128 * 1024;
/// Longest reason that is kept of what a store said: enough for the code and the message of S3, which come first.
const WHY_CHARS_MAX: usize = 512;
const CHECKPOINT: &str = "checkpoint";

/// A place, as the configuration names it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory on this machine, or mounted there.
    Directory(PathBuf),
    /// A bucket of S3 or of something that speaks like it.
    Bucket {
        /// The bucket.
        name: String,
        /// Path before every file, without slashes at its ends; may be empty.
        prefix: String,
    },
}

/// Why a text is not a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form file:///absolute/directory or s3://bucket[/prefix]")]
pub struct PlaceError(String);

/// What a bucket is asked with. Neither shown nor copied.
///
/// ```compile_fail,E0277
/// fn shown<T: std::fmt::Debug>() {}
/// shown::<accredit_publish::Keys>();
/// ```
pub struct Keys {
    /// Where the bucket is, when it is not at Amazon.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: String,
    /// Identifier of the key.
    pub access_key: Zeroizing<String>,
    /// The key.
    pub secret_key: Zeroizing<String>,
}

/// Why a place cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or opened.
    #[error("`{path}` cannot be published to: {error}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The store cannot be set up.
    #[error("`{place}` cannot be published to: {why}")]
    Store {
        /// Where.
        place: String,
        /// Why. Never holds a key.
        why: String,
    },
    /// The bucket has no keys.
    #[error("a bucket needs an access key and a secret key")]
    NoKeys,
}

/// Why something was not published.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The store did not do it.
    #[error("`{path}` cannot be read or written: {why}")]
    Store {
        /// The file.
        path: String,
        /// Why. Never holds a key.
        why: String,
    },
    /// A file that never changes is there with other bytes.
    #[error("`{0}` is there with other bytes: the place holds another ledger")]
    Other(String),
    /// The checkpoint there is no text, or too long for one.
    #[error("`checkpoint` is there and is no signed head")]
    Checkpoint,
}

impl Place {
    /// Parses `file:///absolute/directory` or `s3://bucket[/prefix]`.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let wrong = || PlaceError(text.to_owned());
        if let Some(path) = text.strip_prefix("file://") {
            let plain = path.starts_with('/') && path.len() > 1 && !path.contains(['?', '#', '%']);
            return if plain { Ok(Self::Directory(path.into())) } else { Err(wrong()) };
        }
        let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let name_fits = (3..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
        let part_fits = |part: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            !part.is_empty() && !matches!(part, "." | "..") && part.bytes().all(allowed)
        };
        let prefix_fits = prefix.is_empty() || prefix.split('/').all(part_fits);
        if !name_fits || !prefix_fits {
            return Err(wrong());
        }
        Ok(Self::Bucket { name: name.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "file://{}", path.display()),
            Self::Bucket { name, prefix } if prefix.is_empty() => write!(f, "s3://{name}"),
            Self::Bucket { name, prefix } => write!(f, "s3://{name}/{prefix}"),
        }
    }
}

/// A place that files are put into.
pub struct Target {
    store: Arc<dyn ObjectStore>,
    place: Place,
}

impl Target {
    /// Sets up a place. A directory is made; a bucket must be there and is not asked yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(place: &Place, keys: Option<&Keys>) -> Result<Self, OpenError> {
        let setup = |error: Error| OpenError::Store { place: place.to_string(), why: error.to_string() };
        let store: Arc<dyn ObjectStore> = match place {
            Place::Directory(path) => {
                std::fs::create_dir_all(path)
                    .map_err(|error| OpenError::Directory { path: path.clone(), error })?;
                // A checkpoint is never on the disk before the files that it needs.
                Arc::new(LocalFileSystem::new_with_prefix(path).map_err(setup)?.with_fsync(true))
            }
            Place::Bucket { name, prefix } => {
                let bucket = bucket(name, keys.ok_or(OpenError::NoKeys)?).map_err(setup)?;
                match prefix.as_str() {
                    "" => Arc::new(bucket),
                    prefix => Arc::new(PrefixStore::new(bucket, Path::from(prefix))),
                }
            }
        };
        Ok(Self { store, place: place.clone() })
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The checkpoint that is there.
    pub(crate) async fn checkpoint(&self) -> Result<Option<String>, PutError> {
        let found = match self.store.get(&Path::from(CHECKPOINT)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(CHECKPOINT, &error)),
        };
        if found.meta.size > CHECKPOINT_BYTES_MAX {
            return Err(PutError::Checkpoint);
        }
        let bytes = found.bytes().await.map_err(|error| failed(CHECKPOINT, &error))?;
        String::from_utf8(bytes.into()).map(Some).map_err(|_| PutError::Checkpoint)
    }

    /// Replaces the checkpoint.
    pub(crate) async fn put_checkpoint(&self, note: String) -> Result<(), PutError> {
        self.put(CHECKPOINT, note.into(), PutMode::Overwrite, "text/plain; charset=utf-8")
            .await
            .map_err(|error| failed(CHECKPOINT, &error))
    }

    /// Puts a file that may be replaced by the same or a better one.
    pub(crate) async fn put_partial(&self, path: &str, bytes: Bytes) -> Result<(), PutError> {
        self.put(path, bytes, PutMode::Overwrite, BYTES).await.map_err(|error| failed(path, &error))
    }

    /// Puts a file that never changes. One that is there already must be the same.
    pub(crate) async fn put_full(&self, path: &str, bytes: Bytes) -> Result<(), PutError> {
        match self.put(path, bytes.clone(), PutMode::Create, BYTES).await {
            Err(Error::AlreadyExists { .. }) => {}
            put => return put.map_err(|error| failed(path, &error)),
        }
        let found = self.store.get(&Path::from(path)).await.map_err(|error| failed(path, &error))?;
        let same = found.meta.size == bytes.len() as u64
            && found.bytes().await.map_err(|error| failed(path, &error))? == bytes;
        if same { Ok(()) } else { Err(PutError::Other(path.to_owned())) }
    }

    /// Removes the narrower versions of a file that is full by now.
    pub(crate) async fn drop_partials(&self, path: &str) -> Result<(), PutError> {
        let under = format!("{path}.p");
        let narrower = self.store.list(Some(&Path::from(under.as_str())));
        let narrower: Vec<_> = narrower.try_collect().await.map_err(|error| failed(&under, &error))?;
        for old in narrower {
            match self.store.delete(&old.location).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(old.location.as_ref(), &error)),
            }
        }
        Ok(())
    }

    async fn put(
        &self,
        path: &str,
        bytes: Bytes,
        mode: PutMode,
        content_type: &'static str,
    ) -> Result<(), Error> {
        let mut options = PutOptions { mode, ..PutOptions::default() };
        if matches!(self.place, Place::Bucket { .. }) {
            options.attributes = Attributes::from_iter([(Attribute::ContentType, content_type)]);
        }
        self.store.put_opts(&Path::from(path), bytes.into(), options).await.map(|_| ())
    }
}

const BYTES: &str = "application/octet-stream";

fn bucket(name: &str, keys: &Keys) -> Result<impl ObjectStore, Error> {
    let plain = keys.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIME_MAX, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(&keys.region)
        .with_access_key_id(keys.access_key.as_str())
        .with_secret_access_key(keys.secret_key.as_str())
        .with_allow_http(plain)
        .with_retry(retry)
        .with_http_connector(Connector { plain });
    if let Some(endpoint) = &keys.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build()
}

fn failed(path: &str, error: &Error) -> PutError {
    PutError::Store { path: path.to_owned(), why: one_line(&error.to_string()) }
}

/// What a store says is somebody else's text: one line of it, of bounded length.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(WHY_CHARS_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_or_a_bucket_and_has_one_name() {
        for text in ["file:///srv/ledger", "s3://acme-ledger", "s3://acme-ledger/prod/accredit"] {
            assert_eq!(Place::parse(text).map(|place| place.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "/srv/ledger",
            "file://srv",
            "file:///",
            "file:///a?b",
            "s3://",
            "s3://a",
            "s3://Upper/x",
            "s3://acme-ledger//x",
            "s3://acme-ledger/../x",
            "s3://key:secret@acme-ledger",
            "gs://acme-ledger",
        ] {
            assert_eq!(Place::parse(text), Err(PlaceError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_a_store_says_is_one_line_of_bounded_length() {
        assert_eq!(one_line("403: <Code>\n\u{1b}[2JAccessDenied"), "403: <Code>  [2JAccessDenied");
        assert_eq!(one_line(&"é".repeat(WHY_CHARS_MAX)), "é".repeat(WHY_CHARS_MAX));
        assert_eq!(one_line(&"é".repeat(WHY_CHARS_MAX + 1)), "é".repeat(WHY_CHARS_MAX));
    }

    #[test]
    fn a_bucket_without_keys_is_not_asked() {
        let place = Place::parse("s3://acme-ledger").expect("a place");
        assert!(matches!(Target::open(&place, None), Err(OpenError::NoKeys)));
    }

    #[tokio::test]
    async fn a_full_file_is_never_replaced_and_a_partial_one_goes_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = Place::parse(&format!("file://{}", dir.path().display())).expect("a place");
        let target = Target::open(&place, None).expect("a target");
        target.put_partial("tile/0/000.p/3", Bytes::from_static(b"abc")).await.expect("put");
        target.put_partial("tile/0/000.p/4", Bytes::from_static(b"abcd")).await.expect("put");
        for _ in 0..2 {
            target
                .put_full("tile/0/000", Bytes::from_static(b"full"))
                .await
                .expect("put, and again the same");
        }
        let other = target.put_full("tile/0/000", Bytes::from_static(b"evil")).await;
        assert!(matches!(other, Err(PutError::Other(path)) if path == "tile/0/000"));
        assert_eq!(std::fs::read(dir.path().join("tile/0/000")).expect("its bytes"), b"full");
        target.drop_partials("tile/0/000").await.expect("gone");
        assert!(!dir.path().join("tile/0/000.p/3").exists());
        assert!(dir.path().join("tile/0/000").exists());
    }

    #[tokio::test]
    async fn a_checkpoint_is_read_back_within_bounds() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = Place::parse(&format!("file://{}", dir.path().display())).expect("a place");
        let target = Target::open(&place, None).expect("a target");
        assert_eq!(target.checkpoint().await.expect("nothing there"), None);
        target.put_checkpoint("one".to_owned()).await.expect("put");
        assert_eq!(target.checkpoint().await.expect("there").as_deref(), Some("one"));
        for bad in [vec![0xff], vec![b'x'; 128 * 1024 + 1]] {
            std::fs::write(dir.path().join("checkpoint"), bad).expect("written");
            assert!(matches!(target.checkpoint().await, Err(PutError::Checkpoint)));
        }
    }
}
