//! Processes on this machine: whether one descends from another (`/proc`, Linux).
//!
//! Good against an agent that asks on its own account, not against a process that left its tree on purpose; the
//! runner keeps its orphans for that reason.

/// Most ancestors that are looked at: no sane tree is deeper.
const DEPTH_MAX: usize = 256;

/// A process went while it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// The nearest of these processes that this one is or descends from.
///
/// # Errors
/// [`Gone`] when that cannot be looked up.
pub(crate) fn nearest(pid: u32, these: &[u32]) -> Result<Option<u32>, Gone> {
    if these.is_empty() {
        return Ok(None);
    }
    let mut at = pid;
    for _ in 0..DEPTH_MAX {
        if these.contains(&at) {
            return Ok(Some(at));
        }
        match parent(at) {
            Some(0) => return Ok(None),
            Some(parent) => at = parent,
            None => return Err(Gone),
        }
    }
    Err(Gone)
}

/// The parent of a process: the second field after the name, which is in brackets and may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_descends_from_its_parent_and_not_from_a_stranger() {
        let me = std::process::id();
        let parent = parent(me).expect("this test runs on Linux and has a parent");
        assert_eq!(nearest(me, &[me]), Ok(Some(me)));
        assert_eq!(nearest(me, &[parent]), Ok(Some(parent)));
        assert_eq!(nearest(me, &[parent, me]), Ok(Some(me)), "the nearest");
        assert_eq!(nearest(parent, &[me]), Ok(None));
        assert_eq!(nearest(me, &[]), Ok(None));
        assert_eq!(nearest(u32::MAX, &[me]), Err(Gone), "what cannot be looked up is no stranger");
    }
}
