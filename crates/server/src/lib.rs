//! The control plane over HTTP: parse, check who asks, call one use case, convert. No rules, no logic, no storage.

mod access; //     who may call an endpoint, checked in one place
mod agents; //     and join tokens
mod app; //        what every handler gets
mod audit; //      the ledger
mod browser; //    sessions of browsers: a cookie that counts for our own page alone
mod credentials;
mod extract; //    bodies, queries and names, read strictly
mod findings; //   detected deviations
mod health; //     liveness, readiness
mod hold; //       a task lives while its runner listens
mod listen; //     TCP and the local socket
mod metrics; //    figures
mod openapi; //    the description, from the table and the handlers
mod openid; //     sign-in through an OpenID provider, and what it says later
mod operators; //  registered people
mod owners;
mod pages; //      on which people sign in and answer
mod passkeys; //   devices of people
mod policies;
mod problem; //    refusals on the wire
mod process; //    whether a process belongs to a task
mod requests;
mod resources;
mod revoke;
mod router; //     the table of routes
mod sessions; //   links, sessions, who am I
mod tasks;
mod templates;
mod time; //       RFC 3339
mod uses; //       uses and who-can on the wire
mod vault;
mod wellknown; //  metadata, keys, the description
mod why; //        one decision, explained

pub use app::App;
pub use listen::{CONNECTIONS_MAX, Exposed, Listener, check_exposure, serve};
pub use openapi::openapi_json;
