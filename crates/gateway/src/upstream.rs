//! The way to an upstream: resolve, judge the address that will be dialled, verify the certificate,
//! and keep idle connections apart by everything that makes them different (R2, R5, R19).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use accredit_core::digest::Digest;
use accredit_core::host::{Endpoint, Scheme};
use accredit_core::record::Permit;
use bytes::Bytes;
use http::Response;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::bounds::{
    DIAL_TIME_MAX, FREE_TIME_MAX, IDLE_UPSTREAM_TIME_MAX, IDLE_UPSTREAMS_MAX, IDLE_UPSTREAMS_PER_KEY_MAX,
    RESPONSE_FIELDS_MAX, RESPONSE_HEAD_BYTES_MAX,
};
use crate::http::address::{Dialable, Reach};

/// Private trust anchors kept ready, by digest of their PEM.
const TRUST_CONFIGS_MAX: usize = 256;

/// The body of a request on its way upstream.
pub(crate) type OutBody = BoxBody<Bytes, std::io::Error>;

/// Why an upstream was not reached. Nothing was sent to it.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host has no address.
    #[error("the host does not resolve")]
    Resolve,
    /// It has addresses, and none may be dialled.
    #[error("the host resolves to an address that this resource may not reach")]
    Address,
    /// Nobody answers.
    #[error("the host does not answer")]
    Connect,
    /// The certificate is not one for this host that we trust.
    #[error("the host's certificate cannot be verified")]
    Tls,
    /// It took too long.
    #[error("the host did not answer in time")]
    Timeout,
    /// The resource's trust anchors are broken.
    #[error("the resource's certificate authorities cannot be read")]
    Trust,
}

impl DialError {
    /// The stable word for the ledger.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Resolve => "resolve_failed",
            Self::Address => "address_refused",
            Self::Connect => "connect_failed",
            Self::Tls => "tls_failed",
            Self::Timeout => "dial_timeout",
            Self::Trust => "trust_broken",
        }
    }
}

/// Everything that makes one upstream connection different from another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    tenant: String,
    resource: String,
    credential: Option<(String, u32)>,
    endpoint: Endpoint,
    trust: Option<Digest>,
    private_network: bool,
}

impl Key {
    pub(crate) fn of(permit: &Permit) -> Self {
        let facts = permit.decision().prepared().facts();
        let resource = facts.target.as_ref().map(|t| &t.resource);
        Self {
            tenant: facts.tenant.to_string(),
            resource: resource.map(|r| r.name.to_string()).unwrap_or_default(),
            credential: permit.credential().map(|c| (c.name.to_string(), c.secret_version.unwrap_or(0))),
            endpoint: permit.endpoint().clone(),
            trust: resource.and_then(|r| r.ca_pem.as_ref()).map(|pem| Digest::of(pem.as_bytes())),
            private_network: resource.is_some_and(|r| r.private_network),
        }
    }
}

/// A connection to an upstream, for one exchange at a time.
pub(crate) struct Connection {
    sender: SendRequest<OutBody>,
    /// Moves the bytes.
    driver: JoinHandle<()>,
}

impl Connection {
    /// Sends a request. When nothing of it was sent, it comes back with the error.
    pub(crate) fn send(
        &mut self,
        request: http::Request<OutBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<http::Request<OutBody>>>> + use<> {
        self.sender.try_send_request(request)
    }

    /// Whether every byte of the exchange went out and came in, so that another one may use the connection.
    pub(crate) async fn is_free(&mut self) -> bool {
        let free = tokio::time::timeout(FREE_TIME_MAX, self.sender.ready()).await;
        matches!(free, Ok(Ok(())))
    }

    /// Ends the connection. Not one byte goes out on it any more when this returns, whatever was still waiting: an
    /// exchange that is cut is over only then (I4).
    pub(crate) async fn break_off(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Upstream connections of this process.
pub struct Upstreams {
    system_trust: Arc<rustls::ClientConfig>,
    private_trust: Mutex<BTreeMap<Digest, Arc<rustls::ClientConfig>>>,
    idle: Mutex<BTreeMap<Key, Vec<Idle>>>,
    own: Vec<SocketAddr>,
}

impl Upstreams {
    /// With the system's trust anchors. `own` lists the addresses that Accredit listens on, which
    /// are never dialled.
    #[must_use]
    pub fn new(own: Vec<SocketAddr>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a system certificate cannot be read");
        }
        let (added, _) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, "system certificates");
        Self {
            system_trust: client_config(roots),
            private_trust: Mutex::default(),
            idle: Mutex::default(),
            own,
        }
    }

    /// A connection that lay idle, if one is still good.
    pub(crate) fn idle(&self, key: &Key) -> Option<Connection> {
        let mut idle = self.lock();
        let kept = idle.get_mut(key)?;
        while let Some(candidate) = kept.pop() {
            if candidate.since.elapsed() < IDLE_UPSTREAM_TIME_MAX && candidate.connection.sender.is_ready() {
                return Some(candidate.connection);
            }
        }
        idle.remove(key);
        None
    }

    /// Keeps a connection whose exchange ended cleanly.
    pub(crate) fn keep(&self, key: Key, connection: Connection) {
        let mut idle = self.lock();
        let total: usize = idle.values().map(Vec::len).sum();
        if total >= IDLE_UPSTREAMS_MAX {
            idle.clear();
        }
        let kept = idle.entry(key).or_default();
        if kept.len() < IDLE_UPSTREAMS_PER_KEY_MAX {
            kept.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes connections that lay idle for too long.
    pub fn sweep(&self) {
        self.lock().retain(|_, kept| {
            kept.retain(|i| i.since.elapsed() < IDLE_UPSTREAM_TIME_MAX && !i.connection.sender.is_closed());
            !kept.is_empty()
        });
    }

    /// A new connection to where the permit says, and nowhere else.
    pub(crate) async fn dial(&self, permit: &Permit) -> Result<Connection, DialError> {
        tokio::time::timeout(DIAL_TIME_MAX, self.dial_slowly(permit)).await.unwrap_or(Err(DialError::Timeout))
    }

    async fn dial_slowly(&self, permit: &Permit) -> Result<Connection, DialError> {
        let endpoint = permit.endpoint();
        let target = permit.decision().prepared().facts().target.as_ref().ok_or(DialError::Address)?;
        let reach = if target.resource.private_network { Reach::Private } else { Reach::Global };
        let stream = self.connect(endpoint, reach).await?;
        match endpoint.scheme {
            Scheme::Http => handshake(stream).await,
            Scheme::Https => {
                let config = self.trust(target.resource.ca_pem.as_deref())?;
                let name = ServerName::try_from(endpoint.host.to_string()).map_err(|_| DialError::Tls)?;
                let connector = tokio_rustls::TlsConnector::from(config);
                let stream = connector.connect(name, stream).await.map_err(|error| {
                    tracing::info!(host = %endpoint.host, %error, "an upstream's certificate is not accepted");
                    DialError::Tls
                })?;
                handshake(stream).await
            }
        }
    }

    /// Connects to an address that was judged: the one that is checked is the one that is dialled.
    async fn connect(&self, endpoint: &Endpoint, reach: Reach) -> Result<TcpStream, DialError> {
        let found: Vec<SocketAddr> = match endpoint.host.address() {
            Some(ip) => vec![SocketAddr::new(ip, endpoint.port)],
            None => tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port))
                .await
                .map_err(|_| DialError::Resolve)?
                .collect(),
        };
        if found.is_empty() {
            return Err(DialError::Resolve);
        }
        let mut outcome = DialError::Address;
        for address in found {
            let Ok(dialable) = Dialable::check(address, reach, &self.own) else { continue };
            match TcpStream::connect(dialable.address()).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(_) => outcome = DialError::Connect,
            }
        }
        Err(outcome)
    }

    fn trust(&self, pem: Option<&str>) -> Result<Arc<rustls::ClientConfig>, DialError> {
        let Some(pem) = pem else { return Ok(self.system_trust.clone()) };
        let digest = Digest::of(pem.as_bytes());
        let mut kept = self.private_trust.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = kept.get(&digest) {
            return Ok(config.clone());
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| DialError::Trust)?;
            roots.add(certificate).map_err(|_| DialError::Trust)?;
        }
        if roots.is_empty() {
            return Err(DialError::Trust);
        }
        if kept.len() >= TRUST_CONFIGS_MAX {
            kept.clear();
        }
        let config = client_config(roots);
        kept.insert(digest, config.clone());
        Ok(config)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TLS 1.2 or 1.3, verified against these roots; there is no switch to turn that off. Sessions are
/// not resumed, so that every connection verifies the certificate again (R19).
fn client_config(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn handshake<S>(stream: S) -> Result<Connection, DialError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(RESPONSE_FIELDS_MAX)
        .max_buf_size(RESPONSE_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| DialError::Connect)?;
    // The connection lives as long as its sender and the response that it carries.
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
    Ok(Connection { sender, driver })
}
