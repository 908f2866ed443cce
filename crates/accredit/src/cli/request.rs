//! `accredit request`: what waits for a person. Answering comes with approvals.

use accredit_api::request::{ApprovalRequest, RequestStatus, RequestsQuery};
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::operator::Operator;
use super::resource::parse;
use super::{Context, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List requests, the newest first
    Ls {
        /// pending, expired or withdrawn
        #[arg(long, value_parser = parse::<RequestStatus>)]
        status: Option<RequestStatus>,
    },
    /// Show one request
    Show {
        /// Its id
        id: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: RequestArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Ls { status } => {
            let query = RequestsQuery { status, ..RequestsQuery::default() };
            let requests: Vec<ApprovalRequest> = operator.all(routes::REQUESTS, &query).await?;
            let row = |r: &ApprovalRequest| {
                let times = format!("{}×", r.count);
                let until = when::until(&r.expires_at);
                vec![
                    r.id.clone(),
                    word(&r.status),
                    r.summary.clone(),
                    r.agent.clone(),
                    r.task.clone(),
                    times,
                    until,
                ]
            };
            let columns = ["id", "status", "request", "agent", "task", "asked", "until"];
            context.out.list(&requests, &columns, row, "nothing waits for a person")?;
        }
        Verb::Show { id } => {
            let request: ApprovalRequest = operator.get(&routes::one(routes::REQUESTS, &id)).await?;
            context.out.one(&request, lines)?;
        }
    }
    Ok(Exit::Ok)
}

/// One request, everything about it.
pub(crate) fn lines(request: &ApprovalRequest) -> Vec<Line> {
    let approvers = match request.approvers.as_slice() {
        [] => "the owner of the resource".to_owned(),
        some => some.join(", "),
    };
    vec![
        ("request", request.id.clone()),
        ("status", word(&request.status)),
        ("would do", request.summary.clone()),
        ("effect", format!("{} on {} ({})", request.effect, request.resource, request.operation)),
        ("agent", request.agent.clone()),
        ("task", request.task.clone()),
        ("answered by", format!("{approvers}, {} of them, for this {}", request.quorum, request.per)),
        ("policies", request.policies.join(" ")),
        ("digest", request.digest.clone()),
        ("asked", format!("{}×, first {}", request.count, when::show(&request.raised_at))),
        ("expires", format!("{} ({})", when::show(&request.expires_at), when::until(&request.expires_at))),
    ]
}
