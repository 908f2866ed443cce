//! What every handler gets: the use cases, the metrics, and the brake on guessing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use accredit_authority::Authority;
use accredit_authority::fault::{Fault, FaultKind};
use accredit_authority::operators::Transport;
use axum::http::StatusCode;

use crate::metrics::Metrics;
use crate::problem::Failure;

/// Attempts to sign in or to join that may fail within [`GUESSES_WITHIN`], for each way in. Codes have 256 random
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
    stopping: AtomicBool,
}

impl App {
    /// The control plane over these use cases. `own_uid` is the user that the server runs as.
    #[must_use]
    pub fn new(authority: Arc<Authority>, own_uid: u32) -> Self {
        let (metrics, guesses) = (Metrics::new(), Default::default());
        let (gateway_ca, stopping) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { authority, metrics, own_uid, gateway_ca, guesses, stopping }))
    }

    /// From now on the server says that it is not ready, so that a balancer sends new work elsewhere. What comes all the
    /// same is served.
    pub fn announce_stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
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

/// Guesses of the last minute that failed, and those that are being looked at. They are counted for the way in alone:
/// no spelling of a code, name or address makes a guess a new one.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    failed: VecDeque<Instant>,
    under_way: usize,
}

impl Guesses {
    /// Lets a guess be looked at, or refuses when too many failed lately. Those that are under way count, so that
    /// many at once are no way around the bound.
    pub(crate) fn begin(&self) -> Result<Guess<'_>, Failure> {
        let mut counted = self.lock();
        while counted.failed.front().is_some_and(|at| at.elapsed() > GUESSES_WITHIN) {
            counted.failed.pop_front();
        }
        if counted.failed.len() + counted.under_way < GUESSES_MAX {
            counted.under_way += 1;
            return Ok(Guess { guesses: self, harmless: false });
        }
        let detail = format!("{GUESSES_MAX} codes were refused within a minute");
        Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail)
            .next("Wait a minute and try again."))
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // Every update leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One guess. It counts as failed unless its answer says otherwise; whoever hangs up before the answer has failed.
pub(crate) struct Guess<'a> {
    guesses: &'a Guesses,
    harmless: bool,
}

impl Guess<'_> {
    /// Takes the answer: only what was refused as unproved counts.
    pub(crate) fn answered<T>(mut self, answer: Result<T, Fault>) -> Result<T, Fault> {
        self.harmless = answer.as_ref().err().is_none_or(|fault| fault.kind != FaultKind::Unauthenticated);
        answer
    }
}

impl Drop for Guess<'_> {
    fn drop(&mut self) {
        let mut counted = self.guesses.lock();
        counted.under_way -= 1;
        if !self.harmless {
            counted.failed.push_back(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: ADM-12
    #[test]
    fn guessing_is_braked_at_its_bound_whether_one_after_another_or_all_at_once() {
        let refused = || Fault::new(FaultKind::Unauthenticated, "no", "", "");
        let after_another = Guesses::default();
        for _ in 0..GUESSES_MAX {
            assert!(after_another.begin().expect("below the bound").answered::<()>(Err(refused())).is_err());
        }
        assert!(after_another.begin().is_err());
        let at_once = Guesses::default();
        let under_way: Vec<_> = (0..GUESSES_MAX).map(|_| at_once.begin().expect("below the bound")).collect();
        assert!(at_once.begin().is_err());
        drop(under_way);
        assert!(at_once.begin().is_err(), "hanging up is no way around");
    }

    #[test]
    fn what_was_no_guess_leaves_room_for_one() {
        let guesses = Guesses::default();
        for _ in 0..3 * GUESSES_MAX {
            assert!(guesses.begin().expect("room").answered(Ok(())).is_ok());
            let answer = guesses.begin().expect("room").answered::<()>(Err(Fault::sealed()));
            assert!(answer.is_err());
        }
        assert!(guesses.begin().is_ok());
    }
}
