//! `accredit config`: what a server would be told, before it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Context;
use crate::config::document::ConfigError;
use crate::config::duration;
use crate::config::server::{ServerConfig, View};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration: file, environment and the key it names
    Check(File),
    /// Print the configuration that would be used
    Show(File),
}

#[derive(Debug, Args)]
struct File {
    /// The file [default: accredit.toml in the state directory, else /etc/accredit/accredit.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: ConfigArgs, context: &Context) -> Result<Exit, Failure> {
    let (Verb::Check(file) | Verb::Show(file)) = &args.verb;
    let (config, found) = load(file.config.as_deref(), context, &context.environment)?;
    let named = found.map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
    match args.verb {
        Verb::Check(_) => {
            check_key(&config)?;
            context.out.say(&format!("{named}: good"));
        }
        Verb::Show(_) => {
            context.out.say(&format!("from {named}"));
            context.out.one(&config.view(), lines)?;
        }
    }
    Ok(Exit::Ok)
}

/// Reads the configuration that `--config` or the standard places lead to.
///
/// # Errors
/// As a usage failure that names file, line and field.
pub(crate) fn load(
    file: Option<&std::path::Path>,
    context: &Context,
    environment: &BTreeMap<String, String>,
) -> Result<(ServerConfig, Option<PathBuf>), Failure> {
    ServerConfig::load(file, &context.paths, environment).map_err(|e| failure(&e))
}

/// What is wrong with a configuration, as a person reads it.
pub(crate) fn failure(error: &ConfigError) -> Failure {
    let failure = Failure::new(Exit::Usage, "config", "the configuration was not accepted", error);
    failure.todo(error.help().unwrap_or("correct it, then: accredit config check"))
}

/// The key file may be made at the first start; one that is there must be good.
fn check_key(config: &ServerConfig) -> Result<(), Failure> {
    use accredit_vault::KeySource;
    match &config.seal {
        KeySource::File(path) if path.exists() => config
            .seal
            .read()
            .map(drop)
            .map_err(|e| Failure::new(Exit::Error, "seal_key", "the server would not start", e)),
        KeySource::File(_) | KeySource::Descriptor(_) | KeySource::Systemd(_) => Ok(()),
    }
}

fn lines(view: &View) -> Vec<Line> {
    vec![
        ("url", view.url.clone()),
        ("listen", view.listen.clone()),
        ("gateway", view.gateway.clone()),
        ("gateway url", view.gateway_url.clone()),
        ("database", view.database.clone()),
        ("ledger head", view.head.clone()),
        ("seal", view.seal.clone()),
        ("trust domain", view.trust_domain.clone()),
        ("tenant", view.tenant.clone()),
        ("mode", view.mode.clone()),
        ("longest task", duration::show_s(view.task_ttl_s_max)),
        ("otlp", view.otlp.clone().unwrap_or_else(|| "off".to_owned())),
        ("published to", view.publish.clone().unwrap_or_else(|| "nowhere".to_owned())),
        ("templates", if view.templates.is_empty() { "none".to_owned() } else { view.templates.join(" ") }),
    ]
}
