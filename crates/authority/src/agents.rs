//! Agents: register, list, suspend, resume, give to another owner, add a key.

use std::sync::Arc;

use accredit_core::agent::{Agent, AgentStatus};
use accredit_core::event::Event;
use accredit_core::id::{AgentName, Environment};
use accredit_core::rights::Operation;
use accredit_core::text::{Owner, Reason};
use accredit_core::time::Timestamp;
use accredit_identity::agent::{KeyOrigin, RegisteredKey};
use accredit_identity::key::PublicKey;
use accredit_identity::spiffe::{AgentKind, SpiffeId};
use accredit_store::{AgentKey, StoreError, View};
use serde::{Deserialize, Serialize};

use crate::Authority;
use crate::admission::Of;
use crate::fault::Fault;
use crate::operators::Operator;
use crate::owners::must_answer;
use crate::revoke::Target;

/// Most keys of one agent: one per place it runs in, and the next one during a change.
pub const KEYS_MAX: usize = 16;

/// What is registered of a new agent.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// A new name.
    pub name: AgentName,
    /// What sort of workload it is.
    pub kind: AgentKind,
    /// Where it runs.
    pub environment: Environment,
    /// Who answers for it.
    pub owner: Owner,
    /// The key that it proves itself with.
    pub key: Option<PublicKey>,
    /// The operating system user that may act as this agent through the local socket.
    pub socket_uid: Option<u32>,
}

/// An agent with its keys.
#[derive(Debug, Clone)]
pub struct AgentDetails {
    /// The agent.
    pub agent: Agent,
    /// Who it is to others.
    pub spiffe_id: SpiffeId,
    /// Its keys.
    pub keys: Vec<RegisteredKey>,
}

impl Authority {
    /// Every agent, sorted by name.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn agents(&self) -> Result<Vec<AgentDetails>, Fault> {
        let tenant = self.tenant().clone();
        let found = self
            .store
            .read(move |view| {
                let agents = view.agents(&tenant)?;
                agents
                    .into_iter()
                    .map(|a| Ok((view.agent_keys(&tenant, &a.name)?, a)))
                    .collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        found.into_iter().map(|(keys, agent)| self.details(agent, keys)).collect()
    }

    /// One agent.
    ///
    /// # Errors
    /// [`Fault`] when there is no such agent.
    pub async fn agent(&self, name: AgentName) -> Result<AgentDetails, Fault> {
        let (tenant, asked) = (self.tenant().clone(), name.clone());
        let found = self
            .store
            .read(move |view| {
                let Some(agent) = view.agent(&tenant, &asked)? else { return Ok(None) };
                Ok(Some((view.agent_keys(&tenant, &asked)?, agent)))
            })
            .await?;
        let (keys, agent) = found.ok_or_else(|| Fault::not_found("agent", &name))?;
        self.details(agent, keys)
    }

    fn details(&self, agent: Agent, keys: Vec<AgentKey>) -> Result<AgentDetails, Fault> {
        Ok(AgentDetails { spiffe_id: self.spiffe_id(&agent)?, agent, keys: read_keys(&keys)? })
    }

    /// Registers an agent.
    ///
    /// # Errors
    /// [`Fault`] when the name was given before or nobody answers for it.
    pub async fn register_agent(&self, by: &Operator, new: NewAgent) -> Result<AgentDetails, Fault> {
        let name = new.name.clone();
        let doing = self.register_unchecked(by.name().clone(), new);
        self.as_operator(by, Operation::AgentRegister, &name, doing).await?;
        self.agent(name).await
    }

    async fn register_unchecked(&self, by: Owner, new: NewAgent) -> Result<(), Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let NewAgent { name, kind, environment, owner, key, socket_uid } = new;
        let status = AgentStatus::Enabled;
        let agent = Agent {
            tenant: tenant.clone(),
            name,
            kind,
            environment,
            owner,
            status,
            socket_uid,
            registered_at: now,
        };
        let spiffe_id = self.spiffe_id(&agent)?;
        self.store
            .change(move |tx| {
                if tx.agent(&tenant, &agent.name)?.is_some() {
                    let detail = format!("an agent `{}` was registered before", agent.name);
                    return Err(Fault::conflict(
                        "agent_exists",
                        detail,
                        "Choose another name: names are never given twice.",
                    ));
                }
                must_answer(tx, &tenant, &agent.owner)?;
                tx.put_agent(&agent)?;
                if let Some(key) = &key {
                    tx.add_agent_key(&tenant, &agent.name, &key_row(key, KeyOrigin::Registered, now)?)?;
                }
                let event = Event::new(&tenant, "agent.registered")
                    .with("agent", &agent.name)
                    .with("kind", agent.kind)
                    .with("environment", &agent.environment)
                    .with("owner", &agent.owner)
                    .with("spiffe_id", spiffe_id)
                    .with_opt("key_id", key.map(|k| k.thumbprint()))
                    .with("by", by);
                tx.append(event)?;
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Stops an agent: it starts nothing more, its tasks end, what is under way is cut.
    ///
    /// # Errors
    /// [`Fault`] when there is no such agent or it is suspended.
    pub async fn suspend_agent(
        self: &Arc<Self>,
        by: &Operator,
        name: AgentName,
        reason: Reason,
    ) -> Result<AgentDetails, Fault> {
        let (by_name, asked, because) = (by.clone(), name.clone(), reason.clone());
        let doing = async {
            if self.stop_agent(by_name.name().as_str(), &asked, Some(because)).await? {
                return Ok(());
            }
            let detail = format!("`{asked}` is suspended already");
            Err(Fault::conflict("agent_suspended", detail, "Resume it with `accredit agent resume`."))
        };
        self.as_owner(by, Operation::AgentSuspend, Of::Agent(name.clone()), &name, doing).await?;
        // Suspended first: no task can start between the two steps.
        self.revoke(by.name().as_str(), Target::Agent(name.clone()), Some(reason)).await?;
        self.cut_agent(&name).await;
        self.agent(name).await
    }

    /// Suspends an agent that is not suspended yet; whether it did.
    pub(crate) async fn stop_agent(
        &self,
        by: &str,
        name: &AgentName,
        reason: Option<Reason>,
    ) -> Result<bool, Fault> {
        let (tenant, now, asked, who) = (self.tenant().clone(), self.now(), name.clone(), by.to_owned());
        let stopped = self
            .store
            .change(move |tx| {
                let agent = tx.agent(&tenant, &asked)?.ok_or_else(|| Fault::not_found("agent", &asked))?;
                if !agent.enabled() {
                    return Ok(false);
                }
                let why = reason
                    .clone()
                    .unwrap_or_else(|| Reason::parse("revoked").expect("a plain word is a reason"));
                tx.put_agent(&agent.suspend(why, now))?;
                let event = Event::new(&tenant, "agent.suspended").with("agent", &asked).with("by", who);
                tx.append(event.with_opt("reason", reason))?;
                Ok::<_, Fault>(true)
            })
            .await?;
        Ok(stopped)
    }

    /// Lets an agent start tasks again. What was ended meanwhile stays ended.
    ///
    /// # Errors
    /// [`Fault`] when there is no such agent or it is not suspended.
    pub async fn resume_agent(
        &self,
        by: &Operator,
        name: AgentName,
        reason: Option<Reason>,
    ) -> Result<AgentDetails, Fault> {
        let (tenant, asked, who) = (self.tenant().clone(), name.clone(), by.name().clone());
        let doing = async {
            self.store
                .change(move |tx| {
                    let agent =
                        tx.agent(&tenant, &asked)?.ok_or_else(|| Fault::not_found("agent", &asked))?;
                    if agent.enabled() {
                        let detail = format!("`{asked}` is not suspended");
                        return Err(Fault::conflict("agent_enabled", detail, "Nothing is to be done."));
                    }
                    tx.put_agent(&agent.resume())?;
                    let event = Event::new(&tenant, "agent.resumed").with("agent", &asked).with("by", who);
                    tx.append(event.with_opt("reason", reason))?;
                    Ok(())
                })
                .await?;
            Ok(())
        };
        self.as_owner(by, Operation::AgentResume, Of::Agent(name.clone()), &name, doing).await?;
        self.agent(name).await
    }

    /// Gives an agent to another owner.
    ///
    /// # Errors
    /// [`Fault`] when there is no such agent or nobody answers under that name.
    pub async fn change_agent_owner(
        &self,
        by: &Operator,
        name: AgentName,
        to: Owner,
    ) -> Result<AgentDetails, Fault> {
        let (tenant, asked, who) = (self.tenant().clone(), name.clone(), by.name().clone());
        let doing = async {
            self.store
                .change(move |tx| {
                    let agent =
                        tx.agent(&tenant, &asked)?.ok_or_else(|| Fault::not_found("agent", &asked))?;
                    must_answer(tx, &tenant, &to)?;
                    let event = Event::new(&tenant, "agent.owner_changed")
                        .with("agent", &asked)
                        .with("from", &agent.owner)
                        .with("to", &to)
                        .with("by", who);
                    tx.put_agent(&Agent { owner: to, ..agent })?;
                    tx.append(event)?;
                    Ok::<_, Fault>(())
                })
                .await?;
            Ok(())
        };
        self.as_operator(by, Operation::AgentOwner, &name, doing).await?;
        self.agent(name).await
    }

    /// Adds a public key that an agent may prove itself with.
    ///
    /// # Errors
    /// [`Fault`] when there is no such agent, it has the key, or it has too many.
    pub async fn add_agent_key(
        &self,
        by: &Operator,
        name: AgentName,
        key: PublicKey,
    ) -> Result<AgentDetails, Fault> {
        let (tenant, now, asked, who) = (self.tenant().clone(), self.now(), name.clone(), by.name().clone());
        let doing = async {
            self.store
                .change(move |tx| {
                    let agent =
                        tx.agent(&tenant, &asked)?.ok_or_else(|| Fault::not_found("agent", &asked))?;
                    room_for_key(tx, &agent, &key)?;
                    let event = Event::new(&tenant, "agent.key_added")
                        .with("agent", &asked)
                        .with("key_id", key.thumbprint())
                        .with("algorithm", key.algorithm().as_str())
                        .with("by", who);
                    tx.add_agent_key(&tenant, &agent.name, &key_row(&key, KeyOrigin::Registered, now)?)?;
                    tx.append(event)?;
                    Ok::<_, Fault>(())
                })
                .await?;
            Ok(())
        };
        self.as_operator(by, Operation::AgentKeyAdd, &name, doing).await?;
        self.agent(name).await
    }
}

/// A key as it is kept: the JWK and where it came from.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptKey {
    key: PublicKey,
    origin: KeyOrigin,
}

/// The row that keeps a key.
pub(crate) fn key_row(key: &PublicKey, origin: KeyOrigin, added_at: Timestamp) -> Result<AgentKey, Fault> {
    let thumbprint = key.thumbprint().to_string();
    let jwk = serde_json::to_string(&KeptKey { key: key.clone(), origin }).map_err(|e| broken_key(&e))?;
    Ok(AgentKey { thumbprint, jwk, added_at })
}

/// The keys that rows keep.
pub(crate) fn read_keys(rows: &[AgentKey]) -> Result<Vec<RegisteredKey>, Fault> {
    let read = |row: &AgentKey| {
        let KeptKey { key, origin } = serde_json::from_str(&row.jwk).map_err(|e| broken_key(&e))?;
        Ok(RegisteredKey { key, origin })
    };
    rows.iter().map(read).collect()
}

fn broken_key(cause: &serde_json::Error) -> Fault {
    tracing::error!(%cause, "a stored key of an agent cannot be read");
    Fault::unavailable("agent_key_broken", "a stored key of this agent cannot be read")
}

/// The agent does not have the key yet, and has room for it.
pub(crate) fn room_for_key(view: &View<'_>, agent: &Agent, key: &PublicKey) -> Result<(), Fault> {
    let keys = view.agent_keys(&agent.tenant, &agent.name)?;
    let thumbprint = key.thumbprint().to_string();
    if keys.iter().any(|k| k.thumbprint == thumbprint) {
        return Err(Fault::conflict("key_exists", "the agent has this key already", "Use it."));
    }
    if keys.len() >= KEYS_MAX {
        let detail = format!("the agent has {KEYS_MAX} keys, the most there may be");
        return Err(Fault::conflict("too_many_keys", detail, "Register a new agent for the new place."));
    }
    Ok(())
}
