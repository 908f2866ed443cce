//! A compiled policy set: parsed, every policy under a stable id, validated strictly.

use std::collections::BTreeMap;

use cedar_policy::{Effect, Policy, PolicyId, ValidationMode, Validator};

use crate::digest::Digest;
use crate::policy::annotations::{self, Stated};
use crate::policy::bounds;
use crate::policy::problem::PolicyProblem;
use crate::policy::schema;
use crate::policy::slice::Index;
use crate::policy::source::{PolicySource, PolicySources};

/// Most policies of one set: the size that decisions are measured with.
pub const POLICIES_MAX: usize = 10_000;
/// Most problems reported at once: a person fixes the first ones first.
pub const PROBLEMS_MAX: usize = 100;
/// Most policies mean uses; one about any `action` is also checked against what `start` has.
const SPEAKS_OF_START: &str = "a policy about any `action` speaks of `start` too: write `action in Action::\"use\"`, \
     or `action == Action::\"start\"` where starting a task is meant";

/// One policy of a set.
#[derive(Debug)]
pub struct Rule {
    id: String,
    file: String,
    line: u32,
    text: String,
    forbids: bool,
    stated: Stated,
}

impl Rule {
    /// Its `@id`, or the file's name without `.cedar`, `#` and its place in the file from 1.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The source that it stands in.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line that it begins on, from 1.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// Its text as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it forbids rather than permits.
    #[must_use]
    pub const fn forbids(&self) -> bool {
        self.forbids
    }

    pub(crate) const fn stated(&self) -> &Stated {
        &self.stated
    }
}

/// A policy set that decisions can be made with.
pub struct PolicySet {
    sources: PolicySources,
    digest: Digest,
    rules: BTreeMap<String, Rule>,
    warnings: Vec<PolicyProblem>,
    index: Index,
}

impl PolicySet {
    /// Compiles and validates the sources. An empty set is one that denies everything.
    ///
    /// # Errors
    /// Every problem found, at most [`PROBLEMS_MAX`], none of them repaired silently.
    pub fn compile(sources: PolicySources) -> Result<Self, Vec<PolicyProblem>> {
        let mut draft = Draft::default();
        for source in sources.iter() {
            draft.add(source);
        }
        let Draft { rules, places, policies, mut problems, mut warnings } = draft;
        if policies.len() > POLICIES_MAX {
            let message = format!("{} policies, the most is {POLICIES_MAX}", policies.len());
            problems.push(PolicyProblem::at(
                sources.iter().last().map_or("", |s| &s.name),
                "",
                0,
                &message,
                None,
            ));
        }
        if problems.is_empty() {
            validate(&sources, &places, &policies, &mut problems, &mut warnings);
        }
        if !problems.is_empty() {
            problems.sort();
            problems.truncate(PROBLEMS_MAX);
            return Err(problems);
        }
        warnings.sort();
        warnings.truncate(PROBLEMS_MAX);
        Ok(Self { digest: sources.digest(), sources, rules, warnings, index: Index::new(policies) })
    }

    /// The content address of its sources.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What it was compiled from.
    #[must_use]
    pub const fn sources(&self) -> &PolicySources {
        &self.sources
    }

    /// Its policies in order of their ids.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// The policy with this id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.get(id)
    }

    /// What is allowed but probably not meant: policies that can never apply, texts that look
    /// like others, terms of an approval that nothing asks for.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyProblem] {
        &self.warnings
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }
}

/// Where a policy stands: its source's name and the byte that it begins at.
type Place = (String, usize);

#[derive(Default)]
struct Draft {
    rules: BTreeMap<String, Rule>,
    places: BTreeMap<String, Place>,
    policies: Vec<Policy>,
    problems: Vec<PolicyProblem>,
    warnings: Vec<PolicyProblem>,
}

impl Draft {
    fn add(&mut self, source: &PolicySource) {
        let (file, text) = (source.name.as_str(), source.text.as_str());
        if let Some((at, much)) = bounds::exceeded(text) {
            self.problems.push(PolicyProblem::at(
                file,
                text,
                at,
                &much.message(),
                Some("split the policy".to_owned()),
            ));
            return;
        }
        let parsed: cedar_policy::PolicySet = match text.parse() {
            Ok(parsed) => parsed,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                self.problems
                    .extend(errors.iter().take(PROBLEMS_MAX).map(|e| PolicyProblem::found(file, text, 0, e)));
                return;
            }
        };
        for template in parsed.templates() {
            let at = text.find("?principal").or_else(|| text.find("?resource")).unwrap_or(0);
            let message = format!("`{}` is a Cedar template: slots are not supported", template.id());
            self.problems.push(PolicyProblem::at(
                file,
                text,
                at,
                &message,
                Some("write the agent or resource out".to_owned()),
            ));
        }
        let mut found = 0;
        for (number, policy) in in_order(&parsed) {
            let own = policy.to_cedar().unwrap_or_default();
            let at = text[found..].find(&own).map_or(found, |n| found + n);
            found = at + own.len();
            self.add_policy(source, number, policy, own, at);
        }
    }

    fn add_policy(&mut self, source: &PolicySource, number: usize, policy: &Policy, own: String, at: usize) {
        let (file, text) = (source.name.as_str(), source.text.as_str());
        let problem = |message: &str, help: Option<String>| PolicyProblem::at(file, text, at, message, help);
        let read = annotations::read(policy.annotations());
        self.problems.extend(read.wrong.into_iter().map(|(message, help)| problem(&message, Some(help))));
        let misnamed = policy.entity_literals().into_iter().filter_map(|uid| schema::misnamed(&uid));
        self.problems.extend(misnamed.map(|(message, help)| problem(&message, Some(help))));
        let id =
            read.id.unwrap_or_else(|| format!("{}#{number}", file.strip_suffix(".cedar").unwrap_or(file)));
        if read.stated.any() && !own.contains("approval") {
            let message =
                format!("`{id}` says who approves, but does not look at `context.approval.granted`");
            self.warnings.push(problem(&message, None));
        }
        if let Some((file, _)) = self.places.get(&id) {
            let message = format!("the id `{id}` is also that of a policy in `{file}`");
            self.problems.push(problem(&message, Some("give each policy an `@id` of its own".to_owned())));
            return;
        }
        let line = problem("", None).line;
        let forbids = matches!(policy.effect(), Effect::Forbid);
        self.policies.push(policy.new_id(PolicyId::new(&id)));
        self.places.insert(id.clone(), (file.to_owned(), at));
        self.rules.insert(
            id.clone(),
            Rule { id, file: file.to_owned(), line, text: own, forbids, stated: read.stated },
        );
    }
}

/// Cedar numbers the policies of a text `policy0`, `policy1`, … in the order of the text. Gives
/// them in that order, numbered from 1.
fn in_order(parsed: &cedar_policy::PolicySet) -> Vec<(usize, &Policy)> {
    let number = |p: &Policy| p.id().to_string().strip_prefix("policy").and_then(|n| n.parse::<usize>().ok());
    let mut policies: Vec<_> = parsed.policies().map(|p| (number(p).map_or(0, |n| n + 1), p)).collect();
    policies.sort_by_key(|(number, _)| *number);
    policies
}

fn validate(
    sources: &PolicySources,
    places: &BTreeMap<String, Place>,
    policies: &[Policy],
    problems: &mut Vec<PolicyProblem>,
    warnings: &mut Vec<PolicyProblem>,
) {
    let whole = match cedar_policy::PolicySet::from_policies(policies.iter().cloned()) {
        Ok(whole) => whole,
        Err(e) => {
            problems.push(PolicyProblem::at("", "", 0, &e.to_string(), None));
            return;
        }
    };
    let located = |id: &PolicyId, found: &dyn miette::Diagnostic| {
        let (file, at) = places.get(&id.to_string()).map_or(("", 0), |(f, at)| (f.as_str(), *at));
        let text = sources.iter().find(|s| s.name == file).map_or("", |s| s.text.as_str());
        let problem = PolicyProblem::found(file, text, at, found);
        let of_start = ["Action::\"start\"", "Template"].iter().any(|word| problem.message.contains(word));
        PolicyProblem {
            help: if of_start { Some(SPEAKS_OF_START.to_owned()) } else { problem.help },
            ..problem
        }
    };
    let result = Validator::new(schema::schema().clone()).validate(&whole, ValidationMode::Strict);
    problems.extend(result.validation_errors().take(PROBLEMS_MAX).map(|e| located(e.policy_id(), e)));
    warnings.extend(result.validation_warnings().take(PROBLEMS_MAX).map(|w| located(w.policy_id(), w)));
}
