//! What replicas do beside each other: one carries out what another has ordered, follows the keys that another has
//! changed, says which runners it sees, and lets nothing go on when it is not heard of. With one process there is
//! nothing of this to do.

use std::sync::Arc;
use std::time::Duration;

use accredit_core::id::TaskId;
use accredit_core::task::Ending;
use accredit_core::text::Reason;
use accredit_store::{Cut, CutOrder, Tx};

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::live::About;

/// How long a runner is taken to be there after its replica has said so: a few times as long as that takes, and long
/// enough for the runner to come back to another replica.
pub(crate) const HELD_FOR: Duration = Duration::from_secs(8);
/// Tasks without runner that are ended in one turn.
const LOST_MAX: usize = 200;

impl Authority {
    /// Takes the orders of other replicas from now on.
    pub(crate) fn carry_out_orders(self: &Arc<Self>) {
        let Some(mut orders) = self.store.cut_orders() else { return };
        let authority = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                let Some(authority) = authority.upgrade() else { return };
                authority.carry_out(order).await;
            }
        });
    }

    async fn carry_out(&self, order: CutOrder) {
        let report = match &order.cut {
            Cut::Credential(tenant, _) if tenant != self.tenant() => return,
            Cut::Credential(_, name) => self.cut_credential(name).await,
            cut => self.live.cut(|about| concerns(cut, about)).await,
        };
        if report.cut > 0 {
            tracing::info!(cut = report.cut, pending = report.pending, "another replica had this cut");
        }
        // The order is carried out when it is dropped, which says so.
        drop(order);
    }

    /// Cuts everything when this replica is not heard of: what was revoked meanwhile, it cannot know.
    pub(crate) async fn cut_when_stale(&self) {
        if self.store.is_stale() && self.live.count() > 0 {
            let report = self.live.cut(|_| true).await;
            tracing::warn!(cut = report.cut, "the database does not hear this replica: everything was cut");
        }
    }

    /// Takes over the data keys that another replica has made.
    pub(crate) async fn follow_keys(&self) -> Result<(), Fault> {
        if self.vault.is_sealed() {
            return Ok(());
        }
        let wrapped = self.wrapped_keys().await?;
        let newest = wrapped.iter().max_by_key(|w| w.number).map(|w| (w.kek.clone(), w.number));
        if newest.is_some() && newest != self.vault.key_ids().map(|(kek, number)| (kek.to_string(), number)) {
            self.unseal_with_key_at_hand(&wrapped)?;
            self.blobs.clear();
            tracing::info!("the keys that another replica has made are in use");
        }
        Ok(())
    }

    /// Says which runners hold their tasks here.
    pub(crate) async fn keep_holds(&self) -> Result<(), Fault> {
        let held = self.holds.held();
        if held.is_empty() {
            return Ok(());
        }
        self.say_held(held, HELD_FOR).await
    }

    /// Says to the other replicas that these runners are there, or awaited, for so long from now.
    pub(crate) async fn say_held(&self, tasks: Vec<TaskId>, how_long: Duration) -> Result<(), Fault> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let (tenant, ms) = (self.tenant().clone(), u64::try_from(how_long.as_millis()).unwrap_or(u64::MAX));
        let say = move |tx: &mut Tx<'_>| {
            for task in &tasks {
                tx.hold_task(&tenant, task, ms)?;
            }
            Ok::<_, Fault>(())
        };
        Ok(self.store.change(say).await?)
    }

    /// Ends the tasks whose runners no replica has seen for a while.
    pub(crate) async fn end_unheld(&self) -> Result<(), Fault> {
        let store = self.store.of_installation();
        for task in store.read(|view| view.tasks_without_runner(LOST_MAX)).await? {
            let reason = Reason::parse("its runner is gone").ok();
            match self.end_task("system", task.id.clone(), Ending::Failed, reason).await {
                Err(fault) if fault.kind != FaultKind::NotFound => return Err(fault),
                _ => {}
            }
        }
        Ok(())
    }

    /// That nothing may be let out now, when this replica is not heard of.
    ///
    /// # Errors
    /// [`Fault`] then.
    pub(crate) fn must_be_heard(&self) -> Result<(), Fault> {
        if self.store.is_stale() {
            let detail =
                "this replica has not been heard of by the database for too long, so nothing is allowed";
            return Err(Fault::unavailable("stale", detail));
        }
        Ok(())
    }
}

fn concerns(cut: &Cut, about: &About) -> bool {
    match cut {
        Cut::Task(tenant, id) => about.tenant == *tenant && about.task == *id,
        Cut::Agent(tenant, name) => about.tenant == *tenant && about.agent == *name,
        Cut::Credential(tenant, name) => about.tenant == *tenant && about.credential.as_ref() == Some(name),
        Cut::Tenant(tenant) => about.tenant == *tenant,
        Cut::Everything => true,
    }
}
