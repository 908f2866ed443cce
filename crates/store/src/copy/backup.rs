//! Taking a backup, while servers go on working.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::check::check;
use super::out::into_file;
use super::{Copied, CopyError, Database, Progress, TAKEN, file_error, unnamed, with_ending};
use crate::sql::Conn;
use crate::sqlite::{create_file, migrate, open_existing};
use crate::tx::now;
use crate::view::View;

/// How often the growth of the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Copies everything, at one moment, into a new file for its owner alone, and recomputes its ledger. The file is there
/// under its name only when it is whole and on the disk.
///
/// # Errors
/// [`CopyError`]; then there is no such file.
pub fn backup(from: &Database, to: &Path, progress: &(dyn Fn(Progress) + Sync)) -> Result<Copied, CopyError> {
    if to.exists() {
        return Err(CopyError::Exists(to.to_owned()));
    }
    let part = with_ending(to, ".part");
    let _locked = claim(&part)?;
    let made = make(from, &part, progress).and_then(|copied| {
        std::fs::rename(&part, to).map_err(file_error(to))?;
        Ok(copied)
    });
    let _ = std::fs::remove_file(&part);
    let copied = made?;
    sync_directory(to)?;
    Ok(copied)
}

/// The file that becomes the backup, for this call alone. What an interrupted one left in it is nobody's.
fn claim(part: &Path) -> Result<File, CopyError> {
    create_file(part).map_err(file_error(part))?;
    let file = File::options().write(true).open(part).map_err(file_error(part))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(CopyError::Exists(part.to_owned())),
        Err(TryLockError::Error(error)) => return Err(file_error(part)(error)),
    }
    file.set_len(0).map_err(file_error(part))?;
    Ok(file)
}

fn make(from: &Database, part: &Path, progress: &(dyn Fn(Progress) + Sync)) -> Result<Copied, CopyError> {
    match from {
        Database::File(path) => {
            let source = open_existing(path)?.ok_or_else(|| CopyError::Missing(path.clone()))?;
            pages(&source, path, part, progress)?;
        }
        Database::Server(address) => {
            let mut file = open_new(part)?;
            migrate(&mut file)?;
            into_file(address, &file, progress)?;
        }
    }
    let file = open_new(part)?;
    let taken = now().as_ms();
    let said = serde_json::json!({ "taken_at": taken, "version": env!("CARGO_PKG_VERSION") }).to_string();
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    file.execute(sql, (TAKEN, said.as_bytes()))?;
    let copied = check(&View::new(Conn::Sqlite(&file)), progress)?;
    file.close().map_err(|(_, error)| error)?;
    File::open(part).and_then(|file| file.sync_all()).map_err(file_error(part))?;
    Ok(Copied { taken_at: Some(taken), ..copied })
}

/// All pages in use, as one read transaction sees them; the server's writer is not held up.
fn pages(
    source: &Connection,
    path: &Path,
    part: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), CopyError> {
    let target = part.to_str().ok_or_else(|| unnamed(part))?;
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let done = AtomicBool::new(false);
    let copied = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                progress(Progress::Bytes(bytes(part), bytes(path)));
                std::thread::park_timeout(LOOK_EVERY);
            }
        });
        let copied = source.execute("VACUUM INTO ?1", [target]);
        done.store(true, Ordering::Release);
        looking.thread().unpark();
        copied
    });
    copied.map(|_| ()).map_err(CopyError::from)
}

/// A file that nobody else knows: what is written is flushed once, at the end.
fn open_new(path: &Path) -> Result<Connection, CopyError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_mode", "memory")?;
    connection.pragma_update(None, "synchronous", "off")?;
    Ok(connection)
}

pub(super) fn sync_directory(path: &Path) -> Result<(), CopyError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(file_error(parent))
}
