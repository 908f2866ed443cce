//! A change of a use case as the writer sees it: a savepoint around code that may refuse, fail or panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::error::{Cause, ChangeError, StoreError};
use crate::scope::Scope;
use crate::tx::Tx;
use crate::writer::Change;

pub(crate) struct ChangeJob<F, R, E> {
    scope: Scope,
    change: Option<F>,
    result: Option<Result<Changed<R>, ChangeError<E>>>,
    reply: oneshot::Sender<Result<Changed<R>, ChangeError<E>>>,
}

/// What a change gives, and the last order to cut that it gave.
pub(crate) struct Changed<R> {
    pub(crate) value: R,
    pub(crate) order: Option<u64>,
}

/// What whoever asked for a change waits for.
type Answer<R, E> = oneshot::Receiver<Result<Changed<R>, ChangeError<E>>>;

impl<F, R, E> ChangeJob<F, R, E> {
    pub(crate) fn new(scope: Scope, change: F) -> (Self, Answer<R, E>) {
        let (reply, answer) = oneshot::channel();
        (Self { scope, change: Some(change), result: None, reply }, answer)
    }
}

impl<F, R, E> Change for ChangeJob<F, R, E>
where
    F: FnOnce(&mut Tx<'_>) -> Result<R, E> + Send,
    R: Send,
    E: Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Cause> {
        let Some(change) = self.change.take() else { return Ok(()) };
        batch.begin_part(&self.scope).map_err(cause)?;
        let mut tx = batch.tx();
        // The savepoint undoes whatever a panic left half done; nothing else is shared with the closure.
        let outcome = catch_unwind(AssertUnwindSafe(|| change(&mut tx)));
        if let Some(cause) = tx.fault() {
            return Err(cause);
        }
        self.result = Some(match outcome {
            Ok(Ok(value)) => {
                let order = tx.ordered();
                batch.keep(tx);
                batch.keep_part().map_err(cause)?;
                Ok(Changed { value, order })
            }
            Ok(Err(refused)) => {
                batch.undo_part().map_err(cause)?;
                Err(ChangeError::Refused(refused))
            }
            Err(_) => {
                batch.undo_part().map_err(cause)?;
                Err(ChangeError::Unavailable(Cause::Panicked))
            }
        });
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Cause>) {
        let answer = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(ChangeError::Closed),
            (Err(Cause::Closed), _) => Err(ChangeError::Closed),
            (Err(cause), _) => Err(ChangeError::Unavailable(cause)),
        };
        // Whoever asked may have gone; the change stands all the same.
        let _ = self.reply.send(answer);
    }
}

fn cause(error: StoreError) -> Cause {
    match error {
        StoreError::Unavailable(cause) => cause,
        other => Cause::Other(other.to_string()),
    }
}
