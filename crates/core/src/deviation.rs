//! Deviation: declared signs that an agent does what it does not usually do, looked for in what the ledger says, and what
//! follows from one.
//!
//! What is known of an agent is a value that each entry changes, in the order of the ledger: the same entries give the
//! same findings. Figures within a time are kept in steps of [`STEP_S`] seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use accredit_identity::id::{AgentName, CredentialName, FindingId, TaskId, TenantName};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Most rules of one installation: people must know what they mean.
pub const RULES_MAX: usize = 64;
/// Longest name of a rule, in bytes.
pub const RULE_NAME_BYTES_MAX: usize = 63;
/// Longest time that a rule looks back in a task, in seconds.
pub const WITHIN_S_MAX: u64 = 3_600;
/// Steps in which figures within a time are kept, in seconds.
pub const STEP_S: u64 = 10;
/// Hours of an agent that are remembered: a week.
pub const HOURS_MAX: usize = 168;
/// Most operations and hosts of an agent that are remembered. Beyond it nothing is new any more.
pub const KNOWN_MAX: usize = 4_096;
/// Most running tasks of one agent whose figures are kept; the oldest go first.
pub const TASKS_MAX: usize = 1_024;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const STEP_MS: i64 = 10_000;

/// What is done about a finding, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Containment {
    /// It is recorded and listed.
    Alert,
    /// Whatever the task does next, a person is asked first.
    Ask,
    /// The task stands still until somebody releases it.
    SuspendTask,
    /// The task is revoked, and everything below it.
    RevokeTask,
    /// The agent is suspended, and all of its tasks are revoked.
    SuspendAgent,
}

impl Containment {
    /// Every containment.
    pub const ALL: [Self; 5] =
        [Self::Alert, Self::Ask, Self::SuspendTask, Self::RevokeTask, Self::SuspendAgent];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Ask => "ask",
            Self::SuspendTask => "suspend_task",
            Self::RevokeTask => "revoke_task",
            Self::SuspendAgent => "suspend_agent",
        }
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When an agent usually works, in UTC: days of the week and a time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Monday first.
    days: [bool; 7],
    /// Minutes since midnight. One that ends before it begins goes on after midnight.
    from: u16,
    to: u16,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Hours {
    /// Parses `mon-fri 07:00-19:00` or `07:00-19:00`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const HELP: &str = "write it as `mon-fri 07:00-19:00`, in UTC";
        let (days, time) = text.split_once(' ').map_or((None, text), |(days, time)| (Some(days), time));
        let (from, to) = time.split_once('-').ok_or(HELP)?;
        let (from, to) = (minute(from).ok_or(HELP)?, minute(to).ok_or(HELP)?);
        let days = match days {
            None => [true; 7],
            Some(days) => {
                let (first, last) = days.split_once('-').unwrap_or((days, days));
                let day = |name: &str| DAYS.iter().position(|day| *day == name);
                let (first, last) = (day(first).ok_or(HELP)?, day(last).ok_or(HELP)?);
                std::array::from_fn(|n| {
                    if first <= last { (first..=last).contains(&n) } else { n >= first || n <= last }
                })
            }
        };
        if from == to { Err(HELP) } else { Ok(Self { days, from, to }) }
    }

    /// Whether this moment is in them.
    #[must_use]
    pub fn contain(&self, at: Timestamp) -> bool {
        let minute = u16::try_from(at.as_ms().rem_euclid(DAY_MS) / 60_000).unwrap_or(0);
        // 1970 began on a Thursday.
        let today = usize::try_from((at.as_ms().div_euclid(DAY_MS) + 3).rem_euclid(7)).unwrap_or(0);
        if self.from < self.to {
            self.days[today] && (self.from..self.to).contains(&minute)
        } else {
            let yesterday = (today + 6) % 7;
            (self.days[today] && minute >= self.from) || (self.days[yesterday] && minute < self.to)
        }
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, max: u16| {
        (text.len() == 2).then(|| text.parse().ok()).flatten().filter(|n: &u16| *n <= max)
    };
    Some(number(hour, 23)? * 60 + number(minute, 59)?)
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// One task was refused so often in so many seconds.
    Refusals {
        /// How many.
        count: u64,
        /// In how many seconds, at most [`WITHIN_S_MAX`].
        within_s: u64,
    },
    /// One task made so many calls in so many seconds.
    Calls {
        /// How many.
        count: u64,
        /// In how many seconds, at most [`WITHIN_S_MAX`].
        within_s: u64,
    },
    /// One task moved so many bytes in so many seconds, both ways together.
    Bytes {
        /// How many.
        count: u64,
        /// In how many seconds, at most [`WITHIN_S_MAX`].
        within_s: u64,
    },
    /// The agent uses an operation of a resource, or a host, for the first time after so many uses of others.
    FirstUse {
        /// After how many uses.
        after: u64,
    },
    /// The agent makes more calls in an hour than `factor` times its busiest hour of the week before, and at least `count`.
    MoreThanUsual {
        /// How many times its busiest hour.
        factor: u64,
        /// Fewer are never too many.
        count: u64,
    },
    /// The agent works outside of these hours.
    OutsideHours(Hours),
    /// One of these credentials is reached for: nobody has a reason to.
    Canary(BTreeSet<CredentialName>),
    /// A token of the task was presented by somebody who does not hold its key.
    SecondPlace,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// How findings name it.
    pub name: String,
    /// What to look for.
    pub sign: Sign,
    /// What follows.
    pub then: Containment,
}

impl Rule {
    /// The rules of an installation that states none: what is worth knowing everywhere, and what only a thief does.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let rule = |name: &str, sign, then| Self { name: name.to_owned(), sign, then };
        vec![
            rule("many-refusals", Sign::Refusals { count: 20, within_s: 300 }, Containment::Alert),
            rule("first-use", Sign::FirstUse { after: 100 }, Containment::Alert),
            rule("more-than-usual", Sign::MoreThanUsual { factor: 10, count: 1_000 }, Containment::Alert),
            rule("second-place", Sign::SecondPlace, Containment::RevokeTask),
        ]
    }
}

/// What an entry says, as far as rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// A use was decided.
    Decided {
        /// Whether it was let out.
        allowed: bool,
        /// Whether it was denied; an ask is neither.
        denied: bool,
        /// The resource, if there is one at that host.
        resource: Option<&'a str>,
        /// The operation.
        operation: &'a str,
        /// The host.
        host: &'a str,
        /// The credential that it would have used.
        credential: Option<&'a str>,
    },
    /// A use ended, after so many bytes both ways.
    Settled {
        /// How many.
        bytes: u64,
    },
    /// A token was presented without its key.
    Misused,
    /// The task is over.
    Ended,
}

/// One observation of an agent.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// When.
    pub at: Timestamp,
    /// In which task.
    pub task: &'a TaskId,
    /// What.
    pub what: What<'a>,
}

/// A rule that an observation fulfils.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The rule.
    pub rule: String,
    /// What follows.
    pub then: Containment,
    /// What was seen, in one sentence.
    pub detail: String,
}

/// A detected deviation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Whose.
    pub tenant: TenantName,
    /// Its id.
    pub id: FindingId,
    /// The rule.
    pub rule: String,
    /// What follows.
    pub then: Containment,
    /// The agent.
    pub agent: AgentName,
    /// The task.
    pub task: TaskId,
    /// Place of the entry that fulfilled the rule.
    pub entry: u64,
    /// When that was.
    pub at: Timestamp,
    /// What was seen, in one sentence.
    pub detail: String,
    /// When what follows was done. `None`: it is still to be done.
    pub contained_at: Option<Timestamp>,
}

/// Figures of one step of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Figures {
    refusals: u64,
    calls: u64,
    bytes: u64,
}

/// What is kept of one running task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Window {
    /// By number of the step since 1970.
    steps: BTreeMap<i64, Figures>,
    /// Rules that it fulfilled: each is found once in a task.
    found: BTreeSet<String>,
}

impl Window {
    fn at(&mut self, at: Timestamp) -> &mut Figures {
        let step = at.as_ms().div_euclid(STEP_MS);
        let oldest = step - i64::try_from(WITHIN_S_MAX / STEP_S).unwrap_or(0);
        self.steps = self.steps.split_off(&oldest);
        self.steps.entry(step).or_default()
    }

    fn within(&self, at: Timestamp, within_s: u64, figure: impl Fn(&Figures) -> u64) -> u64 {
        let step = at.as_ms().div_euclid(STEP_MS);
        let first = step - i64::try_from(within_s.div_ceil(STEP_S)).unwrap_or(0) + 1;
        self.steps.range(first..).map(|(_, figures)| figure(figures)).sum()
    }
}

/// What is known of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// Uses that were let out, ever.
    uses: u64,
    /// Operations and hosts that it used.
    known: BTreeSet<String>,
    /// Uses that were let out, by hour since 1970.
    hours: BTreeMap<i64, u64>,
    /// The hour in which it was last found to be busier than usual, by rule.
    busy: BTreeMap<String, i64>,
    /// Its running tasks.
    tasks: BTreeMap<TaskId, Window>,
}

impl Profile {
    /// Takes in one observation. Gives the rules that it fulfils, each once: in a task, or in an hour.
    pub fn observe(&mut self, rules: &[Rule], seen: &Seen<'_>) -> Vec<Found> {
        if seen.what == What::Ended {
            self.tasks.remove(seen.task);
            return Vec::new();
        }
        if !self.tasks.contains_key(seen.task) && self.tasks.len() >= TASKS_MAX {
            let oldest = self.tasks.iter().min_by_key(|(_, w)| w.steps.keys().next_back().copied());
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.tasks.remove(&oldest);
            }
        }
        let news = self.count(seen);
        let mut found = Vec::new();
        for rule in rules {
            if let Some(detail) = self.fulfils(rule, seen, &news)
                && self.is_first(rule, seen)
            {
                found.push(Found { rule: rule.name.clone(), then: rule.then, detail });
            }
        }
        self.learn(&news);
        found
    }

    /// Adds to the figures. Gives what it uses for the first time.
    fn count(&mut self, seen: &Seen<'_>) -> Vec<String> {
        let figures = self.tasks.entry(seen.task.clone()).or_default().at(seen.at);
        let What::Decided { allowed, denied, resource, operation, host, .. } = seen.what else {
            if let What::Settled { bytes } = seen.what {
                figures.bytes += bytes;
            }
            return Vec::new();
        };
        figures.calls += 1;
        figures.refusals += u64::from(denied);
        if !allowed {
            return Vec::new();
        }
        self.uses += 1;
        let hour = seen.at.as_ms().div_euclid(HOUR_MS);
        *self.hours.entry(hour).or_default() += 1;
        while self.hours.len() > HOURS_MAX {
            self.hours.pop_first();
        }
        let names =
            [resource.map(|resource| format!("{resource}/{operation}")), Some(format!("host {host}"))];
        names.into_iter().flatten().filter(|name| !self.known.contains(name)).collect()
    }

    fn learn(&mut self, news: &[String]) {
        for name in news {
            if self.known.len() < KNOWN_MAX {
                self.known.insert(name.clone());
            }
        }
    }

    fn fulfils(&self, rule: &Rule, seen: &Seen<'_>, news: &[String]) -> Option<String> {
        let window = self.tasks.get(seen.task)?;
        match (&rule.sign, seen.what) {
            (Sign::Refusals { count, within_s }, What::Decided { denied: true, .. }) => {
                let n = window.within(seen.at, *within_s, |f| f.refusals);
                (n >= *count).then(|| format!("{n} refusals within {within_s} s"))
            }
            (Sign::Calls { count, within_s }, What::Decided { .. }) => {
                let n = window.within(seen.at, *within_s, |f| f.calls);
                (n >= *count).then(|| format!("{n} calls within {within_s} s"))
            }
            (Sign::Bytes { count, within_s }, What::Settled { .. }) => {
                let n = window.within(seen.at, *within_s, |f| f.bytes);
                (n >= *count).then(|| format!("{n} bytes within {within_s} s"))
            }
            (Sign::FirstUse { after }, What::Decided { allowed: true, .. }) => {
                let known = self.known.len() < KNOWN_MAX && self.uses > *after;
                let new = news.first().filter(|_| known)?;
                Some(format!("the first use of {new} after {} uses of others", self.uses - 1))
            }
            (Sign::MoreThanUsual { factor, count }, What::Decided { allowed: true, .. }) => {
                let hour = seen.at.as_ms().div_euclid(HOUR_MS);
                let now = self.hours.get(&hour).copied().unwrap_or(0);
                let busiest = self.hours.range(..hour).map(|(_, calls)| *calls).max()?;
                let more = now >= *count && now > busiest.saturating_mul(*factor);
                more.then(|| {
                    format!("{now} uses in this hour, where the busiest of the week before had {busiest}")
                })
            }
            (Sign::OutsideHours(hours), What::Decided { .. }) => {
                (!hours.contain(seen.at)).then(|| "work outside of its hours".to_owned())
            }
            (Sign::Canary(names), What::Decided { credential: Some(name), .. }) => names
                .iter()
                .any(|canary| canary.as_str() == name)
                .then(|| format!("the canary credential `{name}` was reached for")),
            (Sign::SecondPlace, What::Misused) => {
                Some("its token was presented by somebody who does not hold its key".to_owned())
            }
            _ => None,
        }
    }

    /// Whether this is news: a rule is found once in a task, one about the agent's hours once in an hour, and whatever
    /// is used for the first time is news by itself.
    fn is_first(&mut self, rule: &Rule, seen: &Seen<'_>) -> bool {
        match rule.sign {
            Sign::FirstUse { .. } => true,
            Sign::MoreThanUsual { .. } => {
                let hour = seen.at.as_ms().div_euclid(HOUR_MS);
                self.busy.insert(rule.name.clone(), hour) != Some(hour)
            }
            _ => {
                let window = self.tasks.entry(seen.task.clone()).or_default();
                window.found.insert(rule.name.clone())
            }
        }
    }

    /// Forgets rules that are no longer there.
    pub fn keep_rules(&mut self, rules: &[Rule]) {
        let named = |name: &String| rules.iter().any(|rule| rule.name == *name);
        self.busy.retain(|name, _| named(name));
        for window in self.tasks.values_mut() {
            window.found.retain(|name| named(name));
        }
    }
}

#[cfg(test)]
mod tests;
