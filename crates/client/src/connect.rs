//! Where a server is, and a connection to it: the local Unix socket, TCP on this machine, TLS elsewhere. There is no
//! switch that turns the verification of certificates off.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::CallError;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// The Unix socket of an authority on this machine.
    Socket(PathBuf),
    /// Plain HTTP, on this machine only.
    Http {
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
    /// HTTP over TLS, verified against the system's authorities.
    Https {
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why a text does not say where a server is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Not an `http` or `https` URL of a host and a port.
    #[error("`{0}` is not the URL of a server: write https://host[:port]")]
    Form(String),
    /// Plain HTTP to another machine.
    #[error("`{0}` is plain HTTP to another machine: write https")]
    Clear(String),
}

impl Server {
    /// Parses `https://host[:port]`, or `http://` for this machine.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn parse(url: &str) -> Result<Self, ServerError> {
        let wrong = || ServerError::Form(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let default = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(wrong()),
        };
        let (host, port) = split(authority, default).ok_or_else(wrong)?;
        if scheme == "https" {
            return Ok(Self::Https { host, port });
        }
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if local { Ok(Self::Http { host, port }) } else { Err(ServerError::Clear(url.to_owned())) }
    }

    /// The socket at this path.
    #[must_use]
    pub fn socket(path: &Path) -> Self {
        Self::Socket(path.to_owned())
    }

    /// What a person calls it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Http { .. } => format!("http://{}", self.authority()),
            Self::Https { .. } => format!("https://{}", self.authority()),
        }
    }

    /// The `Host` of requests.
    #[must_use]
    pub fn authority(&self) -> String {
        let (host, port, default) = match self {
            Self::Socket(_) => return "localhost".to_owned(),
            Self::Http { host, port } => (host, *port, 80),
            Self::Https { host, port } => (host, *port, 443),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if port == default { host } else { format!("{host}:{port}") }
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] or [`CallError::Untrusted`].
    pub async fn connect(&self) -> Result<Connection, CallError> {
        let unreachable = |source| CallError::Unreachable { at: self.name(), source };
        match self {
            Self::Socket(path) => {
                UnixStream::connect(path).await.map(Connection::Socket).map_err(unreachable)
            }
            Self::Http { host, port } => tcp(host, *port).await.map(Connection::Tcp).map_err(unreachable),
            Self::Https { host, port } => {
                let tcp = tcp(host, *port).await.map_err(unreachable)?;
                let tls = tls(host, tcp)
                    .await
                    .map_err(|source| CallError::Untrusted { at: self.name(), source })?;
                Ok(Connection::Tls(Box::new(tls)))
            }
        }
    }
}

/// Host and port of an authority without user information.
fn split(authority: &str, default: u16) -> Option<(String, u16)> {
    let plain = |host: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
        (!host.is_empty() && host.bytes().all(allowed)).then(|| host.to_ascii_lowercase())
    };
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = if port.is_empty() { default } else { port.strip_prefix(':')?.parse().ok()? };
        return Some((plain(host)?, port));
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((plain(host)?, port.parse().ok()?)),
        None => Some((plain(authority)?, default)),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn tls(host: &str, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(tls_config()?).connect(name, tcp).await
}

/// One configuration for the process: the system's authorities, read once.
fn tls_config() -> io::Result<Arc<rustls::ClientConfig>> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// A connection to a server.
pub enum Connection {
    /// Over the Unix socket.
    Socket(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(s) => Pin::new(s).poll_flush(cx),
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_https_url_or_on_this_machine() {
        let check =
            |url: &str, name: &str| assert_eq!(Server::parse(url).map(|s| s.name()), Ok(name.to_owned()));
        check("https://accredit.example/", "https://accredit.example");
        check("https://Accredit.example:8443", "https://accredit.example:8443");
        check("http://127.0.0.1:9748", "http://127.0.0.1:9748");
        check("http://[::1]:9748", "http://[::1]:9748");
    }

    // case: EGR-11, EGR-13
    #[test]
    fn a_session_never_travels_in_clear() {
        for url in ["http://accredit.example", "http://10.0.0.1:9748", "http://127.0.0.1.example"] {
            assert_eq!(Server::parse(url), Err(ServerError::Clear(url.to_owned())));
        }
    }

    #[test]
    fn what_is_not_a_server_is_refused() {
        for url in [
            "",
            "accredit.example",
            "ftp://a",
            "https://",
            "https://a:b",
            "https://u@a",
            "https://a/b",
            "https://a:70000",
            "https://[::1",
        ] {
            assert_eq!(Server::parse(url), Err(ServerError::Form(url.to_owned())), "{url}");
        }
    }
}
