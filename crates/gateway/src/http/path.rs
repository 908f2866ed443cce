//! The path and query of a request in the one form that is decided, recorded and sent.
//!
//! A path is accepted only when there is a single way to read it, so that the bytes policy saw can go
//! upstream unchanged. Nothing is normalised here: what would need normalising is refused. The query
//! is opaque to Accredit and is carried as it came.

use std::fmt;

/// Why a path or query is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path does not start with `/`.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// A byte that a path or query has only in percent-encoded form, a fragment, or a backslash.
    #[error("the target holds a character that must not stand in it")]
    Character,
    /// `%` without two hexadecimal digits after it.
    #[error("the path holds an incomplete percent-encoding")]
    Encoding,
    /// An encoded separator, control character or plain character, or an encoding of an encoding.
    #[error("the path holds a percent-encoding that has a second reading")]
    Ambiguous,
    /// Percent-encoded bytes that are not UTF-8.
    #[error("the path is not UTF-8 when decoded")]
    NotUtf8,
    /// `//` inside the path.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// `.` or `..`, plain, encoded, or followed by `;` parameters.
    #[error("the path holds a dot segment")]
    DotSegment,
}

/// An absolute path with exactly one reading; sent byte for byte as it is shown.
///
/// Characters outside RFC 3986 `pchar` are refused, except `[`, `]`, `^` and `|`, which URL libraries
/// leave alone. Encoded separators (`%2f`, `%5c`) are refused as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    raw: Box<str>,
    decoded: Option<Box<str>>,
}

impl Path {
    /// Reads a path that starts with `/`, without query.
    ///
    /// # Errors
    /// [`PathError`] when the path has no reading, or more than one.
    pub fn parse(raw: &[u8]) -> Result<Self, PathError> {
        let Some(rest) = raw.strip_prefix(b"/") else { return Err(PathError::NotAbsolute) };
        let decoded = decode(raw)?;
        check_segments(&decoded, rest.is_empty())?;
        let raw = std::str::from_utf8(raw).map_err(|_| PathError::Character)?;
        let decoded = (decoded != raw).then(|| decoded.into_boxed_str());
        Ok(Path { raw: raw.into(), decoded })
    }

    /// The path as it came and as it is sent.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The path after percent-decoding: two spellings of one path decode to the same text.
    ///
    /// The number and borders of segments are those of [`as_str`](Self::as_str).
    pub fn decoded(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.raw)
    }

    /// The segments as sent, without the slashes; a trailing slash gives an empty last segment.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.raw[1..].split('/')
    }

    /// What is left after the first `count` segments: `/u/github/v1/x` without two is `/v1/x`.
    ///
    /// `None` when the path has fewer segments; `/` when it has exactly that many.
    #[must_use]
    pub fn without_leading(&self, count: usize) -> Option<Path> {
        let mut rest = &self.raw[..];
        for _ in 0..count {
            let segment_and_rest = rest.strip_prefix('/').filter(|tail| !tail.is_empty())?;
            rest = segment_and_rest.find('/').map_or("", |at| &segment_and_rest[at..]);
        }
        let rest = if rest.is_empty() { "/" } else { rest };
        Some(Path::parse(rest.as_bytes()).expect("whole segments of a checked path are a checked path"))
    }

    /// This path below `base`, the path that a resource's address carries: `/v1/x` below `/api` is `/api/v1/x`.
    #[must_use]
    pub fn below(&self, base: &Path) -> Path {
        let joined = format!("{}{}", base.raw.trim_end_matches('/'), self.raw);
        Path::parse(joined.as_bytes()).expect("two checked paths joined at a slash are a checked path")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// The query of a request without its `?`, opaque and unchanged. Its text may hold what an agent
/// considers secret, so it is neither `Debug` nor `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Query(Box<str>);

impl Query {
    /// Reads a query: visible ASCII without `"`, `#`, `<` and `>`.
    ///
    /// # Errors
    /// [`PathError::Character`] on any other byte.
    pub fn parse(raw: &[u8]) -> Result<Self, PathError> {
        let allowed = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'#' | b'<' | b'>');
        if !raw.iter().all(allowed) {
            return Err(PathError::Character);
        }
        let text = std::str::from_utf8(raw).map_err(|_| PathError::Character)?;
        Ok(Query(text.into()))
    }

    /// The query as it came and as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/[]^|".contains(&byte)
}

fn decode(raw: &[u8]) -> Result<String, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            decoded.push(decode_triplet(tail)?);
            rest = &tail[2..];
            continue;
        }
        if !is_path_byte(byte) {
            return Err(PathError::Character);
        }
        decoded.push(byte);
        rest = tail;
    }
    String::from_utf8(decoded).map_err(|_| PathError::NotUtf8)
}

/// The byte that the two digits at the head of `after_percent` encode.
fn decode_triplet(after_percent: &[u8]) -> Result<u8, PathError> {
    let byte = hex_pair(after_percent).ok_or(PathError::Encoding)?;
    let separator = matches!(byte, b'/' | b'\\');
    // A plain character needs no encoding; encoded it would slip past a rule that names it plainly.
    let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let nested = byte == b'%' && hex_pair(&after_percent[2..]).is_some();
    if separator || unreserved || nested || byte.is_ascii_control() {
        // The dots of a dot segment keep their own name, which says more to the caller.
        return Err(if byte == b'.' { PathError::DotSegment } else { PathError::Ambiguous });
    }
    Ok(byte)
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let (high, low) = (digit(*text.first()?)?, digit(*text.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

fn check_segments(decoded: &str, is_root: bool) -> Result<(), PathError> {
    if is_root {
        return Ok(());
    }
    let mut segments = decoded[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::EmptySegment);
        }
        // `..;x` is `..` for servers that take path parameters off before they resolve dots.
        let name = segment.split(';').next().unwrap_or(segment);
        if matches!(name, "." | "..") {
            return Err(PathError::DotSegment);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(raw: &str, why: PathError) {
        assert_eq!(Path::parse(raw.as_bytes()), Err(why), "{raw:?}");
    }

    // case: HTTP-13
    #[test]
    fn a_path_with_a_second_reading_is_refused() {
        for raw in ["//v1/x", "/v1//x", "/v1/x//", "//"] {
            refused(raw, PathError::EmptySegment);
        }
        for raw in [
            "/v1/./x",
            "/v1/../admin",
            "/..",
            "/.",
            "/v1/%2e%2e/admin",
            "/v1/%2E./x",
            "/v1/..;/admin",
            "/v1/..;a=b",
            "/v1/.;/x",
            "/v1/..%3b/x",
        ] {
            refused(raw, PathError::DotSegment);
        }
        for raw in [
            "/v1/%2Fadmin",
            "/v1/%2fadmin",
            "/v1/..%5cadmin",
            "/%00",
            "/%0d%0a",
            "/%7f",
            "/v1/%61dmin",
            "/%7Euser",
            "/v1/%252e%252e/x",
            "/%252fx",
            "/%25252e",
            "/%2500",
        ] {
            refused(raw, PathError::Ambiguous);
        }
        for raw in [
            "/v1\\..\\admin",
            "/v1/x#frag",
            "/a b",
            "/a\tb",
            "/a\u{e9}",
            "/a\"",
            "/a<b>",
            "/a{b}",
            "/a`",
            "/a?b",
        ] {
            refused(raw, PathError::Character);
        }
        for raw in ["/%", "/%2", "/%zz", "/%u002e", "/% 2"] {
            refused(raw, PathError::Encoding);
        }
        for raw in ["/%c0%ae%c0%ae/", "/%ff", "/%ed%a0%80"] {
            refused(raw, PathError::NotUtf8);
        }
        for raw in ["", "v1", "*", "http://a/"] {
            refused(raw, PathError::NotAbsolute);
        }
    }

    // case: HTTP-13
    #[test]
    fn an_accepted_path_is_kept_byte_for_byte() {
        for raw in [
            "/",
            "/v1/x",
            "/v1/x/",
            "/a;b=c/d",
            "/users/me%40x.test",
            "/users/@me",
            "/wiki/What%3F",
            "/a%20b",
            "/a..b",
            "/...",
            "/.git/x",
            "/100%25",
            "/caf%C3%A9",
            "/a[0]|b^c",
        ] {
            let path = Path::parse(raw.as_bytes()).expect(raw);
            assert_eq!(path.as_str(), raw);
            let sent =
                http::uri::PathAndQuery::from_maybe_shared(bytes::Bytes::copy_from_slice(raw.as_bytes()));
            assert_eq!(sent.expect("accepted by the sender").path(), raw);
        }
    }

    #[test]
    fn two_spellings_of_one_path_decode_alike() {
        let (encoded, plain) = (Path::parse(b"/users/%40me"), Path::parse(b"/users/@me"));
        let (encoded, plain) = (encoded.expect("checked"), plain.expect("checked"));
        assert_ne!(encoded, plain);
        assert_eq!(encoded.decoded(), plain.decoded());
    }

    #[test]
    fn prefixes_come_off_and_go_on_by_whole_segments() {
        let path = Path::parse(b"/u/github/v1/x/").expect("checked");
        let left = |count| path.without_leading(count).map(|p| p.to_string());
        assert_eq!(left(0).as_deref(), Some("/u/github/v1/x/"));
        assert_eq!(left(2).as_deref(), Some("/v1/x/"));
        assert_eq!(left(4).as_deref(), Some("/"));
        assert_eq!(left(5), None);
        let below = |base: &str| {
            path.without_leading(2)
                .expect("long enough")
                .below(&Path::parse(base.as_bytes()).expect("checked"))
                .to_string()
        };
        assert_eq!(below("/api/"), "/api/v1/x/");
        assert_eq!(below("/"), "/v1/x/");
    }

    // case: EGR-15, HTTP-13
    #[test]
    fn a_query_is_opaque_but_visible_ascii() {
        for raw in ["", "a=1&b=%zz", "q=%2e%2e/", "f[a]=1", "j={}", "x?y"] {
            assert!(Query::parse(raw.as_bytes()).is_ok_and(|q| q.as_str() == raw), "{raw:?}");
        }
        for raw in ["a#b", "a b", "a\r\n", "\u{e9}", "a\0", "<", "\""] {
            assert!(Query::parse(raw.as_bytes()).is_err(), "{raw:?}");
        }
    }
}
