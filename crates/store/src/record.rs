//! The record step and its end: a decision becomes durable on the condition that nothing narrowed since its
//! facts were read, and later its outcome follows. Here a revocation and a use are put in order.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use accredit_core::action::Body;
use accredit_core::approval::{Asked, ChainLink, QUESTIONS_MAX, Request, RequestState, Scope};
use accredit_core::decision::{Charge, Decision, Outcome};
use accredit_core::digest::Digest;
use accredit_core::event::{self, Event, about_raised, about_request};
use accredit_core::facts::{Prepared, Usage, Used};
use accredit_core::id::{DecisionId, RequestId, TaskId, TenantName};
use accredit_core::record::{Recorded, Settlement};
use accredit_core::resource::Sensitivity;
use accredit_core::time::Timestamp;
use accredit_ledger::EntryError;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::batch::TaskKey;
use crate::error::{Cause, RecordError, StoreError};
use crate::ledger::entries::NewEntry;
use crate::postgres::Lost;
use crate::sql::Row;
use crate::stamp::{Stamp, Subject};
use crate::tx::{Tx, now};
use crate::view::View;

/// How long a decision waits for a change of something that it rests on. Changes take milliseconds.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(2);
/// Most actions that one transaction of the recovery settles.
const RECOVER_MAX: usize = 1_000;

/// A transaction that decisions and outcomes are written in: one statement at a time, or all of them at once.
pub(crate) trait Recording {
    /// What the transaction sees.
    fn view(&self) -> &View<'_>;
    /// The version that a subject has, which stays so until the commit. `None`: somebody is changing it.
    fn version(&mut self, subject: &Subject) -> Result<Option<u64>, StoreError>;
    /// What a task has used by now, this transaction included.
    fn usage(&mut self, key: &TaskKey) -> Result<&Usage, StoreError>;
    /// What was used under a grant, as nobody else changes it until the commit.
    fn exact(&mut self, key: &TaskKey, place: usize) -> Result<Used, StoreError>;
    /// Notes that an action is under way; `false` when its decision id was used before.
    fn open_action(&mut self, action: &OpenAction<'_>) -> Result<bool, StoreError>;
    /// Notes that an action is over; `false` when it was before, or never began.
    fn close_action(&mut self, tenant: &str, decision: &str) -> Result<bool, StoreError>;
    /// Keeps the text of the facts under its digest, once.
    fn keep_facts(&mut self, prepared: &Prepared) -> Result<(), StoreError>;
    /// Whether a task saw more than it had when it was decided.
    fn saw_more(&mut self, key: &TaskKey, decided_with: &Usage) -> Result<bool, StoreError>;
    /// Notes that a task may get an answer from something this sensitive.
    fn see(&mut self, key: &TaskKey, sensitivity: Sensitivity) -> Result<(), StoreError>;
    /// Adds to what a task has used.
    fn count(&mut self, key: &TaskKey, grant: usize, calls: u64, bytes: u64) -> Result<(), StoreError>;
    /// Notes that a task had a person asked something new.
    fn ask(&mut self, key: &TaskKey) -> Result<(), StoreError>;
    /// Takes the one use of what a person said yes to; `false` when it is not there to be taken.
    fn use_approval(
        &mut self,
        tenant: &TenantName,
        request: &RequestId,
        decision: &DecisionId,
        at: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Uses something up; `false` when it was before.
    fn use_once(&mut self, kind: &'static str, hash: &str, expires_at: i64) -> Result<bool, StoreError>;
    /// Appends an entry to the ledger.
    fn append(&mut self, entry: &NewEntry) -> Result<(), StoreError>;
}

/// A decision on its way into the ledger.
pub(crate) struct RecordJob {
    decision: Decision,
    stamp: Stamp,
    /// Id of the request for approval, should the decision raise a new one.
    request_id: RequestId,
    /// Checked and encoded before the queue, unless the entry names a request that only the writer knows.
    entry: Option<NewEntry>,
    verdict: Verdict,
    /// Until when it may wait for a change to end.
    patience: Instant,
    reply: oneshot::Sender<Result<Recorded, RecordError>>,
}

enum Verdict {
    /// The batch did not come to it.
    None,
    Durable {
        request: Option<RequestId>,
    },
    /// Something that it rests on is being changed right now.
    Changing,
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
        let patience = Instant::now() + CHANGE_TIME_MAX;
        Ok((Self { decision, stamp, request_id, entry, verdict: Verdict::None, patience, reply }, answer))
    }

    /// Tenant and id of the decision.
    pub(crate) fn key(&self) -> (String, String) {
        (self.decision.prepared().facts().tenant.to_string(), self.decision.id().to_string())
    }

    /// What it rests on.
    pub(crate) const fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether recording it changes more than figures: it asks a person, or lets its task see something more
    /// sensitive than before, which other decisions rest on.
    pub(crate) fn is_change(&self) -> bool {
        let target = self.decision.prepared().facts().target.as_ref();
        let new = |sensitivity| self.decision.usage().seen().is_none_or(|seen| !seen.contains(&sensitivity));
        let sees_more = target.is_some_and(|target| new(target.resource.sensitivity));
        let goes_on = self.decision.blocked_by().is_none();
        self.entry.is_none() || (goes_on && (sees_more || self.uses_up().is_some()))
    }

    /// The approval that the decision uses up.
    fn uses_up(&self) -> Option<&RequestId> {
        let approval = self.decision.grounds().approval.as_ref()?;
        (approval.scope == Scope::Call).then_some(&approval.request)
    }

    /// Whether it must be looked at again, because something that it rests on was being changed.
    pub(crate) const fn is_undecided(&self) -> bool {
        matches!(self.verdict, Verdict::Changing)
    }

    /// Whether it may go on waiting for a change to end.
    pub(crate) fn may_wait(&self) -> bool {
        Instant::now() < self.patience
    }

    /// The grants that count this use.
    fn charges(&self) -> &[Charge] {
        if self.decision.blocked_by().is_none() { self.decision.charges() } else { &[] }
    }

    /// Those of them with limits, so that their figures must be exact.
    pub(crate) fn limited(&self) -> impl Iterator<Item = (TaskKey, usize)> + '_ {
        let limited = self.charges().iter().filter(|charge| charge.limits.are_counted());
        limited.map(|charge| (self.key_of(charge), charge.place))
    }

    fn key_of(&self, charge: &Charge) -> TaskKey {
        (self.decision.prepared().facts().tenant.clone(), charge.task.clone())
    }

    /// Writes the decision down, or finds out why not. An error loses the whole transaction.
    pub(crate) fn run(&mut self, batch: &mut impl Recording) -> Result<(), StoreError> {
        self.verdict = self.judge(batch)?;
        Ok(())
    }

    fn judge(&mut self, batch: &mut impl Recording) -> Result<Verdict, StoreError> {
        if self.stamp.facts() != self.decision.prepared().digest() {
            return Ok(Verdict::Broken("the stamp is of other facts than the decision".into()));
        }
        for (subject, version) in self.stamp.reads() {
            let Some(current) = batch.version(subject)? else { return Ok(Verdict::Changing) };
            if current != version {
                return Ok(Verdict::Narrowed { subject: subject.clone(), version: current });
            }
            if version == 0 && self.decision.blocked_by().is_none() {
                return Ok(Verdict::Broken(format!(
                    "it rests on `{}`, which was never written",
                    subject.as_str()
                )));
            }
        }
        let (goes_on, key) = (self.decision.blocked_by().is_none(), task_key(&self.decision));
        let asked_before = self.decision.usage().questions();
        if self.entry.is_none()
            && asked_before < QUESTIONS_MAX
            && batch.usage(&key)?.questions() >= QUESTIONS_MAX
        {
            return Ok(Verdict::LimitReached);
        }
        if goes_on && batch.saw_more(&key, self.decision.usage())? {
            // Policy was asked what this task had seen, and meanwhile it saw more.
            return Ok(Verdict::LimitReached);
        }
        // A change of the task first, then the figures that others count as well: whoever records many at once locks in this
        // order. That a limit turns out to be used up leaves the task marked as if it had seen the answer, which is the
        // stricter mistake.
        if let Some(target) = self.decision.prepared().facts().target.as_ref().filter(|_| goes_on) {
            batch.see(&key, target.resource.sensitivity)?;
        }
        for charge in self.charges().iter().filter(|charge| charge.limits.are_counted()) {
            if !has_room(charge, batch.exact(&self.key_of(charge), charge.place)?) {
                return Ok(Verdict::LimitReached);
            }
        }
        // Everything else that can fail on its own comes before the first write: there is no savepoint here.
        let question = match raises_request(&self.decision) {
            true => match Question::of(&self.decision, &self.request_id, batch.view()) {
                Ok(question) => Some(question),
                Err(lost @ StoreError::Unavailable(_)) => return Err(lost),
                Err(other) => return Ok(Verdict::Broken(other.to_string())),
            },
            false => None,
        };
        if let Some(request) = self.uses_up().filter(|_| goes_on)
            && !batch.use_approval(&key.0, request, self.decision.id(), self.decision.at())?
        {
            return Ok(Verdict::LimitReached);
        }
        if goes_on && !batch.open_action(&OpenAction::of(&self.decision))? {
            return Ok(Verdict::Broken("the decision was recorded before".into()));
        }
        batch.keep_facts(self.decision.prepared())?;
        for charge in self.charges() {
            batch.count(&self.key_of(charge), charge.place, 1, 0)?;
        }
        let request = question.as_ref().map(|q| q.request.id.clone());
        match (&self.entry, question) {
            (Some(entry), _) => batch.append(entry)?,
            (None, Some(question)) => {
                if question.is_new {
                    batch.ask(&key)?;
                }
                question.write(batch)?;
            }
            (None, None) => return Err(Cause::Other("a decision lost its entry".into()).into()),
        }
        Ok(Verdict::Durable { request })
    }

    /// Answers whoever asked, after the commit.
    pub(crate) fn answer(self, committed: Result<(), Cause>) {
        let answer = match (committed, self.verdict) {
            (Err(cause), _) => Err(RecordError::Unavailable(cause.to_string())),
            (Ok(()), Verdict::Durable { request }) => Ok(Recorded::assertion(self.decision, request)),
            // It was looked at again for as long as it could wait.
            (Ok(()), Verdict::Changing) => Err(RecordError::Overloaded),
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

fn has_room(charge: &Charge, used: Used) -> bool {
    let limits = charge.limits;
    limits.calls_max.is_none_or(|max| used.calls < max) && limits.bytes_max.is_none_or(|max| used.bytes < max)
}

/// What a decision that asks writes: the question to a person, new or repeated, and its entries.
struct Question {
    request: Request,
    is_new: bool,
    decided: NewEntry,
    asked: NewEntry,
}

impl Question {
    fn of(decision: &Decision, id: &RequestId, view: &View<'_>) -> Result<Self, StoreError> {
        let own = &decision.prepared().own().task;
        let Some(digest) = decision.action().call().exact() else {
            return Err(StoreError::document("decision", "it asks about a body that nobody has read"));
        };
        let same = view.pending_request(&own.tenant, &own.id, &digest)?;
        let same = same.filter(|request| decision.at() < request.expires_at);
        let is_new = same.is_none();
        let request = match same {
            Some(same) => Request { count: same.count.saturating_add(1), ..same },
            None => raise(decision, id, digest)?,
        };
        let decided = event::decided(decision).with("request", &request.id);
        let decided = NewEntry::of(decided, decision.at())?;
        let asked = NewEntry::of(
            if is_new { raised(decision, &request) } else { repeated(decision, &request) },
            decision.at(),
        )?;
        Ok(Self { request, is_new, decided, asked })
    }

    fn write(self, batch: &mut impl Recording) -> Result<(), StoreError> {
        if self.is_new {
            batch.view().expire_same(&self.request)?;
        }
        batch.view().put_request(&self.request)?;
        batch.append(&self.decided)?;
        batch.append(&self.asked)
    }
}

fn raise(decision: &Decision, id: &RequestId, digest: Digest) -> Result<Request, StoreError> {
    let Outcome::Ask(terms, _) = decision.outcome() else {
        return Err(StoreError::document("decision", "it asks nobody"));
    };
    let (facts, action) = (decision.prepared().facts(), decision.action());
    let (Some(target), Some(effect)) = (&facts.target, action.effect()) else {
        return Err(StoreError::document("decision", "it asks about an unknown operation"));
    };
    let (own, call) = (&decision.prepared().own().task, action.call());
    let valid_ms = i64::try_from(terms.valid_for_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let sent_path = call.sent_path.as_ref().unwrap_or(&call.path);
    let asked = Asked::Call {
        resource: target.resource.name.clone(),
        owner: target.resource.owner.clone(),
        operation: action.operation().clone(),
        effect,
        method: call.method.clone(),
        url: format!("{}{sent_path}", call.endpoint),
        query: call.query_shown.clone(),
        body: match &call.body {
            Body::Held(body) => Some((**body).clone()),
            Body::None | Body::Streamed => None,
        },
    };
    Ok(Request {
        tenant: own.tenant.clone(),
        id: id.clone(),
        task: own.id.clone(),
        agent: own.agent.clone(),
        asked,
        digest,
        chain: facts.chain.iter().map(ChainLink::of).collect(),
        terms: terms.clone(),
        policies: decision.grounds().policies.clone(),
        policy_set: facts.policy_set,
        count: 1,
        raised_at: decision.at(),
        expires_at: decision.at().plus_ms(valid_ms),
        yes: Vec::new(),
        state: RequestState::Pending,
    })
}

fn raised(decision: &Decision, request: &Request) -> Event {
    about_raised(request).with("decision", decision.id())
}

fn repeated(decision: &Decision, request: &Request) -> Event {
    about_request("request.repeated", request)
        .with("decision", decision.id())
        .with_number("repeats", request.count)
}

/// The outcome of an action, on its way into the ledger.
pub struct Settled {
    tenant: TenantName,
    decision: DecisionId,
    /// The grants that the bytes count against.
    charged: Vec<(TaskId, usize)>,
    bytes: u64,
    entry: NewEntry,
}

impl Settled {
    /// The outcome of an action under a decision: `event` as [`event::settled`] makes it, and the bytes of bodies that went
    /// both ways under its grants.
    ///
    /// An event that the ledger refuses is replaced by one that says only that the outcome is unknown.
    ///
    /// # Errors
    /// [`EntryError`] when not even that can be written: never for ids that were parsed.
    pub fn new(event: Event, decision: &Decision, bytes: u64) -> Result<Self, EntryError> {
        let (tenant, task) = (event.tenant().clone(), &decision.prepared().own().task.id);
        let charged = decision.charges().iter().map(|charge| (charge.task.clone(), charge.place)).collect();
        let decision = decision.id();
        let entry = NewEntry::of(event, now()).or_else(|refused| {
            tracing::error!("the ledger refuses an outcome: {refused}");
            let body = unknown(decision.as_str(), task.as_str(), "unrecordable");
            NewEntry::new("action.settled", now(), tenant.as_str(), body)
        })?;
        Ok(Self { tenant, decision: decision.clone(), charged, bytes, entry })
    }

    /// Writes the outcome, once: an action that was settled before stays as it was.
    pub(crate) fn run(&self, batch: &mut impl Recording) -> Result<(), StoreError> {
        if !batch.close_action(self.tenant.as_str(), self.decision.as_str())? {
            return Ok(());
        }
        for (task, place) in self.charged.iter().filter(|_| self.bytes > 0) {
            batch.count(&(self.tenant.clone(), task.clone()), *place, 0, self.bytes)?;
        }
        batch.append(&self.entry)
    }

    /// Tenant and id of the decision.
    pub(crate) fn key(&self) -> (&str, &str) {
        (self.tenant.as_str(), self.decision.as_str())
    }
}

fn unknown(decision: &str, task: &str, cause: &str) -> Map<String, Value> {
    let outcome = Settlement::Unknown.as_str();
    let fields = [("decision", decision), ("task", task), ("outcome", outcome), ("cause", cause)];
    fields.into_iter().map(|(field, value)| (field.to_owned(), Value::from(value))).collect()
}

/// An action that was let out and has no outcome yet: what its second entry needs.
pub(crate) struct OpenAction<'a> {
    pub(crate) tenant: Cow<'a, str>,
    pub(crate) decision: Cow<'a, str>,
    pub(crate) task: Cow<'a, str>,
    pub(crate) agent: Cow<'a, str>,
    pub(crate) resource: Option<Cow<'a, str>>,
    pub(crate) credential: Option<Cow<'a, str>>,
    pub(crate) at: i64,
}

impl<'a> OpenAction<'a> {
    const COLUMNS: &'static str =
        "SELECT tenant, decision, task, agent, resource, credential, at FROM open_action";

    fn of(decision: &'a Decision) -> Self {
        let own = &decision.prepared().own().task;
        let target = decision.prepared().facts().target.as_ref();
        let credential = target.and_then(|t| t.credential.as_ref()).map(|c| c.name.as_str());
        Self {
            tenant: own.tenant.as_str().into(),
            decision: decision.id().as_str().into(),
            task: own.id.as_str().into(),
            agent: own.agent.as_str().into(),
            resource: decision.action().resource().map(|r| r.as_str().into()),
            credential: credential.map(Cow::from),
            at: decision.at().as_ms(),
        }
    }

    /// Its values, in the order of the columns.
    pub(crate) fn row(&self) -> (&str, &str, &str, &str, Option<&str>, Option<&str>, i64) {
        let (resource, credential) = (self.resource.as_deref(), self.credential.as_deref());
        (&self.tenant, &self.decision, &self.task, &self.agent, resource, credential, self.at)
    }

    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let text = |at| row.get::<String>(at).map(Cow::from);
        let perhaps = |at| row.get::<Option<String>>(at).map(|text| text.map(Cow::from));
        Ok(Self {
            tenant: text(0)?,
            decision: text(1)?,
            task: text(2)?,
            agent: text(3)?,
            resource: perhaps(4)?,
            credential: perhaps(5)?,
            at: row.get(6)?,
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
                body.insert(field.to_owned(), Value::from(value.as_ref()));
            }
        }
        NewEntry::new("action.settled", now(), &self.tenant, body)
    }

    fn close(&self, tx: &mut Tx<'_>, cause: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM open_action WHERE tenant = ?1 AND decision = ?2";
        if tx.execute(sql, (self.tenant.as_ref(), self.decision.as_ref()))? == 1 {
            tx.append_entry(&self.entry(cause)?)?;
        }
        Ok(())
    }
}

/// Settles actions that a run before this one left without outcome. Gives how many; call until it gives 0.
pub(crate) fn recover(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let sql = format!("{} LIMIT {RECOVER_MAX}", OpenAction::COLUMNS);
    let open = tx.rows(&sql, (), OpenAction::read)?;
    for action in &open {
        action.close(tx, "restart")?;
    }
    Ok(open.len())
}

impl Tx<'_> {
    /// Settles as unknown what a replica left open that is gone, a part of it; gives how much. Call until it gives 0: then
    /// the replica is off the list. One that was heard of since is left alone.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn settle_lost(&mut self, lost: &Lost) -> Result<usize, StoreError> {
        // Locked: it is not heard of before this is over.
        let sql = "SELECT id FROM replica WHERE id = ?1 AND CAST(xmin AS TEXT) = ?2 FOR UPDATE";
        let id: Option<String> =
            self.row(sql, (lost.replica.as_str(), lost.mark.as_str()), |row| row.get(0))?;
        let Some(id) = id else { return Ok(0) };
        let sql = format!("{} WHERE replica = ?1 LIMIT {RECOVER_MAX}", OpenAction::COLUMNS);
        let open = self.rows(&sql, [id.as_str()], OpenAction::read)?;
        for action in &open {
            action.close(self, "replica_lost")?;
        }
        if open.is_empty() {
            self.execute("DELETE FROM replica WHERE id = ?1", [id.as_str()])?;
        }
        Ok(open.len())
    }
}

/// Settles an action whose record may be in the database although it was answered with a failure.
pub(crate) fn close_unanswered(tx: &mut Tx<'_>, tenant: &str, decision: &str) -> Result<(), StoreError> {
    let sql = format!("{} WHERE tenant = ?1 AND decision = ?2", OpenAction::COLUMNS);
    let action = tx.row(&sql, (tenant, decision), OpenAction::read)?;
    action.map_or(Ok(()), |action| action.close(tx, "record_failed"))
}
