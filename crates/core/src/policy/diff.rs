//! What changed between two policy sets, by policy.

use crate::policy::{PolicySet, Rule};

/// How one policy differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only in the new set.
    Added {
        /// Its id.
        id: String,
        /// Its text.
        text: String,
    },
    /// Only in the old set.
    Removed {
        /// Its id.
        id: String,
        /// Its text.
        text: String,
    },
    /// In both with different texts.
    Changed {
        /// Its id.
        id: String,
        /// Its old text.
        before: String,
        /// Its new text.
        after: String,
    },
}

impl Change {
    /// The id of the policy.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Added { id, .. } | Self::Removed { id, .. } | Self::Changed { id, .. } => id,
        }
    }
}

/// The changes from `old` to `new` in order of the policies' ids. Policies without an `@id` are
/// known by their place in their file: one put in between changes those after it.
#[must_use]
pub fn diff(old: &PolicySet, new: &PolicySet) -> Vec<Change> {
    let id = |rule: &Rule| rule.id().to_owned();
    let text = |rule: &Rule| rule.text().to_owned();
    let gone_or_changed = old.rules().filter_map(|before| match new.rule(before.id()) {
        None => Some(Change::Removed { id: id(before), text: text(before) }),
        Some(after) if after.text() != before.text() => {
            Some(Change::Changed { id: id(before), before: text(before), after: text(after) })
        }
        Some(_) => None,
    });
    let added = new.rules().filter(|r| old.rule(r.id()).is_none());
    let mut changes: Vec<_> =
        gone_or_changed.chain(added.map(|r| Change::Added { id: id(r), text: text(r) })).collect();
    changes.sort_by(|a, b| a.id().cmp(b.id()));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicySources;

    #[test]
    fn policies_are_compared_by_id() {
        let set = |text| {
            PolicySet::compile(PolicySources::one("p.cedar", text).expect("a source"))
                .unwrap_or_else(|p| panic!("{p:?}"))
        };
        let old = set(
            "@id(\"a\") permit(principal, action, resource); @id(\"b\") forbid(principal, action, resource);",
        );
        let new = set(
            "@id(\"c\") permit(principal, action, resource); @id(\"b\")\nforbid(principal, action, resource);",
        );
        let changes: Vec<_> = diff(&old, &new);
        assert!(
            matches!(&changes[..], [Change::Removed { id: a, .. }, Change::Changed { id: b, .. }, Change::Added { id: c, .. }]
            if (a.as_str(), b.as_str(), c.as_str()) == ("a", "b", "c"))
        );
        assert!(diff(&old, &old).is_empty());
    }
}
