//! `accredit agent`: registered non-human identities, their keys and their owners.

use std::path::{Path, PathBuf};

use accredit_api::Sensitive;
use accredit_api::agent::{
    AddAgentKey, Agent, AgentKind, ChangeAgentOwner, CreateJoinToken, Join, JoinTokenCreated, Joined,
    RegisterAgent, ResumeAgent, SuspendAgent,
};
use accredit_api::page::PageQuery;
use accredit_client::{Auth, Client, routes};
use accredit_identity::key::SigningKey;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::{self, Operator};
use super::{Context, or_dash, secret, when, word};
use crate::config::duration;
use crate::config::paths::{private_dir, write_private};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List agents
    Ls,
    /// Show one agent
    Show {
        /// Its name
        name: String,
    },
    /// Register an agent
    Add(Add),
    /// Make a key on this machine and register it with a one-time join token
    Enrol(Enrol),
    /// Make a one-time join token, for `accredit agent enrol` on the agent's machine
    Token {
        /// The agent
        name: String,
        /// How long it may be redeemed
        #[arg(long, value_parser = duration::parse_s, value_name = "DURATION", default_value = "10m")]
        ttl: u64,
    },
    /// Register one more public key
    Key {
        /// The agent
        name: String,
        /// PEM or JWK of a P-256 or Ed25519 public key
        #[arg(long, value_name = "FILE")]
        public_key: PathBuf,
    },
    /// Stop an agent and end its tasks
    Suspend {
        /// The agent
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Let an agent start tasks again
    Resume {
        /// The agent
        name: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Give an agent to another owner
    Owner {
        /// The agent
        name: String,
        /// A registered owner
        owner: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// A new name: lower-case letters, digits, `.`, `_` and `-`
    name: String,
    /// Who answers for it: a registered owner
    #[arg(long)]
    owner: String,
    /// orchestrator, agent, tool, service or job
    #[arg(long, default_value = "agent", value_parser = kind)]
    kind: AgentKind,
    /// Where it runs
    #[arg(long, default_value = "dev", value_name = "NAME")]
    environment: String,
    /// PEM or JWK of its public key
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// The local user that may act as this agent through the socket, without a key (recorded as unattested)
    #[arg(long, value_name = "UID")]
    socket_uid: Option<u32>,
    /// As --socket-uid with the user who types this
    #[arg(long, conflicts_with = "socket_uid")]
    local: bool,
}

#[derive(Debug, Args)]
struct Enrol {
    /// File that holds the join token, or `-` for standard input; without it, it is asked for
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name that the key file gets; the agent's name unless given
    #[arg(long)]
    name: Option<String>,
    /// Register the agent first, in the name of the signed-in operator, so that no token is needed
    #[arg(long, value_name = "OWNER", conflicts_with = "token_file", requires = "name")]
    owner: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: AgentArgs, context: &Context) -> Result<Exit, Failure> {
    if let Verb::Enrol(enrol) = args.verb {
        return enrol_here(enrol, context).await;
    }
    let operator = Operator::new(context)?;
    let of = |name: &str, what: &str| routes::under(routes::AGENTS, name, what);
    match args.verb {
        Verb::Ls => {
            let agents: Vec<Agent> = operator.all(routes::AGENTS, &PageQuery::default()).await?;
            let empty = "no agents yet: accredit agent add NAME --owner OWNER";
            context.out.list(
                &agents,
                &["name", "kind", "environment", "owner", "status", "proves itself by"],
                row,
                empty,
            )?;
        }
        Verb::Show { name } => {
            let agent: Agent = operator.get(&routes::one(routes::AGENTS, &name)).await?;
            context.out.one(&agent, lines)?;
        }
        Verb::Add(add) => {
            let agent: Agent = operator.post(routes::AGENTS, &add.request()?).await?;
            context.out.one(&agent, lines)?;
        }
        Verb::Enrol(_) => {}
        Verb::Token { name, ttl } => {
            let body = CreateJoinToken { ttl_s: Some(ttl) };
            let created: JoinTokenCreated = operator.post(&of(&name, "join-tokens"), &body).await?;
            context.out.one(&created, token_lines)?;
        }
        Verb::Key { name, public_key } => {
            let body = AddAgentKey { public_key: read(&public_key)? };
            let agent: Agent = operator.post(&of(&name, "keys"), &body).await?;
            context.out.one(&agent, lines)?;
        }
        Verb::Suspend { name, reason, consent } => {
            if consent.given(context, &format!("agent `{name}` is suspended and its tasks end"))? {
                let agent: Agent = operator.post(&of(&name, "suspend"), &SuspendAgent { reason }).await?;
                context.out.one(&agent, lines)?;
            }
        }
        Verb::Resume { name, reason } => {
            let agent: Agent = operator.post(&of(&name, "resume"), &ResumeAgent { reason }).await?;
            context.out.one(&agent, lines)?;
        }
        Verb::Owner { name, owner } => {
            let agent: Agent =
                operator.call(http::Method::PUT, &of(&name, "owner"), &ChangeAgentOwner { owner }).await?;
            context.out.one(&agent, lines)?;
        }
    }
    Ok(Exit::Ok)
}

impl Add {
    fn request(self) -> Result<RegisterAgent, Failure> {
        let own = self.local.then(|| rustix::process::getuid().as_raw());
        Ok(RegisterAgent {
            name: self.name,
            kind: self.kind,
            environment: self.environment,
            owner: self.owner,
            public_key: self.public_key.as_deref().map(read).transpose()?,
            socket_uid: self.socket_uid.or(own),
        })
    }
}

/// Makes a key pair here and registers its public half. The private half is written before it is registered, so that a
/// registered key is never lost, and never leaves this machine.
async fn enrol_here(enrol: Enrol, context: &Context) -> Result<Exit, Failure> {
    let broken =
        |e: &dyn std::fmt::Display| Failure::new(Exit::Error, "key", "the agent was not enrolled", e);
    let key = SigningKey::generate().map_err(|e| broken(&e))?;
    let pem = key.to_pkcs8_pem().map_err(|e| broken(&e))?;
    let public_key = key.public().to_pem();
    let dir = context.paths.keys();
    private_dir(&dir).map_err(|e| Failure::file(&dir, &e))?;
    let waiting = dir.join(format!("enrolling-{}.pem", key.public().thumbprint()));
    write_private(&waiting, pem.as_bytes()).map_err(|e| Failure::file(&waiting, &e))?;
    let registered = match &enrol.owner {
        Some(owner) => register(&enrol, owner, public_key, context).await,
        None => join(&enrol, public_key, context).await,
    };
    let (agent, spiffe_id) = match registered {
        Ok(registered) => registered,
        Err(failure) => {
            let _ = std::fs::remove_file(&waiting);
            return Err(failure);
        }
    };
    let path = key_path(&dir, enrol.name.as_deref().unwrap_or(&agent));
    let id_path = crate::run::holder::id_path(&path);
    write_private(&id_path, spiffe_id.as_bytes()).map_err(|e| Failure::file(&id_path, &e))?;
    std::fs::rename(&waiting, &path).map_err(|e| Failure::file(&path, &e))?;
    let enrolled = serde_json::json!({
        "agent": agent, "spiffe_id": spiffe_id, "thumbprint": key.public().thumbprint().to_string(), "key_file": path.display().to_string(),
    });
    context.out.one(&enrolled, |_| {
        vec![
            ("agent", agent.clone()),
            ("key", key.public().thumbprint().to_string()),
            ("key file", format!("{} (keep it on this machine)", path.display())),
            ("next", format!("accredit run --agent {agent} --task \"…\" -- COMMAND")),
        ]
    })?;
    Ok(Exit::Ok)
}

async fn register(
    enrol: &Enrol,
    owner: &str,
    public_key: String,
    context: &Context,
) -> Result<(String, String), Failure> {
    let body = RegisterAgent {
        name: enrol.name.clone().unwrap_or_default(),
        kind: AgentKind::Agent,
        environment: "dev".to_owned(),
        owner: owner.to_owned(),
        public_key: Some(public_key),
        socket_uid: None,
    };
    let agent: Agent = Operator::new(context)?.post(routes::AGENTS, &body).await?;
    Ok((agent.name, agent.spiffe_id))
}

async fn join(enrol: &Enrol, public_key: String, context: &Context) -> Result<(String, String), Failure> {
    let token: Sensitive = secret::read(enrol.token_file.as_deref(), "join token", context)?;
    let client = Client::new(context.server()?);
    let body = Join { token, public_key };
    let joined: Joined =
        client.post(routes::JOIN, &body, Auth::Nobody).await.map_err(|e| operator::failure(&e))?;
    Ok((joined.agent, joined.spiffe_id))
}

/// Where the private key of an agent is kept on this machine.
pub(crate) fn key_path(dir: &Path, agent: &str) -> PathBuf {
    dir.join(format!("{}.pem", agent.replace('/', "_")))
}

fn kind(text: &str) -> Result<AgentKind, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| "expected orchestrator, agent, tool, service or job".to_owned())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))
}

fn row(agent: &Agent) -> Vec<String> {
    vec![
        agent.name.clone(),
        word(&agent.kind),
        agent.environment.clone(),
        agent.owner.clone(),
        word(&agent.status),
        proof(agent),
    ]
}

fn proof(agent: &Agent) -> String {
    match (agent.keys.len(), agent.socket_uid) {
        (0, None) => "nothing yet (accredit agent token)".to_owned(),
        (0, Some(uid)) => format!("local user {uid} (unattested)"),
        (1, None) => "1 key".to_owned(),
        (n, None) => format!("{n} keys"),
        (n, Some(uid)) => format!("{n} keys, local user {uid} (unattested)"),
    }
}

fn lines(agent: &Agent) -> Vec<Line> {
    let mut lines = vec![
        ("agent", agent.name.clone()),
        ("id", agent.spiffe_id.clone()),
        ("kind", word(&agent.kind)),
        ("environment", agent.environment.clone()),
        ("owner", agent.owner.clone()),
        ("status", word(&agent.status)),
        ("proof", proof(agent)),
    ];
    if let Some(at) = &agent.suspended_at {
        let because = or_dash(agent.suspended_because.as_deref());
        lines.push(("suspended", format!("{}: {because}", when::show(at))));
    }
    lines.extend(agent.keys.iter().map(|k| ("key", format!("{} {}", k.algorithm, k.thumbprint))));
    lines.push(("registered", when::show(&agent.registered_at)));
    lines
}

/// The one time that the token is shown.
fn token_lines(created: &JoinTokenCreated) -> Vec<Line> {
    vec![
        ("agent", created.agent.clone()),
        ("token", created.token.reveal().to_owned()),
        ("works", format!("once, {}", when::until(&created.expires_at))),
        ("next", "on the agent's machine: accredit agent enrol --token-file -".to_owned()),
    ]
}
