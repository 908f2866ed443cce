//! A client of the control plane: HTTP/1.1 over the local Unix socket, or over TCP and TLS. It speaks the wire types of
//! `accredit-api`, keeps no state and decides nothing; sessions and keys belong to its caller.

mod client;
mod connect; //   Unix socket, TCP, TLS
pub mod error; // whose doing it was that a call failed
mod lines; //     answers that arrive line by line
mod query; //     query strings from the query types
pub mod routes; // every path of the control plane, in one list //    one call: request, bounds, answer

pub use client::{Auth, Client, Raw};
pub use connect::{Connection, Server, ServerError};
pub use error::CallError;
pub use lines::{LINE_BYTES_MAX, Lines};
