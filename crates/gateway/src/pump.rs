//! An agent's request body on its way upstream: decoded, digested, counted, with back-pressure.

use std::io;

use accredit_core::digest::{Digest, RunningDigest};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::bounds::{BODY_BYTES_MAX, BODY_BYTES_PER_SECOND_MIN, BODY_FRAMES_MAX, BODY_GRACE, READ_BYTES};
use crate::http::body::{BodyDecoder, BodyError, Decoded};
use crate::http::framing::Framing;
use crate::upstream::OutBody;

type Sender = mpsc::Sender<io::Result<Frame<Bytes>>>;

/// Why the body did not arrive whole.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The agent's framing is broken.
    Framing,
    /// The agent closed or broke the connection.
    AgentGone,
    /// The upstream takes no more.
    UpstreamGone,
}

/// The pump of one request.
pub(crate) struct Pump {
    decoder: BodyDecoder,
    sender: Option<Sender>,
    waiting: Option<Bytes>,
    digest: Option<RunningDigest>,
    sent_bytes: u64,
    started: Instant,
}

impl Pump {
    /// The pump and the body that it feeds.
    pub(crate) fn new(framing: Framing, digest: Option<RunningDigest>) -> Result<(Self, OutBody), BodyError> {
        let decoder = BodyDecoder::new(framing, BODY_BYTES_MAX)?;
        let (sender, body) = if decoder.is_done() && !matches!(framing, Framing::Chunked) {
            (None, Empty::new().map_err(|never| match never {}).boxed())
        } else {
            let (sender, mut receiver) = mpsc::channel(BODY_FRAMES_MAX);
            let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
            (Some(sender), BodyExt::boxed(StreamBody::new(frames)))
        };
        let pump = Self { decoder, sender, waiting: None, digest, sent_bytes: 0, started: Instant::now() };
        Ok((pump, body))
    }

    /// The pump of a body that was read whole before it was decided on, and is sent byte for byte as it was read.
    pub(crate) fn of_held(body: Bytes, digest: Option<RunningDigest>) -> Result<(Self, OutBody), BodyError> {
        let (sender, mut receiver) = mpsc::channel(BODY_FRAMES_MAX);
        let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let pump = Self {
            decoder: BodyDecoder::new(Framing::None, BODY_BYTES_MAX)?,
            sender: Some(sender),
            waiting: Some(body).filter(|body| !body.is_empty()),
            digest,
            sent_bytes: 0,
            started: Instant::now(),
        };
        Ok((pump, BodyExt::boxed(StreamBody::new(frames))))
    }

    /// Whether the whole body went out.
    pub(crate) const fn is_done(&self) -> bool {
        self.sender.is_none()
    }

    /// Bytes that were handed upstream.
    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Keyed digest of the bytes that were handed upstream, if there were any.
    pub(crate) fn into_digest(self) -> Option<Digest> {
        let digest = self.digest.filter(|_| self.sent_bytes > 0);
        digest.map(RunningDigest::finish)
    }

    /// By when more of the body must have come: a slow body earns its time by its bytes.
    pub(crate) fn deadline(&self) -> Instant {
        let earned = std::time::Duration::from_secs(self.sent_bytes / BODY_BYTES_PER_SECOND_MIN);
        self.started + BODY_GRACE + earned
    }

    /// Breaks the body off, so that the upstream cannot take it for a whole one.
    pub(crate) fn abort(&mut self) {
        if let Some(sender) = self.sender.take() {
            // With the queue full, dropping the sender alone would look like a clean end only to a
            // reader that ignores framing; hyper reports it as incomplete for a known length, and
            // the connection is dropped by whoever aborts.
            let _ = sender.try_send(Err(io::ErrorKind::ConnectionAborted.into()));
        }
    }

    /// One step: hands on what is waiting, or takes the next piece; after the whole body, watches whether the
    /// agent is still there. Safe to be dropped between.
    pub(crate) async fn step<S: AsyncRead + Unpin>(
        &mut self,
        reader: &mut ReadHalf<S>,
        unread: &mut BytesMut,
    ) -> Result<(), PumpError> {
        let Some(sender) = &self.sender else { return read(reader, unread).await };
        if self.waiting.is_some() {
            let room = sender.reserve().await.map_err(|_| PumpError::UpstreamGone)?;
            if let Some(piece) = self.waiting.take() {
                self.sent_bytes += piece.len() as u64;
                if let Some(digest) = &mut self.digest {
                    digest.update(&piece);
                }
                room.send(Ok(Frame::data(piece)));
            }
            return Ok(());
        }
        match self.decoder.decode(unread).map_err(|_| PumpError::Framing)? {
            Decoded::Data(piece) => self.waiting = Some(piece),
            Decoded::Done => self.sender = None,
            Decoded::NeedMore => return read(reader, unread).await,
        }
        Ok(())
    }
}

/// Reads a whole body of at most `bytes_max` bytes.
///
/// # Errors
/// [`PumpError`], or `Ok(None)` when it is larger.
pub(crate) async fn gather<S: AsyncRead + Unpin>(
    framing: Framing,
    bytes_max: u64,
    reader: &mut ReadHalf<S>,
    unread: &mut BytesMut,
) -> Result<Option<Bytes>, PumpError> {
    let Ok(mut decoder) = BodyDecoder::new(framing, bytes_max) else { return Ok(None) };
    let mut whole = BytesMut::new();
    loop {
        match decoder.decode(unread) {
            Ok(Decoded::Data(piece)) => whole.extend_from_slice(&piece),
            Ok(Decoded::Done) => return Ok(Some(whole.freeze())),
            Ok(Decoded::NeedMore) => read(reader, unread).await?,
            Err(BodyError::TooLarge { .. }) => return Ok(None),
            Err(_) => return Err(PumpError::Framing),
        }
    }
}

/// Reads more from the agent. A client that waits for its response does not end its stream; one that is gone does.
async fn read<S: AsyncRead + Unpin>(
    reader: &mut ReadHalf<S>,
    unread: &mut BytesMut,
) -> Result<(), PumpError> {
    unread.reserve(READ_BYTES);
    match reader.read_buf(unread).await {
        Ok(n) if n > 0 => Ok(()),
        Ok(_) | Err(_) => Err(PumpError::AgentGone),
    }
}
