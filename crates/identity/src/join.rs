//! One-time join token: exchanged once, at once, for a registered key.
//!
//! That it is used once is for the store to guarantee, in one conditional write.

pub use crate::one_time::NotOneTime;
use crate::one_time::one_time;

one_time! {
    /// What an operator gives to a new agent.
    JoinToken = "accredit_join_";
    /// SHA-256 of a join token.
    JoinTokenDigest;
}
