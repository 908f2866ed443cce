//! The allow-list of the ledger: every kind of entry and every field it may have, in one table.
//!
//! What is not in the table cannot be recorded. To add a kind or a field, add a line to [`KINDS`]; the first
//! field of a kind names what the entry is about. Fields are only ever added: old entries must still decode.
//! Not here: values. `entry` checks them, with the rules each [`Field`] states.

use Field::{Boolean, Digest, Id, Ids, Integer, Name, Names, OneOf, Text, Texts};

/// Longest id in bytes: a SPIFFE ID of one of our instances, with room.
pub const ID_BYTES_MAX: usize = 256;
/// Longest name in bytes: a DNS host name is 253.
pub const NAME_BYTES_MAX: usize = 256;
/// Most ids in a list: a chain of tasks is far shorter.
pub const IDS_MAX: usize = 32;
/// Most names in a list, with the cut mark: policies that determined one decision, hosts of a resource.
pub const NAMES_MAX: usize = 32;

/// What a field holds, and what becomes of a value that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An id that Accredit drew or checked: 1 to [`ID_BYTES_MAX`] visible ASCII characters without quotes, `\`, `<` and `>`.
    Id,
    /// Up to [`IDS_MAX`] ids. More is an error: a shortened chain would say something else.
    Ids,
    /// A short text from anywhere, neutralised and cut at [`NAME_BYTES_MAX`].
    Name,
    /// Up to [`NAMES_MAX`] names; the rest is cut, and the list says so.
    Names,
    /// A text from anywhere, neutralised and cut at this many bytes.
    Text(usize),
    /// Up to `most` texts of `cap_bytes` each; the rest is cut, and the list says so.
    Texts {
        /// Longest text in bytes.
        cap_bytes: usize,
        /// Most texts, with the cut mark.
        most: usize,
    },
    /// An integer within ±2^53: counts, bytes, milliseconds.
    Integer,
    /// True or false.
    Boolean,
    /// A SHA-256 value in 64 lower-case hexadecimal digits.
    Digest,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// One kind of entry and its fields.
#[derive(Debug)]
pub struct Kind {
    /// Dotted name: what it concerns, then what happened.
    pub name: &'static str,
    /// Its fields; the first names what the entry is about.
    pub fields: &'static [Slot],
}

/// One field of a kind.
#[derive(Debug)]
pub struct Slot {
    /// Name of the field.
    pub name: &'static str,
    /// What it holds.
    pub field: Field,
    /// Whether an entry without it is refused.
    pub required: bool,
}

impl Kind {
    /// The kind with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// The field with this name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&'static Slot> {
        self.fields.iter().find(|slot| slot.name == name)
    }
}

const fn kind(name: &'static str, fields: &'static [Slot]) -> Kind {
    Kind { name, fields }
}

const fn must(name: &'static str, field: Field) -> Slot {
    Slot { name, field, required: true }
}

const fn may(name: &'static str, field: Field) -> Slot {
    Slot { name, field, required: false }
}

/// One sentence of a person or an error.
const SENTENCE: Field = Text(1024);
/// Purpose of a task, in the words of whoever proposed it.
const PURPOSE: Field = Text(1024);
/// Path of a request: longer ones are in the request's digest.
const PATH: Field = Text(2048);
/// What went wrong, one sentence each.
const ERRORS: Field = Texts { cap_bytes: 512, most: 16 };
/// The same of one decision.
const DECISION_ERRORS: Field = Texts { cap_bytes: 512, most: 8 };
/// Those who said yes: as many as a policy can ask for, with the cut mark.
const PEOPLE: Field = Texts { cap_bytes: 200, most: 11 };
/// A boundary as it is shown to people, one grant each: no template comes near this many.
const BOUNDARY: Field = Texts { cap_bytes: 256, most: 32 };

/// Every kind of entry.
#[rustfmt::skip] // one line per kind, grouped, reads as the table it is
pub static KINDS: &[Kind] = &[
    // --- the installation and its ledger
    kind("install.created", &[may("install", Id), may("version", Name), may("origin", Name), may("verifier", Name), may("trust_domain", Name), may("by", Name)]),
    kind("config.loaded", &[may("source", Name), may("digest", Digest), may("version", Name), may("changes", ERRORS), may("resources", Integer), may("templates", Integer), may("by", Name)]),
    kind("epoch.opened", &[must("epoch", Integer), may("size", Integer), may("root", Digest), may("by", Name), may("reason", SENTENCE)]),
    kind("ledger.fork_acknowledged", &[must("epoch", Integer), may("outside_size", Integer), may("outside_root", Digest), may("size", Integer), may("root", Digest), may("by", Name), may("reason", SENTENCE)]),
    kind("ledger.witness_refused", &[must("witness", Name), must("code", Name), may("witness_size", Integer), may("size", Integer), may("root", Digest), may("reason", SENTENCE)]),
    kind("ledger.witness_agreed", &[must("witness", Name)]),
    kind("audit.exported", &[may("export", Id), may("by", Name), may("format", Name), may("first", Integer), may("last", Integer), may("entries", Integer), may("filter", SENTENCE), may("digest", Digest)]),
    kind("audit.stopped", &[may("code", Name), may("reason", SENTENCE), may("node", Name), may("by", Name)]),
    kind("audit.resumed", &[may("code", Name), may("reason", SENTENCE), may("node", Name), may("stopped_ms", Integer), may("by", Name)]),
    // --- operators and owners
    kind("operator.link_created", &[may("operator", Name), may("link", Id), may("role", Name), may("expires_at", Integer), may("by", Name), may("via", Name)]),
    kind("operator.signed_in", &[may("operator", Name), may("session", Id), may("link", Id), may("role", Name), may("method", Name), may("address", Name), may("expires_at", Integer)]),
    kind("operator.sign_in_refused", &[may("operator", Name), may("link", Id), may("method", Name), may("address", Name), may("code", Name), may("reason", SENTENCE), may("subject", Name)]),
    kind("operator.identity_bound", &[must("operator", Name), may("issuer", Name), may("subject", Name)]),
    kind("operator.sessions_ended", &[must("operator", Name), may("issuer", Name), may("sessions", Integer)]),
    kind("operator.signed_out", &[may("operator", Name), may("session", Id), may("reason", SENTENCE), may("by", Name)]),
    kind("operator.refused", &[may("operator", Name), may("session", Id), may("role", Name), may("operation", Name), may("target", Name), may("address", Name), may("code", Name), may("reason", SENTENCE)]),
    kind("operator.added", &[must("operator", Name), may("roles", Names), may("groups", Names), may("same_person_as", Name), may("successor", Name), may("by", Name)]),
    kind("operator.changed", &[must("operator", Name), may("fields", Names), may("roles", Names), may("groups", Names), may("same_person_as", Name), may("successor", Name), may("sessions", Integer), may("by", Name), may("reason", SENTENCE)]),
    kind("operator.passkey_added", &[must("operator", Name), may("passkey", Id), may("voucher", Id), may("session", Id)]),
    kind("operator.passkey_dropped", &[must("operator", Name), may("passkey", Id), may("session", Id)]),
    kind("operator.lapsed", &[must("operator", Name), may("sessions", Integer), may("successor", Name), may("agents", Integer), may("resources", Integer), may("credentials", Integer), may("by", Name), may("reason", SENTENCE)]),
    kind("owner.added", &[must("owner", Name), may("title", Name), may("contact", Name), may("by", Name)]),
    kind("owner.lapsed", &[must("owner", Name), may("agents", Integer), may("tasks", Integer), may("resources", Integer), may("credentials", Integer), may("by", Name), may("reason", SENTENCE)]),
    // --- agents
    kind("agent.registered", &[must("agent", Name), may("name", Name), may("kind", Name), may("environment", Name), may("owner", Name), may("spiffe_id", Name), may("key_id", Name), may("key_digest", Digest), may("by", Name)]),
    kind("agent.suspended", &[must("agent", Name), may("tasks", Integer), may("by", Name), may("reason", SENTENCE)]),
    kind("agent.resumed", &[must("agent", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("agent.owner_changed", &[must("agent", Name), may("from", Name), may("to", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("agent.key_added", &[must("agent", Name), may("key_id", Name), may("key_digest", Digest), may("algorithm", Name), may("by", Name)]),
    kind("agent.joined", &[must("agent", Name), may("instance", Name), may("join_token", Id), may("attestation", Name), may("key_id", Name), may("key_digest", Digest), may("address", Name)]),
    kind("join_token.created", &[may("join_token", Id), may("agent", Name), may("expires_at", Integer), may("by", Name)]),
    kind("join_token.refused", &[may("join_token", Name), may("agent", Name), may("address", Name), may("code", Name), may("reason", SENTENCE)]),
    // --- resources, credentials and secrets
    kind("resource.added", &[must("resource", Name), may("kind", Name), may("owner", Name), may("environment", Name), may("sensitivity", Name), may("mode", Name), may("hosts", Names), may("operations", Integer), may("credential", Name), may("digest", Digest), may("by", Name)]),
    kind("resource.changed", &[must("resource", Name), may("fields", Names), may("mode", Name), may("hosts", Names), may("owner", Name), may("digest", Digest), may("previous_digest", Digest), may("by", Name), may("reason", SENTENCE)]),
    kind("resource.retired", &[must("resource", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("credential.added", &[must("credential", Name), may("resource", Name), may("rung", Name), may("owner", Name), may("hosts", Names), may("rotate_by", Integer), may("by", Name)]),
    kind("credential.owner_changed", &[must("credential", Name), may("from", Name), may("to", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("credential.revoked", &[must("credential", Name), may("resource", Name), may("cut", Integer), may("pending", Integer), may("duration_ms", Integer), may("by", Name), may("reason", SENTENCE)]),
    kind("secret.set", &[must("credential", Name), may("secret", Id), may("version", Integer), may("resource", Name), may("hosts", Names), may("rotate_by", Integer), may("by", Name), may("reason", SENTENCE)]),
    kind("secret.dropped", &[must("credential", Name), may("secret", Id), may("version", Integer), may("resource", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("secret.kek_rotated", &[may("kek", Name), may("previous_kek", Name), may("data_key", Integer), may("by", Name), may("reason", SENTENCE)]),
    kind("secret.dek_rotated", &[may("kek", Name), may("data_key", Integer), may("resealed", Integer), may("by", Name), may("reason", SENTENCE)]),
    kind("vault.sealed", &[may("key_id", Name), may("kek", Name), may("data_key", Integer), may("source", Name), may("code", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("vault.unsealed", &[may("key_id", Name), may("kek", Name), may("data_key", Integer), may("source", Name), may("secrets", Integer), may("by", Name)]),
    // --- policy and templates
    kind("policy.applied", &[must("policy_set", Digest), may("previous_policy_set", Digest), may("policies", Integer), may("names", Names), may("files", Names), may("schema_digest", Digest), may("source", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("policy.refused", &[may("policy_set", Digest), may("files", Names), may("errors", ERRORS), may("source", Name), may("code", Name), may("by", Name), may("reason", SENTENCE)]),
    kind("template.loaded", &[must("template", Name), may("digest", Digest), may("boundary", BOUNDARY), may("lifetime_s", Integer), may("source", Name), may("by", Name)]),
    // --- tasks and tokens
    kind("task.proposed", &[
        must("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Id), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name),
        may("boundary", BOUNDARY), may("delegable", BOUNDARY), may("boundary_digest", Digest), may("lifetime_s", Integer), may("request", Id), may("by", Name),
    ]),
    kind("task.started", &[
        must("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Id), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name),
        may("boundary", BOUNDARY), may("delegable", BOUNDARY), may("boundary_digest", Digest), may("expires_at", Integer), may("held", Boolean), may("policies", Names), may("policy_set", Digest), may("facts", Digest), may("request", Id), may("by", Name),
    ]),
    kind("task.refused", &[
        may("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Name), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name),
        may("boundary", BOUNDARY), may("boundary_digest", Digest), may("code", Name), may("reason", SENTENCE), may("policies", Names), may("policy_set", Digest), may("facts", Digest), may("errors", ERRORS), may("request", Id),
    ]),
    kind("task.renewed", &[
        must("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Id), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name),
        may("expires_at", Integer), may("previous_expires_at", Integer), may("by", Name),
    ]),
    kind("task.extended", &[
        must("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Id), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name),
        may("expires_at", Integer), may("previous_expires_at", Integer), may("boundary", BOUNDARY), may("boundary_digest", Digest), may("by", Name), may("reason", SENTENCE),
    ]),
    kind("task.ended", &[
        must("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Id), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name),
        may("outcome", OneOf(&["completed", "failed", "expired", "revoked"])), may("cause", Name), may("actions", Integer), may("denied", Integer), may("calls_used", Integer), may("bytes_used", Integer), may("cut", Integer), may("duration_ms", Integer), may("exit_code", Integer), may("by", Name), may("reason", SENTENCE),
    ]),
    kind("task.restrained", &[must("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Id), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name), may("kind", OneOf(&["ask", "suspended"])), may("finding", Id), may("by", Name)]),
    kind("task.released", &[must("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("parent", Id), may("chain", Ids), may("template", Name), may("purpose", PURPOSE), may("workflow", Name), may("requested_by", Name), may("finding", Id), may("by", Name), may("reason", SENTENCE)]),
    kind("token.issued", &[may("token", Id), may("task", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("key_id", Name), may("key_thumbprint", Name), may("audience", Name), may("binding", Name), may("expires_at", Integer)]),
    kind("token.refused", &[may("token", Name), may("task", Name), may("agent", Name), may("instance", Name), may("attestation", Name), may("grant", Name), may("address", Name), may("code", Name), may("reason", SENTENCE)]),
    // --- actions
    kind("action.decided", &[
        must("decision", Id), may("agent", Name), may("instance", Name), may("attestation", Name), may("key", Name), may("task", Id), may("chain", Ids), may("requested_by", Name), may("purpose", PURPOSE), may("workflow", Name),
        may("operation", Name), may("effect", Name), may("resource", Name), may("credential", Name), may("secret_version", Integer),
        may("method", Name), may("scheme", Name), may("host", Name), may("port", Integer), may("path", PATH), may("sent_path", PATH), may("query_digest", Digest), may("request_digest", Digest), may("content_type", Name), may("body_bytes", Integer), may("grant", Integer), may("traceparent", Name),
        must("outcome", OneOf(&["allow", "ask", "deny"])), may("enforced", Boolean), may("mode", Name), may("code", Name), may("policies", Names), may("policy_set", Digest), may("facts", Digest), may("errors", DECISION_ERRORS), may("request", Id), may("approval", Id), may("approved_by", PEOPLE), may("body_digest", Digest),
        may("usage", Text(2048)), may("now", Integer),
    ]),
    kind("action.settled", &[
        must("decision", Id), may("task", Id), may("agent", Name), may("resource", Name), may("credential", Name), must("outcome", OneOf(&["done", "not_sent", "refused", "failed", "cut", "unknown"])),
        may("status", Integer), may("request_bytes", Integer), may("response_bytes", Integer), may("body_digest", Digest), may("duration_ms", Integer), may("cause", Name), may("scrubbed", Integer),
    ]),
    // --- deviations
    kind("finding.raised", &[must("finding", Id), may("rule", Name), may("then", Name), may("task", Id), may("agent", Name), may("entry", Integer), may("detail", SENTENCE)]),
    kind("finding.contained", &[must("finding", Id), may("rule", Name), may("then", Name), may("task", Id), may("agent", Name)]),
    // --- approval requests and revocation
    kind("request.raised", &[must("request", Id), may("kind", Name), may("decision", Id), may("task", Id), may("agent", Name), may("operation", Name), may("effect", Name), may("resource", Name), may("request_digest", Digest), may("approvers", Names), may("quorum", Integer), may("passkey", Boolean), may("expires_at", Integer), may("policies", Names), may("policy_set", Digest)]),
    kind("request.repeated", &[must("request", Id), may("decision", Id), may("task", Id), may("agent", Name), may("request_digest", Digest), may("repeats", Integer)]),
    kind("request.answered", &[must("request", Id), may("answer", OneOf(&["yes", "no"])), may("scope", Name), may("passkey", Boolean), may("key", Id), may("missing", Integer), may("task", Id), may("agent", Name), may("request_digest", Digest), may("role", Name), may("session", Id), may("by", Name), may("reason", SENTENCE)]),
    kind("request.granted", &[must("request", Id), may("scope", Name), may("approvers", Names), may("expires_at", Integer), may("task", Id), may("agent", Name), may("request_digest", Digest), may("policy_set", Digest)]),
    kind("request.denied", &[must("request", Id), may("task", Id), may("agent", Name), may("request_digest", Digest), may("by", Name), may("reason", SENTENCE)]),
    kind("request.consumed", &[must("request", Id), may("decision", Id), may("task", Id), may("agent", Name), may("request_digest", Digest)]),
    kind("request.closed", &[must("request", Id), may("outcome", Name), may("was", Name), may("task", Id), may("agent", Name), may("request_digest", Digest), may("by", Name), may("reason", SENTENCE)]),
    kind("revoke.all", &[may("revocation", Id), may("tasks", Integer), may("agents", Integer), may("credentials", Integer), may("cut", Integer), may("pending", Integer), may("duration_ms", Integer), may("by", Name), may("reason", SENTENCE)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_fields_are_named_once_and_well() {
        for (i, kind) in KINDS.iter().enumerate() {
            let dotted = kind.name.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
            let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'));
            assert!(dotted && plain(kind.name), "{}", kind.name);
            assert!(!KINDS[..i].iter().any(|other| other.name == kind.name), "{} twice", kind.name);
            assert!(!kind.fields.is_empty(), "{} says nothing", kind.name);
            for (j, slot) in kind.fields.iter().enumerate() {
                assert!(plain(slot.name), "{} {}", kind.name, slot.name);
                assert!(
                    !kind.fields[..j].iter().any(|s| s.name == slot.name),
                    "{} {} twice",
                    kind.name,
                    slot.name
                );
            }
        }
    }
}
