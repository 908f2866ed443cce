//! One agent's connection: bytes in, heads and body pieces out; bytes back with deadlines.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::bounds::{FIRST_READ_BYTES, HEAD_TIME_MAX, READ_BYTES, WRITE_TIME_MAX};
use crate::http::head::{HeadError, HeadParser, RequestHead};

/// Why no further request came.
pub(crate) enum NoHead {
    /// The agent closed, or left the connection idle.
    Closed,
    /// The bytes are not a request; the answer's status is its own.
    Bad(HeadError),
    /// A head was begun and not finished in time.
    Late,
}

/// The two halves of a connection with what was read and not yet understood.
pub(crate) struct Wire<S> {
    pub(crate) reader: ReadHalf<S>,
    pub(crate) writer: WriteHalf<S>,
    pub(crate) unread: BytesMut,
    pub(crate) out: BytesMut,
    parser: HeadParser,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer, unread: BytesMut::new(), out: BytesMut::new(), parser: HeadParser::new() }
    }

    /// The next head. Until its first byte the connection may lie idle until `idle_until`; from
    /// then on the whole head has [`HEAD_TIME_MAX`].
    pub(crate) async fn head(&mut self, idle_until: Instant) -> Result<RequestHead, NoHead> {
        let mut until = idle_until;
        loop {
            let was_idle = self.parser.is_idle();
            if let Some(head) = self.parser.advance(&mut self.unread).map_err(NoHead::Bad)? {
                return Ok(head);
            }
            if was_idle && !self.parser.is_idle() {
                until = Instant::now() + HEAD_TIME_MAX;
            }
            if self.is_idle() {
                // Nobody knows for how long: what a large request needed is given back.
                self.unread = BytesMut::with_capacity(FIRST_READ_BYTES);
                self.out = BytesMut::new();
            } else {
                self.unread.reserve(READ_BYTES);
            }
            match timeout_at(until, self.reader.read_buf(&mut self.unread)).await {
                Ok(Ok(0) | Err(_)) => return Err(NoHead::Closed),
                Ok(Ok(_)) => {}
                Err(_) if self.parser.is_idle() => return Err(NoHead::Closed),
                Err(_) => return Err(NoHead::Late),
            }
        }
    }

    /// Whether not one byte of a further request has come.
    pub(crate) fn is_idle(&self) -> bool {
        self.parser.is_idle() && self.unread.is_empty()
    }

    /// Sends everything that is waiting to go out.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let all = async {
            self.writer.write_all(&self.out).await?;
            self.writer.flush().await
        };
        let sent = timeout(WRITE_TIME_MAX, all).await;
        self.out.clear();
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        self.flush().await
    }

    /// Says goodbye in the way of the protocol below (TLS `close_notify`).
    pub(crate) async fn close(mut self) {
        // The agent may be gone already; there is nobody left to tell.
        if let Err(error) = timeout(HEAD_TIME_MAX, self.writer.shutdown()).await.unwrap_or(Ok(())) {
            tracing::trace!(%error, "an agent's connection was gone before it was closed");
        }
    }

    /// The connection as one stream again, what was read and not understood in front.
    pub(crate) fn into_stream(self) -> Prefixed<S> {
        // An empty rest would keep its whole buffer.
        let prefix = if self.unread.is_empty() { Bytes::new() } else { self.unread.freeze() };
        Prefixed { prefix, stream: self.reader.unsplit(self.writer) }
    }
}

/// A stream with bytes that were already read from it put back in front.
pub(crate) struct Prefixed<S> {
    prefix: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let take = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..take]);
        self.prefix.advance(take);
        if self.prefix.is_empty() {
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
