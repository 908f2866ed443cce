//! Durations as people write them: a whole number and one unit.

/// Units and their length in seconds.
const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

/// Parses `90s`, `15m`, `4h` or `7d` into seconds; zero is no duration.
///
/// # Errors
/// One sentence that says what is expected.
pub(crate) fn parse_s(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a duration: write a number and a unit, as in 90s, 15m, 4h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let (_, factor) = UNITS.into_iter().find(|(u, _)| *u == unit).ok_or_else(wrong)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|n| plain && *n > 0).ok_or_else(wrong)?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// Seconds in the two largest units that say something: `1h 30m`, `41m`, `12s`.
pub(crate) fn show_s(seconds: u64) -> String {
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in UNITS.into_iter().rev() {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, seconds, shown) in
            [("90s", 90, "1m 30s"), ("15m", 900, "15m"), ("4h", 14_400, "4h"), ("7d", 604_800, "7d")]
        {
            assert_eq!(parse_s(text), Ok(seconds), "{text}");
            assert_eq!(show_s(seconds), shown);
        }
        assert_eq!(show_s(0), "0s");
        for wrong in ["", "0s", "4", "h", "-1h", "+1h", "1.5h", "4 h", "1w", "99999999999999999999s", "1é"] {
            assert!(parse_s(wrong).is_err(), "{wrong:?}");
        }
    }
}
