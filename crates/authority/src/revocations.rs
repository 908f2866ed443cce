//! A revocation that an operator asks for. What it does is `revoke`'s; here it gets its name, its check that
//! there is such a thing, and, for an agent, the suspension that keeps it from starting again.

use std::sync::Arc;

use accredit_core::id::AgentName;
use accredit_core::rights::Operation;
use accredit_core::text::Reason;
use accredit_store::{StoreError, View};

use crate::Authority;
use crate::admission::Of;
use crate::fault::Fault;
use crate::operators::Operator;
use crate::revoke::{Report, Target};

/// What an operator's revocation did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revoked {
    /// What was ended.
    pub report: Report,
    /// Agents that were suspended by it.
    pub agents_suspended: Vec<AgentName>,
}

impl Authority {
    /// Takes authority away in the name of an operator. What does not exist is a fault here, so that a typing
    /// mistake is not taken for a revocation.
    ///
    /// # Errors
    /// [`Fault`] when there is no such thing or the change could not be made durable.
    pub async fn revoke_by(
        self: &Arc<Self>,
        by: &Operator,
        target: Target,
        reason: Option<Reason>,
    ) -> Result<Revoked, Fault> {
        let named = match &target {
            Target::Task(id) => id.to_string(),
            Target::Agent(name) => name.to_string(),
            Target::Credential(name) => name.to_string(),
            Target::All => "all".to_owned(),
        };
        let of = match &target {
            Target::Task(id) => Of::Task(id.clone()),
            Target::Agent(name) => Of::Agent(name.clone()),
            Target::Credential(name) => Of::Credential(name.clone()),
            Target::All => Of::Everybody,
        };
        let doing = async {
            self.must_exist(target.clone()).await?;
            let mut agents_suspended = Vec::new();
            if let Target::Agent(name) = &target
                && self.stop_agent(by.name().as_str(), name, reason.clone()).await?
            {
                agents_suspended.push(name.clone());
            }
            let report = self.revoke(by.name().as_str(), target, reason).await?;
            Ok(Revoked { report, agents_suspended })
        };
        self.as_owner(by, Operation::Revoke, of, named, doing).await
    }

    async fn must_exist(&self, target: Target) -> Result<(), Fault> {
        let tenant = self.tenant().clone();
        let missing = move |view: &View<'_>| {
            Ok::<_, StoreError>(match target {
                Target::Task(id) => view.task(&tenant, &id)?.is_none().then(|| Fault::not_found("task", id)),
                Target::Agent(name) => {
                    view.agent(&tenant, &name)?.is_none().then(|| Fault::not_found("agent", name))
                }
                Target::Credential(name) => {
                    view.credential(&tenant, &name)?.is_none().then(|| Fault::not_found("credential", name))
                }
                Target::All => None,
            })
        };
        self.store.read(missing).await?.map_or(Ok(()), Err)
    }
}
