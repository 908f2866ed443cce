//! How an operator signs in: a one-time link code, exchanged for a session secret.
//!
//! Formats only; lifetimes, single use and roles are kept elsewhere.

pub use crate::one_time::NotOneTime;
use crate::one_time::one_time;

one_time! {
    /// The code in a sign-in link; used once.
    LinkCode = "accredit_link_";
    /// SHA-256 of a link code.
    LinkCodeDigest;
}

one_time! {
    /// The secret in an operator's session cookie or command-line credential file.
    SessionSecret = "accredit_session_";
    /// SHA-256 of a session secret.
    SessionSecretDigest;
}
