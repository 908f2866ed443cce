//! The job that publishes: the files that the newest checkpoint needs, then the checkpoint. Whatever was interrupted is done
//! again from the checkpoint that is there; a place that holds another history is left as it is.

use std::sync::Arc;
use std::time::Duration;

use accredit_authority::Authority;
use accredit_authority::fault::Fault;
use accredit_authority::publication::{OTHER_HISTORY, SignedHead};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::plan::{Part, parts};
use crate::target::{PutError, Target};

/// Files on their way at one time.
const AT_ONCE: usize = 8;
/// Longest pause after failures, which doubles.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// Why a turn did not come to its end.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Put(#[from] PutError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("`{0}` is missing here, although the checkpoint needs it")]
    Missing(String),
}

/// What is there: how many entries, under which text.
struct There {
    size: u64,
    text: String,
}

/// Publishes now and then, until it is cancelled. Nothing waits for it.
pub async fn publish(authority: Arc<Authority>, target: Target, every: Duration, stop: CancellationToken) {
    authority.publication().enable();
    let mut last: Option<There> = None;
    let mut pause = every;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        let turned = tokio::select! {
            turned = turn(&authority, &target, last.take()) => turned,
            () = stop.cancelled() => return,
        };
        pause = match turned {
            Ok(there) => {
                last = there;
                every
            }
            Err(error) => {
                authority.publication().failed(is_other(&error));
                tracing::warn!(place = %target.place(), %error, "the ledger was not published; it will be tried again");
                (pause * 2).min(AGAIN_MAX).max(every)
            }
        };
    }
}

/// Whether the place holds another history, which somebody must look at.
fn is_other(error: &TurnError) -> bool {
    match error {
        TurnError::Put(PutError::Other(_) | PutError::Checkpoint) => true,
        TurnError::Put(PutError::Store { .. }) | TurnError::Missing(_) => false,
        TurnError::Fault(fault) => fault.code == OTHER_HISTORY,
    }
}

/// One turn. Gives what is there afterwards, unless there is nothing to publish.
async fn turn(
    authority: &Authority,
    target: &Target,
    last: Option<There>,
) -> Result<Option<There>, TurnError> {
    let Some(head) = authority.head_to_publish().await? else {
        authority.publication().rested();
        return Ok(None);
    };
    let there = look(authority, target, last).await?;
    let size = head.size;
    let there = bring_to(authority, target, there, head).await?;
    authority.publication().reached(there.size, size);
    Ok(Some(there))
}

/// Publishes a head if it is newer than what is there and this replica is the one that publishes. The others only look.
async fn bring_to(
    authority: &Authority,
    target: &Target,
    there: There,
    head: SignedHead,
) -> Result<There, TurnError> {
    // Another replica may have published more since the head was read: a checkpoint never goes back.
    if there.size > head.size || there.text == head.note || !authority.publishes().await? {
        return Ok(there);
    }
    put_parts(authority, target, there.size, head.size).await?;
    // That may have taken long enough for another replica to publish more than this.
    if !authority.publishes().await? {
        return Ok(there);
    }
    target.put_checkpoint(head.note.clone()).await?;
    drop_partials(target, there.size, head.size).await;
    Ok(There { size: head.size, text: head.note })
}

/// What is there, in each turn anew: what another replica put there late, or somebody took away, is made good. It must be an
/// earlier state of this ledger, or the one that was there last.
async fn look(authority: &Authority, target: &Target, last: Option<There>) -> Result<There, TurnError> {
    let Some(text) = target.checkpoint().await? else { return Ok(There { size: 0, text: String::new() }) };
    if let Some(last) = last.filter(|last| last.text == text) {
        return Ok(last);
    }
    let size = authority.check_published(&text).await?;
    Ok(There { size, text })
}

async fn put_parts(authority: &Authority, target: &Target, from: u64, size: u64) -> Result<(), TurnError> {
    let puts = stream::iter(parts(from, size)).map(async |part| {
        let path = part.path();
        let bytes = match part {
            Part::Tile(tile) => authority.tile_to_publish(tile).await?,
            Part::Bundle(bundle) => authority.bundle_to_publish(bundle).await?,
        };
        let bytes = Bytes::from(bytes.ok_or_else(|| TurnError::Missing(path.clone()))?);
        if part.is_full() {
            target.put_full(&path, bytes).await?
        } else {
            target.put_partial(&path, bytes).await?
        }
        Ok::<_, TurnError>(())
    });
    puts.buffer_unordered(AT_ONCE).try_collect().await
}

/// Files that were partial at `from` and are full now are what readers use from here on. What is left lying is only in the
/// way, so that a failure is no failure of publishing.
async fn drop_partials(target: &Target, from: u64, size: u64) {
    let grown: Vec<Part> = parts(0, from).filter(|part| !part.is_full()).collect();
    let full = |path: &str| parts(from, size).any(|part| part.is_full() && part.path() == path);
    for part in grown {
        let path = part.path();
        let path = path.split_once(".p/").map_or(path.as_str(), |(path, _)| path);
        if full(path)
            && let Err(error) = target.drop_partials(path).await
        {
            tracing::debug!(%error, "narrower files were left");
        }
    }
}
