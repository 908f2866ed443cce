//! The ledger as it is kept: entries in the transaction of their change, then the tree, then the signed head.
//!
//! What an entry, a tile or a checkpoint *is* belongs to the ledger crate; here is where they lie and what must be
//! durable before what.

pub(crate) mod checkpoint; // signing by compare-and-set
pub(crate) mod cosignature; // what witnesses added
pub(crate) mod entries; //    entries: rows and search
pub(crate) mod fork; //       a database that does not continue the outside head
pub(crate) mod head; //       the head kept outside the database
pub(crate) mod tree; //       the integrated part: tiles, root, proofs
pub(crate) mod verify; //     the whole ledger, streamed through the verifier

pub use checkpoint::{SignError, SignedHead};
pub use entries::{ENTRIES_MAX, EntryFilter, StoredEntry};
pub(crate) use fork::find as find_fork;
pub use fork::{Fork, ForkKind};
pub use head::HeadFileError;
pub use tree::{INTEGRATE_MAX, TreeHead};
pub use verify::VerifyAllError;
