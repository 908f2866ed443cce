//! Requests for a person's answer and tasks, as an operator lists them.

use accredit_core::approval::Request;
use accredit_core::id::{AgentName, RequestId, TaskId};
use accredit_core::task::Task;
use accredit_store::{RequestFilter, RequestStatus, TaskFilter, TaskStatus};

use crate::Authority;
use crate::fault::Fault;

/// Where the requests that are wanted stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedRequests {
    /// Wherever they stand.
    Any,
    /// Nobody answered yet.
    Pending,
    /// The deadline passed.
    Expired,
    /// The task ended first.
    Withdrawn,
}

impl Authority {
    /// Requests, newest first.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn requests(
        &self,
        wanted: WantedRequests,
        before: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<Request>, Fault> {
        let status = match wanted {
            WantedRequests::Any => None,
            WantedRequests::Pending => Some(RequestStatus::Pending),
            WantedRequests::Expired => Some(RequestStatus::Expired),
            WantedRequests::Withdrawn => Some(RequestStatus::Withdrawn),
        };
        let (tenant, filter) = (self.tenant().clone(), RequestFilter { status, task: None, before, limit });
        Ok(self.store.read(move |view| view.requests(&tenant, &filter)).await?)
    }

    /// One request.
    ///
    /// # Errors
    /// [`Fault`] when there is no such request.
    pub async fn request(&self, id: RequestId) -> Result<Request, Fault> {
        let (tenant, asked) = (self.tenant().clone(), id.clone());
        let found = self.store.read(move |view| view.request(&tenant, &asked)).await?;
        found.ok_or_else(|| Fault::not_found("request", &id))
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn tasks(
        &self,
        agent: Option<AgentName>,
        active: bool,
        before: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<Task>, Fault> {
        let status = active.then_some(TaskStatus::Active);
        let (tenant, filter) = (self.tenant().clone(), TaskFilter { status, agent, before, limit });
        Ok(self.store.read(move |view| view.tasks(&tenant, &filter)).await?)
    }

    /// One task.
    ///
    /// # Errors
    /// [`Fault`] when there is no such task.
    pub async fn task(&self, id: TaskId) -> Result<Task, Fault> {
        let (tenant, asked) = (self.tenant().clone(), id.clone());
        let found = self.store.read(move |view| view.task(&tenant, &asked)).await?;
        found.ok_or_else(|| Fault::not_found("task", &id))
    }

    /// Process ids of the runners of live tasks on this machine.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn runner_pids(&self) -> Result<Vec<u32>, Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let filter = TaskFilter { status: Some(TaskStatus::Active), ..TaskFilter::default() };
        let tasks = self.store.read(move |view| view.tasks(&tenant, &filter)).await?;
        Ok(tasks
            .iter()
            .filter(|t| !t.over_at(now))
            .filter_map(|t| t.instance.process)
            .map(|(pid, _)| pid)
            .collect())
    }
}
