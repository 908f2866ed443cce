//! The service behind every proxy: the same small answer to every request, as cheap as it can be, and the instant of
//! each request kept where somebody asks for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{Failure, child};

/// The answer to every request: a small JSON document, as an API would give.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 64\r\n\r\n\
{\"id\":17,\"item\":\"keyboard\",\"amount\":2,\"note\":\"xxxxxxxxxxxxxxx\"}\n";

/// Plays the upstream: says where it listens, then serves until the parent has gone.
pub(crate) fn serve() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        child::answer(&listener.local_addr()?)?;
        child::end_with_parent();
        run(listener, None).await;
        Ok(())
    })
}

/// When requests arrived whose path begins with the key.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Option<Instant>>>);

impl Seen {
    /// When the last request arrived, since this was asked last.
    pub(crate) fn take_last(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Serves in this process, on a thread of its own, so that a request is seen when it arrives and not when everything
/// else has had its turn.
pub(crate) fn start(seen: Seen) -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
        runtime.block_on(async {
            if let Ok(listener) = TcpListener::from_std(listener) {
                run(listener, Some(seen)).await;
            }
        });
    })?;
    Ok(address)
}

async fn run(listener: TcpListener, seen: Option<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(connection(stream, seen.clone()));
    }
}

/// The head of an answer without end.
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
/// What its path holds.
const STREAM_PATH: &[u8] = b"/stream";

/// Requests without bodies, one after another; after one for a stream, nothing but that.
async fn connection(mut stream: TcpStream, seen: Option<Seen>) {
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        while let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            if buffer[..end].windows(STREAM_PATH.len()).any(|w| w == STREAM_PATH) {
                return without_end(stream).await;
            }
            buffer.drain(..end + 4);
            if let Some(seen) = &seen {
                seen.note();
            }
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

async fn without_end(mut stream: TcpStream) {
    let mut piece = STREAM;
    while stream.write_all(piece).await.is_ok() {
        piece = b"tick\n";
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let end = ANSWER.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        assert_eq!(ANSWER.len() - end, 64);
    }
}
