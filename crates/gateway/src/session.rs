//! One connection: whose it is, the tunnel inside it, request after request.
//!
//! A connection belongs to a caller in one of two ways. A runner *attaches* it: the first request is
//! `POST /attach` with the task token and a DPoP proof, and everything after the `101` is its child's.
//! Or every request carries its own proof. Each request is decided on its own either way (R6).

use std::sync::Arc;
use std::time::Duration;

use accredit_authority::authenticate::Presented;
use accredit_authority::fault::{Fault, FaultKind};
use accredit_authority::traffic::Traffic;
use accredit_core::host::{Endpoint, Host as CoreHost, Scheme as CoreScheme};
use accredit_core::id::ResourceName;
use accredit_identity::caller::Caller;
use http::{HeaderName, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::bounds::{
    CONNECTIONS_MAX, DRAIN_BYTES_MAX, HANDSHAKE_TIME_MAX, IDLE_TIME_MAX, READ_BYTES, REFUSAL_TIME_MAX,
};
use crate::exchange::{Next, Turn, exchange};
use crate::http::body::{BodyDecoder, Decoded};
use crate::http::head::{Method, RequestHead};
use crate::http::host::{Authority as HostPort, Scheme};
use crate::http::rebuild::Destination;
use crate::http::respond::{Answering, CONNECTED, whole};
use crate::http::target::Target;
use crate::refuse::{self, Answer};
use crate::wire::{NoHead, Wire};

/// What a runner asks for.
const ATTACH_PATH: &str = "/attach";
/// First segment of paths in base-URL mode, before the resource's name.
const BASE_URL_SEGMENT: &str = "u";
/// The answer to an attach: from here on the bytes are the child's.
const ATTACHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: accredit-task\r\n\r\n";

const DPOP: HeaderName = HeaderName::from_static("dpop");
const AUTHORIZATION: HeaderName = http::header::AUTHORIZATION;
const PROXY_AUTHORIZATION: HeaderName = http::header::PROXY_AUTHORIZATION;

/// Serves one connection to its end.
pub(crate) async fn serve<S>(gateway: Arc<Gateway>, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut session = Session { gateway, caller: None, stop };
    let mut wire = Wire::new(stream);
    loop {
        let head = match session.next_head(&mut wire).await {
            Some(head) => head,
            None => return wire.close().await,
        };
        match session.outer(&mut wire, head).await {
            Outer::Next => {}
            Outer::Close => return wire.close().await,
            Outer::Tunnel(host) => return Box::pin(session.tunnel(wire, &host)).await,
        }
    }
}

/// Tells an agent that there are too many connections, and closes this one.
pub(crate) async fn refuse_one_more<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let fault = Fault::new(
        FaultKind::Overloaded,
        "too_many_connections",
        format!("{CONNECTIONS_MAX} connections are open already"),
        "Connect again after a second.",
    );
    let mut wire = Wire::new(stream);
    let telling = async {
        answer_blind(&mut wire, &refuse::fault(&fault, None)).await;
        if wire.writer.shutdown().await.is_err() {
            return;
        }
        // Bytes that nobody has read would take the answer away before it was read. They are few: it is over soon.
        while wire.reader.read_buf(&mut wire.unread).await.is_ok_and(|n| n > 0) {
            wire.unread.clear();
        }
    };
    // Late: it is closed all the same.
    let _ = timeout(REFUSAL_TIME_MAX, telling).await;
}

struct Session {
    gateway: Arc<Gateway>,
    caller: Option<Caller>,
    stop: CancellationToken,
}

enum Outer {
    Next,
    Close,
    Tunnel(HostPort),
}

impl Session {
    /// The next request, or nothing when the connection is to be closed. What is not a request is
    /// answered here.
    async fn next_head<S: AsyncRead + AsyncWrite + Unpin>(&self, wire: &mut Wire<S>) -> Option<RequestHead> {
        let idle_until = self.idle_until()?;
        let mut stopping = false;
        // A request that has begun to come is answered, also while the server stops.
        let head = loop {
            tokio::select! {
                biased;
                head = wire.head(idle_until) => break head,
                () = self.stop.cancelled(), if !stopping => stopping = true,
            }
            if wire.is_idle() {
                return None;
            }
        };
        match head {
            Ok(head) => {
                Traffic::count(&self.gateway.authority.traffic().requests);
                Some(head)
            }
            Err(NoHead::Closed) => None,
            Err(NoHead::Late) => {
                let late = refuse::malformed(StatusCode::REQUEST_TIMEOUT, "the head came too slowly");
                answer_blind(wire, &late).await;
                None
            }
            Err(NoHead::Bad(error)) => {
                Traffic::count(&self.gateway.authority.traffic().malformed);
                answer_blind(wire, &refuse::malformed(error.status(), &error.to_string())).await;
                None
            }
        }
    }

    /// Until when the connection may lie idle: not longer than the token that it was attached with
    /// is good, so that it is opened again with a newer one.
    fn idle_until(&self) -> Option<Instant> {
        let until = Instant::now() + IDLE_TIME_MAX;
        let Some(caller) = &self.caller else { return Some(until) };
        let left_ms = caller.token_expires_at().ms_since(self.gateway.authority.now());
        let left = Duration::from_millis(u64::try_from(left_ms).ok().filter(|ms| *ms > 0)?);
        Some(until.min(Instant::now() + left))
    }

    async fn outer<S>(&mut self, wire: &mut Wire<S>, head: RequestHead) -> Outer
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match head.target().clone() {
            Target::Tunnel { authority } => self.connect(wire, &head, authority).await,
            Target::Absolute { scheme: Scheme::Https, .. } => {
                let detail = "an https target is asked for through CONNECT, so that it stays encrypted";
                let answer = refuse::plain(
                    StatusCode::FORBIDDEN,
                    "https_needs_connect",
                    detail,
                    "Use CONNECT, as usual clients do.",
                );
                self.decline(wire, &head, &answer).await
            }
            Target::Absolute { .. } => match Destination::of(&head, Scheme::Http) {
                Some(destination) => self.request(wire, head, destination, &PROXY_AUTHORIZATION).await,
                None => Outer::Close,
            },
            Target::Origin { path, .. } if path.as_str() == ATTACH_PATH => self.attach(wire, &head).await,
            Target::Origin { path, query } => {
                let mut segments = path.segments();
                let resource = match (segments.next(), segments.next()) {
                    (Some(BASE_URL_SEGMENT), Some(name)) => ResourceName::parse(name).ok(),
                    _ => None,
                };
                let Some(resource) = resource else {
                    let next = "Use the gateway as a proxy, or ask for `/u/RESOURCE/…`.";
                    let answer = refuse::plain(
                        StatusCode::NOT_FOUND,
                        "not_a_route",
                        "there is nothing at this path of the gateway",
                        next,
                    );
                    return self.decline(wire, &head, &answer).await;
                };
                let rest = path.without_leading(2);
                match (self.base_of(&resource).await, rest) {
                    (Ok(endpoint), Some(path)) => match destination(&endpoint, path, query) {
                        Some(destination) => self.request(wire, head, destination, &AUTHORIZATION).await,
                        None => Outer::Close,
                    },
                    (Err(fault), _) => self.decline(wire, &head, &refuse::fault(&fault, None)).await,
                    (Ok(_), None) => Outer::Close,
                }
            }
        }
    }

    /// One request that is decided and sent on.
    async fn request<S>(
        &self,
        wire: &mut Wire<S>,
        head: RequestHead,
        destination: Destination,
        proof_field: &HeaderName,
    ) -> Outer
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let caller =
            match self.caller_of(&head, &url_of(&head, &destination, &self.gateway), proof_field).await {
                Ok(caller) => caller,
                Err(fault) => return self.decline(wire, &head, &unauthenticated(&fault, proof_field)).await,
            };
        let consumed = [proof_field.clone(), DPOP];
        let consumed: &[HeaderName] = if self.caller.is_some() { &[] } else { &consumed };
        let turn = Turn {
            gateway: &self.gateway,
            caller: &caller,
            head: &head,
            destination,
            consumed,
            stop: &self.stop,
        };
        // Apart from the connection, which lies idle most of its time and should be small then.
        match Box::pin(exchange(wire, turn)).await {
            Next::KeepAlive if !self.stop.is_cancelled() => Outer::Next,
            Next::KeepAlive | Next::Close => Outer::Close,
        }
    }

    /// The caller of a request: of the attached connection, or proved by the request's own fields.
    async fn caller_of(
        &self,
        head: &RequestHead,
        url: &str,
        proof_field: &HeaderName,
    ) -> Result<Caller, Fault> {
        if let Some(caller) = &self.caller {
            return Ok(caller.clone());
        }
        let one = |name: &HeaderName| {
            head.fields().only(name).ok().flatten().and_then(|v| v.to_str().ok()).unwrap_or("")
        };
        let presented = Presented {
            method: head.method().as_str(),
            url,
            authorization: one(proof_field),
            dpop: one(&DPOP),
        };
        self.gateway.authority.caller(presented).await
    }

    async fn attach<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        head: &RequestHead,
    ) -> Outer {
        if *head.method() != Method::Post || self.caller.is_some() {
            let answer = refuse::plain(
                StatusCode::FORBIDDEN,
                "attach_once",
                "a connection is attached once, by its first request, with POST",
                "Open a new connection.",
            );
            return self.decline(wire, head, &answer).await;
        }
        let url = format!("{}{ATTACH_PATH}", self.gateway.authority.settings().gateway_url);
        match self.caller_of(head, &url, &AUTHORIZATION).await {
            Ok(caller) => {
                self.caller = Some(caller);
                if wire.send(ATTACHED).await.is_ok() { Outer::Next } else { Outer::Close }
            }
            Err(fault) => self.decline(wire, head, &unauthenticated(&fault, &AUTHORIZATION)).await,
        }
    }

    /// CONNECT. A name is accepted and decided on by what comes inside, so that a refusal can be
    /// read; an address is only accepted where a resource is registered at it.
    async fn connect<S>(&mut self, wire: &mut Wire<S>, head: &RequestHead, to: HostPort) -> Outer
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let url = format!("https://{}:{}/", to.host(), to.port_or(443));
        let caller = match self.caller_of(head, &url, &PROXY_AUTHORIZATION).await {
            Ok(caller) => caller,
            Err(fault) => {
                return self.decline(wire, head, &unauthenticated(&fault, &PROXY_AUTHORIZATION)).await;
            }
        };
        let is_address = to.host().ip().is_some() || to.host().name().is_some_and(local_name);
        if is_address && !self.is_registered(&caller, &to).await {
            let detail = format!(
                "nothing is registered at {}:{}, so no tunnel leads there",
                to.host(),
                to.port_or(443)
            );
            let next = "Use a registered host; `accredit resource ls` lists them.";
            let answer = refuse::plain(StatusCode::FORBIDDEN, "unknown_host", &detail, next);
            return self.decline(wire, head, &answer).await;
        }
        self.caller = Some(caller);
        if wire.send(CONNECTED).await.is_ok() { Outer::Tunnel(to) } else { Outer::Close }
    }

    async fn is_registered(&self, caller: &Caller, to: &HostPort) -> bool {
        let Some(endpoint) = core_endpoint(CoreScheme::Https, to) else { return false };
        self.gateway.authority.is_registered(caller, &endpoint).await
    }

    /// The inside of a tunnel: TLS that shows a certificate for exactly the host of CONNECT, and
    /// requests for exactly that host.
    async fn tunnel<S>(self, wire: Wire<S>, to: &HostPort)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(terminates) = self.gateway.ca.terminates(to.host()) else { return };
        let accepting = TlsAcceptor::from(terminates).accept(wire.into_stream());
        let stream = match timeout(HANDSHAKE_TIME_MAX, accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return tracing::debug!(host = %to.host(), %error, "an agent's TLS handshake failed");
            }
            Err(_) => return tracing::debug!(host = %to.host(), "an agent's TLS handshake took too long"),
        };
        let mut wire = Wire::new(stream);
        while let Some(head) = self.next_head(&mut wire).await {
            match self.inner(&mut wire, head, to).await {
                Outer::Next => {}
                Outer::Close | Outer::Tunnel(_) => break,
            }
        }
        wire.close().await;
    }

    async fn inner<S>(&self, wire: &mut Wire<S>, head: RequestHead, to: &HostPort) -> Outer
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let for_this_host = matches!(head.target(), Target::Origin { .. })
            && head.host().host() == to.host()
            && head.host().port_or(443) == to.port_or(443);
        let destination = Destination::of(&head, Scheme::Https).filter(|_| for_this_host);
        let Some(destination) = destination else {
            // Two hosts in one request: whoever reads it later could take the other (R2).
            Traffic::count(&self.gateway.authority.traffic().malformed);
            let answer =
                refuse::malformed(StatusCode::BAD_REQUEST, "the request is not for the host of its tunnel");
            answer_blind(wire, &answer).await;
            return Outer::Close;
        };
        self.request(wire, head, destination, &PROXY_AUTHORIZATION).await
    }

    async fn base_of(&self, resource: &ResourceName) -> Result<Endpoint, Fault> {
        self.gateway.authority.base_of(resource).await
    }

    /// Answers without sending anything on; the request's body is dropped if it is small.
    async fn decline<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        head: &RequestHead,
        answer: &Answer,
    ) -> Outer {
        if decline(wire, head, answer).await { Outer::Next } else { Outer::Close }
    }
}

/// Answers bytes that were not understood, or not looked at. The connection ends.
async fn answer_blind<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, answer: &Answer) {
    let answering = Answering { version: crate::http::head::Version::Http11, keep_alive: false };
    whole(&mut wire.out, answering, &Method::Get, answer.status, &answer.headers, &answer.body);
    if let Err(error) = wire.flush().await {
        tracing::trace!(%error, "an agent did not wait for its answer");
    }
}

/// Writes an answer of our own and makes the connection ready for the next request, if it can be.
/// Gives whether it is.
pub(crate) async fn decline<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    head: &RequestHead,
    answer: &Answer,
) -> bool {
    // A client that still waits to send its body will not send it after a final answer.
    let drained = !head.expect_continue() && drain(wire, head).await;
    let answering = Answering { version: head.version(), keep_alive: head.keep_alive() && drained };
    let keep = whole(&mut wire.out, answering, head.method(), answer.status, &answer.headers, &answer.body);
    wire.flush().await.is_ok() && keep
}

/// Reads and drops a small body; `false` when it is large, slow or broken.
async fn drain<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, head: &RequestHead) -> bool {
    use tokio::io::AsyncReadExt as _;
    let Ok(mut decoder) = BodyDecoder::new(head.framing(), DRAIN_BYTES_MAX as u64) else { return false };
    let until = Instant::now() + HANDSHAKE_TIME_MAX;
    loop {
        match decoder.decode(&mut wire.unread) {
            Ok(Decoded::Done) => return true,
            Ok(Decoded::Data(_)) => {}
            Ok(Decoded::NeedMore) => {
                wire.unread.reserve(READ_BYTES);
                let read = tokio::time::timeout_at(until, wire.reader.read_buf(&mut wire.unread)).await;
                if !matches!(read, Ok(Ok(n)) if n > 0) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

fn unauthenticated(fault: &Fault, proof_field: &HeaderName) -> Answer {
    let mut answer = refuse::fault(fault, None);
    if *proof_field == PROXY_AUTHORIZATION && answer.status == StatusCode::UNAUTHORIZED {
        answer.status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        if let Some(scheme) = answer.headers.remove(http::header::WWW_AUTHENTICATE) {
            answer.headers.insert(http::header::PROXY_AUTHENTICATE, scheme);
        }
    }
    answer
}

/// The URL that a request's own proof is for: what the client asked *us* for.
fn url_of(head: &RequestHead, destination: &Destination, gateway: &Gateway) -> String {
    match head.target() {
        Target::Origin { path, .. } => {
            format!("{}{}", gateway.authority.settings().gateway_url, path.as_str())
        }
        Target::Absolute { .. } | Target::Tunnel { .. } => {
            let (scheme, host, port) = (destination.scheme.as_str(), &destination.host, destination.port);
            format!("{scheme}://{host}:{port}{}", destination.path.as_str())
        }
    }
}

/// Names that mean this machine or its neighbours by convention (RFC 6761).
fn local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The endpoint of the domain for a host and port of the protocol.
pub(crate) fn core_endpoint(scheme: CoreScheme, to: &HostPort) -> Option<Endpoint> {
    let host = to.host().to_string();
    let host = CoreHost::parse(host.trim_matches(['[', ']'])).ok()?;
    Some(Endpoint { scheme, host, port: to.port_or(scheme.default_port()) })
}

fn destination(
    endpoint: &Endpoint,
    path: crate::http::path::Path,
    query: Option<crate::http::path::Query>,
) -> Option<Destination> {
    let host = match endpoint.host.address() {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => endpoint.host.to_string(),
    };
    let scheme = match endpoint.scheme {
        CoreScheme::Https => Scheme::Https,
        CoreScheme::Http => Scheme::Http,
    };
    Some(Destination {
        scheme,
        host: crate::http::host::Host::parse(host.as_bytes()).ok()?,
        port: endpoint.port,
        path,
        query,
    })
}
