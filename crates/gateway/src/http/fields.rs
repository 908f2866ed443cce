//! The fields of a request head, in the order they came: names are tokens, values visible ASCII.
//!
//! What a field *means* is judged elsewhere; here only its form is. Values are never printed: any of
//! them can be a credential.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// Why a field line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The line starts with a space or tab: folding (RFC 9112 §5.2) or a space before the first field.
    #[error("a field line starts with a space")]
    Folded,
    /// There is no `:`, or what stands before it is not a token; a space before `:` is no token.
    #[error("a field name is not a token")]
    Name,
    /// The value holds a byte that is not visible ASCII, space or tab.
    #[error("a field value holds a byte that is not visible ASCII")]
    Value,
    /// A field that may stand once stands more often.
    #[error("a field that may stand once is repeated")]
    Repeated,
    /// More white space around the value than one space before it, in a field that sets framing or routing.
    #[error("a field that sets framing or routing has white space around its value")]
    Padded,
}

/// One field of a request.
#[derive(Clone)]
pub struct Field {
    name: HeaderName,
    value: HeaderValue,
    padded: bool,
}

impl Field {
    /// Reads one line without its CRLF (RFC 9112 §5).
    pub(super) fn parse(line: &Bytes) -> Result<Self, FieldError> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(FieldError::Folded);
        }
        let colon = line.iter().position(|&b| b == b':').ok_or(FieldError::Name)?;
        let name = &line[..colon];
        if !is_token(name) {
            return Err(FieldError::Name);
        }
        let name = HeaderName::from_bytes(name).map_err(|_| FieldError::Name)?;
        let after = line.slice(colon + 1..);
        let value = after.slice_ref(trim_blank(&after));
        if !value.iter().all(|&b| is_value_byte(b)) {
            return Err(FieldError::Value);
        }
        let padded = after.len() - value.len() > usize::from(after.first() == Some(&b' '));
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| FieldError::Value)?;
        Ok(Field { name, value, padded })
    }

    /// The name in lower case.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The value without white space around it.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// All fields of a request.
#[derive(Clone, Default)]
pub struct Fields(Vec<Field>);

impl Fields {
    pub(super) fn new(fields: Vec<Field>) -> Self {
        Fields(fields)
    }

    /// The fields in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// Every value of the fields called `name`, in the order they came.
    pub fn all<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a HeaderValue> + use<'a, 'n> {
        self.0.iter().filter(move |field| field.name == name).map(|field| &field.value)
    }

    /// The value of the only field called `name`.
    ///
    /// # Errors
    /// [`FieldError::Repeated`] when there is more than one.
    pub fn only(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, FieldError> {
        let mut found = self.all(name);
        let first = found.next();
        if found.next().is_some() {
            return Err(FieldError::Repeated);
        }
        Ok(first)
    }

    /// As [`only`](Self::only), for fields that set framing or routing: no white space around the
    /// value but one space before it, because proxies disagree on how it is trimmed.
    pub(super) fn only_exact(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, FieldError> {
        let found = self.only(name)?;
        if self.0.iter().any(|field| field.name == name && field.padded) {
            return Err(FieldError::Padded);
        }
        Ok(found)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|field| &field.name)).finish()
    }
}

/// The name under which a CGI-like upstream cannot tell a field from another: lower case, `_` as `-`.
pub(super) fn folded(name: &str) -> String {
    name.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Whether the text is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    let token_byte = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(token_byte)
}

/// Bytes of `obs-text` (0x80 and up) are refused: no request field needs them, and upstreams differ in
/// how they decode them.
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// The text without spaces and tabs at its ends (RFC 9110 §5.6.3).
pub(super) fn trim_blank(text: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = text.iter().position(|b| !blank(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(String, String, bool), FieldError> {
        let field = Field::parse(&Bytes::copy_from_slice(line.as_bytes()))?;
        let value = field.value.to_str().expect("visible ASCII").to_owned();
        Ok((field.name.to_string(), value, field.padded))
    }

    // case: HTTP-05, HTTP-12
    #[test]
    fn a_field_line_with_two_readings_is_refused() {
        for line in [" a: b", "\ta: b"] {
            assert_eq!(parse(line), Err(FieldError::Folded), "{line:?}");
        }
        for line in [
            "a : b",
            "a\t: b",
            ": b",
            "",
            "a",
            "a(b: c",
            "a b: c",
            "n\u{e4}me: b",
            "a\0: b",
            "\"a\": b",
            "a,b: c",
            "a/b: c",
            "a@b: c",
        ] {
            assert_eq!(parse(line), Err(FieldError::Name), "{line:?}");
        }
        for line in ["a: \0", "a: b\0c", "a: \u{e4}", "a: b\rc", "a: b\nc", "a: \x0bb", "a: b\x7f"] {
            assert_eq!(parse(line), Err(FieldError::Value), "{line:?}");
        }
    }

    #[test]
    fn white_space_around_a_value_is_noticed() {
        let read = |value: &str, padded| Ok(("a".to_owned(), value.to_owned(), padded));
        assert_eq!(parse("A:b"), read("b", false));
        assert_eq!(parse("a: b"), read("b", false));
        assert_eq!(parse("a:"), read("", false));
        assert_eq!(parse("a: "), read("", false));
        assert_eq!(parse("a: b c"), read("b c", false));
        for line in ["a:  b", "a: b ", "a:\tb", "a: b\t", "a:b "] {
            assert_eq!(parse(line), read("b", true), "{line:?}");
        }
    }
}
