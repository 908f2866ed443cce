//! The SPIFFE ID of an agent: `spiffe://<trust-domain>/<tenant>/<environment>/<kind>/<name>`.
//!
//! Stricter than SPIFFE-ID §2 allows: exactly these four path segments, each canonical already. A
//! SPIFFE ID names an agent; it proves nothing.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{AgentName, Environment, IdError, TenantName};

/// Longest SPIFFE ID in bytes (SPIFFE-ID §2.3).
pub const SPIFFE_ID_BYTES_MAX: usize = 2_048;
/// Longest trust domain in bytes (SPIFFE-ID §2.1).
pub const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Why a text is not the SPIFFE ID of an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Longer than [`SPIFFE_ID_BYTES_MAX`].
    #[error("a SPIFFE ID has at most {SPIFFE_ID_BYTES_MAX} bytes")]
    TooLong,
    /// Not `spiffe://` and five parts.
    #[error("expected `spiffe://<trust-domain>/<tenant>/<environment>/<kind>/<name>`")]
    Shape,
    /// The trust domain holds what it must not.
    #[error("a trust domain has 1 to {TRUST_DOMAIN_BYTES_MAX} lower-case letters, digits, `.`, `-` and `_`")]
    TrustDomain,
    /// The kind is none of ours.
    #[error("the kind of an agent is `orchestrator`, `agent`, `tool`, `service` or `job`")]
    Kind,
    /// Tenant, environment or name is not a name.
    #[error(transparent)]
    Name(#[from] IdError),
}

/// What sort of non-human an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// Hands tasks to other agents.
    Orchestrator,
    /// Works on tasks, driven by a model.
    Agent,
    /// Does one thing for agents.
    Tool,
    /// A long-running program.
    Service,
    /// A program that runs and ends.
    Job,
}

impl AgentKind {
    /// Every kind, in the order in which they are documented.
    pub const ALL: [Self; 5] = [Self::Orchestrator, Self::Agent, Self::Tool, Self::Service, Self::Job];

    /// The lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::Agent => "agent",
            Self::Tool => "tool",
            Self::Service => "service",
            Self::Job => "job",
        }
    }

    /// Parses the lower-case word.
    ///
    /// # Errors
    /// [`SpiffeError::Kind`] for any other text.
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(SpiffeError::Kind)
    }
}

impl fmt::Display for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for AgentKind {
    type Err = SpiffeError;
    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        Self::parse(text)
    }
}

/// The name under which one installation vouches for its agents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses the canonical spelling (SPIFFE-ID §2.1).
    ///
    /// # Errors
    /// [`SpiffeError::TrustDomain`].
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        let plain = (1..=TRUST_DOMAIN_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        // no empty label: `.`, `..`, `a..b`, `.a` and `a.` would be other spellings of other names
        let labels = text.split('.').all(|label| !label.is_empty());
        if plain && labels { Ok(Self(text.into())) } else { Err(SpiffeError::TrustDomain) }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SPIFFE ID of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    tenant: TenantName,
    environment: Environment,
    kind: AgentKind,
    name: AgentName,
}

impl SpiffeId {
    /// The SPIFFE ID of the agent `name`.
    #[must_use]
    pub const fn new(
        trust_domain: TrustDomain,
        tenant: TenantName,
        environment: Environment,
        kind: AgentKind,
        name: AgentName,
    ) -> Self {
        Self { trust_domain, tenant, environment, kind, name }
    }

    /// Parses the canonical spelling: no port, user, query, fragment or percent-encoding.
    ///
    /// # Errors
    /// [`SpiffeError`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > SPIFFE_ID_BYTES_MAX {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError::Shape)?;
        let mut parts = rest.split('/');
        let [Some(domain), Some(tenant), Some(environment), Some(kind), Some(name), None] =
            std::array::from_fn(|_| parts.next())
        else {
            return Err(SpiffeError::Shape);
        };
        Ok(Self {
            trust_domain: TrustDomain::parse(domain)?,
            tenant: TenantName::parse(tenant)?,
            environment: Environment::parse(environment)?,
            kind: AgentKind::parse(kind)?,
            name: AgentName::parse(name)?,
        })
    }

    /// The installation that vouches for the agent.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The tenant that the agent belongs to.
    #[must_use]
    pub const fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// The environment of the agent.
    #[must_use]
    pub const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The kind of the agent.
    #[must_use]
    pub const fn kind(&self) -> AgentKind {
        self.kind
    }

    /// The name of the agent, unique in its tenant.
    #[must_use]
    pub const fn name(&self) -> &AgentName {
        &self.name
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, tenant, environment, kind, name } = self;
        write!(f, "spiffe://{trust_domain}/{tenant}/{environment}/{kind}/{name}")
    }
}

impl std::str::FromStr for SpiffeId {
    type Err = SpiffeError;
    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        Self::parse(text)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "spiffe://accredit.example/acme/prod/agent/invoice-agent";

    fn check(text: &str, expected: &SpiffeError) {
        assert_eq!(SpiffeId::parse(text).as_ref().expect_err(text), expected, "{text}");
    }

    #[test]
    fn an_agent_has_one_spelling() {
        let id = SpiffeId::parse(GOOD).expect("a SPIFFE ID");
        assert_eq!(id.to_string(), GOOD);
        assert_eq!(id.tenant().as_str(), "acme");
        assert_eq!(id.kind(), AgentKind::Agent);
        let json = serde_json::to_string(&id).expect("a string");
        assert_eq!(serde_json::from_str::<SpiffeId>(&json).expect("its own spelling"), id);
    }

    #[test]
    fn other_spellings_are_refused() {
        check("", &SpiffeError::Shape);
        check("SPIFFE://accredit.example/acme/prod/agent/a", &SpiffeError::Shape);
        check("spiffe://accredit.example/acme/prod/agent", &SpiffeError::Shape);
        check(&format!("{GOOD}/more"), &SpiffeError::Shape);
        check("spiffe://accredit.example:443/acme/prod/agent/a", &SpiffeError::TrustDomain);
        check("spiffe://user@accredit.example/acme/prod/agent/a", &SpiffeError::TrustDomain);
        check("spiffe://Accredit.example/acme/prod/agent/a", &SpiffeError::TrustDomain);
        check("spiffe:///acme/prod/agent/a", &SpiffeError::TrustDomain);
        check("spiffe://accredit.example/acme/prod/person/a", &SpiffeError::Kind);
        check("spiffe://accredit.example/acme/prod/Agent/a", &SpiffeError::Kind);
        check(&format!("spiffe://{}/acme/prod/agent/a", "a".repeat(3_000)), &SpiffeError::TooLong);
        for part in ["", ".", "..", "%61", "a?x", "a#x", "a b", "\u{0430}"] {
            let text = format!("spiffe://accredit.example/{part}/prod/agent/a");
            assert!(matches!(SpiffeId::parse(&text), Err(SpiffeError::Name(_))), "{text}");
        }
    }
}
