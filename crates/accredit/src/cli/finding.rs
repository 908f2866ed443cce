//! `accredit finding`: detected deviations and what followed.

use accredit_api::finding::{Finding, FindingsQuery};
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::operator::Operator;
use super::{Context, or_dash, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, safe};

#[derive(Debug, Args)]
pub(crate) struct FindingArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List findings, the newest first
    Ls {
        /// Of this agent
        #[arg(long)]
        agent: Option<String>,
    },
    /// Show one finding
    Show {
        /// Its id
        id: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: FindingArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Ls { agent } => {
            let query = FindingsQuery { agent, ..FindingsQuery::default() };
            let findings: Vec<Finding> = operator.all(routes::FINDINGS, &query).await?;
            let row = |f: &Finding| {
                vec![
                    when::show(&f.at),
                    f.rule.clone(),
                    f.agent.clone(),
                    f.task.clone(),
                    safe(&f.detail),
                    word(&f.then),
                    f.id.clone(),
                ]
            };
            let columns = ["time", "rule", "agent", "task", "what", "then", "id"];
            context.out.list(&findings, &columns, row, "nothing was found")?;
        }
        Verb::Show { id } => {
            let finding: Finding = operator.get(&routes::one(routes::FINDINGS, &id)).await?;
            context.out.one(&finding, lines)?;
        }
    }
    Ok(Exit::Ok)
}

fn lines(finding: &Finding) -> Vec<Line> {
    vec![
        ("finding", finding.id.clone()),
        ("rule", finding.rule.clone()),
        ("what", safe(&finding.detail)),
        ("agent", finding.agent.clone()),
        ("task", finding.task.clone()),
        ("when", format!("{}   ledger entry {}", when::show(&finding.at), finding.entry)),
        ("then", word(&finding.then)),
        ("done", or_dash(finding.contained_at.as_deref().map(when::show).as_deref())),
        ("why", format!("accredit why {}", finding.task)),
    ]
}
