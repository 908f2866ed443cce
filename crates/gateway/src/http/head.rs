//! The head of a request (RFC 9112 §2-§6), read once, strictly, into the form that everything after
//! it uses.
//!
//! The parser is the border between the agent and everything that is decided: whatever has two
//! readings is an error, after which the connection is closed and nothing goes upstream. It decides
//! nothing itself and knows no resources.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONNECTION, EXPECT, HOST, UPGRADE};

use super::fields::{Field, FieldError, Fields, is_token, trim_blank};
use super::framing::{Framing, FramingError};
use super::host::{Authority, HostError};
pub use super::method::{Method, Version};
use super::target::{Target, TargetError};

/// Longest request line in bytes without its CRLF: the 8,000 that RFC 9112 §3 asks for, rounded up.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of all field lines with their CRLFs: several large cookies and tokens fit.
pub const HEADER_BLOCK_BYTES_MAX: usize = 32 * 1024;

/// Most fields: four times what the busiest SDKs send.
pub const FIELDS_MAX: usize = 100;

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A CR without LF, or a LF without CR.
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// A byte that is not visible ASCII, space or tab.
    #[error("the head holds a byte that is not visible ASCII")]
    Byte,
    /// The request line is longer than [`REQUEST_LINE_BYTES_MAX`].
    #[error("the request line is longer than {REQUEST_LINE_BYTES_MAX} bytes")]
    RequestLineTooLong,
    /// The field lines are longer than [`HEADER_BLOCK_BYTES_MAX`] together.
    #[error("the header fields are longer than {HEADER_BLOCK_BYTES_MAX} bytes")]
    FieldsTooLong,
    /// More than [`FIELDS_MAX`] fields.
    #[error("there are more than {FIELDS_MAX} header fields")]
    FieldsTooMany,
    /// The first line is not `METHOD SP target SP version`.
    #[error("the request line is not a method, a target and a version with one space between them")]
    RequestLine,
    /// Another version than HTTP/1.1 and HTTP/1.0.
    #[error("the version is neither HTTP/1.1 nor HTTP/1.0")]
    Version,
    /// The target is refused.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// A field is refused.
    #[error("{0}")]
    Field(#[from] FieldError),
    /// The length of the body cannot be told.
    #[error("{0}")]
    Framing(#[from] FramingError),
    /// A method with content in HTTP/1.0 without a length, or CONNECT with content.
    #[error("the method does not go with the length of the content")]
    Content,
    /// `Host` is missing.
    #[error("there is no `host` field")]
    HostMissing,
    /// `Host` does not name one host.
    #[error("`host`: {0}")]
    Host(HostError),
    /// `Host` and the target name different hosts or ports.
    #[error("`host` and the target name different hosts")]
    HostDiffers,
    /// `Connection` is not a list of names.
    #[error("`connection` is not a list of names")]
    Connection,
    /// `Expect` asks for something other than `100-continue`.
    #[error("`expect` asks for something other than `100-continue`")]
    Expectation,
}

impl HeadError {
    /// The status of the answer, after which the connection is closed.
    pub fn status(&self) -> StatusCode {
        match self {
            HeadError::RequestLineTooLong => StatusCode::URI_TOO_LONG,
            HeadError::FieldsTooLong | HeadError::FieldsTooMany => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            HeadError::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            HeadError::Expectation => StatusCode::EXPECTATION_FAILED,
            HeadError::LineEnd
            | HeadError::Byte
            | HeadError::RequestLine
            | HeadError::Target(_)
            | HeadError::Field(_)
            | HeadError::Framing(_)
            | HeadError::Content
            | HeadError::HostMissing
            | HeadError::Host(_)
            | HeadError::HostDiffers
            | HeadError::Connection => StatusCode::BAD_REQUEST,
        }
    }
}

/// Whether the client asks to leave HTTP/1.1 on this connection. Nothing is ever upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// It does not.
    None,
    /// To WebSocket (RFC 6455): the client cannot go on without, so it is refused.
    WebSocket,
    /// To something else, such as `h2c`: ignoring it is what RFC 9110 §7.8 allows.
    Other,
}

/// The head of one request, with one reading.
pub struct RequestHead {
    method: Method,
    target: Target,
    version: Version,
    fields: Fields,
    framing: Framing,
    host: Authority,
    connection: Connection,
    expect_continue: bool,
    upgrade: Upgrade,
}

impl RequestHead {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All fields in the order they came.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// How the body ends.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The host the request is for: `Host` and, where the target names one, the target agree on it.
    pub fn host(&self) -> &Authority {
        &self.host
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// Whether the client asks for another protocol.
    pub fn upgrade(&self) -> Upgrade {
        self.upgrade
    }

    /// Whether the client wants to send another request on this connection. HTTP/1.0 never does here.
    pub fn keep_alive(&self) -> bool {
        self.version == Version::Http11 && !self.connection.close
    }

    /// The names that `Connection` nominates as meant for this hop only, in lower case.
    pub(super) fn nominated(&self) -> &[String] {
        &self.connection.nominated
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RequestHead");
        out.field("method", &self.method).field("version", &self.version).field("host", &self.host);
        out.field("framing", &self.framing).field("fields", &self.fields).finish_non_exhaustive()
    }
}

/// Reads request heads from a growing buffer, looking at each byte once.
#[derive(Debug, Default)]
pub struct HeadParser {
    /// Bytes of the buffer that have been looked at.
    scanned: usize,
    line_start: usize,
    /// Whether the last byte looked at was a CR.
    after_cr: bool,
    /// Ends of complete lines, without CRLF.
    line_ends: Vec<usize>,
}

impl HeadParser {
    /// A parser for the first head of a connection; it serves for all later ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at what has been added to `buffer` and takes the head off its front once it is complete;
    /// `None` asks for more bytes. What follows the head stays in the buffer.
    ///
    /// # Errors
    /// [`HeadError`] as soon as it shows; the connection is of no use after that.
    pub fn advance(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestHead>, HeadError> {
        while let Some(&byte) = buffer.get(self.scanned) {
            self.check_bounds()?;
            if self.after_cr {
                if byte != b'\n' {
                    return Err(HeadError::LineEnd);
                }
                self.after_cr = false;
                self.scanned += 1;
                if self.end_line()? {
                    return self.take(buffer).map(Some);
                }
                continue;
            }
            match byte {
                b'\r' => self.after_cr = true,
                b'\n' => return Err(HeadError::LineEnd),
                b' '..=b'~' | b'\t' => {}
                _ => return Err(HeadError::Byte),
            }
            self.scanned += 1;
        }
        Ok(None)
    }

    /// Whether no byte of a next head has come: the connection may be closed without an answer.
    pub fn is_idle(&self) -> bool {
        self.scanned == 0
    }

    fn check_bounds(&self) -> Result<(), HeadError> {
        let Some(&request_line_end) = self.line_ends.first() else {
            // The CR that ends a line of the longest length stands one byte after it.
            let too_long = self.scanned > REQUEST_LINE_BYTES_MAX + usize::from(self.after_cr);
            return if too_long { Err(HeadError::RequestLineTooLong) } else { Ok(()) };
        };
        let block_start = request_line_end + 2;
        if self.scanned - block_start >= HEADER_BLOCK_BYTES_MAX {
            return Err(HeadError::FieldsTooLong);
        }
        Ok(())
    }

    /// Notes the end of a line; true when it was the empty one that ends the head.
    fn end_line(&mut self) -> Result<bool, HeadError> {
        let end = self.scanned - 2;
        let empty = end == self.line_start;
        if empty && self.line_ends.is_empty() {
            return Err(HeadError::RequestLine);
        }
        if empty {
            return Ok(true);
        }
        if self.line_ends.len() > FIELDS_MAX {
            return Err(HeadError::FieldsTooMany);
        }
        self.line_ends.push(end);
        self.line_start = self.scanned;
        Ok(false)
    }

    fn take(&mut self, buffer: &mut BytesMut) -> Result<RequestHead, HeadError> {
        let head = buffer.split_to(self.scanned).freeze();
        let line_ends = std::mem::take(&mut self.line_ends);
        *self = Self::default();
        let mut start = 0;
        let mut lines = line_ends.into_iter().map(|end| {
            let line = head.slice(start..end);
            start = end + 2;
            line
        });
        let request_line = lines.next().ok_or(HeadError::RequestLine)?;
        let fields = lines.map(|line| Field::parse(&line)).collect::<Result<Vec<_>, _>>()?;
        read_head(&request_line, Fields::new(fields))
    }
}

fn read_head(request_line: &Bytes, fields: Fields) -> Result<RequestHead, HeadError> {
    let (method, target, version) = read_request_line(request_line)?;
    let framing = Framing::of(version, &fields)?;
    check_content(&method, version, framing)?;
    let host = read_host(&target, version, &fields)?;
    let connection = Connection::of(&fields)?;
    let expect_continue = read_expect(version, &fields)?;
    let upgrade = read_upgrade(&fields);
    Ok(RequestHead { method, target, version, fields, framing, host, connection, expect_continue, upgrade })
}

fn read_request_line(line: &[u8]) -> Result<(Method, Target, Version), HeadError> {
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::RequestLine);
    };
    let method = Method::parse(method).ok_or(HeadError::RequestLine)?;
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(HeadError::Version),
    };
    let target = match method {
        Method::Connect => Target::parse_tunnel(target)?,
        _ => Target::parse(target)?,
    };
    Ok((method, target, version))
}

/// CONNECT has no content (RFC 9110 §9.3.6). In HTTP/1.0 a body without length would end with the
/// connection, which a request cannot do and still be answered.
fn check_content(method: &Method, version: Version, framing: Framing) -> Result<(), HeadError> {
    let unmeasured = version == Version::Http10 && framing == Framing::None;
    let refused = match method {
        Method::Connect => framing != Framing::None,
        Method::Post | Method::Put | Method::Patch => unmeasured,
        Method::Get | Method::Head | Method::Delete | Method::Options | Method::Unknown(_) => false,
    };
    if refused { Err(HeadError::Content) } else { Ok(()) }
}

/// `Host` stands exactly once (RFC 9112 §3.2); only in HTTP/1.0, which does not know it, may it be
/// left to a target that names the host itself.
fn read_host(target: &Target, version: Version, fields: &Fields) -> Result<Authority, HeadError> {
    let named = target.authority();
    let Some(value) = fields.only_exact(&HOST)? else {
        let named = named.filter(|_| version == Version::Http10);
        return named.map(|(authority, _)| authority.clone()).ok_or(HeadError::HostMissing);
    };
    let host = Authority::parse(value.as_bytes()).map_err(HeadError::Host)?;
    let Some((authority, port)) = named else { return Ok(host) };
    let default_port = match target {
        Target::Absolute { scheme, .. } => scheme.default_port(),
        // The port of a tunnel has no default: clients that leave it out of `Host` mean the target's.
        Target::Origin { .. } | Target::Tunnel { .. } => port,
    };
    if host.host() != authority.host() || host.port_or(default_port) != port {
        return Err(HeadError::HostDiffers);
    }
    Ok(authority.clone())
}

/// What `Connection` says (RFC 9110 §7.6.1).
struct Connection {
    close: bool,
    nominated: Vec<String>,
}

impl Connection {
    fn of(fields: &Fields) -> Result<Self, HeadError> {
        let mut nominated = Vec::new();
        for value in fields.all(&CONNECTION) {
            for name in value.as_bytes().split(|&b| b == b',').map(trim_blank).filter(|name| !name.is_empty())
            {
                if !is_token(name) {
                    return Err(HeadError::Connection);
                }
                nominated.push(String::from_utf8_lossy(name).to_ascii_lowercase());
            }
        }
        let close = nominated.iter().any(|name| name == "close");
        Ok(Connection { close, nominated })
    }
}

fn read_expect(version: Version, fields: &Fields) -> Result<bool, HeadError> {
    let Some(value) = fields.only(&EXPECT)? else { return Ok(false) };
    if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Err(HeadError::Expectation);
    }
    Ok(version == Version::Http11)
}

fn read_upgrade(fields: &Fields) -> Upgrade {
    let mut asked = Upgrade::None;
    for value in fields.all(&UPGRADE) {
        let mut names = value.as_bytes().split(|&b| matches!(b, b',' | b'/')).map(trim_blank);
        if names.any(|name| name.eq_ignore_ascii_case(b"websocket")) {
            return Upgrade::WebSocket;
        }
        asked = Upgrade::Other;
    }
    asked
}
