//! Where a PostgreSQL database is, and how its server is known: the text of a connection URI as libpq takes it, with
//! the part of TLS that is not left to chance.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_tokio_postgres::MakeRustlsConnect;
use tokio::runtime::Handle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};

use crate::error::{Cause, StoreError};
use crate::sql::PgSession;

/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long bytes may stay unacknowledged before the connection is given up.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(5);

/// Why a text is not the address of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not a URI of PostgreSQL.
    #[error("it is not a postgres:// address: {0}")]
    Form(String),
    /// The server would not be known for who it is.
    #[error(
        "sslmode `{0}` does not verify who answers: use verify-full, or disable on a loopback address or a socket"
    )]
    Unverified(String),
    /// TLS was turned off for a server that is elsewhere.
    #[error("sslmode `disable` is for a loopback address or a socket only")]
    Exposed,
    /// The certificates that the server is verified by cannot be used.
    #[error("the certificates in `{path}` cannot be used: {why}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The machine has no certificates to verify the server by.
    #[error("this machine has no root certificates: name a file with sslrootcert")]
    NoRoots,
}

/// Where a database is. Never shown with its password.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Address {
    /// Parses a connection URI. `sslmode` is `verify-full` unless it says otherwise; `sslrootcert` names a file of
    /// PEM certificates, else those of the machine are used.
    ///
    /// # Errors
    /// [`AddressError`]; it never carries the password.
    pub fn parse(text: &str, password: Option<&str>) -> Result<Self, AddressError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(AddressError::Form("it starts otherwise".into()));
        }
        let (plain, own) = split(text);
        let mut config: Config = plain.parse().map_err(|e: tokio_postgres::Error| {
            use std::error::Error as _;
            AddressError::Form(e.source().map_or_else(|| e.to_string(), ToString::to_string))
        })?;
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_dbname().is_none() || config.get_user().is_none() || config.get_hosts().is_empty() {
            return Err(AddressError::Form("it names no user, host or database".into()));
        }
        let tls = match own.sslmode.as_deref().unwrap_or("verify-full") {
            "verify-full" => Some(client_config(own.sslrootcert.as_deref())?),
            "disable" if config.get_hosts().iter().all(is_here) => None,
            "disable" => return Err(AddressError::Exposed),
            other => return Err(AddressError::Unverified(other.to_owned())),
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_TIME_MAX).tcp_user_timeout(SILENCE_TIME_MAX);
        // Of several hosts, the one that takes writes; a standby is never worked on.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, tls })
    }

    /// Whether the text of the address itself holds a password.
    #[must_use]
    pub fn has_password(text: &str) -> bool {
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.is_some_and(|user| user.contains(':')) || text.contains("password=")
    }

    /// For people: user, hosts and database.
    #[must_use]
    pub fn shown(&self) -> String {
        let host = |(at, host): (usize, &Host)| {
            let ports = self.config.get_ports();
            let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        };
        let hosts: Vec<String> = self.config.get_hosts().iter().enumerate().map(host).collect();
        let (user, database) = (self.config.get_user(), self.config.get_dbname());
        format!(
            "postgres://{}@{}/{}",
            user.unwrap_or_default(),
            hosts.join(","),
            database.unwrap_or_default()
        )
    }

    /// Opens a session. `options` are settings of the session, as `name=value`.
    pub(crate) async fn connect(
        &self,
        name: &str,
        options: &[(&str, &str)],
    ) -> Result<Connected, StoreError> {
        let mut config = self.config.clone();
        let options: Vec<String> = options.iter().map(|(key, value)| format!("-c {key}={value}")).collect();
        config.application_name(name).options(options.join(" "));
        let connecting = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) =
                        config.connect(MakeRustlsConnect::new((**tls).clone())).await?;
                    Ok::<_, StoreError>(Connected { client, driver: Driver::Tls(Box::new(connection)) })
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    Ok(Connected { client, driver: Driver::Plain(Box::new(connection)) })
                }
            }
        };
        // The client's own limit is for one address; this one is for all of them, TLS and sign-in included.
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(1).max(1);
        tokio::time::timeout(CONNECT_TIME_MAX * hosts, connecting)
            .await
            .unwrap_or_else(|_| Err(Cause::Unreachable("it did not accept a session in time".into()).into()))
    }

    /// Opens a session for a thread that may wait.
    pub(crate) fn session(
        &self,
        runtime: &Handle,
        name: &str,
        options: &[(&str, &str)],
    ) -> Result<PgSession, StoreError> {
        let client =
            runtime.block_on(async { Ok::<_, StoreError>(self.connect(name, options).await?.drive()) })?;
        Ok(PgSession::new(client, runtime.clone()))
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.tls.is_some() == other.tls.is_some()
    }
}

impl Eq for Address {}

type Tcp = tokio_postgres::Socket;
type Tls = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Tcp>>::Stream;

/// What moves the bytes of a session.
pub(crate) enum Driver {
    Plain(Box<tokio_postgres::Connection<Tcp, tokio_postgres::tls::NoTlsStream>>),
    Tls(Box<tokio_postgres::Connection<Tcp, Tls>>),
}

impl Driver {
    /// The next message that nobody asked for, such as a notification.
    pub(crate) fn poll_message(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<tokio_postgres::AsyncMessage, tokio_postgres::Error>>> {
        match self {
            Self::Plain(connection) => connection.poll_message(context),
            Self::Tls(connection) => connection.poll_message(context),
        }
    }
}

/// A session that was opened, before anything moves its bytes.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) driver: Driver,
}

impl Connected {
    /// Moves the bytes in the background until the client is dropped.
    pub(crate) fn drive(self) -> Client {
        let Self { client, mut driver } = self;
        tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|context| driver.poll_message(context)).await {
                if message.is_err() {
                    break;
                }
            }
        });
        client
    }
}

/// What libpq knows and the client does not.
#[derive(Default)]
struct Own {
    sslmode: Option<String>,
    sslrootcert: Option<PathBuf>,
}

/// Takes the parameters of TLS out of the text.
fn split(text: &str) -> (String, Own) {
    let mut own = Own::default();
    let Some((before, query)) = text.split_once('?') else { return (text.to_owned(), own) };
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| match pair.split_once('=') {
            Some(("sslmode", mode)) => {
                own.sslmode = Some(mode.to_owned());
                false
            }
            Some(("sslrootcert", path)) => {
                own.sslrootcert = Some(decoded(path).into());
                false
            }
            _ => true,
        })
        .collect();
    let text = if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    (text, own)
}

/// A path as a URI holds it: `%2F` is a slash.
fn decoded(text: &str) -> String {
    let (mut out, bytes) = (Vec::with_capacity(text.len()), text.as_bytes());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn client_config(file: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, AddressError> {
    let mut roots = rustls::RootCertStore::empty();
    match file {
        Some(path) => {
            let bad = |why: String| AddressError::Roots { path: path.to_owned(), why };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| bad(e.to_string()))?;
                roots.add(certificate).map_err(|e| bad(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("it holds none".into()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(AddressError::NoRoots);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| AddressError::Form(e.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Who answers is verified anew for each session.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> AddressError {
        Address::parse(text, None).expect_err(text)
    }

    // case: EGR-13
    #[test]
    fn a_server_that_is_elsewhere_is_always_verified() {
        let at = |host: &str, mode: &str| format!("postgres://accredit@{host}/accredit?sslmode={mode}");
        for mode in ["require", "prefer", "allow", "verify-ca", "no-verify", ""] {
            let error = refused(&at("db.corp", mode));
            assert_eq!(error, AddressError::Unverified(mode.to_owned()));
        }
        assert_eq!(refused(&at("db.corp", "disable")), AddressError::Exposed);
        assert_eq!(refused(&at("127.0.0.1,db.corp", "disable")), AddressError::Exposed);
        for here in ["127.0.0.1", "localhost", "%2Frun%2Fpostgresql"] {
            assert!(Address::parse(&at(here, "disable"), None).is_ok(), "{here}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let text = "postgres://accredit:s3cret@127.0.0.1:6000,[::1]:6001/state?sslmode=disable";
        assert!(Address::has_password(text));
        let address = Address::parse(text, Some("0ther")).expect("an address");
        let shown = format!("{} {address:?}", address.shown());
        assert!(!shown.contains("s3cret") && !shown.contains("0ther"), "{shown}");
        assert!(shown.contains("accredit@127.0.0.1:6000"), "{shown}");
        assert!(!Address::has_password("postgres://accredit@db/state"));
        for bad in ["mysql://a@b/c", "postgres://", "postgres://host/db", "postgres://a@h:x/d"] {
            let error = Address::parse(bad, None).expect_err(bad);
            assert!(matches!(error, AddressError::Form(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("roots.pem");
        let text = format!("postgres://a@db/c?sslrootcert={}", file.display());
        assert!(matches!(refused(&text), AddressError::Roots { .. }));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .expect("a file");
        assert!(matches!(refused(&text), AddressError::Roots { .. }));
        std::fs::write(&file, "").expect("a file");
        assert!(refused(&text).to_string().contains("it holds none"));
    }
}
