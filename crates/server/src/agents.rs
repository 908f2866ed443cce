//! Agents and join tokens over HTTP.

use accredit_api::agent::{
    AddAgentKey, Agent, AgentKey, AgentKind, AgentStatus, ChangeAgentOwner, CreateJoinToken, Join,
    JoinTokenCreated, Joined, RegisterAgent, ResumeAgent, SuspendAgent,
};
use accredit_api::page::PageQuery;
use accredit_api::{Page, Sensitive};
use accredit_authority::agents::{AgentDetails, NewAgent};
use accredit_core::agent::AgentStatus as Status;
use accredit_identity::agent::RegisteredKey;
use accredit_identity::key::PublicKey;
use accredit_identity::spiffe::AgentKind as Kind;
use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::access::{By, Via};
use crate::app::App;
use crate::extract::{Json, Params, in_path, line, line_opt, page_by_name, page_size, parsed};
use crate::problem::Failure;

/// How a public key in PEM begins (RFC 7468 §13).
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";

fn wire(found: AgentDetails) -> Agent {
    let AgentDetails { agent, spiffe_id, keys } = found;
    let (status, suspended_at, suspended_because) = match agent.status {
        Status::Enabled => (AgentStatus::Enabled, None, None),
        Status::Suspended { at, reason } => {
            (AgentStatus::Suspended, Some(at.to_string()), Some(reason.to_string()))
        }
    };
    Agent {
        name: agent.name.to_string(),
        spiffe_id: spiffe_id.to_string(),
        kind: kind(agent.kind),
        environment: agent.environment.to_string(),
        owner: agent.owner.to_string(),
        status,
        suspended_at,
        suspended_because,
        socket_uid: agent.socket_uid,
        keys: keys.iter().map(key).collect(),
        registered_at: agent.registered_at.to_string(),
    }
}

const fn kind(kind: Kind) -> AgentKind {
    match kind {
        Kind::Orchestrator => AgentKind::Orchestrator,
        Kind::Agent => AgentKind::Agent,
        Kind::Tool => AgentKind::Tool,
        Kind::Service => AgentKind::Service,
        Kind::Job => AgentKind::Job,
    }
}

const fn kind_of(kind: AgentKind) -> Kind {
    match kind {
        AgentKind::Orchestrator => Kind::Orchestrator,
        AgentKind::Agent => Kind::Agent,
        AgentKind::Tool => Kind::Tool,
        AgentKind::Service => Kind::Service,
        AgentKind::Job => Kind::Job,
    }
}

fn key(registered: &RegisteredKey) -> AgentKey {
    AgentKey {
        thumbprint: registered.key.thumbprint().to_string(),
        algorithm: registered.key.algorithm().as_str().to_owned(),
    }
}

fn public_key(text: &str) -> Result<PublicKey, Failure> {
    let begun = text.trim_start();
    PublicKey::parse(text).map_err(|e| match begun.starts_with('{') || begun.starts_with(PEM_BEGIN) {
        true => Failure::unusable("public_key", e),
        false => Failure::field("public_key", e),
    })
}

/// Lists agents
#[utoipa::path(get, path = "/v1/agents", tag = "agents", params(PageQuery), responses((status = 200, body = Page<Agent>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: By,
    Params(query): Params<PageQuery>,
) -> Result<Reply<Page<Agent>>, Failure> {
    let limit = page_size(query.limit)?;
    let all: Vec<_> = app.authority().agents().await?.into_iter().map(wire).collect();
    page_by_name(all, |a| &a.name, query.cursor.as_deref(), limit).map(Reply)
}

/// Shows an agent
#[utoipa::path(get, path = "/v1/agents/{name}", tag = "agents", params(("name" = String, Path, description = "The agent")), responses((status = 200, body = Agent)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(name): Path<String>,
) -> Result<Reply<Agent>, Failure> {
    Ok(Reply(wire(app.authority().agent(in_path("agent", &name)?).await?)))
}

/// Registers an agent
#[utoipa::path(post, path = "/v1/agents", tag = "agents", request_body = RegisterAgent, responses((status = 201, body = Agent)))]
pub(crate) async fn register(
    State(app): State<App>,
    By(by): By,
    Json(body): Json<RegisterAgent>,
) -> Result<(StatusCode, Reply<Agent>), Failure> {
    let new = NewAgent {
        name: parsed("name", &body.name)?,
        kind: kind_of(body.kind),
        environment: parsed("environment", &body.environment)?,
        owner: parsed("owner", &body.owner)?,
        key: body.public_key.as_deref().map(public_key).transpose()?,
        socket_uid: body.socket_uid,
    };
    Ok((StatusCode::CREATED, Reply(wire(app.authority().register_agent(&by, new).await?))))
}

/// Stops an agent and ends its tasks
#[utoipa::path(post, path = "/v1/agents/{name}/suspend", tag = "agents", params(("name" = String, Path, description = "The agent")), request_body = SuspendAgent, responses((status = 200, body = Agent)))]
pub(crate) async fn suspend(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<SuspendAgent>,
) -> Result<Reply<Agent>, Failure> {
    let reason = line("reason", &body.reason)?;
    Ok(Reply(wire(app.authority().suspend_agent(&by, in_path("agent", &name)?, reason).await?)))
}

/// Lets an agent start tasks again
#[utoipa::path(post, path = "/v1/agents/{name}/resume", tag = "agents", params(("name" = String, Path, description = "The agent")), request_body = ResumeAgent, responses((status = 200, body = Agent)))]
pub(crate) async fn resume(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<ResumeAgent>,
) -> Result<Reply<Agent>, Failure> {
    let reason = line_opt("reason", body.reason.as_deref())?;
    Ok(Reply(wire(app.authority().resume_agent(&by, in_path("agent", &name)?, reason).await?)))
}

/// Gives an agent to another owner
#[utoipa::path(put, path = "/v1/agents/{name}/owner", tag = "agents", params(("name" = String, Path, description = "The agent")), request_body = ChangeAgentOwner, responses((status = 200, body = Agent)))]
pub(crate) async fn change_owner(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<ChangeAgentOwner>,
) -> Result<Reply<Agent>, Failure> {
    let owner = parsed("owner", &body.owner)?;
    Ok(Reply(wire(app.authority().change_agent_owner(&by, in_path("agent", &name)?, owner).await?)))
}

/// Adds a public key to an agent
#[utoipa::path(post, path = "/v1/agents/{name}/keys", tag = "agents", params(("name" = String, Path, description = "The agent")), request_body = AddAgentKey, responses((status = 201, body = Agent)))]
pub(crate) async fn add_key(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<AddAgentKey>,
) -> Result<(StatusCode, Reply<Agent>), Failure> {
    let key = public_key(&body.public_key)?;
    let agent = app.authority().add_agent_key(&by, in_path("agent", &name)?, key).await?;
    Ok((StatusCode::CREATED, Reply(wire(agent))))
}

/// Makes a one-time join token for an agent
#[utoipa::path(post, path = "/v1/agents/{name}/join-tokens", tag = "agents", params(("name" = String, Path, description = "The agent")), request_body = CreateJoinToken, responses((status = 201, body = JoinTokenCreated)))]
pub(crate) async fn create_join_token(
    State(app): State<App>,
    By(by): By,
    Path(name): Path<String>,
    Json(body): Json<CreateJoinToken>,
) -> Result<(StatusCode, Reply<JoinTokenCreated>), Failure> {
    let made = app.authority().create_join_token(&by, in_path("agent", &name)?, body.ttl_s).await?;
    let created = JoinTokenCreated {
        id: made.id.to_string(),
        agent: name,
        token: Sensitive::new(made.token.expose().to_owned()),
        expires_at: made.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Reply(created)))
}

/// Redeems a join token for a registered key
#[utoipa::path(post, path = "/v1/join", tag = "agents", request_body = Join, responses((status = 201, body = Joined)))]
pub(crate) async fn join(
    State(app): State<App>,
    via: Via,
    Json(body): Json<Join>,
) -> Result<(StatusCode, Reply<Joined>), Failure> {
    let presented = public_key(&body.public_key)?;
    let guess = app.guesses(via.transport()).begin()?;
    let thumbprint = presented.thumbprint();
    let found = app.authority().join(body.token.reveal(), presented, &via.address()).await;
    let found = guess.answered(found)?;
    let registered = found.keys.iter().find(|k| k.key.thumbprint() == thumbprint).map(key);
    let key = registered.ok_or_else(|| Failure::not_found("agent"))?;
    let joined = Joined { agent: found.agent.name.to_string(), spiffe_id: found.spiffe_id.to_string(), key };
    Ok((StatusCode::CREATED, Reply(joined)))
}
