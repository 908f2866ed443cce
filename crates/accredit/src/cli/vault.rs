//! `accredit vault`: whether secrets can be opened, and changing the keys that seal them.

use accredit_api::vault::{RotateVault, Vault, VaultKey};
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::Operator;
use super::resource::parse;
use super::{Context, or_dash, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show whether the vault is open, and the names of its keys
    Show,
    /// Change a key: `kek` is read again from its source, `dek` is drawn anew and every value sealed again
    Rotate {
        /// kek or dek
        #[arg(value_parser = parse::<VaultKey>)]
        key: VaultKey,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Runs the command.
pub(crate) async fn run(args: VaultArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    let vault: Vault = match args.verb {
        Verb::Show => operator.get(routes::VAULT).await?,
        Verb::Rotate { key, consent } => {
            if !consent.given(context, &format!("the {} of the vault is changed", word(&key)))? {
                return Ok(Exit::Ok);
            }
            operator.post(&format!("{}/rotate", routes::VAULT), &RotateVault { key }).await?
        }
    };
    context.out.one(&vault, lines)?;
    Ok(Exit::Ok)
}

fn lines(vault: &Vault) -> Vec<Line> {
    vec![
        ("vault", if vault.sealed { "sealed: its key is missing" } else { "open" }.to_owned()),
        ("kek", or_dash(vault.kek.as_deref())),
        ("deks", vault.deks.join(" ")),
        ("values", vault.secrets.to_string()),
    ]
}
