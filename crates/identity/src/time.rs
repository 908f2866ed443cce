//! A moment, as an argument: milliseconds since 1970-01-01T00:00:00Z.
//!
//! Not a clock: nothing here asks what time it is.

use std::fmt;

use serde::{Deserialize, Serialize};

const MS_PER_S: i64 = 1_000;
const S_PER_DAY: i64 = 86_400;

/// A moment in milliseconds since 1970-01-01T00:00:00Z, without leap seconds; an integer in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `ms` milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// The moment `seconds` after 1970-01-01T00:00:00Z (`NumericDate`, RFC 7519 §2); `None` when it does
    /// not fit.
    #[must_use]
    pub const fn from_s(seconds: i64) -> Option<Self> {
        match seconds.checked_mul(MS_PER_S) {
            Some(ms) => Some(Self(ms)),
            None => None,
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_s(self) -> i64 {
        self.0.div_euclid(MS_PER_S)
    }

    /// The moment `ms` later (earlier when negative); stays at the first or last moment there is.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative when this moment is the earlier one.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-22T20:43:35.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.as_s();
        let (year, month, day) = civil(seconds.div_euclid(S_PER_DAY));
        let of_day = seconds.rem_euclid(S_PER_DAY);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        let ms = self.0.rem_euclid(MS_PER_S);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// Year, month and day of a day number (0 = 1970-01-01) in the proleptic Gregorian calendar.
///
/// Counted in eras of 400 years (146,097 days) whose years start on 1 March, so that the leap day is
/// the last day of a year.
fn civil(day_number: i64) -> (i64, i64, i64) {
    let from_march_0000 = day_number + 719_468;
    let era = from_march_0000.div_euclid(146_097);
    let day_of_era = from_march_0000.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_795_380_215_042, "2026-11-22T20:43:35.042Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_ms(ms).to_string(), text);
        }
    }

    #[test]
    fn the_ends_of_time_neither_wrap_nor_panic() {
        for ms in [i64::MIN, i64::MAX] {
            assert!(Timestamp::from_ms(ms).to_string().ends_with('Z'));
        }
        assert_eq!(Timestamp::from_ms(i64::MAX).plus_ms(1).as_ms(), i64::MAX);
        assert_eq!(Timestamp::from_s(i64::MAX), None);
        assert_eq!(Timestamp::from_ms(-1).as_s(), -1);
    }

    #[test]
    fn a_moment_is_an_integer_in_json() {
        assert_eq!(serde_json::to_string(&Timestamp::from_ms(1_500)).expect("an integer"), "1500");
        assert!(serde_json::from_str::<Timestamp>("1.5").is_err());
    }
}
