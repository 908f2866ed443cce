//! Join tokens: made by an operator, redeemed exactly once for a registered key.

use accredit_core::digest::Digest;
use accredit_core::event::Event;
use accredit_core::id::{AgentName, JoinTokenId};
use accredit_core::rights::Operation;
use accredit_core::text::Owner;
use accredit_core::time::Timestamp;
use accredit_identity::agent::KeyOrigin;
use accredit_identity::join::JoinToken;
use accredit_identity::key::PublicKey;
use accredit_store::JoinToken as JoinRow;

use crate::Authority;
use crate::agents::{AgentDetails, key_row, room_for_key};
use crate::fault::{Fault, FaultKind};
use crate::operators::{Operator, at, ms};

/// Life of a join token for which nobody asked otherwise, in seconds.
pub const JOIN_TTL_S_DEFAULT: u64 = 600;
/// Longest life of a join token, in seconds: a machine that is set up today.
pub const JOIN_TTL_S_MAX: u64 = 24 * 3_600;

/// A join token, shown this once.
pub struct JoinTokenMade {
    /// Its name in the ledger.
    pub id: JoinTokenId,
    /// The token.
    pub token: JoinToken,
    /// From when on it no longer works.
    pub expires_at: Timestamp,
}

impl Authority {
    /// Makes a join token for an agent.
    ///
    /// # Errors
    /// [`Fault`] when there is no such agent or the life is out of range.
    pub async fn create_join_token(
        &self,
        by: &Operator,
        agent: AgentName,
        ttl_s: Option<u64>,
    ) -> Result<JoinTokenMade, Fault> {
        let doing = self.create_join_token_unchecked(by.name().clone(), agent.clone(), ttl_s);
        self.as_operator(by, Operation::JoinTokenCreate, &agent, doing).await
    }

    async fn create_join_token_unchecked(
        &self,
        by: Owner,
        agent: AgentName,
        ttl_s: Option<u64>,
    ) -> Result<JoinTokenMade, Fault> {
        let ttl_s = ttl_s.unwrap_or(JOIN_TTL_S_DEFAULT);
        if !(1..=JOIN_TTL_S_MAX).contains(&ttl_s) {
            let detail = format!("a join token lives 1 to {JOIN_TTL_S_MAX} seconds");
            return Err(Fault::invalid("ttl_out_of_range", detail, "Ask for a shorter life."));
        }
        let (tenant, now) = (self.tenant().clone(), self.now());
        let token = JoinToken::from_random(self.draw32());
        let row = JoinRow {
            id: JoinTokenId::from_random(self.draw16()),
            tenant: tenant.clone(),
            hash: Digest::from_bytes(*token.digest().as_bytes()),
            agent,
            expires_at: now.plus_ms(ms(ttl_s)),
        };
        let (id, expires_at) = (row.id.clone(), row.expires_at);
        self.store
            .change(move |tx| {
                if tx.agent(&tenant, &row.agent)?.is_none() {
                    return Err(Fault::not_found("agent", &row.agent));
                }
                tx.put_join_token(&row)?;
                let event = Event::new(&tenant, "join_token.created")
                    .with("join_token", &row.id)
                    .with("agent", &row.agent)
                    .with_number("expires_at", at(row.expires_at))
                    .with("by", by);
                tx.append(event)?;
                Ok(())
            })
            .await?;
        Ok(JoinTokenMade { id, token, expires_at })
    }

    /// Redeems a join token: registers the key, once.
    ///
    /// # Errors
    /// [`Fault`] of kind `Unauthenticated`, recorded, in the same words for every token that does not work.
    pub async fn join(&self, token: &str, key: PublicKey, address: &str) -> Result<AgentDetails, Fault> {
        let Ok(token) = JoinToken::parse(token) else {
            return Err(self.refuse_join("malformed", address).await);
        };
        let (tenant, now, from) = (self.tenant().clone(), self.now(), address.to_owned());
        let hash = Digest::from_bytes(*token.digest().as_bytes());
        let joined = self
            .store
            .change(move |tx| {
                let Some(row) = tx.redeem_join_token(&hash, now)?.filter(|row| row.tenant == tenant) else {
                    return Ok(None);
                };
                let agent =
                    tx.agent(&tenant, &row.agent)?.ok_or_else(|| Fault::not_found("agent", &row.agent))?;
                room_for_key(tx, &agent, &key)?;
                let event = Event::new(&tenant, "agent.joined")
                    .with("agent", &agent.name)
                    .with("join_token", &row.id)
                    .with("key_id", key.thumbprint())
                    .with("address", from);
                tx.add_agent_key(&tenant, &agent.name, &key_row(&key, KeyOrigin::Joined, now)?)?;
                tx.append(event)?;
                Ok::<_, Fault>(Some(agent.name))
            })
            .await?;
        match joined {
            Some(name) => self.agent(name).await,
            None => Err(self.refuse_join("not_usable", address).await),
        }
    }

    async fn refuse_join(&self, code: &'static str, address: &str) -> Fault {
        let event =
            Event::new(self.tenant(), "join_token.refused").with("address", address).with("code", code);
        if let Err(fault) = self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await {
            return fault.into();
        }
        Fault::new(
            FaultKind::Unauthenticated,
            "join_token_not_usable",
            "this join token is wrong, was used before, or is too old",
            "Ask whoever answers for the agent for a new one: `accredit agent token NAME`.",
        )
    }
}
