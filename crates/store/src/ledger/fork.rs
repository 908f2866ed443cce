//! Forks: a database that does not continue the head kept outside it, such as a restored backup.
//!
//! It takes no work until an operator has acknowledged that the history after the fork is lost. That opens a new
//! epoch, is the first thing in the new history, and no checkpoint is signed before the old head's size is passed.

use accredit_ledger::entry::INSTALL_TENANT;
use accredit_ledger::head::{Head, Standing};
use serde_json::{Map, Value};

use crate::copy::RESTORED;
use crate::error::StoreError;
use crate::ledger::checkpoint::{SignError, SignedHead};
use crate::ledger::entries::NewEntry;
use crate::ledger::head::{HeadFile, HeadFileError};
use crate::ledger::tree::{TreeHead, flat};
use crate::store::Store;
use crate::tx::{Tx, now};
use crate::view::View;

/// Under this key stands the newest epoch, from its opening until nothing that was granted before it is left.
const GRANTED_BEFORE: &str = "granted-before-epoch";

/// How the database fails to continue the outside head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkKind {
    /// The head outside is gone, although checkpoints were signed.
    Missing,
    /// The head outside is not readable as one.
    Unreadable,
    /// The database lacks entries that were signed: it was restored from an older copy or truncated.
    RolledBack {
        /// Entries missing; 0 when only the epoch is older.
        missing: u64,
    },
    /// The database has another history.
    Diverged,
    /// The database was restored from a backup on purpose.
    Restored {
        /// Entries missing that were signed since, as far as the head outside tells.
        missing: u64,
    },
}

/// A database that does not continue the head kept outside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// In which way.
    pub kind: ForkKind,
    /// The head outside, where it can be read.
    pub outside: Option<Head>,
    /// What the database holds.
    pub inside: TreeHead,
    origin: Option<String>,
}

impl Fork {
    /// A database that others work on, and that does not go on from what was seen of it.
    pub(crate) fn diverged(outside: Head, inside: TreeHead) -> Self {
        let origin = Some(outside.origin().to_owned());
        Self { kind: ForkKind::Diverged, outside: Some(outside), inside, origin }
    }
}

impl std::fmt::Display for Fork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            ForkKind::Missing => f.write_str("the ledger head outside the database is missing"),
            ForkKind::Unreadable => f.write_str("the ledger head outside the database is not readable"),
            ForkKind::RolledBack { missing } => {
                write!(f, "the database lacks {missing} ledger entries that were signed: it is an older copy")
            }
            ForkKind::Diverged => f.write_str("the database holds another ledger than the head outside it"),
            ForkKind::Restored { missing: 0 } => f.write_str("the database was restored from a backup"),
            ForkKind::Restored { missing } => {
                write!(
                    f,
                    "the database was restored from a backup, and lacks {missing} entries that were signed since"
                )
            }
        }
    }
}

/// Compares the database with the head outside. One that was restored is a fork whatever the head says: it may be that
/// of the past as well.
pub(crate) fn find(view: &View<'_>, file: &HeadFile) -> Result<(Option<Fork>, Option<Head>), StoreError> {
    let (fork, head) = compare(view, file)?;
    if view.meta_get(RESTORED)?.is_none() {
        return Ok((fork, head));
    }
    let missing = match fork.as_ref().map(|fork| fork.kind) {
        None | Some(ForkKind::Missing) => 0,
        Some(ForkKind::RolledBack { missing }) => missing,
        Some(_) => return Ok((fork, head)),
    };
    let kind = ForkKind::Restored { missing };
    let inside = view.tree_head()?;
    let origin = view.latest_checkpoint()?.as_ref().and_then(SignedHead::origin);
    Ok((Some(Fork { kind, outside: head.clone(), inside, origin }), head))
}

fn compare(view: &View<'_>, file: &HeadFile) -> Result<(Option<Fork>, Option<Head>), StoreError> {
    let inside = view.tree_head()?;
    let origin = view.latest_checkpoint()?.as_ref().and_then(SignedHead::origin);
    let fork = |kind, outside: Option<Head>| Fork { kind, outside, inside, origin: origin.clone() };
    let outside = match file.read() {
        Ok(Some(head)) => head,
        Ok(None) => return Ok((origin.is_some().then(|| fork(ForkKind::Missing, None)), None)),
        Err(HeadFileError::Malformed(_)) => return Ok((Some(fork(ForkKind::Unreadable, None)), None)),
        Err(error @ HeadFileError::Io { .. }) => return Err(StoreError::Tree(error.to_string())),
    };
    let kind = match standing(view, &outside, inside, origin.as_deref()) {
        Ok(Standing::Same | Standing::Ahead { .. }) => None,
        Ok(Standing::RolledBack { missing }) => Some(ForkKind::RolledBack { missing }),
        // Tiles that cannot give the root are not those that were signed.
        Ok(Standing::Fork) | Err(StoreError::Tree(_)) => Some(ForkKind::Diverged),
        Err(error) => return Err(error),
    };
    Ok((kind.map(|kind| fork(kind, Some(outside.clone()))), Some(outside)))
}

fn standing(
    view: &View<'_>,
    outside: &Head,
    inside: TreeHead,
    origin: Option<&str>,
) -> Result<Standing, StoreError> {
    // Before the first checkpoint is kept, the head alone says which log it is.
    let origin = origin.unwrap_or(outside.origin());
    let database = Head::new(origin, inside.epoch, inside.size, inside.root)
        .map_err(|e| StoreError::Tree(e.to_string()))?;
    outside.standing(&database, |size| view.root_at(size))
}

impl Store {
    /// The fork that must be acknowledged before the store takes work.
    #[must_use]
    pub fn fork(&self) -> Option<Fork> {
        self.forked()
    }

    /// Accepts the database as it is: opens a new epoch, says so in the ledger, replaces the head outside (the old
    /// one is kept beside it) and lets the store take work. Does nothing when there is no fork.
    ///
    /// # Errors
    /// [`SignError`] when the database or the file fails; then the fork still stands.
    pub async fn acknowledge_fork(&self, by: &str, reason: &str) -> Result<(), SignError> {
        let mut expected = self.ledger().await;
        let Some(fork) = self.fork() else { return Ok(()) };
        let epoch = next_epoch(&fork);
        let (by, reason, acknowledged) = (by.to_owned(), reason.to_owned(), fork.clone());
        self.change_although_forked(move |tx| acknowledge(tx, &acknowledged, epoch, &by, &reason))
            .await
            .map_err(flat)?;
        while self.change_although_forked(crate::record::recover).await.map_err(flat)? > 0 {}
        let origin = fork.outside.as_ref().map(|head| head.origin().to_owned()).or(fork.origin);
        let inside = fork.inside;
        let head = origin.and_then(|origin| Head::new(&origin, epoch, inside.size, inside.root).ok());
        let new = head.clone();
        self.with_head_file::<(), SignError>(move |file| {
            file.put_aside(epoch)?;
            new.map_or(Ok(()), |head| Ok(file.write(&head)?))
        })
        .await?;
        *expected = head;
        self.set_fork(None);
        Ok(())
    }
}

impl View<'_> {
    /// The epoch that was opened, while something that was granted before it may be left: a database of the past knows
    /// nothing of what was taken away since.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn granted_before_epoch(&self) -> Result<bool, StoreError> {
        Ok(self.meta_get(GRANTED_BEFORE)?.is_some())
    }
}

impl Tx<'_> {
    /// Voids everything that lets somebody in who has not been let in yet, or was: join tokens, sign-in links and the
    /// sessions of operators. With it, nothing that was granted before the newest epoch is left, if every task has ended.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn void_entrances(&mut self) -> Result<(), StoreError> {
        self.execute("UPDATE join_token SET used_at = ?1 WHERE used_at IS NULL", [now().as_ms()])?;
        self.execute("DELETE FROM operator_link", ())?;
        self.execute("DELETE FROM operator_session", ())?;
        self.meta_remove(GRANTED_BEFORE)
    }
}

fn next_epoch(fork: &Fork) -> u64 {
    fork.outside.as_ref().map_or(0, Head::epoch).max(fork.inside.epoch) + 1
}

fn acknowledge(tx: &mut Tx<'_>, fork: &Fork, epoch: u64, by: &str, reason: &str) -> Result<(), StoreError> {
    let floor = fork.outside.as_ref().map_or(0, Head::size).max(fork.inside.floor);
    tx.execute("UPDATE tree SET epoch = ?1, floor = ?2 WHERE id = 1", (epoch, floor))?;
    tx.meta_remove(RESTORED)?;
    tx.meta_set(GRANTED_BEFORE, epoch.to_string().as_bytes())?;
    let mut body = Map::new();
    body.insert("epoch".into(), Value::from(epoch));
    if let Some(outside) = &fork.outside {
        body.insert("outside_size".into(), Value::from(outside.size()));
        body.insert("outside_root".into(), Value::from(outside.root().to_string()));
    }
    body.insert("size".into(), Value::from(fork.inside.size));
    body.insert("root".into(), Value::from(fork.inside.root.to_string()));
    body.insert("by".into(), Value::from(by));
    body.insert("reason".into(), Value::from(reason));
    let entry = NewEntry::new("ledger.fork_acknowledged", now(), INSTALL_TENANT, body)?;
    tx.append_entry(&entry).map(|_| ())
}
