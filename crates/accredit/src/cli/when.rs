//! Moments as people write them, and as they are shown.

use jiff::{Timestamp, ToSpan as _};

use crate::config::duration;
use crate::failure::Failure;

/// Parses `7d`, `2h` (that long ago) or RFC 3339 into RFC 3339 in UTC.
///
/// # Errors
/// A usage failure that names the flag.
pub(crate) fn parse(flag: &str, text: &str) -> Result<String, Failure> {
    parse_at(text, Timestamp::now()).ok_or_else(|| {
        Failure::usage(
            format!("`{flag}` was not understood"),
            format!("`{text}` is neither how long ago (30m, 2h, 7d) nor a moment (2026-11-22T09:00:00Z)"),
        )
    })
}

/// As [`parse`], for a flag that may be absent.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_opt(flag: &str, text: Option<&str>) -> Result<Option<String>, Failure> {
    text.map(|text| parse(flag, text)).transpose()
}

fn parse_at(text: &str, now: Timestamp) -> Option<String> {
    if let Ok(seconds) = duration::parse_s(text) {
        let past = now.checked_sub(i64::try_from(seconds).ok()?.seconds()).ok()?;
        return Some(whole(past));
    }
    let date = text.parse::<jiff::civil::Date>().ok().filter(|_| !text.contains('T'));
    if let Some(date) = date {
        return Some(whole(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()));
    }
    text.parse::<Timestamp>().ok().map(whole)
}

/// RFC 3339 in whole seconds.
fn whole(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// A moment of the wire for a table: to the second, without `T` and `Z`, which is UTC.
pub(crate) fn show(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(
        |_| text.to_owned(),
        |at| whole(at).replacen('T', " ", 1).trim_end_matches('Z').to_owned(),
    )
}

/// How long it is until a moment of the wire, such as `in 4m 10s`.
pub(crate) fn until(text: &str) -> String {
    let Ok(at) = text.parse::<Timestamp>() else { return text.to_owned() };
    match u64::try_from(at.as_second() - Timestamp::now().as_second()) {
        Ok(seconds) => format!("in {}", duration::show_s(seconds)),
        Err(_) => "over".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_three_forms() {
        let now: Timestamp = "2026-11-22T09:30:00.25Z".parse().expect("a moment");
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse_at(text, now).as_deref(), expected, "{text}")
        };
        check("30m", Some("2026-11-22T09:00:00Z"));
        check("7d", Some("2026-11-15T09:30:00Z"));
        check("2026-11-01", Some("2026-11-01T00:00:00Z"));
        check("2026-11-01T12:00:00+02:00", Some("2026-11-01T10:00:00Z"));
        check("yesterday", None);
        assert_eq!(show("2026-11-22T09:30:00.250Z"), "2026-11-22 09:30:00");
    }
}
