//! Sessions that only read, opened when first needed. Each read sees one moment of the database.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::address::Address;
use super::schema::SCHEMA;
use crate::error::StoreError;
use crate::scope::Scope;
use crate::sql::{Conn, PgSession};
use crate::view::View;

/// How long one query of a reader may take, in milliseconds: searches and exports of a large ledger included.
const STATEMENT_MS_MAX: &str = "30000";

pub(crate) struct PgPool {
    address: Arc<Address>,
    runtime: Handle,
    idle: Mutex<Vec<PgSession>>,
}

impl PgPool {
    pub(crate) fn new(address: Arc<Address>, runtime: Handle) -> Self {
        Self { address, runtime, idle: Mutex::default() }
    }

    /// Runs `read` in one moment of the database, as the tenants of the scope see it. On a thread that may wait.
    pub(crate) fn with<R, E: From<StoreError>>(
        &self,
        scope: &Scope,
        read: impl FnOnce(&View<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let session = self.lend()?;
        let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}", scope.setting());
        session.run(&begin)?;
        let result = read(&View::new(Conn::Postgres(&session)));
        // A refusal leaves the session as good as it was; a failure or a panic does not.
        if session.run("COMMIT").is_ok() && !session.is_closed() {
            self.idle().push(session);
        }
        result
    }

    /// An open session. How many are in use at one time is bounded by whoever reads.
    fn lend(&self) -> Result<PgSession, StoreError> {
        while let Some(session) = self.idle().pop() {
            if !session.is_closed() {
                return Ok(session);
            }
        }
        let options = [
            ("search_path", SCHEMA),
            ("statement_timeout", STATEMENT_MS_MAX),
            ("idle_in_transaction_session_timeout", "10000"),
        ];
        self.address.session(&self.runtime, "accredit read", &options)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgSession>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
