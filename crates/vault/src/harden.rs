//! Keeps the process's memory to itself: no core file, no debugger, no `/proc/<pid>/mem`, and nothing of what was
//! handled in the message of a panic.

use std::io::Write as _;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Why the process could not be hardened.
#[derive(Debug, thiserror::Error)]
#[error("the process could not be protected against being read or dumped: {0}")]
pub struct HardenError(#[from] rustix::io::Errno);

/// Makes the process undumpable: no core files whatever the limit says, and no other process of
/// the same user can attach to it or read its memory. To be called first thing.
///
/// # Errors
/// [`HardenError`]: the caller must not go on to handle secrets.
pub fn harden() -> Result<(), HardenError> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    quiet_panics();
    Ok(())
}

/// Lets a panic say where it happened and nothing else: its message can quote the value that was being handled, as
/// that of a slice across a character does. A panic ends the connection that it happened on, and no other.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if tracing::dispatcher::has_been_set() {
            tracing::error!(
                place,
                "a defect of this program ended what it was doing; please report the place"
            );
        } else {
            // Nobody may be left to read it.
            let _ =
                writeln!(std::io::stderr(), "a defect of this program, at {place}; please report the place");
        }
    }));
}
