//! HTTP/1.1: the agent's bytes become one strict form, and what goes upstream is built from that form.
//!
//! These files hold the protocol and no permission: they neither decide, nor know tasks, nor open
//! secrets. Only [`body`], [`respond`] and [`scrub`] keep state, and none of them does I/O.

pub mod address;
pub mod body; //     the request body out of its framing
pub mod fields; //   field lines: tokens and visible ASCII
pub mod framing; //  how long a body is
pub mod head; //     the request head: incremental, bounded, strict
pub mod host; //     one host, one spelling; scheme and authority
pub mod method; //   methods and versions
pub mod path; //     path and query with one reading
pub mod rebuild; //  the request that goes upstream, and injection
pub mod respond;
pub mod response; // an upstream's response head, as the agent may see it
pub mod scrub; //    secrets out of what upstreams send back, streaming
pub mod target; //   the forms of a request target //  which addresses may be dialled //  responses written to the agent
