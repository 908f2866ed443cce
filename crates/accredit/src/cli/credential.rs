//! `accredit credential`: the ways into resources. Values go in and never come out.

use std::path::PathBuf;

use accredit_api::credential::{AddCredential, Credential, CredentialStatus, Placement, SetSecret};
use accredit_api::page::PageQuery;
use accredit_api::revoke::{Revoke, RevokeReport, RevokeTarget};
use accredit_api::uses::{Could, Outcome, Use, UsesQuery, WhoCan};
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::Operator;
use super::resource::parse;
use super::task::limit;
use super::{Context, or_dash, secret, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, Output, Written};

/// Uses that `uses` shows unless told otherwise.
const SHOWN: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List credentials, without their values
    Ls,
    /// Show one credential, without its value
    Show {
        /// Its name
        name: String,
    },
    /// Add a credential and set its value
    Add(Add),
    /// Set the value
    #[command(visible_alias = "rotate")]
    Set {
        /// Its name
        name: String,
        /// File that holds the value, or `-` for standard input; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        value_file: Option<PathBuf>,
    },
    /// Take a credential from every task for ever and destroy its value
    Revoke {
        /// Its name
        name: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Say which live tasks could use it now, by the decision function
    WhoCan {
        /// Its name
        name: String,
    },
    /// Say who used it, for which task, from the ledger
    Uses(Uses),
}

#[derive(Debug, Args)]
struct Add {
    /// A new name: lower-case letters, digits, `.`, `_` and `-`
    name: String,
    /// The resource that it is the way into
    #[arg(long)]
    resource: String,
    /// Who answers for it; the resource's owner when absent
    #[arg(long)]
    owner: Option<String>,
    /// Who may revoke it at its source; the owner when absent
    #[arg(long, value_name = "OWNER")]
    revocation_authority: Option<String>,
    /// When its value must have been changed, such as 2027-03-31
    #[arg(long, value_name = "DATE")]
    rotation_due: Option<String>,
    /// Header field that carries it [default: authorization]
    #[arg(long, value_name = "FIELD", conflicts_with = "basic")]
    header: Option<String>,
    /// Text before it in the header [default for authorization: "Bearer "]
    #[arg(long, value_name = "TEXT", conflicts_with = "basic")]
    prefix: Option<String>,
    /// Send it as the password of this user (`Authorization: Basic`)
    #[arg(long, value_name = "USER")]
    basic: Option<String>,
    /// File that holds the value, or `-` for standard input; without it, it is asked for
    #[arg(long, value_name = "FILE", conflicts_with = "without_value")]
    value_file: Option<PathBuf>,
    /// Set the value later
    #[arg(long)]
    without_value: bool,
}

#[derive(Debug, Args)]
struct Uses {
    /// Its name
    name: String,
    /// Not before: 7d, 2h, or 2026-11-22T09:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Of this agent
    #[arg(long)]
    agent: Option<String>,
    /// Of this task
    #[arg(long)]
    task: Option<String>,
    /// allow, ask or deny
    #[arg(long, value_parser = parse::<Outcome>)]
    outcome: Option<Outcome>,
    /// Most uses to show, the newest first
    #[arg(long, default_value_t = SHOWN, value_parser = limit)]
    limit: usize,
}

/// Runs the command.
pub(crate) async fn run(args: CredentialArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Ls => {
            let credentials: Vec<Credential> =
                operator.all(routes::CREDENTIALS, &PageQuery::default()).await?;
            let columns = ["name", "resource", "goes into", "value", "owner", "rotation due", "status"];
            let empty = "no credentials yet: accredit credential add NAME --resource RESOURCE";
            context.out.list(&credentials, &columns, row, empty)?;
        }
        Verb::Show { name } => {
            let credential: Credential = operator.get(&routes::one(routes::CREDENTIALS, &name)).await?;
            context.out.one(&credential, lines)?;
        }
        Verb::Add(add) => return add_one(add, &operator, context).await,
        Verb::Set { name, value_file } => {
            let value = secret::read(value_file.as_deref(), "value", context)?;
            let credential = set(&name, value, &operator).await?;
            context.out.one(&credential, lines)?;
        }
        Verb::Revoke { name, reason, consent } => {
            let deed =
                format!("credential `{name}` is taken from every task for ever and its value destroyed");
            if consent.given(context, &deed)? {
                let body = Revoke { target: RevokeTarget::Credential(name), reason };
                let report: RevokeReport = operator.post(routes::REVOKE, &body).await?;
                context.out.one(&report, super::revoke::lines)?;
            }
        }
        Verb::WhoCan { name } => {
            let answer: WhoCan = operator.get(&routes::under(routes::CREDENTIALS, &name, "who-can")).await?;
            show_who_can(context.out, &answer)?;
        }
        Verb::Uses(uses) => {
            let path = routes::under(routes::CREDENTIALS, &uses.name, "uses");
            let most = uses.limit;
            let found: Vec<Use> = operator.up_to(&path, &uses.query()?, most).await?;
            show_uses(context.out, &found)?;
        }
    }
    Ok(Exit::Ok)
}

async fn add_one(add: Add, operator: &Operator<'_>, context: &Context) -> Result<Exit, Failure> {
    // The value is read first: when it cannot be, nothing is half added.
    let value = match add.without_value {
        true => None,
        false => Some(secret::read(add.value_file.as_deref(), "value", context)?),
    };
    let owner = match &add.owner {
        Some(owner) => owner.clone(),
        None => {
            let path = routes::one(routes::RESOURCES, &add.resource);
            operator.get::<accredit_api::resource::Resource>(&path).await?.owner
        }
    };
    let name = add.name.clone();
    let mut credential: Credential = operator.post(routes::CREDENTIALS, &add.request(owner)?).await?;
    if let Some(value) = value {
        credential = set(&name, value, operator).await?;
    }
    context.out.one(&credential, lines)?;
    Ok(Exit::Ok)
}

async fn set(
    name: &str,
    value: accredit_api::Sensitive,
    operator: &Operator<'_>,
) -> Result<Credential, Failure> {
    operator
        .call(http::Method::PUT, &routes::under(routes::CREDENTIALS, name, "secret"), &SetSecret { value })
        .await
}

impl Add {
    fn request(self, owner: String) -> Result<AddCredential, Failure> {
        let placement = match self.basic {
            Some(user) => Placement::Basic { user },
            None => {
                let field = self.header.unwrap_or_else(|| "authorization".to_owned());
                let usual = if field.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
                Placement::Header { prefix: self.prefix.unwrap_or_else(|| usual.to_owned()), field }
            }
        };
        Ok(AddCredential {
            name: self.name,
            resource: self.resource,
            owner,
            revocation_authority: self.revocation_authority,
            rotation_due: when::parse_opt("--rotation-due", self.rotation_due.as_deref())?,
            placement,
        })
    }
}

impl Uses {
    fn query(self) -> Result<UsesQuery, Failure> {
        Ok(UsesQuery {
            since: when::parse_opt("--since", self.since.as_deref())?,
            until: when::parse_opt("--until", self.until.as_deref())?,
            agent: self.agent,
            task: self.task,
            outcome: self.outcome,
            ..UsesQuery::default()
        })
    }
}

/// Uses as a table: agent, task, purpose, workflow, requester, approvers, decision, policy, status.
pub(crate) fn show_uses(out: Output, uses: &[Use]) -> Written {
    let columns = [
        "time",
        "agent",
        "task",
        "purpose",
        "workflow",
        "requested by",
        "approved by",
        "request",
        "decision",
        "policies",
        "outcome",
        "id",
    ];
    let row = |u: &Use| {
        vec![
            when::show(&u.time),
            u.agent.clone(),
            u.task.clone(),
            u.purpose.clone(),
            or_dash(u.workflow.as_deref()),
            or_dash(u.requested_by.as_deref()),
            or_dash(Some(u.approved_by.join(" ")).filter(|by| !by.is_empty()).as_deref()),
            format!("{} {}{}", u.method, u.host, u.path),
            decision(u),
            if u.policies.is_empty() { u.code.clone() } else { u.policies.join(" ") },
            outcome(u),
            u.decision.clone(),
        ]
    };
    out.list(uses, &columns, row, "no uses")
}

/// `allow`, `deny (observed)`, …
pub(crate) fn decision(used: &Use) -> String {
    let observed = if used.enforced || used.outcome == Outcome::Allow { "" } else { " (observed)" };
    format!("{}{observed}", word(&used.outcome))
}

/// The upstream's status, or how else it ended.
pub(crate) fn outcome(used: &Use) -> String {
    match (used.status, used.settled.as_deref()) {
        (Some(status), Some("done")) => status.to_string(),
        (Some(status), Some(how)) => format!("{status}, {how}"),
        (Some(status), None) => format!("{status}, running"),
        (None, Some(how)) => how.to_owned(),
        (None, None) if used.outcome == Outcome::Allow => "running".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// Who could use something now.
pub(crate) fn show_who_can(out: Output, answer: &WhoCan) -> Written {
    let row = |c: &Could| {
        let answers: Vec<String> =
            c.answers.iter().map(|a| format!("{}:{}", a.effect, word(&a.outcome))).collect();
        let until = when::until(&c.expires_at);
        vec![
            c.agent.clone(),
            c.task.clone(),
            c.purpose.clone(),
            c.grants.join(" | "),
            answers.join(" "),
            until,
        ]
    };
    let columns = ["agent", "task", "purpose", "grants", "answers", "until"];
    out.page(answer, &answer.items, &columns, row, "nobody can, now")
}

fn row(credential: &Credential) -> Vec<String> {
    vec![
        credential.name.clone(),
        credential.resource.clone(),
        placement(&credential.placement),
        value(credential),
        credential.owner.clone(),
        or_dash(credential.rotation_due.as_deref().map(when::show).as_deref()),
        word(&credential.status),
    ]
}

fn placement(placement: &Placement) -> String {
    match placement {
        Placement::Header { field, prefix } => format!("{field}: {prefix}…"),
        Placement::Basic { user } => format!("authorization: Basic {user}:…"),
    }
}

fn value(credential: &Credential) -> String {
    match (credential.status, credential.secret_version) {
        (CredentialStatus::Revoked, _) => "destroyed".to_owned(),
        (CredentialStatus::Active, Some(version)) => format!("version {version}"),
        (CredentialStatus::Active, None) => "none (accredit credential set)".to_owned(),
    }
}

fn lines(credential: &Credential) -> Vec<Line> {
    let mut lines = vec![
        ("credential", credential.name.clone()),
        ("resource", credential.resource.clone()),
        ("goes to", credential.endpoints.join("\n")),
        ("as", placement(&credential.placement)),
        ("value", value(credential)),
        ("owner", credential.owner.clone()),
        ("revoked by", credential.revocation_authority.clone()),
        ("rotation due", or_dash(credential.rotation_due.as_deref().map(when::show).as_deref())),
        ("status", word(&credential.status)),
    ];
    if let Some(at) = &credential.revoked_at {
        lines.push((
            "revoked",
            format!("{}: {}", when::show(at), or_dash(credential.revoked_because.as_deref())),
        ));
    }
    lines.push(("added", when::show(&credential.added_at)));
    lines
}
