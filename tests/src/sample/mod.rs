//! The sample service: a real HTTPS server that accepts one key and nothing else, with a small order book, streams, a
//! slow download, and git repositories behind a real `git http-backend`. It knows nothing of Accredit.
//!
//! It listens on two ports with one key: the API and, for git, a port of its own. Both write one [`effects`] log.

mod bodies; //      bodies that take their time
pub mod effects; // what the service did
mod git;
mod keys; //        the one key
mod service; //     the API //         repositories through `git http-backend`

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::pki::{Flaw, Pki};
use effects::EffectLog;
use keys::Key;
use service::Service;

/// Time for a TLS handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// What a sample service is told.
pub struct SampleConfig {
    /// The one key.
    pub key: String,
    /// Host name of the API, for its URL and certificate.
    pub host: String,
    /// Host name of the git server; the same as `host` where only one name can be had.
    pub git_host: String,
    /// Address to listen on.
    pub address: IpAddr,
    /// Port of the API; 0 for a free one.
    pub port: u16,
    /// Directory for certificate, effect log and repositories.
    pub dir: PathBuf,
    /// Repositories to make, each with one commit.
    pub repositories: Vec<String>,
}

impl SampleConfig {
    /// A service on 127.0.0.1 with a free port and one repository, `shop`.
    #[must_use]
    pub fn new(key: &str, dir: &Path) -> Self {
        Self {
            key: key.to_owned(),
            host: "127.0.0.1".to_owned(),
            git_host: "127.0.0.1".to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            dir: dir.to_owned(),
            repositories: vec!["shop".to_owned()],
        }
    }
}

/// A running sample service. It stops when this is dropped.
pub struct Sample {
    /// `https://HOST:PORT` of the API.
    pub url: String,
    /// `https://HOST:PORT` of the git server; repositories are at `/git/NAME.git`.
    pub git_url: String,
    /// Where the API listens.
    pub address: SocketAddr,
    /// Where the git server listens.
    pub git_address: SocketAddr,
    /// The certificate authority that its certificates come from, as PEM.
    pub ca_pem_path: PathBuf,
    /// The effect log.
    pub effects_path: PathBuf,
    /// The directory that repositories are in.
    pub repositories_path: PathBuf,
    runtime: Option<Runtime>,
}

impl Sample {
    /// Starts a service and waits until it listens.
    ///
    /// # Errors
    /// When a file cannot be written, a port cannot be had, or git is missing.
    pub fn start(config: SampleConfig) -> io::Result<Self> {
        std::fs::create_dir_all(&config.dir)?;
        let pki = Pki::new().map_err(io::Error::other)?;
        let ca_pem_path = config.dir.join("ca.pem");
        std::fs::write(&ca_pem_path, pki.pem())?;
        let names = [&config.host, &config.git_host, "127.0.0.1", "localhost"].map(|name| name.to_owned());
        let tls = TlsAcceptor::from(pki.server(&names, Flaw::None).map_err(io::Error::other)?);
        let effects_path = config.dir.join("effects.jsonl");
        let repositories_path = config.dir.join("repositories");
        for name in &config.repositories {
            git::create(&repositories_path, name)?;
        }
        let service = Arc::new(Service {
            key: Key::new(config.key),
            effects: Arc::new(EffectLog::open(&effects_path)?),
            repositories: repositories_path.clone(),
            orders: AtomicU64::new(1000),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("sample")
            .enable_all()
            .build()?;
        let connections = Arc::new(AtomicU64::new(0));
        let listen = |port| runtime.block_on(TcpListener::bind(SocketAddr::new(config.address, port)));
        let (api, git) = (listen(config.port)?, listen(0)?);
        let (address, git_address) = (api.local_addr()?, git.local_addr()?);
        for listener in [api, git] {
            runtime.spawn(accept(listener, tls.clone(), service.clone(), connections.clone()));
        }
        Ok(Self {
            url: format!("https://{}:{}", config.host, address.port()),
            git_url: format!("https://{}:{}", config.git_host, git_address.port()),
            address,
            git_address,
            ca_pem_path,
            effects_path,
            repositories_path,
            runtime: Some(runtime),
        })
    }

    /// What the service did so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn effects(&self) -> io::Result<Vec<effects::Effect>> {
        effects::read(&self.effects_path)
    }

    /// Makes another repository with one commit.
    ///
    /// # Errors
    /// When git fails.
    pub fn create_repository(&self, name: &str) -> io::Result<()> {
        git::create(&self.repositories_path, name)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, service: Arc<Service>, connections: Arc<AtomicU64>) {
    loop {
        // Out of descriptors for a moment: the next attempt may do.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let connection = connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (tls, service) = (tls.clone(), service.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)).await else {
                return;
            };
            let answer = service_fn(|request| {
                let service = service.clone();
                async move {
                    Ok::<_, std::convert::Infallible>(service.answer(request, connection, peer.ip()).await)
                }
            });
            // A client that goes away is none of our business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
