//! What a run of faults does and when: a pure function of one seed, which is printed.

use super::say;

/// Pseudo-random numbers that are a pure function of a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Schedule(u64);

impl Schedule {
    /// The schedule of the seed in `ACCREDIT_FAULT_SEED`, or of a new one; it is printed either way.
    #[must_use]
    pub fn announced(what: &str) -> Self {
        let given = std::env::var("ACCREDIT_FAULT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| crate::journal::now_us().unsigned_abs());
        say(&format!("{what}: ACCREDIT_FAULT_SEED={seed}"));
        Self(seed)
    }

    /// The next number from `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from + (mixed ^ (mixed >> 31)) % (to - from + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_a_function_of_its_seed_and_stays_within_its_bounds() {
        let draw = |seed| {
            let mut schedule = Schedule(seed);
            (0..1_000).map(|_| schedule.between(20, 800)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|ms| (20..=800).contains(ms)));
        assert!(draw(7).iter().any(|ms| *ms < 100) && draw(7).iter().any(|ms| *ms > 700));
    }
}
