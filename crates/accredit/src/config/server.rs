//! `accredit.toml`: what a server is told before it starts. Every key has a default, so that no file is needed on
//! one machine; what is written is checked whole before anything is opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accredit_authority::settings::{Address, DATABASE_FILE, Database};
use accredit_authority::witnesses::{WITNESSES_MAX, WitnessSetting};
use accredit_client::Server;
use accredit_core::boundary::{Boundary, Grant};
use accredit_core::deviation::Rule;
use accredit_core::id::{TemplateName, TenantName};
use accredit_core::resource::Mode;
use accredit_core::task::{TTL_S_DEFAULT, TTL_S_MAX};
use accredit_core::template::Template;
use accredit_ledger::note::CosignerKey;
use accredit_vault::KeySource;
use accredit_witness::WitnessClient;
use serde::Serialize;

use super::deviation;
use super::document::{self, ConfigError, Section};
use super::paths::Paths;
use super::people::{self, OpenIdConfig};
use super::publish::{self, PublishConfig};
use super::{duration, references};

/// Where the control plane listens unless it is told otherwise.
const LISTEN: &str = "127.0.0.1:9748";
/// Where the gateway listens unless it is told otherwise.
const GATEWAY: &str = "127.0.0.1:9749";
/// Largest configuration file, in bytes: far above what people write, far below what would hurt.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest announcement of a stop, in seconds: balancers look every few.
const DRAIN_DELAY_S_MAX: u64 = 300;
/// Most templates.
const TEMPLATES_MAX: usize = 256;

/// What a server is told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerConfig {
    /// Public URL of the control plane, without a final `/`; from `listen` when absent.
    pub(crate) url: Option<String>,
    /// Public URL of the gateway, without a final `/`; from `gateway` when absent.
    pub(crate) gateway_url: Option<String>,
    /// Where the control plane listens.
    pub(crate) listen: SocketAddr,
    /// Where the gateway listens.
    pub(crate) gateway: SocketAddr,
    /// Whether a proxy on this machine encrypts what comes from others.
    pub(crate) behind_proxy: bool,
    /// How long the server says that it is not ready before it stops taking new work.
    pub(crate) drain_delay: Duration,
    /// How long a call is held while a person is asked.
    pub(crate) hold_calls_for: Duration,
    /// Where the durable state is.
    pub(crate) database: Database,
    /// Directory of the embedded database, or of what this replica keeps for itself.
    pub(crate) data_dir: PathBuf,
    /// File that holds the ledger's head, outside the database.
    pub(crate) head: PathBuf,
    /// Where the key-encryption key comes from.
    pub(crate) seal: KeySource,
    /// Trust domain of SPIFFE IDs.
    pub(crate) trust_domain: String,
    /// The tenant that this installation serves.
    pub(crate) tenant: TenantName,
    /// Mode of resources that do not say.
    pub(crate) mode: Mode,
    /// Named boundaries.
    pub(crate) templates: Vec<Template>,
    /// Signs of deviation, and what follows.
    pub(crate) rules: Vec<Rule>,
    /// Longest life of a task, in seconds.
    pub(crate) task_ttl_s_max: u64,
    /// The collector that reports of actions go to, over OTLP.
    pub(crate) otlp: Option<Server>,
    /// The `OpenID` provider through which people sign in.
    pub(crate) openid: Option<OpenIdConfig>,
    /// Who is asked to cosign the ledger's head.
    pub(crate) witnesses: Vec<WitnessSetting>,
    /// Where the ledger is published.
    pub(crate) publish: Option<PublishConfig>,
}

impl ServerConfig {
    /// Reads the configuration: `file` if given, else the standard one, else only defaults and environment.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub(crate) fn load(
        file: Option<&Path>,
        paths: &Paths,
        environment: &BTreeMap<String, String>,
    ) -> Result<(Self, Option<PathBuf>), ConfigError> {
        let Some(path) = file.map(Path::to_owned).or_else(|| paths.config()) else {
            return Self::parse("defaults", "", paths, environment).map(|config| (config, None));
        };
        let text = read_guarded(&path)?;
        let config = Self::parse(&path.display().to_string(), &text, paths, environment)?;
        Ok((config, Some(path)))
    }

    /// Parses the text of a configuration file; `name` is for errors.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub(crate) fn parse(
        name: &str,
        text: &str,
        paths: &Paths,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        document::read(name, text, environment, |root| {
            let mut config = server(root.section("server")?, paths)?;
            let mut tasks = root.section("tasks")?;
            if let Some(ttl_s_max) = tasks.parsed("ttl_max", task_ttl)? {
                config.task_ttl_s_max = ttl_s_max;
            }
            tasks.finish()?;
            let mut observability = root.section("observability")?;
            config.otlp = observability.parsed("otlp", Server::parse)?;
            observability.finish()?;
            let mut audit = root.section("audit")?;
            for section in audit.sections("witness")? {
                let witness = witness(section, &config.witnesses)?;
                config.witnesses.push(witness);
            }
            config.publish = publish::read(audit.section("publish")?)?;
            audit.finish()?;
            config.openid = people::read(root.section("people")?)?;
            config.rules = deviation::read(root.sections("deviation")?)?;
            for section in root.sections("template")? {
                let template = template(section, &config)?;
                config.templates.push(template);
            }
            Ok(config)
        })
    }

    /// The configuration as `config show` prints it: final values, where the key comes from, never a key.
    pub(crate) fn view(&self) -> View {
        let seal = match &self.seal {
            KeySource::File(path) => format!("file {}", path.display()),
            KeySource::Descriptor(fd) => format!("descriptor {fd}"),
            KeySource::Systemd(name) => format!("systemd credential {name}"),
        };
        View {
            url: self.url.clone().unwrap_or_else(|| format!("http://{}", self.listen)),
            listen: self.listen.to_string(),
            gateway: self.gateway.to_string(),
            gateway_url: self.gateway_url.clone().unwrap_or_else(|| format!("http://{}", self.gateway)),
            database: match &self.database {
                Database::Embedded => format!("sqlite://{}", self.data_dir.join(DATABASE_FILE).display()),
                Database::Shared(address) => address.shown(),
            },
            head: self.head.display().to_string(),
            seal,
            trust_domain: self.trust_domain.clone(),
            tenant: self.tenant.to_string(),
            mode: self.mode.as_str().to_owned(),
            task_ttl_s_max: self.task_ttl_s_max,
            otlp: self.otlp.as_ref().map(Server::name),
            openid: self.openid.as_ref().map(|provider| provider.issuer().to_owned()),
            witnesses: self
                .witnesses
                .iter()
                .map(|w| format!("{} ({})", w.client.name(), w.key.name()))
                .collect(),
            publish: self.publish.as_ref().map(|p| p.to.to_string()),
            deviations: self.rules.iter().map(|r| format!("{} ({})", r.name, r.then)).collect(),
            templates: self.templates.iter().map(|t| t.name.to_string()).collect(),
        }
    }
}

/// What `config show` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct View {
    pub(crate) url: String,
    pub(crate) listen: String,
    pub(crate) gateway: String,
    pub(crate) gateway_url: String,
    pub(crate) database: String,
    pub(crate) head: String,
    pub(crate) seal: String,
    pub(crate) trust_domain: String,
    pub(crate) tenant: String,
    pub(crate) mode: String,
    pub(crate) task_ttl_s_max: u64,
    pub(crate) otlp: Option<String>,
    pub(crate) openid: Option<String>,
    pub(crate) witnesses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish: Option<String>,
    pub(crate) deviations: Vec<String>,
    pub(crate) templates: Vec<String>,
}

/// Reads a configuration file that nobody but its owner (or root) can change.
fn read_guarded(path: &Path) -> Result<String, ConfigError> {
    let name = path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(|e| ConfigError::of_file(&name, e))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 != 0 {
        let why = format!("its mode is {mode:o}: others can change it");
        return Err(ConfigError::of_file(&name, why).with_help(format!("chmod go-w {name}")));
    }
    let owners = [0, rustix::process::geteuid().as_raw()];
    if !owners.contains(&metadata.uid()) {
        return Err(ConfigError::of_file(&name, "it belongs to another user"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(ConfigError::of_file(&name, format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|e| ConfigError::of_file(&name, e))
}

fn server(mut section: Section<'_>, paths: &Paths) -> Result<ServerConfig, ConfigError> {
    let address =
        |text: &str| text.parse::<SocketAddr>().map_err(|_| format!("`{text}` is not an address and port"));
    let (database, data_dir) = place(&mut section, paths)?;
    let head = section.parsed("head", absolute)?.unwrap_or_else(|| paths.state().join("ledger.head"));
    let seal =
        seal(section.section("seal")?)?.unwrap_or_else(|| KeySource::File(paths.state().join("seal.key")));
    let config = ServerConfig {
        url: section.parsed("url", public_url)?,
        gateway_url: section.parsed("gateway_url", public_url)?,
        listen: section
            .parsed("listen", address)?
            .unwrap_or_else(|| LISTEN.parse().expect("a literal address")),
        gateway: section
            .parsed("gateway", address)?
            .unwrap_or_else(|| GATEWAY.parse().expect("a literal address")),
        behind_proxy: section.flag("behind_proxy")?.unwrap_or(false),
        hold_calls_for: section.parsed("hold_calls_for", hold_calls_for)?.unwrap_or_default(),
        drain_delay: section.parsed("drain_delay", drain_delay)?.unwrap_or_default(),
        trust_domain: section
            .parsed("trust_domain", trust_domain)?
            .unwrap_or_else(|| "accredit.local".to_owned()),
        tenant: section
            .parsed("tenant", TenantName::parse)?
            .unwrap_or_else(|| TenantName::parse("default").expect("`default` is a name")),
        mode: section.parsed("mode", mode)?.unwrap_or(Mode::Enforce),
        database,
        data_dir,
        head,
        seal,
        templates: Vec::new(),
        rules: Vec::new(),
        openid: None,
        witnesses: Vec::new(),
        publish: None,
        task_ttl_s_max: TTL_S_MAX,
        otlp: None,
    };
    if config.listen == config.gateway && config.listen.port() != 0 {
        return Err(section.wrong(None, "gateway", "the gateway cannot listen where the control plane does"));
    }
    for (key, address) in [("listen", config.listen), ("gateway", config.gateway)] {
        accredit_server::check_exposure(address, config.behind_proxy)
            .map_err(|e| section.wrong(None, key, e))?;
    }
    section.finish()?;
    Ok(config)
}

fn drain_delay(text: &str) -> Result<Duration, String> {
    match duration::parse_s(text)? {
        seconds if seconds <= DRAIN_DELAY_S_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("a stop is not announced for longer than {}", duration::show_s(DRAIN_DELAY_S_MAX))),
    }
}

fn hold_calls_for(text: &str) -> Result<Duration, String> {
    let most = accredit_authority::approvals::WAIT_MAX.as_secs();
    match duration::parse_s(text)? {
        seconds if seconds <= most => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "a call is held for at most {}: clients give up after a minute",
            duration::show_s(most)
        )),
    }
}

fn seal(mut section: Section<'_>) -> Result<Option<KeySource>, ConfigError> {
    if !section.is_present() {
        return Ok(None);
    }
    let kind = section.text("kind")?;
    let (path, env, name) = (section.raw("path")?, section.text("env")?, section.text("name")?);
    let kind = section.required("kind", kind)?;
    let given = [("path", path.is_some()), ("env", env.is_some()), ("name", name.is_some())];
    let wanted = match kind.as_str() {
        "file" => "path",
        "fd" => "env",
        "systemd" => "name",
        _ => return Err(section.wrong(None, "kind", format!("`{kind}` is not one of file, fd, systemd"))),
    };
    if let Some((extra, _)) = given.into_iter().find(|(key, there)| *there && *key != wanted) {
        return Err(section.wrong(None, extra, format!("it has no meaning with kind `{kind}`")));
    }
    let source = match kind.as_str() {
        "file" => {
            let path = section.required("path", path)?;
            let path = absolute(references::path_of(&path)).map_err(|e| section.wrong(None, "path", e))?;
            KeySource::File(path)
        }
        "fd" => {
            let variable = section.required("env", env)?;
            let value = std::env::var(&variable).map_err(|_| {
                section.wrong(None, "env", format!("the environment variable `{variable}` is not set"))
            })?;
            let fd = value.parse().ok().filter(|fd| *fd > 2);
            let wrong = || {
                section.wrong(
                    None,
                    "env",
                    format!("`{variable}` does not hold the number of a descriptor above 2"),
                )
            };
            KeySource::Descriptor(fd.ok_or_else(wrong)?)
        }
        _ => KeySource::Systemd(section.required("name", name)?),
    };
    section.finish()?;
    Ok(Some(source))
}

fn witness(mut section: Section<'_>, before: &[WitnessSetting]) -> Result<WitnessSetting, ConfigError> {
    let (url, key) =
        (section.parsed("url", WitnessClient::parse)?, section.public("key", CosignerKey::parse)?);
    let (client, key) = (section.required("url", url)?, section.required("key", key)?);
    if before.iter().any(|w| w.key == key || w.client == client) {
        return Err(section.wrong(None, "key", "this witness is named twice"));
    }
    if before.len() == WITNESSES_MAX {
        return Err(section.wrong(None, "key", format!("there are more than {WITNESSES_MAX} witnesses")));
    }
    section.finish()?;
    Ok(WitnessSetting { client, key })
}

fn template(mut section: Section<'_>, config: &ServerConfig) -> Result<Template, ConfigError> {
    let name = section.parsed("name", TemplateName::parse)?;
    let name = section.required("name", name)?;
    if config.templates.iter().any(|t| t.name == name) {
        return Err(section.wrong(None, "name", format!("there are two templates with the name `{name}`")));
    }
    if config.templates.len() == TEMPLATES_MAX {
        return Err(section.wrong(None, "name", format!("there are more than {TEMPLATES_MAX} templates")));
    }
    let ttl_s = section.parsed("ttl", task_ttl)?.unwrap_or_else(|| TTL_S_DEFAULT.min(config.task_ttl_s_max));
    if ttl_s > config.task_ttl_s_max {
        let most = duration::show_s(config.task_ttl_s_max);
        return Err(section.wrong(None, "ttl", format!("no task lives longer than tasks.ttl_max, {most}")));
    }
    let grants = section.list("allow", Grant::parse)?;
    if grants.is_empty() {
        return Err(section.wrong(None, "allow", "a template without a grant allows nothing"));
    }
    let texts: Vec<String> = grants.iter().map(ToString::to_string).collect();
    let boundary = Boundary::parse(texts.iter().map(String::as_str))
        .map_err(|(text, error)| section.wrong(None, "allow", format!("`{text}`: {error}")))?;
    let delegable = section.list("delegate", Grant::parse)?;
    let texts: Vec<String> = delegable.iter().map(ToString::to_string).collect();
    let boundary = boundary
        .with_delegable(texts.iter().map(String::as_str))
        .map_err(|(text, error)| section.wrong(None, "delegate", format!("`{text}`: {error}")))?;
    section.finish()?;
    Ok(Template { name, boundary, ttl_s })
}

fn task_ttl(text: &str) -> Result<u64, String> {
    let seconds = duration::parse_s(text)?;
    if seconds > TTL_S_MAX {
        Err(format!("no task lives longer than {}", duration::show_s(TTL_S_MAX)))
    } else {
        Ok(seconds)
    }
}

/// Where the durable state is, as a text says.
enum Place {
    /// The directory of an SQLite database whose file has the one name that is used.
    Directory(PathBuf),
    /// A server, with what stands there.
    Server(String),
}

fn database(text: &str) -> Result<Place, String> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(Place::Server(text.to_owned()));
    }
    let path = text.strip_prefix("sqlite://").map(Path::new).filter(|p| p.is_absolute());
    let path = path.ok_or_else(|| {
        format!(
            "`{text}` is neither sqlite:///absolute/path/{DATABASE_FILE} nor postgres://user@host/database"
        )
    })?;
    let dir = path.parent().filter(|_| path.file_name().is_some_and(|f| f == DATABASE_FILE));
    let dir = dir.map(|dir| Place::Directory(dir.to_owned()));
    dir.ok_or_else(|| format!("the database file is always called {DATABASE_FILE}"))
}

/// The database and its directory; a password stands elsewhere than in the file.
fn place(section: &mut Section<'_>, paths: &Paths) -> Result<(Database, PathBuf), ConfigError> {
    let written = section.literal("database")?;
    let found = section.parsed("database", database)?;
    let password = section.text("database_password")?;
    let Some(Place::Server(text)) = found else {
        if password.is_some() {
            return Err(section.wrong(None, "database_password", "an SQLite database has no password"));
        }
        let dir = match found {
            Some(Place::Directory(dir)) => dir,
            _ => paths.state().to_owned(),
        };
        return Ok((Database::Embedded, dir));
    };
    if written.is_some_and(|written| Address::has_password(&written)) {
        let why =
            "it holds a password: write database_password = \"${file:/path}\" or refer to the whole address";
        return Err(section.wrong(None, "database", why));
    }
    let address =
        Address::parse(&text, password.as_deref()).map_err(|e| section.wrong(None, "database", e))?;
    Ok((Database::Shared(Box::new(address)), paths.state().to_owned()))
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("`{text}` is not an absolute path")) }
}

/// An `https` URL, or an `http` one that does not leave the machine: scheme and authority, nothing else.
pub(crate) fn public_url(text: &str) -> Result<String, String> {
    let url = text.strip_suffix('/').unwrap_or(text);
    let (scheme, authority) = url.split_once("://").ok_or_else(|| format!("`{text}` is not a URL"))?;
    let plain = !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']);
    if !plain {
        return Err(format!("`{text}` holds more than scheme, host and port"));
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let local = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    match scheme {
        "https" => Ok(url.to_owned()),
        "http" if local => Ok(url.to_owned()),
        "http" => Err("only an https URL may leave this machine".to_owned()),
        _ => Err(format!("`{text}` is not an http or https URL")),
    }
}

/// A SPIFFE trust domain (SPIFFE-ID §2.1): lower-case letters, digits, `.`, `-` and `_`.
fn trust_domain(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let good = !text.is_empty() && text.len() <= 255 && text.bytes().all(allowed);
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a trust domain such as example.org"))
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    [Mode::Observe, Mode::Enforce]
        .into_iter()
        .find(|m| m.as_str() == text)
        .ok_or_else(|| format!("`{text}` is not one of observe, enforce"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use accredit_ledger::note::Cosigner;
    use std::os::unix::fs::PermissionsExt as _;

    fn parse(text: &str) -> Result<ServerConfig, ConfigError> {
        let environment = BTreeMap::from([("HOME".to_owned(), "/home/ana".to_owned())]);
        ServerConfig::parse("accredit.toml", text, &Paths::new(None, &environment), &environment)
    }

    #[track_caller]
    fn refuses(text: &str, message: &str) {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }

    #[test]
    fn nothing_written_is_a_complete_configuration() {
        let config = parse("").expect("defaults");
        assert_eq!(config.listen.to_string(), "127.0.0.1:9748");
        assert_eq!(config.gateway.to_string(), "127.0.0.1:9749");
        assert_eq!(config.data_dir, Path::new("/home/ana/.local/state/accredit"));
        assert_eq!(config.mode, Mode::Enforce);
    }

    #[test]
    fn what_is_written_is_taken() {
        let config = parse(
            r#"
            [server]
            url = "https://accredit.example/"
            listen = "0.0.0.0:443"
            behind_proxy = true
            database = "sqlite:///var/lib/accredit/accredit.db"
            seal = { kind = "file", path = "${file:/run/credentials/accredit/seal}" }
            tenant = "acme"
            mode = "observe"
            [tasks]
            ttl_max = "8h"
            [observability]
            otlp = "http://127.0.0.1:4318"
            [[template]]
            name = "coding"
            ttl = "4h"
            allow = ["github: GET *", "github: POST /repos/acme/*/pulls"]
            "#,
        )
        .expect("a configuration");
        assert_eq!(config.url.as_deref(), Some("https://accredit.example"));
        assert_eq!(config.data_dir, Path::new("/var/lib/accredit"));
        assert_eq!(config.seal, KeySource::File("/run/credentials/accredit/seal".into()));
        assert_eq!((config.mode, config.task_ttl_s_max), (Mode::Observe, 28_800));
        assert_eq!(config.otlp.map(|to| to.name()).as_deref(), Some("http://127.0.0.1:4318"));
        let template = &config.templates[0];
        assert_eq!((template.ttl_s, template.boundary.usable.len()), (14_400, 2));
    }

    #[test]
    fn a_witness_is_a_place_and_a_public_key_and_named_once() {
        let key = |seed: u8| {
            let cosigner = Cosigner::from_seed("witness.example/w1", &[seed; 32]).expect("a cosigner");
            cosigner.verifier().to_string()
        };
        let one =
            |seed: u8, url: &str| format!("[[audit.witness]]\nurl = \"{url}\"\nkey = \"{}\"\n", key(seed));
        let config = parse(&one(1, "https://witness.example/w1")).expect("a configuration");
        assert_eq!(config.view().witnesses, ["https://witness.example/w1 (witness.example/w1)"]);
        refuses(
            &one(1, "http://witness.example/w1"),
            "accredit.toml:2: `audit.witness[0].url`: `http://witness.example/w1` would ask over the network in clear: write https",
        );
        refuses(
            &[one(1, "https://a.example"), one(1, "https://b.example")].concat(),
            "accredit.toml:6: `audit.witness[1].key`: this witness is named twice",
        );
        refuses(
            "[[audit.witness]]\nurl = \"https://a.example\"\nkey = \"x\"",
            "accredit.toml:3: `audit.witness[0].key`: not the text of an Ed25519 verifier key",
        );
        refuses(
            "[[audit.witness]]\nkey = \"${env:NONE}\"",
            "accredit.toml:2: `audit.witness[0].key`: the environment variable `NONE` is not set",
        );
        let many: String = (1..=9).map(|i| one(i, &format!("https://w{i}.example"))).collect();
        let error = parse(&many).expect_err("nine").to_string();
        assert!(error.ends_with("there are more than 8 witnesses"), "{error}");
    }

    // case: ADM-05
    #[test]
    fn the_keys_of_a_bucket_stand_elsewhere() {
        let config =
            parse("[audit.publish]\nto = \"file:///srv/ledger\"\nevery = \"1m\"").expect("a directory");
        assert_eq!(config.view().publish.as_deref(), Some("file:///srv/ledger"));
        let bucket = "[audit.publish]\nto = \"s3://acme-ledger/prod\"\n";
        let keys = "access_key = \"${env:HOME}\"\nsecret_key = \"${env:HOME}\"\n";
        let config = parse(&format!("{bucket}{keys}")).expect("a bucket");
        let shown = format!("{config:?}{:?}", config.view());
        assert!(shown.contains("secret_key: \"${env:HOME}\""), "{shown}");
        refuses(bucket, "accredit.toml: `audit.publish.access_key`: it is missing");
        refuses(
            &format!("{bucket}access_key = \"AKIDEXAMPLE\""),
            "accredit.toml:3: `audit.publish.access_key`: a secret stands elsewhere: write ${env:NAME} or ${file:/path}",
        );
        refuses(
            &format!("{bucket}secret_key = \"${{env:NONE}}\""),
            "accredit.toml:3: `audit.publish.secret_key`: the environment variable `NONE` is not set",
        );
        refuses(
            &format!("{bucket}endpoint = \"http://minio.example\""),
            "accredit.toml:3: `audit.publish.endpoint`: only an https URL may leave this machine",
        );
        refuses(
            "[audit.publish]\nto = \"file:///srv/ledger\"\nregion = \"eu\"",
            "accredit.toml:3: `audit.publish.region`: it has no meaning for a directory",
        );
        refuses(
            "[audit.publish]\nto = \"ftp://x\"",
            "accredit.toml:2: `audit.publish.to`: `ftp://x` is not of the form file:///absolute/directory or s3://bucket[/prefix]",
        );
    }

    // case: ADM-05
    #[test]
    fn an_error_names_the_field_and_what_is_expected() {
        refuses(
            "[server]\nlisten = \"here\"",
            "accredit.toml:2: `server.listen`: `here` is not an address and port",
        );
        refuses(
            "[server]\ndatabase = \"postgres://db/accredit\"",
            "accredit.toml:2: `server.database`: it is not a postgres:// address: it names no user, host or database",
        );
        refuses(
            "[server]\nseal = { kind = \"tpm\" }",
            "accredit.toml:2: `server.seal.kind`: `tpm` is not one of file, fd, systemd",
        );
        refuses(
            "[server]\nseal = { kind = \"file\", name = \"x\", path = \"/k\" }",
            "accredit.toml:2: `server.seal.name`: it has no meaning with kind `file`",
        );
        refuses("[server]\nseal = { path = \"/k\" }", "accredit.toml: `server.seal.kind`: it is missing");
        refuses(
            "[server]\nurl = \"http://accredit.example\"",
            "accredit.toml:2: `server.url`: only an https URL may leave this machine",
        );
        let exposed =
            parse("[server]\ngateway = \"0.0.0.0:9749\"").expect_err("reached from elsewhere, in the clear");
        assert!(
            exposed
                .to_string()
                .starts_with("accredit.toml:2: `server.gateway`: `0.0.0.0:9749` can be reached")
        );
        refuses(
            "[observability]\notlp = \"http://collector.example:4318\"",
            "accredit.toml:2: `observability.otlp`: `http://collector.example:4318` is plain HTTP to another machine: write https",
        );
        for wrong in [
            "127.0.0.1:4318",
            "https://ana:secret@collector.example",
            "https://collector.example/v1/traces",
            "grpc://127.0.0.1",
        ] {
            assert!(parse(&format!("[observability]\notlp = \"{wrong}\"")).is_err(), "{wrong}");
        }
        refuses(
            "[observability]\notpl = \"http://127.0.0.1:4318\"",
            "accredit.toml:2: `observability.otpl`: unknown key",
        );
        refuses(
            "[server]\nmode = \"audit\"",
            "accredit.toml:2: `server.mode`: `audit` is not one of observe, enforce",
        );
        refuses(
            "[tasks]\nttl_max = \"2h\"\n[[template]]\nname = \"a\"\nttl = \"3h\"\nallow = [\"x: read\"]",
            "accredit.toml:5: `template[0].ttl`: no task lives longer than tasks.ttl_max, 2h",
        );
        refuses(
            "[[template]]\nname = \"a\"\nallow = [\"x: get\"]",
            "accredit.toml:3: `template[0].allow`: `get` is neither an effect (read, write, delete, execute, admin), a method in capitals, nor an operation name",
        );
        refuses(
            "[[template]]\nname = \"a\"\nallow = [\"x: read\"]\n[[template]]\nname = \"a\"\nallow = [\"x: read\"]",
            "accredit.toml:5: `template[1].name`: there are two templates with the name `a`",
        );
        refuses(
            "[server]\ntenant = \"Acme Inc\"",
            "accredit.toml:2: `server.tenant`: a tenant name may hold lower-case letters, digits, `.`, `_` and `-`, and starts with a letter or digit",
        );
    }

    // case: ADM-05
    #[test]
    fn a_configuration_that_others_can_change_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("accredit.toml");
        std::fs::write(&path, "").expect("a file");
        let load = || {
            ServerConfig::load(Some(&path), &Paths::new(Some(dir.path()), &BTreeMap::new()), &BTreeMap::new())
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("chmod");
        let error = load().expect_err("a writable file");
        assert!(error.to_string().contains("others can change it"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(load().is_ok());
    }
}
