//! A new epoch: nothing that was granted before it counts. A database of the past knows nothing of what was taken away
//! since, so that everything it would still let in is ended, before anybody is served.

use accredit_core::event::Event;
use accredit_core::id::TenantName;
use accredit_core::task::Ending;
use accredit_core::text::Reason;
use accredit_store::{TaskStatus, Tx};

use crate::Authority;
use crate::fault::Fault;
use crate::revoke::{End, end_all};

/// Why tasks of an earlier epoch ended, as it stands in the ledger.
const REASON: &str = "a new epoch was opened: nothing granted before it counts";

impl Authority {
    /// Ends every task of every tenant and voids join tokens, sign-in links and sessions, where an epoch was opened
    /// and that was not done yet. Interrupted, it is taken up by the next start.
    ///
    /// # Errors
    /// [`Fault`] when the store fails; then nobody must be served.
    pub(crate) async fn void_what_was_granted_before(&self) -> Result<(), Fault> {
        let store = self.store.of_installation();
        if !store.read(|view| view.granted_before_epoch()).await? {
            return Ok(());
        }
        tracing::warn!("a new epoch was opened: everything that was granted before it is taken away");
        let (tenants, now) = (store.read(|view| view.tenants()).await?, self.now());
        let mut ended = 0;
        for tenant in tenants {
            ended += store.change(move |tx| end_granted(tx, &tenant, now)).await?;
        }
        store.change(|tx| Ok::<_, Fault>(tx.void_entrances()?)).await?;
        tracing::warn!("{ended} tasks ended; join tokens, sign-in links and sessions are void");
        Ok(())
    }
}

fn end_granted(
    tx: &mut Tx<'_>,
    tenant: &TenantName,
    now: accredit_core::time::Timestamp,
) -> Result<usize, Fault> {
    // The acknowledgement is the installation's; that it happened is said to each tenant as well.
    let head = tx.tree_head()?;
    let opened = Event::new(tenant, "epoch.opened").with_number("epoch", head.epoch);
    tx.append(opened.with_number("size", head.size).with("root", head.root).with("by", "system"))?;
    let reason = Reason::parse(REASON).ok();
    let end = End { how: Ending::Revoked, reason: reason.as_ref(), by: "system", now };
    let mut ended = Vec::new();
    for status in [TaskStatus::Proposed, TaskStatus::Active] {
        end_all(tx, tenant, status, &end, &mut ended)?;
    }
    Ok(ended.len())
}
