//! One call that ends things and returns when it is over: the change is durable, what was under
//! way is cut, and the report says what is not.

use std::sync::Arc;
use std::time::Instant;

use accredit_core::event::{Event, about_task};
use accredit_core::id::{AgentName, CredentialName, TaskId, TenantName};
use accredit_core::task::{Ending, Task};
use accredit_core::text::Reason;
use accredit_core::time::Timestamp;
use accredit_store::{Cut, TASKS_MAX, TaskFilter, TaskStatus, Tx};

use crate::Authority;
use crate::fault::Fault;
use crate::live::{About, CutReport};

/// What is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One task and everything below it.
    Task(TaskId),
    /// Every task of one agent.
    Agent(AgentName),
    /// One credential, for everybody.
    Credential(CredentialName),
    /// Every task of the tenant.
    All,
}

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Tasks that were ended by this call.
    pub tasks_ended: Vec<TaskId>,
    /// Credentials that were revoked by this call.
    pub credentials_revoked: Vec<CredentialName>,
    /// Actions under way that were cut.
    pub cut: usize,
    /// Actions under way that had not stopped when the call returned.
    pub pending: usize,
    /// From the call to its return, in milliseconds.
    pub duration_ms: u64,
}

impl Authority {
    /// Revokes, and returns when nothing goes out any more. Revoking again, or what does not exist as an active thing,
    /// changes nothing and is no error; it returns when it is over all the same.
    ///
    /// # Errors
    /// [`Fault`] when the change could not be made durable: then nothing was revoked.
    pub async fn revoke(
        self: &Arc<Self>,
        by: &str,
        target: Target,
        reason: Option<Reason>,
    ) -> Result<Report, Fault> {
        let started = Instant::now();
        let (mut report, unheard) = self.narrow(by, target.clone(), reason).await?;
        let cut = self.cut_target(&target, &report.tasks_ended).await;
        report.cut = cut.cut;
        report.pending = cut.pending + usize::try_from(unheard).unwrap_or(usize::MAX);
        report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }

    /// The change itself, and how many replicas may not have cut what it cuts.
    async fn narrow(&self, by: &str, target: Target, reason: Option<Reason>) -> Result<(Report, u64), Fault> {
        let (tenant, now, by) = (self.tenant().clone(), self.now(), by.to_owned());
        let (report, unheard) = self
            .store
            .change_and_cut(move |tx| {
                let mut report = Report::default();
                let how = End { how: Ending::Revoked, reason: reason.as_ref(), by: &by, now };
                match &target {
                    Target::Task(id) => {
                        if let Some(task) = tx.task(&tenant, id)? {
                            end_with_descendants(tx, task, &how, &mut report.tasks_ended)?;
                            // Ended before, perhaps by a replica that died before everybody had heard of it: what is
                            // said to be over now must be over everywhere all the same.
                            if report.tasks_ended.is_empty() {
                                tx.order(&Cut::Task(tenant.clone(), id.clone()))?;
                            }
                        }
                    }
                    Target::Agent(agent) => {
                        tx.order(&Cut::Agent(tenant.clone(), agent.clone()))?;
                        for task in tx.active_tasks_of(&tenant, agent)? {
                            end_with_descendants(tx, task, &how, &mut report.tasks_ended)?;
                        }
                    }
                    Target::All => {
                        end_all(tx, &tenant, TaskStatus::Active, &how, &mut report.tasks_ended)?;
                        tx.order(&Cut::Tenant(tenant.clone()))?;
                        let ended = report.tasks_ended.len() as u64;
                        let event = Event::new(&tenant, "revoke.all")
                            .with("by", &by)
                            .with_opt("reason", reason.as_ref());
                        tx.append(event.with_number("tasks", ended))?;
                    }
                    Target::Credential(name) => {
                        let Some(credential) = tx.credential(&tenant, name)? else {
                            return Ok(report);
                        };
                        if !credential.active() {
                            tx.order(&Cut::Credential(tenant.clone(), name.clone()))?;
                            return Ok(report);
                        }
                        let revoked = credential.revoke(reason.clone(), now);
                        tx.delete_sealed(&tenant, name)?;
                        tx.put_credential(&revoked)?;
                        let event = Event::new(&tenant, "credential.revoked")
                            .with("credential", name)
                            .with("resource", &revoked.resource)
                            .with("by", &by)
                            .with_opt("reason", reason.as_ref());
                        tx.append(event)?;
                        report.credentials_revoked.push(name.clone());
                    }
                }
                Ok::<_, Fault>(report)
            })
            .await?;
        if !report.credentials_revoked.is_empty() {
            self.blobs.clear();
        }
        Ok((report, unheard))
    }

    async fn cut_target(&self, target: &Target, ended: &[TaskId]) -> CutReport {
        let tenant = self.tenant().clone();
        match target {
            Target::Task(id) => {
                let mut over = ended.to_vec();
                over.push(id.clone());
                self.cut_tasks(&over).await
            }
            Target::Agent(agent) => {
                let ended: std::collections::BTreeSet<_> = ended.iter().collect();
                self.live.cut(|a| a.tenant == tenant && (a.agent == *agent || ended.contains(&a.task))).await
            }
            Target::Credential(name) => self.cut_credential(name).await,
            Target::All => self.live.cut(|a| a.tenant == tenant).await,
        }
    }

    /// Cuts what is under way in the name of these tasks.
    pub(crate) async fn cut_tasks(&self, tasks: &[TaskId]) -> CutReport {
        if tasks.is_empty() {
            return CutReport::default();
        }
        let tenant = self.tenant().clone();
        let tasks: std::collections::BTreeSet<_> = tasks.iter().collect();
        self.live.cut(|a: &About| a.tenant == tenant && tasks.contains(&a.task)).await
    }

    /// Cuts what is under way with this credential; for whatever narrows it.
    pub async fn cut_credential(&self, name: &CredentialName) -> CutReport {
        let tenant = self.tenant().clone();
        self.blobs.clear();
        self.live.cut(|a| a.tenant == tenant && a.credential.as_ref() == Some(name)).await
    }

    /// Cuts what is under way by this agent; for its suspension.
    pub async fn cut_agent(&self, name: &AgentName) -> CutReport {
        let tenant = self.tenant().clone();
        self.live.cut(|a| a.tenant == tenant && a.agent == *name).await
    }
}

/// Ends every task of a tenant that stands so, page by page but inside one change: none is left out because there are
/// many, and none starts in between.
pub(crate) fn end_all(
    tx: &mut Tx<'_>,
    tenant: &TenantName,
    status: TaskStatus,
    end: &End<'_>,
    ended: &mut Vec<TaskId>,
) -> Result<(), Fault> {
    let mut page = TaskFilter { status: Some(status), limit: TASKS_MAX, ..TaskFilter::default() };
    loop {
        let tasks = tx.tasks(tenant, &page)?;
        let Some(last) = tasks.last() else { return Ok(()) };
        page.before = Some(last.id.clone());
        for task in tasks {
            end_with_descendants(tx, task, end, ended)?;
        }
    }
}

/// How tasks are ended in one change.
pub(crate) struct End<'a> {
    pub how: Ending,
    pub reason: Option<&'a Reason>,
    pub by: &'a str,
    pub now: Timestamp,
}

/// Ends a task and every task below it, inside one change. Adds the ids of those that it ended.
pub(crate) fn end_with_descendants(
    tx: &mut Tx<'_>,
    task: Task,
    end: &End<'_>,
    ended: &mut Vec<TaskId>,
) -> Result<(), Fault> {
    let below = tx.descendants(&task.tenant, &task.id)?;
    for task in std::iter::once(task).chain(below) {
        if matches!(task.state, accredit_core::task::TaskState::Ended { .. }) {
            continue;
        }
        let task = task.end(end.how, end.reason.cloned(), end.now);
        tx.put_task(&task)?;
        tx.withdraw_requests(&task.tenant, &task.id, end.now)?;
        let event = about_task("task.ended", &task)
            .with("outcome", end.how)
            .with("by", end.by)
            .with_opt("reason", end.reason);
        tx.append(event)?;
        ended.push(task.id);
    }
    Ok(())
}
