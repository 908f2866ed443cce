//! The vocabulary of policies: the Cedar schema, and how our names become entity ids.
//!
//! A policy set belongs to one tenant and its entities never leave it, so ids carry no tenant
//! prefix: `Agent::"claude-code"`, `Operation::"github/http.get"`.

use std::sync::LazyLock;

use accredit_identity::id::{AgentName, OperationName, ResourceName, TemplateName, TenantName};
use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};

use crate::effect::Effect;

/// The schema as text, for people and for other tools.
pub const SCHEMA_TEXT: &str = include_str!("schema.cedarschema");

/// The template id of a task that was started from no template. No template may have this name.
pub const ADHOC: &str = "adhoc";

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA_TEXT).expect("the schema is part of this crate and tested");
    schema
});

/// The compiled schema.
pub(crate) fn schema() -> &'static Schema {
    &SCHEMA
}

/// A kind of entity that a policy can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The tenant itself.
    Tenant,
    /// A registered agent.
    Agent,
    /// A resource.
    Resource,
    /// One operation of a resource.
    Operation,
    /// A template, or [`ADHOC`].
    Template,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Tenant, Self::Agent, Self::Resource, Self::Operation, Self::Template];

    /// The type's name in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Agent => "Agent",
            Self::Resource => "Resource",
            Self::Operation => "Operation",
            Self::Template => "Template",
        }
    }

    fn of(uid: &EntityUid) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *uid.type_name() == *k.type_name())
    }

    fn type_name(self) -> &'static EntityTypeName {
        static NAMES: LazyLock<[EntityTypeName; 5]> =
            LazyLock::new(|| Kind::ALL.map(|k| k.as_str().parse().expect("a plain word is a type name")));
        &NAMES[self as usize]
    }

    fn uid(self, id: impl AsRef<str>) -> EntityUid {
        EntityUid::from_type_name_and_id(self.type_name().clone(), EntityId::new(id))
    }
}

pub(crate) fn tenant(name: &TenantName) -> EntityUid {
    Kind::Tenant.uid(name.as_str())
}

pub(crate) fn agent(name: &AgentName) -> EntityUid {
    Kind::Agent.uid(name.as_str())
}

pub(crate) fn resource(name: &ResourceName) -> EntityUid {
    Kind::Resource.uid(name.as_str())
}

pub(crate) fn operation(resource: &ResourceName, operation: &OperationName) -> EntityUid {
    Kind::Operation.uid(format!("{resource}/{operation}"))
}

pub(crate) fn template(name: Option<&TemplateName>) -> EntityUid {
    Kind::Template.uid(name.map_or(ADHOC, TemplateName::as_str))
}

fn action(word: &str) -> EntityUid {
    let kind: EntityTypeName = "Action".parse().expect("a plain word is a type name");
    EntityUid::from_type_name_and_id(kind, EntityId::new(word))
}

/// The Cedar action of an effect.
pub(crate) fn effect(effect: Effect) -> &'static EntityUid {
    static ACTIONS: LazyLock<[EntityUid; 5]> = LazyLock::new(|| Effect::ALL.map(|e| action(e.as_str())));
    &ACTIONS[effect as usize]
}

/// The Cedar action of starting a task.
pub(crate) fn start() -> &'static EntityUid {
    static START: LazyLock<EntityUid> = LazyLock::new(|| action("start"));
    &START
}

/// The group of all actions but [`start`].
pub(crate) fn any_use() -> &'static EntityUid {
    static USE: LazyLock<EntityUid> = LazyLock::new(|| action("use"));
    &USE
}

/// What is wrong with an entity id that a policy names, and what to write instead.
pub(crate) fn misnamed(uid: &EntityUid) -> Option<(String, String)> {
    let kind = Kind::of(uid)?;
    let id = uid.id().unescaped();
    let message = format!("`{}::\"{}\"` names nothing that can exist", kind.as_str(), uid.id().escaped());
    let help = match kind {
        Kind::Operation => {
            let fits = id
                .split_once('/')
                .is_some_and(|(r, o)| ResourceName::parse(r).is_ok() && OperationName::parse(o).is_ok());
            (!fits).then(|| "write RESOURCE/OPERATION, such as `Operation::\"github/http.get\"`".to_owned())
        }
        Kind::Tenant | Kind::Agent | Kind::Resource | Kind::Template => AgentName::parse(id).err().map(|e| {
            let last = id.rsplit('/').next().unwrap_or_default();
            if id.contains('/') && AgentName::parse(last).is_ok() {
                format!("ids carry no tenant: write `{}::\"{last}\"`", kind.as_str())
            } else {
                e.to_string().replacen("an agent name", "a name", 1)
            }
        }),
    }?;
    Some((message, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_one_and_has_every_action() {
        let mut actions: Vec<_> = schema().actions().map(ToString::to_string).collect();
        actions.sort();
        let expected: Vec<_> = ["admin", "delete", "execute", "read", "start", "use", "write"]
            .map(|a| format!("Action::\"{a}\""))
            .into();
        assert_eq!(actions, expected);
        let (_, warnings) = Schema::from_cedarschema_str(SCHEMA_TEXT).expect("a schema");
        assert_eq!(warnings.count(), 0);
    }

    #[test]
    fn effects_are_actions_of_the_same_name() {
        for e in Effect::ALL {
            assert_eq!(effect(e).to_string(), format!("Action::\"{e}\""));
        }
        for kind in Kind::ALL {
            assert_eq!(kind.type_name().to_string(), kind.as_str());
        }
    }

    #[test]
    fn an_id_that_cannot_exist_is_answered_with_what_to_write() {
        let help = |text: &str| misnamed(&text.parse().expect("an entity id")).map(|(_, help)| help);
        assert_eq!(help("Agent::\"claude-code\""), None);
        assert_eq!(help("Operation::\"github/http.get\""), None);
        assert_eq!(help("Template::\"adhoc\""), None);
        assert_eq!(
            help("Agent::\"default/claude-code\"").as_deref(),
            Some("ids carry no tenant: write `Agent::\"claude-code\"`")
        );
        assert!(help("Operation::\"github\"").is_some_and(|h| h.contains("RESOURCE/OPERATION")));
        assert!(help("Agent::\"Claude Code\"").is_some_and(|h| h.starts_with("a name")));
    }
}
