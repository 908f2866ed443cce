//! What the whole-system tests and the demonstration stand on: a real HTTPS service that knows one key, the real
//! binary with a state directory of its own, and the search for secrets in every place where none may be.
//!
//! Nothing here decides anything about Accredit; what must hold is said by the tests in `tests/`.

pub mod agent; //   an agent in the test itself, which makes many requests and notes what it was told
pub mod browser; // Chromium, spoken to as its own tools do
pub mod bucket; //  an S3-compatible server with one bucket
pub mod canary; //  secrets that must never show, in every spelling
pub mod collector; // takes traces over OTLP and decodes them
pub mod cosigner; // a running witness
pub mod drill; //   one run of faults and its judgement
pub mod fleet; //   three replicas in a network of their own
pub mod harness; // the real binary, running
pub mod inject; //  faults put into a running process
pub mod journal; // what clients were told, on the disk before it counts
pub mod names; //   host names for upstreams on this machine
pub mod net; //     a network of the test's own, whose weather it makes
pub mod operator; // an operator in the test itself, signed in through the socket
pub mod oracle; //  evidence of a run in, violations of I1 to I10 out
pub mod person; //  somebody with a machine of their own, signed in by a link
pub mod raw; //     upstreams that misbehave, byte by byte
pub mod sample; //  the HTTPS service that accepts one key and nothing else
pub mod shell; //   a shell inside a task, line by line
pub mod tap; //     raw bytes into the gateway, from inside a task
pub mod world; //   an authority with owner, resource, credential, policies and agents
pub mod writers; // clients that write to PostgreSQL and remember what was acknowledged

pub use accredit_tests_pki as pki;
pub use accredit_tests_postgres as postgres;
