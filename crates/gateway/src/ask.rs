//! While a person is asked: the body is held, so that exactly what was shown is what is sent, and the call waits.

use accredit_core::approval::{BODY_SHOWN_BYTES_MAX, BodyShown};
use accredit_core::digest::DigestKey;
use accredit_core::id::RequestId;
use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use crate::bounds::{ASKED_BODY_BYTES_MAX, ASKED_BODY_TIME_MAX, READ_AHEAD_BYTES_MAX, READ_BYTES};
use crate::exchange::Turn;
use crate::http::respond::{Answering, CONTINUE, whole};
use crate::pump::{PumpError, gather};
use crate::refuse::{self, Answer};
use crate::wire::Wire;

/// A body that was read whole.
pub(crate) struct Held(Bytes);

impl Held {
    /// What a person sees of it: its digest and, where it is text, its beginning.
    pub(crate) fn shown(&self, key: &DigestKey, content_type: Option<String>) -> BodyShown {
        let text = std::str::from_utf8(&self.0).ok().map(|text| {
            let end = (0..=text.len().min(BODY_SHOWN_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
            text[..end.unwrap_or(0)].to_owned()
        });
        BodyShown { digest: key.digest(&[&self.0]), bytes: self.0.len() as u64, content_type, text }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Why a body is not held.
pub(crate) enum NotHeld {
    /// The agent gets this answer.
    Answer(Answer),
    /// The agent has gone.
    Gone,
}

/// Reads the body whole.
pub(crate) async fn hold_body<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    turn: &Turn<'_>,
) -> Result<Held, NotHeld> {
    if turn.head.expect_continue() && wire.send(CONTINUE).await.is_err() {
        return Err(NotHeld::Gone);
    }
    let reading = gather(turn.head.framing(), ASKED_BODY_BYTES_MAX, &mut wire.reader, &mut wire.unread);
    let read = tokio::time::timeout(ASKED_BODY_TIME_MAX, reading).await;
    match read {
        Ok(Ok(Some(body))) => Ok(Held(body)),
        Ok(Ok(None)) => {
            let detail = format!(
                "a person must say yes to this request, and its body is larger than {ASKED_BODY_BYTES_MAX} bytes"
            );
            let next = "Send a smaller body, or ask for a policy that does not ask about this operation.";
            let answer = refuse::plain(StatusCode::FORBIDDEN, "body_too_large_to_ask", &detail, next);
            Err(NotHeld::Answer(answer))
        }
        Ok(Err(PumpError::Framing)) => {
            let answer = refuse::malformed(StatusCode::BAD_REQUEST, "the body's framing is broken");
            Err(NotHeld::Answer(answer))
        }
        Ok(Err(PumpError::AgentGone | PumpError::UpstreamGone)) => Err(NotHeld::Gone),
        Err(_) => {
            let answer = refuse::malformed(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
            Err(NotHeld::Answer(answer))
        }
    }
}

/// How waiting ended.
pub(crate) enum Waited {
    /// The request is no longer pending.
    Answered,
    /// It still is, or nobody waits here.
    InVain,
    /// The agent has gone, or the server stops.
    Gone,
}

/// Waits for a person's answer as long as the configuration says, while the agent is there.
pub(crate) async fn wait_for_answer<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    turn: &Turn<'_>,
    request: &RequestId,
) -> Waited {
    let authority = &turn.gateway.authority;
    let at_most = authority.settings().hold_for;
    // A body that was not read is still on its way: what comes is not another request, and nobody watches for its end.
    if at_most.is_zero() {
        return Waited::InVain;
    }
    let answer = authority.wait_for_answer(request, at_most);
    tokio::pin!(answer);
    loop {
        let room = wire.unread.len() < READ_AHEAD_BYTES_MAX;
        wire.unread.reserve(READ_BYTES);
        tokio::select! {
            answer = &mut answer => {
                let now = authority.now();
                return match answer {
                    Ok(request) if request.status_at(now) != "pending" => Waited::Answered,
                    Ok(_) | Err(_) => Waited::InVain,
                };
            }
            () = turn.stop.cancelled() => return Waited::Gone,
            read = wire.reader.read_buf(&mut wire.unread), if room => {
                if !matches!(read, Ok(bytes) if bytes > 0) {
                    return Waited::Gone;
                }
            }
        }
    }
}

/// Answers a request whose body was read. Gives whether the connection can go on.
pub(crate) async fn answer_held<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    turn: &Turn<'_>,
    answer: &Answer,
) -> bool {
    let answering = Answering { version: turn.head.version(), keep_alive: turn.may_go_on() };
    let method = turn.head.method();
    let keep = whole(&mut wire.out, answering, method, answer.status, &answer.headers, &answer.body);
    wire.flush().await.is_ok() && keep
}
