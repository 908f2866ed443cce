//! Real PostgreSQL for tests: a cluster of the test's own, with TLS, a standby that can be promoted, a fresh database
//! for each test, and nothing left on the machine when the test has ended, however it ended.
//!
//! It knows nothing about Accredit, so that every crate can use it in its tests. Calls block, and may be made from
//! inside an async runtime: administration goes through `psql`.

pub mod cluster; //     a server with roles and databases, of one test or shared by all
pub mod database; //    one database of one test, and how to reach it
pub mod home; //        a directory that goes with its test, and everything that was started from it
pub mod programs; //    where PostgreSQL's programs are, and as whom they run
pub mod server; //      one data directory and the process on it: start, stop, kill, pause
pub mod standby; //     a second server that follows the first, and may take its place

pub use cluster::{Cluster, Options};
pub use database::{Database, Role};
pub use home::Home;
pub use server::{Server, Stop};
pub use standby::Standby;
