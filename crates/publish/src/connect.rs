//! HTTPS to an object store: verified against the system's authorities, bounded in time, and no redirect is followed, because
//! it would carry what was signed for one host to another.

use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, Error, Result};

/// Longest time for one request: a bundle has at most 16 MB.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest time for a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Makes clients.
#[derive(Debug)]
pub(crate) struct Connector {
    /// Whether plain HTTP may be spoken: to this machine alone.
    pub(crate) plain: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!self.plain)
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(REQUEST_TIME_MAX)
            .user_agent(concat!("accredit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}
