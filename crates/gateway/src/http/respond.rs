//! Writes responses to the agent in HTTP/1.1: the head, then the body in the framing the head announced.
//!
//! What is written here has been filtered before; this file only frames it. It writes into a buffer;
//! sending it, with back-pressure and deadlines, is the caller's.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

use super::method::{Method, Version};
use super::response::ResponseBody;

/// Tells a client that waits for it to send its body (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Tells a client that its tunnel stands (RFC 9110 §9.3.6).
pub const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection Established\r\n\r\n";

/// The body does not have the length that the head announced. The connection must be closed at once,
/// so that the agent sees it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More bytes than announced; none of the piece was written.
    #[error("the body is longer than its announced length")]
    TooLong,
    /// Fewer bytes than announced.
    #[error("the body is shorter than its announced length")]
    TooShort,
}

/// The exchange that a response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answering {
    /// The version of the request.
    pub version: Version,
    /// Whether the connection stays open after the response, as far as both sides wish.
    pub keep_alive: bool,
}

/// Writes the head of a response and gives the encoder for its body. Fields that frame are written from
/// `body` and `answering` alone; those in `headers` are passed over.
pub fn begin(
    out: &mut BytesMut,
    answering: Answering,
    status: StatusCode,
    headers: &HeaderMap,
    body: ResponseBody,
) -> BodyEncoder {
    let encoder = BodyEncoder::new(answering, body);
    let reason = status.canonical_reason().unwrap_or("");
    write_line(out, format_args!("HTTP/1.1 {} {reason}\r\n", status.as_u16()));
    for (name, value) in headers {
        if name == CONNECTION || name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
            continue;
        }
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    match body {
        ResponseBody::Nothing { announced_bytes: Some(bytes) } | ResponseBody::Length(bytes) => {
            write_line(out, format_args!("content-length: {bytes}\r\n"));
        }
        ResponseBody::Stream if matches!(encoder.state, State::Chunked) => {
            out.put_slice(b"transfer-encoding: chunked\r\n");
        }
        ResponseBody::Nothing { announced_bytes: None } | ResponseBody::Stream => {}
    }
    if !encoder.keep_alive {
        out.put_slice(b"connection: close\r\n");
    }
    out.put_slice(b"\r\n");
    encoder
}

/// Writes a complete response of Accredit's own, such as a refusal, to a request with `method`. Gives
/// whether the connection stays open.
pub fn whole(
    out: &mut BytesMut,
    answering: Answering,
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> bool {
    let length = body.len() as u64;
    if *method == Method::Head {
        let nothing = ResponseBody::Nothing { announced_bytes: Some(length) };
        return begin(out, answering, status, headers, nothing).keep_alive;
    }
    let encoder = begin(out, answering, status, headers, ResponseBody::Length(length));
    out.put_slice(body);
    encoder.keep_alive
}

/// Frames the body of one response.
#[derive(Debug)]
pub struct BodyEncoder {
    state: State,
    keep_alive: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Length {
        left: u64,
    },
    Chunked,
    /// The end of the connection is the end of the body: HTTP/1.0 knows no chunks.
    UntilClose,
}

impl BodyEncoder {
    fn new(answering: Answering, body: ResponseBody) -> Self {
        let state = match (body, answering.version) {
            (ResponseBody::Nothing { .. }, _) => State::Length { left: 0 },
            (ResponseBody::Length(left), _) => State::Length { left },
            (ResponseBody::Stream, Version::Http11) => State::Chunked,
            (ResponseBody::Stream, Version::Http10) => State::UntilClose,
        };
        let persistent = answering.version == Version::Http11;
        BodyEncoder { state, keep_alive: answering.keep_alive && persistent }
    }

    /// Writes one piece of the body.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] when it does not fit the announced length.
    pub fn data(&mut self, out: &mut BytesMut, piece: &Bytes) -> Result<(), EncodeError> {
        if piece.is_empty() {
            return Ok(());
        }
        match &mut self.state {
            State::Length { left } => {
                *left = left.checked_sub(piece.len() as u64).ok_or(EncodeError::TooLong)?;
                out.put_slice(piece);
            }
            State::UntilClose => out.put_slice(piece),
            State::Chunked => {
                write_line(out, format_args!("{:x}\r\n", piece.len()));
                out.put_slice(piece);
                out.put_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// Writes the end of the body and gives whether the connection stays open. To be called only when the
    /// body is known to be complete: a broken one ends with the connection instead.
    ///
    /// # Errors
    /// [`EncodeError::TooShort`] when bytes are missing from the announced length.
    pub fn finish(self, out: &mut BytesMut) -> Result<bool, EncodeError> {
        match self.state {
            State::Length { left: 0 } | State::UntilClose => {}
            State::Length { .. } => return Err(EncodeError::TooShort),
            State::Chunked => out.put_slice(b"0\r\n\r\n"),
        }
        Ok(self.keep_alive)
    }
}

fn write_line(out: &mut BytesMut, line: std::fmt::Arguments<'_>) {
    out.writer().write_fmt(line).expect("a growing buffer takes every line");
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, HeaderValue};

    use super::*;

    const KEEP: Answering = Answering { version: Version::Http11, keep_alive: true };
    const OLD: Answering = Answering { version: Version::Http10, keep_alive: true };

    fn write(
        answering: Answering,
        body: ResponseBody,
        pieces: &[&'static str],
    ) -> (String, Result<bool, EncodeError>) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CONNECTION, HeaderValue::from_static("x"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("99"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("gzip"));
        let mut out = BytesMut::new();
        let mut encoder = begin(&mut out, answering, StatusCode::OK, &headers, body);
        let written =
            pieces.iter().try_for_each(|piece| encoder.data(&mut out, &Bytes::from_static(piece.as_bytes())));
        let end = written.and_then(|()| encoder.finish(&mut out));
        let text = String::from_utf8(out.to_vec()).expect("text");
        let body = text.strip_prefix("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n").expect("the head");
        (body.to_owned(), end)
    }

    fn check(
        answering: Answering,
        body: ResponseBody,
        pieces: &[&'static str],
        text: &str,
        end: Result<bool, EncodeError>,
    ) {
        assert_eq!(write(answering, body, pieces), (text.to_owned(), end), "{body:?} {pieces:?}");
    }

    #[test]
    fn each_framing_is_written_from_the_parsed_form_alone() {
        let nothing = |announced_bytes| ResponseBody::Nothing { announced_bytes };
        check(KEEP, ResponseBody::Length(5), &["he", "", "llo"], "content-length: 5\r\n\r\nhello", Ok(true));
        check(
            KEEP,
            ResponseBody::Stream,
            &["he", "", "llo"],
            "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            Ok(true),
        );
        check(OLD, ResponseBody::Stream, &["hello"], "connection: close\r\n\r\nhello", Ok(false));
        check(
            OLD,
            ResponseBody::Length(5),
            &["hello"],
            "content-length: 5\r\nconnection: close\r\n\r\nhello",
            Ok(false),
        );
        check(KEEP, nothing(Some(5)), &[], "content-length: 5\r\n\r\n", Ok(true));
        check(KEEP, nothing(None), &[], "\r\n", Ok(true));
        let closing = Answering { keep_alive: false, ..KEEP };
        check(
            closing,
            ResponseBody::Length(0),
            &[],
            "content-length: 0\r\nconnection: close\r\n\r\n",
            Ok(false),
        );
    }

    // case: HTTP-16
    #[test]
    fn a_body_that_is_not_as_long_as_announced_is_an_error() {
        let head = "content-length: 5\r\n\r\n";
        check(
            KEEP,
            ResponseBody::Length(5),
            &["hello", "HTTP/1.1 200"],
            &format!("{head}hello"),
            Err(EncodeError::TooLong),
        );
        check(KEEP, ResponseBody::Length(5), &["hell"], &format!("{head}hell"), Err(EncodeError::TooShort));
        check(
            KEEP,
            ResponseBody::Nothing { announced_bytes: Some(5) },
            &["hello"],
            head,
            Err(EncodeError::TooLong),
        );
    }

    #[test]
    fn an_answer_of_our_own_has_no_body_for_head() {
        let text = |method: Method| {
            let mut out = BytesMut::new();
            assert!(whole(&mut out, KEEP, &method, StatusCode::FORBIDDEN, &HeaderMap::new(), b"{}"));
            String::from_utf8(out.to_vec()).expect("text")
        };
        assert_eq!(text(Method::Get), "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(text(Method::Head), "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n");
    }
}
