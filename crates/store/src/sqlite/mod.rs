//! The database in a file: SQLite, one process, one writer.

mod connection; // how the file is opened
mod database; //   as the writer uses it
mod migrate; //    the schema and its history

pub(crate) use connection::{Pool, create_file, lock, open_existing, open_writer};
pub(crate) use database::Sqlite;
pub use migrate::MigrateError;
pub(crate) use migrate::migrate;
