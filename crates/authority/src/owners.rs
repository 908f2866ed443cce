//! Owners: add, list, lapse. When an owner lapses, what it owns stops, at once.

use accredit_core::event::Event;
use accredit_core::id::{AgentName, CredentialName, TenantName};
use accredit_core::owner::{OwnerRecord, Standing};
use accredit_core::text::{Owner, Reason};
use accredit_store::{Cut, View};

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
        self.as_operator(by, "owner.add", &owner, self.add_owner_unchecked(by.name().clone(), owner.clone()))
            .await
    }

    async fn add_owner_unchecked(&self, by: Owner, owner: Owner) -> Result<OwnerRecord, Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let record = OwnerRecord { owner, standing: Standing::Active, added_at: now };
        let record = self
            .store
            .change(move |tx| {
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
        let (record, owned) = self.as_operator(by, "owner.lapse", &owner, doing).await?;
        for agent in &owned.agents {
            self.cut_agent(agent).await;
        }
        for credential in &owned.credentials {
            self.cut_credential(credential).await;
        }
        Ok(record)
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
                tx.put_owner(&tenant, &record)?;
                let owned = Owned::of(tx, &tenant, &owner)?;
                for agent in &owned.agents {
                    tx.order(&Cut::Agent(tenant.clone(), agent.clone()))?;
                }
                for credential in &owned.credentials {
                    tx.order(&Cut::Credential(tenant.clone(), credential.clone()))?;
                }
                let event = Event::new(&tenant, "owner.lapsed")
                    .with("owner", &owner)
                    .with_number("agents", owned.agents.len() as u64)
                    .with_number("credentials", owned.credentials.len() as u64)
                    .with("by", by)
                    .with_opt("reason", reason);
                tx.append(event)?;
                Ok((record, owned))
            })
            .await?;
        Ok(done)
    }
}

/// What an owner answers for, as far as something can be under way in its name.
struct Owned {
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
