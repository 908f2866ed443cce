//! Time and randomness: what the rules take as arguments comes from here and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};

use accredit_core::time::Timestamp;

/// The wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// The instant it is, in whole milliseconds. Before 1970 it is 1970.
    #[must_use]
    pub fn now(self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Random bytes of the cryptographic library.
pub(crate) fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .expect("the operating system gives randomness or the process must not go on");
    bytes
}
