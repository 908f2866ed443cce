//! The head kept outside the database: how many entries there were and their root, in four lines of text.
//!
//! A restored or rewritten database cannot match it. This file says what may follow a head; keeping it, and
//! replacing it by compare-and-set, is the storage's work.

use crate::hash::{Hash, empty_root};
use crate::tile::{TREE_SIZE_MAX, decimal};

const FIRST_LINE: &str = "accredit-head/v1";

/// Longest text of a head in bytes: an origin of at most 512 and four short lines.
pub const HEAD_BYTES_MAX: usize = 1024;
const ORIGIN_BYTES_MAX: usize = 512;

/// A head: log, size, root, and the epoch, which rises by one each time an operator acknowledges a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    origin: String,
    epoch: u64,
    size: u64,
    root: Hash,
}

/// How the database stands to the head outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The same head.
    Same,
    /// The database continues the outside head by this many entries: the outside head may be moved forward.
    Ahead {
        /// Entries after the outside head.
        by: u64,
    },
    /// The database has fewer entries than the outside head, or an earlier epoch: it was restored from the past or truncated.
    RolledBack {
        /// Entries missing; 0 when the epoch alone is earlier.
        missing: u64,
    },
    /// The database has another history than the outside head.
    Fork,
}

/// The text is not that of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a head")]
pub struct HeadError;

impl Head {
    /// The head of a log.
    ///
    /// # Errors
    /// [`HeadError`] when the origin is empty, too long or not one line, a number exceeds [`TREE_SIZE_MAX`], or the
    /// size is 0 and the root not that of the empty tree.
    pub fn new(origin: &str, epoch: u64, size: u64, root: Hash) -> Result<Self, HeadError> {
        let one_line =
            (1..=ORIGIN_BYTES_MAX).contains(&origin.len()) && !origin.chars().any(char::is_control);
        let empty = size > 0 || root == empty_root();
        if !one_line || !empty || size > TREE_SIZE_MAX || epoch > TREE_SIZE_MAX {
            return Err(HeadError);
        }
        Ok(Self { origin: origin.to_owned(), epoch, size, root })
    }

    /// Reads the text of a head. One head has one text, so a half-written file is not a head.
    ///
    /// # Errors
    /// [`HeadError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, HeadError> {
        if text.len() > HEAD_BYTES_MAX {
            return Err(HeadError);
        }
        let lines: Vec<&str> = text.split('\n').collect();
        let [FIRST_LINE, origin, epoch, size, root, ""] = lines[..] else {
            return Err(HeadError);
        };
        let value = |line: &'_ str, name: &str| -> Result<String, HeadError> {
            line.strip_prefix(name).and_then(|l| l.strip_prefix(' ')).map(str::to_owned).ok_or(HeadError)
        };
        let epoch = decimal(&value(epoch, "epoch")?).ok_or(HeadError)?;
        let size = decimal(&value(size, "size")?).ok_or(HeadError)?;
        let root = Hash::from_base64(&value(root, "root")?).ok_or(HeadError)?;
        Self::new(&value(origin, "origin")?, epoch, size, root)
    }

    /// The text of the head.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { origin, epoch, size, root } = self;
        format!("{FIRST_LINE}\norigin {origin}\nepoch {epoch}\nsize {size}\nroot {}\n", root.to_base64())
    }

    /// The log's identity.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The epoch: how many forks were acknowledged.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Entries in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// How the database's head stands to this outside one.
    ///
    /// `root_at` gives the database's root at the outside head's size; it is asked only when the database is larger.
    ///
    /// # Errors
    /// Whatever `root_at` fails with.
    pub fn standing<E>(
        &self,
        database: &Head,
        root_at: impl FnOnce(u64) -> Result<Hash, E>,
    ) -> Result<Standing, E> {
        if self.origin != database.origin || database.epoch > self.epoch {
            return Ok(Standing::Fork);
        }
        if database.epoch < self.epoch || database.size < self.size {
            return Ok(Standing::RolledBack { missing: self.size.saturating_sub(database.size) });
        }
        let by = database.size - self.size;
        let root = if by == 0 { database.root } else { root_at(self.size)? };
        Ok(match (root == self.root, by) {
            (false, _) => Standing::Fork,
            (true, 0) => Standing::Same,
            (true, by) => Standing::Ahead { by },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    fn head(epoch: u64, size: u64, root: &[u8]) -> Head {
        Head::new("accredit.example/ledger", epoch, size, leaf_hash(root)).expect("a good origin")
    }

    #[test]
    fn a_head_has_one_text() {
        let text = head(2, 70_000, b"r").encode();
        assert_eq!(Head::parse(&text), Ok(head(2, 70_000, b"r")));
        for cut in 0..text.len() {
            assert_eq!(Head::parse(&text[..cut]), Err(HeadError), "cut at {cut}");
        }
        for other in [
            text.replace("size 70000", "size 070000"),
            text.replace("size 70000", "size -1"),
            text.replace("size 70000", "size 9007199254740992"),
            text.replace("/v1", "/v2"),
            text.replace("epoch", "Epoch"),
            text.replace('\n', "\r\n"),
            format!("{text}\n"),
            format!("{text}{}", "x".repeat(HEAD_BYTES_MAX)),
        ] {
            assert_eq!(Head::parse(&other), Err(HeadError), "{other}");
        }
        assert_eq!(Head::new("", 0, 1, leaf_hash(b"")), Err(HeadError));
        assert_eq!(Head::new("two\nlines", 0, 1, leaf_hash(b"")), Err(HeadError));
    }

    #[test]
    fn the_empty_ledger_has_one_head() {
        assert!(Head::new("o", 0, 0, empty_root()).is_ok());
        assert_eq!(Head::new("o", 0, 0, leaf_hash(b"")), Err(HeadError));
    }

    // case: AUD-06, AUD-07
    #[test]
    fn a_database_may_only_continue_the_outside_head() {
        let outside = head(1, 10, b"ten");
        let check = |database: Head, root_at_ten: &[u8], expected| {
            let standing = outside.standing(&database, |size| {
                assert_eq!(size, 10);
                Ok::<_, ()>(leaf_hash(root_at_ten))
            });
            assert_eq!(standing, Ok(expected), "{database:?}");
        };
        check(head(1, 10, b"ten"), b"", Standing::Same);
        check(head(1, 10, b"other"), b"ten", Standing::Fork);
        check(head(1, 15, b"more"), b"ten", Standing::Ahead { by: 5 });
        check(head(1, 15, b"more"), b"other", Standing::Fork);
        check(head(1, 7, b"less"), b"ten", Standing::RolledBack { missing: 3 });
        check(head(0, 10, b"ten"), b"ten", Standing::RolledBack { missing: 0 });
        check(head(0, 20, b"old"), b"ten", Standing::RolledBack { missing: 0 });
        check(head(2, 10, b"ten"), b"ten", Standing::Fork);
        let foreign = Head::new("other.example", 1, 10, leaf_hash(b"ten")).expect("a good origin");
        check(foreign, b"ten", Standing::Fork);
        assert_eq!(outside.standing(&head(1, 11, b"x"), |_| Err("disk")), Err("disk"));
    }
}
