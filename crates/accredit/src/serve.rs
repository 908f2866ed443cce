//! `accredit serve`: authority, control plane and gateway in one process, in the foreground. Here they are wired; what
//! each does is its own.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accredit_authority::operators::LinkMaker;
use accredit_authority::settings::{Address, Provider};
use accredit_authority::{Authority, OpenError, Settings};
use accredit_gateway::Gateway;
use accredit_publish::Target;
use accredit_server::{App, Listener};
use accredit_store::{OpenError as StoreOpenError, SchemaError};
use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

use crate::cli::Context;
use crate::config::paths::{private_dir, write_private};
use crate::config::server::ServerConfig;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::otlp::Sending;
use crate::output::Written;

/// Commands that wait for the database before new ones are refused: a second of work at a thousand a second.
const QUEUE_MAX: usize = 1_024;
/// Connections that the system keeps until they are accepted: what comes within a fraction of a second when a balancer sends
/// everybody here. One more waits a second before it is tried again.
const BACKLOG: u32 = 4_096;
/// How long connections of agents may take to come to their end after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// How soon a gateway that could not open, because the vault is sealed, is tried again.
const GATEWAY_AGAIN: Duration = Duration::from_secs(1);
/// What is logged unless `ACCREDIT_LOG` says otherwise.
const LOG_DEFAULT: &str = "info";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration [default: accredit.toml in the state directory, else /etc/accredit/accredit.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database [default: an SQLite file in the state directory; or what the configuration says]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Print a one-time sign-in link, not only at the first start
    #[arg(long)]
    once_link: bool,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Accept that the database is older than its ledger's head, as after restoring a backup; this is recorded
    #[arg(long)]
    acknowledge_fork: bool,
}

/// Where everything answers.
#[derive(Debug, Serialize)]
struct Serving {
    url: String,
    gateway_url: String,
    socket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

/// As many open files as this user may have: each connection of an agent is one, and one more on its way upstream. The
/// usual limit of a shell is for programs that wait for files in another way than this one does.
fn raise_files_max() {
    let allowed = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Serves until it is told to stop.
pub(crate) async fn serve(args: ServeArgs, context: &Context) -> Result<Exit, Failure> {
    let mut signals = StopSignals::take()?;
    accredit_vault::harden().map_err(|e| failed("harden", &e))?;
    start_log(args.log_format)?;
    raise_files_max();
    let config = configuration(&args, context)?;
    let openid = config.openid.as_ref().map(|openid| openid.provider(&context.environment)).transpose();
    let openid = openid.map_err(|e| failed("people.openid", &e))?;
    for dir in [context.paths.state(), &config.data_dir] {
        private_dir(dir).map_err(|e| Failure::file(dir, &e))?;
    }
    let target = target(&config, context)?;
    let listeners = Listeners::bind(&config, context.paths.socket()).await?;
    let authority = tokio::select! {
        opened = open(settings(&config, &listeners, openid), args.acknowledge_fork) => opened?,
        // Whatever was begun is whole or not there at the next start.
        () = signals.next() => return Ok(Exit::Ok),
    };
    let reports = match config.otlp.clone() {
        Some(to) => Sending::start(to, &authority).map_err(|e| failed("otlp", &e))?,
        None => None,
    };
    let app = App::new(authority.clone(), rustix::process::geteuid().as_raw());
    let announced = app.clone();
    let (stop, stopped) = watch::channel(false);
    let (cut, jobs) = (CancellationToken::new(), TaskTracker::new());
    let own = vec![listeners.listen, listeners.gateway];
    jobs.spawn(accredit_server::serve(Listener::Tcp(listeners.api), app.clone(), stopped.clone()));
    jobs.spawn(accredit_server::serve(Listener::Unix(listeners.socket), app.clone(), stopped));
    let ca_path = context.paths.gateway_ca();
    jobs.spawn(gateway(app, authority.clone(), own, listeners.agents, ca_path, cut.clone()));
    if let Some((target, every)) = target {
        jobs.spawn(accredit_publish::publish(authority.clone(), target, every, cut.clone()));
    }
    let link = if authority.is_new() || args.once_link { link(&authority).await } else { None };
    if let Err(failure) = announce(&authority, context, link) {
        // A server works as well when nobody reads what it says at its start.
        context.out.failure(&failure);
    }
    signals.next().await;
    announced.announce_stop();
    if !config.drain_delay.is_zero() {
        tracing::info!("stopping: not ready from now on, so that new work goes elsewhere");
        tokio::select! {
            () = tokio::time::sleep(config.drain_delay) => {}
            () = signals.next() => {}
        }
    }
    tracing::info!("stopping: nothing new is accepted, what is under way comes to its end");
    stop.send_replace(true);
    cut.cancel();
    jobs.close();
    // A second wish to stop does not wait for what is under way.
    tokio::select! {
        () = jobs.wait() => {}
        () = signals.next() => {}
    }
    authority.quiesce().await;
    if let Some(reports) = reports {
        reports.finish().await;
    }
    let _ = std::fs::remove_file(context.paths.socket());
    Ok(Exit::Ok)
}

/// What the server is told; what stands on the command line stands above the rest, except a password.
fn configuration(args: &ServeArgs, context: &Context) -> Result<ServerConfig, Failure> {
    let mut environment = context.environment.clone();
    if let Some(database) = &args.database {
        if Address::has_password(database) {
            let why = "a password on the command line can be read by every process of this machine";
            let failure = Failure::usage("the server was not started", why);
            return Err(failure.todo("set server.database_password to \"${file:/path}\" in accredit.toml"));
        }
        environment.insert("ACCREDIT_SERVER__DATABASE".to_owned(), database.clone());
    }
    Ok(crate::cli::load_config(args.config.as_deref(), context, &environment)?.0)
}

/// Addresses and socket, bound before anything is opened, so that a second server stops here.
struct Listeners {
    api: TcpListener,
    agents: TcpListener,
    socket: UnixListener,
    listen: SocketAddr,
    gateway: SocketAddr,
}

impl Listeners {
    async fn bind(config: &ServerConfig, socket: &Path) -> Result<Self, Failure> {
        let (api, listen) = tcp("listen", config.listen)?;
        let (agents, gateway) = tcp("gateway", config.gateway)?;
        let socket = unix(socket).await?;
        Ok(Self { api, agents, socket, listen, gateway })
    }
}

fn tcp(key: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // After a restart, connections of the one before may still be on their way out.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok::<_, io::Error>((listener, address))
    };
    bound().map_err(|e| {
        let failure =
            Failure::new(Exit::Conflict, "address", format!("`{address}` cannot be listened on"), e);
        failure.todo(format!("stop what listens there, or set server.{key} in accredit.toml"))
    })
}

/// The local socket, for its owner alone. One that nobody answers on is what a killed server left behind.
async fn unix(path: &Path) -> Result<UnixListener, Failure> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    private_dir(dir).map_err(|e| Failure::file(dir, &e))?;
    if UnixStream::connect(path).await.is_ok() {
        let failure = Failure::new(
            Exit::Conflict,
            "running",
            "the server was not started",
            "one answers on the socket already",
        );
        return Err(failure.todo("use that one (accredit health), stop it, or choose another --state"));
    }
    let bound = match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => UnixListener::bind(path),
    };
    let listener = bound.map_err(|e| Failure::file(path, &e))?;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).map_err(|e| Failure::file(path, &e))?;
    Ok(listener)
}

fn settings(config: &ServerConfig, listeners: &Listeners, openid: Option<Provider>) -> Settings {
    Settings {
        database: config.database.clone(),
        data_dir: config.data_dir.clone(),
        head_path: config.head.clone(),
        tenant: config.tenant.clone(),
        trust_domain: config.trust_domain.clone(),
        issuer: config.url.clone().unwrap_or_else(|| format!("http://{}", listeners.listen)),
        gateway_url: config.gateway_url.clone().unwrap_or_else(|| format!("http://{}", listeners.gateway)),
        key: config.seal.clone(),
        templates: config.templates.clone(),
        task_ttl_s_max: config.task_ttl_s_max,
        default_mode: config.mode,
        hold_for: config.hold_calls_for,
        rules: config.rules.clone().into(),
        queue_max: QUEUE_MAX,
        openid,
        witnesses: config.witnesses.clone(),
    }
}

async fn open(settings: Settings, acknowledge_fork: bool) -> Result<Arc<Authority>, Failure> {
    Authority::open(settings, acknowledge_fork).await.map_err(|error| {
        let todo = match &error {
            OpenError::Fork(_) => {
                "where a backup was restored on purpose, accept the fork once with --acknowledge-fork"
            }
            OpenError::Store(StoreOpenError::Shared(SchemaError::NotPrepared | SchemaError::Older { .. })) => {
                "as the owner of the database: accredit database prepare --database postgres://OWNER@HOST/DATABASE"
            }
            OpenError::Store(StoreOpenError::Shared(SchemaError::TooMighty { .. })) => {
                "sign in as the role that `accredit database prepare --role` names; it owns nothing"
            }
            OpenError::Store(StoreOpenError::Shared(_)) => {
                "look at the address in server.database, and whether the database answers"
            }
            OpenError::Store(StoreOpenError::Moved(_)) => {
                "set server.database in accredit.toml to where it was moved to"
            }
            OpenError::Store(_) => {
                "look at the file that the message names; another version of accredit may have made it"
            }
            OpenError::Fault(_) => "accredit config check",
        };
        failed("open", &error).todo(todo)
    })
}

/// Where the ledger is published, and how often.
fn target(config: &ServerConfig, context: &Context) -> Result<Option<(Target, Duration)>, Failure> {
    let Some(publish) = &config.publish else { return Ok(None) };
    let keys = publish.keys(&context.environment).map_err(|e| failed("publish", &e))?;
    let target = Target::open(&publish.to, keys.as_ref()).map_err(|e| {
        failed("publish", &e).todo("look at [audit.publish]; `accredit config show` prints what is used")
    })?;
    Ok(Some((target, publish.every)))
}

/// Serves agents as soon as the vault is open; its public certificate is put beside the socket, for runners.
async fn gateway(
    app: App,
    authority: Arc<Authority>,
    own: Vec<SocketAddr>,
    listener: TcpListener,
    ca_path: PathBuf,
    cut: CancellationToken,
) {
    let gateway = loop {
        match Gateway::open(authority.clone(), own.clone()).await {
            Ok(gateway) => break gateway,
            Err(fault) => tracing::warn!(cause = %fault, "the gateway waits"),
        }
        tokio::select! {
            () = tokio::time::sleep(GATEWAY_AGAIN) => {}
            () = cut.cancelled() => return,
        }
    };
    app.set_gateway_ca(gateway.ca_pem());
    if let Err(error) = write_private(&ca_path, gateway.ca_pem().as_bytes()) {
        tracing::error!(path = %ca_path.display(), %error, "the gateway's certificate could not be written for runners");
    }
    gateway.serve(listener, cut, DRAIN).await;
}

/// A link for whoever started the server; it burns when it is used.
async fn link(authority: &Authority) -> Option<String> {
    let uid = rustix::process::geteuid().as_raw();
    match authority.create_link(LinkMaker::LocalUser { uid }, None, None).await {
        Ok(link) => Some(format!("{}/#l={}", authority.settings().issuer, link.code.expose())),
        Err(fault) => {
            tracing::warn!(cause = %fault, "no sign-in link was made: accredit login --link");
            None
        }
    }
}

fn announce(authority: &Authority, context: &Context, link: Option<String>) -> Written {
    let settings = authority.settings();
    let out = context.out;
    out.say(&format!("accredit {} · authority on {}", env!("CARGO_PKG_VERSION"), settings.issuer));
    out.say(&format!("  gateway  {}", settings.gateway_url));
    out.say(&format!("  socket   {}", context.paths.socket().display()));
    out.say(&format!("  state    {}", settings.data_dir.display()));
    if link.is_some() {
        out.say("  sign in  with the link below, once");
    }
    let serving = Serving {
        url: settings.issuer.clone(),
        gateway_url: settings.gateway_url.clone(),
        socket: context.paths.socket().display().to_string(),
        link,
    };
    if out.is_json() || serving.link.is_some() {
        out.line(&serving, |s| s.link.clone().unwrap_or_default())?;
    }
    Ok(())
}

/// The signals that tell a server to stop. They are taken from the moment that this is made, and none is lost between two
/// waits.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes them from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(crate) fn take() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|e| failed("signals", &e));
        Ok(Self { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the log of a server, on standard error.
pub(crate) fn start_log(format: LogFormat) -> Result<(), Failure> {
    let wanted = std::env::var("ACCREDIT_LOG").unwrap_or_else(|_| LOG_DEFAULT.to_owned());
    let filter = EnvFilter::try_new(&wanted).map_err(|e| {
        Failure::usage("`ACCREDIT_LOG` was not understood", e)
            .todo("set it to error, warn, info, debug or trace")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|e| failed("log", &e))
}

fn failed(code: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Error, code, "the server was not started", why)
}
