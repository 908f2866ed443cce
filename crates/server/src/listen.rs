//! Where requests come in: TCP and the local socket. What the kernel says about the other end travels with each
//! request; nothing that the other end says replaces it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use accredit_identity::peer::SocketPeer;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use crate::access::Via;
use crate::app::App;
use crate::router::router;

/// Connections at one time, each way in: about 40 KB each.
pub const CONNECTIONS_MAX: usize = 1_024;
/// How long a client may take for the head of a request, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes: a token, a proof and an assertion's URL fit several times.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long answers under way may take after a stop was asked for. Streams end then.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where requests come in.
pub enum Listener {
    /// Over the network.
    Tcp(TcpListener),
    /// Through the local socket.
    Unix(UnixListener),
}

/// Why a listener is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` can be reached from other machines, and nothing encrypts the way: listen on a loopback address, or say `behind_proxy = true` when a proxy on this machine does"
)]
pub struct Exposed(pub SocketAddr);

/// Whether it is safe to listen in the clear at this address.
///
/// # Errors
/// [`Exposed`] for an address that other machines reach, unless a proxy in front encrypts.
pub fn check_exposure(address: SocketAddr, behind_proxy: bool) -> Result<(), Exposed> {
    if address.ip().is_loopback() || behind_proxy { Ok(()) } else { Err(Exposed(address)) }
}

/// Serves the control plane until `stop` becomes true; then answers under way get a few seconds.
pub async fn serve(listener: Listener, app: App, mut stop: watch::Receiver<bool>) {
    let (router, room) = (router(&app), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, via)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            match stream {
                Stream::Tcp(stream) => connection(stream, via, router, stop).await,
                Stream::Unix(stream) => connection(stream, via, router, stop).await,
            }
            drop(permit);
        });
    }
    // Whoever comes now is refused by the system, at once, and goes elsewhere.
    drop(listener);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    // After this the runtime ends what is still under way.
    let _ = tokio::time::timeout(STOP_WITHIN, room.acquire_many(all)).await;
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(UnixStream),
}

async fn accept(listener: &Listener) -> Option<(Stream, Via)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await.ok()?;
            // Small answers leave at once; a failure only makes them slower.
            let _ = stream.set_nodelay(true);
            Some((Stream::Tcp(stream), Via::Tcp(address)))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await.ok()?;
            let peer = peer(&stream)?;
            Some((Stream::Unix(stream), Via::Socket(peer)))
        }
    }
}

/// The process at the other end (`SO_PEERCRED`). Without one the connection is dropped.
fn peer(stream: &UnixStream) -> Option<SocketPeer> {
    let credentials = stream.peer_cred().ok()?;
    let pid = u32::try_from(credentials.pid()?).ok()?;
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    Some(SocketPeer::observed(credentials.uid(), credentials.gid(), pid, exe))
}

async fn connection<S>(stream: S, via: Via, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(via.clone());
        let router = router.clone();
        async move {
            Ok::<_, Infallible>(router.oneshot(request.map(Body::new)).await.unwrap_or_else(|e| match e {}))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    // A broken connection is the client's affair: nothing is to be done about it.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_served_in_the_clear() {
        for (address, behind_proxy, safe) in [
            ("127.0.0.1:1", false, true),
            ("[::1]:1", false, true),
            ("0.0.0.0:1", false, false),
            ("[::]:1", false, false),
            ("10.0.0.1:1", false, false),
            ("10.0.0.1:1", true, true),
        ] {
            assert_eq!(
                check_exposure(address.parse().expect(address), behind_proxy).is_ok(),
                safe,
                "{address}"
            );
        }
    }
}
