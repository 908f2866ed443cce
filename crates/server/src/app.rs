//! What every handler gets: the use cases, the metrics, and the brake on guessing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use accredit_authority::Authority;
use accredit_authority::operators::Transport;
use axum::http::StatusCode;

use crate::metrics::Metrics;
use crate::problem::Failure;

/// Failures to sign in or to join that are answered within [`GUESSES_WITHIN`], for each way in. Codes have 256 random
/// bits: the brake keeps the ledger from filling with failures, not the codes from being guessed.
const GUESSES_MAX: usize = 30;
const GUESSES_WITHIN: Duration = Duration::from_secs(60);

/// The control plane. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    authority: Arc<Authority>,
    metrics: Metrics,
    own_uid: u32,
    gateway_ca: OnceLock<String>,
    guesses: [Guesses; 2],
}

impl App {
    /// The control plane over these use cases. `own_uid` is the user that the server runs as.
    #[must_use]
    pub fn new(authority: Arc<Authority>, own_uid: u32) -> Self {
        let (metrics, guesses) = (Metrics::new(), Default::default());
        Self(Arc::new(Inner { authority, metrics, own_uid, gateway_ca: OnceLock::new(), guesses }))
    }

    /// States the PEM of the authority whose certificates the gateway shows, once it is known: a sealed
    /// vault holds it back.
    pub fn set_gateway_ca(&self, pem: &str) {
        self.0.gateway_ca.get_or_init(|| pem.to_owned());
    }

    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.0.authority
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn gateway_ca(&self) -> Option<&str> {
        self.0.gateway_ca.get().map(String::as_str)
    }

    pub(crate) fn own_uid(&self) -> u32 {
        self.0.own_uid
    }

    /// The brake for one way in, so that guessing over the network locks nobody out of the machine itself.
    pub(crate) fn guesses(&self, via: Transport) -> &Guesses {
        match via {
            Transport::Socket => &self.0.guesses[0],
            Transport::Tcp => &self.0.guesses[1],
        }
    }
}

/// Failed guesses of the last minute.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<VecDeque<Instant>>);

impl Guesses {
    /// Refuses when too many guesses failed lately.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while failed.front().is_some_and(|at| at.elapsed() > GUESSES_WITHIN) {
            failed.pop_front();
        }
        if failed.len() < GUESSES_MAX {
            return Ok(());
        }
        let detail = format!("more than {GUESSES_MAX} codes were refused within a minute");
        Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail)
            .next("Wait a minute and try again."))
    }

    /// Remembers a failure.
    pub(crate) fn failed(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_braked_at_its_bound() {
        let guesses = Guesses::default();
        for _ in 0..GUESSES_MAX {
            assert!(guesses.check().is_ok());
            guesses.failed();
        }
        assert!(guesses.check().is_err());
    }
}
