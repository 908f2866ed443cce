//! `accredit backup`, `restore` and `migrate`: copies of everything durable. They work on the database itself, beside the
//! server, with the rights of whoever may read it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use accredit_authority::settings;
use accredit_core::time::Timestamp;
use accredit_store::copy::{self, Copied, CopyError, Database, Progress};
use clap::Args;
use serde::Serialize;

use super::Context;
use super::database::address;
use crate::config::paths::private_dir;
use crate::config::server::ServerConfig;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, Output};

/// `accredit backup`
///
/// One SQLite file, for its owner alone, whichever store it is of. Secrets are in it only as the vault has sealed them; the
/// key that opens them is not: keep it elsewhere.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to make
    file: PathBuf,
    /// The configuration of the server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `accredit restore`
///
/// The server then starts only with --acknowledge-fork: what came after the backup is lost. That opens a new epoch, in which
/// every task, join token, sign-in link and session of the backup is void. Agents, policies and credentials are those of
/// the backup: what was suspended or revoked since must be so again.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// The configuration of the server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `accredit migrate`
///
/// The server must be stopped. What arrived is recomputed before anything is given up; from then on the file takes no work.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The shared database, prepared and empty: `postgres://accredit@host/database`, or a reference to where that stands
    #[arg(long, value_name = "URL")]
    to: String,
    /// Where the password stands: `${env:NAME}` or `${file:/path}`
    #[arg(long, value_name = "REFERENCE")]
    password_from: Option<String>,
    /// The configuration of the server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What was copied, and where it is.
#[derive(Serialize)]
struct Report {
    /// File or database that has it now.
    to: String,
    /// Entries of the ledger.
    entries: u64,
    /// Root of those under its head, recomputed; base64.
    root: String,
    /// When the backup was taken, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_at: Option<String>,
    duration_ms: u64,
}

impl Report {
    fn new(to: String, copied: Copied, begun: Instant) -> Self {
        Self {
            to,
            entries: copied.entries,
            root: copied.root,
            taken_at: copied.taken_at.map(|ms| Timestamp::from_ms(ms).to_string()),
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![("to", self.to.clone()), ("entries", self.entries.to_string())];
        lines.push(("root", format!("{}, recomputed", self.root)));
        lines.extend(self.taken_at.iter().map(|at| ("taken at", at.clone())));
        lines
    }
}

/// Takes a backup.
pub(crate) async fn backup(args: BackupArgs, context: &Context) -> Result<Exit, Failure> {
    let config = config(args.config.as_deref(), context)?;
    let (from, file, begun) = (database(&config), args.file, Instant::now());
    let to = file.display().to_string();
    let copied = working(context.out, move |progress| copy::backup(&from, &file, progress)).await;
    let copied = copied.map_err(|error| failed("the backup was not taken", &error))?;
    context.out.one(&Report::new(to, copied, begun), Report::lines)?;
    context.out.say(
        "the vault's key is not in it, on purpose: without that key nobody opens the secrets of the copy",
    );
    Ok(Exit::Ok)
}

/// Restores one.
pub(crate) async fn restore(args: RestoreArgs, context: &Context) -> Result<Exit, Failure> {
    let config = config(args.config.as_deref(), context)?;
    for dir in [context.paths.state(), &config.data_dir] {
        private_dir(dir).map_err(|e| Failure::file(dir, &e))?;
    }
    let (into, file, begun) = (database(&config), args.file, Instant::now());
    let to = shown(&into);
    let copied = working(context.out, move |progress| copy::restore(&file, &into, progress)).await;
    let copied = copied.map_err(|error| failed("nothing was restored", &error))?;
    context.out.one(&Report::new(to, copied, begun), Report::lines)?;
    if !config.head.exists() {
        context.out.say(&format!(
            "no ledger head is at {}: if the one of the old machine can be had, put it there before the start, so that \
             no head is signed twice",
            config.head.display()
        ));
    }
    context.out.say("next: accredit serve --acknowledge-fork");
    Ok(Exit::Ok)
}

/// Moves an installation.
pub(crate) async fn migrate(args: MigrateArgs, context: &Context) -> Result<Exit, Failure> {
    let what = "nothing was moved";
    let config = config(args.config.as_deref(), context)?;
    let target = address(&args.to, args.password_from.as_deref(), context, what)?;
    let (from, head, begun) = (file_of(&config), config.head, Instant::now());
    let to = target.shown();
    let moving = move |progress: &(dyn Fn(Progress) + Sync)| copy::migrate(&from, &head, &target, progress);
    let copied = working(context.out, moving).await.map_err(|error| failed(what, &error))?;
    context.out.one(&Report::new(to.clone(), copied, begun), Report::lines)?;
    context.out.say(&format!("next: set server.database to {to} in accredit.toml, and start the server"));
    Ok(Exit::Ok)
}

fn config(file: Option<&Path>, context: &Context) -> Result<ServerConfig, Failure> {
    Ok(super::load_config(file, context, &context.environment)?.0)
}

fn file_of(config: &ServerConfig) -> PathBuf {
    config.data_dir.join(settings::DATABASE_FILE)
}

fn database(config: &ServerConfig) -> Database {
    match &config.database {
        settings::Database::Embedded => Database::File(file_of(config)),
        settings::Database::Shared(address) => Database::Server(address.clone()),
    }
}

fn shown(database: &Database) -> String {
    match database {
        Database::File(path) => path.display().to_string(),
        Database::Server(address) => address.shown(),
    }
}

/// Works on a thread that may wait, and shows how far it is.
async fn working(
    out: Output,
    work: impl FnOnce(&(dyn Fn(Progress) + Sync)) -> Result<Copied, CopyError> + Send + 'static,
) -> Result<Copied, CopyError> {
    let doing = tokio::task::spawn_blocking(move || work(&move |progress| out.progress(&words(progress))));
    let copied = doing.await;
    out.progress("");
    copied.unwrap_or_else(|_| Err(CopyError::NotWhole("the copy broke off inside the program".to_owned())))
}

fn words(progress: Progress) -> String {
    const MB: u64 = 1_000_000;
    match progress {
        Progress::Bytes(done, of) => format!("copying: {} of about {} MB", done / MB, of / MB),
        Progress::Rows(rows) => format!("copying: {rows} rows"),
        Progress::Checked(entries, of) => format!("recomputing the ledger: {entries} of {of} entries"),
    }
}

fn failed(what: &str, error: &CopyError) -> Failure {
    let (exit, todo) = match error {
        CopyError::Exists(path) if path.extension().is_some_and(|end| end == "part") => (
            Exit::Conflict,
            "another backup to the same file is under way: wait for it, or name another file",
        ),
        CopyError::Exists(_) => (Exit::Conflict, "move it away first, or name another"),
        CopyError::Missing(_) => (Exit::NotFound, "look at the path, and at --config and --state"),
        CopyError::Foreign(_) => (Exit::Usage, "name a file that `accredit backup` made"),
        CopyError::NotEmpty(_) => {
            (Exit::Conflict, "use a database of its own, prepared with `accredit database prepare`")
        }
        CopyError::Open(accredit_store::OpenError::InUse(_)) => (Exit::Conflict, "stop the server first"),
        CopyError::Open(accredit_store::OpenError::Moved(_)) => {
            (Exit::Conflict, "work goes on where it was moved to: set server.database in accredit.toml")
        }
        CopyError::Forked(_) => {
            (Exit::Conflict, "start the server on the file first: it says what is to be done")
        }
        CopyError::OtherSchema { .. } => (
            Exit::Conflict,
            "bring both up to date: `accredit database prepare`; start a server of this version on the file",
        ),
        CopyError::Server(accredit_store::SchemaError::NotPrepared) => (
            Exit::Conflict,
            "as the owner of the database: accredit database prepare --database postgres://OWNER@HOST/DATABASE",
        ),
        CopyError::Server(_) => (Exit::Unreachable, "look at the address, and whether the database answers"),
        CopyError::NotWhole(_) => {
            (Exit::Error, "do not use the copy; look at the original with `accredit audit verify`")
        }
        CopyError::File { .. } | CopyError::Open(_) | CopyError::Schema(_) | CopyError::Store(_) => {
            (Exit::Error, "look at the disk and at the rights of the directory, then repeat it")
        }
    };
    Failure::new(exit, "copy", what, error).todo(todo)
}
