//! A real authority with a real store, a real gateway on loopback, and an upstream that notes the
//! bytes it gets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accredit_authority::fault::Fault;
use accredit_authority::settings::Database;
use accredit_authority::tasks::{Started, Wanted};
use accredit_authority::{Authority, Settings};
use accredit_core::agent::{Agent, AgentStatus};
use accredit_core::boundary::Boundary;
use accredit_core::credential::{Credential, CredentialStatus, FieldName, Placement, Prefix};
use accredit_core::digest::Digest;
use accredit_core::host::Endpoint;
use accredit_core::id::{AgentName, CredentialName, Environment, InstanceId, ResourceName, TenantName};
use accredit_core::owner::{OwnerRecord, Standing};
use accredit_core::resource::{Dialect, Mode, Resource, ResourceStatus, Sensitivity};
use accredit_core::text::{Owner, Purpose};
use accredit_gateway::Gateway;
use accredit_identity::agent::{AgentRegistration, ProvenAgent};
use accredit_identity::dpop::mint_proof;
use accredit_identity::key::SigningKey;
use accredit_identity::peer::SocketPeer;
use accredit_identity::spiffe::AgentKind;
use accredit_store::PolicySetRow;
use accredit_vault::{KeySource, SecretValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The shared key of the upstream.
pub(crate) const KEY: &str = "sk-sample-4f9b7c2e81d64a0f9b3c5d7e";

/// Everything running.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    pub(crate) gateway: SocketAddr,
    pub(crate) upstream: Upstream,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An upstream whose behaviour a test chooses, and the raw bytes that reached it.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) got: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    /// Answers every connection by `answer`, which gets the stream after the first request head.
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(TcpStream, Arc<Mutex<Vec<u8>>>) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let got = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (got.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, kept.clone()));
            }
        });
        Self { address, got }
    }

    /// Answers every request with this response, on one connection as often as asked.
    pub(crate) async fn fixed(response: &'static [u8]) -> Self {
        Self::start(move |mut stream, got| async move {
            let mut buffer = [0; 16_384];
            while let Ok(n) = stream.read(&mut buffer).await {
                if n == 0 {
                    return;
                }
                let heads = {
                    let mut got = got.lock().expect("no panic while held");
                    got.extend_from_slice(&buffer[..n]);
                    buffer[..n].windows(4).filter(|w| *w == b"\r\n\r\n").count()
                };
                for _ in 0..heads {
                    if stream.write_all(response).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// What has reached it, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.got.lock().expect("no panic while held")).into_owned()
    }
}

/// A world with one agent, one resource at the upstream, one credential.
pub(crate) async fn world(upstream: Upstream, mode: Mode) -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let settings = Settings {
        database: Database::Embedded,
        data_dir: dir.path().to_owned(),
        head_path: dir.path().join("ledger.head"),
        tenant: name("default"),
        trust_domain: "test.local".to_owned(),
        issuer: "http://127.0.0.1:1".to_owned(),
        gateway_url: format!("http://{address}"),
        key: KeySource::File(dir.path().join("seal.key")),
        templates: Vec::new(),
        task_ttl_s_max: 3_600,
        default_mode: Mode::Enforce,
        hold_for: Duration::ZERO,
        rules: accredit_core::deviation::Rule::defaults().into(),
        queue_max: 10_000,
        openid: None,
        witnesses: Vec::new(),
    };
    let authority = Authority::open(settings, false).await.expect("an authority");
    register(&authority, upstream.address, mode).await.expect("registered");
    let gateway = Gateway::open(authority.clone(), vec![address]).await.expect("a gateway");
    let stop = CancellationToken::new();
    tokio::spawn(gateway.serve(listener, stop.clone(), Duration::from_secs(1)));
    World { authority, gateway: address, upstream, stop, _dir: dir }
}

fn name(text: &str) -> TenantName {
    TenantName::parse(text).expect("a name")
}

async fn register(authority: &Authority, upstream: SocketAddr, mode: Mode) -> Result<(), Fault> {
    let tenant = authority.tenant().clone();
    let now = authority.now();
    let owner = Owner::parse("team:platform").expect("an owner");
    let credential = CredentialName::parse("sample-key").expect("a name");
    let value = SecretValue::new(KEY.as_bytes().to_vec()).expect("a value");
    let blob = authority.vault().seal_secret(&tenant, &credential, 1, &value).expect("sealed");
    let resource = ResourceName::parse("sample").expect("a name");
    authority
        .store()
        .change(move |tx| {
            tx.put_owner(
                &tenant,
                &OwnerRecord { owner: owner.clone(), standing: Standing::Active, added_at: now },
            )?;
            tx.put_agent(&Agent {
                tenant: tenant.clone(),
                name: AgentName::parse("coder").expect("a name"),
                kind: AgentKind::Agent,
                environment: Environment::parse("dev").expect("a name"),
                owner: owner.clone(),
                status: AgentStatus::Enabled,
                socket_uid: Some(0),
                registered_at: now,
            })?;
            tx.put_credential(&Credential {
                tenant: tenant.clone(),
                name: credential.clone(),
                resource: resource.clone(),
                owner: owner.clone(),
                revocation_authority: owner.clone(),
                rotation_due: None,
                placement: Placement::Header {
                    field: FieldName::parse("x-api-key").expect("a field"),
                    prefix: Prefix::default(),
                },
                secret_version: Some(1),
                last_version: 1,
                status: CredentialStatus::Active,
                added_at: now,
            })?;
            tx.put_sealed(&tenant, &credential, 1, &blob)?;
            tx.put_resource(&Resource {
                tenant: tenant.clone(),
                name: resource,
                owner,
                environment: Environment::parse("dev").expect("a name"),
                sensitivity: Sensitivity::Internal,
                mode,
                endpoints: vec![Endpoint::parse(&format!("http://{upstream}")).expect("an endpoint")],
                private_network: true,
                ca_pem: None,
                dialect: Dialect::Plain,
                pass_cookies: false,
                credential: Some(credential),
                status: ResourceStatus::Active,
                added_at: now,
            })?;
            Ok::<_, Fault>(())
        })
        .await?;
    Ok(())
}

/// A started task with the key of its run.
pub(crate) struct Run {
    pub(crate) started: Started,
    pub(crate) key: SigningKey,
}

impl World {
    /// Starts a task with these grants.
    pub(crate) async fn task(&self, grants: &[&str]) -> Run {
        let key = SigningKey::generate().expect("a key");
        let url = "http://127.0.0.1:1/v1/tasks";
        let proof = mint_proof(&key, "POST", url, None, self.authority.now(), self.authority.draw16())
            .expect("a proof");
        let possession = self.authority.possession_only("POST", url, &proof).await.expect("possession");
        let tenant = self.authority.tenant().clone();
        let coder = AgentName::parse("coder").expect("a name");
        let agent = self.authority.store().read(move |view| view.agent(&tenant, &coder)).await.expect("read");
        let id = self.authority.spiffe_id(&agent.expect("the agent")).expect("a SPIFFE ID");
        let registration = AgentRegistration { id, keys: Vec::new(), socket_uid: Some(0) };
        let peer = SocketPeer::observed(0, 0, 1, None);
        let instance = InstanceId::from_random(self.authority.draw16());
        let proven =
            ProvenAgent::from_socket_peer(peer, &possession, &registration, instance).expect("a peer");
        let wanted = Wanted {
            purpose: Purpose::parse("test the path").expect("a purpose"),
            workflow: None,
            requested_by: None,
            parent: None,
            template: None,
            boundary: Some(Boundary::parse(grants.iter().copied()).expect("grants")),
            ttl_s: Some(600),
            held: false,
            runner: None,
        };
        let started = self.authority.start_task(proven, wanted).await.expect("a task");
        Run { started, key }
    }

    /// A connection attached to the task, as a runner makes it.
    pub(crate) async fn attached(&self, run: &Run) -> TcpStream {
        let (stream, answer) = self.attach(run).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        stream
    }

    /// What an attach is answered with.
    pub(crate) async fn attach_answer(&self, run: &Run) -> String {
        self.attach(run).await.1
    }

    async fn attach(&self, run: &Run) -> (TcpStream, String) {
        let url = format!("http://{}/attach", self.gateway);
        let token = run.started.token.token.expose();
        let proof =
            mint_proof(&run.key, "POST", &url, Some(token), self.authority.now(), self.authority.draw16());
        let head = format!(
            "POST /attach HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: accredit-task\r\nAuthorization: DPoP {token}\r\nDPoP: {}\r\n\r\n",
            self.gateway,
            proof.expect("a proof")
        );
        let mut stream = TcpStream::connect(self.gateway).await.expect("the gateway listens");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let answer = read_head(&mut stream).await;
        (stream, answer)
    }

    /// Gives the credential another value, as an operator would.
    pub(crate) async fn set_value(&self, value: &str, version: u32) {
        let (tenant, name) =
            (self.authority.tenant().clone(), CredentialName::parse("sample-key").expect("a name"));
        let value = SecretValue::new(value.as_bytes().to_vec()).expect("a value");
        let blob = self.authority.vault().seal_secret(&tenant, &name, version, &value).expect("sealed");
        let changed = self.authority.store().change(move |tx| {
            let credential = tx.credential(&tenant, &name)?.expect("the credential");
            tx.put_sealed(&tenant, &name, version, &blob)?;
            tx.put_credential(&credential.with_next_version())?;
            Ok::<_, Fault>(())
        });
        changed.await.expect("changed");
    }

    /// Puts a policy set in force whose text is not what its address says.
    pub(crate) async fn damage_policy(&self) {
        let (tenant, now) = (self.authority.tenant().clone(), self.authority.now());
        let changed = self.authority.store().change(move |tx| {
            let digest = Digest::of(b"another set");
            let sources = "[]".to_owned();
            tx.put_policy_set(&PolicySetRow { digest, sources, added_at: now })?;
            tx.set_policy_head(&tenant, &digest, now)?;
            Ok::<_, Fault>(())
        });
        changed.await.expect("changed");
    }

    /// Sends raw bytes through an attached connection and gives everything that comes back until
    /// the gateway closes or is silent.
    pub(crate) async fn raw(&self, run: &Run, bytes: &[u8]) -> String {
        let mut stream = self.attached(run).await;
        stream.write_all(bytes).await.expect("sent");
        read_until_silent(&mut stream).await
    }

    /// The upstream's address as a host for requests.
    pub(crate) fn host(&self) -> String {
        self.upstream.address.to_string()
    }

    /// Entries of this kind in the ledger, oldest first, as JSON bodies.
    pub(crate) async fn entries(&self, kind: &str) -> Vec<serde_json::Value> {
        self.authority.store().flushed().await;
        let all = self.authority.store().read(|view| view.entries_from(0, 10_000)).await.expect("read");
        let decoded = all.into_iter().filter_map(|e| e.decode().ok());
        decoded.filter(|e| e.kind() == kind).map(|e| serde_json::Value::Object(e.body().clone())).collect()
    }

    /// As [`Self::entries`], waiting until there are so many.
    pub(crate) async fn entries_at_least(&self, kind: &str, count: usize) -> Vec<serde_json::Value> {
        for _ in 0..200 {
            let found = self.entries(kind).await;
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.entries(kind).await
    }
}

/// Reads up to the end of a head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match tokio::time::timeout(Duration::from_secs(5), stream.read(&mut byte)).await {
            Ok(Ok(1)) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads until the other side closes, or nothing comes for a moment.
pub(crate) async fn read_until_silent(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 16_384];
    while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(700), stream.read(&mut buffer)).await {
        if n == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
