//! How uses and changes share the version of a subject. Uses lock it together, and a row that is always shared by somebody
//! would never be free for the one who changes it: PostgreSQL lets whoever shares a row in before whoever waits for it.
//! So a change that has waited for a moment asks for quiet, and uses then look again later instead of sharing anything.

use std::time::{Duration, Instant};

use crate::error::{Cause, StoreError};
use crate::stamp::Subject;
use crate::view::View;

/// How long a change waits for uses that come and go before it asks for quiet: a few commits of a quick disk.
const ASK_AFTER: Duration = Duration::from_millis(20);
/// How often it looks whether the row is free.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long it waits in all: longer than a session of a replica that stands still is kept, with its locks.
const FREE_TIME_MAX: Duration = Duration::from_secs(4);

/// Shares what a use rests on, but nothing of it while a change asks for quiet. Whether one does is seen without waiting:
/// its lock is shared, and given back at once. The key is `accrquie`.
pub(crate) const SHARE: &str = "SELECT subject, version FROM stamp WHERE subject = ANY (?1)
        AND (SELECT CASE WHEN pg_try_advisory_lock_shared(7017561987554306405)
            THEN pg_advisory_unlock_shared(7017561987554306405) ELSE false END)
    ORDER BY subject FOR SHARE SKIP LOCKED";
/// Asks for quiet until the end of the transaction. Only one transaction changes something at a time, so it waits for no
/// longer than it takes to see that it does.
const ASK: &str = "WITH asked AS MATERIALIZED (SELECT pg_advisory_xact_lock(7017561987554306405))
    SELECT count(*) FROM asked";
/// Raises the version, or gives a subject that is new its first one; no row when somebody shares it.
const RAISE: &str = "WITH
    free AS (SELECT subject FROM stamp WHERE subject = ?1 FOR UPDATE SKIP LOCKED),
    raised AS (UPDATE stamp SET version = version + 1 WHERE subject IN (SELECT subject FROM free) RETURNING version),
    made AS (
        INSERT INTO stamp (subject, version) SELECT CAST(?1 AS TEXT), 1
        WHERE NOT EXISTS (SELECT 1 FROM stamp WHERE subject = ?1) ON CONFLICT DO NOTHING RETURNING version
    )
    SELECT version FROM raised UNION ALL SELECT version FROM made";

/// Raises the version of a subject, after all uses that rest on the one before. Gives the new version.
pub(crate) fn raise(view: &View<'_>, subject: &Subject) -> Result<u64, StoreError> {
    let (began, mut asked) = (Instant::now(), false);
    loop {
        if let Some(version) = view.row(RAISE, [subject.as_str()], |row| row.get(0))? {
            return Ok(version);
        }
        if began.elapsed() > FREE_TIME_MAX {
            return Err(Cause::Unreachable("uses of what is to be changed do not end".into()).into());
        }
        if !asked && began.elapsed() > ASK_AFTER {
            view.row(ASK, (), |row| row.get::<u64>(0))?;
            asked = true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
