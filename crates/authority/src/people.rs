//! People as they are registered: list, add, change, lapse. Signing in is in `operators`.
//!
//! An operator is a person who may act; an owner is who answers for something. Where one person is both, a lapse of the
//! operator takes the owner along in the same transaction: what they owned falls to the successor that was named for
//! them, or stops. The other way round, an owner that lapses may still sign in.

use std::collections::BTreeSet;

use accredit_core::agent::Agent;
use accredit_core::approval::{Request, RequestState};
use accredit_core::credential::Credential;
use accredit_core::event::{Event, about_request};
use accredit_core::id::TenantName;
use accredit_core::operator::{Group, Operator as Person, OperatorChange, OperatorError, Role};
use accredit_core::owner::{OwnerRecord, Standing};
use accredit_core::resource::Resource;
use accredit_core::rights::Operation;
use accredit_core::text::{Owner, Reason};
use accredit_core::time::Timestamp;
use accredit_store::{RequestFilter, RequestStatus, StoreError, Tx, View};

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::operators::{Operator, added};
use crate::owners::{Owned, must_answer, stop};

/// A person to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPerson {
    /// Who.
    pub name: Owner,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// Which groups they are in.
    pub groups: BTreeSet<Group>,
    /// Another account of the same person.
    pub same_person_as: Option<Owner>,
    /// Who takes over what they own when they lapse.
    pub successor: Option<Owner>,
}

/// What the lapse of a person did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapsed {
    /// The account that was named, as it is now.
    pub person: Person,
    /// Every account of the person, all of which lapsed.
    pub accounts: Vec<Owner>,
    /// Sessions that ended.
    pub sessions: u64,
    /// Who owns from now on what they owned. `None`: it stops, or there was nothing.
    pub fell_to: Option<Owner>,
}

impl Authority {
    /// Every registered person, by name.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn people(&self) -> Result<Vec<Person>, Fault> {
        let tenant = self.tenant().clone();
        Ok(self.store.read(move |view| view.operators(&tenant)).await?)
    }

    /// One registered person.
    ///
    /// # Errors
    /// [`Fault`] when there is no such person.
    pub async fn person(&self, name: Owner) -> Result<Person, Fault> {
        let (tenant, asked) = (self.tenant().clone(), name.clone());
        let found = self.store.read(move |view| view.operator(&tenant, &asked)).await?;
        found.ok_or_else(|| Fault::not_found("operator", &name))
    }

    /// Registers a person; one that lapsed may act again, with what is given now.
    ///
    /// # Errors
    /// [`Fault`] when they are registered, or cannot be so.
    pub async fn add_person(&self, by: &Operator, new: NewPerson) -> Result<Person, Fault> {
        let name = new.name.clone();
        let doing = self.add_person_unchecked(by.record().clone(), new);
        self.as_operator(by, Operation::OperatorAdd, &name, doing).await
    }

    async fn add_person_unchecked(&self, by: Person, new: NewPerson) -> Result<Person, Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let person = self
            .store
            .change(move |tx| {
                let person = match tx.operator(&tenant, &new.name)? {
                    Some(person) if person.active() => {
                        let detail = format!("{} is registered already", new.name);
                        let next = "Change them: `accredit operator change`.";
                        return Err(Fault::conflict("operator_exists", detail, next));
                    }
                    Some(person) => {
                        person.may_be_changed_by(&by).map_err(|e| cannot_be(&e))?;
                        person.restore()
                    }
                    None => Person::first(&tenant, &new.name, Role::Auditor, now),
                };
                let change = OperatorChange {
                    roles: Some(new.roles),
                    groups: Some(new.groups),
                    same_person_as: Some(main_account(tx, &tenant, &new.name, new.same_person_as)?),
                    successor: Some(new.successor),
                    drop_passkeys: true,
                };
                let person = person.change(change).map_err(|e| cannot_be(&e))?;
                successor_answers(tx, &person)?;
                tx.put_operator(&person)?;
                tx.append(added(&person, by.name.as_str()))?;
                Ok(person)
            })
            .await?;
        Ok(person)
    }

    /// Changes what a person may do. Sessions for a role that they no longer have end.
    ///
    /// # Errors
    /// [`Fault`] when there is no such person, it is whoever asks, or they cannot be so.
    pub async fn change_person(
        &self,
        by: &Operator,
        name: Owner,
        change: OperatorChange,
        reason: Option<Reason>,
    ) -> Result<Person, Fault> {
        let doing = self.change_person_unchecked(by.record().clone(), name.clone(), change, reason);
        self.as_operator(by, Operation::OperatorChange, &name, doing).await
    }

    async fn change_person_unchecked(
        &self,
        by: Person,
        name: Owner,
        change: OperatorChange,
        reason: Option<Reason>,
    ) -> Result<Person, Fault> {
        let tenant = self.tenant().clone();
        let person = self
            .store
            .change(move |tx| {
                let before = active(tx, &tenant, &name)?;
                before.may_be_changed_by(&by).map_err(|e| cannot_be(&e))?;
                let same_person_as = match change.same_person_as.clone() {
                    Some(other) => Some(main_account(tx, &tenant, &name, other)?),
                    None => None,
                };
                let change = OperatorChange { same_person_as, ..change };
                let after = before.clone().change(change).map_err(|e| cannot_be(&e))?;
                let fields = after.differs_in(&before);
                if fields.is_empty() {
                    return Ok(after);
                }
                successor_answers(tx, &after)?;
                tx.put_operator(&after)?;
                let lost = before.roles.difference(&after.roles).copied();
                let ended = tx.end_sessions_of(&tenant, &name, lost)?;
                let event = Event::new(&tenant, "operator.changed")
                    .with("operator", &name)
                    .with_list("fields", fields)
                    .with_list("roles", &after.roles)
                    .with_list("groups", after.groups.iter().map(Group::as_str))
                    .with_opt("same_person_as", after.same_person_as.as_ref())
                    .with_opt("successor", after.successor.as_ref())
                    .with_number("sessions", ended as u64)
                    .with("by", &by.name)
                    .with_opt("reason", reason);
                tx.append(event)?;
                Ok(after)
            })
            .await?;
        Ok(person)
    }

    /// Lets a person lapse, with every account that is known to be theirs: their sessions end, a yes of theirs that was
    /// not used counts for nothing, and what they own falls to their successor or stops.
    ///
    /// # Errors
    /// [`Fault`] when there is no such person, they lapsed before, or it is whoever asks.
    pub async fn lapse_person(
        &self,
        by: &Operator,
        name: Owner,
        reason: Option<Reason>,
    ) -> Result<Lapsed, Fault> {
        let doing = self.lapse_person_unchecked(Leaver::Person(by.record().clone()), name.clone(), reason);
        let (lapsed, stopped) = self.as_operator(by, Operation::OperatorLapse, &name, doing).await?;
        self.cut_lapsed(&stopped).await;
        Ok(lapsed)
    }

    /// The same because the identity provider says so.
    ///
    /// # Errors
    /// [`Fault`] when it could not be written.
    pub(crate) async fn lapse_by_provider(
        &self,
        by: Owner,
        name: Owner,
        reason: Option<Reason>,
    ) -> Result<(), Fault> {
        let (_, stopped) = self.lapse_person_unchecked(Leaver::Provider(by), name, reason).await?;
        self.cut_lapsed(&stopped).await;
        Ok(())
    }

    async fn cut_lapsed(&self, stopped: &[Owned]) {
        for owned in stopped {
            self.cut_owned(owned).await;
        }
        self.answers.tell();
    }

    async fn lapse_person_unchecked(
        &self,
        by: Leaver,
        name: Owner,
        reason: Option<Reason>,
    ) -> Result<(Lapsed, Vec<Owned>), Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let done = self
            .store
            .change(move |tx| {
                let named = active(tx, &tenant, &name)?;
                if let Leaver::Person(who) = &by {
                    named.may_be_changed_by(who).map_err(|e| cannot_be(&e))?;
                }
                let of_person = |other: &Person| other.active() && other.is_same_person_as(&named);
                let accounts: Vec<Person> = tx.operators(&tenant)?.into_iter().filter(of_person).collect();
                let leave = Leave { by: by.name(), reason: reason.as_ref(), now };
                // All of them first: none is the successor of another.
                for account in &accounts {
                    tx.put_operator(&account.clone().lapse(now))?;
                }
                let (mut sessions, mut fell_to, mut stopped) = (0, None, Vec::new());
                for account in &accounts {
                    let left = leave.account(tx, account)?;
                    sessions += left.sessions;
                    fell_to = fell_to.or(left.fell_to);
                    stopped.extend(left.stopped);
                }
                let accounts = accounts.into_iter().map(|account| account.name).collect();
                Ok::<_, Fault>((Lapsed { person: named.lapse(now), accounts, sessions, fell_to }, stopped))
            })
            .await?;
        Ok(done)
    }
}

/// Who says that somebody goes.
enum Leaver {
    /// A person who may.
    Person(Person),
    /// The identity provider, by a name of its own.
    Provider(Owner),
}

impl Leaver {
    const fn name(&self) -> &Owner {
        match self {
            Self::Person(who) => &who.name,
            Self::Provider(name) => name,
        }
    }
}

/// How somebody goes.
struct Leave<'a> {
    by: &'a Owner,
    reason: Option<&'a Reason>,
    now: Timestamp,
}

/// What one account left behind.
#[derive(Default)]
struct Left {
    sessions: u64,
    fell_to: Option<Owner>,
    stopped: Option<Owned>,
}

impl Leave<'_> {
    fn account(&self, tx: &mut Tx<'_>, account: &Person) -> Result<Left, Fault> {
        let ended = tx.end_sessions_of(&account.tenant, &account.name, Role::ALL)?;
        let mut left = Left { sessions: ended as u64, ..Left::default() };
        let event = Event::new(&account.tenant, "operator.lapsed")
            .with("operator", &account.name)
            .with_number("sessions", left.sessions)
            .with("by", self.by)
            .with_opt("reason", self.reason);
        let owner = tx.owner(&account.tenant, &account.name)?.filter(OwnerRecord::answers);
        let heir = heir(tx, account)?;
        match (owner, heir) {
            (None, _) => drop(tx.append(event)?),
            (Some(owner), None) => {
                tx.append(event)?;
                left.stopped = Some(stop(tx, &account.tenant, &owner.lapse(self.now), self.by, self.reason)?);
            }
            (Some(owner), Some(heir)) => {
                let estate = Estate::of(tx, account)?;
                let event = event
                    .with("successor", &heir)
                    .with_number("agents", estate.agents.len() as u64)
                    .with_number("resources", estate.resources.len() as u64)
                    .with_number("credentials", estate.credentials.len() as u64);
                tx.append(event)?;
                self.hand_over(tx, estate, &heir)?;
                self.withdraw_questions(tx, account)?;
                // Nothing is theirs any more, so nothing stops with it.
                left.stopped = Some(stop(tx, &account.tenant, &owner.lapse(self.now), self.by, self.reason)?);
                left.fell_to = Some(heir);
            }
        }
        Ok(left)
    }

    /// Each thing gets its new owner, and each its entry.
    fn hand_over(&self, tx: &mut Tx<'_>, estate: Estate, heir: &Owner) -> Result<(), Fault> {
        for agent in estate.agents {
            let event = Event::new(&agent.tenant, "agent.owner_changed")
                .with("agent", &agent.name)
                .with("from", &agent.owner)
                .with("to", heir)
                .with("by", self.by)
                .with_opt("reason", self.reason);
            tx.append(event)?;
            tx.put_agent(&Agent { owner: heir.clone(), ..agent })?;
        }
        for resource in estate.resources {
            let event = Event::new(&resource.tenant, "resource.changed")
                .with("resource", &resource.name)
                .with_list("fields", ["owner"])
                .with("owner", heir)
                .with("by", self.by)
                .with_opt("reason", self.reason);
            tx.append(event)?;
            tx.put_resource(&Resource { owner: heir.clone(), ..resource })?;
        }
        for credential in estate.credentials {
            let event = Event::new(&credential.tenant, "credential.owner_changed")
                .with("credential", &credential.name)
                .with("from", &credential.owner)
                .with("to", heir)
                .with("by", self.by)
                .with_opt("reason", self.reason);
            tx.append(event)?;
            tx.put_credential(&Credential { owner: heir.clone(), ..credential })?;
        }
        Ok(())
    }

    /// What was asked of them as the owner, nobody can answer any more: whoever asks again asks the successor.
    fn withdraw_questions(&self, tx: &mut Tx<'_>, account: &Person) -> Result<(), Fault> {
        for request in pending(tx, &account.tenant)? {
            if !request.terms.approvers.is_empty() || *request.asked.owner() != account.name {
                continue;
            }
            let by = Some(self.by.to_string());
            let request = Request { state: RequestState::Withdrawn { at: self.now, by }, ..request };
            let event = about_request("request.closed", &request)
                .with("outcome", "withdrawn")
                .with("by", self.by)
                .with_opt("reason", self.reason);
            tx.append(event)?;
            tx.change_request(&request)?;
        }
        Ok(())
    }
}

/// What a person owns.
struct Estate {
    agents: Vec<Agent>,
    resources: Vec<Resource>,
    credentials: Vec<Credential>,
}

impl Estate {
    fn of(view: &View<'_>, account: &Person) -> Result<Self, StoreError> {
        let (tenant, name) = (&account.tenant, &account.name);
        let credentials = view.credentials(tenant)?.into_iter().filter(|c| c.owner == *name).collect();
        Ok(Self {
            agents: view.agents_of_owner(tenant, name)?,
            resources: view.resources_of_owner(tenant, name)?,
            credentials,
        })
    }
}

fn pending(view: &View<'_>, tenant: &TenantName) -> Result<Vec<Request>, StoreError> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let filter =
            RequestFilter { status: Some(RequestStatus::Pending), before, ..RequestFilter::default() };
        let page = view.requests(tenant, &filter)?;
        before = page.last().map(|last| last.id.clone());
        if before.is_none() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The successor, if it still answers.
fn heir(view: &View<'_>, person: &Person) -> Result<Option<Owner>, StoreError> {
    let Some(successor) = &person.successor else { return Ok(None) };
    let answers = view.owner(&person.tenant, successor)?.is_some_and(|owner| owner.answers());
    let acts = view.operator(&person.tenant, successor)?.is_none_or(|person| person.active());
    Ok((answers && acts).then(|| successor.clone()))
}

fn successor_answers(view: &View<'_>, person: &Person) -> Result<(), Fault> {
    match &person.successor {
        Some(successor) => must_answer(view, &person.tenant, successor),
        None => Ok(()),
    }
}

/// The account that stands for the person behind `other`, which `name` is to be another account of.
fn main_account(
    view: &View<'_>,
    tenant: &TenantName,
    name: &Owner,
    other: Option<Owner>,
) -> Result<Option<Owner>, Fault> {
    let Some(other) = other else { return Ok(None) };
    let unknown = || {
        let detail = format!("{other} is not registered");
        Fault::conflict("unknown_operator", detail, "Name one of `accredit operator ls`.")
    };
    let found = view.operator(tenant, &other)?.ok_or_else(unknown)?;
    let has_others = view.operators(tenant)?.iter().any(|one| one.same_person_as.as_ref() == Some(name));
    if has_others {
        let detail = format!("other accounts are registered as the same person as {name}");
        return Err(Fault::conflict("has_accounts", detail, "Name this one in the other account instead."));
    }
    Ok(Some(found.person().clone()))
}

fn active(view: &View<'_>, tenant: &TenantName, name: &Owner) -> Result<Person, Fault> {
    let person = view.operator(tenant, name)?.ok_or_else(|| Fault::not_found("operator", name))?;
    match person.standing {
        Standing::Active => Ok(person),
        Standing::Lapsed { .. } => Err(Fault::conflict(
            "operator_lapsed",
            format!("{name} has lapsed before"),
            "Let them act again: `accredit operator add`.",
        )),
    }
}

pub(crate) fn cannot_be(error: &OperatorError) -> Fault {
    let why = error.to_string();
    match error {
        OperatorError::NotAPerson(_) => {
            Fault::invalid("not_a_person", why, "Name a person: `person@organisation`.")
        }
        OperatorError::NoRole => {
            Fault::invalid("no_role", why, "Name a role; or let them lapse: `accredit operator lapse`.")
        }
        OperatorError::TooManyPasskeys => Fault::conflict("too_many_passkeys", why, "Take one away first."),
        OperatorError::TooManyGroups => Fault::invalid("too_many_groups", why, "Leave some out."),
        OperatorError::Itself(_) => Fault::invalid("same_operator", why, "Name somebody else."),
        OperatorError::OwnAccount(_) => {
            Fault::new(FaultKind::Denied, "own_account", why, "Ask another administrator to do it.")
        }
    }
}
