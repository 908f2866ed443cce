//! One call: the request as the API types have it, with bounds on time and size, and the answer or the refusal.

use std::time::Duration;

use accredit_api::{Problem, Sensitive};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connect::Server;
use crate::error::CallError;
use crate::lines::Lines;
use crate::query::with_query;

/// Longest time for a connection and the head of its answer: `revoke` may wait for streams, `policy replay` reads much.
const HEAD_TIME_MAX: Duration = Duration::from_secs(120);
/// Longest time for a body of JSON after its head.
const BODY_TIME_MAX: Duration = Duration::from_secs(120);
/// Largest body of JSON, in bytes: a page has at most 500 items.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest body of bytes that is read whole, in bytes: a tile, a checkpoint, a bundle.
const RAW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The media type of bodies.
const JSON: &str = "application/json";

/// Who is asking.
#[derive(Debug, Clone, Copy)]
pub enum Auth<'a> {
    /// Nobody: what is open, and the process at the other end of the socket.
    Nobody,
    /// A signed-in operator.
    Session(&'a Sensitive),
    /// An instance that holds a key, and its task's token once it has one (RFC 9449 §7.1).
    Proof {
        /// The token of the task.
        token: Option<&'a Sensitive>,
        /// The `DPoP` field.
        proof: &'a str,
    },
}

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    server: Server,
}

/// An answer that is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Client {
    /// A client of this server. Nothing is connected yet.
    #[must_use]
    pub const fn new(server: Server) -> Self {
        Self { server }
    }

    /// The server.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str, auth: Auth<'_>) -> Result<T, CallError> {
        self.json(self.send(Method::GET, path, auth, Bytes::new()).await?).await
    }

    /// Asks for something that is answered in the same form when the server accepts no work (status 503).
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unavailable_too<T: DeserializeOwned>(
        &self,
        path: &str,
        auth: Auth<'_>,
    ) -> Result<T, CallError> {
        let request = self.request(Method::GET, path, auth, Bytes::new())?;
        let response = self.in_time(request).await?;
        let same_form = response.status().is_success()
            || (response.status() == http::StatusCode::SERVICE_UNAVAILABLE
                && content_type(&response) == JSON);
        if same_form { self.json(response).await } else { Err(self.refusal(response).await) }
    }

    /// Asks for something, with a query.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_with<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
        auth: Auth<'_>,
    ) -> Result<T, CallError> {
        self.get(&with_query(path, query)?, auth).await
    }

    /// Sends something and reads the answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
        auth: Auth<'_>,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|e| CallError::Request(e.to_string()))?;
        self.json(self.send(method, path, auth, body.into()).await?).await
    }

    /// `POST`, the usual way to change something.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        auth: Auth<'_>,
    ) -> Result<T, CallError> {
        self.call(Method::POST, path, body, auth).await
    }

    /// `DELETE`, whose answer has nothing to read.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete(&self, path: &str, auth: Auth<'_>) -> Result<(), CallError> {
        self.send(Method::DELETE, path, auth, Bytes::new()).await.map(drop)
    }

    /// Asks for what is not JSON: a checkpoint, a certificate, a proof.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn raw(&self, path: &str, auth: Auth<'_>) -> Result<Raw, CallError> {
        let response = self.send(Method::GET, path, auth, Bytes::new()).await?;
        let content_type = content_type(&response).to_owned();
        let bytes = self.collect(response, RAW_BYTES_MAX).await?;
        Ok(Raw { content_type, bytes })
    }

    /// As [`Self::raw`], with a query.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn raw_with<Q: Serialize>(
        &self,
        path: &str,
        query: &Q,
        auth: Auth<'_>,
    ) -> Result<Raw, CallError> {
        self.raw(&with_query(path, query)?, auth).await
    }

    /// Asks for lines that arrive over time.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn lines(&self, path: &str, auth: Auth<'_>) -> Result<Lines, CallError> {
        let response = self.send(Method::GET, path, auth, Bytes::new()).await?;
        Ok(Lines::new(self.server.name(), response.into_body()))
    }

    /// As [`Self::lines`], with a query.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn lines_with<Q: Serialize>(
        &self,
        path: &str,
        query: &Q,
        auth: Auth<'_>,
    ) -> Result<Lines, CallError> {
        self.lines(&with_query(path, query)?, auth).await
    }

    /// One exchange on a connection of its own, refusals turned into errors.
    async fn send(
        &self,
        method: Method,
        path: &str,
        auth: Auth<'_>,
        body: Bytes,
    ) -> Result<Response<Incoming>, CallError> {
        let request = self.request(method, path, auth, body)?;
        let response = self.in_time(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn in_time(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, CallError> {
        let exchanged = tokio::time::timeout(HEAD_TIME_MAX, self.exchange(request)).await;
        exchanged.map_err(|_| self.timed_out(HEAD_TIME_MAX))?
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        auth: Auth<'_>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let wrong = |e: &dyn std::fmt::Display| CallError::Request(e.to_string());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.server.authority())
            .header(USER_AGENT, concat!("accredit/", env!("CARGO_PKG_VERSION")));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        match auth {
            Auth::Nobody => {}
            Auth::Session(token) => request = request.header(AUTHORIZATION, secret("Bearer", token)?),
            Auth::Proof { token, proof } => {
                request = request.header("DPoP", proof);
                if let Some(token) = token {
                    request = request.header(AUTHORIZATION, secret("DPoP", token)?);
                }
            }
        }
        request.body(Full::new(body)).map_err(|e| wrong(&e))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, CallError> {
        let broken = |source| CallError::Broken { at: self.server.name(), source };
        let stream = self.server.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer's body, or when the answer is dropped.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broken)
    }

    async fn json<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, CallError> {
        let bytes = self.collect(response, BODY_BYTES_MAX).await?;
        // An answer without content stands for `null`.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        serde_json::from_slice(&bytes)
            .map_err(|_| self.foreign("the answer is not of the form that was expected"))
    }

    async fn collect(&self, response: Response<Incoming>, bytes_max: usize) -> Result<Bytes, CallError> {
        let body = Limited::new(response.into_body(), bytes_max).collect();
        let body =
            tokio::time::timeout(BODY_TIME_MAX, body).await.map_err(|_| self.timed_out(BODY_TIME_MAX))?;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(source) => Err(CallError::Broken { at: self.server.name(), source: *source }),
                Err(_) => Err(self.foreign(&format!("the answer is longer than {bytes_max} bytes"))),
            },
        }
    }

    async fn refusal(&self, response: Response<Incoming>) -> CallError {
        let status = response.status();
        let is_problem = content_type(&response) == accredit_api::problem::PROBLEM_JSON;
        let read = match self.collect(response, BODY_BYTES_MAX).await {
            Ok(bytes) => serde_json::from_slice::<Problem>(&bytes).ok(),
            Err(error) => return error,
        };
        match read.filter(|_| is_problem) {
            Some(problem) => CallError::Refused(Box::new(problem)),
            None => self.foreign(&format!("status {} without a reason", status.as_u16())),
        }
    }

    fn foreign(&self, why: &str) -> CallError {
        CallError::Protocol { at: self.server.name(), why: why.to_owned() }
    }

    fn timed_out(&self, after: Duration) -> CallError {
        CallError::TimedOut { at: self.server.name(), seconds: after.as_secs() }
    }
}

fn secret(scheme: &str, token: &Sensitive) -> Result<HeaderValue, CallError> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", token.reveal()))
        .map_err(|_| CallError::Request("the token cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn content_type(response: &Response<Incoming>) -> &str {
    let value = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use accredit_api::health::Health;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    /// Answers one request with these bytes and gives back what was asked.
    async fn answered(answer: &'static str) -> (Result<Health, CallError>, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("a socket");
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.expect("a request");
            stream.write_all(answer.as_bytes()).await.expect("an answer");
            String::from_utf8(request[..n].to_vec()).expect("text")
        });
        let token = Sensitive::new("s_secret".to_owned());
        let client = Client::new(Server::socket(&path));
        let result = client.get("/v1/health", Auth::Session(&token)).await;
        (result, served.await.expect("a request"))
    }

    #[tokio::test]
    async fn an_answer_is_read_as_its_type() {
        let (health, request) = answered(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\r\n{\"status\":\"ok\",\"version\":\"0.1.0\"}",
        )
        .await;
        assert_eq!(health.expect("an answer").status, "ok");
        assert!(request.starts_with("GET /v1/health HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer s_secret\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_code_and_next_step() {
        let (health, _) = answered(concat!(
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n",
            r#"{"type":"t","title":"T","status":401,"code":"unauthenticated","detail":"no session","next_step":"sign in"}"#
        ))
        .await;
        let error = health.expect_err("a refusal");
        let problem = error.problem().expect("a problem");
        assert_eq!(
            (problem.code.as_str(), problem.next_step.as_deref()),
            ("unauthenticated", Some("sign in"))
        );
    }

    #[tokio::test]
    async fn another_program_is_not_taken_for_the_server() {
        for answer in [
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        ] {
            let (health, _) = answered(answer).await;
            assert!(matches!(health, Err(CallError::Protocol { .. })), "{answer}");
        }
        let (health, _) = answered("SSH-2.0-x\r\n").await;
        assert!(matches!(health, Err(CallError::Broken { .. })));
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_unreachable() {
        let dir = tempfile::tempdir().expect("a directory");
        let client = Client::new(Server::socket(&dir.path().join("none")));
        let error = client.get::<Health>("/v1/health", Auth::Nobody).await.expect_err("nobody");
        assert!(matches!(error, CallError::Unreachable { .. }) && error.is_passing());
    }
}
