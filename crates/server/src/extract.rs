//! What a request carries, read strictly: one JSON body of a known shape, known query parameters.
//!
//! Errors name the place and never repeat a value: a body may hold a secret.

use std::time::Duration;

use accredit_api::form::{NAME_CURSOR_CHARS_MAX, PLACE_DIGITS_MAX};
use accredit_api::page::{PAGE_DEFAULT, PAGE_MAX, Page};
use accredit_core::text::TextError;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::problem::Failure;

/// Longest request body, in bytes: a whole policy set fits, and a thousand of them in memory do no harm.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a client may take for its body: a megabyte over a slow line.
const BODY_WITHIN: Duration = Duration::from_secs(20);
/// What is said of a cursor that cannot have come from here.
const NOT_GIVEN: &str = "not one that this list gave";
/// Most bytes of a field name that an error repeats.
const NAME_BYTES_SHOWN: usize = 64;

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Failure> {
        if !is_json(&request) {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be sent as `application/json`",
            ));
        }
        let bytes = bytes_of(request, BODY_BYTES_MAX).await?;
        read_object(&bytes).map(Self).map_err(|e| malformed(&e))
    }
}

/// The whole body, within a bound and in time.
pub(crate) async fn bytes_of(request: Request<Body>, most: usize) -> Result<Bytes, Failure> {
    let body = Limited::new(request.into_body(), most);
    let read = tokio::time::timeout(BODY_WITHIN, body.collect())
        .await
        .map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body took too long"))?;
    Ok(read.map_err(|e| unread(&*e, most))?.to_bytes())
}

fn read_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let found = accredit_api::strict::object(&mut from)?;
    from.end().map(|()| found)
}

fn is_json(request: &Request<Body>) -> bool {
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let text = only.to_str().unwrap_or("").to_ascii_lowercase();
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    essence.trim() == "application/json" && matches!(parameters.trim(), "" | "charset=utf-8")
}

fn unread(error: &(dyn std::error::Error + 'static), most: usize) -> Failure {
    if error.is::<LengthLimitError>() {
        let detail = format!("the body is longer than {most} bytes");
        return Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail);
    }
    Failure::new(StatusCode::BAD_REQUEST, "body_unreadable", "the body ended before its end")
}

/// The place and the sort of the mistake. Names of fields are repeated, values are not.
fn malformed(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let about_a_name =
        ["unknown field `", "missing field `", "duplicate field `"].iter().any(|p| text.starts_with(p));
    let why = match text.split_once('`').and_then(|(said, rest)| Some((said, rest.split_once('`')?.0))) {
        Some((said, name)) if about_a_name => {
            let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_BYTES_SHOWN).collect();
            format!("{said}`{name}`")
        }
        _ if error.is_data() => "a value is not of the form that its field has".to_owned(),
        _ => "the body is not JSON".to_owned(),
    };
    let detail = format!("{why}, at line {} column {}", error.line(), error.column());
    Failure::new(StatusCode::BAD_REQUEST, "invalid_body", detail).next("Compare with `/openapi.json`.")
}

/// Query parameters.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(params)| Self(params)).map_err(|_| {
            Failure::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                "a query parameter is unknown, stands twice or is not of its form",
            )
            .next("Compare with `/openapi.json`.")
        })
    }
}

/// How many items a page has.
pub(crate) fn page_size(limit: Option<u32>) -> Result<usize, Failure> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        n @ 1..=PAGE_MAX => Ok(n as usize),
        _ => Err(Failure::field("limit", format!("expected 1 to {PAGE_MAX}"))),
    }
}

/// A number as a cursor.
pub(crate) fn number_cursor(cursor: Option<&str>) -> Result<Option<u64>, Failure> {
    let short = |text: &str| text.len() <= PLACE_DIGITS_MAX;
    let plain = |text: &str| text.parse::<u64>().ok().filter(|n| short(text) && n.to_string() == text);
    match cursor {
        None => Ok(None),
        Some(text) => plain(text).map(Some).ok_or_else(|| Failure::field("cursor", NOT_GIVEN)),
    }
}

/// A page cut from items that are sorted by their names, after the cursor.
pub(crate) fn page_by_name<T>(
    items: Vec<T>,
    name: impl Fn(&T) -> &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<T>, Failure> {
    if cursor.is_some_and(|after| !may_be_a_name(after)) {
        return Err(Failure::field("cursor", NOT_GIVEN));
    }
    let mut rest = items.into_iter().filter(|item| cursor.is_none_or(|after| name(item) > after));
    let items: Vec<T> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let next = items.last().filter(|_| more).map(|last| name(last).to_owned());
    Ok(Page { items, next })
}

/// Whether a text is spelled as names and owners are.
fn may_be_a_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._:@+-".contains(&b);
    (1..=NAME_CURSOR_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Parses a word such as `action.decided` that entries are searched for.
pub(crate) fn word_opt(
    field: &'static str,
    text: Option<String>,
    chars_max: usize,
) -> Result<Option<String>, Failure> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match text {
        Some(text) if text.len() > chars_max || !text.split('.').all(plain) => Err(Failure::field(
            field,
            format!("expected at most {chars_max} lower-case letters, `_` and `.`"),
        )),
        text => Ok(text),
    }
}

/// Seconds since 1970 of an RFC 3339 text as a moment.
pub(crate) fn moment(field: &'static str, text: &str) -> Result<accredit_core::time::Timestamp, Failure> {
    crate::time::parse(text)
        .ok_or_else(|| Failure::field(field, "expected RFC 3339 such as `2027-03-31T12:00:00Z`"))
}

/// Parses a field into its strict type.
pub(crate) fn parsed<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, Failure>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e| Failure::field(field, e))
}

/// Parses a field that may be absent.
pub(crate) fn parsed_opt<T: std::str::FromStr>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Failure>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| parsed(field, text)).transpose()
}

/// Parses a text that a person writes. The description counts characters and the bound counts bytes, so a text can be
/// of its form and too long.
pub(crate) fn line<T: std::str::FromStr<Err = TextError>>(
    field: &'static str,
    text: &str,
) -> Result<T, Failure> {
    text.parse().map_err(|e| match &e {
        TextError::TooLong { max, .. } if text.chars().count() <= *max => Failure::unusable(field, e),
        _ => Failure::field(field, e),
    })
}

/// Parses a text that a person writes, which may be absent.
pub(crate) fn line_opt<T: std::str::FromStr<Err = TextError>>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Failure> {
    text.map(|text| line(field, text)).transpose()
}

/// A field that may be absent, once it is known to be of its type.
pub(crate) fn canonical<T>(field: &'static str, text: Option<&str>) -> Result<Option<String>, Failure>
where
    T: std::str::FromStr + std::fmt::Display,
    T::Err: std::fmt::Display,
{
    Ok(parsed_opt::<T>(field, text)?.map(|found| found.to_string()))
}

/// Parses a name or an id in a path. What cannot be one is not there, in the same words.
pub(crate) fn in_path<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::not_found(what))
}

#[cfg(test)]
mod tests {
    use accredit_api::credential::SetSecret;

    use super::*;

    // case: SEC-02, SEC-19
    #[test]
    fn an_error_about_a_body_repeats_no_value() {
        for body in [
            "\"canary-7f\"",
            "[\"canary-7f\"]",
            "{\"value\":[\"canary-7f\"]}",
            "{\"value\":\"x\"} canary-7f",
            "{\"value\": canary-7f}",
        ] {
            let error = read_object::<SetSecret>(body.as_bytes()).expect_err(body);
            assert!(!malformed(&error).body_text().contains("canary"), "{body}");
        }
        let error = serde_json::from_str::<SetSecret>("{\"velue\":\"x\"}").expect_err("a typo");
        assert!(malformed(&error).body_text().contains("unknown field `velue`"));
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let names = || ["a", "b", "c"].map(str::to_owned).to_vec();
        let first = page_by_name(names(), String::as_str, None, 2).expect("a page");
        assert_eq!((first.items.len(), first.next.as_deref()), (2, Some("b")));
        let second = page_by_name(names(), String::as_str, first.next.as_deref(), 2).expect("a page");
        assert_eq!((second.items, second.next), (vec!["c".to_owned()], None));
    }

    #[test]
    fn a_cursor_that_no_list_gives_is_refused() {
        let long = "a".repeat(NAME_CURSOR_CHARS_MAX + 1);
        for bad in ["", "A", "a b", "a/b", long.as_str()] {
            assert!(page_by_name(vec!["a".to_owned()], String::as_str, Some(bad), 2).is_err(), "{bad}");
        }
        for bad in ["", "-1", "+1", "01", "1.0", "1000000000000000"] {
            assert!(number_cursor(Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(number_cursor(Some("999999999999999")).ok(), Some(Some(999_999_999_999_999)));
    }
}
