//! Upstreams that misbehave, byte by byte: real TLS (or none), and an answer that the test writes itself.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

use crate::pki::{Flaw, Pki};

/// Largest request head that is read, in bytes.
const HEAD_BYTES_MAX: usize = 1024 * 1024;
/// How long a test may leave a connection silent.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Head {
    /// Number of the connection, from 1.
    pub connection: u64,
    /// All bytes up to the empty line.
    pub bytes: Vec<u8>,
}

impl Head {
    /// Method and target.
    #[must_use]
    pub fn request_line(&self) -> String {
        String::from_utf8_lossy(&self.bytes).lines().next().unwrap_or_default().to_owned()
    }

    /// The target without query.
    #[must_use]
    pub fn path(&self) -> String {
        let line = self.request_line();
        let target = line.split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default().to_owned()
    }

    /// Every value of a field, by its name in lower case.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let fields = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }
}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    Keep,
    /// It is closed in order.
    Close,
    /// It is torn down with a reset.
    Reset,
}

/// Both directions of a connection.
pub trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// Answers one request; what stands in the body is left to read.
pub type Behaviour = dyn Fn(&Head, &mut dyn Duplex) -> io::Result<After> + Send + Sync;

/// One such upstream. It stops taking connections when this is dropped.
pub struct RawUpstream {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate authority to trust, as PEM.
    pub ca_pem: String,
    heads: Arc<Mutex<Vec<Head>>>,
    connections: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl RawUpstream {
    /// Starts one on 127.0.0.1 that answers over TLS with a certificate for these names and 127.0.0.1; with no
    /// flaw given it speaks plain HTTP.
    ///
    /// # Errors
    /// When no port or certificate can be had.
    pub fn start(
        tls: Option<Flaw>,
        names: &[&str],
        behave: impl Fn(&Head, &mut dyn Duplex) -> io::Result<After> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let pki = Pki::new().map_err(io::Error::other)?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let config = tls.map(|flaw| pki.server(&names, flaw)).transpose().map_err(io::Error::other)?;
        let listener = TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
        let upstream = Self {
            address: listener.local_addr()?,
            ca_pem: pki.pem().to_owned(),
            heads: Arc::default(),
            connections: Arc::default(),
            stopped: Arc::default(),
        };
        let behave: Arc<Behaviour> = Arc::new(behave);
        let (heads, connections, stopped) =
            (upstream.heads.clone(), upstream.connections.clone(), upstream.stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let connection = connections.fetch_add(1, Ordering::Relaxed) + 1;
                let (config, heads, behave) = (config.clone(), heads.clone(), behave.clone());
                std::thread::spawn(move || {
                    // What the other side does to the connection is part of the test, not a failure of this one.
                    let _ = serve(stream, config, connection, &heads, &*behave);
                });
            }
        });
        Ok(upstream)
    }

    /// Every request head that arrived so far.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The heads of requests for this path.
    #[must_use]
    pub fn heads_of(&self, path: &str) -> Vec<Head> {
        self.heads().into_iter().filter(|head| head.path() == path).collect()
    }

    /// Connections that were accepted so far, whether or not a request came.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Writes the certificate authority to a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_ca(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, &self.ca_pem)
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    config: Option<Arc<rustls::ServerConfig>>,
    connection: u64,
    heads: &Mutex<Vec<Head>>,
    behave: &Behaviour,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(READ_TIME_MAX))?;
    let socket = stream.try_clone()?;
    let mut duplex: Box<dyn Duplex> = match config {
        Some(config) => {
            let tls = ServerConnection::new(config).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(tls, stream))
        }
        None => Box::new(stream),
    };
    loop {
        let head = Head { connection, bytes: read_head(&mut duplex)? };
        heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let after = behave(&head, &mut duplex)?;
        duplex.flush()?;
        match after {
            After::Keep => {}
            After::Close => return socket.shutdown(std::net::Shutdown::Both),
            After::Reset => {
                rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
                return Ok(());
            }
        }
    }
}

/// Reads byte by byte, so that nothing of the body is taken.
fn read_head(from: &mut dyn Duplex) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the head has no end"));
        }
    }
    Ok(head)
}
