//! The request as it goes upstream, built from the parsed form and never from the agent's bytes.
//!
//! Three values in a row: [`Rebuilt`] holds no secret, is what gets decided, digested and recorded;
//! [`Outgoing`] comes out of it by injection, once, and is what gets sent. The client's `Connection`
//! list is applied before injection, so that it cannot take the injected field away again.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::uri::PathAndQuery;

use super::fields::{Field, folded};
use super::framing::Framing;
use super::head::RequestHead;
use super::host::{Host, Scheme};
use super::method::Method;
use super::path::{Path, Query};
use super::target::Target;

/// `traceparent` (W3C Trace Context §3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Why a request cannot be rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// CONNECT and methods that no resource offers are not sent upstream.
    #[error("the method is not sent upstream")]
    Method,
    /// The path and query cannot be sent as they are.
    #[error("the path and query cannot be sent unchanged")]
    Path,
}

/// Why a secret is not injected. No variant holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The route injects a secret and none was given, or the reverse.
    #[error("the route and the secret given do not belong together")]
    Route,
    /// The secret is not a field value: empty, or with control characters.
    #[error("the secret cannot stand in a header field")]
    Value,
    /// More or less than one field would carry the credential.
    #[error("more or less than one field would carry the credential")]
    NotOne,
}

/// The one host, port, path and query of an exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whether TLS protects it.
    pub scheme: Scheme,
    /// The host that is resolved, named in TLS and in `Host`.
    pub host: Host,
    /// The port that is dialled.
    pub port: u16,
    /// The path as sent.
    pub path: Path,
    /// The query as sent.
    pub query: Option<Query>,
}

impl Destination {
    /// What the request itself names: the target's scheme if it has one, else `connection`, the scheme
    /// of the connection it came over. `None` for a tunnel.
    pub fn of(head: &RequestHead, connection: Scheme) -> Option<Self> {
        let (path, query) = head.target().path_and_query()?;
        let scheme = match head.target() {
            Target::Absolute { scheme, .. } => *scheme,
            Target::Origin { .. } | Target::Tunnel { .. } => connection,
        };
        let port = head.host().port_or(scheme.default_port());
        let (path, query) = (path.clone(), query.cloned());
        Some(Destination { scheme, host: head.host().host().clone(), port, path, query })
    }

    /// `Host` as sent: the port stands only where it is not the scheme's own (RFC 9110 §7.2).
    fn host_value(&self) -> String {
        if self.port == self.scheme.default_port() {
            return self.host.to_string();
        }
        format!("{}:{}", self.host, self.port)
    }

    fn path_and_query(&self) -> Result<PathAndQuery, RebuildError> {
        let path = self.path.as_str();
        let text = match &self.query {
            Some(query) => format!("{path}?{}", query.as_str()),
            None => path.to_owned(),
        };
        let sent = PathAndQuery::from_maybe_shared(Bytes::from(text)).map_err(|_| RebuildError::Path)?;
        let unchanged = sent.path() == path && sent.query() == self.query.as_ref().map(Query::as_str);
        if unchanged { Ok(sent) } else { Err(RebuildError::Path) }
    }
}

/// The name of the field that carries a credential upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectedField {
    name: HeaderName,
    folded: String,
}

impl InjectedField {
    /// Reads a field name; names that set framing, routing or tracing are refused.
    pub fn parse(name: &str) -> Option<Self> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let folded = folded(name.as_str());
        let ours = is_hop_field(&folded) || is_own_field(&folded) || folded == "accept-encoding";
        (!ours).then_some(InjectedField { name, folded })
    }

    /// The name as sent.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }
}

/// What the route of a request adds to it and takes from it.
#[derive(Clone, Copy, Default)]
pub struct Route<'a> {
    /// The field into which a secret will be injected. Every client credential is then removed.
    pub injected: Option<&'a InjectedField>,
    /// Fields that carried the caller's proof to Accredit and end here.
    pub consumed: &'a [HeaderName],
    /// The trace that the upstream may join. The client's own is never forwarded.
    pub traceparent: Option<&'a HeaderValue>,
    /// Asks the upstream for uncompressed bodies, in which a reflected secret can be seen.
    pub identity_only: bool,
}

/// A request as it will be sent, but for the secret.
pub struct Rebuilt {
    method: Method,
    destination: Destination,
    path_and_query: PathAndQuery,
    headers: HeaderMap,
    framing: Framing,
    injected: Option<InjectedField>,
    traceparent: Option<HeaderValue>,
}

/// Builds the request that goes to `destination` from the head of the agent's request.
///
/// # Errors
/// [`RebuildError`] when it cannot be sent.
pub fn rebuild(
    head: &RequestHead,
    destination: Destination,
    route: &Route<'_>,
) -> Result<Rebuilt, RebuildError> {
    if matches!(head.method(), Method::Connect | Method::Unknown(_)) {
        return Err(RebuildError::Method);
    }
    let path_and_query = destination.path_and_query()?;
    let mut headers = HeaderMap::with_capacity(head.fields().iter().count() + 4);
    let host = HeaderValue::try_from(destination.host_value()).map_err(|_| RebuildError::Path)?;
    headers.insert(HOST, host);
    for field in head.fields().iter().filter(|field| is_forwarded(field, head, route)) {
        headers.append(field.name().clone(), field.value().clone());
    }
    match head.framing() {
        Framing::None => {}
        Framing::Length(length) => drop(headers.insert(CONTENT_LENGTH, length.into())),
        Framing::Chunked => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
    if route.identity_only {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    Ok(Rebuilt {
        method: head.method().clone(),
        destination,
        path_and_query,
        headers,
        framing: head.framing(),
        injected: route.injected.cloned(),
        traceparent: route.traceparent.cloned(),
    })
}

impl Rebuilt {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// How its body ends.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The fields that will be sent, but for the injected one and `traceparent`.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The head as a sequence of bytes to be digested; two requests have the same bytes only if their
    /// effect upstream cannot differ.
    ///
    /// Every text is preceded by its length in bytes (32 bits, big-endian), every list by its count:
    /// `accredit-http-v1`, method, scheme, host, port, path, count of queries (0 or 1) and query, count of
    /// fields, then name and value of each in the order sent, count of injected fields (0 or 1) and name.
    /// The secret is not part of it, nor `traceparent`, which names the exchange and not what it does.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = Canonical(Vec::with_capacity(1024));
        out.text(b"accredit-http-v1");
        out.text(self.method.as_str().as_bytes());
        out.text(self.destination.scheme.as_str().as_bytes());
        out.text(self.destination.host.to_string().as_bytes());
        out.text(self.destination.port.to_string().as_bytes());
        out.text(self.destination.path.as_str().as_bytes());
        let query = self.destination.query.as_ref();
        out.count(usize::from(query.is_some()));
        query.iter().for_each(|query| out.text(query.as_str().as_bytes()));
        out.count(self.headers.len());
        for (name, value) in &self.headers {
            out.text(name.as_str().as_bytes());
            out.text(value.as_bytes());
        }
        out.count(usize::from(self.injected.is_some()));
        self.injected.iter().for_each(|field| out.text(field.name.as_str().as_bytes()));
        out.0
    }

    /// Puts the credential in its place: `value` is the whole field value, `Bearer ` or the like included.
    ///
    /// # Errors
    /// [`InjectError`]; nothing may be sent then.
    pub fn inject(self, value: &[u8]) -> Result<Outgoing, InjectError> {
        let Some(field) = self.injected.clone() else { return Err(InjectError::Route) };
        let mut value = HeaderValue::from_bytes(value).map_err(|_| InjectError::Value)?;
        if value.is_empty() {
            return Err(InjectError::Value);
        }
        value.set_sensitive(true);
        let mut outgoing = self.into_outgoing();
        outgoing.headers.append(field.name.clone(), value);
        let carriers = outgoing.headers.iter().filter(|(name, _)| folded(name.as_str()) == field.folded);
        if carriers.count() != 1 {
            return Err(InjectError::NotOne);
        }
        Ok(outgoing)
    }

    /// The request of a route that injects nothing.
    ///
    /// # Errors
    /// [`InjectError::Route`] when the route injects a secret.
    pub fn without_secret(self) -> Result<Outgoing, InjectError> {
        if self.injected.is_some() {
            return Err(InjectError::Route);
        }
        Ok(self.into_outgoing())
    }

    fn into_outgoing(mut self) -> Outgoing {
        if let Some(traceparent) = self.traceparent {
            self.headers.insert(TRACEPARENT, traceparent);
        }
        Outgoing {
            method: self.method,
            destination: self.destination,
            path_and_query: self.path_and_query,
            headers: self.headers,
        }
    }
}

/// A request that may be sent, secret included; therefore never printed.
pub struct Outgoing {
    method: Method,
    destination: Destination,
    path_and_query: PathAndQuery,
    headers: HeaderMap,
}

impl Outgoing {
    /// Where it goes: the host, port and scheme to dial.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The head for an HTTP/1.1 connection to the destination: origin-form target, all fields set.
    pub fn into_request<B>(self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = http::Method::from_bytes(self.method.as_str().as_bytes())
            .expect("methods other than CONNECT and unknown ones are standard");
        *request.uri_mut() = http::Uri::from(self.path_and_query);
        *request.headers_mut() = self.headers;
        request
    }
}

struct Canonical(Vec<u8>);

impl Canonical {
    fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("heads are bounded far below 2^32");
        self.0.extend_from_slice(&count.to_be_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.extend_from_slice(text);
    }
}

fn is_forwarded(field: &Field, head: &RequestHead, route: &Route<'_>) -> bool {
    let name = folded(field.name().as_str());
    let nominated = head.nominated().iter().any(|nominated| folded(nominated) == name);
    let consumed = route.consumed.iter().any(|consumed| folded(consumed.as_str()) == name);
    let replaced =
        route.injected.is_some_and(|injected| is_client_credential(&name) || injected.folded == name);
    !(nominated
        || consumed
        || replaced
        || is_hop_field(&name)
        || is_forwarding_field(&name)
        || is_own_field(&name))
}

/// Fields of this hop (RFC 9110 §7.6.1), and those that are set anew from the parsed form.
fn is_hop_field(name: &str) -> bool {
    const HOP: [&str; 11] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "max-forwards",
    ];
    HOP.contains(&name) || name.starts_with("proxy-")
}

/// Fields by which an upstream may be told another client, host, method or path than the decided one.
fn is_forwarding_field(name: &str) -> bool {
    const FORWARDING: [&str; 21] = [
        "cdn-loop",
        "client-cert",
        "client-cert-chain",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "front-end-https",
        "remote-user",
        "true-client-ip",
        "via",
        "x-client-cert",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-real-ip",
        "x-remote-user",
        "x-rewrite-url",
        "x-url-scheme",
    ];
    const PREFIXES: [&str; 5] = ["x-forwarded", "x-original-", "x-ssl-", "cf-connecting-", "x-envoy-"];
    FORWARDING.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What belongs to the exchange between agent and Accredit: proofs and trace context.
fn is_own_field(name: &str) -> bool {
    const OWN: [&str; 4] = ["baggage", "dpop", "traceparent", "tracestate"];
    OWN.contains(&name) || name.starts_with("accredit-") || name.starts_with("x-accredit-")
}

/// Fields in which clients commonly carry a credential of their own.
fn is_client_credential(name: &str) -> bool {
    const CREDENTIALS: [&str; 16] = [
        "api-key",
        "apikey",
        "authorization",
        "cookie",
        "cookie2",
        "job-token",
        "private-token",
        "x-access-token",
        "x-amz-security-token",
        "x-api-key",
        "x-api-token",
        "x-auth-key",
        "x-auth-token",
        "x-authorization",
        "x-goog-api-key",
        "x-vault-token",
    ];
    CREDENTIALS.contains(&name)
}
