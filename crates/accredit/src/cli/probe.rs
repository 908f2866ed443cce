//! `accredit doctor --probe`: which clients of this machine find their way. Each one that is installed is run under the
//! environment of `accredit run`, against a proxy of our own that ends TLS with a throw-away authority, as the gateway
//! does. Nothing leaves the machine: the hosts end in `.invalid`, which nobody resolves.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use accredit_gateway::ca::Ca;
use accredit_gateway::http::host::Host;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use super::Context;
use super::clients::{CLIENTS, ClientProbe};
use super::doctor::Finding;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::bundle::Bundle;
use crate::run::directory::{self, RunDir};
use crate::run::environment::{self, Changes, Wiring};

/// How long one client may take, in which a Java program is also compiled.
const CLIENT_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a client may take to ask for its version.
const PRESENT_TIME_MAX: Duration = Duration::from_secs(20);
/// Longest head of a request that the proxy reads, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Every client asks for a host of its own below this name (RFC 6761 §6.4: nobody resolves it).
const ZONE: &str = "probe.invalid";
/// What every request is answered with.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

/// How far each host's client came.
#[derive(Default)]
struct Seen {
    asked: BTreeSet<String>,
    trusted: BTreeSet<String>,
}

/// The proxy, and what it saw.
struct Proxy {
    ca: Ca,
    seen: Mutex<Seen>,
}

/// Runs every client that is installed and says how each fared.
///
/// # Errors
/// When the probe itself cannot be set up.
pub(crate) async fn clients(context: &Context) -> Result<Vec<Finding>, Failure> {
    let failed =
        |e: &dyn std::fmt::Display| Failure::new(Exit::Error, "probe", "the probe was not set up", e);
    let ca = Ca::generate().and_then(|sealed| Ca::from_sealed(&sealed)).map_err(|e| failed(&e))?;
    let proxy = Arc::new(Proxy { ca, seen: Mutex::default() });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| failed(&e))?;
    let port = listener.local_addr().map_err(|e| failed(&e))?.port();
    let dir = RunDir::new(&context.paths.runs()).map_err(|e| Failure::file(&context.paths.runs(), &e))?;
    let dir_path = dir.path().to_owned();
    let wiring =
        Wiring { port, task: "probe".to_owned(), dir: dir_path, base_urls: Vec::new(), keep: Vec::new() };
    let bundle = Bundle::collect(|name| context.environment.get(name).cloned(), proxy.ca.certificate_pem());
    directory::fill(&wiring, &bundle, "").map_err(|e| Failure::file(&wiring.dir, &e))?;
    let changes = environment::plan(&context.environment, &context.unreadable, &wiring);
    let serving = tokio::spawn(serve(listener, proxy.clone()));
    let mut findings = Vec::new();
    for client in CLIENTS {
        context.out.progress(&format!("trying {}", client.name));
        if present(client, &wiring.dir).await {
            findings.push(probe(client, &changes, &wiring.dir, &proxy).await);
        }
    }
    context.out.progress("");
    serving.abort();
    Ok(findings)
}

/// Whether the client is installed.
async fn present(client: &ClientProbe, dir: &Path) -> bool {
    let (program, arguments) = client.present;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(dir);
    runs(command, PRESENT_TIME_MAX).await.is_ok_and(|good| good)
}

async fn probe(client: &ClientProbe, changes: &Changes, dir: &Path, proxy: &Proxy) -> Finding {
    let host = format!("{}.{ZONE}", client.name.replace([' ', '.'], "-"));
    let url = format!("https://{host}/probe");
    if let Some((name, text)) = client.file {
        // A client that needs a file and does not get it is found not to have asked.
        let _ = std::fs::write(dir.join(name), text);
    }
    let fill = |text: &str| {
        text.replace("URL", &url).replace("HOST", &host).replace("DIR", &dir.display().to_string())
    };
    let mut command = Command::new(client.present.0);
    command.args(client.arguments.iter().map(|a| fill(a))).current_dir(dir);
    changes.remove.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.envs(&changes.set).envs(client.variables.iter().map(|(name, value)| (name, fill(value))));
    // How the client itself ends says little; what arrived says everything.
    let _ = runs(command, CLIENT_TIME_MAX).await;
    let seen = proxy.seen.lock().unwrap_or_else(PoisonError::into_inner);
    finding(client, seen.asked.contains(&host), seen.trusted.contains(&host))
}

fn finding(client: &ClientProbe, asked: bool, trusted: bool) -> Finding {
    let (detail, fix) = match (asked, trusted) {
        (_, true) => ("goes through the proxy and trusts the bundle", None),
        (true, false) => ("goes through the proxy and does not trust the bundle", Some(client.untrusting)),
        (false, false) => ("does not go through the proxy", Some(client.ignoring)),
    };
    Finding {
        check: client.name.to_owned(),
        ok: trusted,
        detail: detail.to_owned(),
        fix: fix.map(str::to_owned),
    }
}

/// Runs a program quietly; whether it ended with 0 in time.
async fn runs(mut command: Command, time_max: Duration) -> io::Result<bool> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    match tokio::time::timeout(time_max, child.wait()).await {
        Ok(status) => status.map(|s| s.success()),
        Err(_) => {
            child.kill().await?;
            Ok(false)
        }
    }
}

async fn serve(listener: TcpListener, proxy: Arc<Proxy>) {
    while let Ok((stream, _)) = listener.accept().await {
        let proxy = proxy.clone();
        // What a client breaks off shows in what was seen, or not.
        tokio::spawn(async move { proxy.answer(stream).await });
    }
}

impl Proxy {
    async fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let head = head(&mut stream).await?;
        let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
        let host = target.rsplit_once(':')?.0.to_owned();
        self.note(|seen| &mut seen.asked, &host);
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
        let mut tls = self.acceptor(&host)?.accept(stream).await.ok()?;
        let _ = self::head(&mut tls).await?;
        self.note(|seen| &mut seen.trusted, &host);
        tls.write_all(ANSWER).await.ok()?;
        tls.shutdown().await.ok()
    }

    fn acceptor(&self, host: &str) -> Option<TlsAcceptor> {
        let host = Host::parse(host.as_bytes()).ok()?;
        self.ca.terminates(&host).ok().map(TlsAcceptor::from)
    }

    fn note(&self, of: impl FnOnce(&mut Seen) -> &mut BTreeSet<String>, host: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        of(&mut seen).insert(host.to_owned());
    }
}

/// The head of a request as text.
async fn head(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<String> {
    let mut held = Vec::new();
    while !held.windows(4).any(|w| w == b"\r\n\r\n") {
        if stream.read_buf(&mut held).await.ok()? == 0 || held.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
    String::from_utf8(held).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A context whose state is in this directory.
    fn context(dir: &Path) -> Context {
        let environment: std::collections::BTreeMap<String, String> =
            ["PATH", "HOME"].iter().filter_map(|n| Some(((*n).to_owned(), std::env::var(n).ok()?))).collect();
        Context::of_test(dir, environment)
    }

    #[tokio::test]
    async fn a_client_that_honours_proxy_and_bundle_is_told_from_those_that_do_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let context = context(dir.path());
        let ca = Ca::generate().and_then(|sealed| Ca::from_sealed(&sealed)).expect("an authority");
        let proxy = Arc::new(Proxy { ca, seen: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let serving = tokio::spawn(serve(listener, proxy.clone()));
        let wiring = Wiring {
            port,
            task: "probe".to_owned(),
            dir: dir.path().to_owned(),
            base_urls: Vec::new(),
            keep: Vec::new(),
        };
        let mut bundle = Bundle::default();
        bundle.add(proxy.ca.certificate_pem());
        directory::fill(&wiring, &bundle, "").expect("files");
        let changes = environment::plan(&context.environment, &context.unreadable, &wiring);
        let curl = |name, arguments| ClientProbe { name, arguments, ..CLIENTS[0] };
        for (client, ok, detail) in [
            (curl("good", &["-s", "URL"]), true, "goes through the proxy and trusts the bundle"),
            (
                curl("distrusting", &["-s", "--cacert", "/dev/null", "URL"]),
                false,
                "goes through the proxy and does not trust the bundle",
            ),
            (curl("ignoring", &["-s", "--noproxy", "*", "URL"]), false, "does not go through the proxy"),
        ] {
            let finding = probe(&client, &changes, dir.path(), &proxy).await;
            assert_eq!((finding.ok, finding.detail.as_str()), (ok, detail), "{}", client.name);
        }
        serving.abort();
    }
}
