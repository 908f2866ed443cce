//! What a run of faults does and when: a pure function of one seed, which is printed.

use std::time::Duration;

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
        Self::of(seed)
    }

    /// The schedule of a seed.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed for a schedule of its own, such as that of a thread, which draws when it likes.
    pub fn seed(&mut self) -> u64 {
        self.between(0, u64::MAX - 1)
    }

    /// The numbers below `count` in some order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            let other = self.between(0, last as u64);
            order.swap(last, usize::try_from(other).expect("below a count of parts"));
        }
        order
    }

    /// Stops parts one by one until none runs, and releases them in another order.
    pub fn swizzle(&mut self, parts: usize, gap_ms_max: u64) -> Vec<Step> {
        let turns = [(Turn::Stop, self.order(parts)), (Turn::Release, self.order(parts))];
        let mut step =
            |turn, part| Step { after: Duration::from_millis(self.between(0, gap_ms_max)), turn, part };
        let steps =
            turns.into_iter().flat_map(|(turn, order)| order.into_iter().map(move |part| (turn, part)));
        steps.map(|(turn, part)| step(turn, part)).collect()
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

/// One step of a [`Schedule::swizzle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How long to wait before it.
    pub after: Duration,
    /// What is done.
    pub turn: Turn,
    /// To which part.
    pub part: usize,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The part stops.
    Stop,
    /// The part goes on.
    Release,
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

    #[test]
    fn a_swizzle_stops_every_part_once_and_releases_it_once_after_all_have_stopped() {
        let steps = Schedule(7).swizzle(5, 30);
        assert_eq!(steps, Schedule(7).swizzle(5, 30));
        assert_ne!(steps, Schedule(8).swizzle(5, 30));
        assert!(steps.iter().all(|step| step.after <= Duration::from_millis(30)));
        let (stops, releases) = steps.split_at(5);
        for (steps, turn) in [(stops, Turn::Stop), (releases, Turn::Release)] {
            assert!(steps.iter().all(|step| step.turn == turn));
            let mut parts: Vec<usize> = steps.iter().map(|step| step.part).collect();
            parts.sort_unstable();
            assert_eq!(parts, [0, 1, 2, 3, 4]);
        }
    }
}
