//! Every path of the control plane that the client calls, in one list. Names and ids in a path are escaped here, so
//! that none of them can lead elsewhere.

use crate::query::encode;

/// Liveness.
pub const HEALTH: &str = "/v1/health";
/// Readiness.
pub const READY: &str = "/v1/ready";
/// One-time links.
pub const LINKS: &str = "/v1/links";
/// Sessions; `POST` signs in.
pub const SESSIONS: &str = "/v1/sessions";
/// The session that is presented; `DELETE` signs out.
pub const SESSION: &str = "/v1/sessions/current";
/// Who is asking.
pub const WHOAMI: &str = "/v1/whoami";
/// The public certificate of the gateway's authority.
pub const CA: &str = "/v1/ca.pem";
/// Operators.
pub const OPERATORS: &str = "/v1/operators";
/// Owners.
pub const OWNERS: &str = "/v1/owners";
/// Agents.
pub const AGENTS: &str = "/v1/agents";
/// Redeems a join token.
pub const JOIN: &str = "/v1/join";
/// Tasks.
pub const TASKS: &str = "/v1/tasks";
/// Templates.
pub const TEMPLATES: &str = "/v1/templates";
/// Resources.
pub const RESOURCES: &str = "/v1/resources";
/// Credentials.
pub const CREDENTIALS: &str = "/v1/credentials";
/// The policy set in force; `PUT` replaces it.
pub const POLICIES: &str = "/v1/policies";
/// Detected deviations.
pub const FINDINGS: &str = "/v1/findings";
/// Requests for a person's answer.
pub const REQUESTS: &str = "/v1/requests";
/// Entries of the ledger.
pub const AUDIT: &str = "/v1/audit/entries";
/// Entries as they are appended, as lines.
pub const AUDIT_TAIL: &str = "/v1/audit/tail";
/// All entries, as lines.
pub const AUDIT_EXPORT: &str = "/v1/audit/export";
/// The log as C2SP tlog-tiles has it: tiles and entry bundles below it.
pub const TLOG: &str = "/v1/audit/tlog";
/// Evidence for single entries.
pub const PROOFS: &str = "/v1/audit/proof";
/// The newest signed head of the ledger.
pub const CHECKPOINT: &str = "/v1/audit/checkpoint";
/// The key that heads are signed with.
pub const AUDIT_KEY: &str = "/v1/audit/key";
/// The server's own verification.
pub const AUDIT_VERIFY: &str = "/v1/audit/verify";
/// Explanations.
pub const WHY: &str = "/v1/why";
/// Taking authority away.
pub const REVOKE: &str = "/v1/revoke";
/// The vault.
pub const VAULT: &str = "/v1/vault";
/// Authorization server metadata (RFC 8414).
pub const METADATA: &str = "/.well-known/oauth-authorization-server";

/// One thing of a list.
#[must_use]
pub fn one(list: &str, name: &str) -> String {
    format!("{list}/{}", encode(name))
}

/// A part of something that there is one of.
#[must_use]
pub fn part(whole: &str, part: &str) -> String {
    format!("{whole}/{part}")
}

/// What belongs to one thing of a list.
#[must_use]
pub fn under(list: &str, name: &str, what: &str) -> String {
    format!("{list}/{}/{what}", encode(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_place() {
        assert_eq!(under(AGENTS, "../tasks", "keys"), "/v1/agents/..%2Ftasks/keys");
        assert_eq!(one(TASKS, "t_1?x=y"), "/v1/tasks/t_1%3Fx%3Dy");
    }
}
