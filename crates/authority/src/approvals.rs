//! Answers to requests: approve, deny, take back; and waiting for one.
//!
//! Who may answer is a rule of `accredit-core`. Here an answer becomes durable together with its entries, and whoever
//! waits for it is woken.

use std::time::Duration;

use accredit_core::approval::{AnswerError, Request, RequestState, Scope};
use accredit_core::digest::Digest;
use accredit_core::event::about_request;
use accredit_core::id::RequestId;
use accredit_core::rights::{Operation, may_do};
use accredit_core::text::Reason;
use accredit_identity::caller::Caller;
use accredit_store::{Cut, StoreError, Tx};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::live::CutReport;
use crate::operators::{Operator, at};
use crate::passkeys::Verified;

/// Longest time that one call waits for an answer: less than the minute after which clients and proxies give up.
pub const WAIT_MAX: Duration = Duration::from_secs(50);
/// How often whoever waits looks by themselves: answers that are given to another replica wake nobody here.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// Yes, to what has this digest.
    Approve {
        /// The digest that was shown.
        digest: Digest,
        /// How far it reaches.
        scope: Scope,
        /// A passkey that was used for exactly this.
        passkey: Option<Verified>,
    },
    /// No.
    Deny,
}

/// Wakes whoever waits for an answer to any request.
pub(crate) struct Answers(watch::Sender<u64>);

impl Default for Answers {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Answers {
    pub(crate) fn tell(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Authority {
    /// Answers a request in the name of the person who is signed in, as they stand when it is written down.
    ///
    /// # Errors
    /// [`Fault`] when the answer does not count; it is recorded as refused.
    pub async fn answer_request(
        &self,
        by: &Operator,
        id: RequestId,
        answer: Answer,
        reason: Option<Reason>,
    ) -> Result<Request, Fault> {
        let operation = match &answer {
            Answer::Approve { .. } => Operation::RequestApprove,
            Answer::Deny => Operation::RequestDeny,
        };
        let mut answered = self.write_answer(by, id.clone(), answer, reason).await;
        if let Err(fault) = &mut answered
            && fault.code == "passkey_needed"
        {
            let page = &self.settings().issuer;
            fault.next_step = format!("Open {page}/#r={id} and use a passkey that you registered there.");
        }
        match &answered {
            Ok(_) => self.answers.tell(),
            Err(fault) => self.note_refusal(by, operation, &id, fault).await,
        }
        answered
    }

    async fn write_answer(
        &self,
        by: &Operator,
        id: RequestId,
        answer: Answer,
        reason: Option<Reason>,
    ) -> Result<Request, Fault> {
        let (tenant, now) = (self.tenant().clone(), self.now());
        let (name, role, session) = (by.name().clone(), by.role(), by.session().clone());
        Ok(self
            .store
            .change(move |tx| {
                let Some(request) = tx.request(&tenant, &id)? else {
                    return Err(Fault::not_found("request", &id));
                };
                // As they stand in this transaction, not as they stood when the session was looked up.
                let Some(who) = tx.operator(&tenant, &name)? else {
                    return Err(not_an_answer(&AnswerError::Lapsed(name)));
                };
                let event = about_request("request.answered", &request)
                    .with("role", role)
                    .with("session", &session)
                    .with("by", &who.name)
                    .with_opt("reason", reason.as_ref());
                let (request, event) = match answer {
                    Answer::Approve { digest, scope, passkey } => {
                        let used = passkey.filter(|used| used.is_for(&id, &digest, scope));
                        let passkey = used.is_some();
                        let key = used.as_ref().map(|used| used.passkey().key.thumbprint());
                        if let Some(used) = used {
                            let person = who.clone().with_used(used.passkey());
                            let person = person.ok_or_else(|| not_an_answer(&AnswerError::NeedsPasskey))?;
                            tx.put_operator(&person)?;
                        }
                        let next = request.approve(&who, &digest, scope, passkey, reason, now);
                        let next = next.map_err(|e| not_an_answer(&e))?;
                        let event = event
                            .with("answer", "yes")
                            .with("scope", scope.as_str())
                            .with_flag("passkey", passkey)
                            .with_opt("key", key)
                            .with_number("missing", next.missing().into());
                        (next, event)
                    }
                    Answer::Deny => {
                        let next = request.deny(&who, reason, now).map_err(|e| not_an_answer(&e))?;
                        (next, event.with("answer", "no"))
                    }
                };
                tx.append(event)?;
                write(tx, &request)?;
                Ok(request)
            })
            .await?)
    }

    /// Takes back a request: the person who granted it, or an administrator. What it let out and still runs is cut.
    ///
    /// # Errors
    /// [`Fault`] when there is nothing to take back, or it is not theirs to take back.
    pub async fn withdraw_request(
        &self,
        by: &Operator,
        id: RequestId,
        reason: Option<Reason>,
    ) -> Result<(Request, CutReport), Fault> {
        let (tenant, now, who, asked) = (self.tenant().clone(), self.now(), by.clone(), id.clone());
        let done = self
            .store
            .change_and_cut(move |tx| {
                let Some(request) = tx.request(&tenant, &asked)? else {
                    return Err(Fault::not_found("request", &asked));
                };
                let givers: Vec<_> = request.yes.iter().map(|yes| yes.by.clone()).collect();
                if may_do(who.record(), who.role(), Operation::RequestWithdraw, &givers).is_err() {
                    let detail = format!("{} did not grant this request", who.name());
                    return Err(Fault::new(
                        FaultKind::Denied,
                        "not_yours_to_withdraw",
                        detail,
                        "Whoever granted it, or an administrator, can take it back.",
                    ));
                }
                let next = request.withdraw(Some(who.name().as_str()), now).map_err(|e| not_an_answer(&e))?;
                let event = about_request("request.closed", &next)
                    .with("outcome", "withdrawn")
                    .with("by", who.name())
                    .with_opt("reason", reason.as_ref());
                tx.append(event)?;
                tx.change_request(&next)?;
                // What it let out may still run: everything of the task is cut, and asked for again is decided again.
                tx.order(&Cut::Task(tenant.clone(), next.task.clone()))?;
                Ok(next)
            })
            .await;
        let (request, unheard) = match done {
            Ok(done) => done,
            Err(error) => {
                let fault = Fault::from(error);
                self.note_refusal(by, Operation::RequestWithdraw, &id, &fault).await;
                return Err(fault);
            }
        };
        self.answers.tell();
        let mut cut = self.cut_tasks(std::slice::from_ref(&request.task)).await;
        cut.pending += usize::try_from(unheard).unwrap_or(usize::MAX);
        Ok((request, cut))
    }

    /// Takes back a request in the name of the task that asked.
    ///
    /// # Errors
    /// [`Fault`] when it is not the caller's, or there is nothing to take back.
    pub async fn cancel_request(&self, caller: &Caller, id: RequestId) -> Result<Request, Fault> {
        let task = self.own_task(caller).await?;
        let (tenant, now) = (self.tenant().clone(), self.now());
        let request = self
            .store
            .change(move |tx| {
                let found = tx.request(&tenant, &id)?.filter(|request| request.task == task.id);
                let Some(request) = found else { return Err(Fault::not_found("request", &id)) };
                let next = request.withdraw(Some(task.agent.as_str()), now).map_err(|e| not_an_answer(&e))?;
                tx.append(
                    about_request("request.closed", &next)
                        .with("outcome", "withdrawn")
                        .with("by", &task.agent),
                )?;
                tx.change_request(&next)?;
                Ok(next)
            })
            .await?;
        self.answers.tell();
        Ok(request)
    }

    /// The request once it is no longer pending, or as it is when the time is up; at most [`WAIT_MAX`].
    ///
    /// # Errors
    /// [`Fault`] when there is no such request.
    pub async fn wait_for_answer(&self, id: &RequestId, at_most: Duration) -> Result<Request, Fault> {
        let until = Instant::now() + at_most.min(WAIT_MAX);
        let mut told = self.answers.0.subscribe();
        loop {
            told.mark_unchanged();
            let request = self.request(id.clone()).await?;
            if request.status_at(self.now()) != "pending" || Instant::now() >= until {
                return Ok(request);
            }
            let look = until.min(Instant::now() + LOOK_EVERY);
            // Both outcomes lead to another look.
            let _ = timeout_at(look, told.changed()).await;
        }
    }
}

/// Writes the request after an answer, with the entry of what it has become.
fn write(tx: &mut Tx<'_>, request: &Request) -> Result<(), StoreError> {
    let event = match &request.state {
        RequestState::Granted { scope, until, .. } => Some(
            about_request("request.granted", request)
                .with("scope", scope.as_str())
                .with_list("approvers", request.yes.iter().map(|yes| &yes.by))
                .with_number("expires_at", at(*until))
                .with("policy_set", request.policy_set),
        ),
        RequestState::Denied { by, reason, .. } => {
            Some(about_request("request.denied", request).with("by", by).with_opt("reason", reason.as_ref()))
        }
        RequestState::Pending
        | RequestState::Consumed { .. }
        | RequestState::Expired { .. }
        | RequestState::Withdrawn { .. } => None,
    };
    if let Some(event) = event {
        tx.append(event)?;
    }
    tx.change_request(request)
}

/// The fault that an answer which does not count is.
fn not_an_answer(error: &AnswerError) -> Fault {
    let why = error.to_string();
    match error {
        AnswerError::NotPending(_) | AnswerError::NothingToWithdraw(_) => {
            Fault::conflict("request_over", why, "Look at it with `accredit request show`.")
        }
        AnswerError::OtherDigest => Fault::conflict(
            "other_digest",
            why,
            "Look at it again with `accredit request show`, and answer what it shows.",
        ),
        AnswerError::Twice(_) => Fault::conflict(
            "answered_before",
            why,
            "Nothing more is needed of you; `accredit request show` says who is missing.",
        ),
        AnswerError::Lapsed(_) => {
            Fault::new(FaultKind::Denied, "approver_lapsed", why, "Ask an administrator.")
        }
        AnswerError::NotAsked { .. } => {
            Fault::new(FaultKind::Denied, "not_an_approver", why, "Ask one of those to answer.")
        }
        AnswerError::Involved { .. } => {
            Fault::new(FaultKind::Denied, "separation_of_duties", why, "Ask somebody else to answer.")
        }
        AnswerError::NeedsPasskey => Fault::new(
            FaultKind::Denied,
            "passkey_needed",
            why,
            "Open the request in a browser, and use a passkey that you registered there.",
        ),
        AnswerError::ScopeTooWide => Fault::invalid("scope_too_wide", why, "Choose the scope `call`."),
    }
}
