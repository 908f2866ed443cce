//! Processes on this machine: whether one descends from another (`/proc`, Linux).
//!
//! Good against an agent that asks on its own account, not against a process that left its tree on purpose; the
//! runner keeps its orphans for that reason.

/// Most ancestors that are looked at: no sane tree is deeper.
const DEPTH_MAX: usize = 256;

/// Whether the process is one of these or descends from one. What cannot be looked up counts as inside.
pub(crate) fn within(pid: u32, these: &[u32]) -> bool {
    if these.is_empty() {
        return false;
    }
    let mut at = pid;
    for _ in 0..DEPTH_MAX {
        if these.contains(&at) {
            return true;
        }
        match parent(at) {
            Some(0) => return false,
            Some(parent) => at = parent,
            None => return true,
        }
    }
    true
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
        assert!(within(me, &[me]) && within(me, &[parent]));
        assert!(!within(parent, &[me]));
        assert!(!within(me, &[]));
        assert!(within(u32::MAX, &[me]), "what cannot be looked up counts as inside");
    }
}
