//! The rules of the tamper-evident ledger: what an entry is, how entries become a Merkle tree, how its
//! head is signed, and how anyone checks all of it without us.
//!
//! Pure: nothing here reads a file, a clock, the network or randomness. Storage hands bytes in and takes
//! bytes out; time and keys are arguments. One file per specification, so that each can be read beside it.

// --- What is recorded.

pub mod canonical; // RFC 8785: one spelling per JSON value

pub mod text; // texts from outside made safe to store and to show

pub mod kind; // the allow-list: which kinds of entry there are and which fields each has

pub mod entry; // one ledger record, and its only encoding

// --- How records become a tree.

pub mod hash; // RFC 6962 §2.1: leaf and node hashes

pub mod tile; // C2SP tlog-tiles: where hashes and entries are kept

pub mod tree; // RFC 6962 §2.1: appending, roots and proofs over tiles

// --- How its head is signed and kept.

pub mod note; // C2SP signed-note with Ed25519

pub mod checkpoint; // C2SP tlog-checkpoint: the signed head

pub mod cosignature; // C2SP tlog-cosignature: what a witness adds to it

pub mod witness; // C2SP tlog-witness: whether a head follows the one cosigned before

pub mod head; // the head kept outside the database

// --- How anyone checks it.

pub mod audit_path; // RFC 9162 §2.1.3.2, §2.1.4.2: checking proofs

pub mod proof; // C2SP tlog-proof: one entry's evidence in one file

pub mod verify; // the whole ledger from the first entry to the head

mod diagnose; // what was done to an entry that does not match its leaf

#[doc(hidden)]
pub mod vectors; // test vectors for any implementation, generated from this one

pub use entry::{EncodedEntry, Entry, EntryError};
pub use hash::Hash;
