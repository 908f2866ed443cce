//! The writer of changes: what use cases and operators do. One of all replicas changes at a time, under a lock of the
//! database, so that a use case reads and writes as if it were alone, as it does with SQLite.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::address::Address;
use super::replicas::Hearing;
use super::session::{Backend, STATEMENT_MS_MAX, open_writer};
use crate::batch::Known;
use crate::error::{Cause, StoreError};
use crate::shared::Shared;
use crate::sql::{Conn, PgSession};
use crate::writer::{Command, Database, one_at_a_time};

/// Key of the lock that changes take.
const CHANGE_LOCK: i64 = 0x6163_6372_6368_616e;

/// How long a replica waits for its turn to change something, in milliseconds. Turns are taken in the order in which they
/// were asked for, and each may last as long as its statements may: on a disk that takes long to flush, some replicas
/// before this one make it slow, and must not make it fail.
const TURN_MS_MAX: u64 = 20_000;
/// How much later than the database this side gives up.
const LATER: Duration = Duration::from_secs(1);

/// What keeps every other change away until the end of the transaction.
pub(crate) fn alone() -> String {
    format!("SELECT pg_advisory_xact_lock({CHANGE_LOCK})")
}

pub(crate) struct Changes {
    pub(crate) address: Arc<Address>,
    pub(crate) runtime: Handle,
    /// The name of this replica, for what it leaves behind.
    pub(crate) replica: Arc<str>,
    /// A turn is awaited for as long as this replica is heard of.
    pub(crate) hearing: Hearing,
    pub(crate) last: Backend,
}

impl Database for Changes {
    type Connection = PgSession;

    const NAME: &'static str = "changes";

    fn conn(connection: &PgSession) -> Conn<'_> {
        Conn::Postgres(connection)
    }

    fn reopen(&self) -> Result<PgSession, StoreError> {
        open_writer(&self.address, &self.runtime, &self.replica, "accredit changes", &self.last)
    }

    fn outlives(&self, cause: &Cause) -> bool {
        *cause == Cause::DiskFull
    }

    fn known(&self, _: &PgSession) -> Result<Known, StoreError> {
        Ok(Known::of_many_writers())
    }

    fn begin(&self, connection: &PgSession) -> Result<(), StoreError> {
        let begin = format!(
            "BEGIN; SET LOCAL accredit.tenants = '*'; SET LOCAL statement_timeout = {TURN_MS_MAX}; {};
            SET LOCAL statement_timeout = {STATEMENT_MS_MAX}",
            alone()
        );
        let max = Duration::from_millis(TURN_MS_MAX) + LATER;
        connection.run_after_others(&begin, max, || !self.hearing.is_lost())
    }

    fn commit(&self, connection: &PgSession) -> Result<(), StoreError> {
        connection.run("COMMIT")
    }

    fn roll_back(&self, connection: &PgSession) {
        if !connection.is_closed() {
            let _ = connection.run("ROLLBACK");
        }
    }

    fn carry_out(
        &self,
        connection: &PgSession,
        known: &mut Known,
        shared: &Shared,
        commands: &mut [Command],
    ) -> Result<(), Cause> {
        // Others have changed things since the last transaction.
        known.forget_changing();
        one_at_a_time(self, connection, known, shared, commands)
    }

    fn close(_: PgSession) {}
}
