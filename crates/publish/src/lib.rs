//! The ledger's files put where anybody can read them: a directory or an S3-compatible object store, at their paths of
//! C2SP tlog-tiles. The heavy client of such stores lives here alone.
//!
//! What the ledger is, and whether what is published continues it, is the authority's to say; here it is copied.

mod plan; // which files one checkpoint needs beyond those of an earlier one

mod connect; // HTTPS to an object store, without redirects

pub mod target; // a place and what can be put there

pub mod publisher; // the job: files first, the checkpoint last

pub use publisher::publish;
pub use target::{Keys, OpenError, Place, PlaceError, PutError, Target};
