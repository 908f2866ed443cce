//! Durable state, in SQLite or PostgreSQL. One transaction is a change and its ledger entry: neither exists without the other.
//!
//! Threads of their own write, in groups; everybody else reads. A decision is recorded only if nothing it rests on has changed since
//! its facts were read, and that write is where a revocation and a use are put in order. This crate holds no
//! rules, no secrets in clear, and knows nothing of protocols; it is the only one that speaks SQL.

mod error; // what can go wrong, one enum per operation
mod store; // opening, changing, reading, recording

mod snapshot; // the facts of one decision, kept until something changes
mod stamp; //    which version of which subject was read
mod usage; //    what tasks have used, as snapshots see it

mod once; //   what may be used once, by whichever replica
mod record; // a decision and its outcome become durable

mod tx; //   changing: a part of one transaction
mod view; // reading one moment of the database

mod entity; // what is kept of each sort of thing
mod ledger; // entries, tree, checkpoints, head, verification

pub mod copy; // backup, restore, the move to a server

mod batch; //  one transaction in the making
mod change; // a use case's code inside the transaction
mod queue; //  what waits for the writer
mod shared; // what the writer and everybody else look at together
mod writer; // the thread that commits

mod postgres; // the database that replicas share
mod scope; //    on whose behalf
mod sql; //      one way of asking either database
mod sqlite; //   the database in a file
mod stats; //    figures for metrics

#[cfg(test)]
mod fault; // disks that fill up and flushes that fail
#[cfg(test)]
extern crate self as accredit_store; // the world of the tests speaks of the crate by its name

pub use entity::{
    AgentKey, FINDINGS_MAX, FindingFilter, JoinToken, OperatorLink, OperatorSession, PolicySetRow,
    REQUESTS_MAX, RequestFilter, RequestStatus, SealedValue, SigningKeyRow, TASKS_MAX, TaskFilter,
    TaskStatus, Transport, Watched,
};
pub use error::{Cause, ChangeError, FactsError, RecordError, StoreError};
pub use ledger::{
    ENTRIES_MAX, EntryFilter, Fork, ForkKind, HeadFileError, INTEGRATE_MAX, SignError, SignedHead,
    StoredEntry, TreeHead, VerifyAllError,
};
pub use postgres::{Address, AddressError, Cut, CutOrder, Lost, STALE_AFTER, SchemaError, prepare};
pub use record::Settled;
pub use scope::Scope;
pub use snapshot::{SNAPSHOTS_MAX, Snapshot};
pub use sqlite::MigrateError;
pub use stamp::Stamp;
pub use stats::{COMMIT_BOUNDS_US, StoreStats};
pub use store::{OpenError, SharedConfig, Store, StoreConfig};
pub use tx::Tx;
pub use view::View;
pub use writer::Health;
