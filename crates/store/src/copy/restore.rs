//! Restoring a backup. What it says is the past: a server takes no work on it until an operator has acknowledged that what
//! came after is lost (`ledger::fork`).

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::backup::sync_directory;
use super::check::check;
use super::into::into_server;
use super::{
    Copied, CopyError, Database, MOVED, Progress, RESTORED, TAKEN, file_error, unnamed, with_ending,
};
use crate::sql::Conn;
use crate::sqlite::{create_file, lock, migrate, open_existing, open_writer};
use crate::tx::now;
use crate::view::View;

/// Puts what a backup holds where a server works, which must be empty: no file, or a prepared database without rows.
///
/// # Errors
/// [`CopyError`]; then it is as empty as it was.
pub fn restore(from: &Path, into: &Database, progress: &dyn Fn(Progress)) -> Result<Copied, CopyError> {
    match into {
        Database::File(path) => into_file(from, path, progress),
        Database::Server(address) => {
            let (source, taken_at) = open_backup(from)?;
            let restored = mark(taken_at);
            let ready = into_server(&source, address, &[(RESTORED, restored.as_bytes())], progress)?;
            Ok(Copied { taken_at, ..ready.commit()? })
        }
    }
}

fn into_file(from: &Path, path: &Path, progress: &dyn Fn(Progress)) -> Result<Copied, CopyError> {
    let _lock = lock(path)?;
    for taken in [path.to_owned(), with_ending(path, "-wal")] {
        if taken.exists() {
            return Err(CopyError::Exists(taken));
        }
    }
    let (source, taken_at) = open_backup(from)?;
    let part = with_ending(path, ".restoring");
    // What an interrupted restore left is nobody's.
    forget(&part);
    create_file(&part).map_err(file_error(&part))?;
    let target = part.to_str().ok_or_else(|| unnamed(&part))?;
    let made = source.execute("VACUUM INTO ?1", [target]).map_err(CopyError::from).and_then(|_| {
        let mut file = open_writer(&part)?;
        migrate(&mut file)?;
        file.execute("DELETE FROM meta WHERE key IN (?1, ?2)", [TAKEN, MOVED])?;
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
        file.execute(sql, (RESTORED, mark(taken_at).as_bytes()))?;
        let copied = check(&View::new(Conn::Sqlite(&file)), progress)?;
        // Everything is in the file itself, and on the disk, before it has its name.
        file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        file.close().map_err(|(_, error)| error)?;
        std::fs::rename(&part, path).map_err(file_error(path))?;
        Ok(Copied { taken_at, ..copied })
    });
    forget(&part);
    let copied = made?;
    sync_directory(path)?;
    Ok(copied)
}

fn forget(part: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(with_ending(part, ending));
    }
}

/// The file, and when the backup was taken.
fn open_backup(path: &Path) -> Result<(Connection, Option<i64>), CopyError> {
    let foreign = || CopyError::Foreign(path.to_owned());
    let file = open_existing(path).map_err(|_| foreign())?;
    let file = file.ok_or_else(|| CopyError::Missing(path.to_owned()))?;
    let ours =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('tree', 'entry', 'migration')";
    let ours: i64 = file.query_row(ours, [], |row| row.get(0)).map_err(|_| foreign())?;
    if ours != 3 {
        return Err(foreign());
    }
    let damaged: String = file.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if damaged != "ok" {
        return Err(CopyError::NotWhole(damaged));
    }
    let said: Option<Vec<u8>> =
        file.query_row("SELECT value FROM meta WHERE key = ?1", [TAKEN], |row| row.get(0)).optional()?;
    let said: Option<serde_json::Value> = said.and_then(|said| serde_json::from_slice(&said).ok());
    Ok((file, said.and_then(|said| said["taken_at"].as_i64())))
}

fn mark(taken_at: Option<i64>) -> String {
    serde_json::json!({ "taken_at": taken_at, "restored_at": now().as_ms() }).to_string()
}
