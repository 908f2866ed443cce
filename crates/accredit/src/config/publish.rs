//! `[audit.publish]`: where the ledger is published. Keys of a bucket are references: the configuration holds where they
//! are, and they are read when the server starts.

use std::collections::BTreeMap;
use std::time::Duration;

use accredit_publish::target::REGION_DEFAULT;
use accredit_publish::{Keys, Place};
use zeroize::Zeroizing;

use super::document::{ConfigError, Section};
use super::duration;
use super::references::{self, ReferenceError};
use super::server::public_url;

/// How often the newest head is published unless something else is said: each time makes some partial files.
const EVERY_S_DEFAULT: u64 = 5;
/// Longest pause between publications: beyond that it is a backup and not a publication.
const EVERY_S_MAX: u64 = 3_600;

/// Where the ledger is published, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublishConfig {
    /// The place.
    pub(crate) to: Place,
    /// How often.
    pub(crate) every: Duration,
    /// What a bucket needs.
    bucket: Option<BucketConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct BucketConfig {
    endpoint: Option<String>,
    region: String,
    access_key: String,
    secret_key: String,
}

impl PublishConfig {
    /// The keys, read from where they are. `None` for a directory.
    ///
    /// # Errors
    /// [`ReferenceError`]; it never carries a value.
    pub(crate) fn keys(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Keys>, ReferenceError> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let read = |reference: &str| references::resolve(reference, environment).map(Zeroizing::new);
        Ok(Some(Keys {
            endpoint: bucket.endpoint.clone(),
            region: bucket.region.clone(),
            access_key: read(&bucket.access_key)?,
            secret_key: read(&bucket.secret_key)?,
        }))
    }
}

/// Reads the section; `None` when nothing is written.
pub(crate) fn read(mut section: Section<'_>) -> Result<Option<PublishConfig>, ConfigError> {
    if !section.is_present() {
        return Ok(None);
    }
    let to = section.parsed("to", Place::parse)?;
    let every = section.parsed("every", every)?.unwrap_or(EVERY_S_DEFAULT);
    let (endpoint, region) = (section.parsed("endpoint", public_url)?, section.text("region")?);
    let (access_key, secret_key) = (section.reference("access_key")?, section.reference("secret_key")?);
    let to = section.required("to", to)?;
    let given = [
        ("endpoint", endpoint.is_some()),
        ("region", region.is_some()),
        ("access_key", access_key.is_some()),
        ("secret_key", secret_key.is_some()),
    ];
    let bucket = match &to {
        Place::Directory(_) => {
            if let Some((extra, _)) = given.into_iter().find(|(_, there)| *there) {
                return Err(section.wrong(None, extra, "it has no meaning for a directory"));
            }
            None
        }
        Place::Bucket { .. } => Some(BucketConfig {
            endpoint,
            region: region.unwrap_or_else(|| REGION_DEFAULT.to_owned()),
            access_key: section.required("access_key", access_key)?,
            secret_key: section.required("secret_key", secret_key)?,
        }),
    };
    section.finish()?;
    Ok(Some(PublishConfig { to, every: Duration::from_secs(every), bucket }))
}

fn every(text: &str) -> Result<u64, String> {
    let seconds = duration::parse_s(text)?;
    if seconds > EVERY_S_MAX { Err("at most an hour".to_owned()) } else { Ok(seconds) }
}
