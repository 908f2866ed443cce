//! The holder of one task: its key, its token, and the stream that tells the authority that the runner lives. The key is
//! drawn for this run, never written anywhere, and every token is worth nothing without it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accredit_api::Sensitive;
use accredit_api::oauth::ServerMetadata;
use accredit_api::task::{EndOutcome, EndTask, HoldLine, Receipt, Task, TaskStarted, TaskStatus, TaskToken};
use accredit_client::{Auth, CallError, Client, Server, routes};
use accredit_identity::key::SigningKey;
use accredit_identity::spiffe::SpiffeId;
use accredit_identity::time::Timestamp;
use accredit_identity::{assertion, dpop};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::intent::Intent;
use crate::cli::operator::failure;
use crate::exit::Exit;
use crate::failure::Failure;

/// How soon a broken hold stream is opened again: the authority waits two seconds for it.
const HOLD_AGAIN: Duration = Duration::from_millis(200);
/// Pause after a renewal that nobody answered.
const RENEW_AGAIN: Duration = Duration::from_secs(3);
/// Shortest pause between two renewals, whatever the server says a token lives.
const RENEW_MIN: Duration = Duration::from_secs(1);

/// A running task, held by this process.
pub(crate) struct Holder {
    client: Client,
    issuer: String,
    gateway_url: String,
    key: SigningKey,
    token: watch::Sender<Arc<Sensitive>>,
    task: Task,
    expires_in: Duration,
}

impl Holder {
    /// Starts the task. With the agent's own key it is proven; without, it is whoever the socket says.
    ///
    /// # Errors
    /// Why it was not started.
    pub(crate) async fn start(
        client: Client,
        intent: &Intent,
        agent: Option<AgentKey>,
    ) -> Result<Self, Failure> {
        let metadata: ServerMetadata =
            client.get(routes::METADATA, Auth::Nobody).await.map_err(|e| failure(&e))?;
        let issuer = metadata.issuer;
        let key = SigningKey::generate().map_err(|e| broken(&e))?;
        let assertion = agent.map(|agent| agent.assertion(&issuer)).transpose()?;
        let proof = mint(&key, "POST", &format!("{issuer}{}", routes::TASKS), None)?;
        let auth = Auth::Proof { token: None, proof: &proof };
        let started: TaskStarted =
            client.post(routes::TASKS, &intent.request(assertion), auth).await.map_err(|e| failure(&e))?;
        let gateway_url =
            audience(&started.token.access_token).ok_or_else(|| broken(&"the token names no gateway"))?;
        Ok(Self {
            client,
            issuer,
            gateway_url,
            key,
            expires_in: Duration::from_secs(started.token.expires_in),
            token: watch::Sender::new(Arc::new(started.token.access_token)),
            task: started.task,
        })
    }

    /// The task, as it was granted.
    pub(crate) const fn task(&self) -> &Task {
        &self.task
    }

    /// The public URL of the gateway: where the token may be presented.
    pub(crate) fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// What attaches one connection to this task at the gateway: the `Authorization` and the `DPoP` value.
    ///
    /// # Errors
    /// When the key does not sign.
    pub(crate) fn attachment(&self) -> Result<(Arc<Sensitive>, String), Failure> {
        let token = self.token.borrow().clone();
        let proof = mint(&self.key, "POST", &format!("{}/attach", self.gateway_url), Some(token.reveal()))?;
        Ok((token, proof))
    }

    /// The certificate of the gateway's authority, which the command must trust.
    ///
    /// # Errors
    /// When the authority does not give it.
    pub(crate) async fn gateway_ca(&self, local: &Path) -> Result<String, Failure> {
        if matches!(self.client.server(), Server::Socket(_)) {
            return std::fs::read_to_string(local).map_err(|e| Failure::file(local, &e));
        }
        let raw = self.client.raw(routes::CA, Auth::Nobody).await.map_err(|e| failure(&e))?;
        String::from_utf8(raw.bytes.to_vec()).map_err(|e| broken(&e))
    }

    /// Renews the token until the task is over. Ends when a renewal is refused for good.
    pub(crate) async fn renew(&self) {
        let mut pause = self.expires_in * 2 / 3;
        loop {
            tokio::time::sleep(pause.max(RENEW_MIN)).await;
            let path = routes::under(routes::TASKS, &self.task.id, "token");
            pause = match self.post::<_, TaskToken>(&path, &serde_json::json!({})).await {
                Ok(token) => {
                    let lives = Duration::from_secs(token.expires_in);
                    self.token.send_replace(Arc::new(token.access_token));
                    lives * 2 / 3
                }
                Err(error) if error.is_passing() => RENEW_AGAIN,
                Err(_) => return,
            };
        }
    }

    /// Tells the authority that the runner lives, until the task is over; then says how it ended.
    pub(crate) async fn hold(&self) -> TaskStatus {
        let path = routes::under(routes::TASKS, &self.task.id, "hold");
        loop {
            match self.hold_once(&path).await {
                Ok(Some(status)) => return status,
                Ok(None) => {}
                Err(error) if error.is_passing() => {}
                // The token is no longer taken: the task is over, or this is no longer its holder.
                Err(_) => return self.status().await.unwrap_or(TaskStatus::Failed),
            }
            tokio::time::sleep(HOLD_AGAIN).await;
        }
    }

    async fn hold_once(&self, path: &str) -> Result<Option<TaskStatus>, CallError> {
        let (token, proof) = self.proof("GET", path)?;
        let mut lines = self.client.lines(path, Auth::Proof { token: Some(&token), proof: &proof }).await?;
        while let Some(line) = lines.next::<HoldLine>().await? {
            if line.status != TaskStatus::Active {
                return Ok(Some(line.status));
            }
        }
        Ok(None)
    }

    async fn status(&self) -> Option<TaskStatus> {
        self.get::<Task>(&routes::one(routes::TASKS, &self.task.id)).await.ok().map(|task| task.status)
    }

    /// Ends the task.
    ///
    /// # Errors
    /// Why it could not be ended; the authority ends it when the hold stream is gone.
    pub(crate) async fn end(&self, outcome: EndOutcome, reason: Option<String>) -> Result<(), CallError> {
        let path = routes::under(routes::TASKS, &self.task.id, "end");
        self.post::<_, serde_json::Value>(&path, &EndTask { outcome, reason }).await.map(drop)
    }

    /// What the task did.
    ///
    /// # Errors
    /// Why that is not known.
    pub(crate) async fn receipt(&self) -> Result<Receipt, CallError> {
        self.get(&routes::under(routes::TASKS, &self.task.id, "receipt")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let (token, proof) = self.proof("GET", path)?;
        self.client.get(path, Auth::Proof { token: Some(&token), proof: &proof }).await
    }

    async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, CallError> {
        let (token, proof) = self.proof("POST", path)?;
        self.client.post(path, body, Auth::Proof { token: Some(&token), proof: &proof }).await
    }

    fn proof(&self, method: &str, path: &str) -> Result<(Arc<Sensitive>, String), CallError> {
        let token = self.token.borrow().clone();
        let proof = mint(&self.key, method, &format!("{}{path}", self.issuer), Some(token.reveal()));
        proof.map(|proof| (token, proof)).map_err(|_| CallError::Request("the key did not sign".to_owned()))
    }
}

/// The registered key of an agent, on this machine.
pub(crate) struct AgentKey {
    key: SigningKey,
    id: SpiffeId,
}

impl AgentKey {
    /// Reads a key file that only its owner may read; the agent's SPIFFE ID is `id`, or stands in the file beside it.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or nobody says whose it is.
    pub(crate) fn read(path: &Path, id: Option<SpiffeId>) -> Result<Self, Failure> {
        use std::os::unix::fs::MetadataExt as _;
        let mode = std::fs::metadata(path).map_err(|e| Failure::file(path, &e))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let why = format!("`{}` has mode {mode:o}: others may read it", path.display());
            let failure = Failure::new(Exit::Error, "key_permissions", "the agent's key was not used", why);
            return Err(failure.todo(format!("chmod 600 {}", path.display())));
        }
        let pem =
            zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?);
        let key = SigningKey::from_pkcs8_pem(&pem).map_err(|e| broken(&e))?;
        let beside = id_path(path);
        let id = match id {
            Some(id) => id,
            None => {
                let text = std::fs::read_to_string(&beside).map_err(|_| {
                    let why =
                        format!("`{}` is not there, which names the agent of the key", beside.display());
                    Failure::new(Exit::Usage, "no_agent_id", "the agent's key was not used", why)
                        .todo("give the whole id: --agent spiffe://… (accredit agent show NAME)")
                })?;
                SpiffeId::parse(text.trim()).map_err(|e| broken(&e))?
            }
        };
        Ok(Self { key, id })
    }

    fn assertion(&self, issuer: &str) -> Result<Sensitive, Failure> {
        let text = assertion::mint(&self.id, issuer, &self.key, now(), draw()).map_err(|e| broken(&e))?;
        Ok(Sensitive::new(text))
    }
}

/// The file beside a key that says whose it is.
pub(crate) fn id_path(key: &Path) -> std::path::PathBuf {
    key.with_extension("id")
}

fn mint(key: &SigningKey, method: &str, url: &str, token: Option<&str>) -> Result<String, Failure> {
    dpop::mint_proof(key, method, url, token, now(), draw()).map_err(|e| broken(&e))
}

fn broken(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Error, "run", "the task was not started", why)
}

fn now() -> Timestamp {
    Timestamp::from_ms(jiff::Timestamp::now().as_millisecond())
}

fn draw() -> [u8; 16] {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Where a token may be presented: its `aud`. Nothing is decided by it here; the gateway verifies the token.
fn audience(token: &Sensitive) -> Option<String> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.reveal().split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims["aud"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_gateway_is_where_the_token_may_be_presented() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"aud":"http://127.0.0.1:9749"}"#);
        let token = Sensitive::new(format!("h.{claims}.s"));
        assert_eq!(audience(&token).as_deref(), Some("http://127.0.0.1:9749"));
        assert_eq!(audience(&Sensitive::new("h.x".to_owned())), None);
    }

    // case: ADM-05
    #[test]
    fn a_key_that_others_may_read_is_not_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shop-coder.pem");
        let pem = SigningKey::generate().and_then(|k| k.to_pkcs8_pem()).expect("a key");
        std::fs::write(&path, pem.as_bytes()).expect("a file");
        std::fs::write(id_path(&path), "spiffe://a.example/default/dev/agent/shop-coder\n").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let refused = AgentKey::read(&path, None).map(drop).expect_err("others may read it");
        assert_eq!(refused.code(), "key_permissions");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        let key = AgentKey::read(&path, None).unwrap_or_else(|f| panic!("{:?}", f.lines()));
        assert!(key.assertion("http://127.0.0.1:9748").is_ok());
    }
}
