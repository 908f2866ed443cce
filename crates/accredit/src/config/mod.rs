//! Configuration that people write: the server's `accredit.toml` and a repository's `.accredit.toml`.
//!
//! Read strictly: an unknown key is an error that names the nearest known one, a value is parsed into its final type
//! at once, and every error names file, line and field. Defaults are in the types, not in the readers.

pub(crate) mod deviation; //  signs of deviation, and what follows
pub(crate) mod document; //   one TOML file, read key by key
pub(crate) mod duration; //   `90s`, `15m`, `4h`, `7d`
mod nearest; //               which known word a misspelt one is nearest to
pub(crate) mod paths; //      where state, configuration and socket are
pub(crate) mod people; //     the OpenID provider through which people sign in
pub(crate) mod project; //    `.accredit.toml` of a repository
pub(crate) mod publish; //    where the ledger is published
pub(crate) mod references; // `${env:}` and `${file:}`; literals that look like a secret
pub(crate) mod server; //     `accredit.toml` of a server
