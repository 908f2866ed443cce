//! Signing the head: only over what is durable and integrated, only forward, by compare-and-set on the last
//! checkpoint and on the head kept outside. So no two roots are ever signed for one size.

use std::sync::atomic::Ordering;

use accredit_ledger::checkpoint::{Checkpoint, CheckpointError};
use accredit_ledger::hash::Hash;
use accredit_ledger::head::Head;

use crate::error::StoreError;
use crate::ledger::fork::Fork;
use crate::ledger::head::HeadFileError;
use crate::ledger::tree::{TreeHead, flat};
use crate::postgres::Led;
use crate::store::{Backend, Store};
use crate::tx::now;
use crate::view::View;

/// A signed head of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// Entries in the tree.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// The signed note (C2SP tlog-checkpoint).
    pub note: String,
}

/// Why no checkpoint was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The head outside cannot be read or written.
    #[error(transparent)]
    HeadFile(#[from] HeadFileError),
    /// The head outside is not the one that this store wrote last: somebody else did.
    #[error("the ledger head outside the database was changed by somebody else")]
    HeadMoved,
    /// A checkpoint of this size with another root was signed before.
    #[error("a checkpoint of {0} entries was signed with another root")]
    Equivocation(u64),
    /// The database does not continue what this replica has seen of the ledger.
    #[error("the database does not continue the ledger head that this replica knows")]
    Diverged,
    /// The signer failed.
    #[error("the checkpoint cannot be signed: {0}")]
    Signer(#[from] CheckpointError),
    /// What the signer gave is not a checkpoint of this tree.
    #[error("the signer gave something else than a checkpoint of this tree")]
    NotThis,
}

impl View<'_> {
    /// The newest checkpoint.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn latest_checkpoint(&self) -> Result<Option<SignedHead>, StoreError> {
        let sql = "SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1";
        signed(self.row(sql, (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
    }

    /// The oldest checkpoint of at least `size` entries: what an entry or an old head is proved against.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn checkpoint_from(&self, size: u64) -> Result<Option<SignedHead>, StoreError> {
        let sql = "SELECT size, root, note FROM checkpoint WHERE size >= ?1 ORDER BY size LIMIT 1";
        signed(self.row(sql, [size], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
    }
}

pub(crate) fn signed(row: Option<(u64, Vec<u8>, String)>) -> Result<Option<SignedHead>, StoreError> {
    row.map(|(size, root, note)| {
        let root = Hash::from_slice(&root).ok_or_else(|| StoreError::document("checkpoint", "its root"))?;
        Ok(SignedHead { size, root, note })
    })
    .transpose()
}

impl SignedHead {
    /// The log that the note says it is of.
    pub(crate) fn origin(&self) -> Option<String> {
        Some(text_of(&self.note)?.origin().to_owned())
    }
}

/// The checkpoint that a note says. Its signature is not checked: the note is of our own making.
fn text_of(note: &str) -> Option<Checkpoint> {
    let (text, _) = note.split_once("\n\n")?;
    Checkpoint::parse(&format!("{text}\n")).ok()
}

impl Store {
    /// Signs the tree as it stands, if it has grown since the last checkpoint. Gives the newest checkpoint;
    /// `None`: there is nothing to sign yet.
    ///
    /// `sign` gets size and root and gives the signed note. The head outside is replaced before the checkpoint is
    /// kept and given out, so that no checkpoint is ever known that the head does not cover.
    ///
    /// # Errors
    /// [`SignError`]; then nothing is given out.
    pub async fn checkpoint(
        &self,
        sign: impl FnOnce(u64, &Hash) -> Result<String, CheckpointError> + Send,
    ) -> Result<Option<SignedHead>, SignError> {
        let mut expected = self.ledger().await;
        if self.fork().is_some() {
            return Err(StoreError::from(crate::error::Cause::Forked).into());
        }
        if !self.leads().await? {
            return Ok(self.of_installation().read(|view| view.latest_checkpoint()).await?);
        }
        let (tree, last) =
            self.of_installation().read(|view| Ok((view.tree_head()?, view.latest_checkpoint()?))).await?;
        match &last {
            Some(last) if last.size == tree.size && last.root != tree.root => {
                return Err(SignError::Equivocation(tree.size));
            }
            Some(last) if last.size >= tree.size => return Ok(Some(last.clone())),
            _ if tree.size <= tree.floor => return Ok(last),
            _ => {}
        }
        self.continues(expected.as_ref(), &tree).await?;
        let note = sign(tree.size, &tree.root)?;
        let head = head_of(&note, &tree)?;
        self.replace_head(&mut expected, head).await?;
        let kept = SignedHead { size: tree.size, root: tree.root, note };
        if !self.keep_checkpoint(kept.clone(), tree.epoch, last.as_ref().map(|l| l.size)).await? {
            return Ok(last);
        }
        self.stats().checkpointed.store(kept.size, Ordering::Relaxed);
        Ok(Some(kept))
    }

    /// Follows the checkpoints that others sign: the head outside is replaced by the newest, if that continues it.
    ///
    /// # Errors
    /// [`SignError`]; [`SignError::Diverged`] when the database does not continue what this replica has seen.
    pub async fn follow(&self) -> Result<(), SignError> {
        let mut expected = self.ledger().await;
        if self.fork().is_some() {
            return Err(StoreError::from(crate::error::Cause::Forked).into());
        }
        let store = self.of_installation();
        let (tree, latest) = store.read(|view| Ok((view.tree_head()?, view.latest_checkpoint()?))).await?;
        let Some(latest) = latest else { return Ok(()) };
        self.stats().checkpointed.store(latest.size, Ordering::Relaxed);
        self.stats().integrated.store(tree.size, Ordering::Relaxed);
        if expected.as_ref().is_some_and(|head| head.size() >= latest.size) {
            return Ok(());
        }
        self.continues(expected.as_ref(), &tree).await?;
        let signed = TreeHead { size: latest.size, root: latest.root, ..tree };
        let head = head_of(&latest.note, &signed)?;
        self.replace_head(&mut expected, head).await
    }

    /// Makes sure that the tree continues the head that this replica knows. With one writer it cannot be otherwise;
    /// with many, others have written it.
    async fn continues(&self, known: Option<&Head>, tree: &TreeHead) -> Result<(), SignError> {
        let (Some(known), Backend::Postgres(_)) = (known.cloned(), &**self.backend()) else { return Ok(()) };
        let size = known.size();
        let goes_on = size <= tree.size && known.epoch() <= tree.epoch;
        if goes_on && self.of_installation().read(move |view| view.root_at(size)).await? == *known.root() {
            return Ok(());
        }
        self.set_fork(Some(Fork::diverged(known, *tree)));
        Err(SignError::Diverged)
    }

    /// Compare-and-set on the file outside: what is there must be what was written last.
    async fn replace_head(&self, expected: &mut Option<Head>, head: Head) -> Result<(), SignError> {
        let (before, new) = (expected.clone(), head.clone());
        self.with_head_file(move |file| {
            if file.read()? != before {
                return Err(SignError::HeadMoved);
            }
            Ok(file.write(&new)?)
        })
        .await?;
        *expected = Some(head);
        Ok(())
    }

    /// Keeps the checkpoint, if it is made after the newest one; `false`: another replica leads.
    async fn keep_checkpoint(
        &self,
        kept: SignedHead,
        epoch: u64,
        last: Option<u64>,
    ) -> Result<bool, SignError> {
        if let Backend::Postgres(_) = &**self.backend() {
            let keeping = self.with_leader(move |leader| leader.keep(&kept, epoch, now(), last));
            return Ok(matches!(keeping.await?, Led::Done(())));
        }
        let change = self.change(move |tx| {
            if tx.latest_checkpoint()?.map(|newest| newest.size) != last {
                return Err(StoreError::Tree("somebody else signed a checkpoint".into()));
            }
            let sql = "INSERT INTO checkpoint (size, epoch, root, note, at) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.execute(sql, (kept.size, epoch, kept.root.as_bytes(), kept.note, now().as_ms())).map(|_| true)
        });
        Ok(change.await.map_err(flat)?)
    }
}

fn head_of(note: &str, tree: &TreeHead) -> Result<Head, SignError> {
    let checkpoint = text_of(note).ok_or(SignError::NotThis)?;
    if checkpoint.size() != tree.size || *checkpoint.root() != tree.root {
        return Err(SignError::NotThis);
    }
    Head::new(checkpoint.origin(), tree.epoch, tree.size, tree.root).map_err(|_| SignError::NotThis)
}
