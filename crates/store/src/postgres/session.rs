//! Sessions that write: how they are opened, and what is made sure about the one before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::address::Address;
use super::schema::SCHEMA;
use crate::error::{Cause, StoreError};
use crate::sql::PgSession;

/// How long a statement of a writer may take, in milliseconds: less than its answer is waited for, so that the
/// database gives up first.
pub(super) const STATEMENT_MS_MAX: &str = "4000";
/// How long a transaction may stand still, in milliseconds: a replica that was paused must not hold its locks.
const STANDSTILL_MS_MAX: &str = "2000";
/// How long the end of an earlier session is waited for.
const END_TIME_MAX: Duration = Duration::from_secs(3);

/// The session that a writer had before: its process in the database, and since when.
#[derive(Clone, Default)]
pub(crate) struct Backend(Arc<Mutex<Option<(i32, String)>>>);

/// Opens a session that writes. What the session before it had begun is over when this returns: either it is visible,
/// or it will never be.
pub(crate) fn open_writer(
    address: &Address,
    runtime: &Handle,
    replica: &str,
    name: &str,
    last: &Backend,
) -> Result<PgSession, StoreError> {
    let options = [
        ("search_path", SCHEMA),
        ("statement_timeout", STATEMENT_MS_MAX),
        ("idle_in_transaction_session_timeout", STANDSTILL_MS_MAX),
        ("accredit.replica", replica),
        ("accredit.era", "0"),
    ];
    let session = address.session(runtime, name, &options)?;
    // A commit that the server acknowledges without having it on disk is none.
    session.run("SET synchronous_commit = on")?;
    let era =
        "SELECT CAST(set_config('accredit.era', CAST(era AS TEXT), false) AS TEXT) FROM tree WHERE id = 1";
    session.ask(era, &[])?;
    end_earlier(&session, last)?;
    let own = "SELECT pid, CAST(backend_start AS TEXT) FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let rows = session.ask(own, &[])?;
    let backend =
        rows.first().map(|row| Ok::<_, StoreError>((row.try_get(0)?, row.try_get(1)?))).transpose()?;
    *last.0.lock().unwrap_or_else(PoisonError::into_inner) = backend;
    Ok(session)
}

/// Ends the session before, should the database still be working on it. One that is not there any more has ended.
fn end_earlier(session: &PgSession, last: &Backend) -> Result<(), StoreError> {
    let Some((pid, since)) = last.0.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
        return Ok(());
    };
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid = $1 AND CAST(backend_start AS TEXT) = $2 AND usename = current_user";
    let until = Instant::now() + END_TIME_MAX;
    loop {
        if session.ask(sql, &[&pid, &since])?.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Cause::Unreachable("the session before this one does not end".into()).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
