//! `accredit owner`: people and teams that answer for something.

use accredit_api::owner::{AddOwner, LapseOwner, Owner};
use accredit_api::page::PageQuery;
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::Operator;
use super::{Context, or_dash, when, word};
use crate::exit::Exit;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct OwnerArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List owners
    Ls,
    /// Add an owner, or let a lapsed one answer again
    Add {
        /// `person@organisation` or `team:name`
        owner: String,
    },
    /// Let an owner lapse: what it owns stops
    Lapse {
        /// The owner
        owner: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Runs the command.
pub(crate) async fn run(args: OwnerArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Ls => {
            let owners: Vec<Owner> = operator.all(routes::OWNERS, &PageQuery::default()).await?;
            let row = |o: &Owner| {
                let lapsed = o.lapsed_at.as_deref().map(when::show);
                vec![o.owner.clone(), word(&o.standing), when::show(&o.added_at), or_dash(lapsed.as_deref())]
            };
            let empty = "no owners yet: accredit owner add ana@example.org";
            context.out.list(&owners, &["owner", "standing", "added", "lapsed"], row, empty)?;
        }
        Verb::Add { owner } => {
            let added: Owner = operator.post(routes::OWNERS, &AddOwner { owner }).await?;
            context.out.one(&added, lines)?;
        }
        Verb::Lapse { owner, reason, consent } => {
            if !consent.given(context, &format!("`{owner}` lapses, and what it owns stops"))? {
                return Ok(Exit::Ok);
            }
            let path = routes::under(routes::OWNERS, &owner, "lapse");
            let lapsed: Owner = operator.post(&path, &LapseOwner { reason }).await?;
            context.out.one(&lapsed, lines)?;
        }
    }
    Ok(Exit::Ok)
}

fn lines(owner: &Owner) -> Vec<crate::output::Line> {
    vec![
        ("owner", owner.owner.clone()),
        ("standing", word(&owner.standing)),
        ("added", when::show(&owner.added_at)),
    ]
}
