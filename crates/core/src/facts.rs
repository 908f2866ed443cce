//! Everything a decision is made from: one consistent snapshot, content-addressed for replay.

use std::fmt;

use accredit_identity::id::{AgentName, TenantName};
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::credential::Credential;
use crate::digest::Digest;
use crate::owner::Standing;
use crate::policy::entities::FactEntities;
use crate::resource::Resource;
use crate::task::{DEPTH_MAX, Task};

/// One link of the chain: a task, the agent it was given to, and that agent's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The task.
    pub task: Task,
    /// Its agent.
    pub agent: Agent,
    /// Whether the agent's owner still answers.
    pub agent_owner: Standing,
}

/// What stands at the endpoint of the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The resource.
    pub resource: Resource,
    /// Whether its owner still answers.
    pub owner: Standing,
    /// The way into it, if one is configured.
    pub credential: Option<Credential>,
}

/// The facts that stay the same until somebody changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Whose world this is.
    pub tenant: TenantName,
    /// The task in whose name the action happens, first, then its ancestors up to the root.
    /// Never empty.
    pub chain: Vec<Link>,
    /// What the action is about. `None`: nothing is registered at that endpoint.
    pub target: Option<Target>,
    /// The policy set in force.
    pub policy_set: Digest,
}

impl Facts {
    /// The link in whose name the action happens.
    #[must_use]
    pub fn own(&self) -> Option<&Link> {
        self.chain.first()
    }

    /// The agents of the chain, the acting one first.
    pub fn agents(&self) -> impl Iterator<Item = &AgentName> {
        self.chain.iter().map(|l| &l.agent.name)
    }
}

/// Facts with what is derived from them once: their text, its digest, their Cedar entities.
pub struct Prepared {
    facts: Facts,
    text: String,
    digest: Digest,
    entities: FactEntities,
}

/// Why facts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The chain has no link.
    #[error("the facts name no task")]
    NoTask,
    /// Parts of the facts do not belong together; acting on them would mix two worlds.
    #[error("the facts do not belong together: {0}")]
    Inconsistent(&'static str),
    /// The facts do not fit the policy schema.
    #[error("the facts do not fit the policy schema: {0}")]
    Schema(String),
    /// The facts cannot be written as text.
    #[error("the facts cannot be written down: {0}")]
    Text(#[from] serde_json::Error),
}

impl Prepared {
    /// Derives what decisions need from the facts.
    ///
    /// # Errors
    /// [`PrepareError`]; the caller must refuse.
    pub fn new(facts: Facts) -> Result<Self, PrepareError> {
        if facts.chain.is_empty() {
            return Err(PrepareError::NoTask);
        }
        consistent(&facts).map_err(PrepareError::Inconsistent)?;
        let text = serde_json::to_string(&facts)?;
        let entities = FactEntities::build(&facts).map_err(PrepareError::Schema)?;
        Ok(Self { digest: Digest::of(text.as_bytes()), text, entities, facts })
    }

    /// Reads facts back from the text that [`Self::text`] gave, for a replay.
    ///
    /// # Errors
    /// [`PrepareError`] when the text was changed or is of another version.
    pub fn from_text(text: &str) -> Result<Self, PrepareError> {
        Self::new(serde_json::from_str(text)?)
    }

    /// The facts.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The link in whose name the action happens.
    #[must_use]
    pub fn own(&self) -> &Link {
        &self.facts.chain[0]
    }

    /// The facts as JSON, kept beside the ledger under [`Self::digest`].
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of [`Self::text`].
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The facts as Cedar entities.
    #[must_use]
    pub const fn entities(&self) -> &FactEntities {
        &self.entities
    }
}

/// Whether everything is of one tenant, the chain is one chain, and the credential is the resource's.
fn consistent(facts: &Facts) -> Result<(), &'static str> {
    let all = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
    let ours = |t: &TenantName| *t == facts.tenant;
    all(facts.chain.len() <= DEPTH_MAX, "the chain is longer than delegation goes")?;
    for (place, link) in facts.chain.iter().enumerate() {
        let above = facts.chain.get(place + 1).map(|l| &l.task.id);
        all(ours(&link.task.tenant) && ours(&link.agent.tenant), "a task or agent is of another tenant")?;
        all(link.task.agent == link.agent.name, "a task was given to another agent")?;
        all(link.task.parent.as_ref() == above, "a task and the one above it are not parent and child")?;
    }
    let Some(target) = &facts.target else { return Ok(()) };
    all(ours(&target.resource.tenant), "the resource is of another tenant")?;
    let Some(credential) = &target.credential else { return Ok(()) };
    let fits = ours(&credential.tenant)
        && credential.resource == target.resource.name
        && target.resource.credential.as_ref() == Some(&credential.name);
    all(fits, "the credential is not that of the resource")
}

/// What was used under one grant so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Calls that were let out.
    pub calls: u64,
    /// Bytes of bodies, both ways together.
    pub bytes: u64,
}

/// What a task used so far, a place for each grant of its usable half. Missing places are zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usage(Vec<Used>);

impl fmt::Display for Usage {
    /// `calls/bytes` for each grant, separated by commas; what is recorded with a decision.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, used) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}/{}", used.calls, used.bytes)?;
        }
        Ok(())
    }
}

impl Usage {
    /// Usage with these figures, in the order of the grants.
    #[must_use]
    pub const fn new(figures: Vec<Used>) -> Self {
        Self(figures)
    }

    /// What was used under the grant at this place.
    #[must_use]
    pub fn of(&self, grant: usize) -> Used {
        self.0.get(grant).copied().unwrap_or_default()
    }

    /// Adds to the figures of one grant.
    pub fn add(&mut self, grant: usize, calls: u64, bytes: u64) {
        if self.0.len() <= grant {
            self.0.resize(grant + 1, Used::default());
        }
        let used = &mut self.0[grant];
        used.calls = used.calls.saturating_add(calls);
        used.bytes = used.bytes.saturating_add(bytes);
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let used = |pair: &str| {
            let (calls, bytes) = pair.split_once('/')?;
            Some(Used { calls: calls.parse().ok()?, bytes: bytes.parse().ok()? })
        };
        let figures: Option<Vec<Used>> = text.split(',').filter(|p| !p.is_empty()).map(used).collect();
        figures.map(Self)
    }

    /// Calls under all grants together.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.iter().fold(0, |sum, u| sum.saturating_add(u.calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn facts_that_do_not_belong_together_are_not_decided_on() {
        let other = TenantName::parse("other").expect("a name");
        let child = |mut f: Facts| {
            f.chain.push(fixture::link(2, "boss", &["github: *"]));
            f
        };
        let changes: [(&str, &dyn Fn(Facts) -> Facts); 9] = [
            ("no task", &|f| Facts { chain: Vec::new(), ..f }),
            ("another tenant", &|f| Facts { tenant: other.clone(), ..f }),
            ("another tenant", &|mut f| {
                f.chain[0].agent.tenant = other.clone();
                f
            }),
            ("another tenant", &|mut f| {
                f.target.as_mut().expect("a target").resource.tenant = other.clone();
                f
            }),
            ("another agent", &|mut f| {
                f.chain[0].agent = fixture::agent("boss");
                f
            }),
            ("parent and child", &|f| child(f)),
            ("parent and child", &|mut f| {
                f.chain[0].task.parent = Some(f.chain[0].task.id.clone());
                f
            }),
            ("longer", &|mut f| {
                f.chain = vec![f.chain[0].clone(); DEPTH_MAX + 1];
                f
            }),
            ("credential", &|mut f| {
                f.target.as_mut().expect("a target").resource.credential = None;
                f
            }),
        ];
        for (why, change) in changes {
            let refused =
                Prepared::new(change(fixture::facts(&["github: *"]))).map(|p| p.digest()).expect_err(why);
            assert!(refused.to_string().contains(why), "{why}: {refused}");
        }
    }

    #[test]
    fn facts_read_back_from_their_text_with_the_same_digest() {
        let prepared = fixture::prepared(&fixture::facts(&["github: GET /a/** calls<=3", "github: write"]));
        let back = Prepared::from_text(prepared.text()).expect("its own text");
        assert_eq!(
            (back.facts(), back.digest(), back.text()),
            (prepared.facts(), prepared.digest(), prepared.text())
        );
        assert!(Prepared::from_text(&prepared.text().replace("\"held\"", "\"kept\"")).is_err());
    }
}
