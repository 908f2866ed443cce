//! What may be used once: join tokens, and proofs by their digest.
//!
//! One statement finds and marks, and it must have changed exactly one row: two users of the same thing
//! cannot both succeed, whatever the order, and not after a restart either.

use accredit_core::digest::Digest;
use accredit_core::id::{AgentName, JoinTokenId, TenantName};
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::sql::Conn;
use crate::tx::Tx;

/// A one-time join token: who joins with it. Only the digest of its text is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Its id, which may be shown.
    pub id: JoinTokenId,
    /// Whose.
    pub tenant: TenantName,
    /// The agent that joins.
    pub agent: AgentName,
    /// Digest of its text.
    pub hash: Digest,
    /// From when on it is worthless.
    pub expires_at: Timestamp,
}

impl Tx<'_> {
    /// Keeps a new join token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one with its digest or id.
    pub fn put_join_token(&mut self, token: &JoinToken) -> Result<(), StoreError> {
        let sql = "INSERT INTO join_token (hash, id, tenant, agent, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (id, tenant, agent) = (token.id.as_str(), token.tenant.as_str(), token.agent.as_str());
        self.execute(sql, (token.hash.to_string(), id, tenant, agent, token.expires_at.as_ms())).map(|_| ())
    }

    /// Redeems the join token with this digest: once, before it expires. `None`: there is none to redeem.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn redeem_join_token(
        &mut self,
        hash: &Digest,
        now: Timestamp,
    ) -> Result<Option<JoinToken>, StoreError> {
        let sql =
            "UPDATE join_token SET used_at = ?2 WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2";
        if self.execute(sql, (hash.to_string(), now.as_ms()))? != 1 {
            return Ok(None);
        }
        let sql = "SELECT id, tenant, agent, expires_at FROM join_token WHERE hash = ?1";
        let row: Option<(String, String, String, i64)> = self
            .row(sql, [hash.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        row.map(|(id, tenant, agent, expires_at)| {
            let bad = |e| StoreError::document("join token", e);
            Ok(JoinToken {
                id: JoinTokenId::parse(&id).map_err(bad)?,
                tenant: TenantName::parse(&tenant).map_err(bad)?,
                agent: AgentName::parse(&agent).map_err(bad)?,
                hash: *hash,
                expires_at: Timestamp::from_ms(expires_at),
            })
        })
        .transpose()
    }

    /// Uses something up, such as the id of a client assertion: `true` the first time, then `false` until after
    /// it has expired and was forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn use_once(&mut self, kind: &str, hash: &Digest, expires_at: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO used_once (kind, hash, expires_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        Ok(self.execute(sql, (kind, hash.to_string(), expires_at.as_ms()))? == 1)
    }

    /// Forgets what was used up and has expired: at most `limit` of it. Gives how much. Where replicas share it, it has
    /// expired by the clock of the database as well: one whose clock is ahead must not forget what others still take.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_used(&mut self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let sql = match self.conn() {
            Conn::Sqlite(_) => {
                "DELETE FROM used_once WHERE (kind, hash) IN
                (SELECT kind, hash FROM used_once WHERE expires_at < ?1 LIMIT ?2)"
            }
            Conn::Postgres(_) => {
                "DELETE FROM used_once WHERE (kind, hash) IN
                (SELECT kind, hash FROM used_once WHERE expires_at < ?1
                    AND expires_at < EXTRACT(EPOCH FROM clock_timestamp()) * 1000 LIMIT ?2)"
            }
        };
        self.execute(sql, (now.as_ms(), limit))
    }
}
