//! One request: from its parsed head to its settled outcome.
//!
//! Everything that can stop it stands in one loop: the agent, the upstream, the clock, and the
//! revocation of its task.

use std::sync::Arc;
use std::time::Duration;

use accredit_authority::fault::Fault;
use accredit_authority::traces::{Phase, SpanNumber};
use accredit_authority::traffic::Traffic;
use accredit_authority::uses::{NotOpened, Opened};
use accredit_core::action::{Body, Call, PATH_BYTES_MAX};
use accredit_core::credential::{Credential, Placement};
use accredit_core::event::Seen;
use accredit_core::facts::Target;
use accredit_core::host::{Endpoint, Host as CoreHost, Scheme as CoreScheme};
use accredit_core::id::{DecisionId, RequestId};
use accredit_core::record::Settlement;
use accredit_identity::caller::Caller;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::Gateway;
use crate::ask::{self, Held};
use crate::bounds::{READ_AHEAD_BYTES_MAX, RESPONSE_PAUSE_MAX, RESPONSE_TIME_MAX, WRITE_TIME_MAX};
use crate::http::framing::Framing;
use crate::http::head::{RequestHead, Upgrade};
use crate::http::host::Scheme;
use crate::http::rebuild::{Destination, InjectedField, Outgoing, Rebuilt, Route, rebuild};
use crate::http::respond::{Answering, CONTINUE, begin};
use crate::http::response::{Encoded, ResponsePolicy, SetCookie, filter};
use crate::http::scrub::{Needles, Protected, Scrubber};
use crate::pump::{Pump, PumpError};
use crate::refuse::{self, Answer, DECISION};
use crate::session::decline;
use crate::upstream::{Connection, Key, OutBody};
use crate::wire::Wire;

/// One turn of a connection: a request and who asks.
pub(crate) struct Turn<'a> {
    pub(crate) gateway: &'a Arc<Gateway>,
    pub(crate) caller: &'a Caller,
    pub(crate) head: &'a RequestHead,
    pub(crate) destination: Destination,
    /// Fields that proved the caller and end here.
    pub(crate) consumed: &'a [HeaderName],
    /// Cancelled when the server stops.
    pub(crate) stop: &'a CancellationToken,
}

impl Turn<'_> {
    /// Whether the agent may use the connection for another request.
    pub(crate) fn may_go_on(&self) -> bool {
        self.head.keep_alive() && !self.stop.is_cancelled()
    }
}

/// What becomes of the connection.
pub(crate) enum Next {
    KeepAlive,
    Close,
}

impl From<bool> for Next {
    fn from(keep: bool) -> Self {
        if keep { Self::KeepAlive } else { Self::Close }
    }
}

/// Takes one request through the path.
pub(crate) async fn exchange<S>(wire: &mut Wire<S>, turn: Turn<'_>) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let started = Instant::now();
    if turn.head.upgrade() == Upgrade::WebSocket {
        let detail = "WebSocket is not carried yet";
        let answer = refuse::plain(
            StatusCode::FORBIDDEN,
            "protocol_not_carried",
            detail,
            "Use plain requests or server-sent events.",
        );
        return decline(wire, turn.head, &answer).await.into();
    }
    if turn.destination.path.as_str().len() > PATH_BYTES_MAX {
        let detail =
            format!("the path is longer than {PATH_BYTES_MAX} bytes, so the ledger could not keep it whole");
        let answer = refuse::malformed(StatusCode::URI_TOO_LONG, &detail);
        return decline(wire, turn.head, &answer).await.into();
    }
    let (mut prepared, mut held) = (None, None);
    let mut opened = open(&turn, held.as_ref(), &mut prepared).await;
    turn.gateway.authority.traffic().decide.observe(started.elapsed());
    if matches!(opened, Err(Unopened::NeedsBody)) {
        match ask::hold_body(wire, &turn).await {
            Ok(body) => held = Some(body),
            Err(ask::NotHeld::Answer(answer)) => return decline(wire, turn.head, &answer).await.into(),
            Err(ask::NotHeld::Gone) => return Next::Close,
        }
        opened = open(&turn, held.as_ref(), &mut prepared).await;
    }
    if let Err(Unopened::Asked { request, .. }) = &opened {
        match ask::wait_for_answer(wire, &turn, request).await {
            ask::Waited::Answered => opened = open(&turn, held.as_ref(), &mut prepared).await,
            ask::Waited::InVain => {}
            ask::Waited::Gone => return Next::Close,
        }
    }
    match (opened.map_err(Unopened::answer), prepared) {
        (Ok(opened), Some(rebuilt)) => {
            Traffic::count(&turn.gateway.authority.traffic().allowed);
            send(wire, &turn, opened, rebuilt, held).await
        }
        (Ok(opened), None) => {
            // Cannot be: what is opened was rebuilt. Dropping it settles it as unknown.
            drop(opened);
            Next::Close
        }
        // The body was read already: what follows is another request, not the rest of this one.
        (Err(answer), _) if held.is_some() => ask::answer_held(wire, &turn, &answer).await.into(),
        (Err(answer), _) => decline(wire, turn.head, &answer).await.into(),
    }
}

/// Why a request was not opened.
enum Unopened {
    /// What is asked of a person is not known before the body was read.
    NeedsBody,
    /// A person was asked.
    Asked { request: RequestId, answer: Answer },
    /// Anything else.
    Answer(Answer),
}

impl Unopened {
    fn answer(self) -> Answer {
        match self {
            Self::Asked { answer, .. } | Self::Answer(answer) => answer,
            Self::NeedsBody => {
                let fault = Fault::unavailable("body_unread", "the body of the request was not read");
                refuse::fault(&fault, None)
            }
        }
    }
}

impl From<Answer> for Unopened {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Decides and records; leaves the request that was decided on in `prepared`. `held` is its body, where that was read.
async fn open(
    turn: &Turn<'_>,
    held: Option<&Held>,
    prepared: &mut Option<Rebuilt>,
) -> Result<Opened, Unopened> {
    let authority = &turn.gateway.authority;
    let endpoint = endpoint_of(&turn.destination)
        .ok_or_else(|| refuse::malformed(StatusCode::BAD_REQUEST, "the host is not an exact host"))?;
    let key = authority.digest_key().ok_or_else(|| refuse::fault(&Fault::sealed(), None))?;
    let traceparent = traceparent(turn.head, authority.draw16(), authority.draw16());
    let call = |target: Option<&Target>| {
        let route = Injecting::of(target);
        let rebuilt = rebuild(
            turn.head,
            turn.destination.clone(),
            &Route {
                injected: route.as_ref().map(|i| &i.field),
                consumed: turn.consumed,
                traceparent: HeaderValue::from_str(&traceparent).ok().as_ref(),
                identity_only: route.is_some(),
            },
        );
        let body_bytes = match turn.head.framing() {
            Framing::None => Some(0),
            Framing::Length(bytes) => Some(bytes),
            Framing::Chunked => None,
        };
        let head = match &rebuilt {
            Ok(rebuilt) => key.digest(&[&rebuilt.canonical_bytes()]),
            // A method that is not carried: there is nothing to send, and that is what gets decided.
            Err(_) => key
                .digest(&[turn.head.method().as_str().as_bytes(), turn.destination.path.as_str().as_bytes()]),
        };
        *prepared = rebuilt.ok();
        Ok(Call {
            endpoint: endpoint.clone(),
            method: turn.head.method().as_str().to_owned(),
            path: turn.destination.path.decoded().to_owned(),
            sent_path: Some(turn.destination.path.as_str())
                .filter(|p| *p != turn.destination.path.decoded())
                .map(str::to_owned),
            query: turn.destination.query.as_ref().map(|q| key.digest(&[q.as_str().as_bytes()])),
            head,
            content_type: media_type(turn.head),
            body_bytes,
            body: match held {
                Some(held) => Body::Held(Box::new(held.shown(&key, media_type(turn.head)))),
                None if body_bytes == Some(0) => Body::None,
                None => Body::Streamed,
            },
            query_shown: turn.destination.query.as_ref().map(|q| q.as_str().to_owned()),
            traceparent: traceparent.clone(),
        })
    };
    let stats = turn.gateway.authority.traffic();
    let parent = given_trace(turn.head).map(|given| given.span);
    authority.open_use(turn.caller, &endpoint, parent, call).await.map_err(|error| match error {
        NotOpened::Refused(refused) => {
            Traffic::count(&stats.refused);
            let answer = refuse::refused(&refused.refusal, refused.decision.id(), refused.request.as_ref());
            match refused.request {
                Some(request) => Unopened::Asked { request, answer },
                None => Unopened::Answer(answer),
            }
        }
        NotOpened::NeedsBody => Unopened::NeedsBody,
        NotOpened::Stopped { decision, fault } => {
            Traffic::count(&stats.faults);
            Unopened::Answer(refuse::fault(&fault, Some(&decision)))
        }
        NotOpened::Fault(fault) => {
            Traffic::count(&stats.faults);
            Unopened::Answer(refuse::fault(&fault, None))
        }
    })
}

/// Where a route's secret goes.
struct Injecting {
    field: InjectedField,
}

impl Injecting {
    fn of(target: Option<&Target>) -> Option<Self> {
        let credential = target?.credential.as_ref()?;
        InjectedField::parse(credential.placement.field()).map(|field| Self { field })
    }
}

/// What a body of bytes did not survive.
enum Broken {
    /// The task ended, or a bound was reached.
    Cut(&'static str),
    /// The upstream broke.
    Upstream(&'static str),
    /// The agent broke.
    Agent(&'static str),
}

impl Broken {
    const fn cause(&self) -> &'static str {
        match self {
            Self::Cut(c) | Self::Upstream(c) | Self::Agent(c) => c,
        }
    }
}

/// The figures of one exchange, on their way to its second entry.
struct Figures {
    status: Option<u16>,
    response_bytes: u64,
    scrubbed: u64,
}

/// Sends a permitted request, relays its response, settles it.
async fn send<S>(
    wire: &mut Wire<S>,
    turn: &Turn<'_>,
    mut opened: Opened,
    rebuilt: Rebuilt,
    held: Option<Held>,
) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    opened.mark(Phase::Send);
    let mut figures = Figures { status: None, response_bytes: 0, scrubbed: 0 };
    let decision = opened.permit().decision().id().clone();
    let digest = turn.gateway.authority.digest_key().map(|key| key.start());
    let (outgoing, needles) = match inject(turn.gateway, &mut opened, rebuilt) {
        Ok(injected) => injected,
        Err(fault) => {
            opened.settle(seen(Settlement::NotSent, Some(fault.code), &figures, None));
            return decline(wire, turn.head, &refuse::fault(&fault, Some(&decision))).await.into();
        }
    };
    let continued = held.is_some();
    let made = match held {
        Some(held) => Pump::of_held(held.into_bytes(), digest),
        None => Pump::new(turn.head.framing(), digest),
    };
    let (mut pump, body) = match made {
        Ok(made) => made,
        Err(error) => {
            opened.settle(seen(Settlement::NotSent, Some("body_too_large"), &figures, None));
            return decline(wire, turn.head, &refuse::malformed(error.status(), &error.to_string()))
                .await
                .into();
        }
    };
    let cut = opened.live().cut_token();
    let key = Key::of(opened.permit());
    let request = outgoing.into_request(body);
    let reached = tokio::select! {
        () = cut.cancelled() => {
            opened.settle(seen(Settlement::NotSent, Some("revoked"), &figures, None));
            return Next::Close;
        }
        reached = reach(turn.gateway, &key, &opened) => reached,
    };
    let mut connection = match reached {
        Ok(connection) => connection,
        Err(error) => {
            Traffic::count(&turn.gateway.authority.traffic().broken);
            opened.settle(seen(Settlement::Failed, Some(error.cause()), &figures, None));
            let status = if matches!(error, crate::upstream::DialError::Address) {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::BAD_GATEWAY
            };
            let answer = refuse::upstream(status, error.cause(), &error.to_string(), &decision);
            return decline(wire, turn.head, &answer).await.into();
        }
    };
    if turn.head.expect_continue() && !continued && !pump.is_done() && wire.send(CONTINUE).await.is_err() {
        opened.settle(seen(Settlement::NotSent, Some("agent_gone"), &figures, None));
        return Next::Close;
    }
    if let Err(cause) = opened.may_go_out() {
        opened.settle(seen(Settlement::NotSent, Some(cause), &figures, None));
        return Next::Close;
    }
    let mut relay =
        Relay { wire, turn, pump: &mut pump, cut, decision, bytes_left: opened.permit().bytes_left() };
    let ended = relay.run(&mut connection, request, needles, &mut opened, &mut figures).await;
    release(turn, &ended, &opened, &pump, connection).await;
    finish(turn, ended, opened, pump, &figures)
}

/// Keeps a good upstream connection for the same credential at the same endpoint. Any other is over when this returns,
/// and so before the action is: nothing of it goes out later.
async fn release(turn: &Turn<'_>, ended: &Ended, opened: &Opened, pump: &Pump, mut connection: Connection) {
    if matches!(ended, Ended::Whole { .. }) && pump.is_done() && connection.is_free().await {
        turn.gateway.upstreams.keep(Key::of(opened.permit()), connection);
    } else {
        connection.break_off().await;
    }
}

/// Settles the exchange and says what becomes of the agent's connection.
fn finish(turn: &Turn<'_>, ended: Ended, opened: Opened, pump: Pump, figures: &Figures) -> Next {
    let stats = turn.gateway.authority.traffic();
    stats.scrubbed.fetch_add(figures.scrubbed, std::sync::atomic::Ordering::Relaxed);
    let (settlement, cause, next) = match ended {
        Ended::Whole { keep_alive } => (Settlement::Done, None, Next::from(keep_alive && pump.is_done())),
        Ended::Answered { cause, keep_alive, settlement } => {
            (settlement, Some(cause), Next::from(keep_alive && pump.is_done()))
        }
        Ended::Broken(broken) => {
            let settlement = match &broken {
                Broken::Cut(_) => {
                    Traffic::count(&stats.cut);
                    Settlement::Cut
                }
                Broken::Upstream(_) | Broken::Agent(_) => {
                    Traffic::count(&stats.broken);
                    Settlement::Unknown
                }
            };
            (settlement, Some(broken.cause()), Next::Close)
        }
    };
    let request_bytes = pump.sent_bytes();
    let mut seen = seen(settlement, cause, figures, pump.into_digest());
    seen.request_bytes = request_bytes;
    opened.settle(seen);
    next
}

fn seen(
    settlement: Settlement,
    cause: Option<&'static str>,
    figures: &Figures,
    body_digest: Option<accredit_core::digest::Digest>,
) -> Seen {
    Seen {
        settlement,
        status: figures.status,
        request_bytes: 0,
        response_bytes: figures.response_bytes,
        body_digest,
        duration_ms: 0,
        cause,
        scrubbed: figures.scrubbed,
    }
}

/// How an exchange ended.
enum Ended {
    /// The response was passed on to its end.
    Whole { keep_alive: bool },
    /// The agent got an answer of ours instead.
    Answered { cause: &'static str, keep_alive: bool, settlement: Settlement },
    /// The connection to the agent must end.
    Broken(Broken),
}

async fn reach(
    gateway: &Gateway,
    key: &Key,
    opened: &Opened,
) -> Result<Connection, crate::upstream::DialError> {
    match gateway.upstreams.idle(key) {
        Some(connection) => Ok(connection),
        None => gateway.upstreams.dial(opened.permit()).await,
    }
}

struct Relay<'a, 't, S> {
    wire: &'a mut Wire<S>,
    turn: &'a Turn<'t>,
    pump: &'a mut Pump,
    cut: CancellationToken,
    decision: DecisionId,
    bytes_left: Option<u64>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Relay<'_, '_, S> {
    async fn run(
        &mut self,
        connection: &mut Connection,
        request: http::Request<OutBody>,
        needles: Option<Arc<Needles>>,
        opened: &mut Opened,
        figures: &mut Figures,
    ) -> Ended {
        let started = Instant::now();
        let response = match self.response(connection, request, opened).await {
            Ok(response) => response,
            Err(broken) => return self.no_response(broken).await,
        };
        self.turn.gateway.authority.traffic().upstream.observe(started.elapsed());
        opened.mark(Phase::Relay);
        figures.status = Some(response.status().as_u16());
        let (parts, body) = response.into_parts();
        let policy = policy(opened, needles.as_deref());
        let head = match filter(self.turn.head.method(), parts.status, &parts.headers, &policy) {
            Ok(head) => head,
            Err(error) => {
                self.pump.abort();
                let detail = error.to_string();
                return self
                    .answer(StatusCode::BAD_GATEWAY, "upstream_response_refused", &detail, Settlement::Done)
                    .await;
            }
        };
        figures.scrubbed += head.scrubbed();
        let mut headers = head.headers().clone();
        let code = opened.permit().decision().code();
        if let Ok(value) = HeaderValue::try_from(format!("{}; code={code}", self.decision)) {
            headers.insert(DECISION, value);
        }
        let answering = Answering {
            version: self.turn.head.version(),
            keep_alive: self.turn.may_go_on() && self.pump_may_finish(),
        };
        let encoder = begin(&mut self.wire.out, answering, head.status(), &headers, head.body());
        match self.relay_body(body, encoder, needles, figures).await {
            Ok(keep_alive) => Ended::Whole { keep_alive },
            Err(broken) => {
                self.pump.abort();
                Ended::Broken(broken)
            }
        }
    }

    /// A response that comes before the whole body was sent usually means that nobody wants the rest.
    fn pump_may_finish(&self) -> bool {
        self.pump.is_done()
    }

    /// Sends the request and pumps its body until the response's head is there.
    async fn response(
        &mut self,
        connection: &mut Connection,
        request: http::Request<OutBody>,
        opened: &Opened,
    ) -> Result<http::Response<Incoming>, Broken> {
        let mut request = Some(request);
        loop {
            let Some(attempt) = request.take() else { return Err(Broken::Upstream("upstream_closed")) };
            let sending = connection.send(attempt);
            tokio::pin!(sending);
            let mut response_until = Instant::now() + RESPONSE_TIME_MAX;
            let outcome = loop {
                let pumping = !self.pump.is_done();
                let watching = self.wire.unread.len() < READ_AHEAD_BYTES_MAX;
                let until = if pumping { self.pump.deadline() } else { response_until };
                tokio::select! {
                    biased;
                    () = self.cut.cancelled() => return Err(self.cut_off("revoked")),
                    outcome = &mut sending => break outcome,
                    step = self.pump.step(&mut self.wire.reader, &mut self.wire.unread), if pumping || watching => {
                        self.pumped(step)?;
                        self.within_limit(0)?;
                        if pumping {
                            response_until = Instant::now() + RESPONSE_TIME_MAX;
                        }
                    }
                    () = tokio::time::sleep_until(until) => {
                        let broken = if pumping { Broken::Agent("body_too_slow") } else { Broken::Upstream("response_timeout") };
                        self.pump.abort();
                        return Err(broken);
                    }
                }
            };
            match outcome {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    // An idle connection that had died: nothing of the request was sent, so sending
                    // it elsewhere is not a repetition.
                    Some(unsent) => {
                        request = Some(unsent);
                        let dialled = self.turn.gateway.upstreams.dial(opened.permit()).await;
                        *connection = dialled.map_err(|e| Broken::Upstream(e.cause()))?;
                    }
                    None => {
                        tracing::debug!(error = %error.into_error(), "an upstream broke before its response");
                        return Err(Broken::Upstream("upstream_broke"));
                    }
                },
            }
        }
    }

    fn pumped(&mut self, step: Result<(), PumpError>) -> Result<(), Broken> {
        step.map_err(|error| {
            self.pump.abort();
            match error {
                PumpError::Framing => Broken::Agent("body_malformed"),
                PumpError::AgentGone => Broken::Agent("agent_gone"),
                PumpError::UpstreamGone => Broken::Upstream("upstream_broke"),
            }
        })
    }

    fn cut_off(&mut self, why: &'static str) -> Broken {
        self.pump.abort();
        Broken::Cut(why)
    }

    /// Whether the grant's limit on bytes still holds with so many bytes of the response.
    fn within_limit(&mut self, response_bytes: u64) -> Result<(), Broken> {
        let used = self.pump.sent_bytes().saturating_add(response_bytes);
        if self.bytes_left.is_some_and(|left| used > left) {
            Err(self.cut_off("limit_reached"))
        } else {
            Ok(())
        }
    }

    /// Relays the response's body while the rest of the request's may still be on its way. Gives
    /// whether the agent's connection can go on.
    async fn relay_body(
        &mut self,
        mut body: Incoming,
        encoder: crate::http::respond::BodyEncoder,
        needles: Option<Arc<Needles>>,
        figures: &mut Figures,
    ) -> Result<bool, Broken> {
        let mut scrubber = needles.map(Scrubber::new);
        let mut encoder = Some(encoder);
        let mut keep_alive = false;
        let mut silent_until = Instant::now() + RESPONSE_PAUSE_MAX;
        let mut write_until: Option<Instant> = None;
        loop {
            let writing = !self.wire.out.is_empty();
            let reading = encoder.is_some() && !writing;
            if !writing && !reading {
                flush(self.wire).await?;
                return Ok(keep_alive);
            }
            let pumping = !self.pump.is_done();
            let until = if writing {
                *write_until.get_or_insert_with(|| Instant::now() + WRITE_TIME_MAX)
            } else {
                silent_until
            };
            let wire = &mut *self.wire;
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return Err(self.cut_off("revoked")),
                wrote = wire.writer.write_buf(&mut wire.out), if writing => {
                    if !matches!(wrote, Ok(n) if n > 0) {
                        return Err(Broken::Agent("agent_gone"));
                    }
                    write_until = None;
                    if wire.out.is_empty() {
                        flush(wire).await?;
                        silent_until = Instant::now() + RESPONSE_PAUSE_MAX;
                    }
                }
                frame = body.frame(), if reading => match frame {
                    Some(Ok(frame)) => {
                        // Trailers are not passed on.
                        let Ok(piece) = frame.into_data() else { continue };
                        figures.response_bytes += piece.len() as u64;
                        self.within_limit(figures.response_bytes)?;
                        let piece = scrub(&mut scrubber, piece);
                        put(&mut self.wire.out, encoder.as_mut(), &piece)?;
                        silent_until = Instant::now() + RESPONSE_PAUSE_MAX;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "an upstream broke inside its response");
                        return Err(Broken::Upstream("upstream_broke"));
                    }
                    None => {
                        if let Some(scrubber) = &mut scrubber {
                            let rest = scrubber.finish();
                            figures.scrubbed += scrubber.found();
                            put(&mut self.wire.out, encoder.as_mut(), &rest)?;
                        }
                        if let Some(encoder) = encoder.take() {
                            keep_alive = encoder.finish(&mut self.wire.out).map_err(|_| Broken::Upstream("upstream_length"))?;
                        }
                    }
                },
                step = self.pump.step(&mut wire.reader, &mut wire.unread), if pumping => {
                    match step {
                        // The upstream has answered and takes no more: that is its right.
                        Err(PumpError::UpstreamGone) => self.pump.abort(),
                        other => self.pumped(other)?,
                    }
                    self.within_limit(figures.response_bytes)?;
                }
                () = tokio::time::sleep_until(until) => {
                    return Err(if writing { Broken::Agent("agent_too_slow") } else { Broken::Upstream("response_stalled") });
                }
            }
        }
    }

    /// What the agent gets when there is no response to relay.
    async fn no_response(&mut self, broken: Broken) -> Ended {
        match broken {
            Broken::Upstream(cause) => {
                let detail = "the upstream broke the exchange; whether it acted on the request is not known";
                self.answer(StatusCode::BAD_GATEWAY, cause, detail, Settlement::Unknown).await
            }
            Broken::Agent("body_malformed") => {
                let answer = refuse::malformed(StatusCode::BAD_REQUEST, "the body's framing is broken");
                self.write(&answer).await;
                Ended::Broken(Broken::Agent("body_malformed"))
            }
            other => Ended::Broken(other),
        }
    }

    async fn answer(
        &mut self,
        status: StatusCode,
        cause: &'static str,
        detail: &str,
        settlement: Settlement,
    ) -> Ended {
        Traffic::count(&self.turn.gateway.authority.traffic().broken);
        let answer = refuse::upstream(status, cause, detail, &self.decision);
        let keep_alive = self.write(&answer).await;
        Ended::Answered { cause, keep_alive, settlement }
    }

    async fn write(&mut self, answer: &Answer) -> bool {
        let answering = Answering {
            version: self.turn.head.version(),
            keep_alive: self.turn.may_go_on() && self.pump.is_done(),
        };
        let (out, head) = (&mut self.wire.out, self.turn.head);
        let keep = crate::http::respond::whole(
            out,
            answering,
            head.method(),
            answer.status,
            &answer.headers,
            &answer.body,
        );
        tokio::time::timeout(Duration::from_secs(5), self.wire.flush()).await.is_ok_and(|f| f.is_ok()) && keep
    }
}

async fn flush<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<(), Broken> {
    let flushed = tokio::time::timeout(WRITE_TIME_MAX, wire.writer.flush()).await;
    if matches!(flushed, Ok(Ok(()))) { Ok(()) } else { Err(Broken::Agent("agent_gone")) }
}

fn put(
    out: &mut bytes::BytesMut,
    encoder: Option<&mut crate::http::respond::BodyEncoder>,
    piece: &Bytes,
) -> Result<(), Broken> {
    match encoder {
        Some(encoder) if !piece.is_empty() => {
            encoder.data(out, piece).map_err(|_| Broken::Upstream("upstream_length"))
        }
        _ => Ok(()),
    }
}

fn scrub(scrubber: &mut Option<Scrubber>, piece: Bytes) -> Bytes {
    match scrubber {
        Some(scrubber) => scrubber.push(piece),
        None => piece,
    }
}

fn policy<'a>(opened: &Opened, needles: Option<&'a Needles>) -> ResponsePolicy<'a> {
    let Some(needles) = needles else { return ResponsePolicy::plain() };
    let target = opened.permit().decision().prepared().facts().target.as_ref();
    let cookies =
        if target.is_some_and(|t| t.resource.pass_cookies) { SetCookie::Pass } else { SetCookie::Strip };
    ResponsePolicy { needles: Some(needles), set_cookie: cookies, encoded: Encoded::Refuse }
}

/// Puts the secret into the request, and makes ready to find it in the response.
fn inject(
    gateway: &Gateway,
    opened: &mut Opened,
    rebuilt: Rebuilt,
) -> Result<(Outgoing, Option<Arc<Needles>>), Fault> {
    let broken = |e: &dyn std::fmt::Display| {
        Fault::unavailable("injection_failed", format!("the secret could not be placed: {e}"))
    };
    let Some(secret) = opened.take_secret() else {
        return rebuilt.without_secret().map(|o| (o, None)).map_err(|e| broken(&e));
    };
    #[cfg(test)]
    defect::here(opened.permit(), secret.expose());
    let credential = opened.permit().credential().ok_or_else(|| broken(&"no credential"))?;
    let user = match &credential.placement {
        Placement::Basic { user } => Some(user.as_str().as_bytes()),
        Placement::Header { .. } => None,
    };
    let key = (format!("{}/{}", credential.tenant, credential.name), credential.secret_version.unwrap_or(0));
    let needles = gateway
        .needles_of(key, || Needles::of(&[Protected { secret: secret.expose(), basic_user: user }]).ok())
        .ok_or_else(|| broken(&"its value cannot be looked for in responses"))?;
    let value = field_value(credential, secret.expose());
    let outgoing = rebuilt.inject(&value).map_err(|e| broken(&e))?;
    Ok((outgoing, Some(needles)))
}

fn field_value(credential: &Credential, secret: &[u8]) -> Zeroizing<Vec<u8>> {
    match &credential.placement {
        Placement::Header { prefix, .. } => Zeroizing::new([prefix.as_str().as_bytes(), secret].concat()),
        Placement::Basic { user } => {
            let pair = Zeroizing::new([user.as_str().as_bytes(), b":", secret].concat());
            let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
            Zeroizing::new([b"Basic ", encoded.as_bytes()].concat())
        }
    }
}

fn endpoint_of(destination: &Destination) -> Option<Endpoint> {
    let scheme = match destination.scheme {
        Scheme::Https => CoreScheme::Https,
        Scheme::Http => CoreScheme::Http,
    };
    let host = destination.host.to_string();
    Some(Endpoint {
        scheme,
        host: CoreHost::parse(host.trim_matches(['[', ']'])).ok()?,
        port: destination.port,
    })
}

/// The media type of the body, without parameters; nothing when it is repeated or malformed.
fn media_type(head: &RequestHead) -> Option<String> {
    let value = head.fields().only(&http::header::CONTENT_TYPE).ok()??.to_str().ok()?;
    let essence = value.split(';').next()?.trim().to_ascii_lowercase();
    let fits = (1..=100).contains(&essence.len()) && essence.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(essence)
}

/// The trace context of the request upstream (W3C Trace Context §3.2): the agent's trace, if it has
/// one, and a span of our own. Correlation, never authentication.
fn traceparent(head: &RequestHead, trace: [u8; 16], span: [u8; 16]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let trace = given_trace(head).map_or_else(|| hex(&trace), |given| given.trace.to_owned());
    format!("00-{trace}-{}-01", hex(&span[..8]))
}

/// A trace that the agent has begun.
#[derive(Debug, PartialEq, Eq)]
struct GivenTrace<'a> {
    /// 32 lower-case hexadecimal digits, not all zero.
    trace: &'a str,
    span: SpanNumber,
}

fn given_trace(head: &RequestHead) -> Option<GivenTrace<'_>> {
    let given = head.fields().only(&crate::http::rebuild::TRACEPARENT).ok().flatten();
    given.and_then(|v| v.to_str().ok()).and_then(read_trace)
}

fn read_trace(traceparent: &str) -> Option<GivenTrace<'_>> {
    let lower_hex = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole =
        version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2 && version != "ff";
    let good = whole && [version, trace, span, flags].into_iter().all(lower_hex);
    let span = u64::from_str_radix(span, 16).ok().filter(|span| good && *span != 0)?.to_be_bytes();
    trace.bytes().any(|b| b != b'0').then_some(GivenTrace { trace, span })
}

#[cfg(test)]
mod defect;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_is_joined() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];
        assert_eq!(read_trace(&format!("00-{trace}-b7ad6b7169203331-01")), Some(GivenTrace { trace, span }));
        for bad in [
            "",
            "00",
            "00-x-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(read_trace(bad), None, "{bad}");
        }
    }
}
