//! `accredit witness`: cosigns the checkpoints of other installations' ledgers. It shares nothing with an authority but
//! the program: own directory, own key, no database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use accredit_ledger::note::{CosignerKey, KEY_BYTES, VerifierKey};
use accredit_witness::{KeyFileError, OpenError, Witness};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::Context;
use crate::config::paths::private_dir;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Written;
use crate::serve::{LogFormat, StopSignals, start_log};

/// Where a witness listens unless it is told otherwise.
const LISTEN: &str = "127.0.0.1:9750";

#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    #[command(subcommand)]
    verb: Verb,
    /// Directory of the witness [default: `witness` in the state directory]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the key and the list of logs
    Init {
        /// Name of the witness in its cosignatures, such as witness.example.org/w1
        #[arg(long)]
        name: String,
        /// Verifier key of a log to cosign for, as `accredit audit key` prints it; more go into the file `logs`
        #[arg(long, value_name = "KEY", value_parser = VerifierKey::parse)]
        log: Vec<VerifierKey>,
    },
    /// Cosign in the foreground
    Serve {
        /// Where to listen
        #[arg(long, default_value = LISTEN, value_name = "ADDRESS")]
        listen: SocketAddr,
        /// A proxy on this machine encrypts what comes from others
        #[arg(long)]
        behind_proxy: bool,
        /// How log lines are written
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        log_format: LogFormat,
    },
    /// Print the public key, which logs and verifiers are told
    Key,
}

/// The public key of a witness.
#[derive(Debug, Serialize)]
struct Key {
    verifier: String,
}

/// Where a witness answers, and for which logs.
#[derive(Debug, Serialize)]
struct Serving {
    url: String,
    verifier: String,
    logs: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: WitnessArgs, context: &Context) -> Result<Exit, Failure> {
    let dir = args.dir.unwrap_or_else(|| context.paths.state().join("witness"));
    match args.verb {
        Verb::Init { name, log } => {
            private_dir(&dir).map_err(|e| Failure::file(&dir, &e))?;
            let mut seed = Zeroizing::new([0; KEY_BYTES]);
            aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|e| failed("randomness", &e))?;
            let key = Witness::init(&dir, &name, &seed, &log).map_err(|e| not_open(&e))?;
            context.out.say(&format!("logs to cosign for: one key a line in {}", dir.join("logs").display()));
            show(&key, context)?;
            Ok(Exit::Ok)
        }
        Verb::Serve { listen, behind_proxy, log_format } => {
            accredit_vault::harden().map_err(|e| failed("harden", &e))?;
            start_log(log_format)?;
            accredit_server::check_exposure(listen, behind_proxy).map_err(|e| failed("exposed", &e))?;
            serve(dir, listen, context).await
        }
        Verb::Key => {
            let key = Witness::key_in(&dir).map_err(|e| not_open(&OpenError::Key(e)))?;
            show(&key, context)?;
            Ok(Exit::Ok)
        }
    }
}

async fn serve(dir: PathBuf, listen: SocketAddr, context: &Context) -> Result<Exit, Failure> {
    let mut signals = StopSignals::take()?;
    let witness = Arc::new(Witness::open(&dir).map_err(|e| not_open(&e))?);
    let bound = async {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    let (listener, address) = bound.await.map_err(|e| {
        Failure::new(Exit::Conflict, "address", format!("`{listen}` cannot be listened on"), e)
            .todo("stop what listens there, or choose another address with --listen")
    })?;
    let serving = Serving {
        url: format!("http://{address}"),
        verifier: witness.key().to_string(),
        logs: witness.logs().map(str::to_owned).collect(),
    };
    if serving.logs.is_empty() {
        context.out.warn(&format!("{} names no log: nothing will be cosigned", dir.join("logs").display()));
    }
    if let Err(failure) = context.out.line(&serving, |s| format!("witness {} on {}", s.verifier, s.url)) {
        // A witness works as well when nobody reads what it says at its start.
        context.out.failure(&failure);
    }
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(accredit_witness::serve(listener, witness, stopped));
    signals.next().await;
    stop.send_replace(true);
    served.await.map_err(|e| failed("serve", &e))?;
    Ok(Exit::Ok)
}

fn show(key: &CosignerKey, context: &Context) -> Written {
    context.out.line(&Key { verifier: key.to_string() }, |key| key.verifier.clone())
}

fn not_open(error: &OpenError) -> Failure {
    let todo = match error {
        OpenError::Key(KeyFileError::Io { .. }) => {
            "make a witness once with `accredit witness init --name NAME`; a key that is there is never replaced"
        }
        OpenError::Key(KeyFileError::Permissions { .. }) => "chmod 600 the file",
        OpenError::Key(KeyFileError::Malformed(_)) => "put the witness's key back from a copy",
        OpenError::Key(KeyFileError::Name(_)) => "choose a name such as witness.example.org/w1",
        OpenError::Logs(_) => "write verifier keys there, one a line: `accredit audit key` prints one",
        OpenError::Book(_) => {
            "put the file back, or the log's earlier key into `logs`; without it the witness would forget what it cosigned"
        }
        OpenError::Running(_) => "use that one, or choose another --dir",
        OpenError::Directory { .. } => "look at the directory's owner and mode",
    };
    failed("witness", error).todo(todo)
}

fn failed(code: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Error, code, "the witness does not run", why)
}
