//! The ledger of a copy, recomputed from its entries: places without gaps, the root of its head, and each checkpoint a prefix
//! of it. Who signed the checkpoints is for a verifier with the key to say (`accredit audit verify`).

use accredit_ledger::hash::{Hash, leaf_hash};
use accredit_ledger::tree::RightEdge;

use super::{Copied, CopyError, Progress};
use crate::error::StoreError;
use crate::view::View;

/// Rows fetched at a time: bounds memory at some 32 MB even for the longest entries.
const ROWS: usize = 512;

/// Recomputes everything. `progress` is told now and then.
pub(super) fn check(view: &View<'_>, progress: &dyn Fn(Progress)) -> Result<Copied, CopyError> {
    let head = view.tree_head()?;
    let mut checkpoints = Checkpoints::new(view)?;
    let mut edge = RightEdge::empty();
    let mut entries = 0;
    loop {
        let page = view.entries_from(entries, ROWS)?;
        if page.is_empty() {
            break;
        }
        for entry in &page {
            if entry.seq != entries {
                return Err(CopyError::NotWhole(format!("entry {entries} is missing")));
            }
            entries += 1;
            if entries <= head.size {
                edge.push(leaf_hash(&entry.bytes), |_, _| ());
                checkpoints.passing(&edge)?;
            }
        }
        progress(Progress::Checked(entries, head.size.max(entries)));
    }
    if edge.size() != head.size {
        let (have, wanted) = (edge.size(), head.size);
        return Err(CopyError::NotWhole(format!("it has {have} entries, its head has {wanted}")));
    }
    if edge.root() != head.root {
        return Err(CopyError::NotWhole(format!(
            "its {} entries have another root than its head",
            head.size
        )));
    }
    if let Some((size, _)) = checkpoints.next {
        return Err(CopyError::NotWhole(format!(
            "a checkpoint has {size} entries, its head has {}",
            head.size
        )));
    }
    Ok(Copied { entries, size: head.size, root: head.root.to_base64(), taken_at: None })
}

/// Checkpoints in their order, each compared when the tree has its size.
struct Checkpoints<'v, 'c> {
    view: &'v View<'c>,
    next: Option<(u64, Vec<u8>)>,
}

impl<'v, 'c> Checkpoints<'v, 'c> {
    fn new(view: &'v View<'c>) -> Result<Self, StoreError> {
        Ok(Self { view, next: after(view, 0)? })
    }

    fn passing(&mut self, edge: &RightEdge) -> Result<(), CopyError> {
        let Some((size, root)) = &self.next else { return Ok(()) };
        if *size != edge.size() {
            return Ok(());
        }
        if Hash::from_slice(root) != Some(edge.root()) {
            return Err(CopyError::NotWhole(format!("the checkpoint of {size} entries has another root")));
        }
        self.next = after(self.view, *size)?;
        Ok(())
    }
}

/// The first checkpoint that is larger.
fn after(view: &View<'_>, size: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    let sql = "SELECT size, root FROM checkpoint WHERE size > ?1 ORDER BY size LIMIT 1";
    view.row(sql, [size], |row| Ok((row.get(0)?, row.get(1)?)))
}
