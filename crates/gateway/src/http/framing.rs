//! How long the body of a request is (RFC 9112 §6): nothing, a length, or chunks.
//!
//! Only one spelling of each is understood. Everything on which two parsers have ever disagreed is
//! refused, so that no second request can hide in a body.

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};

use super::fields::{FieldError, Fields, folded};
use super::method::Version;

/// Most digits of a content length: what always fits 64 bits.
pub const LENGTH_DIGITS_MAX: usize = 19;

/// Why the length of a body cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A framing field is repeated or has white space around its value.
    #[error("{0}")]
    Field(#[from] FieldError),
    /// `Content-Length` is not a plain decimal number.
    #[error("`content-length` is not a plain decimal number")]
    Length,
    /// `Transfer-Encoding` is anything but `chunked`.
    #[error("`transfer-encoding` is not `chunked`")]
    Coding,
    /// Both fields are there.
    #[error("`content-length` and `transfer-encoding` stand together")]
    Both,
    /// HTTP/1.0 has no transfer codings.
    #[error("`transfer-encoding` in HTTP/1.0")]
    CodingInHttp10,
    /// A field whose name becomes a framing field when `_` is read as `-`.
    #[error("a field is named like a framing field")]
    Lookalike,
}

/// How the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly this many bytes; `0` was written out by the client.
    Length(u64),
    /// Chunked transfer coding (RFC 9112 §7.1).
    Chunked,
}

impl Framing {
    /// Reads the framing fields of a request.
    ///
    /// # Errors
    /// [`FramingError`] when they have no reading, or more than one.
    pub fn of(version: Version, fields: &Fields) -> Result<Self, FramingError> {
        refuse_lookalikes(fields)?;
        let length = fields.only_exact(&CONTENT_LENGTH)?;
        let coding = fields.only_exact(&TRANSFER_ENCODING)?;
        match (length, coding) {
            (None, None) => Ok(Framing::None),
            (Some(_), Some(_)) => Err(FramingError::Both),
            (Some(length), None) => parse_length(length).map(Framing::Length).ok_or(FramingError::Length),
            (None, Some(_)) if version == Version::Http10 => Err(FramingError::CodingInHttp10),
            (None, Some(coding)) if coding.as_bytes() == b"chunked" => Ok(Framing::Chunked),
            (None, Some(_)) => Err(FramingError::Coding),
        }
    }
}

fn refuse_lookalikes(fields: &Fields) -> Result<(), FramingError> {
    let lookalike = |name: &str| {
        name.contains('_') && matches!(folded(name).as_str(), "content-length" | "transfer-encoding" | "host")
    };
    match fields.iter().any(|field| lookalike(field.name().as_str())) {
        true => Err(FramingError::Lookalike),
        false => Ok(()),
    }
}

/// A decimal number without sign, list, leading zeros or more than [`LENGTH_DIGITS_MAX`] digits.
pub(super) fn parse_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let plain = digits.iter().all(u8::is_ascii_digit) && digits.len() <= LENGTH_DIGITS_MAX;
    let canonical = digits == b"0" || digits.first().is_some_and(|&b| b != b'0');
    if !plain || !canonical {
        return None;
    }
    value.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::fields::Field;
    use super::*;

    fn framing(version: Version, lines: &[&str]) -> Result<Framing, FramingError> {
        let fields = lines.iter().map(|line| Field::parse(&Bytes::copy_from_slice(line.as_bytes())));
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        Framing::of(version, &Fields::new(fields))
    }

    fn check(lines: &[&str], expected: Result<Framing, FramingError>) {
        assert_eq!(framing(Version::Http11, lines), expected, "{lines:?}");
    }

    // case: HTTP-01
    #[test]
    fn a_length_beside_chunks_is_refused_in_both_orders() {
        check(&["content-length: 5", "transfer-encoding: chunked"], Err(FramingError::Both));
        check(&["transfer-encoding: chunked", "content-length: 5"], Err(FramingError::Both));
    }

    // case: HTTP-02
    #[test]
    fn a_length_is_one_plain_number() {
        for value in [
            "5, 6",
            "5,5",
            "+5",
            "-0",
            "-5",
            "0x5",
            "5 5",
            "05",
            "00",
            "",
            "5.",
            "1e1",
            "\"5\"",
            "99999999999999999999",
            "10000000000000000000",
        ] {
            check(&[&format!("content-length: {value}")], Err(FramingError::Length));
        }
        check(&["content-length: 5", "content-length: 6"], Err(FramingError::Field(FieldError::Repeated)));
        check(&["content-length: 5", "content-length: 5"], Err(FramingError::Field(FieldError::Repeated)));
        for line in ["content-length: 5 ", "content-length:\t5", "content-length:  5"] {
            check(&[line], Err(FramingError::Field(FieldError::Padded)));
        }
        check(&["content-length: 9999999999999999999"], Ok(Framing::Length(9_999_999_999_999_999_999)));
        check(&["content-length: 0"], Ok(Framing::Length(0)));
        check(&[], Ok(Framing::None));
    }

    // case: HTTP-03, HTTP-07
    #[test]
    fn chunked_has_one_spelling_and_needs_http_1_1() {
        check(&["Transfer-Encoding: chunked"], Ok(Framing::Chunked));
        for value in [
            "xchunked",
            "chunked, identity",
            "identity, chunked",
            "chunked,chunked",
            "\"chunked\"",
            "Chunked",
            "CHUNKED",
            "chunked;q=1",
            "identity",
            "gzip",
            "",
            "chun ked",
            ",chunked",
        ] {
            check(&[&format!("transfer-encoding: {value}")], Err(FramingError::Coding));
        }
        for line in
            ["transfer-encoding:\tchunked", "transfer-encoding: chunked ", "transfer-encoding:  chunked"]
        {
            check(&[line], Err(FramingError::Field(FieldError::Padded)));
        }
        check(
            &["transfer-encoding: chunked", "transfer-encoding: chunked"],
            Err(FramingError::Field(FieldError::Repeated)),
        );
        check(
            &["transfer-encoding: chunked", "transfer-encoding: x"],
            Err(FramingError::Field(FieldError::Repeated)),
        );
        let old = framing(Version::Http10, &["transfer-encoding: chunked"]);
        assert_eq!(old, Err(FramingError::CodingInHttp10));
    }

    // case: HTTP-03, HTTP-12
    #[test]
    fn a_field_that_folds_to_a_framing_field_is_refused() {
        for line in ["transfer_encoding: chunked", "Content_Length: 5"] {
            check(&[line], Err(FramingError::Lookalike));
        }
    }
}
