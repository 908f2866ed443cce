//! Cedar: what policies are, which of them apply, and what they say.
//!
//! A decision asks twice at most: as things stand, and had a person said yes. Any error while
//! evaluating denies: Cedar alone would skip the policy, and a skipped `forbid` forbids nothing.

// what a set is
pub mod schema; // the vocabulary, and names as entity ids
pub mod source; // texts of a set, bounded and content-addressed

pub mod annotations; // ids, notes, terms of an approval
pub mod bounds; // what is too deep to be parsed
pub mod problem; // what is wrong with a policy, and where
pub mod set; // a compiled, validated set
pub mod starter; // a set to begin with

// what is asked of it
pub mod context; // what policies see beside agent and operation
pub mod entities; // facts as Cedar entities
pub(crate) mod slice; // which policies can apply

// questions about it
pub mod cases; // `policy test`: a file of situations and expected answers
pub mod diff; // what changed between two sets
pub mod situation; // made-up facts, for tests and questions
pub mod who_can; // reverse lookup

use std::sync::LazyLock;

use cedar_policy::{Authorizer, Context, Entities, EntityUid, Request, Response};

use crate::action::Action;
use crate::approval::Terms;
use crate::decision::Grounds;
use crate::facts::{Prepared, Usage};
use crate::policy::annotations::Stated;
use crate::policy::context::UseContext;
use crate::policy::problem::bounded;
use crate::policy::slice::About;
use crate::time::Timestamp;

pub use crate::policy::set::{PolicySet, Rule};
pub use crate::policy::source::{PolicySource, PolicySources};

/// Most evaluation errors kept of one decision: one is enough to deny.
const ERRORS_MAX: usize = 8;

/// What the policies say to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Whether it is permitted, not forbidden, and nothing went wrong.
    pub allowed: bool,
    /// Ids of the policies that determined it, sorted.
    pub determining: Vec<String>,
    /// What could not be evaluated; anything here means not allowed.
    pub errors: Vec<String>,
    /// How many policies could apply and were evaluated.
    pub evaluated: usize,
}

/// What policy answers, approvals considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    Ask(Terms),
    Deny,
    /// Something that applies could not be evaluated.
    Unsure,
}

impl Evaluation {
    pub(crate) fn failed(error: &str) -> Self {
        Self { allowed: false, determining: Vec::new(), errors: vec![bounded(error)], evaluated: 0 }
    }

    fn of(response: &Response, evaluated: usize) -> Self {
        let diagnostics = response.diagnostics();
        let mut determining: Vec<_> = diagnostics.reason().map(ToString::to_string).collect();
        determining.sort();
        let mut errors: Vec<_> = diagnostics.errors().map(|e| bounded(&e.to_string())).collect();
        errors.sort();
        errors.truncate(ERRORS_MAX);
        let allowed = errors.is_empty() && response.decision() == cedar_policy::Decision::Allow;
        Self { allowed, determining, errors, evaluated }
    }
}

impl PolicySet {
    /// What the policies say to one use.
    #[must_use]
    pub fn evaluate_use(&self, prepared: &Prepared, action: &Action, context: &UseContext<'_>) -> Evaluation {
        let entities = prepared.entities();
        let asked = action.asked().and_then(|asked| {
            let (operation, resource) = entities.operation(asked.resource, asked.operation)?;
            Some((schema::effect(asked.effect), operation, resource))
        });
        let Some((effect, operation, resource)) = asked else {
            return Evaluation::failed("the facts are not about the operation of this action");
        };
        let about = About {
            principal: entities.principal(),
            action: effect,
            resource: operation,
            within: Some(resource),
            tenant: entities.tenant(),
        };
        self.evaluate(about, entities.entities(), context.built())
    }

    pub(crate) fn evaluate(
        &self,
        about: About<'_>,
        entities: &Entities,
        context: &Result<Context, String>,
    ) -> Evaluation {
        let answer = request(about, context).and_then(|request| {
            let slice = self.index().slice(about)?;
            Ok(Evaluation::of(&AUTHORIZER.is_authorized(&request, &slice.set, entities), slice.count))
        });
        answer.unwrap_or_else(|e| Evaluation::failed(&e))
    }

    /// What policy answers to one use, and what that rests on.
    pub(crate) fn judge_use(
        &self,
        prepared: &Prepared,
        action: &Action,
        usage: &Usage,
        now: Timestamp,
    ) -> (Verdict, Grounds) {
        let context = UseContext::new(prepared, action, usage, now);
        let plain = self.evaluate_use(prepared, action, &context);
        self.judge(plain, || self.evaluate_use(prepared, action, &context.approved()))
    }

    /// A denial is an *ask* exactly when an approval would turn it into a permit.
    pub(crate) fn judge(
        &self,
        plain: Evaluation,
        approved: impl FnOnce() -> Evaluation,
    ) -> (Verdict, Grounds) {
        let Evaluation { allowed, mut determining, errors, .. } = plain;
        if !errors.is_empty() {
            return (Verdict::Unsure, Grounds { policies: determining, errors, approval: None });
        }
        if allowed {
            return (Verdict::Allow, Grounds { policies: determining, errors, approval: None });
        }
        let approved = approved();
        if !approved.allowed {
            return (
                Verdict::Deny,
                Grounds { policies: determining, errors: approved.errors, approval: None },
            );
        }
        // The forbids that an approval lifts, and the permits that it brings.
        determining.extend(approved.determining);
        determining.sort();
        determining.dedup();
        let terms = Stated::together(determining.iter().filter_map(|id| self.rule(id)).map(Rule::stated));
        (Verdict::Ask(terms), Grounds { policies: determining, errors, approval: None })
    }
}

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);

fn request(about: About<'_>, context: &Result<Context, String>) -> Result<Request, String> {
    let own = |uid: &EntityUid| uid.clone();
    let context = context.clone()?;
    Request::new(
        own(about.principal),
        own(about.action),
        own(about.resource),
        context,
        Some(schema::schema()),
    )
    .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
