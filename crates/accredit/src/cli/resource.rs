//! `accredit resource`: what is protected, and where exactly it answers.

use std::path::{Path, PathBuf};

use accredit_api::credential::{Credential, CredentialStatus};
use accredit_api::page::PageQuery;
use accredit_api::resource::{
    AddResource, ChangeResource, Dialect, Mode, Resource, ResourceChanged, ResourceStatus, RetireResource,
    Sensitivity,
};
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::Operator;
use super::{Context, or_dash, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct ResourceArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List resources
    Ls,
    /// Show one resource
    Show {
        /// Its name
        name: String,
    },
    /// Register a resource
    Add(Add),
    /// Change a resource; new endpoints drop the value of its credential
    Change(Change),
    /// Take a resource out of use for ever
    Retire {
        /// Its name
        name: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Say what is still missing before a task can use the resource
    Test {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// A new name: lower-case letters, digits, `.`, `_` and `-`
    name: String,
    /// Who answers for it: a registered owner
    #[arg(long)]
    owner: String,
    /// Where it answers: host, host:port or https://host[:port]; may stand several times
    #[arg(long = "endpoint", required = true, value_name = "ENDPOINT")]
    endpoints: Vec<String>,
    /// Where it runs
    #[arg(long, default_value = "dev", value_name = "NAME")]
    environment: String,
    /// public, internal, confidential or restricted
    #[arg(long, default_value = "internal", value_parser = parse::<Sensitivity>)]
    sensitivity: Sensitivity,
    /// observe or enforce
    #[arg(long, value_parser = parse::<Mode>)]
    mode: Option<Mode>,
    /// It may resolve to a private or loopback address
    #[arg(long)]
    private_network: bool,
    /// PEM of the authorities that its certificate must chain to, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// plain or git
    #[arg(long, value_parser = parse::<Dialect>)]
    dialect: Option<Dialect>,
    /// Pass its Set-Cookie fields on to the agent
    #[arg(long)]
    pass_cookies: bool,
}

#[derive(Debug, Args)]
struct Change {
    /// Its name
    name: String,
    /// Another registered owner
    #[arg(long)]
    owner: Option<String>,
    /// Other endpoints, all of them
    #[arg(long = "endpoint", value_name = "ENDPOINT")]
    endpoints: Vec<String>,
    /// Another environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// public, internal, confidential or restricted
    #[arg(long, value_parser = parse::<Sensitivity>)]
    sensitivity: Option<Sensitivity>,
    /// observe or enforce
    #[arg(long, value_parser = parse::<Mode>)]
    mode: Option<Mode>,
    /// Whether it may resolve to a private or loopback address
    #[arg(long, value_name = "BOOL")]
    private_network: Option<bool>,
    /// PEM of the authorities that its certificate must chain to
    #[arg(long, value_name = "FILE", conflicts_with = "system_ca")]
    ca: Option<PathBuf>,
    /// Go back to the system's authorities
    #[arg(long)]
    system_ca: bool,
    /// plain or git
    #[arg(long, value_parser = parse::<Dialect>)]
    dialect: Option<Dialect>,
    /// Whether its Set-Cookie fields reach the agent
    #[arg(long, value_name = "BOOL")]
    pass_cookies: Option<bool>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    consent: Consent,
}

/// Runs the command.
pub(crate) async fn run(args: ResourceArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Ls => {
            let resources: Vec<Resource> = operator.all(routes::RESOURCES, &PageQuery::default()).await?;
            let columns =
                ["name", "endpoints", "mode", "credential", "environment", "sensitivity", "owner", "status"];
            let empty = "no resources yet: accredit resource add NAME --owner OWNER --endpoint https://host";
            context.out.list(&resources, &columns, row, empty)?;
        }
        Verb::Show { name } => {
            let resource: Resource = operator.get(&routes::one(routes::RESOURCES, &name)).await?;
            context.out.one(&resource, lines)?;
        }
        Verb::Add(add) => {
            let resource: Resource = operator.post(routes::RESOURCES, &add.request()?).await?;
            context.out.one(&resource, lines)?;
        }
        Verb::Change(change) => return change_one(change, &operator, context).await,
        Verb::Retire { name, reason, consent } => {
            if consent.given(context, &format!("resource `{name}` goes out of use for ever"))? {
                let path = routes::under(routes::RESOURCES, &name, "retire");
                let retired: Resource = operator.post(&path, &RetireResource { reason }).await?;
                context.out.one(&retired, lines)?;
            }
        }
        Verb::Test { name } => return test(&name, &operator, context).await,
    }
    Ok(Exit::Ok)
}

/// One thing that a task needs of a resource.
#[derive(Debug, serde::Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    detail: String,
}

/// What is missing before a task can use the resource, as far as the authority knows. Nothing is sent to it.
async fn test(name: &str, operator: &Operator<'_>, context: &Context) -> Result<Exit, Failure> {
    let resource: Resource = operator.get(&routes::one(routes::RESOURCES, name)).await?;
    let check = |check, ok, detail: String| Check { check, ok, detail };
    let active = resource.status == ResourceStatus::Active;
    let mut checks = vec![check("in use", active, word(&resource.status))];
    match &resource.credential {
        None => checks.push(check("credential", true, "none: requests go out as they are".to_owned())),
        Some(credential) => {
            let found: Credential = operator.get(&routes::one(routes::CREDENTIALS, credential)).await?;
            let live = found.status == CredentialStatus::Active;
            checks.push(check("credential", live, format!("{credential}, {}", word(&found.status))));
            let detail = match found.secret_version {
                Some(version) => format!("version {version} is held"),
                None => format!("none: accredit credential set {credential}"),
            };
            checks.push(check("value", found.secret_version.is_some(), detail));
        }
    }
    let https = resource.endpoints.iter().all(|e| !e.starts_with("http://"));
    let detail =
        if https { "encrypted" } else { "an endpoint is plain http: its credential travels in clear" };
    checks.push(check("transport", https, detail.to_owned()));
    let row = |c: &Check| {
        vec![c.check.to_owned(), if c.ok { "ok" } else { "missing" }.to_owned(), c.detail.clone()]
    };
    context.out.list(&checks, &["check", "result", "detail"], row, "")?;
    Ok(if checks.iter().all(|c| c.ok) { Exit::Ok } else { Exit::Error })
}

async fn change_one(change: Change, operator: &Operator<'_>, context: &Context) -> Result<Exit, Failure> {
    let path = routes::one(routes::RESOURCES, &change.name);
    let deed = if change.endpoints.is_empty() {
        format!("resource `{}` is changed", change.name)
    } else {
        format!("resource `{}` gets other endpoints, and the value of its credential is dropped", change.name)
    };
    // Only what takes something away asks.
    let asks = !change.endpoints.is_empty() || change.consent.is_dry_run();
    if asks && !change.consent.given(context, &deed)? {
        return Ok(Exit::Ok);
    }
    let ca_pem = match (&change.ca, change.system_ca) {
        (Some(path), _) => Some(read(path)?),
        (None, true) => Some(String::new()),
        (None, false) => None,
    };
    let body = ChangeResource {
        owner: change.owner,
        environment: change.environment,
        sensitivity: change.sensitivity,
        mode: change.mode,
        endpoints: (!change.endpoints.is_empty()).then_some(change.endpoints),
        private_network: change.private_network,
        ca_pem,
        dialect: change.dialect,
        pass_cookies: change.pass_cookies,
        reason: change.reason,
    };
    let changed: ResourceChanged = operator.call(http::Method::PATCH, &path, &body).await?;
    context.out.one(&changed, |c| lines(&c.resource))?;
    if let Some(credential) = &changed.dropped_value_of {
        context.out.warn(&format!(
            "the value of credential `{credential}` was dropped: accredit credential set {credential}"
        ));
    }
    Ok(Exit::Ok)
}

impl Add {
    fn request(self) -> Result<AddResource, Failure> {
        Ok(AddResource {
            name: self.name,
            owner: self.owner,
            environment: self.environment,
            sensitivity: self.sensitivity,
            mode: self.mode,
            endpoints: self.endpoints,
            private_network: self.private_network,
            ca_pem: self.ca.as_deref().map(read).transpose()?,
            dialect: self.dialect,
            pass_cookies: self.pass_cookies,
        })
    }
}

/// A word of the wire from the command line.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))
}

fn row(resource: &Resource) -> Vec<String> {
    vec![
        resource.name.clone(),
        resource.endpoints.join(" "),
        word(&resource.mode),
        or_dash(resource.credential.as_deref()),
        resource.environment.clone(),
        word(&resource.sensitivity),
        resource.owner.clone(),
        word(&resource.status),
    ]
}

fn lines(resource: &Resource) -> Vec<Line> {
    let yes_no = |b: bool| if b { "yes" } else { "no" }.to_owned();
    vec![
        ("resource", resource.name.clone()),
        ("endpoints", resource.endpoints.join("\n")),
        ("mode", word(&resource.mode)),
        ("credential", resource.credential.clone().unwrap_or_else(|| "none".to_owned())),
        ("owner", resource.owner.clone()),
        ("environment", resource.environment.clone()),
        ("sensitivity", word(&resource.sensitivity)),
        ("dialect", word(&resource.dialect)),
        ("private network", yes_no(resource.private_network)),
        ("authorities", if resource.ca_pem.is_some() { "its own" } else { "the system's" }.to_owned()),
        ("cookies", if resource.pass_cookies { "passed on" } else { "kept from agents" }.to_owned()),
        ("status", word(&resource.status)),
        ("added", when::show(&resource.added_at)),
    ]
}
