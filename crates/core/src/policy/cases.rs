//! `accredit policy test`: a file of made-up uses with the answers that are expected.
//!
//! TOML, or JSON of the same shape:
//!
//! ```toml
//! [agents.deployer]
//! kind = "job"
//! environment = "prod"
//!
//! [resources.billing]
//! environment = "prod"
//! sensitivity = "restricted"
//!
//! [[case]]
//! name = "deployer may not delete invoices"
//! agent = "deployer"
//! resource = "billing"
//! method = "DELETE"
//! path = "/invoices/7"
//! expect = "deny"            # allow, ask or deny
//! policies = ["prod#3"]      # which policies determine it; left out: any
//! ```

use std::collections::BTreeMap;

use accredit_identity::id::{AgentName, Environment, ResourceName, TemplateName, TenantName};
use accredit_identity::spiffe::AgentKind;
use serde::Deserialize;

use crate::agent::{Agent, AgentStatus};
use crate::boundary::{Boundary, Grant};
use crate::host::Endpoint;
use crate::policy::PolicySet;
use crate::policy::situation::{Answer, RequestSketch, Situation, TaskSketch};
use crate::resource::{Dialect, Mode, Resource, ResourceStatus, Sensitivity};
use crate::text::{Owner, Purpose, Requester, Workflow};
use crate::time::Timestamp;

/// Longest file, in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1_024;
/// Most cases of one file.
pub const CASES_MAX: usize = 1_000;

/// Why a file is not one of cases.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// Longer than [`FILE_BYTES_MAX`].
    #[error("the file is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`CASES_MAX`].
    #[error("{0} cases, the most is {CASES_MAX}")]
    TooMany(usize),
    /// Not TOML of the shape.
    #[error("{0}")]
    Toml(Box<toml::de::Error>),
    /// Not JSON of the shape.
    #[error("{0}")]
    Json(serde_json::Error),
    /// A case names an agent or a resource that the file does not describe.
    #[error("the case `{case}` names {what} that the file does not describe; add `[{table}]`")]
    NotDescribed {
        /// Which case.
        case: String,
        /// What it names.
        what: String,
        /// The table to add.
        table: String,
    },
    /// The case cannot be.
    #[error("the case `{case}` cannot be: {why}")]
    Impossible {
        /// Which case.
        case: String,
        /// Why.
        why: String,
    },
}

/// The expected answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It may happen.
    Allow,
    /// A person must say yes first.
    Ask,
    /// It may not happen.
    Deny,
}

impl Expected {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// How one case came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// What was expected.
    pub expected: Expected,
    /// The policies that were expected to determine it; `None`: any.
    pub expected_policies: Option<Vec<String>>,
    /// What was answered.
    pub answer: Answer,
}

impl CaseResult {
    /// Whether the answer is the expected one.
    #[must_use]
    pub fn passed(&self) -> bool {
        let determined = self.expected_policies.as_ref().is_none_or(|p| *p == self.answer.grounds.policies);
        self.answer.outcome.as_str() == self.expected.as_str() && determined
    }
}

/// A checked file of cases.
#[derive(Debug)]
pub struct Cases(File);

impl Cases {
    /// Parses a file: JSON when it starts with `{`, else TOML.
    ///
    /// # Errors
    /// [`CasesError`] with the place.
    pub fn parse(text: &str) -> Result<Self, CasesError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(CasesError::TooLong);
        }
        let file: File = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(CasesError::Json)?
        } else {
            toml::from_str(text).map_err(|e| CasesError::Toml(Box::new(e)))?
        };
        match file.case.len() {
            0..=CASES_MAX => Ok(Self(file)),
            many => Err(CasesError::TooMany(many)),
        }
    }

    /// Answers every case under these policies.
    ///
    /// # Errors
    /// [`CasesError`] for the first case that cannot be answered.
    pub fn run(&self, policies: &PolicySet, now: Timestamp) -> Result<Vec<CaseResult>, CasesError> {
        self.0.case.iter().map(|case| self.0.run(case, policies, now)).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    agents: BTreeMap<AgentName, AgentSketch>,
    #[serde(default)]
    resources: BTreeMap<ResourceName, ResourceSketch>,
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentSketch {
    #[serde(default = "agent_kind")]
    kind: AgentKind,
    #[serde(default = "environment")]
    environment: Environment,
    #[serde(default = "owner")]
    owner: Owner,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceSketch {
    #[serde(default = "environment")]
    environment: Environment,
    #[serde(default = "sensitivity")]
    sensitivity: Sensitivity,
    #[serde(default = "owner")]
    owner: Owner,
    #[serde(default = "mode")]
    mode: Mode,
    #[serde(default = "dialect")]
    dialect: Dialect,
    /// `host`, `host:port` or with a scheme.
    endpoint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    agent: AgentName,
    resource: ResourceName,
    method: String,
    path: String,
    content_type: Option<String>,
    body_bytes: Option<u64>,
    purpose: Option<Purpose>,
    workflow: Option<Workflow>,
    requested_by: Option<Requester>,
    template: Option<TemplateName>,
    attested: Option<bool>,
    #[serde(default)]
    age_s: u64,
    #[serde(default)]
    calls: u64,
    /// How sensitive the resources are that the task may have had an answer from.
    #[serde(default)]
    seen: Vec<Sensitivity>,
    /// What the task may touch; left out: everything on the resource.
    boundary: Option<Vec<Grant>>,
    expect: Expected,
    policies: Option<Vec<String>>,
}

fn agent_kind() -> AgentKind {
    AgentKind::Agent
}
fn environment() -> Environment {
    Environment::parse("dev").expect("a plain word is a name")
}
fn owner() -> Owner {
    Owner::parse("team:owners").expect("it has the form of a team")
}
fn sensitivity() -> Sensitivity {
    Sensitivity::Internal
}
fn mode() -> Mode {
    Mode::Enforce
}
fn dialect() -> Dialect {
    Dialect::Plain
}
fn tenant() -> TenantName {
    TenantName::parse("default").expect("a plain word is a name")
}

impl File {
    fn run(&self, case: &Case, policies: &PolicySet, now: Timestamp) -> Result<CaseResult, CasesError> {
        let missing =
            |what: String, table: String| CasesError::NotDescribed { case: case.name.clone(), what, table };
        let agent = self.agents.get(&case.agent);
        let agent = agent.ok_or_else(|| {
            missing(format!("the agent `{}`", case.agent), format!("agents.{}", case.agent))
        })?;
        let resource = self.resources.get(&case.resource);
        let resource = resource.ok_or_else(|| {
            missing(format!("the resource `{}`", case.resource), format!("resources.{}", case.resource))
        })?;
        let impossible = |why: String| CasesError::Impossible { case: case.name.clone(), why };
        let agent = agent.named(&case.agent, now);
        let resource = resource.named(&case.resource, now).map_err(impossible)?;
        let (task, request) = (case.task(), case.request());
        let situation = Situation { agent: &agent, resource: &resource, task: &task, request: &request, now };
        let answer = situation.answer(policies).map_err(|e| impossible(e.to_string()))?;
        let mut expected_policies = case.policies.clone();
        if let Some(ids) = &mut expected_policies {
            ids.sort();
        }
        Ok(CaseResult { name: case.name.clone(), expected: case.expect, expected_policies, answer })
    }
}

impl AgentSketch {
    fn named(&self, name: &AgentName, now: Timestamp) -> Agent {
        Agent {
            tenant: tenant(),
            name: name.clone(),
            kind: self.kind,
            environment: self.environment.clone(),
            owner: self.owner.clone(),
            status: AgentStatus::Enabled,
            socket_uid: None,
            registered_at: now,
        }
    }
}

impl ResourceSketch {
    fn named(&self, name: &ResourceName, now: Timestamp) -> Result<Resource, String> {
        let text = self.endpoint.clone().unwrap_or_else(|| "resource.invalid".to_owned());
        let endpoint = Endpoint::parse(&text).map_err(|e| e.to_string())?;
        Ok(Resource {
            tenant: tenant(),
            name: name.clone(),
            owner: self.owner.clone(),
            environment: self.environment.clone(),
            sensitivity: self.sensitivity,
            mode: self.mode,
            endpoints: vec![endpoint],
            private_network: false,
            ca_pem: None,
            dialect: self.dialect,
            pass_cookies: false,
            credential: None,
            status: ResourceStatus::Active,
            added_at: now,
        })
    }
}

impl Case {
    fn task(&self) -> TaskSketch {
        let plain = TaskSketch::default();
        TaskSketch {
            purpose: self.purpose.clone().unwrap_or(plain.purpose),
            workflow: self.workflow.clone(),
            requested_by: self.requested_by.clone(),
            template: self.template.clone(),
            attested: self.attested.unwrap_or(plain.attested),
            age_s: self.age_s,
            calls: self.calls,
            seen: self.seen.clone(),
            boundary: self.boundary.clone().map(|usable| Boundary { usable, delegable: Vec::new() }),
        }
    }

    fn request(&self) -> RequestSketch {
        RequestSketch {
            method: self.method.clone(),
            path: self.path.clone(),
            endpoint: None,
            content_type: self.content_type.clone(),
            body_bytes: self.body_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: POL-09
    #[test]
    fn a_case_says_what_its_task_has_seen() {
        let file = |seen: &str| {
            format!(
                "[agents.a]\n[resources.r]\n[[case]]\nname = \"c\"\nagent = \"a\"\nresource = \"r\"
                method = \"POST\"\npath = \"/\"\nexpect = \"allow\"\nseen = [{seen}]"
            )
        };
        let policies = crate::fixture::set(
            "permit(principal, action, resource);
            forbid(principal, action == Action::\"write\", resource)
            when { context.task has seen && context.task.seen.contains(\"confidential\") };",
        );
        for (seen, passes) in [("", true), ("\"restricted\"", true), ("\"public\", \"confidential\"", false)]
        {
            let results = Cases::parse(&file(seen)).expect("a file").run(&policies, Timestamp::from_ms(0));
            assert_eq!(results.expect("answers")[0].passed(), passes, "{seen}");
        }
        assert!(Cases::parse(&file("\"secret\"")).is_err());
    }
    use crate::policy::PolicySources;

    const FILE: &str = r#"
        [agents.deployer]
        kind = "job"
        [resources.billing]
        environment = "prod"
        [[case]]
        name = "reads"
        agent = "deployer"
        resource = "billing"
        method = "GET"
        path = "/invoices"
        expect = "allow"
        policies = ["read"]
        [[case]]
        name = "deletes"
        agent = "deployer"
        resource = "billing"
        method = "DELETE"
        path = "/invoices/7"
        expect = "ask"
        [[case]]
        name = "outside its boundary"
        agent = "deployer"
        resource = "billing"
        method = "GET"
        path = "/invoices"
        boundary = ["billing: GET /other"]
        expect = "deny"
    "#;

    fn run(file: &str) -> Vec<(bool, &'static str)> {
        let text = "@id(\"read\") permit(principal, action == Action::\"read\", resource);
            permit(principal, action == Action::\"delete\", resource) when { context.approval.granted };";
        let set = PolicySet::compile(PolicySources::one("p.cedar", text).expect("a source"))
            .unwrap_or_else(|p| panic!("{p:?}"));
        let results = Cases::parse(file)
            .expect("a file of cases")
            .run(&set, Timestamp::from_ms(0))
            .expect("possible cases");
        results.iter().map(|r| (r.passed(), r.answer.code())).collect()
    }

    #[test]
    fn cases_are_answered_by_the_decision_function() {
        assert_eq!(run(FILE), [(true, "allowed"), (true, "approval_pending"), (true, "outside_boundary")]);
        let wrong = FILE.replace("expect = \"ask\"", "expect = \"deny\"").replace("[\"read\"]", "[\"p#1\"]");
        assert_eq!(run(&wrong).iter().map(|r| r.0).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn json_of_the_same_shape_is_read_too() {
        let json = r#"{"agents":{"a":{}},"resources":{"r":{}},"case":[{"name":"n","agent":"a","resource":"r","method":"GET","path":"/","expect":"allow"}]}"#;
        assert_eq!(run(json), [(true, "allowed")]);
    }

    #[test]
    fn what_is_not_a_file_of_cases_is_refused_with_the_reason() {
        let check = |file: &str, part: &str| {
            let set = PolicySet::compile(PolicySources::default()).unwrap_or_else(|p| panic!("{p:?}"));
            let error = Cases::parse(file)
                .and_then(|c| c.run(&set, Timestamp::from_ms(0)).map(drop))
                .expect_err(file);
            assert!(error.to_string().contains(part), "{error}");
        };
        check("", "case");
        check(&FILE.replace("expect", "expects"), "expects");
        check(&FILE.replace("agents.deployer", "agents.other"), "[agents.deployer]");
        check(&FILE.replace("kind = \"job\"", "kind = \"person\""), "person");
        check(&" ".repeat(FILE_BYTES_MAX + 1), "longer");
        let many = format!("[{}]", vec!["{\"name\":\"n\",\"agent\":\"a\",\"resource\":\"r\",\"method\":\"GET\",\"path\":\"/\",\"expect\":\"deny\"}"; CASES_MAX + 1].join(","));
        check(&format!("{{\"case\":{many}}}"), "most");
    }
}
