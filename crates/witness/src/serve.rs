//! The witness over HTTP/1.1: `POST /add-checkpoint`, and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accredit_ledger::witness::{REQUEST_BYTES_MAX, Refusal};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::witness::{Reply, Witness};

/// The path of the one call.
pub const ADD_CHECKPOINT: &str = "/add-checkpoint";
/// The media type of the size in a conflict (tlog-witness, "add-checkpoint").
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// Connections at one time: a log keeps one, and there are few logs.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take for the head of a request, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long a client may take for a body, which fits some hundred packets.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes: no field of it is used.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long answers under way may take after a stop was asked for.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Serves a witness until `stop` becomes true; then answers under way get a few seconds.
pub async fn serve(listener: TcpListener, witness: Arc<Witness>, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (witness, stop) = (witness.clone(), stop.clone());
        tokio::spawn(async move {
            connection(stream, witness, stop).await;
            drop(permit);
        });
    }
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    // After this the runtime ends what is still under way. What was kept stays kept.
    let _ = tokio::time::timeout(STOP_WITHIN, room.acquire_many(all)).await;
}

async fn connection(stream: TcpStream, witness: Arc<Witness>, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let witness = witness.clone();
        async move { Ok::<_, Infallible>(respond(request, witness).await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    // A broken connection is the client's affair: nothing is to be done about it.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn respond(request: Request<Incoming>, witness: Arc<Witness>) -> Response<Full<Bytes>> {
    if request.uri().path() != ADD_CHECKPOINT {
        return plain(StatusCode::NOT_FOUND, "there is only POST /add-checkpoint here");
    }
    if request.method() != Method::POST {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use POST");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let text = match body(request.into_body()).await {
        Ok(text) => text,
        Err(response) => return response,
    };
    // The disk is waited for elsewhere than where connections are served.
    let answered = tokio::task::spawn_blocking(move || witness.answer(&text, now_s));
    match answered.await {
        Ok(reply) => wire(reply),
        Err(_) => wire(Reply::Failed),
    }
}

async fn body(body: Incoming) -> Result<String, Response<Full<Bytes>>> {
    let read = tokio::time::timeout(BODY_WITHIN, Limited::new(body, REQUEST_BYTES_MAX).collect());
    let read =
        read.await.map_err(|_| plain(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time"))?;
    let bytes = read.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(_) => plain(StatusCode::BAD_REQUEST, "the request broke off"),
        Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is longer than any request is"),
    })?;
    String::from_utf8(bytes.to_bytes().into())
        .map_err(|_| plain(StatusCode::BAD_REQUEST, "the request is not text"))
}

fn wire(reply: Reply) -> Response<Full<Bytes>> {
    match reply {
        Reply::Cosigned(line) => with(StatusCode::OK, TEXT, line),
        Reply::Refused(Refusal::Conflict { size } | Refusal::Forked { size }) => {
            with(StatusCode::CONFLICT, HeaderValue::from_static(SIZE_TYPE), format!("{size}\n"))
        }
        Reply::Refused(refusal) => plain(
            StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST),
            &refusal.to_string(),
        ),
        Reply::Failed => plain(StatusCode::SERVICE_UNAVAILABLE, "the witness cannot keep checkpoints now"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    with(status, TEXT, format!("{text}\n"))
}

fn with(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A clock before 1970 reads as 0: the cosignature then says so.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
