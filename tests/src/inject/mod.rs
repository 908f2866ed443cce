//! Faults that are put into real processes on one machine: failing and slow flushes, a full disk, a clock that jumps, a
//! pause. What happens to the network between them is in `net`.
//!
//! Each counts how often it took effect: a fault that never fired has tested nothing.

mod clock;
mod disk;
mod flushes;
mod pause;
mod schedule;

use std::io::Write as _;

pub use clock::ClockShift;
pub use disk::{PowerDisk, SmallDisk};
pub use flushes::{FlushFault, Flushes};
pub use pause::Pause;
pub use schedule::{Schedule, Step, Turn};

/// Says something to whoever runs the faults by hand: seeds, and how often a fault struck.
pub fn say(text: &str) {
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Gives the count back.
///
/// # Panics
/// When it is zero: a fault that never fired has tested nothing.
#[track_caller]
pub fn must_have_struck(what: &str, count: u64) -> u64 {
    assert!(count > 0, "the fault never struck: {what}");
    count
}
