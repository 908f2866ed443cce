//! People: operators with roles, and the groups that policies and owners name.
//!
//! People are never agents. What somebody may do follows from the record as it stands at the moment of doing it, never
//! from what a session was made with.

use std::collections::BTreeSet;
use std::fmt;

use accredit_identity::id::TenantName;
use accredit_identity::passkey;
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

/// Most passkeys of one person: a device for each place, and a spare.
pub const PASSKEYS_MAX: usize = 8;

/// A passkey of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// What their device registered.
    pub passkey: passkey::Passkey,
    /// When.
    pub added_at: Timestamp,
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

/// What is to be different about an operator. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorChange {
    /// Other roles, all of them.
    pub roles: Option<BTreeSet<Role>>,
    /// Other groups, all of them.
    pub groups: Option<BTreeSet<Group>>,
    /// Another account of the same person, or none.
    pub same_person_as: Option<Option<Owner>>,
    /// Another successor, or none.
    pub successor: Option<Option<Owner>>,
    /// Whether their passkeys are taken away.
    pub drop_passkeys: bool,
}

/// Why an operator cannot be registered or changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// A team was named.
    #[error("`{0}` is no person")]
    NotAPerson(Owner),
    /// Nothing that they could do.
    #[error("somebody without a role can do nothing")]
    NoRole,
    /// More groups than one person can be in.
    #[error("one person is in {GROUPS_MAX} groups at most")]
    TooManyGroups,
    /// More passkeys than one person can have.
    #[error("one person has {PASSKEYS_MAX} passkeys at most")]
    TooManyPasskeys,
    /// Their own successor, or another account of themself by the same name.
    #[error("`{0}` is the operator itself")]
    Itself(Owner),
    /// Whoever administers does not widen their own rights, and does not lock themself out.
    #[error("`{0}` is an account of whoever asks")]
    OwnAccount(Owner),
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
    /// Their passkeys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passkeys: Vec<Passkey>,
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
            passkeys: Vec::new(),
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

    /// Whether they are of the same person as another account.
    #[must_use]
    pub fn is_same_person_as(&self, other: &Self) -> bool {
        self.person() == other.person()
    }

    /// Whether their registration may be changed or ended by this person: never by themself, by whichever account.
    ///
    /// # Errors
    /// [`OperatorError::OwnAccount`].
    pub fn may_be_changed_by(&self, who: &Self) -> Result<(), OperatorError> {
        if self.is_same_person_as(who) {
            return Err(OperatorError::OwnAccount(self.name.clone()));
        }
        Ok(())
    }

    /// The operator, changed.
    ///
    /// # Errors
    /// [`OperatorError`] when they cannot be so.
    pub fn change(self, change: OperatorChange) -> Result<Self, OperatorError> {
        let changed = Self {
            roles: change.roles.unwrap_or(self.roles),
            groups: change.groups.unwrap_or(self.groups),
            same_person_as: change.same_person_as.unwrap_or(self.same_person_as),
            successor: change.successor.unwrap_or(self.successor),
            passkeys: if change.drop_passkeys { Vec::new() } else { self.passkeys },
            ..self
        };
        if changed.name.as_str().starts_with("team:") {
            return Err(OperatorError::NotAPerson(changed.name));
        }
        if changed.roles.is_empty() {
            return Err(OperatorError::NoRole);
        }
        if changed.groups.len() > GROUPS_MAX {
            return Err(OperatorError::TooManyGroups);
        }
        let named = [&changed.same_person_as, &changed.successor];
        if named.into_iter().any(|other| other.as_ref() == Some(&changed.name)) {
            return Err(OperatorError::Itself(changed.name));
        }
        Ok(changed)
    }

    /// The operator with one passkey more.
    ///
    /// # Errors
    /// [`OperatorError::TooManyPasskeys`].
    pub fn with_passkey(mut self, passkey: Passkey) -> Result<Self, OperatorError> {
        if self.passkeys.len() >= PASSKEYS_MAX {
            return Err(OperatorError::TooManyPasskeys);
        }
        self.passkeys.push(passkey);
        Ok(self)
    }

    /// The operator after a passkey was used. `None`: they no longer have it, or it was used again meanwhile.
    #[must_use]
    pub fn with_used(mut self, used: &passkey::Passkey) -> Option<Self> {
        let same = |one: &&mut Passkey| one.passkey.id == used.id && one.passkey.key == used.key;
        let kept = self.passkeys.iter_mut().find(same)?;
        if used.signs != 0 && used.signs <= kept.passkey.signs {
            return None;
        }
        kept.passkey.signs = used.signs;
        Some(self)
    }

    /// The fields in which they differ from how they were before.
    #[must_use]
    pub fn differs_in(&self, before: &Self) -> Vec<&'static str> {
        let fields = [
            ("roles", self.roles != before.roles),
            ("groups", self.groups != before.groups),
            ("same_person_as", self.same_person_as != before.same_person_as),
            ("successor", self.successor != before.successor),
            ("passkeys", self.passkeys != before.passkeys),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }

    /// The operator, acting again after a lapse. Nothing of what they owned comes back with it.
    #[must_use]
    pub fn restore(self) -> Self {
        Self { standing: Standing::Active, ..self }
    }

    /// The operator, lapsed, without the devices and the identity at a provider that they had. The first lapse stands.
    #[must_use]
    pub fn lapse(self, now: Timestamp) -> Self {
        match self.standing {
            Standing::Active => {
                Self { standing: Standing::Lapsed { at: now }, passkeys: Vec::new(), oidc: None, ..self }
            }
            Standing::Lapsed { .. } => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, other: Option<&str>) -> Operator {
        let owner = |text: &str| Owner::parse(text).expect("an owner");
        let tenant = TenantName::parse("acme").expect("a tenant");
        let first = Operator::first(&tenant, &owner(name), Role::Admin, Timestamp::from_ms(0));
        Operator { same_person_as: other.map(owner), ..first }
    }

    #[test]
    fn nobody_changes_an_account_of_their_own() {
        let (ana, bo) = (person("ana@acme.test", None), person("bo@acme.test", None));
        let other = person("a@acme.test", Some("ana@acme.test"));
        assert_eq!(bo.may_be_changed_by(&ana), Ok(()));
        for own in [&ana, &other] {
            assert_eq!(own.may_be_changed_by(&ana), Err(OperatorError::OwnAccount(own.name.clone())));
            assert!(ana.may_be_changed_by(own).is_err());
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_leaves_somebody_who_can_do_something() {
        let change = |change: OperatorChange| person("bo@acme.test", None).change(change);
        let group = |n: usize| Group::parse(&format!("g{n}")).expect("a group");
        let changed = change(OperatorChange {
            groups: Some((0..GROUPS_MAX).map(group).collect()),
            ..OperatorChange::default()
        });
        let changed = changed.expect("as many groups as there may be");
        assert_eq!(changed.differs_in(&person("bo@acme.test", None)), ["groups"]);
        for (wrong, error) in [
            (
                OperatorChange { roles: Some(BTreeSet::new()), ..OperatorChange::default() },
                OperatorError::NoRole,
            ),
            (
                OperatorChange {
                    groups: Some((0..=GROUPS_MAX).map(group).collect()),
                    ..OperatorChange::default()
                },
                OperatorError::TooManyGroups,
            ),
            (
                OperatorChange { successor: Some(Some(changed.name.clone())), ..OperatorChange::default() },
                OperatorError::Itself(changed.name.clone()),
            ),
        ] {
            assert_eq!(change(wrong), Err(error));
        }
        assert!(person("team:pay", None).change(OperatorChange::default()).is_err());
    }
}
