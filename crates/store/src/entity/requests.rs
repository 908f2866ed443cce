//! Requests for a person's answer. They are raised and repeated by the record step; here they are found,
//! and end with their task or their deadline.

use accredit_core::approval::{Request, RequestState};
use accredit_core::digest::Digest;
use accredit_core::id::{RequestId, TaskId, TenantName};
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::record::about_request;
use crate::tx::{Tx, text};
use crate::view::View;

/// Most requests that one query returns.
pub const REQUESTS_MAX: usize = 1_000;

/// Where a request stands in the database. A pending one may have passed its deadline and not been closed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestStatus {
    /// Waits for a person.
    Pending,
    /// Its deadline passed.
    Expired,
    /// Its task ended first.
    Withdrawn,
}

impl RequestStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }

    const fn of(state: &RequestState) -> Self {
        match state {
            RequestState::Pending => Self::Pending,
            RequestState::Expired { .. } => Self::Expired,
            RequestState::Withdrawn { .. } => Self::Withdrawn,
        }
    }
}

/// Which requests to list; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// Where they stand.
    pub status: Option<RequestStatus>,
    /// Of this task.
    pub task: Option<TaskId>,
    /// Older than this request, to go on from an earlier page.
    pub before: Option<RequestId>,
    /// At most so many, and at most [`REQUESTS_MAX`]; 0: [`REQUESTS_MAX`].
    pub limit: usize,
}

impl View<'_> {
    /// One request.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn request(&self, tenant: &TenantName, id: &RequestId) -> Result<Option<Request>, StoreError> {
        let sql = "SELECT doc FROM request WHERE tenant = ?1 AND id = ?2";
        self.doc("request", sql, (tenant.as_str(), id.as_str()))
    }

    /// Requests of a tenant, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn requests(&self, tenant: &TenantName, filter: &RequestFilter) -> Result<Vec<Request>, StoreError> {
        let mut sql = String::from("SELECT doc FROM request WHERE tenant = ?1");
        // Unused parameters stay in the text, so that their numbers do not move.
        sql.push_str(if filter.status.is_some() {
            " AND state = ?2"
        } else {
            " AND CAST(?2 AS TEXT) IS NULL"
        });
        sql.push_str(if filter.task.is_some() { " AND task = ?3" } else { " AND CAST(?3 AS TEXT) IS NULL" });
        sql.push_str(match filter.before {
            Some(_) => " AND n < (SELECT n FROM request WHERE tenant = ?1 AND id = ?4)",
            None => " AND CAST(?4 AS TEXT) IS NULL",
        });
        sql.push_str(" ORDER BY n DESC LIMIT ?5");
        let limit = if filter.limit == 0 { REQUESTS_MAX } else { filter.limit.min(REQUESTS_MAX) };
        let status = filter.status.map(RequestStatus::as_str);
        let task = filter.task.as_ref().map(|t| t.as_str());
        let before = filter.before.as_ref().map(|b| b.as_str());
        self.docs("request", &sql, (tenant.as_str(), status, task, before, limit))
    }

    /// The pending request for exactly this action of this task.
    pub(crate) fn pending_request(
        &self,
        tenant: &TenantName,
        task: &TaskId,
        digest: &Digest,
    ) -> Result<Option<Request>, StoreError> {
        let sql =
            "SELECT doc FROM request WHERE tenant = ?1 AND task = ?2 AND digest = ?3 AND state = 'pending'";
        self.doc("request", sql, (tenant.as_str(), task.as_str(), digest.to_string()))
    }

    /// Writes a request, new or changed.
    pub(crate) fn put_request(&self, request: &Request) -> Result<(), StoreError> {
        let sql = "INSERT INTO request (tenant, id, task, digest, state, expires_at, doc)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (tenant, id) DO UPDATE SET state = excluded.state, doc = excluded.doc";
        let state = RequestStatus::of(&request.state).as_str();
        let (digest, expires_at) = (request.digest.to_string(), request.expires_at.as_ms());
        let (tenant, id, task) = (request.tenant.as_str(), request.id.as_str(), request.task.as_str());
        self.execute(sql, (tenant, id, task, digest, state, expires_at, text("request", request)?))
            .map(|_| ())
    }

    /// Makes room for a new request about the same action: one whose deadline passed is expired.
    pub(crate) fn expire_same(&self, new: &Request) -> Result<(), StoreError> {
        let Some(old) = self.pending_request(&new.tenant, &new.task, &new.digest)? else { return Ok(()) };
        self.put_request(&Request { state: RequestState::Expired { at: new.raised_at }, ..old })
    }
}

impl Tx<'_> {
    /// Withdraws the pending requests of a task that is over; each gets its ledger entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn withdraw_requests(
        &mut self,
        tenant: &TenantName,
        task: &TaskId,
        now: Timestamp,
    ) -> Result<Vec<Request>, StoreError> {
        let sql = "SELECT doc FROM request WHERE tenant = ?1 AND task = ?2 AND state = 'pending' ORDER BY n";
        let open: Vec<Request> = self.docs("request", sql, (tenant.as_str(), task.as_str()))?;
        self.close(open, RequestState::Withdrawn { at: now }, "withdrawn")
    }

    /// Expires pending requests of all tenants whose deadline passed, at most `limit`; each gets its ledger entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn expire_requests(&mut self, now: Timestamp, limit: usize) -> Result<Vec<Request>, StoreError> {
        let sql = "SELECT doc FROM request WHERE state = 'pending' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
        let due: Vec<Request> = self.docs("request", sql, (now.as_ms(), limit))?;
        self.close(due, RequestState::Expired { at: now }, "expired")
    }

    fn close(
        &mut self,
        open: Vec<Request>,
        state: RequestState,
        outcome: &'static str,
    ) -> Result<Vec<Request>, StoreError> {
        let mut closed = Vec::with_capacity(open.len());
        for request in open {
            let request = Request { state: state.clone(), ..request };
            self.put_request(&request)?;
            self.append(about_request("request.closed", &request).with("outcome", outcome))?;
            closed.push(request);
        }
        Ok(closed)
    }
}
