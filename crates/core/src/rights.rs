//! Who may do what: one table of operations and roles. Whoever is signed in acts in one role; the table says whether that
//! role may, may not, or may with what is theirs.
//!
//! Not here: answers to requests. Of those the table says which roles may answer at all; whether a person may answer this
//! request is in `approval`.

use std::fmt;

use crate::operator::{Operator, Role};
use crate::text::Owner;

/// What a role may do with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nothing.
    No,
    /// It, with what they own, or in their own name.
    Own,
    /// It.
    Yes,
}

use Right::{No, Own, Yes};

macro_rules! operations {
    ($($name:ident $word:literal $admin:ident $owner:ident $approver:ident $auditor:ident, $does:literal;)*) => {
        /// One thing that a signed-in person can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Operation {
            $(#[doc = $does] $name,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word for it, as the ledger has it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it does.
            #[must_use]
            pub const fn does(self) -> &'static str {
                match self { $(Self::$name => $does,)* }
            }

            /// What a role may do with it.
            #[must_use]
            pub const fn right(self, role: Role) -> Right {
                let of = match self { $(Self::$name => [$admin, $owner, $approver, $auditor],)* };
                match role {
                    Role::Admin => of[0],
                    Role::Owner => of[1],
                    Role::Approver => of[2],
                    Role::Auditor => of[3],
                }
            }
        }
    };
}

#[rustfmt::skip] // one line per operation reads as the table it is
operations! {
    //                                          admin owner approver auditor
    WhoAmI           "whoami"                   Yes Yes Yes Yes, "Sees who is signed in.";
    SignOut          "session.end"              Yes Yes Yes Yes, "Ends their session.";
    LinkCreate       "link.create"              Yes Own Own Own, "Makes a sign-in link.";
    PasskeyRead      "passkey.read"             No  Yes Yes No,  "Sees their passkeys.";
    PasskeyAdd       "passkey.add"              No  Yes Yes No,  "Registers a passkey of theirs.";
    PasskeyDrop      "passkey.drop"             No  Yes Yes No,  "Takes a passkey of theirs away.";
    OperatorRead     "operator.read"            Yes No  No  Yes, "Sees who is registered.";
    OperatorAdd      "operator.add"             Yes No  No  No,  "Registers a person.";
    OperatorChange   "operator.change"          Yes No  No  No,  "Changes what a person may do.";
    OperatorLapse    "operator.lapse"           Yes No  No  No,  "Lets a person lapse.";
    OwnerRead        "owner.read"               Yes Yes No  Yes, "Sees who answers for things.";
    OwnerAdd         "owner.add"                Yes No  No  No,  "Adds an owner.";
    OwnerLapse       "owner.lapse"              Yes No  No  No,  "Lets an owner lapse.";
    AgentRead        "agent.read"               Yes Yes No  Yes, "Sees agents.";
    AgentRegister    "agent.register"           Yes No  No  No,  "Registers an agent.";
    AgentSuspend     "agent.suspend"            Yes Own No  No,  "Suspends an agent.";
    AgentResume      "agent.resume"             Yes Own No  No,  "Lets an agent start tasks again.";
    AgentOwner       "agent.owner"              Yes No  No  No,  "Gives an agent to another owner.";
    AgentKeyAdd      "agent.key_add"            Yes No  No  No,  "Adds a key of an agent.";
    JoinTokenCreate  "join_token.create"        Yes No  No  No,  "Makes a join token.";
    ResourceRead     "resource.read"            Yes Yes No  Yes, "Sees resources.";
    ResourceAdd      "resource.add"             Yes No  No  No,  "Registers a resource.";
    ResourceChange   "resource.change"          Yes No  No  No,  "Changes a resource.";
    ResourceRetire   "resource.retire"          Yes No  No  No,  "Takes a resource out of use.";
    CredentialRead   "credential.read"          Yes Yes No  Yes, "Sees credentials, never their values.";
    CredentialUses   "credential.uses"          Yes Own No  Yes, "Sees who used a credential.";
    CredentialWhoCan "credential.who_can"       Yes Own No  Yes, "Sees who could use a credential.";
    CredentialAdd    "credential.add"           Yes Own No  No,  "Adds the credential of a resource.";
    SecretSet        "secret.set"               Yes Own No  No,  "Sets the value of a credential.";
    SecretDrop       "secret.drop"              Yes Own No  No,  "Drops the value of a credential.";
    TemplateRead     "template.read"            Yes Yes No  Yes, "Sees templates.";
    TaskRead         "task.read"                Yes Yes No  Yes, "Sees tasks and their receipts.";
    TaskExtend       "task.extend"              Yes No  No  No,  "Lets a task live longer.";
    TaskRelease      "task.release"             Yes Own No  No,  "Lets a task go on that a finding holds back.";
    TaskEnd          "task.end"                 Yes Own No  No,  "Ends a task.";
    FindingRead      "finding.read"             Yes Yes No  Yes, "Sees detected deviations.";
    Revoke           "revoke"                   Yes Own No  No,  "Takes authority away.";
    RequestRead      "request.read"             Yes Yes Yes Yes, "Sees requests for an answer.";
    RequestApprove   "request.approve"          No  Own Yes No,  "Says yes to a request.";
    RequestDeny      "request.deny"             No  Own Yes No,  "Says no to a request.";
    RequestWithdraw  "request.withdraw"         Yes Own Own No,  "Takes a yes back.";
    PolicyRead       "policy.read"              Yes Yes No  Yes, "Sees policies, and checks proposed ones.";
    PolicyReplay     "policy.replay"            Yes No  No  Yes, "Makes recorded decisions again under proposed policies.";
    PolicyApply      "policy.apply"             Yes No  No  No,  "Puts policies in force.";
    AuditRead        "audit.read"               Yes No  No  Yes, "Reads and verifies the ledger.";
    AuditExport      "audit.export"             Yes No  No  Yes, "Copies the whole ledger.";
    Why              "why"                      Yes No  No  Yes, "Has a decision explained from the ledger.";
    VaultRead        "vault.read"               Yes No  No  Yes, "Sees whether the vault is open.";
    VaultRotate      "vault.rotate"             Yes No  No  No,  "Rotates the keys of the vault.";
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why somebody may not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// Not in this role, or the role is no longer theirs.
    #[error("the role `{role}` of {who} may not do this ({operation})")]
    Role {
        /// Who.
        who: Owner,
        /// In which role.
        role: Role,
        /// What.
        operation: Operation,
    },
    /// Only with what they own.
    #[error("{who} does not answer for this ({operation})")]
    NotTheirs {
        /// Who.
        who: Owner,
        /// What.
        operation: Operation,
    },
}

/// Whether a person may ask for an operation at all, in this role.
///
/// # Errors
/// [`NotAllowed::Role`].
pub fn may_ask(who: &Operator, role: Role, operation: Operation) -> Result<Right, NotAllowed> {
    match operation.right(role) {
        right @ (Own | Yes) if who.has(role) => Ok(right),
        No | Own | Yes => Err(NotAllowed::Role { who: who.name.clone(), role, operation }),
    }
}

/// Whether a person may do it, in this role, to what these answer for.
///
/// # Errors
/// [`NotAllowed`].
pub fn may_do(who: &Operator, role: Role, operation: Operation, owners: &[Owner]) -> Result<(), NotAllowed> {
    match may_ask(who, role, operation)? {
        Yes => Ok(()),
        Own if owners.iter().any(|owner| who.is_or_in(owner)) => Ok(()),
        No | Own => Err(NotAllowed::NotTheirs { who: who.name.clone(), operation }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use accredit_identity::id::TenantName;

    use super::*;
    use crate::operator::Group;
    use crate::time::Timestamp;

    fn person(role: Role) -> Operator {
        let tenant = TenantName::parse("acme").expect("a tenant");
        let name = Owner::parse("bo@acme.test").expect("a person");
        Operator::first(&tenant, &name, role, Timestamp::from_ms(0))
    }

    #[test]
    fn the_table_keeps_what_the_roles_promise() {
        let words: BTreeSet<_> = Operation::ALL.iter().map(|o| o.as_str()).collect();
        assert_eq!(words.len(), Operation::ALL.len());
        for operation in Operation::ALL {
            let changes = operation.as_str().rsplit_once('.').is_some_and(|(_, verb)| {
                !["read", "uses", "who_can", "replay", "export", "end"].contains(&verb)
            });
            if changes && *operation != Operation::LinkCreate {
                assert_eq!(operation.right(Role::Auditor), No, "an auditor changes nothing: {operation}");
            }
        }
        for answer in [Operation::RequestApprove, Operation::RequestDeny] {
            assert_eq!(answer.right(Role::Admin), No, "whoever administers does not approve");
        }
    }

    #[test]
    fn a_role_counts_while_it_is_held_and_owners_have_what_is_theirs() {
        let mut owner = person(Role::Owner);
        let (theirs, other) =
            (Owner::parse("team:pay").expect("a team"), Owner::parse("team:x").expect("a team"));
        let may = |who: &Operator, owners: &[Owner]| may_do(who, Role::Owner, Operation::SecretSet, owners);
        assert!(matches!(may(&owner, std::slice::from_ref(&theirs)), Err(NotAllowed::NotTheirs { .. })));
        owner.groups.insert(Group::parse("pay").expect("a group"));
        assert_eq!(may(&owner, &[other.clone(), theirs.clone()]), Ok(()));
        assert!(may(&owner, std::slice::from_ref(&other)).is_err());
        // A session for a role that the person does not have is a session for nothing.
        assert!(matches!(may_ask(&owner, Role::Admin, Operation::WhoAmI), Err(NotAllowed::Role { .. })));
        assert_eq!(may_do(&person(Role::Admin), Role::Admin, Operation::SecretSet, &[other]), Ok(()));
        let gone = owner.lapse(Timestamp::from_ms(1));
        assert!(may(&gone, &[theirs]).is_err());
    }
}
