//! Whether an operator may do something, by the table of rights: asked before it is done, recorded when it is refused.

use std::fmt;
use std::future::Future;

use accredit_core::event::Event;
use accredit_core::id::{AgentName, CredentialName, ResourceName, TaskId};
use accredit_core::rights::{NotAllowed, Operation, may_ask, may_do};
use accredit_core::text::Owner;
use accredit_store::View;

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::operators::Operator;

/// What an operator wants to do something with: whoever answers for it may do more.
#[derive(Debug, Clone)]
pub enum Of {
    /// No single thing.
    Everybody,
    /// An agent.
    Agent(AgentName),
    /// A resource.
    Resource(ResourceName),
    /// A credential, whose resource counts as well.
    Credential(CredentialName),
    /// A task, by its agent.
    Task(TaskId),
}

impl Authority {
    /// Whether an operator may ask for this at all in the role of their session; recorded when not.
    ///
    /// # Errors
    /// [`Fault`] of kind `Denied`.
    pub async fn admit(
        &self,
        by: &Operator,
        operation: Operation,
        target: impl fmt::Display,
    ) -> Result<(), Fault> {
        let Err(not_allowed) = may_ask(by.record(), by.role(), operation) else { return Ok(()) };
        let fault = may_not(&not_allowed);
        self.note_refusal(by, operation, target, &fault).await;
        Err(fault)
    }

    /// Does what an operator asks for if their role may, and records it when it is refused.
    ///
    /// # Errors
    /// [`Fault`] of the use case, or of kind `Denied`.
    pub async fn as_operator<T>(
        &self,
        by: &Operator,
        operation: Operation,
        target: impl fmt::Display,
        doing: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.as_owner(by, operation, Of::Everybody, target, doing).await
    }

    /// The same for what roles may do with what is theirs.
    ///
    /// # Errors
    /// [`Fault`] of the use case, or of kind `Denied`.
    pub async fn as_owner<T>(
        &self,
        by: &Operator,
        operation: Operation,
        of: Of,
        target: impl fmt::Display,
        doing: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.allow(by, operation, of, &target).await?;
        let done = doing.await;
        if let Err(fault) = &done {
            self.note_refusal(by, operation, target, fault).await;
        }
        done
    }

    /// Whether an operator may do this with that; recorded when not.
    ///
    /// # Errors
    /// [`Fault`] of kind `Denied`.
    pub async fn allow(
        &self,
        by: &Operator,
        operation: Operation,
        of: Of,
        target: impl fmt::Display,
    ) -> Result<(), Fault> {
        let owners = self.owners_of(of).await?;
        let Err(not_allowed) = may_do(by.record(), by.role(), operation, &owners) else { return Ok(()) };
        let fault = may_not(&not_allowed);
        self.note_refusal(by, operation, target, &fault).await;
        Err(fault)
    }

    /// Who answers for something that there is.
    async fn owners_of(&self, of: Of) -> Result<Vec<Owner>, Fault> {
        let tenant = self.tenant().clone();
        let read = move |view: &View<'_>| {
            let owners: [Option<Owner>; 2] = match of {
                Of::Everybody => [None, None],
                Of::Agent(name) => [view.agent(&tenant, &name)?.map(|agent| agent.owner), None],
                Of::Resource(name) => [view.resource(&tenant, &name)?.map(|r| r.owner), None],
                Of::Task(id) => match view.task(&tenant, &id)? {
                    Some(task) => [view.agent(&tenant, &task.agent)?.map(|agent| agent.owner), None],
                    None => [None, None],
                },
                Of::Credential(name) => match view.credential(&tenant, &name)? {
                    Some(found) => {
                        [view.resource(&tenant, &found.resource)?.map(|r| r.owner), Some(found.owner)]
                    }
                    None => [None, None],
                },
            };
            Ok(owners.into_iter().flatten().collect())
        };
        Ok(self.store.read(read).await?)
    }

    pub(crate) async fn note_refusal(
        &self,
        by: &Operator,
        operation: Operation,
        target: impl fmt::Display,
        fault: &Fault,
    ) {
        match fault.kind {
            // Nothing was refused: we could not do it, and probably cannot record it either.
            FaultKind::Overloaded | FaultKind::Unavailable => return,
            FaultKind::Invalid
            | FaultKind::Unauthenticated
            | FaultKind::Denied
            | FaultKind::NotFound
            | FaultKind::Conflict => {}
        }
        let event = Event::new(self.tenant(), "operator.refused")
            .with("operator", by.name())
            .with("session", by.session())
            .with("role", by.role().as_str())
            .with("operation", operation)
            .with("target", target)
            .with("code", fault.code)
            .with("reason", &fault.detail);
        if let Err(error) = self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await {
            tracing::error!(%error, %operation, "a refused operation could not be recorded");
        }
    }
}

fn may_not(why: &NotAllowed) -> Fault {
    let sentence = why.to_string();
    match why {
        NotAllowed::Role { .. } => Fault::new(
            FaultKind::Denied,
            "role_may_not",
            sentence,
            "Sign in with another of your roles, or ask somebody who may.",
        ),
        NotAllowed::NotTheirs { .. } => Fault::new(
            FaultKind::Denied,
            "not_yours",
            sentence,
            "Ask whoever answers for it, or an administrator.",
        ),
    }
}
