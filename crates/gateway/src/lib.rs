//! The data plane: one module per protocol, each parse, inject, relay, refuse.
//!
//! It knows the authority's use cases and nothing of stores, vaults or policies.

mod ask; //        while a person is asked: the body is held, the call waits
pub mod bounds; // every limit with its unit and reason
pub mod ca; //     the per-install certificate authority
mod exchange; //   one request: open, send, relay, settle
pub mod http; //   HTTP/1.1: the strict form of a request and of a response
mod pump; //       an agent's body on its way upstream
mod refuse; //     answers of our own
mod session; //    one connection: who it belongs to, tunnels, request after request
pub mod upstream; // the way to an upstream
mod wire; //       one agent's connection //  figures for the metrics page

#[cfg(test)]
#[allow(dead_code, reason = "the tests beside the crate use the rest of it")]
#[path = "../tests/common/mod.rs"]
mod common;
#[cfg(test)]
extern crate self as accredit_gateway;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use accredit_authority::Authority;
use accredit_authority::fault::Fault;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bounds::{CONNECTIONS_MAX, IDLE_UPSTREAM_TIME_MAX, REFUSALS_MAX};
use crate::ca::Ca;
use crate::http::scrub::Needles;
use crate::upstream::Upstreams;

/// Pause after the kernel had no descriptor for a connection.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);
/// Secrets' search tables kept ready, one for each version in use.
const NEEDLES_MAX: usize = 256;

/// The name of the key that the certificate authority is sealed under.
const CA_KEY: &str = accredit_authority::GATEWAY_CA;

/// The gateway: everything that connections share.
pub struct Gateway {
    authority: Arc<Authority>,
    ca: Ca,
    upstreams: Upstreams,
    needles: Mutex<BTreeMap<(String, u32), Arc<Needles>>>,
}

impl Gateway {
    /// The gateway of this authority. `own` lists every address that Accredit listens on, which no
    /// resource can reach.
    ///
    /// # Errors
    /// [`Fault`] while the vault is sealed, or when the certificate authority cannot be used.
    pub async fn open(authority: Arc<Authority>, own: Vec<SocketAddr>) -> Result<Arc<Self>, Fault> {
        let broken = |e: &ca::CaError| Fault::unavailable("gateway_ca_broken", e.to_string());
        let sealed = authority.own_key(CA_KEY, || Ca::generate().map_err(|e| broken(&e))).await?;
        let ca = Ca::from_sealed(&sealed).map_err(|e| broken(&e))?;
        let gateway = Self { authority, ca, upstreams: Upstreams::new(own), needles: Mutex::default() };
        Ok(Arc::new(gateway))
    }

    /// The certificate that clients behind the gateway must trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.ca.certificate_pem()
    }

    /// Serves agents until `stop`; then lets what is under way come to its end for `drain`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken, drain: Duration) {
        let (room, refusals) =
            (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Semaphore::new(REFUSALS_MAX)));
        let connections = TaskTracker::new();
        let mut sweep = tokio::time::interval(IDLE_UPSTREAM_TIME_MAX / 2);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                _ = sweep.tick() => { self.upstreams.sweep(); continue }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (gateway, stop) = (self.clone(), stop.clone());
                    // Small answers must not wait for more; a failure only costs time.
                    let _ = stream.set_nodelay(true);
                    match (room.clone().try_acquire_owned(), refusals.clone().try_acquire_owned()) {
                        (Ok(permit), _) => {
                            connections.spawn(async move {
                                session::serve(gateway, stream, stop).await;
                                drop(permit);
                            });
                        }
                        (Err(_), Ok(permit)) => {
                            tokio::spawn(async move {
                                session::refuse_one_more(stream).await;
                                drop(permit);
                            });
                        }
                        (Err(_), Err(_)) => drop(stream),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await;
                }
            }
        }
        // Whoever comes now is refused by the system, at once, and goes elsewhere.
        drop(listener);
        connections.close();
        if tokio::time::timeout(drain, connections.wait()).await.is_err() {
            tracing::info!(left = connections.len(), "connections were cut at the end of the drain");
        }
    }

    /// The search table of a secret's version, made once.
    fn needles_of(&self, key: (String, u32), make: impl FnOnce() -> Option<Needles>) -> Option<Arc<Needles>> {
        let mut kept = self.needles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(&key) {
            return Some(found.clone());
        }
        let made = Arc::new(make()?);
        if kept.len() >= NEEDLES_MAX {
            kept.clear();
        }
        kept.retain(|(name, _), _| *name != key.0);
        kept.insert(key, made.clone());
        Some(made)
    }
}
