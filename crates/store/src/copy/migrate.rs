//! The move of an installation from its file to a server: the same ledger, tokens and tasks go on there.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};
use tokio::runtime::Handle;

use super::into::into_server;
use super::{Copied, CopyError, MOVED, Progress};
use crate::ledger::head::HeadFile;
use crate::ledger::{find_fork, tree};
use crate::postgres::{Address, SCHEMA};
use crate::sql::Conn;
use crate::sqlite::{lock, migrate as bring_up_to_date, open_existing, open_writer};
use crate::store::{OpenError, recover};
use crate::view::View;

/// Moves everything. No server may be running. From then on the file takes no work; interrupted, it is done again by
/// the same call.
///
/// # Errors
/// [`CopyError`]; then nothing was moved.
pub fn migrate(
    from: &Path,
    head: &Path,
    to: &Address,
    progress: &dyn Fn(Progress),
) -> Result<Copied, CopyError> {
    let _lock = lock(from)?;
    if open_existing(from)?.is_none() {
        return Err(CopyError::Missing(from.to_owned()));
    }
    let mut file = open_writer(from)?;
    bring_up_to_date(&mut file)?;
    tree::create(&file)?;
    let shown = to.shown();
    let moved = file
        .query_row("SELECT value FROM meta WHERE key = ?1", [MOVED], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    // A move to the same place that was interrupted is taken up again.
    let again = moved.is_some();
    if let Some(other) = moved.filter(|other| *other != shown.as_bytes()) {
        let to = String::from_utf8_lossy(&other).into_owned();
        return Err(OpenError::Moved(to).into());
    }
    if let (Some(fork), _) = find_fork(&View::new(Conn::Sqlite(&file)), &HeadFile::new(head.to_owned()))? {
        return Err(CopyError::Forked(Box::new(fork)));
    }
    // What a run before this one left without outcome.
    recover(&file)?;
    let ready = match into_server(&file, to, &[], progress) {
        Err(CopyError::NotEmpty(_)) if again => return arrived_before(&file, to),
        ready => ready?,
    };
    // The file is closed for work before the other is open for it: never are there two.
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    file.execute(sql, (MOVED, shown.as_bytes()))?;
    match ready.commit() {
        Ok(copied) => Ok(copied),
        Err(error) => {
            tracing::warn!(%error, "it is not known whether the database has everything: move again");
            Err(error.into())
        }
    }
}

/// Whether the server has everything already: its ledger goes on from that of the file.
fn arrived_before(file: &Connection, to: &Address) -> Result<Copied, CopyError> {
    let runtime = Handle::current();
    let session = to.session(&runtime, "accredit migrate", &[("search_path", SCHEMA)])?;
    session.run("BEGIN READ ONLY; SET LOCAL accredit.tenants = '*'")?;
    let ours = View::new(Conn::Sqlite(file)).tree_head()?;
    let view = View::new(Conn::Postgres(&session));
    let theirs = view.tree_head()?;
    let entries = View::new(Conn::Sqlite(file)).ledger_size()?;
    let same =
        theirs.size >= ours.size && theirs.epoch == ours.epoch && view.root_at(ours.size)? == ours.root;
    // A ledger without entries is every ledger's beginning.
    if !same || ours.size == 0 {
        return Err(CopyError::NotEmpty(to.shown()));
    }
    Ok(Copied { entries, size: ours.size, root: ours.root.to_base64(), taken_at: None })
}
