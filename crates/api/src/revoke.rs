//! Taking authority away. When the answer arrives, it is over.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::form;

/// What is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokeTarget {
    /// One task and everything that descends from it.
    Task(String),
    /// Every task of an agent; the agent is suspended.
    Agent(String),
    /// One credential, from every task.
    Credential(String),
    /// Every task of the tenant.
    All,
}

impl<'de> Deserialize<'de> for RevokeTarget {
    /// By hand: left to itself, `serde` also reads `{"all": null}`.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Target;
        impl<'de> Visitor<'de> for Target {
            type Value = RevokeTarget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one target")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<RevokeTarget, E> {
                if word == "all" { Ok(RevokeTarget::All) } else { Err(E::custom("not a target")) }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RevokeTarget, A::Error> {
                let Some((what, which)) = map.next_entry::<String, String>()? else {
                    return Err(A::Error::custom("no target"));
                };
                if map.next_key::<IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom("more than one target"));
                }
                match what.as_str() {
                    "task" => Ok(RevokeTarget::Task(which)),
                    "agent" => Ok(RevokeTarget::Agent(which)),
                    "credential" => Ok(RevokeTarget::Credential(which)),
                    _ => Err(A::Error::custom("not a target")),
                }
            }
        }
        from.deserialize_any(Target)
    }
}

/// What is taken away.
#[derive(Debug, ToSchema)]
#[schema(as = RevokeTarget, rename_all = "lowercase")]
pub enum RevokeTargetForm {
    /// One task and everything that descends from it.
    Task(form::TaskId),
    /// Every task of an agent; the agent is suspended.
    Agent(form::Name),
    /// One credential, from every task.
    Credential(form::Name),
    /// Every task of the tenant.
    All,
}

/// Takes authority away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// `{"task": "t_…"}`, `{"agent": "…"}`, `{"credential": "…"}` or `"all"`.
    #[schema(value_type = RevokeTargetForm)]
    pub target: RevokeTarget,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Line>)]
    pub reason: Option<String>,
}

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokeReport {
    /// Tasks that it ended.
    pub tasks_ended: Vec<String>,
    /// Agents that it suspended.
    pub agents_suspended: Vec<String>,
    /// Credentials that it revoked.
    pub credentials_revoked: Vec<String>,
    /// Exchanges that were under way and were cut.
    pub streams_cut: u64,
    /// What must still be done by somebody: a sentence each, such as a key to be revoked at its source.
    pub pending: Vec<String>,
    /// From the question to the answer, in milliseconds.
    pub duration_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_names_exactly_one_target() {
        let read = |text: &str| serde_json::from_str::<Revoke>(text).map(|r| r.target).ok();
        assert_eq!(read(r#"{"target":{"task":"t_1"}}"#), Some(RevokeTarget::Task("t_1".to_owned())));
        assert_eq!(read(r#"{"target":"all","reason":"drill"}"#), Some(RevokeTarget::All));
        for bad in [
            r#"{"target":{"task":"t_1","agent":"a"}}"#,
            r#"{"target":{}}"#,
            r#"{"target":{"all":null}}"#,
            r#"{"target":{"tenant":"a"}}"#,
            r#"{"target":"task"}"#,
            r#"{}"#,
            r#"{"target":"all","x":1}"#,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
