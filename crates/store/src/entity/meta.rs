//! Single values of the installation, by key: vault parameters, identity, settings that outlive a start.

use crate::error::StoreError;
use crate::tx::Tx;
use crate::view::View;

impl View<'_> {
    /// The value under a key.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn meta_get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
    }
}

impl Tx<'_> {
    /// Sets the value under a key.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn meta_set(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.execute(sql, (key, value)).map(|_| ())
    }

    /// Removes the value under a key.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn meta_remove(&mut self, key: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM meta WHERE key = ?1", [key]).map(|_| ())
    }
}
