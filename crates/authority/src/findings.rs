//! Deviations are looked for in the ledger, by one replica, in its order; what follows from one is done by the use cases
//! that a person would call.
//!
//! A finding becomes durable together with the place up to which the ledger was looked at, and is contained after
//! that: a crash in between contains it at the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use accredit_core::deviation::{Containment, Finding, Profile, Rule, Seen, What};
use accredit_core::event::{Event, about_task};
use accredit_core::id::{AgentName, FindingId, TaskId, TenantName};
use accredit_core::rights::Operation;
use accredit_core::task::{Restraint, RestraintKind, Task};
use accredit_core::text::Reason;
use accredit_core::time::Timestamp;
use accredit_ledger::Entry;
use accredit_store::{Cut, FindingFilter, StoreError, StoredEntry, Tx, Watched};
use serde_json::Value;

use crate::Authority;
use crate::admission::Of;
use crate::fault::Fault;
use crate::operators::Operator;
use crate::revoke::Target;
use crate::uses_report::{DECIDED, SETTLED};

/// Entries looked at in one change.
const BATCH: usize = 500;
/// Whoever contains what was found, in the ledger.
const BY: &str = "system";

impl Authority {
    /// From here on deviations are found. What is in the ledger of an installation that never looked teaches what is usual,
    /// and is nobody's finding any more.
    pub(crate) async fn begin_to_watch(&self) -> Result<(), Fault> {
        let tenant = self.tenant().clone();
        self.store
            .change(move |tx| {
                if tx.watched(&tenant)?.is_none() {
                    let learned = tx.ledger_size()?;
                    tx.put_watched(&tenant, Watched { next: 0, learned })?;
                }
                Ok::<_, Fault>(())
            })
            .await?;
        Ok(())
    }

    /// Looks at what the ledger got since it was last looked at, and contains what it finds.
    pub(crate) async fn watch(self: &Arc<Self>) -> Result<(), Fault> {
        while self.watch_some().await? {}
        self.contain().await
    }

    /// Looks at some entries. Gives whether there may be more.
    async fn watch_some(&self) -> Result<bool, Fault> {
        let tenant = self.tenant().clone();
        let of = tenant.clone();
        let (watched, entries) = self
            .store
            .read(move |view| {
                let watched = view.watched(&of)?.unwrap_or(Watched { next: 0, learned: 0 });
                Ok::<_, StoreError>((watched, view.entries_from(watched.next, BATCH)?))
            })
            .await?;
        let Some(last) = entries.last() else { return Ok(false) };
        let more = entries.len() == BATCH;
        let after = Watched { next: last.seq + 1, ..watched };
        let ids: Vec<FindingId> = self.some_ids(entries.len());
        let rules = Arc::clone(&self.settings.rules);
        self.store
            .change(move |tx| {
                // Another replica may have looked at them meanwhile.
                if tx.watched(&tenant)?.is_some_and(|now| now != watched) {
                    return Ok::<_, Fault>(());
                }
                let mut looking = Looking { tenant: &tenant, rules: &rules, profiles: BTreeMap::new(), ids };
                for entry in &entries {
                    looking.at(tx, entry, entry.seq >= watched.learned)?;
                }
                for (agent, mut profile) in looking.profiles {
                    profile.keep_rules(&rules);
                    tx.put_profile(&tenant, &agent, &profile)?;
                }
                Ok(tx.put_watched(&tenant, after)?)
            })
            .await?;
        Ok(more)
    }

    fn some_ids(&self, entries: usize) -> Vec<FindingId> {
        let most = entries.saturating_mul(self.settings.rules.len()).min(BATCH);
        (0..most).map(|_| FindingId::from_random(self.draw16())).collect()
    }

    /// Does what follows from findings for which that is still to be done.
    async fn contain(self: &Arc<Self>) -> Result<(), Fault> {
        loop {
            let tenant = self.tenant().clone();
            let open = FindingFilter { open: true, ..FindingFilter::default() };
            let open = self.store.read(move |view| view.findings(&tenant, &open)).await?;
            if open.is_empty() {
                return Ok(());
            }
            for finding in open {
                self.contain_one(finding).await?;
            }
        }
    }

    async fn contain_one(self: &Arc<Self>, finding: Finding) -> Result<(), Fault> {
        let reason = Reason::parse(&format!("{}: {} ({})", finding.rule, finding.detail, finding.id)).ok();
        match finding.then {
            Containment::Alert => {}
            Containment::Ask => self.restrain(&finding, RestraintKind::Ask).await?,
            Containment::SuspendTask => self.restrain(&finding, RestraintKind::Suspended).await?,
            Containment::RevokeTask => {
                self.revoke(BY, Target::Task(finding.task.clone()), reason).await?;
            }
            Containment::SuspendAgent => {
                self.stop_agent(BY, &finding.agent, reason.clone()).await?;
                self.revoke(BY, Target::Agent(finding.agent.clone()), reason).await?;
            }
        }
        let now = self.now();
        tracing::warn!(finding = %finding.id, rule = finding.rule, then = %finding.then, agent = %finding.agent,
            task = %finding.task, "a deviation was found: {}", finding.detail);
        self.store
            .change(move |tx| {
                let finding = Finding { contained_at: Some(now), ..finding };
                tx.put_finding(&finding)?;
                let event = about(&finding, "finding.contained").with("then", finding.then);
                Ok::<_, Fault>(tx.append(event)?)
            })
            .await?;
        Ok(())
    }

    /// Holds a task back; what it has under way is cut where nothing may go out.
    async fn restrain(&self, finding: &Finding, kind: RestraintKind) -> Result<(), Fault> {
        let (tenant, id, now) = (self.tenant().clone(), finding.task.clone(), self.now());
        let restraint = Restraint { kind, finding: finding.id.clone(), at: now };
        let ids: Vec<TaskId> = self
            .store
            .change(move |tx| {
                let Some(task) = tx.task(&tenant, &id)?.filter(|task| !task.over_at(now)) else {
                    return Ok::<_, Fault>(Vec::new());
                };
                let task = task.restrain(restraint);
                tx.put_task(&task)?;
                let restraint = task.restraint.as_ref();
                let event = about_task("task.restrained", &task)
                    .with_opt("kind", restraint.map(|r| r.kind.as_str()))
                    .with_opt("finding", restraint.map(|r| &r.finding))
                    .with("by", BY);
                tx.append(event)?;
                if kind == RestraintKind::Ask {
                    return Ok(Vec::new());
                }
                // Nothing of it and of those below it goes out until somebody has looked.
                let mut ids: Vec<TaskId> =
                    tx.descendants(&tenant, &task.id)?.into_iter().map(|task| task.id).collect();
                ids.push(task.id);
                for id in &ids {
                    tx.order(&Cut::Task(tenant.clone(), id.clone()))?;
                }
                Ok(ids)
            })
            .await?;
        self.cut_tasks(&ids).await;
        Ok(())
    }

    /// Lets a task go on that was held back because of a finding.
    ///
    /// # Errors
    /// [`Fault`] when there is no such task, or nothing holds it back.
    pub async fn release_task(
        &self,
        by: &Operator,
        id: TaskId,
        reason: Option<Reason>,
    ) -> Result<Task, Fault> {
        let (tenant, name, asked) = (self.tenant().clone(), by.name().clone(), id.clone());
        let doing = async {
            Ok(self
                .store
                .change(move |tx| {
                    let Some(task) = tx.task(&tenant, &asked)? else {
                        return Err(Fault::not_found("task", &asked));
                    };
                    let Some(restraint) = task.restraint.clone() else {
                        let detail = format!("nothing holds {asked} back");
                        return Err(Fault::conflict("not_restrained", detail, "Nothing is to be done."));
                    };
                    let task = task.release();
                    tx.put_task(&task)?;
                    let event = about_task("task.released", &task)
                        .with("finding", restraint.finding)
                        .with("by", name)
                        .with_opt("reason", reason);
                    tx.append(event)?;
                    Ok(task)
                })
                .await?)
        };
        self.as_owner(by, Operation::TaskRelease, Of::Task(id.clone()), &id, doing).await
    }

    /// Findings, newest first.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn findings(
        &self,
        agent: Option<AgentName>,
        before: Option<FindingId>,
        limit: usize,
    ) -> Result<Vec<Finding>, Fault> {
        let tenant = self.tenant().clone();
        let filter = FindingFilter { open: false, agent, before, limit };
        Ok(self.store.read(move |view| view.findings(&tenant, &filter)).await?)
    }

    /// One finding.
    ///
    /// # Errors
    /// [`Fault`] when there is no such finding.
    pub async fn finding(&self, id: FindingId) -> Result<Finding, Fault> {
        let (tenant, asked) = (self.tenant().clone(), id.clone());
        let found = self.store.read(move |view| view.finding(&tenant, &asked)).await?;
        found.ok_or_else(|| Fault::not_found("finding", &id))
    }
}

fn about(finding: &Finding, kind: &'static str) -> Event {
    Event::new(&finding.tenant, kind)
        .with("finding", &finding.id)
        .with("rule", &finding.rule)
        .with("task", &finding.task)
        .with("agent", &finding.agent)
}

/// One look at some entries.
struct Looking<'a> {
    tenant: &'a TenantName,
    rules: &'a [Rule],
    profiles: BTreeMap<AgentName, Profile>,
    /// Ids for what will be found. When they are used up, what is found besides is not written down: by then
    /// hundreds are, of the same moment.
    ids: Vec<FindingId>,
}

impl Looking<'_> {
    fn at(&mut self, tx: &mut Tx<'_>, stored: &StoredEntry, counts: bool) -> Result<(), Fault> {
        // Entries that cannot be read are for `audit verify` to tell of.
        let Ok(entry) = stored.decode() else { return Ok(()) };
        if entry.tenant() != self.tenant.as_str() {
            return Ok(());
        }
        let Some(what) = what(&entry) else { return Ok(()) };
        let agent = entry.text("agent").and_then(|agent| AgentName::parse(agent).ok());
        let task = entry.text("task").and_then(|task| TaskId::parse(task).ok());
        let (Some(agent), Some(task)) = (agent, task) else { return Ok(()) };
        if !self.profiles.contains_key(&agent) {
            let profile = tx.profile(self.tenant, &agent)?;
            self.profiles.insert(agent.clone(), profile);
        }
        let Some(profile) = self.profiles.get_mut(&agent) else { return Ok(()) };
        let at = Timestamp::from_ms(entry.at());
        let found = profile.observe(self.rules, &Seen { at, task: &task, what });
        for found in found.into_iter().filter(|_| counts) {
            let Some(id) = self.ids.pop() else { return Ok(()) };
            let finding = Finding {
                tenant: self.tenant.clone(),
                id,
                rule: found.rule,
                then: found.then,
                agent: agent.clone(),
                task: task.clone(),
                entry: stored.seq,
                at,
                detail: found.detail,
                contained_at: None,
            };
            tx.put_finding(&finding)?;
            let event = about(&finding, "finding.raised")
                .with("then", finding.then)
                .with_number("entry", finding.entry)
                .with("detail", &finding.detail);
            tx.append(event)?;
        }
        Ok(())
    }
}

/// What an entry says, as far as rules look at it.
fn what(entry: &Entry) -> Option<What<'_>> {
    let number = |field: &str| entry.body().get(field).and_then(Value::as_u64).unwrap_or(0);
    match entry.kind() {
        DECIDED => {
            let outcome = entry.text("outcome");
            let enforced = entry.body().get("enforced").and_then(Value::as_bool).unwrap_or(true);
            Some(What::Decided {
                allowed: outcome == Some("allow") || !enforced,
                denied: outcome == Some("deny"),
                resource: entry.text("resource"),
                operation: entry.text("operation").unwrap_or_default(),
                host: entry.text("host").unwrap_or_default(),
                credential: entry.text("credential"),
            })
        }
        SETTLED => Some(What::Settled { bytes: number("request_bytes") + number("response_bytes") }),
        "token.refused" if entry.text("code") == Some(crate::authenticate::OTHER_KEY) => Some(What::Misused),
        "task.ended" => Some(What::Ended),
        _ => None,
    }
}
