//! `accredit completion`, `version` and `openapi`: what the program says about itself.

use clap::Args;

use super::Context;
use crate::exit::Exit;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

/// Prints a script for the shell.
pub(crate) fn completion(
    args: CompletionArgs,
    context: &Context,
    command: &mut clap::Command,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "accredit", &mut script);
    context.out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

/// Prints the version.
pub(crate) fn version(context: &Context) -> Result<Exit, Failure> {
    let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION") });
    context.out.line(&version, |_| format!("accredit {}", env!("CARGO_PKG_VERSION")))?;
    Ok(Exit::Ok)
}

/// Prints the description of the API.
pub(crate) fn openapi(context: &Context) -> Result<Exit, Failure> {
    context.out.text(&(accredit_server::openapi_json() + "\n"))?;
    Ok(Exit::Ok)
}
