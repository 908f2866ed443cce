//! A proof that may be used once, on its way into the database: where replicas share it, no other one takes the proof
//! again. It waits for no change and holds none up.

use accredit_core::digest::Digest;
use accredit_core::time::Timestamp;
use tokio::sync::oneshot;

use crate::error::{Cause, StoreError};
use crate::record::Recording;

/// One use of one proof.
pub(crate) struct OnceJob {
    kind: &'static str,
    hash: String,
    expires_at: i64,
    fresh: bool,
    reply: oneshot::Sender<Result<bool, Cause>>,
}

impl OnceJob {
    pub(crate) fn new(
        kind: &'static str,
        hash: &Digest,
        expires_at: Timestamp,
    ) -> (Self, oneshot::Receiver<Result<bool, Cause>>) {
        let (reply, answer) = oneshot::channel();
        (Self { kind, hash: hash.to_string(), expires_at: expires_at.as_ms(), fresh: false, reply }, answer)
    }

    /// Kind, digest and expiry, as they are kept.
    pub(crate) fn row(&self) -> (&'static str, &str, i64) {
        (self.kind, &self.hash, self.expires_at)
    }

    /// Uses it up, or finds that it was used before.
    pub(crate) fn run(&mut self, batch: &mut impl Recording) -> Result<(), StoreError> {
        self.fresh = batch.use_once(self.kind, &self.hash, self.expires_at)?;
        Ok(())
    }

    /// Answers whoever asked, after the commit.
    pub(crate) fn answer(self, committed: Result<(), Cause>) {
        // Whoever asked may have gone; it is used up all the same.
        let _ = self.reply.send(committed.map(|()| self.fresh));
    }
}
