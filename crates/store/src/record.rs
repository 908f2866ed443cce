//! The record step and its end: a decision becomes durable on the condition that nothing narrowed since its
//! facts were read, and later its outcome follows. Here a revocation and a use are put in order.

use accredit_core::approval::{Request, RequestState};
use accredit_core::decision::{Decision, Outcome};
use accredit_core::event::{self, Event};
use accredit_core::facts::Usage;
use accredit_core::id::{DecisionId, RequestId, TaskId, TenantName};
use accredit_core::record::{Recorded, Settlement};
use accredit_ledger::EntryError;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::batch::{Batch, Known, TaskKey};
use crate::error::{Cause, RecordError, StoreError};
use crate::ledger::entries::NewEntry;
use crate::stamp::{Stamp, Subject};
use crate::tx::{Tx, now};
use crate::view::View;

/// Most actions that one transaction of the recovery settles.
const RECOVER_MAX: usize = 1_000;

/// A decision on its way into the ledger.
pub(crate) struct RecordJob {
    decision: Decision,
    stamp: Stamp,
    /// Id of the request for approval, should the decision raise a new one.
    request_id: RequestId,
    /// Checked and encoded before the queue, unless the entry names a request that only the writer knows.
    entry: Option<NewEntry>,
    verdict: Verdict,
    reply: oneshot::Sender<Result<Recorded, RecordError>>,
}

enum Verdict {
    /// The batch did not come to it.
    None,
    Durable {
        seq: u64,
        request: Option<RequestId>,
    },
    Narrowed {
        subject: Subject,
        version: u64,
    },
    LimitReached,
    Broken(String),
}

impl RecordJob {
    pub(crate) fn new(
        decision: Decision,
        stamp: Stamp,
        request_id: RequestId,
    ) -> Result<(Self, oneshot::Receiver<Result<Recorded, RecordError>>), EntryError> {
        let entry = match raises_request(&decision) {
            true => None,
            false => Some(NewEntry::of(event::decided(&decision), decision.at())?),
        };
        let (reply, answer) = oneshot::channel();
        Ok((Self { decision, stamp, request_id, entry, verdict: Verdict::None, reply }, answer))
    }

    /// Tenant and id of the decision.
    pub(crate) fn key(&self) -> (String, String) {
        (self.decision.prepared().facts().tenant.to_string(), self.decision.id().to_string())
    }

    /// Writes the decision down, or finds out why not. An error loses the batch.
    pub(crate) fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        self.verdict = self.judge(batch)?;
        Ok(())
    }

    fn judge(&mut self, batch: &mut Batch<'_>) -> Result<Verdict, StoreError> {
        if self.stamp.facts() != self.decision.prepared().digest() {
            return Ok(Verdict::Broken("the stamp is of other facts than the decision".into()));
        }
        for (subject, version) in self.stamp.reads() {
            let current = batch.version(subject)?;
            if current != version {
                return Ok(Verdict::Narrowed { subject: subject.clone(), version: current });
            }
        }
        let goes_on = self.decision.blocked_by().is_none();
        let key = task_key(&self.decision);
        let counted = self.decision.grant().filter(|_| goes_on);
        if let Some(grant) = counted
            && !has_room(&self.decision, grant, batch.usage(&key)?)
        {
            return Ok(Verdict::LimitReached);
        }
        if goes_on && batch.usage(&key)?.seen() != self.decision.usage().seen() {
            // Policy was asked what this task had seen, and meanwhile it saw more.
            return Ok(Verdict::LimitReached);
        }
        // Everything that can fail on its own comes before the first write: there is no savepoint here.
        let question = match raises_request(&self.decision) {
            true => match Question::of(&self.decision, &self.request_id, batch) {
                Ok(question) => Some(question),
                Err(lost @ StoreError::Unavailable(_)) => return Err(lost),
                Err(other) => return Ok(Verdict::Broken(other.to_string())),
            },
            false => None,
        };
        if goes_on && !open_action(&self.decision, batch)? {
            return Ok(Verdict::Broken("the decision was recorded before".into()));
        }
        batch.store_facts(self.decision.prepared())?;
        if let Some(grant) = counted {
            batch.count(&key, grant, 1, 0)?;
        }
        if let Some(target) = self.decision.prepared().facts().target.as_ref().filter(|_| goes_on) {
            batch.see(&key, target.resource.sensitivity)?;
        }
        let request = question.as_ref().map(|q| q.request.id.clone());
        let seq = match (&self.entry, question) {
            (Some(entry), _) => batch.append(entry)?,
            (None, Some(question)) => question.write(batch)?,
            (None, None) => return Err(Cause::Other("a decision lost its entry".into()).into()),
        };
        Ok(Verdict::Durable { seq, request })
    }

    /// Answers whoever asked, after the commit.
    pub(crate) fn answer(self, committed: Result<(), Cause>) {
        let answer = match (committed, self.verdict) {
            (Err(cause), _) => Err(RecordError::Unavailable(cause.to_string())),
            (Ok(()), Verdict::Durable { seq, request }) => {
                Ok(Recorded::assertion(self.decision, seq, request))
            }
            (Ok(()), Verdict::Narrowed { subject, version }) => {
                self.stamp.learn(&subject, version);
                Err(RecordError::Narrowed(Box::new(self.decision)))
            }
            (Ok(()), Verdict::LimitReached) => Err(RecordError::LimitReached(Box::new(self.decision))),
            (Ok(()), Verdict::Broken(why)) => Err(RecordError::Unavailable(why)),
            (Ok(()), Verdict::None) => Err(RecordError::Unavailable(Cause::Closed.to_string())),
        };
        // Whoever asked may have gone; then the action is settled as unknown at the next start.
        let _ = self.reply.send(answer);
    }
}

/// Whether a person is asked: not where the resource is only observed, because nothing waits there.
fn raises_request(decision: &Decision) -> bool {
    matches!(decision.outcome(), Outcome::Ask(..)) && decision.blocked_by().is_some()
}

fn task_key(decision: &Decision) -> TaskKey {
    let own = &decision.prepared().own().task;
    (own.tenant.clone(), own.id.clone())
}

fn has_room(decision: &Decision, grant: usize, usage: &Usage) -> bool {
    let Some(held) = decision.prepared().own().task.boundary.usable.get(grant) else { return false };
    let (limits, used) = (held.limits(), usage.of(grant));
    limits.calls_max.is_none_or(|max| used.calls < max) && limits.bytes_max.is_none_or(|max| used.bytes < max)
}

/// Notes that the action is under way; `false` when its decision id was used before.
fn open_action(decision: &Decision, batch: &Batch<'_>) -> Result<bool, StoreError> {
    let own = &decision.prepared().own().task;
    let target = decision.prepared().facts().target.as_ref();
    let credential = target.and_then(|t| t.credential.as_ref()).map(|c| c.name.as_str());
    let sql = "INSERT INTO open_action (tenant, decision, task, agent, resource, credential, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    let resource = decision.action().resource().map(|r| r.as_str());
    let row = (
        own.tenant.as_str(),
        decision.id().as_str(),
        own.id.as_str(),
        own.agent.as_str(),
        resource,
        credential,
        decision.at().as_ms(),
    );
    Ok(batch.view.execute(sql, row)? == 1)
}

/// What a decision that asks writes: the question to a person, new or repeated, and its entries.
struct Question {
    request: Request,
    is_new: bool,
    decided: NewEntry,
    asked: NewEntry,
}

impl Question {
    fn of(decision: &Decision, id: &RequestId, batch: &Batch<'_>) -> Result<Self, StoreError> {
        let own = &decision.prepared().own().task;
        let digest = decision.action().call().head;
        let same = batch.view.pending_request(&own.tenant, &own.id, &digest)?;
        let same = same.filter(|request| decision.at() < request.expires_at);
        let is_new = same.is_none();
        let request = match same {
            Some(same) => Request { count: same.count.saturating_add(1), ..same },
            None => raise(decision, id)?,
        };
        let decided = event::decided(decision).with("request", &request.id);
        let decided = NewEntry::of(decided, decision.at())?;
        let asked = NewEntry::of(
            if is_new { raised(decision, &request) } else { repeated(decision, &request) },
            decision.at(),
        )?;
        Ok(Self { request, is_new, decided, asked })
    }

    fn write(self, batch: &mut Batch<'_>) -> Result<u64, StoreError> {
        if self.is_new {
            batch.view.expire_same(&self.request)?;
        }
        batch.view.put_request(&self.request)?;
        let seq = batch.append(&self.decided)?;
        batch.append(&self.asked)?;
        Ok(seq)
    }
}

fn raise(decision: &Decision, id: &RequestId) -> Result<Request, StoreError> {
    let Outcome::Ask(terms, _) = decision.outcome() else {
        return Err(StoreError::document("decision", "it asks nobody"));
    };
    let (own, action) = (&decision.prepared().own().task, decision.action());
    let (Some(resource), Some(effect)) = (action.resource(), action.effect()) else {
        return Err(StoreError::document("decision", "it asks about an unknown operation"));
    };
    let call = action.call();
    let valid_ms = i64::try_from(terms.valid_for_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    Ok(Request {
        tenant: own.tenant.clone(),
        id: id.clone(),
        task: own.id.clone(),
        agent: own.agent.clone(),
        resource: resource.clone(),
        operation: action.operation().clone(),
        effect,
        summary: format!("{} {}{}", call.method, call.endpoint, call.path),
        digest: call.head,
        terms: terms.clone(),
        policies: decision.grounds().policies.clone(),
        count: 1,
        raised_at: decision.at(),
        expires_at: decision.at().plus_ms(valid_ms),
        state: RequestState::Pending,
    })
}

fn raised(decision: &Decision, request: &Request) -> Event {
    about_request("request.raised", request)
        .with("decision", decision.id())
        .with("operation", &request.operation)
        .with("effect", request.effect)
        .with("resource", &request.resource)
        .with_list("approvers", &request.terms.approvers)
        .with_number("quorum", request.terms.quorum.into())
        .with_number("expires_at", u64::try_from(request.expires_at.as_ms()).unwrap_or(0))
        .with_list("policies", &request.policies)
}

fn repeated(decision: &Decision, request: &Request) -> Event {
    about_request("request.repeated", request)
        .with("decision", decision.id())
        .with_number("repeats", request.count)
}

/// The fields that every event about a request has.
pub(crate) fn about_request(kind: &'static str, request: &Request) -> Event {
    Event::new(&request.tenant, kind)
        .with("request", &request.id)
        .with("task", &request.task)
        .with("agent", &request.agent)
        .with("request_digest", request.digest)
}

/// The outcome of an action, on its way into the ledger.
pub struct Settled {
    tenant: TenantName,
    decision: DecisionId,
    task: TaskId,
    grant: Option<usize>,
    bytes: u64,
    entry: NewEntry,
}

impl Settled {
    /// The outcome of an action under a decision of `task`: `event` as [`event::settled`] makes it, and the
    /// bytes of bodies that went both ways under the grant.
    ///
    /// An event that the ledger refuses is replaced by one that says only that the outcome is unknown.
    ///
    /// # Errors
    /// [`EntryError`] when not even that can be written: never for ids that were parsed.
    pub fn new(
        event: Event,
        decision: &DecisionId,
        task: &TaskId,
        grant: Option<usize>,
        bytes: u64,
    ) -> Result<Self, EntryError> {
        let tenant = event.tenant().clone();
        let entry = NewEntry::of(event, now()).or_else(|refused| {
            tracing::error!("the ledger refuses an outcome: {refused}");
            let body = unknown(decision.as_str(), task.as_str(), "unrecordable");
            NewEntry::new("action.settled", now(), tenant.as_str(), body)
        })?;
        Ok(Self { tenant, decision: decision.clone(), task: task.clone(), grant, bytes, entry })
    }

    /// Writes the outcome, once: an action that was settled before stays as it was.
    pub(crate) fn run(&self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        let sql = "DELETE FROM open_action WHERE tenant = ?1 AND decision = ?2";
        if batch.view.execute(sql, (self.tenant.as_str(), self.decision.as_str()))? == 0 {
            return Ok(());
        }
        if let Some(grant) = self.grant.filter(|_| self.bytes > 0) {
            batch.count(&(self.tenant.clone(), self.task.clone()), grant, 0, self.bytes)?;
        }
        batch.append(&self.entry).map(|_| ())
    }
}

fn unknown(decision: &str, task: &str, cause: &str) -> Map<String, Value> {
    let outcome = Settlement::Unknown.as_str();
    let fields = [("decision", decision), ("task", task), ("outcome", outcome), ("cause", cause)];
    fields.into_iter().map(|(field, value)| (field.to_owned(), Value::from(value))).collect()
}

/// An action without outcome, as its row says.
struct OpenAction {
    tenant: String,
    decision: String,
    task: String,
    agent: String,
    resource: Option<String>,
    credential: Option<String>,
}

impl OpenAction {
    const COLUMNS: &str = "SELECT tenant, decision, task, agent, resource, credential FROM open_action";

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            tenant: row.get(0)?,
            decision: row.get(1)?,
            task: row.get(2)?,
            agent: row.get(3)?,
            resource: row.get(4)?,
            credential: row.get(5)?,
        })
    }

    fn entry(&self, cause: &str) -> Result<NewEntry, EntryError> {
        let mut body = unknown(&self.decision, &self.task, cause);
        let also = [
            ("agent", Some(&self.agent)),
            ("resource", self.resource.as_ref()),
            ("credential", self.credential.as_ref()),
        ];
        for (field, value) in also {
            if let Some(value) = value {
                body.insert(field.to_owned(), Value::from(value.as_str()));
            }
        }
        NewEntry::new("action.settled", now(), &self.tenant, body)
    }

    fn close(&self, view: &View<'_>) -> Result<(), StoreError> {
        let sql = "DELETE FROM open_action WHERE tenant = ?1 AND decision = ?2";
        view.execute(sql, (&self.tenant, &self.decision)).map(|_| ())
    }
}

/// Settles actions that a run before this one left without outcome. Gives how many; call until it gives 0.
pub(crate) fn recover(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let sql = format!("{} LIMIT {RECOVER_MAX}", OpenAction::COLUMNS);
    let open = tx.rows(&sql, [], OpenAction::read)?;
    for action in &open {
        tx.append_entry(&action.entry("restart")?)?;
        action.close(tx)?;
    }
    Ok(open.len())
}

/// Settles an action whose record may be in the file although it was answered with a failure.
pub(crate) fn close_unanswered(
    view: &View<'_>,
    known: &mut Known,
    tenant: &str,
    decision: &str,
) -> Result<(), StoreError> {
    let sql = format!("{} WHERE tenant = ?1 AND decision = ?2", OpenAction::COLUMNS);
    let Some(action) = view.row(&sql, (tenant, decision), OpenAction::read)? else { return Ok(()) };
    known.append(view, &action.entry("record_failed")?)?;
    action.close(view)
}
