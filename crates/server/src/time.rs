//! Moments as texts (RFC 3339 §5.6): written in UTC with milliseconds, read with any offset.

use accredit_core::time::Timestamp;

const MS_PER_MINUTE: i64 = 60_000;

/// Reads a `date-time`. Fractions beyond milliseconds are cut; a leap second is the one before it.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let fits = text.is_ascii() && (20..=40).contains(&bytes.len());
    let shaped = fits
        && [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')].iter().all(|&(at, b)| bytes[at] == b)
        && matches!(bytes[10], b'T' | b't');
    if !shaped {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    let in_range = (1..=days_in(year, month)?).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let (ms, offset) = fraction_ms(&text[19..])?;
    let offset_minutes = offset_minutes(offset)?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    in_range.then(|| Timestamp::from_ms(seconds * 1_000 + ms - offset_minutes * MS_PER_MINUTE))
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn days_in(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Days from 1970-01-01, counted over years that begin on 1 March, so that a leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (m * 153 + 2) / 5 + day - 1 - 719_468
}

/// Milliseconds of a fraction, and what follows it.
fn fraction_ms(rest: &str) -> Option<(i64, &str)> {
    let Some(digits) = rest.strip_prefix('.') else { return Some((0, rest)) };
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = digits.split_at(end);
    let three: String = digits.chars().chain("000".chars()).take(3).collect();
    if digits.is_empty() { None } else { Some((number(&three)?, rest)) }
}

fn offset_minutes(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_from_its_text() {
        for ms in [
            0,
            -1,
            951_782_400_000,
            951_868_799_999,
            4_107_542_400_000,
            1_795_380_215_042,
            253_402_300_799_999,
        ] {
            let moment = Timestamp::from_ms(ms);
            assert_eq!(parse(&moment.to_string()), Some(moment));
        }
        let offset = parse("2026-11-22T21:43:35.5+01:00").expect("an offset");
        assert_eq!(offset.to_string(), "2026-11-22T20:43:35.500Z");
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T20:43:35",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22 20:43:35Z",
            "2026-11-22T20:43:35.Z",
            "2026-11-22T20:43:35+1:00",
            "2026-11-22T20:43:35ZZ",
            "+026-11-22T20:43:35Z",
            "2026-11-22T20:43:35+24:00",
            "2026-11-22T20:43:35\u{ff3a}",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
