//! `accredit template`: named boundaries. They are written in the server's configuration.

use accredit_api::page::PageQuery;
use accredit_api::template::Template;
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::Context;
use super::operator::Operator;
use crate::config::duration;
use crate::exit::Exit;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List templates
    Ls,
    /// Show one template
    Show {
        /// Its name
        name: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: TemplateArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Ls => {
            let templates: Vec<Template> = operator.all(routes::TEMPLATES, &PageQuery::default()).await?;
            let row = |t: &Template| {
                vec![t.name.clone(), duration::show_s(t.ttl_s), t.boundary.usable.len().to_string()]
            };
            let empty = "no templates: write [[template]] into accredit.toml, then restart the server";
            context.out.list(&templates, &["name", "lives", "grants"], row, empty)?;
        }
        Verb::Show { name } => {
            let template: Template = operator.get(&routes::one(routes::TEMPLATES, &name)).await?;
            context.out.one(&template, |t| {
                vec![
                    ("template", t.name.clone()),
                    ("lives", duration::show_s(t.ttl_s)),
                    ("may", t.boundary.usable.join("\n")),
                ]
            })?;
        }
    }
    Ok(Exit::Ok)
}
