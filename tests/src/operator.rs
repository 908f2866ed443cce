//! An operator inside the test, signed in through the socket: revokes and reads without a new process for each call.

use std::path::PathBuf;

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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = Client::new(Server::socket(&socket(accredit)));
        let session = runtime.block_on(async {
            let link = CreateLink { operator: None, role: None };
            let link: LinkCreated = client.post(routes::LINKS, &link, Auth::Nobody).await.expect("a link");
            let code = CreateSession { link_code: link.code };
            let created: SessionCreated =
                client.post(routes::SESSIONS, &code, Auth::Nobody).await.expect("a session");
            created.token
        });
        Self { client, session, runtime }
    }

    /// Revokes a task. Gives when the answer was here.
    ///
    /// # Errors
    /// When it was not revoked.
    pub fn revoke(&self, task: &str) -> Result<Revocation, CallError> {
        let wanted =
            Revoke { target: RevokeTarget::Task(task.to_owned()), reason: Some("a drill".to_owned()) };
        let auth = Auth::Session(&self.session);
        let report: RevokeReport = self.runtime.block_on(self.client.post(routes::REVOKE, &wanted, auth))?;
        Ok(Revocation { returned_us: now_us(), tasks: report.tasks_ended, credential: None })
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

fn socket(accredit: &Accredit) -> PathBuf {
    accredit.state().join("accredit.sock")
}
