//! Figures of the data plane: the gateways count, the metrics page shows. Counters and histograms
//! without names of tenants, agents or hosts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets, in microseconds.
pub const BUCKETS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000];

/// A histogram of durations.
#[derive(Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Adds a duration.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BUCKETS_US.iter().position(|bound| us <= *bound).unwrap_or(BUCKETS_US.len());
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Counts per bucket (not cumulative; the last is everything above), and the sum in microseconds.
    #[must_use]
    pub fn read(&self) -> (Vec<u64>, u64) {
        let counts = self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        (counts, self.sum_us.load(Ordering::Relaxed))
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// All figures.
        #[derive(Default)]
        pub struct Traffic {
            $($(#[$doc])* pub $name: AtomicU64,)*
            /// From the head of a request to its recorded decision.
            pub decide: Histogram,
            /// From the recorded decision to the upstream's response head.
            pub upstream: Histogram,
        }
    };
}

counters! {
    /// Requests with a head that was understood.
    requests;
    /// Requests that were let out.
    allowed;
    /// Requests that were refused by a decision.
    refused;
    /// Requests that could not be decided or recorded.
    faults;
    /// Bytes that were not a request.
    malformed;
    /// Exchanges with an upstream that broke.
    broken;
    /// Actions cut because their task ended or a bound was reached.
    cut;
    /// Occurrences of a secret in responses that were overwritten.
    scrubbed;
    /// Reports of actions that nobody had room for.
    untold;
}

impl Traffic {
    /// Counts one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
