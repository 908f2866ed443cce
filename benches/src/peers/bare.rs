//! The floor: hyper on both sides, one thread, keep-alive both ways, nothing looked at.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::{Failure, child};

/// Upstream connections that are not in use.
type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// Plays the proxy in front of the address that the parent gives.
pub(crate) fn serve() -> Result<(), Failure> {
    let upstream: SocketAddr = child::task()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        child::answer(&listener.local_addr()?)?;
        child::end_with_parent();
        let idle = Idle::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let idle = Rc::clone(&idle);
            let service = service_fn(move |request| forward(upstream, Rc::clone(&idle), request));
            tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn forward(
    upstream: SocketAddr,
    idle: Idle,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Failure> {
    request.headers_mut().insert(HOST, HeaderValue::from_str(&upstream.to_string())?);
    let kept = idle.borrow_mut().pop();
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(upstream).await?,
    };
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    idle.borrow_mut().push(sender);
    Ok(response)
}

async fn connect(upstream: SocketAddr) -> Result<SendRequest<Incoming>, Failure> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
