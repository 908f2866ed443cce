//! What is kept of each sort of thing, a file each: its queries and its changes, always by tenant and id.

mod agents; //      registered identities and their keys
mod credentials; // ways into resources
mod facts; //       what decisions were made from
mod findings; //    deviations, and what is known of each agent
mod holds; //       which runners hold their tasks
mod meta; //        single values of the installation
mod once; //        what may be used once: join tokens and proofs
mod operators; //   people, their roles and groups
mod owners; //      who answers
mod policies; //    policy sets and which one is in force
mod requests; //    requests for a person's answer
mod resources; //   what is protected
mod sealed; //      sealed values and signing keys, opaque
mod sessions; //    sign-in links of people, and the sessions that they become
mod tasks; //       units of authority
mod tenants; //     whose worlds there are

pub use agents::AgentKey;
pub use findings::{FINDINGS_MAX, FindingFilter, Watched};
pub use once::JoinToken;
pub use policies::PolicySetRow;
pub use requests::{REQUESTS_MAX, RequestFilter, RequestStatus};
pub use sealed::{SealedValue, SigningKeyRow};
pub use sessions::{OperatorLink, OperatorSession, Transport};
pub use tasks::{TASKS_MAX, TaskFilter, TaskStatus};
