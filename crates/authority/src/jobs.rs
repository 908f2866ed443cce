//! What happens by itself: expiry, the ledger's integration and checkpoints, lost runners, a sealed
//! vault that looks for its key. Every job ends when the authority is dropped.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use accredit_core::task::Ending;
use accredit_core::time::Timestamp;
use accredit_ledger::checkpoint::Checkpoint;
use accredit_store::SignError;

use crate::Authority;
use crate::fault::Fault;
use crate::open::UNSEAL_EVERY;
use crate::revoke::{End, end_with_descendants};

/// How often tasks are looked at; expiry itself is exact, because every decision checks it.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How often the ledger is integrated and a checkpoint signed (design: at most 1 s later).
const INTEGRATE_EVERY: Duration = Duration::from_millis(500);
/// The same where readers wait for places that only the leader gives.
const INTEGRATE_EVERY_SHARED: Duration = Duration::from_millis(100);
/// How often a replica looks whether it is still heard of: what it must cut then goes on this much longer.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// How often the ledger is looked at for deviations: as often as it gets a head.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a replica looks whether another has changed the keys.
pub(crate) const KEYS_EVERY: Duration = Duration::from_secs(1);
/// How often a replica says which runners it sees.
const HOLD_EVERY: Duration = Duration::from_secs(1);
/// How long integration may fail before the authority is not ready: a few tries.
const STALLED_AFTER: Duration = Duration::from_secs(3);
/// Entries integrated in one step, so that no step is long.
const INTEGRATE_MAX: usize = 4_096;
/// Steps of one turn: what is left waits for the next one.
const STEPS_MAX: usize = 256;
/// Tasks or requests expired in one change: a wave of them delays records by some milliseconds at a time.
const EXPIRE_MAX: usize = 50;
/// Proofs forgotten in one change: each is a row that goes.
const FORGET_MAX: usize = 1_000;

pub(crate) struct Jobs;

impl Jobs {
    pub(crate) fn start(authority: &Arc<Authority>) {
        every(authority, SWEEP_EVERY, |a| async move {
            // What is done once for all replicas, one of them does: one that can do all of it.
            if a.store.is_shared() && a.vault.is_sealed() {
                return Ok(());
            }
            let leads = a.store.leads().await?;
            if leads {
                a.expire_tasks().await?;
                a.settle_lost().await?;
                a.housekeep(a.now()).await?;
            }
            match a.store.is_shared() {
                true if leads => a.end_unheld().await,
                true => Ok(()),
                false => {
                    a.end_lost().await;
                    Ok(())
                }
            }
        });
        let shared = authority.store.is_shared();
        every(authority, if shared { INTEGRATE_EVERY_SHARED } else { INTEGRATE_EVERY }, |a| async move {
            let done = a.integrate().await;
            a.note_integration(done.is_ok());
            done
        });
        every(authority, UNSEAL_EVERY, |a| async move {
            if a.vault.is_sealed() { a.unseal().await } else { Ok(()) }
        });
        every(authority, LOOK_EVERY, |a| async move {
            // One of the replicas looks: one that can do what follows.
            if !(a.store.is_shared() && a.vault.is_sealed()) && a.store.leads().await? {
                a.watch().await?;
            }
            Ok(())
        });
        if shared {
            every(authority, WATCH_EVERY, |a| async move {
                a.cut_when_stale().await;
                Ok(())
            });
            every(authority, KEYS_EVERY, |a| async move { a.follow_keys().await });
            every(authority, HOLD_EVERY, |a| async move { a.keep_holds().await });
            authority.carry_out_orders();
        }
    }
}

/// Runs a job again and again until the authority is gone. A job that fails is tried again at its
/// next turn; what it could not do stays undone and is reported once a minute.
fn every<F>(authority: &Arc<Authority>, pause: Duration, job: impl Fn(Arc<Authority>) -> F + Send + 'static)
where
    F: Future<Output = Result<(), Fault>> + Send,
{
    let authority: Weak<Authority> = Arc::downgrade(authority);
    tokio::spawn(async move {
        let mut reported: Option<Instant> = None;
        loop {
            tokio::time::sleep(pause).await;
            let Some(authority) = authority.upgrade() else { return };
            if let Err(fault) = job(authority).await
                && reported.is_none_or(|at| at.elapsed() > Duration::from_secs(60))
            {
                tracing::warn!(%fault, "a background job could not do its work; it will try again");
                reported = Some(Instant::now());
            }
        }
    });
}

impl Authority {
    async fn expire_tasks(&self) -> Result<(), Fault> {
        loop {
            let now = self.now();
            let store = self.store.of_installation();
            let due = store.read(move |view| view.tasks_due(now, EXPIRE_MAX)).await?;
            if due.is_empty() {
                return Ok(());
            }
            let ended = store
                .change(move |tx| {
                    let mut ended = Vec::new();
                    let end = End { how: Ending::Expired, reason: None, by: "system", now };
                    for due in due {
                        let Some(task) = tx.task(&due.tenant, &due.id)? else { continue };
                        // It may have been extended since it was looked at.
                        if task.over_at(now) {
                            end_with_descendants(tx, task, &end, &mut ended)?;
                        }
                    }
                    Ok::<_, Fault>(ended)
                })
                .await?;
            self.cut_tasks(&ended).await;
        }
    }

    /// Forgets what nothing can refer to any more. Tasks, agents and credentials are not among it: what was ended or
    /// revoked is kept for ever, and so outlives every token that was made for it.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be written.
    pub async fn housekeep(&self, now: Timestamp) -> Result<(), Fault> {
        let store = self.store.of_installation();
        // What came faster than one step takes away must not pile up.
        loop {
            let change = store.change(move |tx| {
                let expired = tx.expire_requests(now, EXPIRE_MAX)?.len();
                let forgotten = tx.forget_used(now, FORGET_MAX)?;
                tx.forget_sessions(now)?;
                Ok::<_, Fault>(expired == EXPIRE_MAX || forgotten == FORGET_MAX)
            });
            if !change.await? {
                return Ok(());
            }
        }
    }

    /// Settles what replicas left open that are gone.
    async fn settle_lost(&self) -> Result<(), Fault> {
        let store = self.store.of_installation();
        for lost in store.lost_replicas() {
            loop {
                let lost = lost.clone();
                if store.change(move |tx| Ok::<_, Fault>(tx.settle_lost(&lost)?)).await? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn note_integration(&self, done: bool) {
        let mut since = self.stalled_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *since = if done { None } else { since.or_else(|| Some(Instant::now())) };
    }

    /// Whether entries have been waiting for their place in the tree for longer than [`STALLED_AFTER`].
    pub(crate) fn integration_stalled(&self) -> bool {
        let since = self.stalled_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        since.is_some_and(|at| at.elapsed() > STALLED_AFTER)
    }

    /// Waits until what was done is durable and under a checkpoint, before the process ends.
    pub async fn quiesce(&self) {
        self.store.flushed().await;
        if let Err(fault) = self.integrate().await {
            tracing::warn!(%fault, "the last entries wait for their checkpoint until the next start");
        }
    }

    /// Integrates what was appended and signs a checkpoint over it.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be written or the vault is sealed.
    pub async fn integrate(&self) -> Result<(), Fault> {
        let Some(keys) = self.keys() else { return Ok(()) };
        let mut before = None;
        // Somebody else may add to the tree all the time: a turn comes to its end all the same.
        for _ in 0..STEPS_MAX {
            let size = self.store.integrate(INTEGRATE_MAX).await?.size;
            if before.replace(size) == Some(size) {
                break;
            }
        }
        let origin = self.ledger_origin();
        let signed = self
            .store
            .checkpoint(|size, root| Checkpoint::new(&origin, size, *root)?.sign(keys.ledger()))
            .await;
        let failed = |error: SignError| Fault::unavailable("checkpoint_failed", error.to_string());
        signed.map_err(failed)?;
        if self.store.is_shared() { self.store.follow().await.map_err(failed) } else { Ok(()) }
    }
}
