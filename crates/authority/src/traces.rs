//! What is told of an action to whoever watches: one report for each, made of typed fields from this list and no
//! others, with the steps of the path and how long they took. Nothing is decided on it. Paths, queries, header fields and
//! bodies are not in it; the decision's id leads to the ledger, which has what may be kept.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use accredit_core::decision::Decision;
use accredit_core::effect::Effect;
use accredit_core::event::Seen;
use accredit_core::host::Endpoint;
use accredit_core::id::{AgentName, DecisionId, OperationName, ResourceName, TaskId, TenantName};
use accredit_core::record::Settlement;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::traffic::Traffic;

/// Reports that wait for whoever watches, about 1 KB each. More are dropped and counted: watching holds nothing up.
pub const REPORTS_MAX: usize = 4_096;
/// Most steps of one report: a decision that was made anew as often as can be, and what follows it.
const STEPS_MAX: usize = 64;

/// The number of a span (W3C Trace Context §3.2.2.4).
pub type SpanNumber = [u8; 8];

/// A step of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The snapshot of the facts.
    Facts,
    /// The decision.
    Decide,
    /// Its durable record.
    Record,
    /// The opening of the secret.
    Open,
    /// From the injection to the head of the response.
    Send,
    /// The body of the response.
    Relay,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Decide => "decide",
            Self::Record => "record",
            Self::Open => "open",
            Self::Send => "send",
            Self::Relay => "relay",
        }
    }
}

/// One step that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub phase: Phase,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// The steps of one action, one after the other.
pub(crate) struct Steps {
    parent: Option<SpanNumber>,
    began: SystemTime,
    clock: Instant,
    marks: Vec<(Phase, Duration)>,
}

impl Steps {
    /// Begins now; `parent` is the span of the agent's that the action belongs to.
    pub(crate) fn begin(parent: Option<SpanNumber>) -> Self {
        Self { parent, began: SystemTime::now(), clock: Instant::now(), marks: Vec::with_capacity(8) }
    }

    /// A step begins, and with it the one before it ends.
    pub(crate) fn mark(&mut self, phase: Phase) {
        if self.marks.len() < STEPS_MAX {
            self.marks.push((phase, self.clock.elapsed()));
        }
    }

    fn read(&self, whole: Duration) -> Vec<Step> {
        let ends = self.marks.iter().skip(1).map(|(_, at)| *at).chain([whole]);
        let steps = self.marks.iter().zip(ends);
        steps
            .map(|(&(phase, at), end)| Step { phase, began: self.began + at, took: end.saturating_sub(at) })
            .collect()
    }
}

/// How a permitted action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// As the ledger says it.
    pub settlement: Settlement,
    /// HTTP status that the upstream answered with.
    pub status: Option<u16>,
    /// A stable word for what went wrong.
    pub cause: Option<&'static str>,
    /// Bytes of the request body that were sent.
    pub request_bytes: u64,
    /// Bytes of the response body that were passed on.
    pub response_bytes: u64,
}

/// One action, after it ended or was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The trace that it belongs to: that of the `traceparent` which goes upstream.
    pub trace: [u8; 16],
    /// Its span: the one which that `traceparent` names as the parent of what the upstream does.
    pub span: SpanNumber,
    /// The span of the agent's that it belongs to.
    pub parent: Option<SpanNumber>,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The steps of the path that it came through.
    pub steps: Vec<Step>,
    /// The decision.
    pub decision: DecisionId,
    /// `allow`, `ask` or `deny`.
    pub outcome: &'static str,
    /// `allowed`, or the code of the refusal.
    pub code: &'static str,
    /// Whether it was refused: a denial that is only observed is none.
    pub blocked: bool,
    /// Whose world it happened in.
    pub tenant: TenantName,
    /// Who acted.
    pub agent: AgentName,
    /// In which task.
    pub task: TaskId,
    /// On what, if it is registered.
    pub resource: Option<ResourceName>,
    /// What was done to it.
    pub operation: OperationName,
    /// With which effect.
    pub effect: Option<Effect>,
    /// Where it was to go.
    pub endpoint: Endpoint,
    /// How it ended; `None`: it was refused.
    pub end: Option<End>,
}

impl Report {
    /// `None` when the decision has no trace context, which a gateway always gives it.
    fn of(decision: &Decision, steps: &Steps, seen: Option<&Seen>) -> Option<Self> {
        let (trace, span) = read_traceparent(&decision.action().call().traceparent)?;
        let took = steps.clock.elapsed();
        Some(Self {
            trace,
            span,
            parent: steps.parent,
            began: steps.began,
            took,
            steps: steps.read(took),
            decision: decision.id().clone(),
            outcome: decision.outcome().as_str(),
            code: decision.code(),
            blocked: decision.blocked_by().is_some(),
            tenant: decision.caller().tenant().clone(),
            agent: decision.caller().agent().clone(),
            task: decision.caller().task().clone(),
            resource: decision.action().resource().cloned(),
            operation: decision.action().operation().clone(),
            effect: decision.action().effect(),
            endpoint: decision.action().call().endpoint.clone(),
            end: seen.map(|seen| End {
                settlement: seen.settlement,
                status: seen.status,
                cause: seen.cause,
                request_bytes: seen.request_bytes,
                response_bytes: seen.response_bytes,
            }),
        })
    }
}

/// Where reports go. Nowhere, until somebody watches.
#[derive(Default)]
pub struct Traces(OnceLock<Sender<Report>>);

impl Traces {
    /// Lets somebody watch, once: `None` when somebody does.
    #[must_use]
    pub fn watch(&self) -> Option<Receiver<Report>> {
        let (sender, receiver) = channel(REPORTS_MAX);
        self.0.set(sender).ok().map(|()| receiver)
    }

    /// Tells of an action. Never waits: what does not fit is counted in `dropped` and gone.
    pub(crate) fn tell(&self, decision: &Decision, steps: &Steps, seen: Option<&Seen>, dropped: &AtomicU64) {
        let Some(watcher) = self.0.get() else { return };
        let Some(report) = Report::of(decision, steps, seen) else { return };
        if watcher.try_send(report).is_err() {
            Traffic::count(dropped);
        }
    }
}

/// Trace and span of a `traceparent` of our own (W3C Trace Context §3.2).
fn read_traceparent(text: &str) -> Option<([u8; 16], SpanNumber)> {
    let mut parts = text.split('-').skip(1);
    Some((unhex(parts.next()?)?, unhex(parts.next()?)?))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_ends_where_the_next_begins_and_there_is_a_most_of_them() {
        let mut steps = Steps::begin(None);
        for _ in 0..2 * STEPS_MAX {
            [Phase::Facts, Phase::Decide, Phase::Record].into_iter().for_each(|phase| steps.mark(phase));
        }
        let whole = steps.clock.elapsed();
        let read = steps.read(whole);
        assert_eq!(read.len(), STEPS_MAX);
        for pair in read.windows(2) {
            assert_eq!(pair[0].began + pair[0].took, pair[1].began);
        }
        let last = read.last().expect("a step");
        assert_eq!(last.began + last.took, steps.began + whole);
        assert_eq!(Steps::begin(None).read(whole), []);
    }

    #[test]
    fn a_trace_context_is_read_whole_or_not_at_all() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (trace, span) = read_traceparent(text).expect("a trace context");
        assert_eq!(
            (trace[0], trace[15], span),
            (0x0a, 0x9c, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31])
        );
        for bad in [
            "",
            "00",
            "00-0af7-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-x7ad6b7169203331-01",
        ] {
            assert_eq!(read_traceparent(bad), None, "{bad}");
        }
    }
}
