//! What is under way right now: every action between its record and its end, so that a revocation
//! can cut it and wait until it is gone.
//!
//! A gateway enters an action here *before* it is recorded. Whatever was recorded before a
//! revocation committed is therefore in the list when the revocation looks at it; whatever comes
//! later is refused by the record step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use accredit_core::id::{AgentName, CredentialName, TaskId, TenantName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a revocation waits for what it cut, in milliseconds: the bound of invariant I4.
pub const CUT_WAIT_MS_MAX: u64 = 1_000;

/// What an action under way is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Whose.
    pub tenant: TenantName,
    /// In the name of which task.
    pub task: TaskId,
    /// By which agent.
    pub agent: AgentName,
    /// With which credential.
    pub credential: Option<CredentialName>,
}

struct Entry {
    about: About,
    cut: CancellationToken,
}

#[derive(Default)]
struct Registry {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

/// The list of actions under way in this process.
#[derive(Clone, Default)]
pub struct Live {
    registry: Arc<Mutex<Registry>>,
    left: Arc<Notify>,
}

impl Live {
    /// Enters an action. It leaves when the guard is dropped.
    #[must_use]
    pub fn enter(&self, about: About) -> LiveAction {
        let cut = CancellationToken::new();
        let mut registry = self.lock();
        let number = registry.next;
        registry.next += 1;
        registry.entries.insert(number, Entry { about, cut: cut.clone() });
        LiveAction { live: self.clone(), number, cut }
    }

    /// How many actions are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().entries.len()
    }

    /// Cuts every action that `which` picks, and waits until it has left or
    /// [`CUT_WAIT_MS_MAX`] has passed.
    pub async fn cut(&self, which: impl Fn(&About) -> bool) -> CutReport {
        let numbers: Vec<u64> = {
            let registry = self.lock();
            let picked = registry.entries.iter().filter(|(_, e)| which(&e.about));
            picked.inspect(|(_, e)| e.cut.cancel()).map(|(n, _)| *n).collect()
        };
        let gone =
            tokio::time::timeout(Duration::from_millis(CUT_WAIT_MS_MAX), self.all_left(&numbers)).await;
        let pending = if gone.is_ok() { 0 } else { self.still_here(&numbers) };
        CutReport { cut: numbers.len() - pending, pending }
    }

    async fn all_left(&self, numbers: &[u64]) {
        loop {
            // Ask to be woken before looking, so that no leaving is missed in between.
            let woken = self.left.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.still_here(numbers) == 0 {
                return;
            }
            woken.await;
        }
    }

    fn still_here(&self, numbers: &[u64]) -> usize {
        let registry = self.lock();
        numbers.iter().filter(|n| registry.entries.contains_key(n)).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of the actions that were cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CutReport {
    /// Actions that have left.
    pub cut: usize,
    /// Actions that had not left after [`CUT_WAIT_MS_MAX`].
    pub pending: usize,
}

/// One action under way.
pub struct LiveAction {
    live: Live,
    number: u64,
    cut: CancellationToken,
}

impl LiveAction {
    /// States with which credential the action goes on; to be called before it is recorded.
    pub(crate) fn with_credential(&self, credential: Option<&CredentialName>) {
        if let Some(entry) = self.live.lock().entries.get_mut(&self.number) {
            entry.about.credential = credential.cloned();
        }
    }

    /// Completes when the action must stop at once.
    pub async fn must_stop(&self) {
        self.cut.cancelled().await;
    }

    /// A handle that completes when the action must stop at once.
    #[must_use]
    pub fn cut_token(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Whether the action must stop.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }
}

impl Drop for LiveAction {
    fn drop(&mut self) {
        self.live.lock().entries.remove(&self.number);
        self.live.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(task: u8) -> About {
        About {
            tenant: TenantName::parse("t").expect("a name"),
            task: TaskId::from_random([task; 16]),
            agent: AgentName::parse("a").expect("a name"),
            credential: None,
        }
    }

    // case: REV-02
    #[tokio::test]
    async fn a_cut_returns_when_what_it_cut_has_left() {
        let live = Live::default();
        let (mine, other) = (live.enter(about(1)), live.enter(about(2)));
        let worker = tokio::spawn(async move {
            mine.must_stop().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        });
        let report = live.cut(|a| a.task == about(1).task).await;
        assert_eq!(report, CutReport { cut: 1, pending: 0 });
        assert!(!other.is_cut());
        assert_eq!(live.count(), 1);
        worker.await.expect("the worker stops");
    }

    #[tokio::test]
    async fn what_does_not_leave_is_reported_as_pending() {
        let live = Live::default();
        let _stuck = live.enter(about(1));
        assert_eq!(live.cut(|_| true).await, CutReport { cut: 0, pending: 1 });
    }
}
