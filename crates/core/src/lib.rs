//! The rules of Accredit: what a task may do, who decides it, and what a decision is worth.
//!
//! Pure. No clock, no randomness, no input or output: time, random bytes and every fact are
//! arguments. This crate does not know the ledger (it produces [`event`]s), the database or any
//! protocol beyond the neutral form of an action. It is the only crate that knows Cedar.

// words
pub mod digest; // SHA-256 digests, plain and keyed
pub mod effect; // read, write, delete, execute, admin
pub mod host; // exact hosts, schemes and ports
pub mod text; // bounded texts that people write: purpose, owner, workflow, reason

// who and what
pub mod agent; // registered non-human identities
pub mod credential; // the way into a resource
pub mod operator; // people, their roles and groups
pub mod owner; // people and teams that answer for something
pub mod resource;
pub mod rights; //   who may do what: operations and roles in one table // what is protected, its operations and modes

// authority
pub mod boundary; // what a task may touch: grants with limits
pub mod task; // the unit of authority and its lifecycle
pub mod template; // named boundaries

// deciding
pub mod action; // the protocol-neutral form of one request
pub mod facts; // everything a decision is made from
pub mod policy; // Cedar: schema, sets, slicing, evaluation

pub mod decide; // the one pure function
pub mod decision; // what came out, and what it rests on
pub mod start; // whether a task may start

// what follows
pub mod approval; // requests for a person's answer, and what a grant is worth
pub mod deviation; // signs that an agent does what it does not usually do, and what follows
pub mod event; // what is to be written into the ledger
pub mod record; // Recorded and Permit: proof that the path was walked
pub mod refusal; // refusals that help
pub mod replay; // recorded decisions, made again

pub use accredit_identity::id;
pub use accredit_identity::time;

#[cfg(test)]
mod fixture; // a small world for tests
