//! `accredit request`: what waits for a person, and answering it. Texts of agents are shown inert.

use accredit_api::request::{
    ApprovalRequest, ApproveRequest, CloseRequest, RequestKind, RequestStatus, RequestsQuery, Scope,
};
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::operator::Operator;
use super::resource::parse;
use super::{Context, when, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, safe};

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List requests, the newest first
    Ls {
        /// pending, granted, consumed, denied, expired or withdrawn
        #[arg(long, value_parser = parse::<RequestStatus>)]
        status: Option<RequestStatus>,
    },
    /// Show one request, everything about it
    Show {
        /// Its id
        id: String,
    },
    /// Say yes to exactly what the request shows
    Approve {
        /// Its id
        id: String,
        /// How far it reaches: `call`, exactly this, once; or `operation`, for the rest of this task
        #[arg(long, value_parser = parse::<Scope>, default_value = "call")]
        scope: Scope,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// The digest that was shown; without it the request is shown and asked about first
        #[arg(long)]
        digest: Option<String>,
    },
    /// Say no
    Deny {
        /// Its id
        id: String,
        /// Why, and what to do instead: the agent is told
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take a request or its grant back, before it is used
    Withdraw {
        /// Its id
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Wait until a request is answered
    Wait {
        /// Its id
        id: String,
    },
    /// Go through what waits, one after the other: y yes, t yes for this task, n no, s skip, q quit
    Review,
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
                    safe(&r.summary),
                    r.agent.clone(),
                    r.task.clone(),
                    times,
                    until,
                ]
            };
            let columns = ["id", "status", "request", "agent", "task", "asked", "until"];
            context.out.list(&requests, &columns, row, "nothing waits for a person")?;
        }
        Verb::Show { id } => context.out.one(&show(&operator, &id).await?, lines)?,
        Verb::Approve { id, scope, reason, digest } => {
            let digest = match digest {
                Some(digest) => digest,
                None => {
                    let request = show(&operator, &id).await?;
                    context.out.told(&request, lines);
                    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                        let failure = Failure::usage("nothing was answered", "nobody is there to look at it");
                        return Err(failure.todo("name what was shown: --digest DIGEST"));
                    }
                    if !context.out.confirm(&format!("Say yes to {}?", sentence(scope))) {
                        context.out.say("nothing was answered");
                        return Ok(Exit::Ok);
                    }
                    request.digest
                }
            };
            let answered =
                approve(&operator, &id, ApproveRequest { digest, scope, reason, passkey: None }).await?;
            context.out.one(&answered, lines)?;
        }
        Verb::Deny { id, reason } => {
            let answered: ApprovalRequest = close(&operator, &id, "deny", reason).await?;
            context.out.one(&answered, lines)?;
        }
        Verb::Withdraw { id, reason } => {
            let withdrawn: ApprovalRequest = close(&operator, &id, "withdraw", reason).await?;
            context.out.one(&withdrawn, lines)?;
        }
        Verb::Wait { id } => return wait(&operator, &id, context).await,
        Verb::Review => review(&operator, context).await?,
    }
    Ok(Exit::Ok)
}

async fn show(operator: &Operator<'_>, id: &str) -> Result<ApprovalRequest, Failure> {
    operator.get(&routes::one(routes::REQUESTS, id)).await
}

async fn approve(
    operator: &Operator<'_>,
    id: &str,
    answer: ApproveRequest,
) -> Result<ApprovalRequest, Failure> {
    operator.post(&routes::under(routes::REQUESTS, id, "approve"), &answer).await
}

async fn close(
    operator: &Operator<'_>,
    id: &str,
    verb: &str,
    reason: Option<String>,
) -> Result<ApprovalRequest, Failure> {
    operator.post(&routes::under(routes::REQUESTS, id, verb), &CloseRequest { reason }).await
}

/// Waits for the answer: 0 when it can be used or was, 4 when it was denied, 5 when the time passed or it was taken back.
async fn wait(operator: &Operator<'_>, id: &str, context: &Context) -> Result<Exit, Failure> {
    loop {
        let path = format!("{}?wait=50s", routes::one(routes::REQUESTS, id));
        let request: ApprovalRequest = operator.get(&path).await?;
        let exit = match request.status {
            RequestStatus::Pending => continue,
            RequestStatus::Granted | RequestStatus::Consumed => Exit::Ok,
            RequestStatus::Denied => Exit::Denied,
            RequestStatus::Expired | RequestStatus::Withdrawn => Exit::Pending,
        };
        context.out.one(&request, lines)?;
        return Ok(exit);
    }
}

/// One request after the other, with one key each.
async fn review(operator: &Operator<'_>, context: &Context) -> Result<(), Failure> {
    let query = RequestsQuery { status: Some(RequestStatus::Pending), ..RequestsQuery::default() };
    let mut waiting: Vec<ApprovalRequest> = operator.all(routes::REQUESTS, &query).await?;
    waiting.reverse();
    let many = waiting.len();
    for (place, listed) in waiting.into_iter().enumerate() {
        // Shown as it stands now: it may have been answered meanwhile.
        let request = show(operator, &listed.id).await?;
        if request.status != RequestStatus::Pending {
            continue;
        }
        context.out.say(&format!("\n{} of {many}", place + 1));
        context.out.told(&request, lines);
        let wide = request.terms.scopes.contains(&Scope::Operation);
        loop {
            let choices = if wide {
                "y yes, once · t yes, for this task · n no · s skip · q quit"
            } else {
                "y yes, once · n no · s skip · q quit"
            };
            let Some(answer) = context.out.prompt(&format!("{choices}: ")) else { return Ok(()) };
            let done = match answer.trim() {
                "y" => approve(operator, &request.id, yes(&request, Scope::Call)).await.map(Some),
                "t" if wide => {
                    approve(operator, &request.id, yes(&request, Scope::Operation)).await.map(Some)
                }
                "n" => {
                    let reason = context.out.prompt("why, and what to do instead: ");
                    let reason = reason.map(|r| r.trim().to_owned()).filter(|r| !r.is_empty());
                    close(operator, &request.id, "deny", reason).await.map(Some)
                }
                "s" | "" => Ok(None),
                "q" => return Ok(()),
                _ => continue,
            };
            match done {
                Ok(Some(answered)) => {
                    context.out.say(&format!("{}: {}", answered.id, word(&answered.status)))
                }
                Ok(None) => {}
                // One that cannot be answered does not keep the others from being answered.
                Err(failure) => failure.lines().iter().for_each(|line| context.out.warn(line)),
            }
            break;
        }
    }
    context.out.say("nothing more waits for a person");
    Ok(())
}

fn yes(request: &ApprovalRequest, scope: Scope) -> ApproveRequest {
    ApproveRequest { digest: request.digest.clone(), scope, reason: None, passkey: None }
}

pub(super) const fn sentence(scope: Scope) -> &'static str {
    match scope {
        Scope::Call => "exactly this, once",
        Scope::Operation => "this operation of this resource, for the rest of this task",
    }
}

/// One request, everything about it. What agents wrote stands here inert.
pub(crate) fn lines(request: &ApprovalRequest) -> Vec<Line> {
    let mut lines = vec![("request", request.id.clone()), ("status", word(&request.status))];
    lines.push(("would do", safe(&request.summary)));
    if let Some(call) = &request.call {
        let what = format!("{} on {} ({}), of {}", call.effect, call.resource, call.operation, call.owner);
        lines.push(("effect", what));
        match &call.body {
            None => lines.push(("body", "none".to_owned())),
            Some(body) => {
                let kind = body.content_type.as_deref().map(safe).unwrap_or_default();
                lines.push(("body", format!("{} bytes {kind}, sha-256 keyed {}", body.bytes, body.digest)));
                let shown = body.text.as_deref().map_or("(not text)".to_owned(), safe);
                lines.push(("", if body.cut { format!("{shown} … (cut)") } else { shown }));
            }
        }
    }
    if let Some(start) = &request.start {
        lines.push(("purpose", safe(&start.purpose)));
        lines.extend(start.usable.iter().map(|grant| ("may", safe(grant))));
        lines.extend(start.delegable.iter().map(|grant| ("hand down", safe(grant))));
        lines.push(("lives", format!("{} s", start.ttl_s)));
    }
    let chain = request.chain.iter().rev().map(|link| {
        let by = link.requested_by.as_deref().map(|r| format!("{} > ", safe(r))).unwrap_or_default();
        format!("{by}{} ({}: {})", link.agent, link.task, safe(&link.purpose))
    });
    lines.push(("chain", chain.collect::<Vec<_>>().join(" > ")));
    if let Some(so_far) = &request.so_far {
        let done =
            format!("{} uses, {} refused, {} of them here", so_far.uses, so_far.refused, so_far.on_resource);
        lines.push(("so far", done));
        lines.extend(so_far.differs.iter().map(|d| ("differs", safe(d))));
    }
    let approvers = match request.terms.approvers.as_slice() {
        [] => match request.kind {
            RequestKind::Call => "the owner of the resource".to_owned(),
            RequestKind::Start => "the owner of the agent".to_owned(),
        },
        some => some.join(", "),
    };
    let passkey = if request.terms.passkey { ", with a passkey" } else { "" };
    lines.push(("answered by", format!("{approvers}, {} of them{passkey}", request.terms.quorum)));
    lines.extend(request.yes.iter().map(|yes| {
        let why = yes.reason.as_deref().map(|r| format!(": {}", safe(r))).unwrap_or_default();
        let how = if yes.passkey { " by passkey" } else { "" };
        ("yes", format!("{} {}{how} ({}){why}", yes.by, when::show(&yes.at), sentence(yes.scope)))
    }));
    if let Some(by) = &request.denied_by {
        let why = request.reason.as_deref().map(|r| format!(": {}", safe(r))).unwrap_or_default();
        lines.push(("no", format!("{by}{why}")));
    }
    if let (Some(scope), Some(until)) = (request.scope, &request.granted_until) {
        lines.push(("granted", format!("{}, until {}", sentence(scope), when::show(until))));
    }
    lines.extend(request.decision.iter().map(|d| ("used by", d.clone())));
    lines.push(("policies", request.policies.join(" ")));
    lines.push(("undo", request.undo.as_deref().map_or("not known".to_owned(), safe)));
    lines.push(("digest", request.digest.clone()));
    lines.push(("asked", format!("{}×, first {}", request.count, when::show(&request.raised_at))));
    if request.status == RequestStatus::Pending {
        let until = format!("{} ({})", when::show(&request.expires_at), when::until(&request.expires_at));
        lines.push(("expires", until));
        lines.push(("unanswered", request.if_unanswered.clone()));
    }
    lines
}
