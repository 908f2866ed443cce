//! A small world on a real database: tenants with an agent, a resource and a credential, and callers that proved
//! themselves with real tokens. Each test changes what it is about.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use accredit_core::action::{Action, Call};
use accredit_core::agent::{Agent, AgentStatus};
use accredit_core::boundary::Boundary;
use accredit_core::credential::{Credential, CredentialStatus, FieldName, Placement, Prefix};
use accredit_core::decide::{Question, decide};
use accredit_core::decision::Decision;
use accredit_core::digest::Digest;
use accredit_core::event::{self, Seen};
use accredit_core::host::Endpoint;
use accredit_core::id::{
    AgentName, CredentialName, DecisionId, Environment, InstanceId, RequestId, ResourceName, TaskId,
    TenantName, TokenId,
};
use accredit_core::owner::{OwnerRecord, Standing};
use accredit_core::policy::{PolicySet, PolicySources};
use accredit_core::record::{Recorded, Settlement};
use accredit_core::resource::{Dialect, Mode, Resource, ResourceStatus, Sensitivity};
use accredit_core::task::{Ending, Instance, Task, TaskState};
use accredit_core::text::{Owner, Purpose, Workflow};
use accredit_core::time::Timestamp;
use accredit_identity::caller::{Attestation, Caller};
use accredit_identity::dpop::{ProvedRequest, mint_proof, verify_proof};
use accredit_identity::key::SigningKey;
use accredit_identity::key_set::{KeyId, KeySet, KeyState, TokenKey};
use accredit_identity::spiffe::{AgentKind, SpiffeId};
use accredit_identity::token::{Expected, Subject, TaskTokenClaims, mint, verify};
use accredit_store::{
    Address, ChangeError, EntryFilter, OpenError, PolicySetRow, RecordError, Settled, SharedConfig, Snapshot,
    Store, StoreConfig, StoreError, StoredEntry, prepare,
};
use accredit_tests_postgres::{Cluster, Database, Role};
use tempfile::TempDir;

pub(crate) const START_MS: i64 = 1_795_000_000_000;
pub(crate) const POLICIES: &str = "permit(principal, action, resource) when { context.approval.granted };
    permit(principal, action == Action::\"read\", resource);
    permit(principal, action == Action::\"write\", resource);";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_ms(START_MS + 10_000)
}

pub(crate) fn config(directory: &Path) -> StoreConfig {
    StoreConfig {
        path: directory.join("accredit.db"),
        head_path: directory.join("ledger.head"),
        readers: 2,
        queue_max: 4_096,
    }
}

pub(crate) fn open(directory: &Path) -> Store {
    // A program that another test starts at this moment holds a lock that was given up for as long as it takes to
    // become that program.
    for _ in 0..200 {
        match Store::open(config(directory)) {
            Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.expect("the store opens"),
        }
    }
    panic!("`{}` stays in use", directory.display());
}

/// Where a store of one test keeps its state.
pub(crate) enum Place {
    Embedded(TempDir),
    Shared(TempDir, Box<Database>, AtomicU64),
}

impl Place {
    pub(crate) fn embedded() -> Self {
        Self::Embedded(directory())
    }

    pub(crate) fn shared() -> Self {
        let prepared = |database: &Database| {
            let owner = Address::parse(&database.url(Role::Owner), None).expect("an address");
            run(prepare(&owner, Role::Service.name())).expect("the schema is made");
        };
        Self::Shared(
            directory(),
            Box::new(Cluster::shared().database_like("accredit", prepared)),
            AtomicU64::new(0),
        )
    }

    /// Opens the store; on a shared database as one more replica, with a head of its own.
    pub(crate) async fn open(&self) -> Store {
        match self {
            Self::Embedded(directory) => open(directory.path()),
            Self::Shared(_, database, opened) => {
                let config = SharedConfig {
                    address: Address::parse(&database.url(Role::Service), None).expect("an address"),
                    head_path: self.head(opened.fetch_add(1, Ordering::Relaxed)),
                    readers: 2,
                    queue_max: 4_096,
                };
                Store::connect(config).await.expect("the store opens")
            }
        }
    }

    /// Where the replica that was opened as this one keeps its head of the ledger.
    pub(crate) fn head(&self, replica: u64) -> PathBuf {
        match self {
            Self::Embedded(directory) => config(directory.path()).head_path,
            Self::Shared(directory, ..) => directory.path().join(format!("ledger.head.{replica}")),
        }
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Runs the same test on both databases.
pub(crate) fn on_both(test: impl AsyncFn(&Place)) {
    for place in [Place::embedded(), Place::shared()] {
        run(test(&place));
    }
}

/// Gives everything that was durable before its place in the ledger, as the jobs of the authority do.
pub(crate) async fn place_all(store: &Store) {
    store.flushed().await;
    let (mut placed, placing) = (false, store.placed());
    tokio::pin!(placing);
    while !placed {
        store.integrate(4_096).await.expect("integrated");
        placed = tokio::time::timeout(Duration::from_millis(5), &mut placing).await.is_ok();
    }
}

/// Entries that fit, newest first, everything that was durable before included.
pub(crate) async fn entries(store: &Store, filter: EntryFilter) -> Vec<StoredEntry> {
    place_all(store).await;
    store.read(move |view| view.entries(&filter)).await.expect("read")
}

/// 16 bytes that no other call gives.
pub(crate) fn fresh() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

pub(crate) fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).expect("a name")
}

fn owner() -> Owner {
    Owner::parse("ana@corp").expect("an owner")
}

pub(crate) fn agent(tenant: &TenantName) -> Agent {
    Agent {
        tenant: tenant.clone(),
        name: AgentName::parse("bot").expect("a name"),
        kind: AgentKind::Agent,
        environment: Environment::parse("dev").expect("a name"),
        owner: owner(),
        status: AgentStatus::Enabled,
        socket_uid: None,
        registered_at: Timestamp::from_ms(0),
    }
}

pub(crate) fn resource(tenant: &TenantName, mode: Mode) -> Resource {
    Resource {
        tenant: tenant.clone(),
        name: ResourceName::parse("github").expect("a name"),
        owner: owner(),
        environment: Environment::parse("prod").expect("a name"),
        sensitivity: Sensitivity::Internal,
        mode,
        endpoints: vec![endpoint()],
        private_network: false,
        ca_pem: None,
        dialect: Dialect::Plain,
        pass_cookies: false,
        credential: Some(credential_name()),
        status: ResourceStatus::Active,
        added_at: Timestamp::from_ms(0),
    }
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::parse("github.example").expect("an endpoint")
}

pub(crate) fn credential_name() -> CredentialName {
    CredentialName::parse("key").expect("a name")
}

pub(crate) fn credential(tenant: &TenantName) -> Credential {
    Credential {
        tenant: tenant.clone(),
        name: credential_name(),
        resource: ResourceName::parse("github").expect("a name"),
        owner: owner(),
        revocation_authority: owner(),
        rotation_due: None,
        placement: Placement::Header {
            field: FieldName::parse("x-api-key").expect("a field"),
            prefix: Prefix::parse("").expect("a prefix"),
        },
        secret_version: Some(1),
        last_version: 1,
        status: CredentialStatus::Active,
        added_at: Timestamp::from_ms(0),
    }
}

/// A store with what one tenant needs, its policies, and the keys that make callers.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) tenant: TenantName,
    pub(crate) policies: Arc<PolicySet>,
    signer: Arc<SigningKey>,
    holder: Arc<SigningKey>,
}

impl World {
    pub(crate) async fn on(store: Store, name: &str) -> Self {
        let sources = PolicySources::one("p.cedar", POLICIES).expect("a source");
        let policies = PolicySet::compile(sources).expect("policies");
        let key = || Arc::new(SigningKey::generate().expect("a key"));
        let (signer, holder) = (key(), key());
        let world = Self { store, tenant: tenant(name), policies: Arc::new(policies), signer, holder };
        world.furnish().await;
        world
    }

    /// The same world through another store on the same database.
    pub(crate) fn through(&self, store: Store) -> Self {
        Self { store, ..self.clone() }
    }

    async fn furnish(&self) {
        let (tenant, digest) = (self.tenant.clone(), self.policies.digest());
        let change = self.store.change(move |tx| -> Result<(), StoreError> {
            tx.ensure_tenant(&tenant)?;
            let standing = Standing::Active;
            tx.put_owner(
                &tenant,
                &OwnerRecord { owner: owner(), standing, added_at: Timestamp::from_ms(0) },
            )?;
            tx.put_agent(&agent(&tenant))?;
            tx.put_resource(&resource(&tenant, Mode::Enforce))?;
            tx.put_credential(&credential(&tenant))?;
            tx.put_policy_set(&PolicySetRow { digest, sources: POLICIES.into(), added_at: now() })?;
            tx.set_policy_head(&tenant, &digest, now())
        });
        change.await.expect("furnished");
    }

    /// Writes an active task with these grants, and its `task.started` entry.
    pub(crate) async fn start(&self, grants: &[&str]) -> Task {
        let task = self.task(grants, None);
        self.put(task.clone()).await;
        task
    }

    pub(crate) fn task(&self, grants: &[&str], parent: Option<TaskId>) -> Task {
        Task {
            tenant: self.tenant.clone(),
            id: TaskId::from_random(fresh()),
            agent: agent(&self.tenant).name,
            instance: Instance {
                id: InstanceId::from_random(fresh()),
                attestation: Attestation::KeyProof,
                key: self.holder.public().thumbprint(),
                process: None,
            },
            purpose: Purpose::parse("fix checkout bug").expect("a purpose"),
            workflow: Some(Workflow::parse("PAY-1").expect("a workflow")),
            requested_by: None,
            parent,
            template: None,
            boundary: Boundary::parse(grants.iter().copied()).expect("grants"),
            proposed_at: Timestamp::from_ms(START_MS),
            held: true,
            state: TaskState::Active {
                since: Timestamp::from_ms(START_MS),
                expires_at: Timestamp::from_ms(START_MS + 3_600_000),
            },
            restraint: None,
        }
    }

    pub(crate) async fn put(&self, task: Task) {
        let change = self.store.change(move |tx| -> Result<(), StoreError> {
            tx.put_task(&task)?;
            tx.append(event::about_task("task.started", &task))
        });
        change.await.expect("put");
    }

    /// Ends a task; when this returns, it is over.
    pub(crate) async fn end(&self, task: &Task) -> Result<(), ChangeError<StoreError>> {
        let task = task.clone().end(Ending::Revoked, None, now());
        self.store.change(move |tx| tx.put_task(&task)).await
    }

    pub(crate) fn caller(&self, task: &Task) -> Caller {
        let (tenant, issuer, gateway) = (&task.tenant, "https://a.test", "https://a.test/gw");
        let agent = format!("spiffe://a.test/{tenant}/dev/agent/{}", task.agent);
        let agent = SpiffeId::parse(&agent).expect("a SPIFFE ID");
        let claims = TaskTokenClaims {
            issuer: issuer.into(),
            subject: Subject::from(&agent),
            audience: gateway.into(),
            issued_at: now(),
            expires_at: now().plus_ms(300_000),
            id: TokenId::from_random(fresh()),
            agent,
            instance: task.instance.id.clone(),
            attestation: task.instance.attestation,
            task: task.id.clone(),
            actor: None,
            key: task.instance.key,
            authorization_details: Vec::new(),
        };
        let token = mint(claims, &self.signer, &KeyId::of(self.signer.public())).expect("a token");
        let key = self.signer.public().clone();
        let keys = [TokenKey { key, not_before: Timestamp::from_ms(0), state: KeyState::Valid }];
        let keys = KeySet::new(keys).expect("keys");
        let expected = Expected { issuer, audience: gateway };
        let verified = verify(token.expose(), &keys, &expected, now()).expect("our token");
        let text = token.expose();
        let proof = mint_proof(&self.holder, "GET", gateway, Some(text), now(), fresh()).expect("a proof");
        let request = ProvedRequest { method: "GET", url: gateway, access_token: Some(text), key: None };
        let possession = verify_proof(&proof, &request, now(), |_| true).expect("our proof");
        Caller::from_token(verified, &possession).expect("a caller")
    }

    pub(crate) async fn snapshot(&self, task: &Task) -> Snapshot {
        self.store.snapshot(&self.tenant, &task.id, &endpoint()).await.expect("facts")
    }

    pub(crate) fn decide(&self, caller: &Caller, snapshot: &Snapshot, method: &str, path: &str) -> Decision {
        let target = snapshot.prepared.facts().target.as_ref();
        let call = Call {
            endpoint: endpoint(),
            method: method.into(),
            path: path.into(),
            sent_path: None,
            query: None,
            head: Digest::of(format!("{method} {path}").as_bytes()),
            content_type: None,
            body_bytes: Some(7),
            body: accredit_core::action::Body::None,
            query_shown: None,
            traceparent: String::new(),
        };
        decide(Question {
            id: DecisionId::from_random(fresh()),
            caller: caller.clone(),
            action: Action::new(call, target.map(|t| &t.resource)),
            prepared: Arc::clone(&snapshot.prepared),
            usage: &snapshot.usage,
            policies: &self.policies,
            now: now(),
        })
    }

    pub(crate) async fn record(
        &self,
        decision: Decision,
        snapshot: &Snapshot,
    ) -> Result<Recorded, RecordError> {
        self.store.record(decision, snapshot.stamp.clone(), RequestId::from_random(fresh())).await
    }

    /// The whole path as a use case walks it: facts, decision, record, and again when something moved.
    pub(crate) async fn use_once(&self, caller: &Caller, task: &Task, method: &str, path: &str) -> Recorded {
        for _ in 0..100 {
            let snapshot = self.snapshot(task).await;
            let decision = self.decide(caller, &snapshot, method, path);
            match self.record(decision, &snapshot).await {
                Ok(recorded) => return recorded,
                Err(RecordError::Narrowed(_) | RecordError::LimitReached(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("the facts never came to rest");
    }

    pub(crate) fn settled(&self, decision: &Decision, bytes: u64) -> Settled {
        let seen = Seen {
            settlement: Settlement::Done,
            status: Some(200),
            request_bytes: 0,
            response_bytes: bytes,
            body_digest: None,
            duration_ms: 1,
            cause: None,
            scrubbed: 0,
        };
        Settled::new(event::settled(decision, &seen), decision, bytes).expect("an outcome")
    }
}

/// Kinds and outcomes of every entry about a decision, oldest first.
pub(crate) async fn entries_of(
    store: &Store,
    tenant: &TenantName,
    decision: &DecisionId,
) -> Vec<(String, String)> {
    place_all(store).await;
    let (tenant, decision) = (tenant.clone(), decision.to_string());
    let entries = store.read(move |view| view.decision_entries(&tenant, &decision)).await.expect("read");
    let shown = |e: &accredit_store::StoredEntry| {
        let entry = e.decode().expect("an entry");
        (entry.kind().to_owned(), entry.text("outcome").unwrap_or_default().to_owned())
    };
    entries.iter().map(shown).collect()
}

pub(crate) fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime").block_on(work)
}
