//! Requests for a person's answer. They are raised, repeated and used up by the record step; here they are found,
//! answered, and end with their task or their deadline. Each change is a change of the task, because what can be used is
//! part of the facts of its next decision.

use accredit_core::approval::{Request, RequestState};
use accredit_core::digest::Digest;
use accredit_core::event::about_request;
use accredit_core::id::{AgentName, DecisionId, RequestId, TaskId, TenantName};
use accredit_core::time::Timestamp;

use crate::error::StoreError;
use crate::stamp::Subject;
use crate::tx::{Tx, text};
use crate::view::View;

/// Most requests that one query returns.
pub const REQUESTS_MAX: usize = 1_000;

/// Where a request stands in the database. A pending one may have passed its deadline and not been closed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestStatus {
    /// Waits for a person.
    Pending,
    /// Can be used.
    Granted,
    /// Was used.
    Consumed,
    /// Somebody said no.
    Denied,
    /// Its deadline passed.
    Expired,
    /// Its task ended first.
    Withdrawn,
}

impl RequestStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Consumed => "consumed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }

    const fn of(state: &RequestState) -> Self {
        match state {
            RequestState::Pending => Self::Pending,
            RequestState::Granted { .. } => Self::Granted,
            RequestState::Consumed { .. } => Self::Consumed,
            RequestState::Denied { .. } => Self::Denied,
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

    /// The requests of a task that people said no to, or said yes to and that were not used up, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn answered_requests(&self, tenant: &TenantName, task: &TaskId) -> Result<Vec<Request>, StoreError> {
        let sql = "SELECT doc FROM request WHERE tenant = ?1 AND task = ?2 AND state IN ('granted', 'denied')
            ORDER BY n LIMIT ?3";
        self.docs("request", sql, (tenant.as_str(), task.as_str(), REQUESTS_MAX))
    }

    /// The newest request of an agent with this digest, whatever its task: about starting one.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn latest_request_of(
        &self,
        tenant: &TenantName,
        agent: &AgentName,
        digest: &Digest,
    ) -> Result<Option<Request>, StoreError> {
        let sql = "SELECT doc FROM request WHERE tenant = ?1 AND agent = ?2 AND digest = ?3
            ORDER BY n DESC LIMIT 1";
        self.doc("request", sql, (tenant.as_str(), agent.as_str(), digest.to_string()))
    }

    /// How many requests of an agent wait for an answer, whatever their tasks; at most `limit` are counted.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn questions_of(
        &self,
        tenant: &TenantName,
        agent: &AgentName,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let sql = "SELECT doc FROM request WHERE tenant = ?1 AND agent = ?2 AND state = 'pending' LIMIT ?3";
        Ok(self.docs::<Request>("request", sql, (tenant.as_str(), agent.as_str(), limit))?.len())
    }

    /// Writes a request, new or changed.
    pub(crate) fn put_request(&self, request: &Request) -> Result<(), StoreError> {
        let sql = "INSERT INTO request (tenant, id, task, agent, digest, state, expires_at, doc)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT (tenant, id)
                DO UPDATE SET state = excluded.state, expires_at = excluded.expires_at, doc = excluded.doc";
        let state = RequestStatus::of(&request.state).as_str();
        let expires_at = match &request.state {
            RequestState::Granted { until, .. } => until.as_ms(),
            _ => request.expires_at.as_ms(),
        };
        let (tenant, id, task) = (request.tenant.as_str(), request.id.as_str(), request.task.as_str());
        let (agent, digest) = (request.agent.as_str(), request.digest.to_string());
        self.execute(sql, (tenant, id, task, agent, digest, state, expires_at, text("request", request)?))
            .map(|_| ())
    }

    /// Makes room for a new request about the same action: one whose deadline passed is expired.
    pub(crate) fn expire_same(&self, new: &Request) -> Result<(), StoreError> {
        let Some(old) = self.pending_request(&new.tenant, &new.task, &new.digest)? else { return Ok(()) };
        self.put_request(&Request { state: RequestState::Expired { at: new.raised_at }, ..old })
    }
}

impl Tx<'_> {
    /// Writes a request that was answered, taken back, or raised about the start of a task.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn change_request(&mut self, request: &Request) -> Result<(), StoreError> {
        self.put_request(request)?;
        self.bump(Subject::task(&request.tenant, &request.task))
    }

    /// Takes the one use of a granted request. `false`: it is not there to be taken.
    pub(crate) fn use_request(
        &mut self,
        tenant: &TenantName,
        id: &RequestId,
        decision: &DecisionId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        // The row that changes is the proof that nobody else took it.
        let sql = "UPDATE request SET state = 'consumed' WHERE tenant = ?1 AND id = ?2 AND state = 'granted'";
        let Some(request) = self.request(tenant, id)? else { return Ok(false) };
        let Ok(used) = request.consume(Some(decision.clone()), at) else { return Ok(false) };
        if self.execute(sql, (tenant.as_str(), id.as_str()))? != 1 {
            return Ok(false);
        }
        self.change_request(&used)?;
        self.append(about_request("request.consumed", &used).with("decision", decision))?;
        Ok(true)
    }

    /// Withdraws the open requests of a task that is over; each gets its ledger entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn withdraw_requests(
        &mut self,
        tenant: &TenantName,
        task: &TaskId,
        now: Timestamp,
    ) -> Result<Vec<Request>, StoreError> {
        let sql =
            "SELECT doc FROM request WHERE tenant = ?1 AND task = ?2 AND state IN ('pending', 'granted')
            ORDER BY n";
        let open: Vec<Request> = self.docs("request", sql, (tenant.as_str(), task.as_str()))?;
        self.close(open, &RequestState::Withdrawn { at: now, by: None })
    }

    /// Expires requests of all tenants that were not answered or not used in time, at most `limit`; each gets its ledger
    /// entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn expire_requests(&mut self, now: Timestamp, limit: usize) -> Result<Vec<Request>, StoreError> {
        let sql = "SELECT doc FROM request WHERE state IN ('pending', 'granted') AND expires_at <= ?1
            ORDER BY expires_at LIMIT ?2";
        let due: Vec<Request> = self.docs("request", sql, (now.as_ms(), limit))?;
        self.close(due, &RequestState::Expired { at: now })
    }

    fn close(&mut self, open: Vec<Request>, state: &RequestState) -> Result<Vec<Request>, StoreError> {
        let mut closed = Vec::with_capacity(open.len());
        for request in open {
            let was = request.state.as_str();
            let request = Request { state: state.clone(), ..request };
            self.change_request(&request)?;
            let event = about_request("request.closed", &request);
            self.append(event.with("outcome", state.as_str()).with("was", was))?;
            closed.push(request);
        }
        Ok(closed)
    }
}
