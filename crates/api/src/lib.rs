//! The wire types of the control plane: what is asked and answered under `/v1`, as JSON.
//!
//! Names, ids and times are texts here: ids and names in their canonical spelling, times as RFC 3339 in
//! UTC. Requests refuse fields that they do not know; answers may gain fields, and readers must ignore
//! those that they do not know. Nothing here checks a rule and nothing here is ever stored: the server
//! converts at its edge.

pub mod agent; //      registered non-human identities, their keys, join tokens
pub mod audit; //      the ledger: search, prove, verify
pub mod credential; // ways into resources; values go in and never come out
pub mod finding; //    detected deviations
pub mod form; //       what texts in requests look like
pub mod health; //     liveness and readiness
pub mod oauth; //      metadata and keys for other implementations (RFC 8414, RFC 7517)
pub mod openid; //    signing in through an OpenID provider
pub mod operator; //   people who are registered, with roles and groups
pub mod owner; //      people and teams that answer for something
pub mod page; //       lists and their cursors
pub mod passkey; //    devices of people, and a yes that is made with one
pub mod policy; //     policy sets: show, check, apply, replay
pub mod problem; //    errors, RFC 9457
pub mod request; //    questions that wait for a person
pub mod resource; //   what is protected
pub mod revoke; //     taking authority away
pub mod sensitive; //  texts that must not be seen: tokens, codes, values
pub mod session; //    one-time links, operator sessions, who am I
pub mod strict; //     objects and whole numbers, read as the description says
pub mod task; //       the unit of authority
pub mod template; //   named boundaries
pub mod uses; //       who used a credential for what, who could
pub mod vault; //      sealed or not, and its keys
pub mod why; //        one decision, explained by replaying it

pub use page::Page;
pub use problem::Problem;
pub use sensitive::Sensitive;
