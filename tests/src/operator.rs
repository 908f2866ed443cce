//! An operator inside the test, signed in through the socket: revokes and reads without a new process for each call.

use std::path::Path;

use accredit_api::Sensitive;
use accredit_api::audit::AuditKey;
use accredit_api::owner::{AddOwner, Owner};
use accredit_api::revoke::{Revoke, RevokeReport, RevokeTarget};
use accredit_api::session::{CreateLink, CreateSession, LinkCreated, SessionCreated};
use accredit_client::routes;
use accredit_client::{Auth, CallError, Client, Server};
use tokio::runtime::Runtime;

use crate::harness::Accredit;
use crate::journal::now_us;
use crate::oracle::Revocation;

/// A signed-in operator.
pub struct Operator {
    client: Client,
    session: Sensitive,
    runtime: Runtime,
}

impl Operator {
    /// Signs in as whoever runs the test.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    #[must_use]
    pub fn sign_in(accredit: &Accredit) -> Self {
        Self::at(&accredit.socket()).expect("whoever runs the test is an administrator")
    }

    /// The same at the socket of a server that may be down.
    ///
    /// # Errors
    /// When it is down.
    ///
    /// # Panics
    /// When this machine cannot make a runtime.
    pub fn at(socket: &Path) -> Result<Self, CallError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = Client::new(Server::socket(socket));
        let session = runtime.block_on(async {
            let link = CreateLink { operator: None, role: None };
            let link: LinkCreated = client.post(routes::LINKS, &link, Auth::Nobody).await?;
            let code = CreateSession { link_code: link.code };
            let created: SessionCreated = client.post(routes::SESSIONS, &code, Auth::Nobody).await?;
            Ok::<_, CallError>(created.token)
        })?;
        Ok(Self { client, session, runtime })
    }

    /// Revokes a task. Gives what is over now, and when the answer was here.
    ///
    /// # Errors
    /// When it was not revoked.
    pub fn revoke(&self, task: &str) -> Result<Revocation, CallError> {
        let mut over = self.take(RevokeTarget::Task(task.to_owned()))?;
        // One that was over already is over for whoever revokes it again.
        if over.pending == 0 && !over.tasks.iter().any(|ended| ended == task) {
            over.tasks.push(task.to_owned());
        }
        Ok(over)
    }

    /// Suspends an agent and revokes what it has.
    ///
    /// # Errors
    /// When it was not revoked.
    pub fn revoke_agent(&self, name: &str) -> Result<Revocation, CallError> {
        let over = self.take(RevokeTarget::Agent(name.to_owned()))?;
        Ok(Revocation { agent: (over.pending == 0).then(|| name.to_owned()), ..over })
    }

    fn take(&self, target: RevokeTarget) -> Result<Revocation, CallError> {
        let wanted = Revoke { target, reason: Some("a drill".to_owned()) };
        let auth = Auth::Session(&self.session);
        let report: RevokeReport = self.runtime.block_on(self.client.post(routes::REVOKE, &wanted, auth))?;
        let pending = report.pending.len();
        // What it says is not over yet, nobody was told is over.
        let tasks = if pending == 0 { report.tasks_ended } else { Vec::new() };
        Ok(Revocation { returned_us: now_us(), tasks, agent: None, credential: None, pending })
    }

    /// Adds an owner, which is one entry in the ledger.
    ///
    /// # Errors
    /// When it was not added.
    pub fn add_owner(&self, owner: &str) -> Result<(), CallError> {
        let wanted = AddOwner { owner: owner.to_owned() };
        let auth = Auth::Session(&self.session);
        self.runtime.block_on(self.client.post::<_, Owner>(routes::OWNERS, &wanted, auth)).map(drop)
    }

    /// The newest signed head of the ledger.
    ///
    /// # Errors
    /// When there is none.
    pub fn checkpoint(&self) -> Result<String, CallError> {
        let raw = self.runtime.block_on(self.client.raw(routes::CHECKPOINT, Auth::Session(&self.session)))?;
        Ok(String::from_utf8_lossy(&raw.bytes).into_owned())
    }

    /// The key that heads are signed with.
    ///
    /// # Errors
    /// When the vault is sealed.
    pub fn log_key(&self) -> Result<String, CallError> {
        let auth = Auth::Session(&self.session);
        let key: AuditKey = self.runtime.block_on(self.client.get(routes::AUDIT_KEY, auth))?;
        Ok(key.verifier)
    }
}
