//! Handing authority down: whose consent counts, and the chain that a task stands in.

use accredit_core::id::TaskId;
use accredit_core::task::{Task, TaskState};
use accredit_core::time::Timestamp;
use accredit_identity::spiffe::SpiffeId;
use accredit_identity::token::{Actor, Expected, Subject, verify};

use crate::Authority;
use crate::fault::{Fault, FaultKind};

/// A task whose holder agrees to hand authority down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent(TaskId);

impl Parent {
    /// The task.
    #[must_use]
    pub const fn task(&self) -> &TaskId {
        &self.0
    }
}

impl Authority {
    /// The task whose own token was given to whoever asks (RFC 8693 §1.1: the subject token). The token is bound to its
    /// holder's key, so that it lets nobody act as that task; giving it away says that the holder agrees.
    ///
    /// # Errors
    /// [`Fault`] of kind `Invalid` when it is no token of ours, or over.
    pub fn parent_by_token(&self, token: &str) -> Result<Parent, Fault> {
        let keys = self.keys().ok_or_else(Fault::sealed)?;
        let expected = Expected { issuer: &self.settings.issuer, audience: &self.settings.gateway_url };
        let refused = |cause: &dyn std::fmt::Display| {
            Fault::invalid(
                "invalid_subject_token",
                cause.to_string(),
                "Give the present token of the task that hands its authority down.",
            )
        };
        let token = verify(token, keys.token_set(), &expected, self.now()).map_err(|e| refused(&e))?;
        let claims = token.claims();
        if claims.agent.tenant() != self.tenant() {
            return Err(refused(&"the token is for another tenant"));
        }
        Ok(Parent(claims.task.clone()))
    }

    /// The task in which a process of this machine runs, as `nearest` finds it among the runners of live tasks: what it
    /// starts is handed down by that task, and nothing else.
    ///
    /// # Errors
    /// [`Fault`] when it cannot be told, or the store cannot be read.
    pub async fn parent_by_process<E>(
        &self,
        nearest: impl FnOnce(&[u32]) -> Result<Option<u32>, E> + Send,
    ) -> Result<Option<Parent>, Fault> {
        let runners = self.runners().await?;
        let pids: Vec<u32> = runners.iter().map(|(pid, _)| *pid).collect();
        let found = nearest(&pids).map_err(|_| {
            let detail = "it cannot be told whether the process that asks belongs to a task";
            Fault::new(FaultKind::Denied, "process_unknown", detail, "Ask from a process that stays.")
        })?;
        // The newest, should a number have come again.
        let task = found.and_then(|found| runners.into_iter().find(|(pid, _)| *pid == found));
        Ok(task.map(|(_, id)| Parent(id)))
    }

    /// The whole tree that a task stands in: its root, and everything below that, the oldest first.
    ///
    /// # Errors
    /// [`Fault`] when there is no such task.
    pub async fn task_tree(&self, id: TaskId) -> Result<Vec<Task>, Fault> {
        let (tenant, asked) = (self.tenant().clone(), id.clone());
        let tree = self.store.read(move |view| {
            let Some(mut root) = view.task(&tenant, &asked)? else { return Ok(None) };
            while let Some(parent) = &root.parent
                && let Some(above) = view.task(&tenant, parent)?
            {
                root = above;
            }
            let below = view.descendants(&tenant, &root.id)?;
            Ok(Some(std::iter::once(root).chain(below).collect()))
        });
        tree.await?.ok_or_else(|| Fault::not_found("task", &id))
    }

    /// A task and those above it, as they stand now, and the claims about who acts for whom that follow (RFC 8693 §4.1).
    pub(crate) async fn acting(&self, task: &Task) -> Result<(Option<Subject>, Option<Actor>), Fault> {
        if task.parent.is_none() {
            return Ok((None, None));
        }
        let (tenant, id) = (task.tenant.clone(), task.id.clone());
        let chain = self.store.read(move |view| Ok(view.chain(&tenant, &id))).await??;
        let ids = chain.iter().map(|link| self.spiffe_id(&link.agent));
        let ids: Vec<SpiffeId> = ids.collect::<Result<_, _>>()?;
        let root = ids.last().map(Subject::from);
        // The root is the innermost, and whoever acts now the outermost.
        let actor = ids
            .iter()
            .rev()
            .fold(None, |inner, id| Some(Actor { sub: Subject::from(id), act: inner.map(Box::new) }));
        Ok((root, actor))
    }
}

/// How long a task may live at most below another, in seconds.
pub(crate) fn ttl_below(parent: &Task, ttl_s: u64, now: Timestamp) -> u64 {
    let TaskState::Active { expires_at, .. } = &parent.state else { return 0 };
    ttl_s.min(u64::try_from(expires_at.ms_since(now) / 1_000).unwrap_or(0))
}
