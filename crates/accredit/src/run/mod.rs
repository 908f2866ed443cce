//! `accredit run`: a task around one command. The runner holds the task and its key; the command gets a proxy, a
//! certificate bundle and no secret. When the command ends, so does the task.

pub(crate) mod bundle; //      certificates: the system's, the network's, the gateway's
pub(crate) mod child; //       the command itself
pub(crate) mod directory; //   the files of one run
pub(crate) mod environment; // the variables of the command
pub(crate) mod holder; //      the task, its key and its token
mod intent; //                 what is asked for
mod listener; //               where the command's clients connect
mod placeholder; //            what stands in the place of a secret
pub(crate) mod receipt; //     what the task did
pub(crate) mod tree;
pub(crate) mod trust_store; // the bundle for Java //        whose connection it is

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accredit_api::task::{EndOutcome, Task, TaskStatus};
use accredit_client::{CallError, Client, Server};
use clap::Args;
use tokio::net::TcpListener;

use self::bundle::Bundle;
use self::directory::RunDir;
use self::environment::{Changes, Wiring};
use self::holder::{AgentKey, Holder};
use self::intent::Intent;
use crate::cli::Context;
use crate::cli::operator::failure;
use crate::config::duration;
use crate::config::project::ProjectConfig;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, Written, safe};

/// How long the end of a task may be tried when nobody answers.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// How the authority calls an agent that only the local socket vouches for.
const SOCKET_PEER: &str = "socket_peer";

#[derive(Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// The agent: its name, or its whole SPIFFE ID
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Private key of the agent (PKCS#8 PEM) [default: the one that `agent enrol` made]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the task is for, in a person's words
    #[arg(long, value_name = "TEXT")]
    pub(crate) task: Option<String>,
    /// Start from this template
    #[arg(long, value_name = "NAME", conflicts_with = "allow")]
    pub(crate) template: Option<String>,
    /// What the task may do, such as "github: GET /repos/acme/**"; may stand several times
    #[arg(long, value_name = "GRANT")]
    pub(crate) allow: Vec<String>,
    /// What the task may hand down to another agent; may stand several times
    #[arg(long, value_name = "GRANT", conflicts_with = "template")]
    pub(crate) delegate: Vec<String>,
    /// Where the work is tracked: a ticket, a run, a branch
    #[arg(long, value_name = "REF")]
    pub(crate) workflow: Option<String>,
    /// The person who asked for it
    #[arg(long, value_name = "WHO")]
    pub(crate) requested_by: Option<String>,
    /// How long the task may live
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_s)]
    pub(crate) ttl: Option<u64>,
    /// Let VARIABLE hold the base URL of a resource at the gateway
    #[arg(long = "base-url", value_name = "VARIABLE=RESOURCE", value_parser = base_url)]
    base_urls: Vec<(String, String)>,
    /// Let the command inherit this variable although it looks like a secret
    #[arg(long = "keep-env", value_name = "VARIABLE")]
    keep_env: Vec<String>,
    /// Certificate of the gateway's authority (PEM) [default: what the authority gives]
    #[arg(long, value_name = "FILE")]
    gateway_ca: Option<PathBuf>,
    /// Say what would be done, and start nothing
    #[arg(long)]
    dry_run: bool,
    /// Not here yet: a fence that stops processes which ignore the proxy
    #[arg(long, hide = true)]
    contain: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs a command as a task. Its exit code is the command's own; 125 to 127 are the runner's.
pub(crate) async fn run(args: RunArgs, context: &Context) -> Result<Exit, Failure> {
    run_task(args, context).await.map_err(|failure| match failure.exit() {
        Exit::ReaderGone | Exit::NoCommand | Exit::NotExecutable => failure,
        _ => failure.with_exit(Exit::RunFailed),
    })
}

async fn run_task(args: RunArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    if args.contain {
        let failure =
            Failure::usage("nothing was started", "--contain is not here yet; runs are cooperative");
        return Err(failure
            .todo("leave --contain away: a process that ignores the proxy gets no key, but is not stopped"));
    }
    let intent = intent(&args, out)?;
    let program = child::find(&args.command[0], std::env::var_os("PATH").as_deref())?;
    if args.dry_run {
        say_plan(&args, &intent, &program, context)?;
        return Ok(Exit::Ok);
    }
    harden()?;
    let listening = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listening
        .map_err(|e| Failure::new(Exit::Error, "listener", "the local listener was not opened", e))?;
    let port = listener
        .local_addr()
        .map_err(|e| Failure::new(Exit::Error, "listener", "no local address", e))?
        .port();
    let dir = RunDir::new(&context.paths.runs()).map_err(|e| Failure::file(&context.paths.runs(), &e))?;
    let key = agent_key(&args, &intent, context)?;
    let server = context.server()?;
    let holder = Arc::new(Holder::start(Client::new(server.clone()), &intent, key).await?);
    let wiring = Wiring {
        port,
        task: holder.task().id.clone(),
        dir: dir.path().to_owned(),
        base_urls: args.base_urls.clone(),
        keep: args.keep_env.clone(),
    };
    let ended = match prepare(&holder, &wiring, args.gateway_ca.as_deref(), context).await {
        Err(failure) => Err(failure),
        Ok(changes) => {
            say_header(out, &server, holder.task(), &changes, &args.command);
            around_command(&args.command, &changes, &holder, listener, out).await
        }
    };
    let outcome =
        if matches!(ended, Ok(Exit::Child(0))) { EndOutcome::Completed } else { EndOutcome::Failed };
    finish(&holder, outcome, &ended, out).await;
    ended
}

/// The command, between the start of its task and the end.
async fn around_command(
    command: &[OsString],
    changes: &Changes,
    holder: &Arc<Holder>,
    listener: TcpListener,
    out: Output,
) -> Result<Exit, Failure> {
    let held = tokio::spawn(watch(holder.clone(), out));
    let renewing = tokio::spawn({
        let holder = holder.clone();
        async move { holder.renew().await }
    });
    let serving = tokio::spawn(listener::serve(listener, holder.clone(), out));
    let exit = match child::start(command, changes) {
        Ok(mut child) => child::wait(&mut child)
            .await
            .map_err(|e| Failure::new(Exit::Error, "wait", "the end of the command is not known", e)),
        Err(failure) => Err(failure),
    };
    [serving, renewing, held].into_iter().for_each(|job| job.abort());
    exit
}

/// Says when the task is over before its command is.
async fn watch(holder: Arc<Holder>, out: Output) {
    let how = match holder.hold().await {
        TaskStatus::Revoked => "was revoked",
        TaskStatus::Expired => "has expired",
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Active | TaskStatus::Proposed => "is over",
    };
    let id = &holder.task().id;
    out.warn(&format!(
        "accredit: task {id} {how}; the command runs on without authority (accredit why {id})"
    ));
}

async fn prepare(
    holder: &Holder,
    wiring: &Wiring,
    gateway_ca: Option<&Path>,
    context: &Context,
) -> Result<Changes, Failure> {
    let ca = match gateway_ca {
        Some(path) => std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?,
        None => holder.gateway_ca(&context.paths.gateway_ca()).await?,
    };
    let variable = |name: &str| context.environment.get(name).cloned();
    let bundle = Bundle::collect(variable, &ca);
    let home_wgetrc = context.environment.get("HOME").map(|home| Path::new(home).join(".wgetrc"));
    let own_wgetrc = context.environment.get("WGETRC").map(PathBuf::from).or(home_wgetrc);
    let own_wgetrc = own_wgetrc.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    directory::fill(wiring, &bundle, &own_wgetrc).map_err(|e| Failure::file(&wiring.dir, &e))?;
    Ok(environment::plan(&context.environment, &context.unreadable, wiring))
}

/// Ends the task and prints what it did. When nobody answers, the authority ends it by itself: its runner is gone.
async fn finish(holder: &Holder, outcome: EndOutcome, ended: &Result<Exit, Failure>, out: Output) {
    let reason = match ended {
        Ok(exit) => {
            (outcome == EndOutcome::Failed).then(|| format!("the command ended with code {}", exit.code()))
        }
        Err(failure) => Some(format!("the runner could not go on ({})", failure.code())),
    };
    let ending = tokio::time::timeout(END_TIME_MAX, end_and_receipt(holder, outcome, reason)).await;
    match ending {
        Ok(Ok(lines)) => lines.iter().for_each(|line| out.say(&safe(line))),
        Ok(Err(error)) => {
            let words = failure(&error).lines().join("\n");
            out.warn(&format!(
                "accredit: the end of the task was not confirmed; it ends without its runner\n{words}"
            ));
        }
        Err(_) => {
            out.warn("accredit: the end of the task was not confirmed in time; it ends without its runner")
        }
    }
}

async fn end_and_receipt(
    holder: &Holder,
    outcome: EndOutcome,
    reason: Option<String>,
) -> Result<Vec<String>, CallError> {
    if let Err(error) = holder.end(outcome, reason).await {
        // A task that was revoked or has expired is over already.
        if !error.problem().is_some_and(|p| matches!(p.status, 401 | 403 | 409)) {
            return Err(error);
        }
    }
    match holder.receipt().await {
        Ok(receipt) => Ok(receipt::text(&receipt)),
        Err(_) => {
            let id = &holder.task().id;
            Ok(vec![format!("task {id} ended"), format!("  receipt  accredit task receipt {id}")])
        }
    }
}

/// Nobody may read this process's memory, which holds the key and the token, and what descends from it stays below it.
/// The limit on core files is left alone: the command inherits limits, and a process that cannot be dumped needs none.
fn harden() -> Result<(), Failure> {
    use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior};
    let failed =
        |e: rustix::io::Errno| Failure::new(Exit::Error, "harden", "the runner could not protect itself", e);
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    set_child_subreaper(Some(getpid())).map_err(failed)
}

fn intent(args: &RunArgs, out: Output) -> Result<Intent, Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::file(Path::new("."), &e))?;
    let project = ProjectConfig::find(&here).map_err(|e| {
        let failure = Failure::usage("nothing was started", &e);
        failure.todo(e.help().unwrap_or("correct it"))
    })?;
    let project = project.map(|(config, _)| config).unwrap_or_default();
    let folder =
        here.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "/".to_owned());
    Intent::new(args, &project, &folder, |question| ask(question, out))
}

fn ask(question: &str, out: Output) -> Option<String> {
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return None;
    }
    out.warn(question);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok().map(|_| answer)
}

/// The agent's own key: the one that was named, or the one that was made for it on this machine.
fn agent_key(args: &RunArgs, intent: &Intent, context: &Context) -> Result<Option<AgentKey>, Failure> {
    let standard = crate::cli::agent_key_path(&context.paths.keys(), &intent.agent);
    let path = match &args.key {
        Some(path) => path.clone(),
        None if standard.exists() => standard,
        None => return Ok(None),
    };
    AgentKey::read(&path, intent.spiffe_id.clone()).map(Some)
}

/// `VARIABLE=RESOURCE`.
fn base_url(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{text}` is not of the form VARIABLE=RESOURCE, such as OPENAI_BASE_URL=openai");
    let (variable, resource) = text.split_once('=').ok_or_else(wrong)?;
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good = !variable.is_empty() && variable.bytes().all(named);
    let name = accredit_core::id::ResourceName::parse(resource).map_err(|e| e.to_string())?;
    if good { Ok((variable.to_owned(), name.to_string())) } else { Err(wrong()) }
}

fn say_header(out: Output, server: &Server, task: &Task, changes: &Changes, command: &[OsString]) {
    let program = Path::new(&command[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
    out.say(&format!("accredit {} · authority at {}", env!("CARGO_PKG_VERSION"), server.name()));
    let weak = if task.attestation == SOCKET_PEER { " (unattested)" } else { "" };
    let attested = safe(&task.attestation.replace('_', " "));
    out.say(&format!("  agent    {}   attested by: {attested}{weak}", safe(&task.agent)));
    let until = task.expires_at.as_deref().map(crate::cli::until).unwrap_or_default();
    out.say(&format!(
        "  task     {} \"{}\"   ends when {} exits, {until} at the latest",
        task.id,
        safe(&task.purpose),
        safe(&program)
    ));
    let asked: Vec<String> = [("workflow", &task.workflow), ("requested by", &task.requested_by)]
        .into_iter()
        .filter_map(|(what, text)| Some(format!("{what} {}", safe(text.as_deref()?))))
        .collect();
    if !asked.is_empty() {
        out.say(&format!("  for      {}", asked.join("   ")));
    }
    for (i, grant) in task.boundary.usable.iter().enumerate() {
        out.say(&format!("  {:<8} {}", if i == 0 { "may" } else { "" }, safe(grant)));
    }
    for (i, grant) in task.boundary.delegable.iter().enumerate() {
        out.say(&format!("  {:<8} {}", if i == 0 { "hands on" } else { "" }, safe(grant)));
    }
    if let Some(parent) = &task.parent {
        out.say(&format!("  under    {parent}"));
    }
    say_secrets(out, changes);
    out.say("  fence    cooperative: a process that ignores the proxy gets no key, but is not stopped");
}

/// Names only: which secrets the command would have inherited.
fn say_secrets(out: Output, changes: &Changes) {
    let groups = [
        ("a placeholder instead", &changes.replaced),
        ("taken away", &changes.removed),
        ("KEPT, the command can read it", &changes.kept),
    ];
    for (fate, names) in groups.into_iter().filter(|(_, names)| !names.is_empty()) {
        let names: Vec<String> = names.iter().map(|n| safe(n)).collect();
        out.say(&format!("  found    {}   ({fate})", names.join(" ")));
    }
    if let Some(variable) = &changes.proxy_before {
        out.say(&format!("  note     {variable} was set; this run's proxy stands in its place, and the gateway dials directly"));
    }
}

fn say_plan(args: &RunArgs, intent: &Intent, program: &Path, context: &Context) -> Written {
    let wiring = Wiring {
        port: 0,
        task: "t_…".to_owned(),
        dir: context.paths.runs().join("…"),
        base_urls: args.base_urls.clone(),
        keep: args.keep_env.clone(),
    };
    let changes = environment::plan(&context.environment, &context.unreadable, &wiring);
    let boundary =
        intent.template.as_ref().map_or_else(|| intent.grants.join("\n"), |t| format!("template {t}"));
    let plan = serde_json::json!({
        "agent": intent.agent, "purpose": intent.purpose, "workflow": intent.workflow,
        "requested_by": intent.requested_by, "template": intent.template, "grants": intent.grants, "delegable": intent.delegable, "ttl_s": intent.ttl_s,
        "program": program.display().to_string(), "set": changes.set.keys().collect::<Vec<_>>(),
        "replaced": changes.replaced, "removed": changes.removed, "kept": changes.kept,
    });
    context.out.one(&plan, |_| {
        vec![
            ("would run", program.display().to_string()),
            ("as agent", intent.agent.clone()),
            ("for", intent.purpose.clone()),
            ("may", boundary),
            ("would set", changes.set.keys().cloned().collect::<Vec<_>>().join(" ")),
            ("placeholders", changes.replaced.join(" ")),
            ("would take away", changes.removed.join(" ")),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_names_a_variable_and_a_resource() {
        assert_eq!(
            base_url("OPENAI_BASE_URL=openai"),
            Ok(("OPENAI_BASE_URL".to_owned(), "openai".to_owned()))
        );
        for wrong in ["", "X", "=openai", "A B=openai", "X=Open AI", "X=../y"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }
}
