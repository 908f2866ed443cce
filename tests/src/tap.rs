//! Raw bytes into the gateway from inside a task: the program `tap` runs under `accredit run` and copies each connection
//! to its socket to the run's proxy. What a test writes is what the gateway's parser reads.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Accredit, Run, Said, sibling, wait_for};

/// How long an answer may take.
const READ_TIME_MAX: Duration = Duration::from_secs(15);
/// Largest answer that is kept, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A task that holds the way in open. It ends when this is dropped.
pub struct Tap {
    socket: PathBuf,
    runner: Option<Child>,
    /// The environment that a command has in this task.
    pub environment: BTreeMap<String, String>,
}

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its head, as it came.
    pub head: String,
    /// Its body, without the framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// Every value of a field, by its name in lower case.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The `code` of a refusal.
    #[must_use]
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Tap {
    /// Starts a task that holds the way in open.
    ///
    /// # Panics
    /// When the task does not start.
    #[track_caller]
    #[must_use]
    pub fn start(accredit: &Accredit, run: &Run) -> Self {
        let count = std::fs::read_dir(accredit.scratch()).map_or(0, Iterator::count);
        let socket = accredit.scratch().join(format!("tap-{count}"));
        let (program, path) = (sibling("tap"), socket.display().to_string());
        let mut command = run.around(accredit, &[program.as_os_str(), path.as_ref()]);
        let log = std::fs::File::create(socket.with_extension("err")).expect("a file");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut runner = command.spawn().expect("the runner can be started");
        wait_for(|| {
            if let Some(status) = runner.try_wait().expect("a child can be waited for") {
                let said = std::fs::read_to_string(socket.with_extension("err")).unwrap_or_default();
                panic!("the runner ended with {status}:\n{said}");
            }
            UnixStream::connect(&socket).ok()
        });
        let environment = wait_for(|| environment_of(runner.id(), &path));
        Self { socket, runner: Some(runner), environment }
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.environment["ACCREDIT_TASK"]
    }

    /// The process of `accredit run`.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn runner(&self) -> u32 {
        self.runner.as_ref().expect("it runs").id()
    }

    /// A new connection to the run's proxy.
    ///
    /// # Panics
    /// When the tap has gone.
    #[track_caller]
    #[must_use]
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("the tap listens");
        stream.set_read_timeout(Some(READ_TIME_MAX)).expect("a timeout");
        stream
    }

    /// Sends bytes on a new connection and reads one answer. `None` when the connection ended without one.
    #[track_caller]
    #[must_use]
    pub fn send(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        // The gateway may have closed already: then its answer says why.
        let _ = stream.write_all(bytes);
        read_answer(&mut stream).ok()
    }

    /// A tunnel to this host and port, with TLS inside that names `server_name`.
    ///
    /// # Errors
    /// When the tunnel is refused or the handshake fails.
    ///
    /// # Panics
    /// When the run has no bundle of certificates.
    pub fn tunnel(
        &self,
        authority: &str,
        server_name: &str,
    ) -> io::Result<StreamOwned<ClientConnection, UnixStream>> {
        let mut stream = self.connect();
        write!(stream, "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")?;
        let answer = read_head(&mut stream)?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(answer));
        }
        let pem = std::fs::read(&self.environment["SSL_CERT_FILE"]).expect("a bundle");
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(server_name.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut tunnel = StreamOwned::new(tls, stream);
        while tunnel.conn.is_handshaking() {
            tunnel.conn.complete_io(&mut tunnel.sock)?;
        }
        Ok(tunnel)
    }

    /// Ends the task in order and gives what the runner said.
    ///
    /// # Panics
    /// When the runner cannot be waited for.
    #[track_caller]
    pub fn end(mut self) -> Said {
        let runner = self.runner.take().expect("it runs");
        let output = runner.wait_with_output().expect("its end");
        let mut said = Said::of(&output);
        said.stderr = std::fs::read_to_string(self.socket.with_extension("err")).unwrap_or_default();
        said
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(mut runner) = self.runner.take() {
            drop(runner.stdin.take());
            let _ = runner.wait();
        }
    }
}

/// The environment of the tap below this runner, once it is there.
fn environment_of(runner: u32, socket: &str) -> Option<BTreeMap<String, String>> {
    let ours = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == socket.as_bytes())
    };
    let pid = crate::harness::descendants(runner).into_iter().find(ours)?;
    let text = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let pairs = String::from_utf8_lossy(&text).into_owned();
    let map: BTreeMap<_, _> = pairs
        .split('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    map.contains_key("ACCREDIT_TASK").then_some(map)
}

/// Reads one answer with its body, whatever frames it.
///
/// # Errors
/// When the connection ends before an answer does, or the answer is malformed.
pub fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    loop {
        let head = read_head(stream)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {head}")))?;
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let mut answer = Answer { status, head, body: Vec::new() };
        answer.body = read_body(stream, &answer)?;
        return Ok(answer);
    }
}

fn read_body(stream: &mut impl Read, answer: &Answer) -> io::Result<Vec<u8>> {
    if matches!(answer.status, 101 | 204 | 304) {
        return Ok(Vec::new());
    }
    if answer.values("transfer-encoding") == ["chunked"] {
        return read_chunks(stream);
    }
    if let Some(length) = answer.values("content-length").first() {
        let length = length.parse::<usize>().ok().filter(|length| *length <= ANSWER_BYTES_MAX);
        let mut body = vec![0; length.ok_or_else(|| io::Error::other("a length that nobody can read"))?];
        stream.read_exact(&mut body)?;
        return Ok(body);
    }
    let mut body = Vec::new();
    stream.read_to_end(&mut body)?;
    Ok(body)
}

fn read_chunks(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        if size == 0 {
            while !read_line(stream)?.trim_end().is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        if start + size > ANSWER_BYTES_MAX {
            return Err(io::Error::other("an answer without end"));
        }
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        read_line(stream)?;
    }
}

fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = String::new();
    loop {
        let line = read_line(stream)?;
        if line == "\r\n" {
            return Ok(head);
        }
        head += &line;
    }
}

fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
