//! Snapshots: the facts of one decision, read in one moment of the database, kept until something changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use accredit_core::approval::{Approval, Denial, RequestState};
use accredit_core::facts::{Facts, Link, Prepared, Target, Usage};
use accredit_core::host::Endpoint;
use accredit_core::id::{TaskId, TenantName};
use accredit_core::owner::Standing;
use accredit_core::task::DEPTH_MAX;
use accredit_core::text::Owner;
use accredit_core::time::Timestamp;

use crate::error::{FactsError, StoreError};
use crate::shared::Shared;
use crate::stamp::{Stamp, Subject};
use crate::usage::UsageCell;
use crate::view::View;

/// Most snapshots kept, some 5 to 10 KB each: as many as tasks × endpoints that are in use at one time.
pub const SNAPSHOTS_MAX: usize = 100_000;
/// Parts of the cache, each with a lock of its own.
const SHARDS: usize = 16;

/// What one decision is made from.
#[derive(Clone)]
pub struct Snapshot {
    /// The facts.
    pub prepared: Arc<Prepared>,
    /// The versions they were read at; goes with the decision into [`crate::Store::record`].
    pub stamp: Stamp,
    /// What the task has used so far.
    pub usage: Usage,
}

type Key = (TenantName, TaskId, Endpoint);

struct Cached {
    prepared: Arc<Prepared>,
    stamp: Stamp,
    usage: UsageCell,
    /// Of the tasks above it.
    above: Vec<UsageCell>,
    used: AtomicBool,
}

impl Cached {
    fn snapshot(&self) -> Snapshot {
        let figures = |cell: &UsageCell| cell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let usage = figures(&self.usage);
        let usage = match &*self.above {
            [] => usage,
            above => usage.below(&above.iter().map(figures).collect::<Vec<_>>()),
        };
        Snapshot { prepared: Arc::clone(&self.prepared), stamp: self.stamp.clone(), usage }
    }
}

/// Snapshots by tenant, task and endpoint. The oldest that was not used lately makes room.
pub(crate) struct SnapshotCache {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    max: usize,
}

#[derive(Default)]
struct Shard {
    kept: HashMap<Key, Cached>,
    order: VecDeque<Key>,
}

impl Default for SnapshotCache {
    fn default() -> Self {
        Self::new(SNAPSHOTS_MAX)
    }
}

impl SnapshotCache {
    fn new(max: usize) -> Self {
        Self { hasher: RandomState::new(), shards: Default::default(), max: max.div_ceil(SHARDS).max(1) }
    }

    fn shard(&self, key: &Key) -> std::sync::MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        // Every update leaves the shard whole.
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Option<Snapshot> {
        let shard = self.shard(key);
        let cached = shard.kept.get(key)?;
        if !cached.stamp.seems_current() {
            return None;
        }
        cached.used.store(true, Ordering::Relaxed);
        Some(cached.snapshot())
    }

    fn put(&self, key: Key, cached: Cached) {
        let mut shard = self.shard(&key);
        let shard = &mut *shard;
        if shard.kept.insert(key.clone(), cached).is_some() {
            return;
        }
        shard.order.push_back(key);
        while shard.kept.len() > self.max {
            let Some(oldest) = shard.order.pop_front() else { break };
            let used = shard.kept.get(&oldest).is_some_and(|kept| kept.used.swap(false, Ordering::Relaxed));
            match used {
                true => shard.order.push_back(oldest),
                false => drop(shard.kept.remove(&oldest)),
            }
        }
    }
}

/// The snapshot from memory, if nothing that it rests on is known to have changed.
pub(crate) fn cached(
    shared: &Shared,
    tenant: &TenantName,
    task: &TaskId,
    endpoint: &Endpoint,
) -> Option<Snapshot> {
    let found = shared.cache.get(&(tenant.clone(), task.clone(), endpoint.clone()))?;
    shared.stats.snapshot_hits.fetch_add(1, Ordering::Relaxed);
    Some(found)
}

/// What was read in one moment of the database.
pub(crate) struct Moment {
    facts: Facts,
    reads: Vec<(Subject, u64)>,
    usage: Usage,
    /// Of the tasks above it, the nearest first.
    above: Vec<Usage>,
}

/// Derives the snapshot and keeps it.
pub(crate) fn keep(shared: &Shared, endpoint: &Endpoint, moment: Moment) -> Result<Snapshot, FactsError> {
    shared.stats.snapshot_misses.fetch_add(1, Ordering::Relaxed);
    let own = moment.facts.own().ok_or(FactsError::NoTask)?.task.clone();
    let above = moment.facts.chain.iter().skip(1).map(|link| link.task.id.clone()).zip(moment.above);
    let above = above.map(|(id, read)| shared.usage.cell((own.tenant.clone(), id), read)).collect();
    let prepared = Prepared::new(moment.facts).map_err(|e| FactsError::Unavailable(e.to_string()))?;
    let stamp = shared.cells.stamp(prepared.digest(), moment.reads);
    let usage = shared.usage.cell((own.tenant.clone(), own.id.clone()), moment.usage);
    let cached = Cached { prepared: Arc::new(prepared), stamp, usage, above, used: AtomicBool::new(false) };
    let snapshot = cached.snapshot();
    shared.cache.put((own.tenant, own.id, endpoint.clone()), cached);
    Ok(snapshot)
}

/// Reads the facts of a task and an endpoint with the versions of everything that was looked at.
///
/// The view must be one moment of the database: facts and versions belong together.
pub(crate) fn read(
    view: &View<'_>,
    tenant: &TenantName,
    task: &TaskId,
    endpoint: &Endpoint,
) -> Result<Moment, FactsError> {
    let mut subjects = vec![Subject::policy(tenant)];
    let chain = chain(view, tenant, task, &mut subjects)?;
    let target = target(view, tenant, endpoint, &mut subjects)?;
    let policy_set = view.policy_head(tenant)?;
    let policy_set = policy_set.ok_or_else(|| broken("the tenant has no policy set"))?;
    let (approvals, denials) = answers(view, tenant, task, &mut subjects)?;
    let mut reads = Vec::with_capacity(subjects.len());
    for subject in subjects {
        if !reads.iter().any(|(seen, _)| *seen == subject) {
            let version = version(view, &subject)?;
            reads.push((subject, version));
        }
    }
    let usage = view.usage(tenant, task)?;
    let above = chain.iter().skip(1).map(|link| view.usage(tenant, &link.task.id));
    let above = above.collect::<Result<_, _>>()?;
    let facts = Facts { tenant: tenant.clone(), chain, target, policy_set, approvals, denials };
    Ok(Moment { facts, reads, usage, above })
}

impl View<'_> {
    /// A task and those above it, the nearest first, with their agents and owners.
    ///
    /// # Errors
    /// [`FactsError`] when there is no such task, or the database fails.
    pub fn chain(&self, tenant: &TenantName, task: &TaskId) -> Result<Vec<Link>, FactsError> {
        chain(self, tenant, task, &mut Vec::new())
    }
}

fn chain(
    view: &View<'_>,
    tenant: &TenantName,
    task: &TaskId,
    subjects: &mut Vec<Subject>,
) -> Result<Vec<Link>, FactsError> {
    let mut chain: Vec<Link> = Vec::new();
    let mut next = Some(task.clone());
    while let Some(id) = next {
        if chain.len() == DEPTH_MAX {
            return Err(broken("the chain of tasks is too long"));
        }
        let Some(task) = view.task(tenant, &id)? else {
            return Err(if chain.is_empty() {
                FactsError::NoTask
            } else {
                broken("a task of the chain is missing")
            });
        };
        let agent = view.agent(tenant, &task.agent)?.ok_or_else(|| broken("the task's agent is missing"))?;
        let agent_owner = standing(view, tenant, &agent.owner)?;
        subjects.extend([
            Subject::task(tenant, &id),
            Subject::agent(tenant, &agent.name),
            Subject::owner(tenant, &agent.owner),
        ]);
        next = task.parent.clone();
        chain.push(Link { task, agent, agent_owner });
    }
    Ok(chain)
}

/// What people said yes to in this task and can be used, and what they said no to. Answers and their use are changes of the task; so is, of
/// everybody who said yes, what they may do.
fn answers(
    view: &View<'_>,
    tenant: &TenantName,
    task: &TaskId,
    subjects: &mut Vec<Subject>,
) -> Result<(Vec<Approval>, Vec<Denial>), FactsError> {
    let answered = view.answered_requests(tenant, task)?;
    let mut people = BTreeMap::new();
    for yes in
        answered.iter().filter(|r| matches!(r.state, RequestState::Granted { .. })).flat_map(|r| &r.yes)
    {
        if !people.contains_key(&yes.by) {
            subjects.push(Subject::operator(tenant, &yes.by));
            people.insert(yes.by.clone(), view.operator(tenant, &yes.by)?);
        }
    }
    let operator = |name: &Owner| people.get(name).cloned().flatten();
    let approvals = answered.iter().filter_map(|request| Approval::of(request, operator)).collect();
    Ok((approvals, answered.iter().filter_map(Denial::of).collect()))
}

fn target(
    view: &View<'_>,
    tenant: &TenantName,
    endpoint: &Endpoint,
    subjects: &mut Vec<Subject>,
) -> Result<Option<Target>, FactsError> {
    let Some(resource) = view.resource_at(tenant, endpoint)? else {
        subjects.push(Subject::endpoints(tenant));
        return Ok(None);
    };
    subjects.push(Subject::resource(tenant, &resource.name));
    subjects.push(Subject::owner(tenant, &resource.owner));
    let owner = standing(view, tenant, &resource.owner)?;
    let credential = match &resource.credential {
        None => None,
        Some(name) => {
            subjects.push(Subject::credential(tenant, name));
            let credential = view
                .credential(tenant, name)?
                .ok_or_else(|| broken("the resource's credential is missing"))?;
            if credential.resource != resource.name {
                return Err(broken("the resource's credential belongs to another resource"));
            }
            Some(credential)
        }
    };
    Ok(Some(Target { resource, owner, credential }))
}

/// Where an owner stands. One that was never registered answers for nothing.
fn standing(view: &View<'_>, tenant: &TenantName, owner: &Owner) -> Result<Standing, StoreError> {
    let never = Standing::Lapsed { at: Timestamp::from_ms(0) };
    Ok(view.owner(tenant, owner)?.map_or(never, |record| record.standing))
}

fn version(view: &View<'_>, subject: &Subject) -> Result<u64, StoreError> {
    let sql = "SELECT version FROM stamp WHERE subject = ?1";
    Ok(view.row(sql, [subject.as_str()], |row| row.get(0))?.unwrap_or(0))
}

fn broken(why: &str) -> FactsError {
    FactsError::Unavailable(why.to_owned())
}
