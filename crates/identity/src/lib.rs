//! Proofs in, a [`caller::Caller`] out; nothing else.
//!
//! Pure: keys, the time, random bytes and the answer to "was this proof seen before" are arguments.
//! This crate says *who* is asking. What they may do is decided elsewhere, from current facts; what
//! a token claims about authority is never read here.

// words
pub mod id; // names and ids of the field
pub mod spiffe; // SPIFFE ID: tenant, environment, kind and name of an agent
pub mod time; // milliseconds since 1970, as an argument

// signed texts
mod json; // strict JSON: no duplicate keys, bounded depth
pub mod jws; // strict compact JWS (RFC 7515)
pub mod key; // public keys, thumbprints (RFC 7638), signing keys
pub mod key_set; // our own token keys and their rotation

// proofs
pub mod assertion; // private_key_jwt (RFC 7523, RFC 10070)
pub mod dpop; // proof of possession (RFC 9449)
pub mod openid; // what an OpenID provider signs (OpenID Connect Core, Back-Channel Logout, RFC 8417)
pub mod passkey; // a device that verified its holder signs a challenge (WebAuthn)
pub mod peer; // Unix-socket peer, unattested
pub mod token; // task tokens (RFC 9068)

// texts used once
pub mod join; // one-time join token
mod one_time; // texts of 256 random bits that are kept as SHA-256
pub mod operator; // link code and session secret of an operator

// who it is
pub mod agent; // what is registered of an agent, and the agent that proved itself
pub mod caller; // the verified caller of one action

#[doc(hidden)]
pub mod vectors; // fixed signed texts and what becomes of them
