//! One request, bounded in time and size. Nothing is followed, nothing is sent twice.

use std::time::Duration;

use accredit_client::{CallError, Server};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// Longest time for the whole exchange: somebody waits for it in front of a page.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Largest answer, in bytes: keys with certificates, a token with a list of groups.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// A place at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    server: Server,
    target: String,
}

impl Place {
    /// Parses `https://host[:port][/path][?query]`, or `http://` for this machine.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let at = url.find("://")? + 3;
        let end = url[at..].find(['/', '?']).map_or(url.len(), |end| at + end);
        let (origin, rest) = url.split_at(end);
        let plain = rest.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        let server = Server::parse(origin).ok().filter(|_| plain)?;
        let target = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        Some(Self { server, target })
    }

    /// Reads what is there.
    pub(crate) async fn get(
        &self,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        self.ask(with(self.request(Method::GET), authorization).body(Full::default())).await
    }

    /// Sends a form.
    pub(crate) async fn post_form(
        &self,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let request = self.request(Method::POST).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(with(request, authorization).body(Full::from(form))).await
    }

    fn request(&self, method: Method) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(&self.target)
            .header(HOST, self.server.authority())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("accredit/", env!("CARGO_PKG_VERSION")))
    }

    async fn ask(
        &self,
        request: Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let request = request.map_err(|error| CallError::Request(error.to_string()))?;
        let timed_out = |_| CallError::TimedOut { at: self.server.name(), seconds: TIME_MAX.as_secs() };
        tokio::time::timeout(TIME_MAX, self.exchange(request)).await.map_err(timed_out)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), CallError> {
        let broken = |source| CallError::Broken { at: self.server.name(), source };
        let stream = self.server.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer's body, or when the answer is dropped.
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let protocol = |why: String| CallError::Protocol { at: self.server.name(), why };
        let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        Ok((parts.status, read.map_err(|error| protocol(error.to_string()))?.to_bytes()))
    }
}

fn with(request: http::request::Builder, authorization: Option<HeaderValue>) -> http::request::Builder {
    let Some(mut authorization) = authorization else { return request };
    authorization.set_sensitive(true);
    request.header(AUTHORIZATION, authorization)
}
