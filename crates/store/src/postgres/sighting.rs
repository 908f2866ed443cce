//! What another replica renews for as long as it is there, as this one sees it: since when it has not changed, by this
//! replica's own clock.

use std::time::{Duration, Instant};

/// A row that its owner renews, with a mark that is another one each time.
#[derive(Debug)]
pub(crate) struct Sighting {
    mark: String,
    /// When it was first seen so: no earlier than it was renewed.
    since: Instant,
    unchanged: Duration,
}

impl Sighting {
    /// A row that was just read for the first time.
    pub(crate) fn of(mark: &str) -> Self {
        Self { mark: mark.to_owned(), since: Instant::now(), unchanged: Duration::ZERO }
    }

    /// The row was read again, and was asked for at `asked`. Gives for how long it has at least not been renewed.
    pub(crate) fn again(&mut self, mark: &str, asked: Instant) -> Duration {
        if self.mark == mark {
            self.unchanged = self.unchanged.max(asked.saturating_duration_since(self.since));
        } else {
            *self = Self::of(mark);
        }
        self.unchanged
    }

    /// For how long it had at least not been renewed when it was last read.
    pub(crate) const fn unchanged(&self) -> Duration {
        self.unchanged
    }

    /// As what it was last read.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_between_the_first_answer_and_the_last_question_counts() {
        let asked_before = Instant::now();
        let mut sighting = Sighting::of("7");
        assert_eq!(sighting.again("7", asked_before), Duration::ZERO, "it was asked for before it was seen");
        let later = Instant::now() + Duration::from_secs(5);
        assert!(sighting.again("7", later) > Duration::from_secs(4));
        assert!(sighting.unchanged() > Duration::from_secs(4));
        // An answer that was overtaken by another one makes it no older.
        assert!(sighting.again("7", asked_before) > Duration::from_secs(4));
        assert_eq!(sighting.again("8", later), Duration::ZERO);
        assert_eq!((sighting.unchanged(), sighting.mark()), (Duration::ZERO, "8"));
    }
}
