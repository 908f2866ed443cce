//! Request methods and protocol versions, as written in the request line.
//!
//! A method that no resource offers is read and kept apart, not mapped to a known one.

use super::fields::is_token;

/// Longest method in bytes: the longest registered one has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// A request method; case-sensitive (RFC 9110 §9.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// CONNECT: asks for a tunnel, never sent upstream.
    Connect,
    /// Any other token, TRACE and `get` among them: it has been read, and no resource offers it.
    Unknown(Box<str>),
}

impl Method {
    /// Reads a token of at most [`METHOD_BYTES_MAX`] bytes.
    pub(super) fn parse(raw: &[u8]) -> Option<Self> {
        if !is_token(raw) || raw.len() > METHOD_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(raw).ok()?;
        let known = [
            Method::Get,
            Method::Head,
            Method::Post,
            Method::Put,
            Method::Patch,
            Method::Delete,
            Method::Options,
            Method::Connect,
        ];
        let found = known.into_iter().find(|method| method.as_str() == text);
        Some(found.unwrap_or_else(|| Method::Unknown(text.into())))
    }

    /// The method as it came.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Unknown(text) => text,
        }
    }

    /// Whether sending the request twice means no more than sending it once (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        match self {
            Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options => true,
            Method::Post | Method::Patch | Method::Connect | Method::Unknown(_) => false,
        }
    }
}

/// The protocol version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}
