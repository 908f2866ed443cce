//! A small world for the tests of this crate: one agent, one resource, one task, all in order.
//!
//! Each test changes what it is about.

use accredit_identity::caller::Attestation;
use accredit_identity::id::{
    AgentName, CredentialName, Environment, InstanceId, ResourceName, TaskId, TenantName,
};
use accredit_identity::key::Thumbprint;
use accredit_identity::spiffe::AgentKind;

use crate::action::{Action, Body, Call};
use crate::agent::{Agent, AgentStatus};
use crate::boundary::Boundary;
use crate::credential::{Credential, CredentialStatus, FieldName, Placement, Prefix};
use crate::digest::Digest;
use crate::facts::{Facts, Link, Prepared, Target};
use crate::host::Endpoint;
use crate::owner::Standing;
use crate::policy::{PolicySet, PolicySources};
use crate::resource::{Dialect, Mode, Resource, ResourceStatus, Sensitivity};
use crate::task::{Instance, Task, TaskState};
use crate::text::{Owner, Purpose};
use crate::time::Timestamp;

pub(crate) const START_MS: i64 = 1_795_000_000_000;
pub(crate) const TTL_MS: i64 = 3_600_000;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_ms(START_MS + 10_000)
}

pub(crate) fn tenant() -> TenantName {
    TenantName::parse("default").expect("a name")
}

pub(crate) fn agent(name: &str) -> Agent {
    Agent {
        tenant: tenant(),
        name: AgentName::parse(name).expect("a name"),
        kind: AgentKind::Agent,
        environment: Environment::parse("dev").expect("a name"),
        owner: Owner::parse("ana@corp").expect("an owner"),
        status: AgentStatus::Enabled,
        socket_uid: None,
        registered_at: Timestamp::from_ms(0),
    }
}

pub(crate) fn resource(name: &str) -> Resource {
    Resource {
        tenant: tenant(),
        name: ResourceName::parse(name).expect("a name"),
        owner: Owner::parse("team:platform").expect("an owner"),
        environment: Environment::parse("prod").expect("a name"),
        sensitivity: Sensitivity::Internal,
        mode: Mode::Enforce,
        endpoints: vec![Endpoint::parse(&format!("{name}.example")).expect("an endpoint")],
        private_network: false,
        ca_pem: None,
        dialect: Dialect::Plain,
        pass_cookies: false,
        credential: Some(CredentialName::parse("key").expect("a name")),
        status: ResourceStatus::Active,
        added_at: Timestamp::from_ms(0),
    }
}

pub(crate) fn credential(resource: &Resource) -> Credential {
    Credential {
        tenant: tenant(),
        name: CredentialName::parse("key").expect("a name"),
        resource: resource.name.clone(),
        owner: Owner::parse("team:platform").expect("an owner"),
        revocation_authority: Owner::parse("team:platform").expect("an owner"),
        rotation_due: None,
        placement: Placement::Header {
            field: FieldName::parse("x-api-key").expect("a field"),
            prefix: Prefix::parse("").expect("a prefix"),
        },
        secret_version: Some(1),
        last_version: 1,
        status: CredentialStatus::Active,
        added_at: Timestamp::from_ms(0),
    }
}

pub(crate) fn task(number: u8, agent: &Agent, grants: &[&str]) -> Task {
    Task {
        tenant: tenant(),
        id: TaskId::from_random([number; 16]),
        agent: agent.name.clone(),
        instance: Instance {
            id: InstanceId::from_random([number; 16]),
            attestation: Attestation::KeyProof,
            key: Thumbprint::parse(&"A".repeat(43)).expect("a thumbprint"),
            process: None,
        },
        purpose: Purpose::parse("fix checkout bug").expect("a purpose"),
        workflow: None,
        requested_by: None,
        parent: None,
        template: None,
        boundary: Boundary::parse(grants.iter().copied()).expect("grants"),
        proposed_at: Timestamp::from_ms(START_MS),
        held: true,
        state: TaskState::Active {
            since: Timestamp::from_ms(START_MS),
            expires_at: Timestamp::from_ms(START_MS + TTL_MS),
        },
        restraint: None,
    }
}

pub(crate) fn link(number: u8, name: &str, grants: &[&str]) -> Link {
    let agent = agent(name);
    Link { task: task(number, &agent, grants), agent, agent_owner: Standing::Active }
}

/// The agent `bot` in a task with these grants, at the resource `github`.
pub(crate) fn facts(grants: &[&str]) -> Facts {
    let resource = resource("github");
    let target = Target { credential: Some(credential(&resource)), resource, owner: Standing::Active };
    Facts {
        tenant: tenant(),
        chain: vec![link(1, "bot", grants)],
        target: Some(target),
        policy_set: Digest::of(b""),
        approvals: Vec::new(),
        denials: Vec::new(),
    }
}

pub(crate) fn prepared(facts: &Facts) -> Prepared {
    Prepared::new(facts.clone()).expect("facts that belong together")
}

pub(crate) fn call(host: &str, method: &str, path: &str) -> Call {
    Call {
        endpoint: Endpoint::parse(host).expect("an endpoint"),
        method: method.to_owned(),
        path: path.to_owned(),
        sent_path: None,
        query: None,
        head: Digest::of(b"head"),
        content_type: None,
        body_bytes: None,
        body: Body::None,
        query_shown: None,
        traceparent: String::new(),
    }
}

/// A request to `github.example`.
pub(crate) fn action(facts: &Facts, method: &str, path: &str) -> Action {
    Action::new(call("github.example", method, path), facts.target.as_ref().map(|t| &t.resource))
}

pub(crate) fn set(text: &str) -> PolicySet {
    let sources = PolicySources::one("p.cedar", text).expect("a source");
    PolicySet::compile(sources).unwrap_or_else(|problems| panic!("{problems:?}"))
}
