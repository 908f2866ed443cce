//! What is protected: an HTTP API with exact endpoints, its operations, its owner and its mode.

use accredit_identity::id::{CredentialName, Environment, OperationName, ResourceName, TenantName};
use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::host::Endpoint;
use crate::text::Owner;
use crate::time::Timestamp;

/// Most endpoints of one resource.
pub const ENDPOINTS_MAX: usize = 32;

/// Whether decisions about a resource are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything is decided and recorded, nothing inside a live task is blocked.
    Observe,
    /// What is not allowed does not happen.
    Enforce,
}

impl Mode {
    /// `observe` or `enforce`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// How much harm its content could do in the wrong hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// Known to everybody.
    Public,
    /// For the organisation.
    Internal,
    /// For few.
    Confidential,
    /// For named people.
    Restricted,
}

impl Sensitivity {
    /// Every one, the least first.
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Restricted];

    /// The one that this word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sensitivity| sensitivity.as_str() == word)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
}

/// What the resource speaks on top of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Nothing known: an operation is a method.
    Plain,
    /// Git's smart HTTP: `git.fetch` reads although it posts, `git.push` writes.
    Git,
}

/// Whether a resource may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase", deny_unknown_fields)]
pub enum ResourceStatus {
    /// In use.
    Active,
    /// Taken out of use. Its name is never given again.
    Retired {
        /// When.
        at: Timestamp,
    },
}

/// One protected resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Whose.
    pub tenant: TenantName,
    /// Unique in its tenant.
    pub name: ResourceName,
    /// Who answers for it.
    pub owner: Owner,
    /// Where it runs.
    pub environment: Environment,
    /// How sensitive it is.
    pub sensitivity: Sensitivity,
    /// Whether decisions are enforced.
    pub mode: Mode,
    /// Where exactly it answers. The first is the one that base-URL mode uses. Its credential is
    /// bound to these and to nothing else.
    pub endpoints: Vec<Endpoint>,
    /// Whether it may resolve to a private or loopback address.
    pub private_network: bool,
    /// PEM of the authorities that its certificate must chain to, instead of the system's.
    pub ca_pem: Option<String>,
    /// What it speaks.
    pub dialect: Dialect,
    /// Whether its `Set-Cookie` fields reach the agent. They are credentials of their own.
    pub pass_cookies: bool,
    /// The way into it. `None`: nothing is injected.
    pub credential: Option<CredentialName>,
    /// Whether it may be used.
    pub status: ResourceStatus,
    /// When it was registered.
    pub added_at: Timestamp,
}

/// The operation of a request that nobody has registered a resource for.
#[must_use]
pub fn unknown_operation() -> OperationName {
    OperationName::parse("unknown").expect("`unknown` is a name")
}

impl Resource {
    /// Whether it may be used at all.
    #[must_use]
    pub const fn active(&self) -> bool {
        matches!(self.status, ResourceStatus::Active)
    }

    /// The operation and effect of a request, or `None` for a method that is not carried.
    #[must_use]
    pub fn operation(&self, method: &str, path: &str) -> Option<(OperationName, Effect)> {
        let by_method = Effect::of_method(method)?;
        let (name, effect) = match self.dialect {
            Dialect::Git if method == "POST" && path.ends_with("/git-upload-pack") => {
                ("git.fetch".to_owned(), Effect::Read)
            }
            Dialect::Git if method == "POST" && path.ends_with("/git-receive-pack") => {
                ("git.push".to_owned(), Effect::Write)
            }
            Dialect::Git if method == "GET" && path.ends_with("/info/refs") => {
                ("git.refs".to_owned(), Effect::Read)
            }
            Dialect::Plain | Dialect::Git => (format!("http.{}", method.to_ascii_lowercase()), by_method),
        };
        Some((OperationName::parse(&name).expect("methods that are carried make names"), effect))
    }

    /// Every operation that [`Self::operation`] can give, with its effect.
    #[must_use]
    pub fn operations(&self) -> Vec<(OperationName, Effect)> {
        let git = ["/git-upload-pack", "/git-receive-pack", "/info/refs"];
        let paths = std::iter::once("/").chain(git);
        let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
        let mut all: Vec<_> =
            paths.flat_map(|p| methods.iter().filter_map(move |m| self.operation(m, p))).collect();
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Endpoint;

    fn resource(dialect: Dialect) -> Resource {
        Resource {
            tenant: TenantName::parse("default").expect("a name"),
            name: ResourceName::parse("git").expect("a name"),
            owner: Owner::parse("team:platform").expect("an owner"),
            environment: Environment::parse("dev").expect("a name"),
            sensitivity: Sensitivity::Internal,
            mode: Mode::Enforce,
            endpoints: vec![Endpoint::parse("git.example").expect("an endpoint")],
            private_network: false,
            ca_pem: None,
            dialect,
            pass_cookies: false,
            credential: None,
            status: ResourceStatus::Active,
            added_at: Timestamp::from_ms(0),
        }
    }

    #[test]
    fn a_git_fetch_reads_although_it_posts() {
        let git = resource(Dialect::Git);
        let effect = |m: &str, p: &str| git.operation(m, p).map(|(n, e)| (n.to_string(), e));
        assert_eq!(effect("POST", "/a.git/git-upload-pack"), Some(("git.fetch".into(), Effect::Read)));
        assert_eq!(effect("POST", "/a.git/git-receive-pack"), Some(("git.push".into(), Effect::Write)));
        assert_eq!(effect("POST", "/a.git/other"), Some(("http.post".into(), Effect::Write)));
        assert_eq!(
            resource(Dialect::Plain).operation("POST", "/a.git/git-upload-pack").map(|o| o.1),
            Some(Effect::Write)
        );
        assert_eq!(effect("TRACE", "/"), None);
    }
}
