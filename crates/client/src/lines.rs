//! An answer that arrives line by line (JSON lines), for as long as the server goes on.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::error::CallError;

/// Longest line, in bytes: a ledger entry has at most 65,535, and JSON around it.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// The lines of one answer.
#[derive(Debug)]
pub struct Lines {
    at: String,
    body: Incoming,
    held: BytesMut,
}

impl Lines {
    pub(crate) fn new(at: String, body: Incoming) -> Self {
        Self { at, body, held: BytesMut::new() }
    }

    /// The next line as text, without its end; `None` when the server has ended the answer. Empty lines, which keep
    /// a connection awake, are skipped. Safe to drop while it waits.
    ///
    /// # Errors
    /// [`CallError::Broken`], or [`CallError::Protocol`] for a line that is too long or not UTF-8.
    pub async fn next_text(&mut self) -> Result<Option<String>, CallError> {
        loop {
            while let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                let line = self.held.split_to(end);
                self.held.advance(1);
                if !line.is_empty() {
                    return self.text(&line).map(Some);
                }
            }
            if self.held.len() > LINE_BYTES_MAX {
                return Err(self.wrong("a line is too long"));
            }
            match self.body.frame().await {
                Some(frame) => {
                    let frame = frame.map_err(|source| CallError::Broken { at: self.at.clone(), source })?;
                    frame.into_data().into_iter().for_each(|data| self.held.extend_from_slice(&data));
                }
                None if self.held.is_empty() => return Ok(None),
                None => {
                    let rest = self.held.split();
                    return self.text(&rest).map(Some);
                }
            }
        }
    }

    /// The next line, read as what it stands for.
    ///
    /// # Errors
    /// As [`Self::next_text`], and [`CallError::Protocol`] for a line of another form.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CallError> {
        let Some(line) = self.next_text().await? else { return Ok(None) };
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|_| self.wrong("a line is not of the form that was expected"))
    }

    fn text(&self, line: &[u8]) -> Result<String, CallError> {
        String::from_utf8(line.to_vec()).map_err(|_| self.wrong("a line is not UTF-8"))
    }

    fn wrong(&self, why: &str) -> CallError {
        CallError::Protocol { at: self.at.clone(), why: why.to_owned() }
    }
}
