//! People: operators with roles, and the groups that policies and owners name.
//!
//! People are never agents. What somebody may do follows from the record as it stands at the moment of doing it, never
//! from what a session was made with.

use std::collections::BTreeSet;
use std::fmt;

use accredit_identity::id::TenantName;
use serde::{Deserialize, Serialize};

use crate::owner::Standing;
use crate::text::Owner;
use crate::time::Timestamp;

/// Most groups that one person is in.
pub const GROUPS_MAX: usize = 64;

/// What a person may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Administers: agents, resources, policies, people. Does not approve what an owner or approver must.
    Admin,
    /// Answers for what they own: its credentials, its use, its approvals.
    Owner,
    /// Answers requests that policy routes to them.
    Approver,
    /// Reads everything, changes nothing.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Owner, Self::Approver, Self::Auditor];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a group's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a group is 1 to 63 lower-case letters, digits, `.`, `_` and `-`, starts with a letter or digit, and is no role"
)]
pub struct GroupError;

/// A group of people, such as `payments`: what `role:payments` and `team:payments` mean.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Group(String);

impl Group {
    /// Parses a group's name.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn parse(text: &str) -> Result<Self, GroupError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(plain)
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && Role::parse(text).is_none();
        if fits { Ok(Self(text.to_owned())) } else { Err(GroupError) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Group> for String {
    fn from(group: Group) -> Self {
        group.0
    }
}

impl TryFrom<String> for Group {
    type Error = GroupError;

    fn try_from(text: String) -> Result<Self, GroupError> {
        Self::parse(&text)
    }
}

/// Who somebody is at an identity provider: the two claims that never change (OpenID Connect Core §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcIdentity {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
}

/// One registered person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Whose.
    pub tenant: TenantName,
    /// Who: `person@organisation`.
    pub name: Owner,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// Which groups they are in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<Group>,
    /// Whether they may act at all.
    pub standing: Standing,
    /// Another account of the same person, for the separation of duties. `None`: this is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_person_as: Option<Owner>,
    /// Who takes over what they own when they lapse. `None`: it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Owner>,
    /// Who they are at the identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcIdentity>,
    /// When they were registered.
    pub added_at: Timestamp,
}

impl Operator {
    /// Somebody who signs in for the first time, with one role.
    #[must_use]
    pub fn first(tenant: &TenantName, name: &Owner, role: Role, now: Timestamp) -> Self {
        Self {
            tenant: tenant.clone(),
            name: name.clone(),
            roles: BTreeSet::from([role]),
            groups: BTreeSet::new(),
            standing: Standing::Active,
            same_person_as: None,
            successor: None,
            oidc: None,
            added_at: now,
        }
    }

    /// Whether they may act at all.
    #[must_use]
    pub const fn active(&self) -> bool {
        matches!(self.standing, Standing::Active)
    }

    /// Whether they hold the role, now.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.active() && self.roles.contains(&role)
    }

    /// Whether an owner's name means them: themselves, or a team that they are in.
    #[must_use]
    pub fn is_or_in(&self, owner: &Owner) -> bool {
        match owner.as_str().strip_prefix("team:") {
            Some(team) => self.in_group(team),
            None => *owner == self.name,
        }
    }

    /// Whether `role:…` in a policy means them: one of the four roles, or a group.
    #[must_use]
    pub fn plays(&self, role: &str) -> bool {
        match Role::parse(role) {
            Some(role) => self.roles.contains(&role),
            None => self.in_group(role),
        }
    }

    fn in_group(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group.as_str() == name)
    }

    /// The name that stands for the person behind all of their accounts.
    #[must_use]
    pub fn person(&self) -> &Owner {
        self.same_person_as.as_ref().unwrap_or(&self.name)
    }

    /// The operator, lapsed. The first lapse stands.
    #[must_use]
    pub fn lapse(self, now: Timestamp) -> Self {
        match self.standing {
            Standing::Active => Self { standing: Standing::Lapsed { at: now }, ..self },
            Standing::Lapsed { .. } => self,
        }
    }
}
