//! The command line: one file for each noun. A command parses its arguments, makes its calls, and prints; what may be
//! done is decided by the authority.

mod agent; //      agent ls|show|add|enrol|suspend|resume|owner|key|token
mod ask; //        destructive commands ask first
mod audit; //      audit search|tail|verify|prove|checkpoint|key|export
mod backup; //     backup, restore, migrate
mod clients; //    the clients that the probe knows
mod completion; // completion SHELL, openapi
mod config; //     config check|show
mod credential; // credential ls|show|add|set|rotate|revoke|who-can|uses
mod database; //   database prepare
mod doctor; //     doctor [--probe]
mod finding; //    finding ls|show
mod health; //     health
mod login; //      login, logout, whoami
pub(crate) mod operator; // calls in the name of the person who is signed in
mod owner; //      owner ls|add|lapse
mod people; //     operator ls|show|add|change|lapse
mod policy;
mod policy_test; //     policy show|check|apply|diff|test|who-can|replay
mod probe; //      which clients find their way: each is run
mod request; //    people answer what waits
mod resource; //   resource ls|show|add|change|retire|test
mod revoke; //     revoke --task|--agent|--credential|--all
mod secret; //     secret values: from a file, a descriptor or standard input, never from the command line
mod task; //       task ls|show|end|extend|release
mod template; //   template ls|show
mod vault; //      vault show|rotate
mod verify; //     the whole ledger, recomputed on this machine
mod vouchers; //   witnesses whose cosignatures a verifier requires
mod when; //       moments as people write them
mod why; //        why ID
mod witness; //    witness init|serve|key

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::paths::Paths;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output};

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print data as a table, as JSON, or as one JSON document a line
    #[arg(short = 'o', long = "output", value_enum, default_value_t, global = true, value_name = "FORMAT")]
    output: Format,
    /// Print nothing but data and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Directory of state: database, keys, sessions [default: ~/.local/state/accredit]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// URL of an authority elsewhere; without it, the one on this machine
    #[arg(long, global = true, value_name = "URL", env = "ACCREDIT_URL")]
    url: Option<String>,
}

/// An identity for every agent, a short authority for every task, a record of every use.
#[derive(Debug, Parser)]
#[command(name = "accredit", version, propagate_version = false, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command as a task: it finds the services and holds no secret
    Run(Box<crate::run::RunArgs>),
    /// Run authority, control plane and gateway in the foreground
    Serve(crate::serve::ServeArgs),
    /// Agents: registered non-human identities
    Agent(agent::AgentArgs),
    /// Operators: people who sign in, and what they may do
    Operator(people::OperatorArgs),
    /// Owners: people and teams that answer for something
    Owner(owner::OwnerArgs),
    /// Tasks: the unit of authority
    Task(task::TaskArgs),
    /// Templates: named boundaries
    Template(template::TemplateArgs),
    /// Resources: what is protected
    Resource(resource::ResourceArgs),
    /// Credentials: the ways into resources
    Credential(credential::CredentialArgs),
    /// Policies: what may happen
    Policy(policy::PolicyArgs),
    /// Requests that wait for a person
    Request(request::RequestArgs),
    /// Findings: agents that did what they do not usually do
    Finding(finding::FindingArgs),
    /// The ledger: search it, follow it, prove it
    Audit(audit::AuditArgs),
    /// Explain a decision, a request or a task by replaying it from the record
    Why(why::WhyArgs),
    /// Take authority away; when it returns, it is over
    Revoke(revoke::RevokeArgs),
    /// Sign in with a one-time link
    Login(login::LoginArgs),
    /// Sign out
    Logout,
    /// Say who is signed in
    Whoami,
    /// Check what this machine needs; with --probe, which clients find their way
    Doctor(doctor::DoctorArgs),
    /// The configuration of a server
    Config(config::ConfigArgs),
    /// Ask whether the authority accepts work
    Health,
    /// The vault: whether it is open, and its keys
    Vault(vault::VaultArgs),
    /// Copy everything that is durable into a file, while servers go on working
    Backup(backup::BackupArgs),
    /// Put a backup where a server works: an empty state directory, or an empty shared database
    Restore(backup::RestoreArgs),
    /// Move an installation from its file to a shared database: the same tasks, tokens and ledger go on there
    Migrate(backup::MigrateArgs),
    /// The database that servers share: make its schema, or bring it up to date
    Database(database::DatabaseArgs),
    /// Cosign the signed heads of other installations' ledgers
    Witness(witness::WitnessArgs),
    /// Print a completion script
    Completion(completion::CompletionArgs),
    /// Print the version
    Version,
    /// Print the description of the API
    #[command(hide = true)]
    Openapi,
}

/// What a command knows about where it runs.
pub(crate) struct Context {
    pub(crate) out: Output,
    pub(crate) paths: Paths,
    pub(crate) environment: BTreeMap<String, String>,
    /// Variables that are no Unicode, in name or value.
    pub(crate) unreadable: BTreeMap<OsString, OsString>,
    url: Option<String>,
}

impl Context {
    fn new(global: &Global) -> Self {
        let mut unreadable = BTreeMap::new();
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| match (name.to_str(), value.to_str()) {
                (Some(name), Some(value)) => Some((name.to_owned(), value.to_owned())),
                _ => {
                    unreadable.insert(name, value);
                    None
                }
            })
            .collect();
        Self {
            out: Output::new(global.output, global.quiet),
            paths: Paths::new(global.state.as_deref(), &environment),
            url: global.url.clone().filter(|url| !url.is_empty()),
            environment,
            unreadable,
        }
    }

    /// A context whose state is in this directory.
    #[cfg(test)]
    pub(crate) fn of_test(dir: &std::path::Path, environment: BTreeMap<String, String>) -> Self {
        let (out, paths) = (Output::new(Format::Json, true), Paths::new(Some(dir), &environment));
        Self { out, paths, environment, unreadable: BTreeMap::new(), url: None }
    }
}

/// The whole program: parse, do, print, and say how it ended.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    let context = Context::new(&cli.global);
    match start(cli.command, &context) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            context.out.failure(&failure);
            failure.exit().into()
        }
    }
}

/// Help and version are no mistakes; a mistake comes in the form that the caller reads.
fn not_understood(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments
        .iter()
        .any(|a| matches!(a.as_str(), "-ojson" | "-ojsonl" | "--output=json" | "--output=jsonl"))
        || arguments
            .windows(2)
            .any(|w| matches!(w[0].as_str(), "-o" | "--output") && w[1].starts_with("json"));
    if error.use_stderr() && json {
        let text = error.to_string();
        let why = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let failure = Failure::usage("the command line was not understood", why).todo("accredit --help");
        Output::new(Format::Json, false).failure(&failure);
        return failure.exit().into();
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()))
}

fn start(command: Command, context: &Context) -> Result<Exit, Failure> {
    let mut runtime = match command {
        Command::Serve(_) | Command::Run(_) | Command::Witness(_) => {
            tokio::runtime::Builder::new_multi_thread()
        }
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Error, "runtime", "the program could not start", e))?;
    let exit = runtime.block_on(dispatch(command, context));
    // What still reads from a terminal or waits for a peer must not keep the program.
    runtime.shutdown_background();
    exit
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => crate::run::run(*args, context).await,
        Command::Serve(args) => crate::serve::serve(args, context).await,
        Command::Agent(args) => agent::run(args, context).await,
        Command::Operator(args) => people::run(args, context).await,
        Command::Owner(args) => owner::run(args, context).await,
        Command::Task(args) => task::run(args, context).await,
        Command::Template(args) => template::run(args, context).await,
        Command::Resource(args) => resource::run(args, context).await,
        Command::Credential(args) => credential::run(args, context).await,
        Command::Policy(args) => policy::run(args, context).await,
        Command::Request(args) => request::run(args, context).await,
        Command::Finding(args) => finding::run(args, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Why(args) => why::run(args, context).await,
        Command::Revoke(args) => revoke::run(args, context).await,
        Command::Login(args) => login::login(args, context).await,
        Command::Logout => login::logout(context).await,
        Command::Whoami => login::whoami(context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Config(args) => config::run(args, context),
        Command::Health => health::run(context).await,
        Command::Vault(args) => vault::run(args, context).await,
        Command::Backup(args) => backup::backup(args, context).await,
        Command::Restore(args) => backup::restore(args, context).await,
        Command::Migrate(args) => backup::migrate(args, context).await,
        Command::Database(args) => database::run(args, context).await,
        Command::Witness(args) => witness::run(args, context).await,
        Command::Completion(args) => completion::completion(args, context, &mut Cli::command()),
        Command::Version => completion::version(context),
        Command::Openapi => completion::openapi(context),
    }
}

pub(crate) use agent::key_path as agent_key_path;
pub(crate) use config::load as load_config;
pub(crate) use when::until;

/// A text or a dash where there is none.
fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// The word that a wire value is written as.
fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_argument_takes_a_secret_value() {
        fn walk(command: &clap::Command, found: &mut Vec<String>) {
            let named =
                |a: &clap::Arg| matches!(a.get_id().as_str(), "value" | "secret" | "password" | "session");
            found.extend(
                command
                    .get_arguments()
                    .filter(|a| named(a))
                    .map(|a| format!("{} {}", command.get_name(), a.get_id())),
            );
            command.get_subcommands().for_each(|sub| walk(sub, found));
        }
        let mut found = Vec::new();
        walk(&Cli::command(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    /// Every `accredit …` that a text of ours tells somebody to type, in sources and documents.
    #[test]
    fn every_command_that_a_text_names_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut left: Vec<PathBuf> =
            ["README.md", "SECURITY.md", "docs", "crates"].map(|name| root.join(name)).into();
        let (mut named, mut wrong) = (0, Vec::new());
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path()));
            } else if path.extension().is_some_and(|end| end == "rs" || end == "md") {
                let text = std::fs::read_to_string(&path).expect("a text");
                for line in text.lines() {
                    for told in line.split("`accredit ").skip(1).filter_map(|rest| rest.split('`').next()) {
                        named += 1;
                        let shown = || format!("{}: `accredit {told}`", path.display());
                        wrong.extend(unknown_in(told).map(|word| format!("{}: {word}", shown())));
                    }
                }
            }
        }
        assert!(named > 100, "only {named} commands were found");
        assert_eq!(wrong, Vec::<String>::new());
    }

    /// The first word of a command line that this program does not know. What stands for something else (`NAME`, `…`,
    /// `{what}`) ends the search.
    fn unknown_in(told: &str) -> Option<String> {
        let root = Cli::command();
        let mut command = &root;
        for word in told.split_whitespace().map(|word| word.trim_matches(['"', ',', '.', '[', ']'])) {
            if word == "--" {
                return None;
            }
            if let Some(flag) = word.strip_prefix("--") {
                let flag = flag.split(['=', '|']).next().unwrap_or(flag);
                let of = |command: &clap::Command| {
                    flag == "help" || command.get_arguments().any(|a| a.get_long() == Some(flag))
                };
                if !(of(command) || of(&root)) {
                    return Some(word.to_owned());
                }
            } else if command.has_subcommands() {
                if !word.starts_with(|c: char| c.is_ascii_lowercase()) {
                    return None;
                }
                let mut each = word.split('|').map(|word| command.find_subcommand(word));
                let Some(next) = each.next().flatten() else { return Some(word.to_owned()) };
                if each.any(|other| other.is_none()) {
                    return Some(word.to_owned());
                }
                command = next;
            }
        }
        None
    }
}
