//! Faults that are put into a real process on one machine: failing and slow flushes, a full disk, a clock that jumps.
//! Each counts how often it took effect: a fault that never fired has tested nothing.

mod clock;
mod disk;
mod flushes;
mod schedule;

use std::io::Write as _;

pub use clock::ClockShift;
pub use disk::SmallDisk;
pub use flushes::{FlushFault, Flushes};
pub use schedule::Schedule;

/// Says something to whoever runs the faults by hand: seeds, and how often a fault struck.
pub fn say(text: &str) {
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
