//! `accredit revoke`: take authority away. When the command returns, it is over.

use accredit_api::revoke::{Revoke, RevokeReport, RevokeTarget};
use accredit_client::routes;
use clap::Args;

use super::Context;
use super::ask::Consent;
use super::operator::Operator;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(crate) struct RevokeArgs {
    /// One task and everything that descends from it
    #[arg(long, value_name = "ID", group = "target")]
    task: Option<String>,
    /// Every task of an agent; the agent is suspended
    #[arg(long, value_name = "NAME", group = "target")]
    agent: Option<String>,
    /// One credential, from every task, for ever
    #[arg(long, value_name = "NAME", group = "target")]
    credential: Option<String>,
    /// Every task
    #[arg(long, group = "target")]
    all: bool,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    consent: Consent,
}

/// Runs the command. One task is revoked without a question: that is what a person in a hurry types.
pub(crate) async fn run(args: RevokeArgs, context: &Context) -> Result<Exit, Failure> {
    let (target, deed) = match (args.task, args.agent, args.credential) {
        (Some(id), _, _) => (RevokeTarget::Task(id), None),
        (_, Some(name), _) => {
            let deed = format!("every task of agent `{name}` ends and the agent is suspended");
            (RevokeTarget::Agent(name), Some(deed))
        }
        (_, _, Some(name)) => {
            let deed =
                format!("credential `{name}` is taken from every task for ever and its value destroyed");
            (RevokeTarget::Credential(name), Some(deed))
        }
        (None, None, None) => (RevokeTarget::All, Some("every task of this tenant ends".to_owned())),
    };
    let deed =
        deed.or_else(|| args.consent.is_dry_run().then(|| "the task and its descendants end".to_owned()));
    if let Some(deed) = deed
        && !args.consent.given(context, &deed)?
    {
        return Ok(Exit::Ok);
    }
    let operator = Operator::new(context)?;
    let report: RevokeReport = operator.post(routes::REVOKE, &Revoke { target, reason: args.reason }).await?;
    context.out.one(&report, lines)?;
    Ok(Exit::Ok)
}

/// The report: what is over, what somebody must still do, and how long it took.
pub(crate) fn lines(report: &RevokeReport) -> Vec<Line> {
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    let mut lines = vec![
        ("tasks ended", names(&report.tasks_ended)),
        ("agents suspended", names(&report.agents_suspended)),
        ("credentials revoked", names(&report.credentials_revoked)),
        ("streams cut", report.streams_cut.to_string()),
    ];
    lines.extend(report.pending.iter().map(|text| ("pending", text.clone())));
    lines.push(("took", format!("{} ms; nothing more goes out", report.duration_ms)));
    lines
}
