//! `accredit doctor`: what this machine needs, each line with what to do; with `--probe`, which clients find their way
//! through a proxy that ends TLS, by running each of them.

use accredit_api::health::Ready;
use accredit_client::{Auth, Client, Server, routes};
use clap::Args;
use serde::Serialize;

use super::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::bundle::Bundle;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Run each client that is installed against a local service, as under `accredit run`
    #[arg(long)]
    probe: bool,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What.
    pub(crate) check: String,
    /// Whether it is well.
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) detail: String,
    /// What to do, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

impl Finding {
    fn new(check: &str, ok: bool, detail: impl Into<String>, fix: &str) -> Self {
        let fix = (!ok).then(|| fix.to_owned());
        Self { check: check.to_owned(), ok, detail: detail.into(), fix }
    }
}

/// Runs the command; 1 when something is not well.
pub(crate) async fn run(args: DoctorArgs, context: &Context) -> Result<Exit, Failure> {
    let findings = match args.probe {
        true => super::probe::clients(context).await?,
        false => vec![authority(context).await?, state(context), bundle(context), config(context), kernel()],
    };
    let row = |f: &Finding| {
        vec![
            f.check.clone(),
            if f.ok { "ok" } else { "FIX" }.to_owned(),
            f.detail.clone(),
            f.fix.clone().unwrap_or_default(),
        ]
    };
    context.out.list(
        &findings,
        &["check", "result", "found", "do"],
        row,
        "no client is installed that this program knows",
    )?;
    Ok(if findings.iter().all(|f| f.ok) { Exit::Ok } else { Exit::Error })
}

async fn authority(context: &Context) -> Result<Finding, Failure> {
    let server = context.server()?;
    let name = server.name();
    let fix = match &server {
        Server::Socket(_) => "accredit serve",
        Server::Http { .. } | Server::Https { .. } => "check --url and the network",
    };
    let answer = Client::new(server).unavailable_too::<Ready>(routes::READY, Auth::Nobody).await;
    Ok(match answer {
        Ok(ready) if ready.ready => Finding::new("authority", true, format!("{name} accepts work"), ""),
        Ok(ready) => {
            let wrong: Vec<String> = ready.checks.into_iter().filter(|c| !c.ok).map(|c| c.name).collect();
            Finding::new(
                "authority",
                false,
                format!("{name} accepts no work: {}", wrong.join(", ")),
                "accredit health",
            )
        }
        Err(error) => Finding::new("authority", false, error.to_string(), fix),
    })
}

fn state(context: &Context) -> Finding {
    use std::os::unix::fs::MetadataExt as _;
    let path = context.paths.state();
    let shown = path.display().to_string();
    match std::fs::metadata(path) {
        Err(_) => Finding::new("state", true, format!("{shown} is made at the first start"), ""),
        Ok(metadata) if metadata.mode() & 0o077 == 0 => Finding::new("state", true, shown, ""),
        Ok(metadata) => {
            let detail = format!("{shown} has mode {:o}: others may enter it", metadata.mode() & 0o777);
            Finding::new("state", false, detail, &format!("chmod 700 {shown}"))
        }
    }
}

fn bundle(context: &Context) -> Finding {
    let found = Bundle::collect(|name| context.environment.get(name).cloned(), "").certificates().len();
    let detail = format!("{found} certificate authorities");
    Finding::new(
        "certificates",
        found > 0,
        detail,
        "install the package ca-certificates, or set SSL_CERT_FILE",
    )
}

fn config(context: &Context) -> Finding {
    match super::config::load(None, context, &context.environment) {
        Ok((_, Some(path))) => Finding::new("configuration", true, path.display().to_string(), ""),
        Ok((_, None)) => Finding::new("configuration", true, "built-in defaults", ""),
        Err(failure) => {
            Finding::new("configuration", false, failure.lines().join(" "), "accredit config check")
        }
    }
}

/// What `run` needs of the kernel to tell its own connections from others'.
fn kernel() -> Finding {
    let readable =
        std::fs::read_to_string("/proc/net/tcp").is_ok() && std::fs::read_dir("/proc/self/fd").is_ok();
    let detail = if readable { "/proc shows connections and their processes" } else { "/proc is hidden" };
    Finding::new("kernel", readable, detail, "mount /proc without hidepid, or give it to this user")
}
