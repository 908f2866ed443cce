//! Owners: add, list, lapse. When an owner lapses, what it owns stops, at once.

use accredit_core::event::Event;
use accredit_core::id::{AgentName, CredentialName, TenantName};
use accredit_core::owner::{OwnerRecord, Standing};
use accredit_core::rights::Operation;
use accredit_core::text::{Owner, Reason};
use accredit_store::{Cut, Tx, View};

use crate::Authority;
use crate::fault::Fault;
use crate::operators::Operator;

impl Authority {
    /// Every owner, sorted.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn owners(&self) -> Result<Vec<OwnerRecord>, Fault> {
        let tenant = self.tenant().clone();
        Ok(self.store.read(move |view| view.owners(&tenant)).await?)
    }

    /// Adds an owner; one that lapsed answers again.
    ///
    /// # Errors
    /// [`Fault`] when the owner already answers.
    pub async fn add_owner(&self, by: &Operator, owner: Owner) -> Result<OwnerRecord, Fault> {
        self.as_operator(
            by,
            Operation::OwnerAdd,
            &owner,
            self.add_owner_unchecked(by.name().clone(), owner.clone()),
        )
        .await
    }

    async fn add_owner_unchecked(&self, by: Owner, owner: Owner) -> Result<OwnerRecord, Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let record = OwnerRecord { owner, standing: Standing::Active, added_at: now };
        let record = self
            .store
            .change(move |tx| {
                if tx.operator(&tenant, &record.owner)?.is_some_and(|person| !person.active()) {
                    return Err(Fault::conflict(
                        "operator_lapsed",
                        format!(
                            "{} may not act any more, so nothing can be theirs to answer for",
                            record.owner
                        ),
                        "Name somebody else; or let them act again: `accredit operator add`.",
                    ));
                }
                let before = tx.owner(&tenant, &record.owner)?;
                if before.as_ref().is_some_and(OwnerRecord::answers) {
                    let detail = format!("{} is an owner already", record.owner);
                    return Err(Fault::conflict("owner_exists", detail, "Use it."));
                }
                let record = OwnerRecord { added_at: before.map_or(now, |b| b.added_at), ..record };
                tx.put_owner(&tenant, &record)?;
                tx.append(Event::new(&tenant, "owner.added").with("owner", &record.owner).with("by", by))?;
                Ok(record)
            })
            .await?;
        Ok(record)
    }

    /// Stops everything that an owner answers for, and cuts what is under way.
    ///
    /// # Errors
    /// [`Fault`] when there is no such owner or it has lapsed.
    pub async fn lapse_owner(
        &self,
        by: &Operator,
        owner: Owner,
        reason: Option<Reason>,
    ) -> Result<OwnerRecord, Fault> {
        let doing = self.lapse_owner_unchecked(by.name().clone(), owner.clone(), reason);
        let (record, owned) = self.as_operator(by, Operation::OwnerLapse, &owner, doing).await?;
        self.cut_owned(&owned).await;
        Ok(record)
    }

    /// Cuts what is under way in the name of an owner that no longer answers.
    pub(crate) async fn cut_owned(&self, owned: &Owned) {
        for agent in &owned.agents {
            self.cut_agent(agent).await;
        }
        for credential in &owned.credentials {
            self.cut_credential(credential).await;
        }
    }

    async fn lapse_owner_unchecked(
        &self,
        by: Owner,
        owner: Owner,
        reason: Option<Reason>,
    ) -> Result<(OwnerRecord, Owned), Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let done = self
            .store
            .change(move |tx| {
                let record = tx.owner(&tenant, &owner)?.ok_or_else(|| Fault::not_found("owner", &owner))?;
                if !record.answers() {
                    let detail = format!("{owner} has lapsed before");
                    return Err(Fault::conflict("owner_lapsed", detail, "Nothing is to be done."));
                }
                let record = record.lapse(now);
                let owned = stop(tx, &tenant, &record, &by, reason.as_ref())?;
                Ok((record, owned))
            })
            .await?;
        Ok(done)
    }
}

/// Writes that an owner lapsed. Gives what stops with it, which is to be cut here as well.
pub(crate) fn stop(
    tx: &mut Tx<'_>,
    tenant: &TenantName,
    lapsed: &OwnerRecord,
    by: &Owner,
    reason: Option<&Reason>,
) -> Result<Owned, Fault> {
    tx.put_owner(tenant, lapsed)?;
    let owned = Owned::of(tx, tenant, &lapsed.owner)?;
    for agent in &owned.agents {
        tx.order(&Cut::Agent(tenant.clone(), agent.clone()))?;
    }
    for credential in &owned.credentials {
        tx.order(&Cut::Credential(tenant.clone(), credential.clone()))?;
    }
    let event = Event::new(tenant, "owner.lapsed")
        .with("owner", &lapsed.owner)
        .with_number("agents", owned.agents.len() as u64)
        .with_number("credentials", owned.credentials.len() as u64)
        .with("by", by)
        .with_opt("reason", reason);
    tx.append(event)?;
    Ok(owned)
}

/// What an owner answers for, as far as something can be under way in its name.
#[derive(Default)]
pub(crate) struct Owned {
    agents: Vec<AgentName>,
    /// Its own, and those of its resources.
    credentials: Vec<CredentialName>,
}

impl Owned {
    fn of(view: &View<'_>, tenant: &TenantName, owner: &Owner) -> Result<Self, Fault> {
        let agents = view.agents_of_owner(tenant, owner)?.into_iter().map(|a| a.name).collect();
        let own = view.credentials(tenant)?.into_iter().filter(|c| c.owner == *owner).map(|c| c.name);
        let of_resources = view.resources_of_owner(tenant, owner)?.into_iter().filter_map(|r| r.credential);
        let mut credentials: Vec<_> = own.chain(of_resources).collect();
        credentials.sort();
        credentials.dedup();
        Ok(Self { agents, credentials })
    }
}

/// The owner is registered and still answers.
pub(crate) fn must_answer(view: &View<'_>, tenant: &TenantName, owner: &Owner) -> Result<(), Fault> {
    match view.owner(tenant, owner)? {
        Some(record) if record.answers() => Ok(()),
        Some(_) => Err(Fault::invalid(
            "owner_lapsed",
            format!("{owner} no longer answers for anything"),
            format!("Name another owner, or let it answer again: `accredit owner add {owner}`."),
        )),
        None => Err(Fault::invalid(
            "unknown_owner",
            format!("{owner} is not an owner"),
            format!("Name one of `accredit owner ls`, or add it first: `accredit owner add {owner}`."),
        )),
    }
}
