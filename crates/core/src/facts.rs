//! Everything a decision is made from: one consistent snapshot, content-addressed for replay.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use accredit_identity::id::{AgentName, TenantName};
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::approval::{Approval, Denial, Involved};
use crate::boundary::GRANTS_MAX;
use crate::credential::Credential;
use crate::digest::Digest;
use crate::owner::Standing;
use crate::policy::entities::FactEntities;
use crate::resource::{Resource, Sensitivity};
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
    /// What people said yes to in this task and was not used up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// What people said no to in this task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<Denial>,
}

impl Facts {
    /// The link in whose name the action happens.
    #[must_use]
    pub fn own(&self) -> Option<&Link> {
        self.chain.first()
    }

    /// The chain, as far as the separation of duties looks at it.
    pub(crate) fn involved(&self) -> impl Iterator<Item = Involved<'_>> + Clone {
        self.chain.iter().map(|link| Involved {
            owner: &link.agent.owner,
            requested_by: link.task.requested_by.as_ref(),
            uid: link.task.instance.process.map(|(_, uid)| uid),
        })
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

/// What a task used so far: figures for each grant of its usable half, then, from [`GRANTS_MAX`] on, what those below it used
/// of each grant of its delegable half; missing places are zero;
/// and how sensitive the resources are that it may have had an answer from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Usage {
    figures: Vec<Used>,
    /// Whatever the effect: a POST can be a search. `None`: a version that did not look recorded this.
    seen: Option<BTreeSet<Sensitivity>>,
    /// Different questions that it had a person asked.
    questions: u64,
    /// What was used of the grants that each task above it hands down, the nearest first, whoever below it used them.
    above: Vec<BTreeMap<usize, Used>>,
}

impl Default for Usage {
    /// That of a task which has used nothing.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl fmt::Display for Usage {
    /// `calls/bytes` for each grant, `;`, the sensitivities seen, each list separated by commas; where people were
    /// asked `;` and how often; where tasks above hand something down that is limited `;` and, separated by `|`, for each of
    /// them `place=calls/bytes`. It is what is recorded with a decision.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, used) in self.figures.iter().take(GRANTS_MAX).enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}/{}", used.calls, used.bytes)?;
        }
        for (place, sensitivity) in self.seen.iter().flatten().enumerate() {
            write!(f, "{}{}", if place == 0 { ";" } else { "," }, sensitivity.as_str())?;
        }
        f.write_str(if self.seen.as_ref().is_some_and(BTreeSet::is_empty) { ";" } else { "" })?;
        let above = self.above.iter().any(|figures| !figures.is_empty());
        if self.questions > 0 || above {
            write!(f, ";{}", self.questions)?;
        }
        for (place, figures) in self.above.iter().enumerate().filter(|_| above) {
            f.write_str(if place == 0 { ";" } else { "|" })?;
            for (n, (place, used)) in figures.iter().enumerate() {
                write!(f, "{}{place}={}/{}", if n == 0 { "" } else { "," }, used.calls, used.bytes)?;
            }
        }
        Ok(())
    }
}

impl From<Usage> for String {
    fn from(usage: Usage) -> Self {
        usage.to_string()
    }
}

impl TryFrom<String> for Usage {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("usage is `calls/bytes,…;sensitivity,…`")
    }
}

impl Usage {
    /// Usage with these figures, in the order of the grants.
    #[must_use]
    pub const fn new(figures: Vec<Used>) -> Self {
        Self { figures, seen: Some(BTreeSet::new()), questions: 0, above: Vec::new() }
    }

    /// What was used under the grant at this place.
    #[must_use]
    pub fn of(&self, grant: usize) -> Used {
        self.figures.get(grant).copied().unwrap_or_default()
    }

    /// Adds to the figures of one grant.
    pub fn add(&mut self, grant: usize, calls: u64, bytes: u64) {
        if self.figures.len() <= grant {
            self.figures.resize(grant + 1, Used::default());
        }
        let used = &mut self.figures[grant];
        used.calls = used.calls.saturating_add(calls);
        used.bytes = used.bytes.saturating_add(bytes);
    }

    /// How sensitive the resources are that this task may have had an answer from; `None` where that was
    /// not recorded.
    #[must_use]
    pub const fn seen(&self) -> Option<&BTreeSet<Sensitivity>> {
        self.seen.as_ref()
    }

    /// Notes that the task may get an answer from something this sensitive. Gives whether that is new.
    pub fn see(&mut self, sensitivity: Sensitivity) -> bool {
        self.seen.get_or_insert_default().insert(sensitivity)
    }

    /// Different questions that the task had a person asked.
    #[must_use]
    pub const fn questions(&self) -> u64 {
        self.questions
    }

    /// Notes that so many more were asked.
    pub const fn ask(&mut self, more: u64) {
        self.questions = self.questions.saturating_add(more);
    }

    /// With what was used of the grants that the tasks above it hand down, the nearest first.
    #[must_use]
    pub fn below<'a>(self, above: impl IntoIterator<Item = &'a Self>) -> Self {
        let figures = |usage: &Self| {
            let all = usage.figures.iter().copied().enumerate().skip(GRANTS_MAX);
            all.filter(|(_, used)| *used != Used::default()).collect()
        };
        Self { above: above.into_iter().map(figures).collect(), ..self }
    }

    /// What was used under a grant of a task above, the nearest being 0.
    #[must_use]
    pub fn of_above(&self, task: usize, grant: usize) -> Used {
        self.above.get(task).and_then(|figures| figures.get(&grant)).copied().unwrap_or_default()
    }

    /// Takes in other figures of the same task, read earlier or later: figures only grow, so the larger ones hold.
    pub fn join(&mut self, other: &Self) {
        if self.figures.len() < other.figures.len() {
            self.figures.resize(other.figures.len(), Used::default());
        }
        for (own, other) in self.figures.iter_mut().zip(&other.figures) {
            *own = Used { calls: own.calls.max(other.calls), bytes: own.bytes.max(other.bytes) };
        }
        self.questions = self.questions.max(other.questions);
        self.seen = match (self.seen.take(), &other.seen) {
            (Some(own), Some(other)) => Some(own.union(other).copied().collect()),
            (own, other) => own.or_else(|| other.clone()),
        };
    }

    /// Reads what [`Display`](fmt::Display) wrote, and what earlier versions wrote: without `;`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let used = |pair: &str| {
            let (calls, bytes) = pair.split_once('/')?;
            Some(Used { calls: calls.parse().ok()?, bytes: bytes.parse().ok()? })
        };
        let (figures, rest) = text.split_once(';').map_or((text, None), |(f, rest)| (f, Some(rest)));
        let (seen, questions) = match rest.map(|rest| rest.split_once(';').unwrap_or((rest, "0"))) {
            Some((seen, questions)) => {
                (Some(listed(seen).map(Sensitivity::parse).collect::<Option<_>>()?), questions)
            }
            None => (None, "0"),
        };
        let (questions, above) = questions.split_once(';').map_or((questions, None), |(q, a)| (q, Some(a)));
        let placed = |text: &str| {
            let (place, pair) = text.split_once('=')?;
            Some((place.parse().ok()?, used(pair)?))
        };
        let above = above.into_iter().flat_map(|above| above.split('|'));
        let above = above.map(|figures| listed(figures).map(placed).collect::<Option<_>>());
        Some(Self {
            figures: listed(figures).map(used).collect::<Option<_>>()?,
            seen,
            questions: questions.parse().ok()?,
            above: above.collect::<Option<_>>()?,
        })
    }

    /// Calls of the task itself under all of its grants together.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.figures.iter().take(GRANTS_MAX).fold(0, |sum, u| sum.saturating_add(u.calls))
    }
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::Boundary;
    use crate::fixture;

    #[test]
    fn usage_reads_back_and_what_an_earlier_version_wrote_says_nothing_of_what_was_seen() {
        let mut usage = Usage::new(vec![Used { calls: 2, bytes: 512 }, Used::default()]);
        assert_eq!(usage.to_string(), "2/512,0/0;");
        assert!(usage.see(Sensitivity::Restricted) && usage.see(Sensitivity::Public));
        assert!(!usage.see(Sensitivity::Public), "it was seen before");
        assert_eq!(usage.to_string(), "2/512,0/0;public,restricted");
        let mut asking = usage.clone();
        asking.ask(3);
        assert_eq!(asking.to_string(), "2/512,0/0;public,restricted;3");
        let mut boss = Usage::default();
        boss.add(Boundary::place_of_delegable(1), 5, 1_200);
        let child = usage.clone().below([&Usage::default(), &boss]);
        assert_eq!(child.to_string(), "2/512,0/0;public,restricted;0;|33=5/1200");
        assert_eq!((child.of_above(1, 33).calls, child.of_above(0, 33).calls), (5, 0));
        for usage in [usage, asking, child, Usage::default()] {
            assert_eq!(Usage::parse(&usage.to_string()).as_ref(), Some(&usage));
        }
        for old in ["", "2/512"] {
            let usage = Usage::parse(old).expect("the earlier form");
            assert_eq!((usage.seen(), usage.to_string().as_str()), (None, old));
        }
        for broken in ["2", "2/x", "2/512;secret", "2/512;public;public", "2/512;Public", "2/512;;x"] {
            assert_eq!(Usage::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn figures_that_are_joined_never_shrink() {
        let usage = |text: &str| Usage::parse(text).expect("usage");
        for (one, other, joined) in [
            ("2/512;public", "1/900,4/0;restricted", "2/900,4/0;public,restricted"),
            ("1/1,7/7;", "3/0;", "3/1,7/7;"),
            (";", "0/0,5/5;internal", "0/0,5/5;internal"),
        ] {
            for (mut into, from) in [(usage(one), usage(other)), (usage(other), usage(one))] {
                into.join(&from);
                assert_eq!(into, usage(joined));
            }
        }
    }

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
