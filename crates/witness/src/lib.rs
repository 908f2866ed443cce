//! Witnesses (C2SP tlog-witness): the tiny server that cosigns other installations' checkpoints, and the client that
//! asks such a server.
//!
//! What a witness may cosign is decided in `accredit-ledger`; here it is kept in files and travels over HTTP. A witness
//! shares nothing with an authority: own directory, own key, no database.

// --- Being a witness.

mod key; // the secret key in its file

mod logs; // the keys of the logs that are cosigned for

mod book; // the checkpoint cosigned last of each log: compare-and-set on files

pub mod witness; // a request in, an answer out

pub mod serve; // over HTTP

// --- Asking one.

pub mod client;

pub use book::BookError;
pub use client::{Answer, AskError, WitnessClient, WitnessUrlError};
pub use key::KeyFileError;
pub use logs::LogsError;
pub use serve::serve;
pub use witness::{OpenError, Reply, Witness};
