//! Requests for a person's answer and tasks, as an operator lists them.

use accredit_core::approval::{Asked, Request};
use accredit_core::effect::Effect;
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
    /// Can be used.
    Granted,
    /// Was used.
    Consumed,
    /// Somebody said no.
    Denied,
    /// The deadline passed.
    Expired,
    /// Taken back.
    Withdrawn,
}

/// What a task that asks has done so far, to compare its question with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SoFar {
    /// Uses that were let out.
    pub uses: u64,
    /// Uses that were refused.
    pub refused: u64,
    /// Uses of the resource that it asks about.
    pub on_resource: u64,
    /// In what the question differs from all of that.
    pub differs: Vec<String>,
}

impl Authority {
    /// What the task that asked has done so far, and how this differs. `None`: it is about a start.
    ///
    /// # Errors
    /// [`Fault`] when the ledger cannot be read.
    pub async fn so_far(&self, request: &Request) -> Result<Option<SoFar>, Fault> {
        let Asked::Call { resource, effect, .. } = &request.asked else { return Ok(None) };
        let receipt = self.receipt(request.task.clone()).await?;
        let mut so_far = SoFar { uses: receipt.uses, refused: receipt.refused, ..SoFar::default() };
        let here =
            receipt.resources.into_iter().find(|(name, _)| *name == resource.as_str()).map(|(_, at)| at);
        let of_effect = here.as_ref().map_or(0, |at| match effect {
            Effect::Read => at.reads,
            Effect::Write => at.writes,
            Effect::Delete => at.deletes,
            Effect::Execute | Effect::Admin => at.others,
        });
        so_far.on_resource = here.map_or(0, |at| at.reads + at.writes + at.deletes + at.others);
        match (so_far.on_resource, of_effect) {
            (0, _) => so_far.differs.push(format!("the first use of `{resource}` in this task")),
            (_, 0) => so_far.differs.push(format!("the first {effect} on `{resource}` in this task")),
            _ => {}
        }
        Ok(Some(so_far))
    }

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
            WantedRequests::Granted => Some(RequestStatus::Granted),
            WantedRequests::Consumed => Some(RequestStatus::Consumed),
            WantedRequests::Denied => Some(RequestStatus::Denied),
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

    /// Process ids of the runners of live tasks on this machine, and their tasks, the newest first.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn runners(&self) -> Result<Vec<(u32, TaskId)>, Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let filter = TaskFilter { status: Some(TaskStatus::Active), ..TaskFilter::default() };
        let tasks = self.store.read(move |view| view.tasks(&tenant, &filter)).await?;
        Ok(tasks
            .into_iter()
            .filter(|t| !t.over_at(now))
            .filter_map(|t| Some((t.instance.process?.0, t.id)))
            .collect())
    }
}
