//! Agents and the public keys that they prove themselves with.

use accredit_core::agent::Agent;
use accredit_core::id::{AgentName, TenantName};
use accredit_core::text::Owner;
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::postgres::Cut;
use crate::sql::Row;
use crate::stamp::Subject;
use crate::tx::{Tx, text};
use crate::view::View;

/// A public key of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentKey {
    /// Its thumbprint (RFC 7638), as text.
    pub thumbprint: String,
    /// The key, as whoever registered it gave it: opaque here.
    pub jwk: String,
    /// When it was registered.
    pub added_at: Timestamp,
}

fn key(row: &Row<'_>) -> Result<AgentKey, StoreError> {
    Ok(AgentKey { thumbprint: row.get(0)?, jwk: row.get(1)?, added_at: Timestamp::from_ms(row.get(2)?) })
}

impl View<'_> {
    /// One agent.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn agent(&self, tenant: &TenantName, name: &AgentName) -> Result<Option<Agent>, StoreError> {
        let sql = "SELECT doc FROM agent WHERE tenant = ?1 AND name = ?2";
        self.doc("agent", sql, (tenant.as_str(), name.as_str()))
    }

    /// Every agent of a tenant, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn agents(&self, tenant: &TenantName) -> Result<Vec<Agent>, StoreError> {
        self.docs("agent", "SELECT doc FROM agent WHERE tenant = ?1 ORDER BY name", [tenant.as_str()])
    }

    /// Every agent that an owner answers for.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn agents_of_owner(&self, tenant: &TenantName, owner: &Owner) -> Result<Vec<Agent>, StoreError> {
        let sql = "SELECT doc FROM agent WHERE tenant = ?1 AND owner = ?2 ORDER BY name";
        self.docs("agent", sql, (tenant.as_str(), owner.as_str()))
    }

    /// The keys of an agent, by thumbprint.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn agent_keys(&self, tenant: &TenantName, agent: &AgentName) -> Result<Vec<AgentKey>, StoreError> {
        let sql = "SELECT thumbprint, jwk, added_at FROM agent_key WHERE tenant = ?1 AND agent = ?2 ORDER BY thumbprint";
        self.rows(sql, (tenant.as_str(), agent.as_str()), key)
    }

    /// The key of an agent with this thumbprint.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn agent_key(
        &self,
        tenant: &TenantName,
        agent: &AgentName,
        thumbprint: &str,
    ) -> Result<Option<AgentKey>, StoreError> {
        let sql = "SELECT thumbprint, jwk, added_at FROM agent_key WHERE tenant = ?1 AND agent = ?2 AND thumbprint = ?3";
        self.row(sql, (tenant.as_str(), agent.as_str(), thumbprint), key)
    }
}

impl Tx<'_> {
    /// Writes an agent, new or changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_agent(&mut self, agent: &Agent) -> Result<(), StoreError> {
        let sql = "INSERT INTO agent (tenant, name, owner, socket_uid, doc) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (tenant, name) DO UPDATE SET owner = excluded.owner, socket_uid = excluded.socket_uid,
                doc = excluded.doc";
        let doc = text("agent", agent)?;
        let (tenant, name) = (agent.tenant.as_str(), agent.name.as_str());
        self.execute(sql, (tenant, name, agent.owner.as_str(), agent.socket_uid, doc))?;
        if !agent.enabled() {
            self.order(&Cut::Agent(agent.tenant.clone(), agent.name.clone()))?;
        }
        self.bump(Subject::agent(&agent.tenant, &agent.name))
    }

    /// Adds a key to an agent. `false`: the agent has it already.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such agent; otherwise when the database fails.
    pub fn add_agent_key(
        &mut self,
        tenant: &TenantName,
        agent: &AgentName,
        key: &AgentKey,
    ) -> Result<bool, StoreError> {
        let sql =
            "INSERT INTO agent_key (tenant, agent, thumbprint, jwk, added_at) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT DO NOTHING";
        let row = (tenant.as_str(), agent.as_str(), &key.thumbprint, &key.jwk, key.added_at.as_ms());
        Ok(self.execute(sql, row)? == 1)
    }
}
