//! Bodies that take their time: events, a slow download, text in small pieces. Each tells the effect log when it ended
//! and how far it came.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

use super::effects::{Effect, EffectLog, Event, now_ns};

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Pause between two events of the stream.
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the download that are sent at a time.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;
/// Pause between two pieces of the download: about 3 MB a second.
const PIECE_PAUSE: Duration = Duration::from_millis(20);

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Counts what leaves, and tells the log when the body is dropped: at its end, or when the client has gone.
pub(crate) struct Tally {
    log: Arc<EffectLog>,
    effect: Effect,
    bytes: u64,
}

impl Tally {
    pub(crate) fn new(log: Arc<EffectLog>, effect: Effect) -> Self {
        Self { log, effect, bytes: 0 }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let ended =
            Effect { ns: now_ns(), event: Event::Ended, bytes: Some(self.bytes), ..self.effect.clone() };
        self.log.append(&ended);
    }
}

fn paced(tally: Tally, pause: Duration, next: impl FnMut(u64) -> Option<Bytes> + Send + 'static) -> Body {
    let pieces = stream::unfold((tally, next, 0_u64), move |(mut tally, mut next, count)| async move {
        let piece = next(count)?;
        if count > 0 && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        tally.bytes += piece.len() as u64;
        Some((Ok(Frame::data(piece)), (tally, next, count + 1)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Server-sent events with a counter and the time, `limit` of them.
pub(crate) fn events(tally: Tally, limit: u64) -> Body {
    paced(tally, EVENT_PAUSE, move |count| {
        (count < limit).then(|| Bytes::from(format!("id: {count}\ndata: {{\"ns\":{}}}\n\n", now_ns())))
    })
}

/// `bytes` bytes, slowly.
pub(crate) fn download(tally: Tally, bytes: u64) -> Body {
    let piece = Bytes::from(vec![b'.'; PIECE_BYTES]);
    paced(tally, PIECE_PAUSE, move |count| {
        let left = bytes.saturating_sub(count * PIECE_BYTES as u64);
        let take = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        (take > 0).then(|| piece.slice(..take))
    })
}

/// A text in pieces of `piece_bytes`, each in a write of its own.
pub(crate) fn pieces(tally: Tally, text: Bytes, piece_bytes: usize) -> Body {
    paced(tally, Duration::from_millis(2), move |count| {
        let start =
            usize::try_from(count).ok()?.checked_mul(piece_bytes).filter(|start| *start < text.len())?;
        Some(text.slice(start..text.len().min(start + piece_bytes)))
    })
}
