//! Asking a witness: one request, bounded in time and size. Nothing is followed, nothing is sent twice.

use std::time::Duration;

use accredit_client::{CallError, Server, ServerError};
use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::cosignature::{self, Cosignature};
use accredit_ledger::note::CosignerKey;
use accredit_ledger::witness::AddCheckpoint;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::serve::{ADD_CHECKPOINT, SIZE_TYPE};

/// Longest time for the whole exchange.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Longest answer in bytes: sixteen signature lines, and a sentence where there is none.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A witness at its submission prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessClient {
    server: Server,
    prefix: String,
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its cosignature, checked.
    Cosigned(Cosignature),
    /// The checkpoint that it cosigned last has this many entries; the request was for another (409).
    Last(u64),
    /// The proof does not lead from what it cosigned last to this checkpoint (422).
    NotAPrefix,
    /// It does not cosign for this log (404).
    UnknownLog,
    /// It has another key for this log (403).
    UnknownKey,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The witness was not reached, or did not prove who it is.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Something else than a witness's answer came.
    #[error("the witness answered what is not of its protocol: {0}")]
    Protocol(String),
}

/// Why a text is not where a witness is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessUrlError {
    /// Not a URL of host, port and path.
    #[error("`{0}` is not the URL of a witness: write https://host[:port][/path]")]
    Form(String),
    /// Plain HTTP to another machine.
    #[error("`{0}` would ask over the network in clear: write https")]
    Clear(String),
}

impl WitnessClient {
    /// Parses a submission prefix: `https://host[:port][/path]`, or `http://` for this machine.
    ///
    /// # Errors
    /// [`WitnessUrlError`].
    pub fn parse(url: &str) -> Result<Self, WitnessUrlError> {
        let form = || WitnessUrlError::Form(url.to_owned());
        let at = url.find("://").ok_or_else(form)? + 3;
        let (authority, path) = url.split_at(url[at..].find('/').map_or(url.len(), |slash| at + slash));
        let path = path.strip_suffix('/').unwrap_or(path);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'~');
        let dots = path.split('/').any(|part| matches!(part, "." | ".."));
        if !path.bytes().all(allowed) || path.contains("//") || dots {
            return Err(form());
        }
        let server = Server::parse(authority).map_err(|error| match error {
            ServerError::Form(_) => form(),
            ServerError::Clear(_) => WitnessUrlError::Clear(url.to_owned()),
        })?;
        Ok(Self { server, prefix: path.to_owned() })
    }

    /// What a person calls it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{}", self.server.name(), self.prefix)
    }

    /// Asks for a cosignature by `key` on the request's checkpoint, which is `checkpoint`.
    ///
    /// # Errors
    /// [`AskError`] when there is no answer of the protocol.
    pub async fn add_checkpoint(
        &self,
        request: &AddCheckpoint,
        checkpoint: &Checkpoint,
        key: &CosignerKey,
    ) -> Result<Answer, AskError> {
        let asked = tokio::time::timeout(TIME_MAX, self.exchange(request.encode().into()));
        let timed_out = |_| CallError::TimedOut { at: self.server.name(), seconds: TIME_MAX.as_secs() };
        let (response, text) = asked.await.map_err(timed_out)??;
        understand(&response, &text, checkpoint, key)
    }

    async fn exchange(&self, body: Bytes) -> Result<(http::response::Parts, String), AskError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{ADD_CHECKPOINT}", self.prefix))
            .header(HOST, self.server.authority())
            .header(USER_AGENT, concat!("accredit/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| CallError::Request(error.to_string()))?;
        let broken = |source| CallError::Broken { at: self.server.name(), source };
        let stream = self.server.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer's body, or when the answer is dropped.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        text(response).await
    }
}

async fn text(response: Response<Incoming>) -> Result<(http::response::Parts, String), AskError> {
    let (parts, body) = response.into_parts();
    let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let bytes = read.map_err(|error| AskError::Protocol(error.to_string()))?.to_bytes();
    let text = String::from_utf8(bytes.into()).map_err(|_| AskError::Protocol("not text".to_owned()))?;
    Ok((parts, text))
}

fn understand(
    response: &http::response::Parts,
    text: &str,
    checkpoint: &Checkpoint,
    key: &CosignerKey,
) -> Result<Answer, AskError> {
    let protocol = |why: &dyn std::fmt::Display| AskError::Protocol(why.to_string());
    match response.status {
        StatusCode::OK => {
            let found = cosignature::find(checkpoint, text, std::slice::from_ref(key));
            let found = found.map_err(|error| protocol(&error))?.into_iter().next();
            found.map(Answer::Cosigned).ok_or_else(|| protocol(&"no cosignature of the witness's key"))
        }
        StatusCode::CONFLICT => {
            let content_type = response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
            let size = text.strip_suffix('\n').and_then(accredit_ledger::witness::parse_size);
            let size = size.filter(|_| content_type == Some(SIZE_TYPE));
            size.map(Answer::Last).ok_or_else(|| protocol(&"a conflict without a size"))
        }
        StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::NotAPrefix),
        StatusCode::NOT_FOUND => Ok(Answer::UnknownLog),
        StatusCode::FORBIDDEN => Ok(Answer::UnknownKey),
        status => Err(protocol(&format!("status {}", status.as_u16()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: EGR-11
    #[test]
    fn a_witness_is_an_https_url_or_on_this_machine() {
        for (url, name) in [
            ("https://witness.example", "https://witness.example"),
            ("https://witness.example/w1/", "https://witness.example/w1"),
            ("http://127.0.0.1:9750", "http://127.0.0.1:9750"),
        ] {
            assert_eq!(WitnessClient::parse(url).map(|w| w.name()), Ok(name.to_owned()));
        }
        let clear = "http://witness.example/w1";
        assert_eq!(WitnessClient::parse(clear), Err(WitnessUrlError::Clear(clear.to_owned())));
        for url in [
            "",
            "witness.example",
            "https://",
            "https://w/a?b",
            "https://w/../a",
            "https://w//a",
            "https://w/a b",
        ] {
            assert_eq!(WitnessClient::parse(url), Err(WitnessUrlError::Form(url.to_owned())), "{url}");
        }
    }
}
