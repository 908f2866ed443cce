//! P9: what an idle connection of an agent costs the gateway in memory: plain and attached, or a TLS tunnel.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::child::{Place, Process};
use crate::gateway::{Opened, entrance};
use crate::load::{Connection, Run};
use crate::report::{Report, Table};
use crate::world::Entrance;
use crate::{Failure, Scale};

/// A name that a tunnel is opened to; nothing is sent through it.
const HOST: &str = "service.bench.test:443";

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let mut upstream = Process::role("upstream", Place::Around)?;
    let service: std::net::SocketAddr = upstream.hear()?;
    let connections = scale.of(2_000, 50);
    let title = format!(
        "Idle connections, {connections} of each sort (P9: at most 24 KB for TLS, at most 40 MB for the idle process)"
    );
    let mut table = Table::new(title, &["sort", "process before MB", "process after MB", "KB each"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for tls in [false, true] {
        let mut gateway = Process::role("gateway", Place::Measured)?;
        gateway.tell(&service)?;
        let opened: Opened = gateway.hear()?;
        let entrance = entrance(&mut gateway)?;
        std::thread::sleep(Duration::from_secs(1));
        let before = gateway.resident_bytes();
        let after = runtime.block_on(async {
            let _held = hold(tls, connections, &opened, &entrance).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Failure>(gateway.resident_bytes())
        })?;
        let each = after.saturating_sub(before) as f64 / connections as f64 / 1_024.0;
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1_048_576.0);
        let sort = if tls { "TLS tunnel" } else { "plain, attached" };
        table.row([sort.to_owned(), megabytes(before), megabytes(after), format!("{each:.1}")]);
    }
    table.note("resident memory of the gateway's process, all of it, divided by the connections");
    report.add(&table);
    Ok(())
}

/// What keeps a connection open.
enum Held {
    /// Attached.
    Plain { _connection: Connection },
    /// With a handshake behind it.
    Tunnel { _stream: Box<tokio_rustls::client::TlsStream<TcpStream>> },
}

async fn hold(
    tls: bool,
    connections: usize,
    opened: &Opened,
    entrance: &Entrance,
) -> Result<Vec<Held>, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(opened.ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let run = Run {
        address: opened.address,
        path: opened.path.clone(),
        entrance: Some(entrance.clone()),
        connections: 1,
        rate: None,
        for_ms: 0,
    };
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        held.push(match tls {
            false => Held::Plain { _connection: Connection::open(&run).await? },
            true => Held::Tunnel { _stream: Box::new(tunnel(&connector, &run, entrance).await?) },
        });
    }
    Ok(held)
}

async fn tunnel(
    connector: &TlsConnector,
    run: &Run,
    entrance: &Entrance,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    let mut stream = TcpStream::connect(run.address).await?;
    stream.write_all(&entrance.connect(HOST)?).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the gateway opened no tunnel".into());
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&answer).into_owned().into());
    }
    let name = ServerName::try_from(HOST.split(':').next().unwrap_or_default())?.to_owned();
    Ok(connector.connect(name, stream).await?)
}
