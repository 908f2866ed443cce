//! `accredit task`: what runs now, what ran, and ending it.

use accredit_api::Page;
use accredit_api::finding::ReleaseTask;
use accredit_api::task::{EndOutcome, EndTask, ExtendTask, Receipt, Task, TaskStatus, TasksQuery};
use accredit_client::routes;
use clap::{Args, Subcommand};

use super::ask::Consent;
use super::operator::{ITEMS_MAX, Operator};
use super::{Context, or_dash, when, word};
use crate::config::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Line;

/// Tasks that `ls` shows unless told otherwise.
const SHOWN: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List tasks, the newest first
    Ls {
        /// Only those of this agent
        #[arg(long)]
        agent: Option<String>,
        /// Also those that are over
        #[arg(long, short)]
        all: bool,
        /// Most tasks to show
        #[arg(long, default_value_t = SHOWN, value_parser = limit)]
        limit: usize,
    },
    /// Show one task
    Show {
        /// Its id
        id: String,
        /// Show the whole tree that it stands in: who handed what down to whom
        #[arg(long)]
        tree: bool,
    },
    /// Show what a task did
    Receipt {
        /// Its id
        id: String,
    },
    /// End a task
    End {
        /// Its id
        id: String,
        /// Its work was not done
        #[arg(long)]
        failed: bool,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Let a task live longer
    Extend {
        /// Its id
        id: String,
        /// By how much
        #[arg(long, value_parser = duration::parse_s, value_name = "DURATION")]
        by: u64,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a task go on that a finding holds back
    Release {
        /// Its id
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// A number of items that a list may show.
pub(crate) fn limit(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=ITEMS_MAX).contains(n))
        .ok_or_else(|| format!("expected 1 to {ITEMS_MAX}"))
}

/// Runs the command.
pub(crate) async fn run(args: TaskArgs, context: &Context) -> Result<Exit, Failure> {
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Ls { agent, all, limit } => {
            let query = TasksQuery { agent, active: (!all).then_some(true), ..TasksQuery::default() };
            let tasks: Vec<Task> = operator.up_to(routes::TASKS, &query, limit).await?;
            let empty = "no tasks: accredit run --agent NAME --task \"…\" -- COMMAND (and `-a` shows those that are over)";
            let columns = ["id", "status", "agent", "purpose", "workflow", "requested by", "until"];
            context.out.list(&tasks, &columns, row, empty)?;
        }
        Verb::Show { id, tree: true } => {
            let tree: Page<Task> = operator.get(&routes::under(routes::TASKS, &id, "tree")).await?;
            let columns = ["task", "status", "agent", "purpose", "workflow", "requested by", "until"];
            context.out.list(
                &as_tree(tree.items),
                &columns,
                |(depth, task)| tree_row(*depth, task),
                "no tasks",
            )?;
        }
        Verb::Show { id, tree: false } => {
            let task: Task = operator.get(&routes::one(routes::TASKS, &id)).await?;
            context.out.one(&task, lines)?;
        }
        Verb::Receipt { id } => {
            let receipt: Receipt = operator.get(&routes::under(routes::TASKS, &id, "receipt")).await?;
            context.out.one(&receipt, |r| vec![("receipt", crate::run::receipt::text(r).join("\n"))])?;
        }
        Verb::End { id, failed, reason, consent } => {
            if consent.given(context, &format!("task `{id}` ends"))? {
                let outcome = if failed { EndOutcome::Failed } else { EndOutcome::Completed };
                let task: Task = operator
                    .post(&routes::under(routes::TASKS, &id, "end"), &EndTask { outcome, reason })
                    .await?;
                context.out.one(&task, lines)?;
            }
        }
        Verb::Extend { id, by, reason } => {
            let body = ExtendTask { by_s: by, reason };
            let task: Task = operator.post(&routes::under(routes::TASKS, &id, "extend"), &body).await?;
            context.out.one(&task, lines)?;
        }
        Verb::Release { id, reason } => {
            let path = routes::under(routes::TASKS, &id, "release");
            let task: Task = operator.post(&path, &ReleaseTask { reason }).await?;
            context.out.one(&task, lines)?;
        }
    }
    Ok(Exit::Ok)
}

/// The tasks in the order of their tree, each with its depth.
fn as_tree(mut tasks: Vec<Task>) -> Vec<(usize, Task)> {
    let mut tree: Vec<(usize, Task)> = Vec::with_capacity(tasks.len());
    // Parents are older than their children, and come before them.
    while let Some(root) = (!tasks.is_empty()).then(|| tasks.remove(0)) {
        let above = root.parent.as_ref().and_then(|parent| tree.iter().position(|(_, t)| t.id == *parent));
        let depth = above.map_or(0, |above| tree[above].0 + 1);
        // After everything that is below the same parent already.
        let place = above.map_or(tree.len(), |above| {
            let after = tree[above + 1..].iter().take_while(|(d, _)| *d >= depth).count();
            above + 1 + after
        });
        tree.insert(place, (depth, root));
    }
    tree
}

fn tree_row(depth: usize, task: &Task) -> Vec<String> {
    let mut cells = row(task);
    cells[0] = format!("{}{}", "  ".repeat(depth), cells[0]);
    cells
}

fn row(task: &Task) -> Vec<String> {
    let until = match task.status {
        TaskStatus::Active => task.expires_at.as_deref().map(when::until),
        TaskStatus::Proposed
        | TaskStatus::Completed
        | TaskStatus::Failed
        | TaskStatus::Expired
        | TaskStatus::Revoked => task.ended_at.as_deref().map(when::show),
    };
    vec![
        task.id.clone(),
        word(&task.status),
        task.agent.clone(),
        task.purpose.clone(),
        or_dash(task.workflow.as_deref()),
        or_dash(task.requested_by.as_deref()),
        or_dash(until.as_deref()),
    ]
}

/// One task, everything about it.
pub(crate) fn lines(task: &Task) -> Vec<Line> {
    let mut lines = vec![
        ("task", task.id.clone()),
        ("status", word(&task.status)),
        ("purpose", task.purpose.clone()),
        ("agent", format!("{} ({}, instance {})", task.agent, task.attestation, task.instance)),
    ];
    let optional = [
        ("workflow", task.workflow.clone()),
        ("requested by", task.requested_by.clone()),
        ("parent", task.parent.clone()),
        ("template", task.template.clone()),
        ("started", task.started_at.as_deref().map(when::show)),
        ("until", task.expires_at.as_deref().map(|at| format!("{} ({})", when::show(at), when::until(at)))),
        ("ended", task.ended_at.as_deref().map(when::show)),
        ("because", task.ended_because.clone()),
        (
            "held back",
            task.restraint.as_ref().map(|kind| {
                format!("{kind}   accredit finding show {}", task.finding.as_deref().unwrap_or_default())
            }),
        ),
    ];
    lines.extend(optional.into_iter().filter_map(|(label, text)| Some((label, text?))));
    lines.push(("may", task.boundary.usable.join("\n")));
    if !task.boundary.delegable.is_empty() {
        lines.push(("may hand down", task.boundary.delegable.join("\n")));
    }
    lines.push((
        "held",
        if task.held { "by its runner: it ends when the runner is gone" } else { "no" }.to_owned(),
    ));
    lines
}
