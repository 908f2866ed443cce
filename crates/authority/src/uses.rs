//! The one path, steps 3 to 7: facts → decide → record → open → settle.
//!
//! A gateway hands in a verified caller and a parsed call. It gets back either an [`Opened`]
//! action, which carries the permit, the secret and the duty to settle, or the reason why not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use accredit_core::action::{Action, Call};
use accredit_core::decide::{Question, decide};
use accredit_core::decision::Outcome;
use accredit_core::event::{Seen, settled};
use accredit_core::facts::Target;
use accredit_core::host::Endpoint;
use accredit_core::id::{CredentialName, DecisionId, RequestId, ResourceName, TenantName};
use accredit_core::record::{Permit, Recorded, Refused, Settlement};
use accredit_core::resource::Resource;
use accredit_identity::caller::Caller;
use accredit_store::{RecordError, Settled};
use accredit_vault::Secret;

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::live::{About, LiveAction};
use crate::traces::{Phase, SpanNumber, Steps};

/// How often a decision is made anew because something narrowed meanwhile. Each round needs a
/// change to have committed in between; a task that changes this often may wait.
const ROUNDS_MAX: usize = 16;
/// Sealed values kept in memory, still sealed. One for each credential in use.
const SEALED_VALUES_MAX: usize = 4_096;

/// Why an action does not go on.
pub enum NotOpened {
    /// It was decided and recorded that it must not.
    Refused(Box<Refused>),
    /// It was recorded, and could not go on; that is recorded too.
    Stopped {
        /// The decision's id.
        decision: DecisionId,
        /// What went wrong.
        fault: Fault,
    },
    /// A person must be asked, and what they would say yes to is not known before the body was read whole. Nothing was
    /// recorded.
    NeedsBody,
    /// Nothing could be decided or recorded, so nothing was done.
    Fault(Fault),
}

/// A recorded, permitted action, ready to be sent.
pub struct Opened {
    settling: Settling,
    secret: Option<Secret>,
}

impl Opened {
    /// The permit.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.settling.permit
    }

    /// The secret to inject, if the resource has a credential. Given once.
    pub const fn take_secret(&mut self) -> Option<Secret> {
        self.secret.take()
    }

    /// What completes when the action must stop.
    #[must_use]
    pub const fn live(&self) -> &LiveAction {
        &self.settling.live
    }

    /// Whether it may still go out: nobody has cut it, and this replica is heard of. To be asked last of all before bytes
    /// go out, because the process may have stood still since the record.
    ///
    /// # Errors
    /// Why not, as a word for the ledger.
    pub fn may_go_out(&self) -> Result<(), &'static str> {
        match (self.settling.live.is_cut(), self.settling.authority.must_be_heard()) {
            (true, _) => Err("revoked"),
            (false, Err(fault)) => Err(fault.code),
            (false, Ok(())) => Ok(()),
        }
    }

    /// Another step of the path begins; for whoever watches.
    pub fn mark(&mut self, phase: Phase) {
        self.settling.steps.mark(phase);
    }

    /// Records how the action ended. Without it, dropping records `unknown`.
    pub fn settle(mut self, seen: Seen) {
        self.settling.seen = Some(seen);
    }
}

/// Makes sure that every permitted action gets exactly one second entry, whatever happens to the
/// task that carries it out: a panic, a cancellation, a client that goes away.
struct Settling {
    authority: Arc<Authority>,
    permit: Permit,
    live: LiveAction,
    started: Instant,
    seen: Option<Seen>,
    steps: Steps,
}

impl Drop for Settling {
    fn drop(&mut self) {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seen = self.seen.take().unwrap_or(Seen {
            settlement: Settlement::Unknown,
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            body_digest: None,
            duration_ms: 0,
            cause: Some("abandoned"),
            scrubbed: 0,
        });
        seen.duration_ms = elapsed_ms;
        let decision = self.permit.decision();
        self.authority.traces.tell(decision, &self.steps, Some(&seen), &self.authority.traffic.untold);
        let bytes = seen.request_bytes.saturating_add(seen.response_bytes);
        let settled = Settled::new(settled(decision, &seen), decision, bytes);
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => {
                return tracing::error!(%error, "an outcome cannot be written: it is settled at the next start");
            }
        };
        let authority = self.authority.clone();
        // The second entry waits for room in the queue, never for the caller.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { authority.store.settle(settled).await });
        }
    }
}

impl Authority {
    /// Takes an action through the path up to the point where bytes may go out. `call` makes the
    /// request that would be sent, given what stands at the endpoint; it is asked again whenever
    /// the facts are read again, so that what is decided is what will be sent. `parent` is the span of the
    /// agent's that this belongs to.
    ///
    /// # Errors
    /// [`NotOpened`] says why nothing may be sent.
    pub async fn open_use(
        self: &Arc<Self>,
        caller: &Caller,
        endpoint: &Endpoint,
        parent: Option<SpanNumber>,
        mut call: impl FnMut(Option<&Target>) -> Result<Call, Fault> + Send,
    ) -> Result<Opened, NotOpened> {
        if self.vault.is_sealed() {
            return Err(NotOpened::Fault(Fault::sealed()));
        }
        self.must_be_heard().map_err(NotOpened::Fault)?;
        match self.open_once(caller, endpoint, parent, &mut call).await {
            // The value was replaced between the record and its opening: the next version is there.
            Err(NotOpened::Stopped { fault, .. }) if fault.code == "secret_gone" => {
                self.open_once(caller, endpoint, parent, &mut call).await
            }
            outcome => outcome,
        }
    }

    async fn open_once(
        self: &Arc<Self>,
        caller: &Caller,
        endpoint: &Endpoint,
        parent: Option<SpanNumber>,
        call: &mut (impl FnMut(Option<&Target>) -> Result<Call, Fault> + Send),
    ) -> Result<Opened, NotOpened> {
        let started = Instant::now();
        let mut steps = Steps::begin(parent);
        let live = self.live.enter(About {
            tenant: caller.tenant().clone(),
            task: caller.task().clone(),
            agent: caller.agent().clone(),
            credential: None,
        });
        let permit = match self.decide_and_record(caller, endpoint, call, &live, &mut steps).await?.permit() {
            Ok(permit) => permit,
            Err(refused) => {
                self.traces.tell(&refused.decision, &steps, None, &self.traffic.untold);
                return Err(NotOpened::Refused(refused));
            }
        };
        steps.mark(Phase::Open);
        let mut settling = Settling { authority: self.clone(), permit, live, started, seen: None, steps };
        match self.open_secret(&settling.permit).await {
            Ok(secret) => Ok(Opened { settling, secret }),
            Err(fault) => {
                let decision = settling.permit.decision().id().clone();
                settling.seen = Some(not_sent(fault.code));
                Err(NotOpened::Stopped { decision, fault })
            }
        }
    }

    async fn decide_and_record(
        &self,
        caller: &Caller,
        endpoint: &Endpoint,
        call: &mut (impl FnMut(Option<&Target>) -> Result<Call, Fault> + Send),
        live: &LiveAction,
        steps: &mut Steps,
    ) -> Result<Recorded, NotOpened> {
        for _ in 0..ROUNDS_MAX {
            steps.mark(Phase::Facts);
            let snapshot = self.store.snapshot(caller.tenant(), caller.task(), endpoint).await;
            let snapshot = snapshot.map_err(|error| NotOpened::Fault(error.into()))?;
            let target = snapshot.prepared.facts().target.as_ref();
            live.with_credential(target.and_then(|t| t.credential.as_ref()).map(|c| &c.name));
            let action = Action::new(call(target).map_err(NotOpened::Fault)?, target.map(|t| &t.resource));
            let policies = self.policy_set(snapshot.prepared.facts().policy_set).await;
            let policies = policies.map_err(NotOpened::Fault)?;
            steps.mark(Phase::Decide);
            let decision = decide(Question {
                id: DecisionId::from_random(self.draw16()),
                caller: caller.clone(),
                action,
                prepared: snapshot.prepared,
                usage: &snapshot.usage,
                policies: &policies,
                now: self.now(),
            });
            let asks = matches!(decision.outcome(), Outcome::Ask(..)) && decision.blocked_by().is_some();
            if asks && decision.action().call().exact().is_none() {
                return Err(NotOpened::NeedsBody);
            }
            let request = RequestId::from_random(self.draw16());
            steps.mark(Phase::Record);
            match self.store.record(decision, snapshot.stamp, request).await {
                Ok(recorded) => return Ok(recorded),
                // Something narrowed, or somebody else took the last of a limit: look again.
                Err(RecordError::Narrowed(_) | RecordError::LimitReached(_)) => {}
                Err(error) => return Err(NotOpened::Fault(not_recorded(&error))),
            }
        }
        Err(NotOpened::Fault(Fault::new(
            FaultKind::Overloaded,
            "too_many_changes",
            "the task changed again and again while this was decided",
            "Repeat it after a second.",
        )))
    }

    /// Whether a resource is registered at this endpoint, as far as this caller is concerned.
    pub async fn is_registered(&self, caller: &Caller, endpoint: &Endpoint) -> bool {
        let snapshot = self.store.snapshot(caller.tenant(), caller.task(), endpoint).await;
        snapshot.is_ok_and(|s| s.prepared.facts().target.is_some())
    }

    /// The endpoint that a resource's name stands for in base-URL mode: its first. What is decided
    /// and where it goes follow from the endpoint, never from the name.
    ///
    /// # Errors
    /// [`Fault`] when there is no such resource.
    pub async fn base_of(&self, resource: &ResourceName) -> Result<Endpoint, Fault> {
        let (tenant, name) = (self.tenant().clone(), resource.clone());
        let found = self.store.read(move |view| view.resource(&tenant, &name)).await?;
        let first = found.filter(Resource::active).and_then(|r| r.endpoints.into_iter().next());
        first.ok_or_else(|| Fault::not_found("resource", resource))
    }

    async fn open_secret(&self, permit: &Permit) -> Result<Option<Secret>, Fault> {
        let Some(credential) = permit.credential() else { return Ok(None) };
        let Some(version) = credential.secret_version else { return Ok(None) };
        let place = Place { tenant: credential.tenant.clone(), credential: credential.name.clone(), version };
        let blob = self.sealed_value(place).await?;
        self.vault.open(permit, &blob).map(Some).map_err(|error| {
            tracing::error!(credential = %credential.name, error = %error, "a sealed value does not open");
            Fault::unavailable("secret_unreadable", "the sealed value of this credential does not open")
        })
    }

    async fn sealed_value(&self, place: Place) -> Result<Arc<[u8]>, Fault> {
        if let Some(found) = self.blobs.get(&place) {
            return Ok(found);
        }
        let asked = place.clone();
        let blob = self
            .store
            .read(move |view| view.sealed(&asked.tenant, &asked.credential, asked.version))
            .await?
            .ok_or_else(|| {
                Fault::unavailable("secret_gone", "the sealed value of this credential is gone")
            })?;
        Ok(self.blobs.keep(place, blob.into()))
    }
}

fn not_sent(cause: &'static str) -> Seen {
    Seen {
        settlement: Settlement::NotSent,
        status: None,
        request_bytes: 0,
        response_bytes: 0,
        body_digest: None,
        duration_ms: 0,
        cause: Some(cause),
        scrubbed: 0,
    }
}

fn not_recorded(error: &RecordError) -> Fault {
    match error {
        RecordError::Overloaded => Fault::new(
            FaultKind::Overloaded,
            "overloaded",
            "too many actions wait to be recorded",
            "Repeat it after a second.",
        ),
        _ => {
            tracing::error!(error = %error, "a decision cannot be recorded");
            Fault::unavailable("audit_unavailable", "the ledger cannot be written now, so nothing is sent")
        }
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    tenant: TenantName,
    credential: CredentialName,
    version: u32,
}

/// Sealed values by credential and version: a version's value never changes, so that nothing here
/// can be stale. The plaintext is never kept.
#[derive(Default)]
pub(crate) struct SealedCache(Mutex<BTreeMap<Place, Arc<[u8]>>>);

impl SealedCache {
    fn get(&self, place: &Place) -> Option<Arc<[u8]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
    }

    fn keep(&self, place: Place, blob: Arc<[u8]>) -> Arc<[u8]> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= SEALED_VALUES_MAX {
            kept.clear();
        }
        kept.insert(place, blob.clone());
        blob
    }

    /// Forgets everything, after data keys or values changed.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
