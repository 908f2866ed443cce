//! Deviations: how far the ledger was looked at for them, what is known of each agent, and what was found.

use accredit_core::deviation::{Finding, Profile};
use accredit_core::id::{AgentName, FindingId, TenantName};

use crate::error::StoreError;
use crate::tx::{Tx, text};
use crate::view::View;

/// Most findings that one query returns.
pub const FINDINGS_MAX: usize = 1_000;

/// How far the ledger was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Place of the first entry that was not looked at yet.
    pub next: u64,
    /// Entries before this place only teach what is usual.
    pub learned: u64,
}

/// Which findings to list; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct FindingFilter {
    /// Only those whose containment is still to be done.
    pub open: bool,
    /// Of this agent.
    pub agent: Option<AgentName>,
    /// Older than this one, to go on from an earlier page.
    pub before: Option<FindingId>,
    /// At most so many, and at most [`FINDINGS_MAX`]; 0: [`FINDINGS_MAX`].
    pub limit: usize,
}

impl View<'_> {
    /// How far the ledger was looked at. `None`: never.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn watched(&self, tenant: &TenantName) -> Result<Option<Watched>, StoreError> {
        let sql = "SELECT next, learned FROM watched WHERE tenant = ?1";
        self.row(sql, [tenant.as_str()], |row| Ok(Watched { next: row.get(0)?, learned: row.get(1)? }))
    }

    /// What is known of an agent.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn profile(&self, tenant: &TenantName, agent: &AgentName) -> Result<Profile, StoreError> {
        let sql = "SELECT doc FROM profile WHERE tenant = ?1 AND agent = ?2";
        Ok(self.doc("profile", sql, (tenant.as_str(), agent.as_str()))?.unwrap_or_default())
    }

    /// One finding.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn finding(&self, tenant: &TenantName, id: &FindingId) -> Result<Option<Finding>, StoreError> {
        let sql = "SELECT doc FROM finding WHERE tenant = ?1 AND id = ?2";
        self.doc("finding", sql, (tenant.as_str(), id.as_str()))
    }

    /// Findings of a tenant, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn findings(&self, tenant: &TenantName, filter: &FindingFilter) -> Result<Vec<Finding>, StoreError> {
        let mut sql = String::from("SELECT doc FROM finding WHERE tenant = ?1");
        if filter.open {
            sql.push_str(" AND contained = 0");
        }
        // Unused parameters stay in the text, so that their numbers do not move.
        sql.push_str(if filter.agent.is_some() {
            " AND agent = ?2"
        } else {
            " AND CAST(?2 AS TEXT) IS NULL"
        });
        sql.push_str(match filter.before {
            Some(_) => " AND n < (SELECT n FROM finding WHERE tenant = ?1 AND id = ?3)",
            None => " AND CAST(?3 AS TEXT) IS NULL",
        });
        sql.push_str(" ORDER BY n DESC LIMIT ?4");
        let limit = if filter.limit == 0 { FINDINGS_MAX } else { filter.limit.min(FINDINGS_MAX) };
        let agent = filter.agent.as_ref().map(|a| a.as_str());
        let before = filter.before.as_ref().map(|b| b.as_str());
        self.docs("finding", &sql, (tenant.as_str(), agent, before, limit))
    }
}

impl Tx<'_> {
    /// Notes how far the ledger was looked at.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_watched(&mut self, tenant: &TenantName, watched: Watched) -> Result<(), StoreError> {
        let sql = "INSERT INTO watched (tenant, next, learned) VALUES (?1, ?2, ?3)
            ON CONFLICT (tenant) DO UPDATE SET next = excluded.next, learned = excluded.learned";
        self.execute(sql, (tenant.as_str(), watched.next, watched.learned)).map(|_| ())
    }

    /// Writes what is known of an agent.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_profile(
        &mut self,
        tenant: &TenantName,
        agent: &AgentName,
        profile: &Profile,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO profile (tenant, agent, doc) VALUES (?1, ?2, ?3)
            ON CONFLICT (tenant, agent) DO UPDATE SET doc = excluded.doc";
        self.execute(sql, (tenant.as_str(), agent.as_str(), text("profile", profile)?)).map(|_| ())
    }

    /// Writes a finding, new or contained.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn put_finding(&mut self, finding: &Finding) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO finding (tenant, id, agent, task, contained, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (tenant, id) DO UPDATE SET contained = excluded.contained, doc = excluded.doc";
        let (tenant, id) = (finding.tenant.as_str(), finding.id.as_str());
        let (agent, task) = (finding.agent.as_str(), finding.task.as_str());
        let contained = u64::from(finding.contained_at.is_some());
        self.execute(sql, (tenant, id, agent, task, contained, text("finding", finding)?)).map(|_| ())
    }
}
