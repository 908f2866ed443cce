//! Percentiles of times, and the middle and spread of rounds.

use std::time::Duration;

/// Times of many like things.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn of_ns(ns: Vec<u64>) -> Self {
        Self(ns)
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn into_ns(self) -> Vec<u64> {
        self.0
    }

    /// The time that this share of all stays within, in microseconds. `share` is above 0 and at most 1.
    pub(crate) fn within_us(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(place.saturating_sub(1)).map_or(f64::NAN, |ns| *ns as f64 / 1_000.0)
    }

    /// p50, p99 and the longest, in microseconds.
    pub(crate) fn usual_us(&mut self) -> [f64; 3] {
        [0.5, 0.99, 1.0].map(|share| self.within_us(share))
    }
}

/// The middle of some values; of an even number the lower one of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// How far the values lie apart: largest minus smallest, as a share of the middle.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let (low, high) =
        values.iter().fold((f64::INFINITY, 0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
    (high - low) / median(values)
}

/// A figure with as many digits as mean something.
pub(crate) fn short(value: f64) -> String {
    match value {
        v if !v.is_finite() => "-".to_owned(),
        v if v >= 1_000.0 => thousands(v.round() as u64),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let mut times = Times::default();
        (1..=100).rev().for_each(|us| times.add(Duration::from_micros(us)));
        assert_eq!(times.usual_us(), [50.0, 99.0, 100.0]);
        assert!(Times::default().within_us(0.5).is_nan());
    }

    #[test]
    fn rounds_have_a_middle_and_a_spread() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(spread(&[8.0, 10.0, 12.0]), 0.4);
        assert_eq!(
            ["12,345", "345", "34.5", "3.46", "-"],
            [12345.0, 345.4, 34.54, 3.456, f64::NAN].map(short)
        );
    }
}
