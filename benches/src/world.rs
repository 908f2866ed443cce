//! An authority with what a measurement needs: an owner, an agent, a resource with a credential, and tasks of that
//! agent. Made through the same use cases that the control plane calls.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use accredit_authority::agents::NewAgent;
use accredit_authority::authenticate::AgentProof;
use accredit_authority::credentials::NewCredential;
use accredit_authority::operators::{LinkMaker, Operator, Transport};
use accredit_authority::resources::NewResource;
use accredit_authority::settings::Database;
use accredit_authority::tasks::{Started, Wanted};
use accredit_authority::{Authority, Settings};
use accredit_core::boundary::Boundary;
use accredit_core::credential::{FieldName, Placement, Prefix};
use accredit_core::host::Endpoint;
use accredit_core::id::{AgentName, CredentialName, Environment, ResourceName, TenantName};
use accredit_core::resource::{Dialect, Mode, Sensitivity};
use accredit_core::task::TTL_S_MAX;
use accredit_core::text::{Owner, Purpose, Workflow};
use accredit_identity::dpop::mint_proof;
use accredit_identity::key::SigningKey;
use accredit_identity::peer::SocketPeer;
use accredit_identity::spiffe::AgentKind;
use accredit_vault::KeySource;
use serde::{Deserialize, Serialize};

use crate::{Failure, machine};

/// Commands that wait for the database at most: as many as a server is given.
const QUEUE_MAX: usize = 10_000;
/// Where the key goes, and what it is.
const FIELD: &str = "x-api-key";
const VALUE: &[u8] = b"0123456789abcdef0123456789abcdef";

/// An authority and who acts in it.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    pub(crate) operator: Operator,
    /// The agent's own key of this run, which its tasks are bound to.
    pub(crate) key: SigningKey,
}

/// What opens a connection to the gateway: everything that a runner holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entrance {
    gateway_url: String,
    token: String,
    key_pem: String,
}

impl Entrance {
    /// The request that attaches a connection.
    pub(crate) fn attach(&self, address: SocketAddr) -> Result<Vec<u8>, Failure> {
        let (proof, token) = (self.proof("POST", &format!("{}/attach", self.gateway_url))?, &self.token);
        Ok(format!("POST /attach HTTP/1.1\r\nhost: {address}\r\nauthorization: DPoP {token}\r\ndpop: {proof}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    }

    /// The request that opens a tunnel to `host`.
    pub(crate) fn connect(&self, host: &str) -> Result<Vec<u8>, Failure> {
        let (proof, token) = (self.proof("CONNECT", &format!("https://{host}/"))?, &self.token);
        Ok(format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\nproxy-authorization: DPoP {token}\r\ndpop: {proof}\r\n\r\n").into_bytes())
    }

    fn proof(&self, method: &str, url: &str) -> Result<String, Failure> {
        let key = SigningKey::from_pkcs8_pem(&self.key_pem)?;
        Ok(mint_proof(&key, method, url, Some(&self.token), machine::now(), random())?)
    }
}

/// 16 random bytes.
pub(crate) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// What an authority below `directory` is told. It listens nowhere: `gateway_url` is only what proofs are for.
pub(crate) fn settings(directory: &Path) -> Result<Settings, Failure> {
    Ok(Settings {
        database: Database::Embedded,
        data_dir: directory.to_owned(),
        head_path: directory.join("ledger.head"),
        tenant: TenantName::parse("default")?,
        trust_domain: "bench.test".to_owned(),
        issuer: "http://bench.test".to_owned(),
        gateway_url: "http://gateway.bench.test".to_owned(),
        key: KeySource::File(directory.join("seal.key")),
        templates: Vec::new(),
        task_ttl_s_max: TTL_S_MAX,
        default_mode: Mode::Enforce,
        hold_for: std::time::Duration::ZERO,
        rules: accredit_core::deviation::Rule::defaults().into(),
        queue_max: QUEUE_MAX,
        openid: None,
        witnesses: Vec::new(),
    })
}

impl World {
    /// A new authority below `directory`, whose one resource answers at `upstream`.
    pub(crate) async fn open(directory: &Path, upstream: SocketAddr) -> Result<Self, Failure> {
        Self::with(settings(directory)?, upstream).await
    }

    /// The same, as these settings say.
    pub(crate) async fn with(settings: Settings, upstream: SocketAddr) -> Result<Self, Failure> {
        let authority = Authority::open(settings, false).await?;
        let uid = rustix::process::geteuid().as_raw();
        let link = authority.create_link(LinkMaker::LocalUser { uid }, None, None).await.map_err(said)?;
        let signed_in =
            authority.sign_in(link.code.expose(), Transport::Socket, "bench").await.map_err(said)?;
        let world = Self { authority, operator: signed_in.operator, key: SigningKey::generate()? };
        world.furnish(upstream).await?;
        Ok(world)
    }

    async fn furnish(&self, upstream: SocketAddr) -> Result<(), Failure> {
        let (authority, by) = (&self.authority, &self.operator);
        let owner = Owner::parse("team:bench")?;
        authority.add_owner(by, owner.clone()).await.map_err(said)?;
        let agent = NewAgent {
            name: agent()?,
            kind: AgentKind::Agent,
            environment: Environment::parse("bench")?,
            owner: owner.clone(),
            key: None,
            socket_uid: Some(rustix::process::geteuid().as_raw()),
        };
        authority.register_agent(by, agent).await.map_err(said)?;
        let resource = NewResource {
            name: resource()?,
            owner: owner.clone(),
            environment: Environment::parse("bench")?,
            sensitivity: Sensitivity::Internal,
            mode: Some(Mode::Enforce),
            endpoints: vec![Endpoint::parse(&format!("http://{upstream}"))?],
            private_network: true,
            ca_pem: None,
            dialect: Dialect::Plain,
            pass_cookies: false,
        };
        authority.add_resource(by, resource).await.map_err(said)?;
        let credential = NewCredential {
            name: credential()?,
            resource: self::resource()?,
            owner,
            revocation_authority: None,
            rotation_due: None,
            placement: Placement::Header { field: FieldName::parse(FIELD)?, prefix: Prefix::parse("")? },
        };
        authority.add_credential(by, credential).await.map_err(said)?;
        authority.set_secret(by, self::credential()?, VALUE.to_vec()).await.map_err(said)?;
        Ok(())
    }

    /// Starts a task of the agent that may read the resource.
    pub(crate) async fn start(&self) -> Result<Started, Failure> {
        let url = format!("{}/v1/tasks", self.authority.settings().issuer);
        let proof = mint_proof(&self.key, "POST", &url, None, machine::now(), random())?;
        let possession = self.authority.possession_only("POST", &url, &proof).await.map_err(said)?;
        let me = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let peer = AgentProof::Peer(SocketPeer::observed(uid, gid, me, None), agent()?);
        let proven = self.authority.proven_agent(peer, &possession).await.map_err(said)?;
        self.authority.start_task(proven, wanted()?).await.map_err(said)
    }

    /// What a runner of this task holds.
    pub(crate) fn entrance(&self, started: &Started) -> Result<Entrance, Failure> {
        Ok(Entrance {
            gateway_url: self.authority.settings().gateway_url.clone(),
            token: started.token.token.expose().to_owned(),
            key_pem: self.key.to_pkcs8_pem()?.to_string(),
        })
    }
}

fn wanted() -> Result<Wanted, Failure> {
    let boundary = Boundary::parse([format!("{}: GET /**", resource()?).as_str()]);
    Ok(Wanted {
        purpose: Purpose::parse("measure what it costs")?,
        workflow: Some(Workflow::parse("BENCH-1")?),
        requested_by: None,
        parent: None,
        template: None,
        boundary: Some(boundary.map_err(|(text, error)| format!("`{text}`: {error}"))?),
        ttl_s: None,
        held: false,
        runner: None,
    })
}

fn agent() -> Result<AgentName, Failure> {
    Ok(AgentName::parse("bench")?)
}

/// The resource.
pub(crate) fn resource() -> Result<ResourceName, Failure> {
    Ok(ResourceName::parse("service")?)
}

/// Its credential.
pub(crate) fn credential() -> Result<CredentialName, Failure> {
    Ok(CredentialName::parse("service-key")?)
}

/// A fault of the authority, as a failure of the measurement.
pub(crate) fn said(fault: accredit_authority::fault::Fault) -> Failure {
    fault.to_string().into()
}
