//! Keeps the process's memory to itself: no core file, no debugger, no `/proc/<pid>/mem`.

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
    Ok(())
}
