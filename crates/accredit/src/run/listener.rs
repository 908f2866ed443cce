//! The local listener of a run: where the command's clients connect. A connection of a process that this runner did not
//! start is closed; any other is attached to the task at the gateway, and its bytes pass unchanged both ways.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use accredit_client::Server;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::holder::Holder;
use super::tree;
use crate::output::Output;

/// Connections of one run open at once: browsers and package managers stay below a tenth of it.
const CONNECTIONS_MAX: usize = 1_024;
/// Longest head of the gateway's answer to an attach, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long the gateway may take to answer an attach.
const ATTACH_TIME_MAX: Duration = Duration::from_secs(20);
/// How long is waited before an attach is tried again that nobody answered.
const ATTACH_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Serves the command's connections until it is dropped.
pub(crate) async fn serve(listener: TcpListener, holder: Arc<Holder>, out: Output) {
    let Ok(local) = listener.local_addr() else { return };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors, usually: those that end give theirs back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let holder = holder.clone();
        connections.spawn(async move {
            if within_tree(peer, local).await {
                relay(stream, &holder).await;
            } else {
                out.say("accredit: closed a connection of a process that this run did not start");
            }
            drop(permit);
        });
    }
}

async fn within_tree(peer: SocketAddr, local: SocketAddr) -> bool {
    let me = std::process::id();
    let looked = tokio::task::spawn_blocking(move || tree::connected_from_within(me, peer, local));
    looked.await.unwrap_or(false)
}

async fn relay(mut child: TcpStream, holder: &Holder) {
    let _ = child.set_nodelay(true);
    match tokio::time::timeout(ATTACH_TIME_MAX, attach(holder)).await {
        Ok(Some(Attached { mut gateway, answer, accepted })) => {
            // A refusal is the gateway's own words: the client gets them as they are.
            if child.write_all(&answer).await.is_err() {
                return;
            }
            if accepted {
                let _ = tokio::io::copy_bidirectional(&mut child, &mut gateway).await;
            } else {
                let _ = tokio::io::copy(&mut gateway, &mut child).await;
                finish(child).await;
            }
        }
        Ok(None) | Err(_) => {
            let _ = child.write_all(&no_gateway()).await;
            finish(child).await;
        }
    }
}

/// Says that no more comes, and reads what the client still sends, so that it sees the answer and not a reset.
async fn finish(mut child: TcpStream) {
    let _ = child.shutdown().await;
    let mut rest = [0; 1_024];
    let drained = async { while child.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
}

/// What a client reads when the gateway cannot be reached: no status that clients repeat by themselves, and whose it is.
fn no_gateway() -> Vec<u8> {
    let body = serde_json::json!({
        "title": "The gateway does not answer",
        "code": "gateway_unreachable",
        "refused_by": "accredit",
        "retryable": false,
        "detail": "the local runner could not reach the gateway, so the request did not leave this machine",
        "next_step": "Tell the user that the gateway is not running (`accredit health`). Your credentials are fine.",
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/problem+json\r\nx-should-retry: false\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// A connection to the gateway, and what it said first.
struct Attached<S> {
    gateway: S,
    /// Bytes for the client: a refusal, or what followed the acceptance.
    answer: Vec<u8>,
    accepted: bool,
}

/// Attaches a connection. A gateway that is not there, or leaves before it answers, may be a replica that stops: nothing of
/// the child's was sent yet, so that it is tried again, with a proof of its own each time.
async fn attach(holder: &Holder) -> Option<Attached<impl AsyncRead + AsyncWrite + Unpin>> {
    for pause in ATTACH_PAUSES {
        if let Some(attached) = attach_once(holder).await {
            return Some(attached);
        }
        tokio::time::sleep(pause).await;
    }
    attach_once(holder).await
}

async fn attach_once(holder: &Holder) -> Option<Attached<impl AsyncRead + AsyncWrite + Unpin>> {
    let server = Server::parse(holder.gateway_url()).ok()?;
    let mut gateway = server.connect().await.ok()?;
    let (token, proof) = holder.attachment().ok()?;
    let head = Zeroizing::new(format!(
        "POST /attach HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: accredit-task\r\nAuthorization: DPoP {}\r\n\
         DPoP: {proof}\r\nContent-Length: 0\r\n\r\n",
        server.authority(),
        token.reveal(),
    ));
    gateway.write_all(head.as_bytes()).await.ok()?;
    let (head, rest) = answer_head(&mut gateway).await?;
    let accepted = head.starts_with(b"HTTP/1.1 101 ");
    let answer = if accepted { rest } else { [head, rest].concat() };
    Some(Attached { gateway, answer, accepted })
}

/// The head of an answer, its empty line included, and what was read behind it.
async fn answer_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut held = Vec::with_capacity(1_024);
    loop {
        if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = held.split_off(at + 4);
            return Some((held, rest));
        }
        let ended = stream.read_buf(&mut held).await.ok()? == 0;
        if ended || held.len() > ANSWER_BYTES_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_head_of_an_answer_is_told_from_what_follows() {
        let mut answer: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: accredit-task\r\n\r\nrest";
        let (head, rest) = answer_head(&mut answer).await.expect("a head");
        assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"));
        assert_eq!(rest, b"rest");
        assert!(answer_head(&mut &b"HTTP/1.1 101"[..]).await.is_none(), "an answer that ends early");
        let endless = vec![b'a'; ANSWER_BYTES_MAX * 2];
        assert!(answer_head(&mut &endless[..]).await.is_none(), "an answer without end");
    }

    #[test]
    fn an_absent_gateway_is_a_refusal_that_nobody_retries() {
        let text = String::from_utf8(no_gateway()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.starts_with("HTTP/1.1 403 ") && head.contains("x-should-retry: false"));
        assert!(head.contains(&format!("content-length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["code"], "gateway_unreachable");
    }
}
