//! Repositories through a real `git http-backend` (gitprotocol-http), as a CGI process (RFC 3875) for each request.

use std::io;
use std::path::Path;
use std::process::{Command as Blocking, Stdio};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdout, Command};

use super::bodies::{Body, whole};
use super::service::is_post;

/// Bytes read from the process at a time.
const READ_BYTES: usize = 32 * 1024;

/// Makes a bare repository with one commit on `main`.
pub(crate) fn create(root: &Path, name: &str) -> io::Result<()> {
    let dir = root.join(format!("{name}.git"));
    std::fs::create_dir_all(&dir)?;
    let script = "git init -q --bare -b main . && git config http.receivepack true && \
        blob=$(printf 'The shop.\\n' | git hash-object -w --stdin) && \
        tree=$(printf '100644 blob %s\\tREADME\\n' \"$blob\" | git mktree) && \
        commit=$(git commit-tree -m 'The beginning' \"$tree\") && git update-ref refs/heads/main \"$commit\"";
    let mut command = Blocking::new("sh");
    command.args(["-c", script]).current_dir(&dir).stdin(Stdio::null());
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "sample").env(format!("GIT_{who}_EMAIL"), "sample@localhost");
    }
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("git made no repository: {}", String::from_utf8_lossy(&output.stderr))))
}

/// Passes a request to `git http-backend` and its answer back.
pub(crate) async fn backend(root: &Path, request: Request<Incoming>, path_info: &str) -> Response<Body> {
    run(root, request, path_info).await.unwrap_or_else(|error| {
        let mut response = Response::new(whole(format!("git: {error}\n")));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

async fn run(root: &Path, request: Request<Incoming>, path_info: &str) -> io::Result<Response<Body>> {
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path_info)
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("REQUEST_METHOD", request.method().as_str())
        .env("REMOTE_USER", "whoever has the key")
        .env("REMOTE_ADDR", "127.0.0.1");
    for (field, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-length", "CONTENT_LENGTH"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        match request.headers().get(field).and_then(|value| value.to_str().ok()) {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (mut to, from) = (child.stdin.take(), child.stdout.take());
    let has_body = is_post(&request);
    let mut body = request.into_body();
    tokio::spawn(async move {
        while let (true, Some(Ok(frame))) = (has_body, body.frame().await) {
            let (Some(to), Ok(piece)) = (to.as_mut(), frame.into_data()) else { continue };
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
    });
    let mut from = BufReader::new(from.ok_or_else(|| io::Error::other("no output to read"))?);
    let mut response = Response::new(whole(""));
    read_head(&mut from, &mut response).await?;
    let pieces = stream::unfold((from, child), |(mut from, child)| async move {
        let mut piece = vec![0; READ_BYTES];
        let read = from.read(&mut piece).await;
        match read {
            Ok(0) => None,
            Ok(bytes) => {
                piece.truncate(bytes);
                Some((Ok(Frame::data(Bytes::from(piece))), (from, child)))
            }
            Err(error) => Some((Err(error), (from, child))),
        }
    });
    *response.body_mut() = StreamBody::new(pieces).boxed_unsync();
    Ok(response)
}

/// Reads the fields that a CGI program writes before the body (RFC 3875 §6.3).
async fn read_head(from: &mut BufReader<ChildStdout>, response: &mut Response<Body>) -> io::Result<()> {
    let mut line = String::new();
    while from.read_line(&mut line).await? > 0 {
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(()) };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok());
            *response.status_mut() = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
        line.clear();
    }
    Ok(())
}
