//! The smallest world in which something can be shown: one service with one key, an authority in front of it, an owner,
//! two resources (the API and its git server), policies, and agents with keys of their own.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::canary::Canary;
use crate::harness::{Accredit, Setup};
use crate::names::Names;
use crate::net::Part;
use crate::raw::RawUpstream;
use crate::sample::{Sample, SampleConfig};

/// Who answers for everything.
pub const OWNER: &str = "ana@acme.test";

/// What is permitted: use and start, but a person must agree to deletes, and nobody patches.
pub const POLICIES: &str = r#"
@id("test/use")
permit (principal, action in [Action::"read", Action::"write", Action::"delete", Action::"execute"], resource);

@id("test/start")
permit (principal, action == Action::"start", resource);

@id("test/deletes-wait-for-a-person")
@approvers("role:approver")
@valid_for("30m")
forbid (principal, action == Action::"delete", resource)
unless { context.approval.granted };

@id("test/nobody-patches")
forbid (principal, action == Action::"write", resource)
when { context.request.method == "PATCH" };
"#;

/// Hosts that are known to the authority, beside those of the service: name and address.
const HOSTS: [(&str, IpAddr); 3] = [
    ("orders.acme.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ("git.acme.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ("private.acme.test", IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5))),
];

/// A secret that is found wherever it shows: 32 random bytes.
///
/// # Panics
/// When the machine has no randomness.
#[must_use]
pub fn random_key() -> String {
    let mut bytes = [0; 32];
    let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.expect("a machine has randomness");
    format!("sk_live_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The world that the tests of a file share while any of them runs; `start` makes it for the first. A static that owned
/// it would never be dropped, and its server would outlive the tests.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn shared(kept: &Mutex<Weak<World>>, start: impl FnOnce() -> World) -> Arc<World> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(world) = kept.upgrade() {
        return world;
    }
    let world = Arc::new(start());
    *kept = Arc::downgrade(&world);
    world
}

/// One such world.
pub struct World {
    /// The authority.
    pub accredit: Accredit,
    /// The service.
    pub sample: Sample,
    /// How its name is known.
    pub names: Names,
    /// The one key, to look for.
    pub canaries: Vec<Canary>,
    key: String,
    _dir: tempfile::TempDir,
}

impl World {
    /// Starts service and authority, and registers everything.
    ///
    /// # Panics
    /// When anything of it fails.
    #[track_caller]
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        Self::start_at(setup, None)
    }

    /// The same with the service in a part of a network.
    ///
    /// # Panics
    /// When anything of it fails.
    #[track_caller]
    #[must_use]
    pub fn start_at(setup: Setup, upstream: Option<&Part>) -> Self {
        let dir = tempfile::Builder::new().prefix("accredit-sample-").tempdir().expect("a directory");
        let address = upstream.map(|part| IpAddr::V4(part.address()));
        let hosts = HOSTS.map(|(name, at)| (name, address.filter(|_| at.is_loopback()).unwrap_or(at)));
        let names = Names::stage(dir.path(), &hosts).expect("a way to name hosts");
        let key = random_key();
        let mut config = SampleConfig::new(&key, dir.path());
        config.address = address.unwrap_or_else(|| names.address());
        config.host = names.host(HOSTS[0].0);
        config.git_host = names.host(HOSTS[1].0);
        // Its sockets stay in the part in which they were made.
        let sample = match upstream {
            Some(part) => part.inside(|| Sample::start(config)),
            None => Sample::start(config),
        };
        let sample = sample.expect("the sample service");
        let accredit = Accredit::start(Setup { names: Some(names.clone()), ..setup });
        let world = Self {
            accredit,
            sample,
            names,
            canaries: vec![Canary::new("the one key", &key)],
            key,
            _dir: dir,
        };
        world.furnish();
        world
    }

    fn furnish(&self) {
        self.add_policies("");
        self.accredit.cli(&["owner", "add", OWNER]).ok();
        self.add_resource("orders", &self.sample.url, &[]);
        self.add_resource("shop-git", &self.sample.git_url, &["--dialect", "git"]);
        self.add_credential("orders-key", "orders", &["--header", "x-api-key"]);
        self.add_credential("shop-git-key", "shop-git", &["--basic", "robot"]);
    }

    /// Puts [`POLICIES`] in force, and these beside them.
    ///
    /// # Panics
    /// When they are refused.
    #[track_caller]
    pub fn add_policies(&self, more: &str) {
        let policies = self.accredit.scratch().join("policies.cedar");
        std::fs::write(&policies, format!("{POLICIES}{more}")).expect("a file");
        self.accredit.cli(&["policy", "apply", &policies.display().to_string(), "--yes"]).ok();
    }

    /// Registers a resource whose certificate comes from the service's authority.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_resource(&self, name: &str, endpoint: &str, more: &[&str]) {
        let ca = self.sample.ca_pem_path.display().to_string();
        let base = [
            "resource",
            "add",
            name,
            "--owner",
            OWNER,
            "--endpoint",
            endpoint,
            "--private-network",
            "--ca",
            &ca,
        ];
        self.accredit.cli(&[&base[..], more].concat()).ok();
    }

    /// Registers an upstream that misbehaves as a resource of this name, with a credential `NAME-key` of its own in
    /// `X-Api-Key`. Gives the value.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_upstream(&self, name: &str, upstream: &RawUpstream, scheme: &str) -> String {
        let ca = self.accredit.scratch().join(format!("{name}.pem"));
        upstream.write_ca(&ca).expect("a file");
        let (endpoint, ca) = (format!("{scheme}://{}", upstream.address), ca.display().to_string());
        let base = [
            "resource",
            "add",
            name,
            "--owner",
            OWNER,
            "--endpoint",
            &endpoint,
            "--private-network",
            "--ca",
            &ca,
        ];
        self.accredit.cli(&base).ok();
        let key = random_key();
        let credential = format!("{name}-key");
        let add = [
            "credential",
            "add",
            &credential,
            "--resource",
            name,
            "--header",
            "x-api-key",
            "--value-file",
            "-",
        ];
        self.accredit.cli_with_input(&add, &key).ok();
        key
    }

    /// Registers a credential that holds the one key.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_credential(&self, name: &str, resource: &str, placement: &[&str]) {
        let base = ["credential", "add", name, "--resource", resource, "--value-file", "-"];
        self.accredit.cli_with_input(&[&base[..], placement].concat(), &self.key).ok();
    }

    /// Registers an agent, which enrols with a one-time join token and a key pair of its own.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn enrol(&self, name: &str) {
        self.accredit.cli(&["agent", "add", name, "--owner", OWNER, "--environment", "test"]).ok();
        let token = self.accredit.json(&["agent", "token", name]);
        let token = token["token"].as_str().expect("a join token");
        self.accredit.cli_with_input(&["agent", "enrol", "--token-file", "-"], token).ok();
    }

    /// The one key, as those have it who do not use Accredit. Never print it.
    #[must_use]
    pub fn raw_key(&self) -> &str {
        &self.key
    }

    /// URL of a path of the API.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sample.url)
    }

    /// URL of a repository.
    #[must_use]
    pub fn repository(&self, name: &str) -> String {
        format!("{}/git/{name}.git", self.sample.git_url)
    }

    /// A new directory for files of the test.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn directory(&self, name: &str) -> PathBuf {
        let dir = self.accredit.scratch().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// Requests that the service acted on, by path.
    ///
    /// # Panics
    /// When its log cannot be read.
    #[must_use]
    pub fn acted_on(&self, path: &str) -> usize {
        use crate::sample::effects::Event;
        let effects = self.sample.effects().expect("the effect log");
        effects.iter().filter(|effect| effect.event == Event::Acted && effect.path == path).count()
    }
}
