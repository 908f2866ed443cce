//! The ledger as it lies in the database of a stopped authority, read without the code that wrote it.

use std::path::Path;

use accredit_core::digest::Digest;
use rusqlite::{Connection, OpenFlags};

use super::Ledger;

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file is no database of ours.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// A stored policy set is none.
    #[error("a stored policy set cannot be read: {0}")]
    Policies(#[from] serde_json::Error),
    /// The numbers of the entries have a gap.
    #[error("entry {expected} is missing, entry {found} follows")]
    Gap {
        /// The number that is missing.
        expected: u64,
        /// The number that was found.
        found: u64,
    },
}

impl Ledger {
    /// Reads the ledger of the database at this path.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn of_database(path: &Path) -> Result<Self, CopyError> {
        // Not read-only: what lies in the write-ahead log of a killed process belongs to it.
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut ledger = Self::default();
        let mut query = database.prepare("SELECT seq, body FROM entry ORDER BY seq")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (found, expected) = (row.get::<_, u64>(0)?, ledger.entries.len() as u64);
            if found != expected {
                return Err(CopyError::Gap { expected, found });
            }
            ledger.entries.push(row.get(1)?);
        }
        let mut query = database.prepare("SELECT digest, text FROM facts")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let digest: [u8; 32] = row.get(0)?;
            ledger.facts.insert(Digest::from_bytes(digest).to_string(), row.get(1)?);
        }
        let mut query = database.prepare("SELECT digest, sources FROM policy_set")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let sources: String = row.get(1)?;
            ledger.policies.insert(row.get(0)?, serde_json::from_str(&sources)?);
        }
        Ok(ledger)
    }
}
