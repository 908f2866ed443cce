//! The ledger as it lies in the database of stopped authorities, read without the code that wrote it.

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
    /// What a server returned is none of our rows.
    #[error("this is no row of a ledger: `{0}`")]
    Row(String),
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

/// Every entry that has its place, and what decisions were made from; bytes and texts in hexadecimal digits.
const ENTRIES: &str = "SELECT seq, encode(body, 'hex') FROM accredit.entry ORDER BY seq";
const FACTS: &str =
    "SELECT DISTINCT encode(digest, 'hex'), encode(convert_to(text, 'UTF8'), 'hex') FROM accredit.facts";
const POLICIES: &str = "SELECT digest, encode(convert_to(sources, 'UTF8'), 'hex') FROM accredit.policy_set";

impl Ledger {
    /// Reads the ledger of a PostgreSQL database. `read` runs a statement as somebody who sees everything, and gives a
    /// row a line with `|` between.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn of_server(read: impl Fn(&str) -> String) -> Result<Self, CopyError> {
        let rows = |sql| {
            let text = read(sql);
            let rows = text.lines().map(|line| {
                let (key, hex) = line.split_once('|').ok_or_else(|| CopyError::Row(line.to_owned()))?;
                let bytes = unhex(hex).ok_or_else(|| CopyError::Row(line.to_owned()))?;
                Ok((key.to_owned(), bytes))
            });
            rows.collect::<Result<Vec<_>, CopyError>>()
        };
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|e| CopyError::Row(format!("{:?}", e.into_bytes())))
        };
        let mut ledger = Self::default();
        for (seq, body) in rows(ENTRIES)? {
            let found = seq.parse().map_err(|_| CopyError::Row(seq))?;
            let expected = ledger.entries.len() as u64;
            if found != expected {
                return Err(CopyError::Gap { expected, found });
            }
            ledger.entries.push(body);
        }
        for (digest, facts) in rows(FACTS)? {
            ledger.facts.insert(digest, text(facts)?);
        }
        for (digest, sources) in rows(POLICIES)? {
            ledger.policies.insert(digest, serde_json::from_slice(&sources)?);
        }
        Ok(ledger)
    }

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

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs =
        digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|p| p.len() == 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
