//! Cosignatures of witnesses, kept beside the checkpoint that they are on. The checkpoint's own note stays as signed.

use crate::error::StoreError;
use crate::ledger::checkpoint::{SignedHead, signed};
use crate::tx::{Tx, now};
use crate::view::View;

impl View<'_> {
    /// The signature lines of witnesses on the checkpoint of this size.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn cosignatures(&self, size: u64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT line FROM cosignature WHERE size = ?1 ORDER BY witness";
        self.rows(sql, [size], |row| row.get(0))
    }

    /// The newest checkpoint that a witness has cosigned.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn newest_cosigned(&self, witness: &str) -> Result<Option<SignedHead>, StoreError> {
        let sql = "SELECT c.size, c.root, c.note FROM cosignature w JOIN checkpoint c ON c.size = w.size
            WHERE w.witness = ?1 ORDER BY w.size DESC LIMIT 1";
        signed(self.row(sql, [witness], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
    }

    /// The oldest checkpoint of at least `size` entries that any witness has cosigned.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn cosigned_from(&self, size: u64) -> Result<Option<SignedHead>, StoreError> {
        let sql = "SELECT c.size, c.root, c.note FROM cosignature w JOIN checkpoint c ON c.size = w.size
            WHERE w.size >= ?1 ORDER BY w.size LIMIT 1";
        signed(self.row(sql, [size], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
    }
}

impl Tx<'_> {
    /// Keeps the signature line of a witness on the checkpoint of this size; a later one takes its place.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or there is no such checkpoint.
    pub fn keep_cosignature(&mut self, witness: &str, size: u64, line: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO cosignature (witness, size, line, at) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (witness, size) DO UPDATE SET line = excluded.line, at = excluded.at";
        self.execute(sql, (witness, size, line, now().as_ms())).map(|_| ())
    }
}
