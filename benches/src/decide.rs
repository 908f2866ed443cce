//! P3: the time of one decision, beside the plain policy engine over the whole set. Each agent has a policy of its
//! own, so a set of N policies serves N agents, and what one agent does must not cost more because of the others.

use std::sync::Arc;
use std::time::Instant;

use accredit_core::action::{Action, Call};
use accredit_core::agent::{Agent, AgentStatus};
use accredit_core::boundary::Boundary;
use accredit_core::decide::{Question, decide};
use accredit_core::decision::{Decision, Outcome};
use accredit_core::digest::Digest;
use accredit_core::facts::{Facts, Link, Prepared, Target, Usage};
use accredit_core::host::Endpoint;
use accredit_core::id::{AgentName, DecisionId, Environment, InstanceId, TaskId, TenantName, TokenId};
use accredit_core::owner::Standing;
use accredit_core::policy::{PolicySet, PolicySource, PolicySources};
use accredit_core::resource::{Dialect, Mode, Resource, ResourceStatus, Sensitivity};
use accredit_core::task::{Instance, Task, TaskState};
use accredit_core::text::{Owner, Purpose};
use accredit_core::time::Timestamp;
use accredit_identity::caller::{Attestation, Caller};
use accredit_identity::dpop::{ProvedRequest, mint_proof, verify_proof};
use accredit_identity::key::SigningKey;
use accredit_identity::key_set::{KeyId, KeySet, KeyState, TokenKey};
use accredit_identity::spiffe::{AgentKind, SpiffeId};
use accredit_identity::token::{Expected, Subject, TaskTokenClaims, mint, verify};

use crate::figures::{Times, short};
use crate::report::{Report, Table};
use crate::world::random;
use crate::{Failure, Scale, machine};

/// Policies, and as many agents.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
/// Policies of one file: 1,250 of these stay below the bound of a file.
const POLICIES_PER_FILE: usize = 1_000;
const ISSUER: &str = "https://bench.test";

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let heads = ["policies = agents", "p50 us", "p99 us", "x of 10", "plain Cedar p50 us", "load ms"];
    let mut table = Table::new("One decision (P3: at most 25 us, flat from 10 to 10,000)", &heads);
    let mut smallest = f64::NAN;
    for size in SIZES.into_iter().filter(|size| !scale.quick || *size <= 100) {
        let texts: Vec<String> = (0..size).map(policy).collect();
        let begun = Instant::now();
        let policies = compile(&texts)?;
        let load_ms = begun.elapsed().as_secs_f64() * 1e3;
        let mut times = decisions(scale, size, &policies)?;
        let [p50, p99, _] = times.usual_us();
        if smallest.is_nan() {
            smallest = p50;
        }
        let plain = plain_engine(scale, &texts)?;
        table.row([
            size.to_string(),
            short(p50),
            short(p99),
            short(p50 / smallest),
            short(plain),
            short(load_ms),
        ]);
    }
    table.note("a decision: action built, policies sliced, evaluated; every agent in turn, each once before the clock runs");
    table.note("plain Cedar: is_authorized over the whole set, with entities and context already built");
    report.add(&table);
    Ok(())
}

fn policy(number: usize) -> String {
    format!(
        "permit(principal == Agent::\"a{number}\", action == Action::\"read\", resource in Resource::\"service\")
         when {{ context.request.path like \"/v1/*\" && context.task.calls < 1000000 }};\n"
    )
}

fn compile(texts: &[String]) -> Result<PolicySet, Failure> {
    let named =
        |(at, texts): (usize, &[String])| PolicySource { name: format!("p{at}.cedar"), text: texts.concat() };
    let sources = texts.chunks(POLICIES_PER_FILE).enumerate().map(named).collect();
    PolicySet::compile(PolicySources::new(sources)?)
        .map_err(|problems| problems.first().map(ToString::to_string).unwrap_or_default().into())
}

fn decisions(scale: Scale, agents: usize, policies: &PolicySet) -> Result<Times, Failure> {
    let actors = Actors::new()?;
    let actors = (0..agents).map(|n| actors.actor(n, policies)).collect::<Result<Vec<_>, _>>()?;
    for actor in &actors {
        let decision = actor.decide(policies)?;
        if *decision.outcome() != Outcome::Allow {
            return Err(format!("the decision that is measured is not an allow: {}", decision.code()).into());
        }
    }
    let mut times = Times::default();
    for actor in actors.iter().cycle().take(scale.of(50_000, 500)) {
        let begun = Instant::now();
        let decision = actor.decide(policies)?;
        times.add(begun.elapsed());
        drop(decision);
    }
    Ok(times)
}

/// The keys that make callers.
pub(crate) struct Actors {
    signer: SigningKey,
    holder: SigningKey,
    now: Timestamp,
}

/// One agent in a task of its own.
pub(crate) struct Actor {
    pub(crate) caller: Caller,
    pub(crate) prepared: Arc<Prepared>,
    now: Timestamp,
}

impl Actors {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { signer: SigningKey::generate()?, holder: SigningKey::generate()?, now: machine::now() })
    }

    pub(crate) fn actor(&self, number: usize, policies: &PolicySet) -> Result<Actor, Failure> {
        let agent = agent(&format!("a{number}"))?;
        let task = self.task(&agent)?;
        let caller = self.caller(&agent, &task)?;
        let facts = Facts {
            tenant: tenant()?,
            chain: vec![Link { task, agent, agent_owner: Standing::Active }],
            target: Some(Target { resource: resource()?, owner: Standing::Active, credential: None }),
            policy_set: policies.digest(),
            approvals: Vec::new(),
            denials: Vec::new(),
        };
        Ok(Actor { caller, prepared: Arc::new(Prepared::new(facts)?), now: self.now })
    }

    /// A task of the agent that may read the resource.
    pub(crate) fn task(&self, agent: &Agent) -> Result<Task, Failure> {
        let since = self.now;
        Ok(Task {
            tenant: tenant()?,
            id: TaskId::from_random(random()),
            agent: agent.name.clone(),
            instance: Instance {
                id: InstanceId::from_random(random()),
                attestation: Attestation::KeyProof,
                key: self.holder.public().thumbprint(),
                process: None,
            },
            purpose: Purpose::parse("measure what it costs")?,
            workflow: None,
            requested_by: None,
            parent: None,
            template: None,
            boundary: Boundary::parse(["service: GET /v1/**"]).map_err(|(_, error)| error)?,
            proposed_at: since,
            held: false,
            state: TaskState::Active { since, expires_at: since.plus_ms(3_600_000) },
            restraint: None,
        })
    }

    pub(crate) fn caller(&self, agent: &Agent, task: &Task) -> Result<Caller, Failure> {
        let id =
            SpiffeId::parse(&format!("spiffe://bench.test/{}/bench/agent/{}", agent.tenant, agent.name))?;
        let claims = TaskTokenClaims {
            issuer: ISSUER.to_owned(),
            subject: Subject::from(&id),
            audience: ISSUER.to_owned(),
            issued_at: self.now,
            expires_at: self.now.plus_ms(300_000),
            id: TokenId::from_random(random()),
            agent: id,
            instance: task.instance.id.clone(),
            attestation: task.instance.attestation,
            task: task.id.clone(),
            actor: None,
            key: task.instance.key,
            authorization_details: Vec::new(),
        };
        let token = mint(claims, &self.signer, &KeyId::of(self.signer.public()))?;
        let key = self.signer.public().clone();
        let keys =
            KeySet::new([TokenKey { key, not_before: Timestamp::from_ms(0), state: KeyState::Valid }])?;
        let expected = Expected { issuer: ISSUER, audience: ISSUER };
        let verified = verify(token.expose(), &keys, &expected, self.now)?;
        let text = token.expose();
        let proof = mint_proof(&self.holder, "GET", ISSUER, Some(text), self.now, random())?;
        let request = ProvedRequest { method: "GET", url: ISSUER, access_token: Some(text), key: None };
        let possession = verify_proof(&proof, &request, self.now, |_| true)?;
        Ok(Caller::from_token(verified, &possession)?)
    }
}

impl Actor {
    fn decide(&self, policies: &PolicySet) -> Result<Decision, Failure> {
        decision(&self.caller, &self.prepared, &Usage::default(), policies, self.now)
    }
}

/// A decision about one read of the resource.
pub(crate) fn decision(
    caller: &Caller,
    prepared: &Arc<Prepared>,
    usage: &Usage,
    policies: &PolicySet,
    now: Timestamp,
) -> Result<Decision, Failure> {
    let target = prepared.facts().target.as_ref().map(|t| &t.resource);
    let call = Call {
        endpoint: endpoint()?,
        method: "GET".to_owned(),
        path: "/v1/orders".to_owned(),
        sent_path: None,
        query: None,
        head: Digest::from_bytes([7; 32]),
        content_type: None,
        body_bytes: None,
        body: accredit_core::action::Body::None,
        query_shown: None,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
    };
    Ok(decide(Question {
        id: DecisionId::from_random(random()),
        caller: caller.clone(),
        action: Action::new(call, target),
        prepared: Arc::clone(prepared),
        usage,
        policies,
        now,
    }))
}

pub(crate) fn tenant() -> Result<TenantName, Failure> {
    Ok(TenantName::parse("default")?)
}

pub(crate) fn owner() -> Result<Owner, Failure> {
    Ok(Owner::parse("team:bench")?)
}

pub(crate) fn endpoint() -> Result<Endpoint, Failure> {
    Ok(Endpoint::parse("https://service.bench.test")?)
}

/// An agent that is in order.
pub(crate) fn agent(name: &str) -> Result<Agent, Failure> {
    Ok(Agent {
        tenant: tenant()?,
        name: AgentName::parse(name)?,
        kind: AgentKind::Agent,
        environment: Environment::parse("bench")?,
        owner: owner()?,
        status: AgentStatus::Enabled,
        socket_uid: None,
        registered_at: Timestamp::from_ms(0),
    })
}

/// The resource, without a credential.
pub(crate) fn resource() -> Result<Resource, Failure> {
    Ok(Resource {
        tenant: tenant()?,
        name: crate::world::resource()?,
        owner: owner()?,
        environment: Environment::parse("bench")?,
        sensitivity: Sensitivity::Internal,
        mode: Mode::Enforce,
        endpoints: vec![endpoint()?],
        private_network: false,
        ca_pem: None,
        dialect: Dialect::Plain,
        pass_cookies: false,
        credential: None,
        status: ResourceStatus::Active,
        added_at: Timestamp::from_ms(0),
    })
}

/// p50 of the plain engine over all policies, in microseconds.
fn plain_engine(scale: Scale, texts: &[String]) -> Result<f64, Failure> {
    use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
    let set: PolicySet = texts.concat().parse()?;
    let entities = serde_json::json!([
        {"uid": {"type": "Operation", "id": "service/read"}, "attrs": {}, "parents": [{"type": "Resource", "id": "service"}]},
        {"uid": {"type": "Resource", "id": "service"}, "attrs": {}, "parents": []},
        {"uid": {"type": "Agent", "id": "a1"}, "attrs": {}, "parents": []},
    ]);
    let entities = Entities::from_json_value(entities, None)?;
    let context = serde_json::json!({"request": {"path": "/v1/orders"}, "task": {"calls": 1}});
    let uid = |text: &str| text.parse::<EntityUid>().map_err(Box::new);
    let request = Request::new(
        uid("Agent::\"a1\"")?,
        uid("Action::\"read\"")?,
        uid("Operation::\"service/read\"")?,
        Context::from_json_value(context, None)?,
        None,
    )?;
    let authorizer = Authorizer::new();
    let mut times = Times::default();
    for _ in 0..scale.of(2_000_000 / texts.len(), 5).clamp(5, 2_000) {
        let begun = Instant::now();
        let response = authorizer.is_authorized(&request, &set, &entities);
        times.add(begun.elapsed());
        if response.decision() != cedar_policy::Decision::Allow {
            return Err("the plain engine does not allow what is measured".into());
        }
    }
    Ok(times.within_us(0.5))
}
