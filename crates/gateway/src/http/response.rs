//! The head of an upstream's response, as the agent may see it.
//!
//! What belongs to the hop between Accredit and the upstream ends here, secrets are taken out of what
//! passes, and the framing is set anew. Redirects are fields like any other: nobody follows them here.
//! The upstream is not trusted: its sizes are bounded, and what it cannot have meant is an error.

use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};

use super::fields::folded;
use super::framing::parse_length;
use super::method::Method;
use super::scrub::Needles;

/// Most fields of an upstream's response: twice what a request may have.
pub const RESPONSE_FIELDS_MAX: usize = 200;

/// Most bytes of names and values in an upstream's response head.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why an upstream's response is not passed on. The upstream's doing; the agent gets a 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// A switch to another protocol, which was never asked for.
    #[error("the upstream switched protocols without being asked")]
    SwitchingProtocols,
    /// An interim response, where a final one is needed; interim ones are dropped, not passed on.
    #[error("the upstream sent an interim response as its last one")]
    Interim,
    /// More than [`RESPONSE_FIELDS_MAX`] fields or [`RESPONSE_HEAD_BYTES_MAX`] bytes.
    #[error("the head of the upstream's response is too large")]
    TooLarge,
    /// `Content-Length` is repeated or not a plain number.
    #[error("the upstream's response has no clear length")]
    Length,
    /// A compressed body, in which a reflected secret could not be seen.
    #[error("the upstream compressed its response although it was asked not to")]
    Encoded,
}

/// What happens to `Set-Cookie`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCookie {
    /// Taken out: a session that the upstream opens for the secret is a credential itself.
    Strip,
    /// Passed on, scrubbed.
    Pass,
}

/// What happens to a body with a `Content-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// Refused, because nothing can be found in it.
    Refuse,
    /// Passed on as it is.
    Pass,
}

/// How the responses of a route are filtered.
#[derive(Clone, Copy)]
pub struct ResponsePolicy<'a> {
    /// What must not come back.
    pub needles: Option<&'a Needles>,
    /// What happens to `Set-Cookie`.
    pub set_cookie: SetCookie,
    /// What happens to compressed bodies.
    pub encoded: Encoded,
}

impl<'a> ResponsePolicy<'a> {
    /// The policy of a route that injects a secret, unless its resource says otherwise.
    pub fn injected(needles: &'a Needles) -> Self {
        ResponsePolicy { needles: Some(needles), set_cookie: SetCookie::Strip, encoded: Encoded::Refuse }
    }

    /// The policy of a route that injects nothing.
    pub fn plain() -> Self {
        ResponsePolicy { needles: None, set_cookie: SetCookie::Pass, encoded: Encoded::Pass }
    }
}

/// How the body of a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, whatever length the fields announce for another request.
    Nothing {
        /// The length that a GET would have had, in answer to HEAD and in 304.
        announced_bytes: Option<u64>,
    },
    /// Exactly this many bytes.
    Length(u64),
    /// As long as the upstream sends.
    Stream,
}

/// A response head that may be shown to the agent.
pub struct ResponseHead {
    status: StatusCode,
    headers: HeaderMap,
    body: ResponseBody,
    scrubbed: u64,
}

impl ResponseHead {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields, without those of framing and connection.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How the body ends.
    pub fn body(&self) -> ResponseBody {
        self.body
    }

    /// How many occurrences of a secret were overwritten or taken out.
    pub fn scrubbed(&self) -> u64 {
        self.scrubbed
    }
}

/// Makes an upstream's response head fit for the agent that sent a request with `method`.
///
/// # Errors
/// [`ResponseError`] when it is not passed on at all.
pub fn filter(
    method: &Method,
    status: StatusCode,
    upstream: &HeaderMap,
    policy: &ResponsePolicy<'_>,
) -> Result<ResponseHead, ResponseError> {
    check_status(status)?;
    check_size(upstream)?;
    let body = read_body(method, status, upstream)?;
    let has_body = !matches!(body, ResponseBody::Nothing { .. });
    if policy.encoded == Encoded::Refuse && has_body && is_encoded(upstream) {
        return Err(ResponseError::Encoded);
    }
    let nominated = nominated(upstream);
    let mut head =
        ResponseHead { status, headers: HeaderMap::with_capacity(upstream.len()), body, scrubbed: 0 };
    for (name, value) in upstream {
        if is_passed(name, policy) && !nominated.contains(&folded(name.as_str())) {
            head.pass(name, value, policy.needles);
        }
    }
    Ok(head)
}

impl ResponseHead {
    fn pass(&mut self, name: &HeaderName, value: &HeaderValue, needles: Option<&Needles>) {
        // An echo in a name cannot be overwritten and stay a name: the field goes.
        if let Some((_, found)) = needles.and_then(|needles| needles.scrub(name.as_str().as_bytes())) {
            self.scrubbed += found;
            return;
        }
        let Some((value, found)) = needles.and_then(|needles| needles.scrub_value(value)) else {
            self.headers.append(name.clone(), value.clone());
            return;
        };
        self.scrubbed += found;
        self.headers.append(name.clone(), value);
    }
}

fn check_status(status: StatusCode) -> Result<(), ResponseError> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ResponseError::SwitchingProtocols);
    }
    if status.is_informational() {
        return Err(ResponseError::Interim);
    }
    Ok(())
}

fn check_size(upstream: &HeaderMap) -> Result<(), ResponseError> {
    let bytes: usize = upstream.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let too_large = upstream.len() > RESPONSE_FIELDS_MAX || bytes > RESPONSE_HEAD_BYTES_MAX;
    if too_large { Err(ResponseError::TooLarge) } else { Ok(()) }
}

/// RFC 9112 §6.3: HEAD, 204 and 304 have no content; a transfer coding overrides a length.
fn read_body(
    method: &Method,
    status: StatusCode,
    upstream: &HeaderMap,
) -> Result<ResponseBody, ResponseError> {
    let length = read_length(upstream)?;
    if status == StatusCode::NO_CONTENT {
        return Ok(ResponseBody::Nothing { announced_bytes: None });
    }
    if *method == Method::Head || status == StatusCode::NOT_MODIFIED {
        return Ok(ResponseBody::Nothing { announced_bytes: length });
    }
    match length {
        Some(length) => Ok(ResponseBody::Length(length)),
        None => Ok(ResponseBody::Stream),
    }
}

fn read_length(upstream: &HeaderMap) -> Result<Option<u64>, ResponseError> {
    let mut values = upstream.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || upstream.contains_key(TRANSFER_ENCODING) {
        return Err(ResponseError::Length);
    }
    parse_length(value).map(Some).ok_or(ResponseError::Length)
}

fn is_encoded(upstream: &HeaderMap) -> bool {
    let identity =
        |value: &HeaderValue| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
    upstream.get_all(CONTENT_ENCODING).iter().any(|value| !identity(value))
}

fn nominated(upstream: &HeaderMap) -> Vec<String> {
    let values = upstream.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| folded(name.trim())).collect()
}

fn is_passed(name: &HeaderName, policy: &ResponsePolicy<'_>) -> bool {
    // Of this hop (RFC 9110 §7.6.1), or set anew. Then what would steer the client to ways around the
    // gateway or outlive the task: other services, pins, report collectors. Last what only Accredit says.
    const DROPPED: [&str; 16] = [
        "alt-svc",
        "alternate-protocol",
        "connection",
        "content-length",
        "expect-ct",
        "keep-alive",
        "nel",
        "public-key-pins",
        "public-key-pins-report-only",
        "report-to",
        "reporting-endpoints",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    const PREFIXES: [&str; 3] = ["proxy-", "accredit-", "x-accredit-"];
    let name = folded(name.as_str());
    let cookie = matches!(name.as_str(), "set-cookie" | "set-cookie2");
    let stripped = cookie && policy.set_cookie == SetCookie::Strip;
    !(stripped || DROPPED.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::super::scrub::Protected;
    use super::*;

    const SECRET: &[u8] = b"Canary-0123456789";

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    fn needles() -> Needles {
        Needles::of(&[Protected { secret: SECRET, basic_user: None }]).expect("long enough")
    }

    fn injected(status: u16, lines: &[(&str, &str)]) -> Result<ResponseHead, ResponseError> {
        let status = StatusCode::from_u16(status).expect("a status");
        filter(&Method::Get, status, &headers(lines), &ResponsePolicy::injected(&needles()))
    }

    // case: SEC-06, HTTP-15
    #[test]
    fn a_secret_in_a_field_is_overwritten_and_counted() {
        let head = injected(
            302,
            &[
                ("location", "https://evil.test/?k=Canary-0123456789"),
                ("x-echo", "Bearer Canary-0123456789"),
                ("canary-0123456789", "x"),
                ("content-type", "text/plain"),
            ],
        );
        let head = head.expect("passed on");
        assert_eq!(head.headers()["location"], "https://evil.test/?k=*****************");
        assert_eq!(head.headers()["x-echo"], "Bearer *****************");
        assert_eq!(head.headers()["content-type"], "text/plain");
        assert_eq!((head.headers().len(), head.scrubbed()), (3, 3));
    }

    // case: SEC-18
    #[test]
    fn cookies_are_stripped_where_a_secret_is_injected_unless_the_resource_passes_them() {
        let set = headers(&[("set-cookie", "s=1"), ("set-cookie2", "s=1"), ("x", "y")]);
        let count =
            |policy| filter(&Method::Get, StatusCode::OK, &set, &policy).map(|head| head.headers().len());
        let needles = needles();
        assert_eq!(count(ResponsePolicy::injected(&needles)), Ok(1));
        assert_eq!(
            count(ResponsePolicy { set_cookie: SetCookie::Pass, ..ResponsePolicy::injected(&needles) }),
            Ok(3)
        );
        assert_eq!(count(ResponsePolicy::plain()), Ok(3));
    }

    #[test]
    fn fields_of_the_hop_and_ways_around_the_gateway_end_here() {
        let head = injected(
            200,
            &[
                ("connection", "keep-alive, X-Hop"),
                ("x-hop", "1"),
                ("x_hop", "1"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
                ("trailer", "x"),
                ("upgrade", "h2"),
                ("alt-svc", "h3=\":443\""),
                ("proxy-authenticate", "Basic"),
                ("proxy-connection", "close"),
                ("strict-transport-security", "max-age=1"),
                ("accredit-decision", "d_x; code=allow"),
                ("etag", "\"1\""),
            ],
        );
        let head = head.expect("passed on");
        let names: Vec<&str> = head.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!((names, head.body()), (vec!["etag"], ResponseBody::Stream));
    }

    // case: HTTP-16
    #[test]
    fn the_length_of_a_body_is_clear_or_the_response_is_refused() {
        let body = |method: Method, status, lines: &[(&str, &str)]| {
            filter(&method, status, &headers(lines), &ResponsePolicy::plain()).map(|head| head.body())
        };
        let nothing = |announced_bytes| Ok(ResponseBody::Nothing { announced_bytes });
        let ten = [("content-length", "10")];
        assert_eq!(body(Method::Get, StatusCode::OK, &ten), Ok(ResponseBody::Length(10)));
        assert_eq!(body(Method::Get, StatusCode::OK, &[]), Ok(ResponseBody::Stream));
        assert_eq!(body(Method::Head, StatusCode::OK, &ten), nothing(Some(10)));
        assert_eq!(body(Method::Get, StatusCode::NOT_MODIFIED, &ten), nothing(Some(10)));
        assert_eq!(body(Method::Get, StatusCode::NO_CONTENT, &ten), nothing(None));
        for lines in [
            &[("content-length", "10"), ("content-length", "10")][..],
            &[("content-length", "10"), ("content-length", "11")],
            &[("content-length", "10, 10")],
            &[("content-length", "+10")],
            &[("content-length", "10"), ("transfer-encoding", "chunked")],
        ] {
            assert_eq!(body(Method::Get, StatusCode::OK, lines), Err(ResponseError::Length), "{lines:?}");
        }
    }

    // case: HTTP-17
    #[test]
    fn an_unbounded_or_interim_head_is_refused() {
        let refused = |status, lines: &[(&str, &str)]| injected(status, lines).err();
        assert_eq!(refused(101, &[]), Some(ResponseError::SwitchingProtocols));
        assert_eq!(refused(103, &[]), Some(ResponseError::Interim));
        assert_eq!(refused(200, &vec![("x", "y"); RESPONSE_FIELDS_MAX]), None);
        assert_eq!(refused(200, &vec![("x", "y"); RESPONSE_FIELDS_MAX + 1]), Some(ResponseError::TooLarge));
        let long = "y".repeat(RESPONSE_HEAD_BYTES_MAX - 1);
        assert_eq!(refused(200, &[("x", &long)]), None);
        assert_eq!(refused(200, &[("xx", &long)]), Some(ResponseError::TooLarge));
    }

    #[test]
    fn a_body_that_cannot_be_searched_is_refused_where_a_secret_is_injected() {
        let gzip = [("content-encoding", "gzip")];
        assert_eq!(injected(200, &gzip).err(), Some(ResponseError::Encoded));
        assert_eq!(injected(304, &gzip).err(), None);
        assert_eq!(injected(200, &[("content-encoding", "Identity")]).err(), None);
        let plain = filter(&Method::Get, StatusCode::OK, &headers(&gzip), &ResponsePolicy::plain());
        assert_eq!(plain.map(|head| head.headers().len()), Ok(1));
    }
}
