//! Sign-in: one-time links of operators and the sessions that they become. Only digests of both are kept.

use accredit_core::digest::Digest;
use accredit_core::id::{SessionId, TenantName};
use accredit_core::operator::Role;
use accredit_core::text::Owner;
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::sql::Row;
use crate::tx::Tx;
use crate::view::View;

/// A link that signs a person in, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorLink {
    /// Digest of its text.
    pub hash: Digest,
    /// Whose operator.
    pub tenant: TenantName,
    /// Who signs in.
    pub operator: String,
    /// As what: `admin`, `owner`, `approver` or `auditor`.
    pub role: String,
    /// From when on it is worthless.
    pub expires_at: Timestamp,
}

/// How the requests of a session come in. A session made on one is not valid on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Through the local socket.
    Socket,
    /// Over the network.
    Tcp,
}

impl Transport {
    /// `socket` or `tcp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Tcp => "tcp",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Socket, Self::Tcp].into_iter().find(|t| t.as_str() == text)
    }
}

/// A session of a signed-in person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSession {
    /// Digest of its secret.
    pub hash: Digest,
    /// Its id, which may be shown.
    pub id: SessionId,
    /// Whose operator.
    pub tenant: TenantName,
    /// Who.
    pub operator: String,
    /// As what.
    pub role: String,
    /// Where it is valid.
    pub transport: Transport,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends unless it is used before.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

const SESSION: &str =
    "SELECT hash, id, tenant, operator, role, transport, created_at, idle_expires_at, expires_at
    FROM operator_session";

struct Raw {
    texts: [String; 6],
    times: [i64; 3],
}

fn raw(row: &Row<'_>) -> Result<Raw, StoreError> {
    let texts = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
    Ok(Raw { texts, times: [row.get(6)?, row.get(7)?, row.get(8)?] })
}

fn session(Raw { texts, times }: Raw) -> Result<OperatorSession, StoreError> {
    let bad = |e: &dyn std::fmt::Display| StoreError::document("session", e);
    let [hash, id, tenant, operator, role, transport] = texts;
    let [created_at, idle_expires_at, expires_at] = times.map(Timestamp::from_ms);
    Ok(OperatorSession {
        hash: Digest::parse(&hash).ok_or_else(|| bad(&"its digest"))?,
        id: SessionId::parse(&id).map_err(|e| bad(&e))?,
        tenant: TenantName::parse(&tenant).map_err(|e| bad(&e))?,
        operator,
        role,
        transport: Transport::parse(&transport).ok_or_else(|| bad(&"its transport"))?,
        created_at,
        idle_expires_at,
        expires_at,
    })
}

impl View<'_> {
    /// The session with this digest that is alive at `now` and valid on this transport.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn session(
        &self,
        hash: &Digest,
        transport: Transport,
        now: Timestamp,
    ) -> Result<Option<OperatorSession>, StoreError> {
        let sql = format!(
            "{SESSION} WHERE hash = ?1 AND transport = ?2 AND idle_expires_at > ?3 AND expires_at > ?3"
        );
        self.row(&sql, (hash.to_string(), transport.as_str(), now.as_ms()), raw)?.map(session).transpose()
    }

    /// Sessions of a tenant that are alive at `now`, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn sessions(&self, tenant: &TenantName, now: Timestamp) -> Result<Vec<OperatorSession>, StoreError> {
        let sql = format!(
            "{SESSION} WHERE tenant = ?1 AND idle_expires_at > ?2 AND expires_at > ?2 ORDER BY created_at DESC, id LIMIT 1000"
        );
        self.rows(&sql, (tenant.as_str(), now.as_ms()), raw)?.into_iter().map(session).collect()
    }
}

impl Tx<'_> {
    /// Keeps a new sign-in link.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one with its digest.
    pub fn put_operator_link(&mut self, link: &OperatorLink) -> Result<(), StoreError> {
        let sql = "INSERT INTO operator_link (hash, tenant, operator, role, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = (
            link.hash.to_string(),
            link.tenant.as_str(),
            &link.operator,
            &link.role,
            link.expires_at.as_ms(),
        );
        self.execute(sql, row).map(|_| ())
    }

    /// Redeems the link with this digest: once, before it expires. `None`: there is none to redeem.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn redeem_operator_link(
        &mut self,
        hash: &Digest,
        now: Timestamp,
    ) -> Result<Option<OperatorLink>, StoreError> {
        let sql =
            "UPDATE operator_link SET used_at = ?2 WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2";
        if self.execute(sql, (hash.to_string(), now.as_ms()))? != 1 {
            return Ok(None);
        }
        let sql = "SELECT tenant, operator, role, expires_at FROM operator_link WHERE hash = ?1";
        let row: Option<(String, String, String, i64)> = self
            .row(sql, [hash.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        row.map(|(tenant, operator, role, expires_at)| {
            let tenant = TenantName::parse(&tenant).map_err(|e| StoreError::document("link", e))?;
            Ok(OperatorLink {
                hash: *hash,
                tenant,
                operator,
                role,
                expires_at: Timestamp::from_ms(expires_at),
            })
        })
        .transpose()
    }

    /// Keeps a new session.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one with its digest or id.
    pub fn put_session(&mut self, s: &OperatorSession) -> Result<(), StoreError> {
        let sql = "INSERT INTO operator_session (hash, id, tenant, operator, role, transport, created_at,
            idle_expires_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let row = (
            s.hash.to_string(),
            s.id.as_str(),
            s.tenant.as_str(),
            &s.operator,
            &s.role,
            s.transport.as_str(),
            s.created_at.as_ms(),
            s.idle_expires_at.as_ms(),
            s.expires_at.as_ms(),
        );
        self.execute(sql, row).map(|_| ())
    }

    /// Moves the idle end of a session. `false`: there is no such session.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn touch_session(&mut self, hash: &Digest, idle_expires_at: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE operator_session SET idle_expires_at = ?2 WHERE hash = ?1";
        Ok(self.execute(sql, (hash.to_string(), idle_expires_at.as_ms()))? == 1)
    }

    /// Ends a session. `false`: there is no such session of the tenant.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn end_session(&mut self, tenant: &TenantName, id: &SessionId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM operator_session WHERE tenant = ?1 AND id = ?2";
        Ok(self.execute(sql, (tenant.as_str(), id.as_str()))? == 1)
    }

    /// Ends the sessions of a person that were made for one of these roles, and makes their links of those roles
    /// worthless. Gives how many sessions ended.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn end_sessions_of(
        &mut self,
        tenant: &TenantName,
        operator: &Owner,
        roles: impl IntoIterator<Item = Role>,
    ) -> Result<usize, StoreError> {
        let mut ended = 0;
        for role in roles {
            let row = (tenant.as_str(), operator.as_str(), role.as_str());
            let links = "DELETE FROM operator_link WHERE tenant = ?1 AND operator = ?2 AND role = ?3";
            self.execute(links, row)?;
            let sessions = "DELETE FROM operator_session WHERE tenant = ?1 AND operator = ?2 AND role = ?3";
            ended += self.execute(sessions, row)?;
        }
        Ok(ended)
    }

    /// Forgets sessions and links that are over. Gives how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_sessions(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let sessions = "DELETE FROM operator_session WHERE expires_at <= ?1 OR idle_expires_at <= ?1";
        let links = "DELETE FROM operator_link WHERE expires_at <= ?1";
        Ok(self.execute(sessions, [now.as_ms()])? + self.execute(links, [now.as_ms()])?)
    }
}
