//! An agent inside the test: a key of its own, tasks over the control plane, connections attached to the gateway as a
//! runner attaches them. It makes many requests a second and tells exactly what was answered, which no client does.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use accredit_identity::assertion;
use accredit_identity::dpop::mint_proof;
use accredit_identity::key::SigningKey;
use accredit_identity::spiffe::SpiffeId;
use accredit_identity::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::Accredit;
use crate::journal::{What, now_us};
use crate::world::OWNER;

/// How long one answer may take. Longer than any fault here lasts.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// 16 random bytes.
#[must_use]
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("a machine has randomness");
    bytes
}

fn now() -> Timestamp {
    Timestamp::from_ms(now_us() / 1_000)
}

/// A registered agent and its key.
pub struct Agent {
    id: SpiffeId,
    key: Arc<SigningKey>,
    /// What control plane and gateway are called, whichever replica answers.
    url: String,
    gateway_url: String,
    /// Where its own connections go.
    to: (SocketAddr, SocketAddr),
    patience: Duration,
}

/// A started task: its id and its token.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its id.
    pub id: String,
    token: String,
}

impl Task {
    /// What its token claims, unverified.
    ///
    /// # Panics
    /// When it is no JWT.
    #[must_use]
    pub fn claims(&self) -> Value {
        use base64::Engine as _;
        let claims = self.token.split('.').nth(1).expect("three parts");
        let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether it is Accredit's own, and not the upstream's.
    pub is_ours: bool,
}

impl Answer {
    /// A text of its JSON body.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get(field)?.as_str()?.to_owned())
    }
}

impl Agent {
    /// Registers an agent of this name with a new key.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    #[must_use]
    pub fn register(accredit: &Accredit, name: &str) -> Self {
        let key = SigningKey::generate().expect("a key");
        let file = accredit.scratch().join(format!("{name}.pub.pem"));
        std::fs::write(&file, key.public().to_pem()).expect("a file");
        let file = file.display().to_string();
        let add = ["agent", "add", name, "--owner", OWNER, "--environment", "test", "--public-key", &file];
        let said = accredit.json(&add);
        let id = said["spiffe_id"].as_str().and_then(|id| SpiffeId::parse(id).ok()).expect("a SPIFFE ID");
        Self {
            id,
            key: Arc::new(key),
            url: accredit.url(),
            gateway_url: accredit.gateway_url(),
            to: (accredit.listen, accredit.gateway),
            patience: ANSWER_TIME_MAX,
        }
    }

    /// The same agent, which takes a connection for broken that says nothing for so long.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let id = self.id.to_string();
        id.rsplit('/').next().unwrap_or(&id).to_owned()
    }

    /// The same agent, whose connections a balancer leads to this replica.
    #[must_use]
    pub fn at(&self, replica: &Accredit) -> Self {
        Self {
            id: self.id.clone(),
            key: Arc::clone(&self.key),
            url: self.url.clone(),
            gateway_url: self.gateway_url.clone(),
            to: (replica.listen, replica.gateway),
            patience: self.patience,
        }
    }

    /// The same agent, whose connections go to a balancer: to the control plane and to the gateway.
    #[must_use]
    pub fn through(self, control: SocketAddr, gateway: SocketAddr) -> Self {
        Self { to: (control, gateway), ..self }
    }

    /// Starts a task with this boundary.
    ///
    /// # Errors
    /// When the control plane cannot be reached or says no.
    pub fn start(&self, boundary: &[&str], ttl_s: u64) -> io::Result<Task> {
        self.start_with(&json!({ "boundary": boundary, "ttl_s": ttl_s, "requested_by": OWNER }))
    }

    /// Starts a task that another one hands down, whose token was given to this agent.
    ///
    /// # Errors
    /// When the control plane cannot be reached or says no.
    pub fn start_below(&self, parent: &Task, wanted: &Value) -> io::Result<Task> {
        let mut wanted = wanted.clone();
        wanted["parent_token"] = Value::from(parent.token.clone());
        self.start_with(&wanted)
    }

    /// Starts a task with what is wanted beside the agent's proof. The error names what was answered.
    ///
    /// # Errors
    /// When the control plane cannot be reached or says no.
    pub fn start_with(&self, wanted: &Value) -> io::Result<Task> {
        let (answer, started) = self.ask_for(wanted, "")?;
        match (started["task"]["id"].as_str(), started["token"]["access_token"].as_str()) {
            (Some(id), Some(token)) => Ok(Task { id: id.to_owned(), token: token.to_owned() }),
            _ => Err(io::Error::other(format!("no task: {answer} {started}"))),
        }
    }

    /// Asks for a task with more fields in the head; status and body of the answer.
    ///
    /// # Errors
    /// When the control plane cannot be reached.
    pub fn ask_for(&self, wanted: &Value, fields: &str) -> io::Result<(u16, Value)> {
        let url = format!("{}/v1/tasks", self.url);
        let broken = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
        let assertion =
            assertion::mint(&self.id, &self.url, &self.key, now(), random()).map_err(|e| broken(&e))?;
        let proof = mint_proof(&self.key, "POST", &url, None, now(), random()).map_err(|e| broken(&e))?;
        let mut body = json!({
            "client_assertion": assertion,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "purpose": "keep working whatever happens",
            "workflow": "FAULT-1",
        });
        for (field, value) in wanted.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        let body = body.to_string();
        let mut connection = Connection::open(self.to.0, self.patience)?;
        let head = format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ndpop: {proof}\r\n{fields}content-length: {}\r\n\r\n",
            authority(&self.url),
            body.len()
        );
        let answer = connection.exchange(format!("{head}{body}").as_bytes())?;
        Ok((answer.status, serde_json::from_slice(&answer.body).map_err(|e| broken(&e))?))
    }

    /// Opens a connection through the gateway in the name of a task.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; the error then names the code.
    pub fn attach(&self, task: &Task) -> io::Result<Connection> {
        let mut connection = Connection::open(self.to.1, self.patience)?;
        let answer = connection.exchange(self.attach_request(task)?.as_bytes())?;
        match answer.status {
            101 => Ok(connection),
            status => Err(io::Error::other(format!("{status} {}", answer.text("code").unwrap_or_default()))),
        }
    }

    /// Sends a request that attaches a connection as it stands; the status of its answer.
    ///
    /// # Errors
    /// When the gateway cannot be reached.
    pub fn send_attach(&self, request: &str) -> io::Result<u16> {
        Ok(Connection::open(self.to.1, self.patience)?.exchange(request.as_bytes())?.status)
    }

    /// The request that attaches a connection.
    ///
    /// # Errors
    /// When no proof can be made.
    pub fn attach_request(&self, task: &Task) -> io::Result<String> {
        self.attach_request_with(&self.key, task)
    }

    /// Presents the token of a task with a key that is not its own; the status of the answer.
    ///
    /// # Errors
    /// When the gateway cannot be reached.
    ///
    /// # Panics
    /// When this machine makes no keys.
    pub fn attach_as_a_thief(&self, task: &Task) -> io::Result<u16> {
        let key = SigningKey::generate().expect("a key");
        self.send_attach(&self.attach_request_with(&key, task)?)
    }

    fn attach_request_with(&self, key: &SigningKey, task: &Task) -> io::Result<String> {
        let url = format!("{}/attach", self.gateway_url);
        let proof = mint_proof(key, "POST", &url, Some(&task.token), now(), random());
        let proof = proof.map_err(|e| io::Error::other(e.to_string()))?;
        let (gateway, token) = (authority(&self.gateway_url), &task.token);
        Ok(format!(
            "POST /attach HTTP/1.1\r\nhost: {gateway}\r\nauthorization: DPoP {token}\r\ndpop: {proof}\r\ncontent-length: 0\r\n\r\n"
        ))
    }

    /// Where its connections go.
    #[must_use]
    pub const fn gateway(&self) -> SocketAddr {
        self.to.1
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, authority)| authority)
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(to: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Reads something of a resource. Gives the trace id that was sent, and the answer.
    ///
    /// # Errors
    /// When the connection breaks: then nothing was promised.
    pub fn get(&mut self, resource: &str, path: &str) -> io::Result<(String, Answer)> {
        let trace = hex(&random());
        let answer = self.exchange(get_request(resource, path, &trace).as_bytes())?;
        Ok((trace, answer))
    }

    /// Reads something that has no end, until it ends. Gives how many bytes came.
    ///
    /// # Errors
    /// When the connection breaks before anything came.
    pub fn drain(&mut self, resource: &str, path: &str) -> io::Result<u64> {
        self.stream.write_all(get_request(resource, path, &hex(&random())).as_bytes())?;
        let (mut some, mut count) = ([0; 64 * 1024], 0);
        loop {
            match self.stream.read(&mut some) {
                Ok(0) => return Ok(count),
                Ok(n) => count += n as u64,
                Err(error) if count == 0 => return Err(error),
                Err(_) => return Ok(count),
            }
        }
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request)?;
        loop {
            if let Some((answer, length)) = read_answer(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(answer);
            }
            let mut some = [0; 16 * 1024];
            match self.stream.read(&mut some)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.buffer.extend_from_slice(&some[..n]),
            }
        }
    }
}

/// A read of a resource on an attached connection.
#[must_use]
pub fn get_request(resource: &str, path: &str, trace: &str) -> String {
    let span = hex(&random()[..8]);
    format!("GET /u/{resource}{path} HTTP/1.1\r\nhost: gateway\r\ntraceparent: 00-{trace}-{span}-01\r\n\r\n")
}

/// What an answer to a request with this trace id promises; nothing when it broke on the way.
#[must_use]
pub fn promise(trace: &str, answer: &Answer) -> Option<What> {
    let trace = trace.to_owned();
    match (answer.is_ours, answer.status) {
        (false, status) => Some(What::Used { trace, status }),
        // 502 and 504: it was let out, and the upstream did not answer.
        (true, 502 | 504) => None,
        (true, _) => {
            let code = answer.text("code").unwrap_or_default();
            Some(What::Refused { trace, code, decision: answer.text("decision") })
        }
    }
}

/// The first whole answer of these bytes, and how long it is.
///
/// # Errors
/// When they are no answer, or too long.
pub fn read_answer(bytes: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let wrong = || io::Error::other("not an answer");
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if bytes.len() > ANSWER_BYTES_MAX { Err(wrong()) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Ok(0), |l| l.trim().parse()).map_err(|_| wrong())?;
    let whole = end + 4 + length;
    if length > ANSWER_BYTES_MAX || head.contains("transfer-encoding:") {
        return Err(wrong());
    }
    let is_ours = head.contains("content-type: application/problem+json");
    let answer = || Answer { status, body: bytes[end + 4..whole].to_vec(), is_ours };
    Ok((bytes.len() >= whole).then(|| (answer(), whole)))
}

/// Bytes in hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_and_ours_are_told_from_the_upstreams() {
        let ours = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: 28\r\n\r\n{\"code\":\"x\",\"decision\":\"d\"}\n";
        assert!(read_answer(&ours[..ours.len() - 1]).expect("the beginning of one").is_none());
        let (answer, length) = read_answer(ours).expect("an answer").expect("a whole one");
        assert_eq!((answer.status, answer.is_ours, length), (403, true, ours.len()));
        let decision = Some("d".to_owned());
        assert_eq!(
            promise("t", &answer),
            Some(What::Refused { trace: "t".into(), code: "x".into(), decision })
        );
        let (answer, _) =
            read_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP").expect("one").expect("whole");
        assert_eq!(promise("t", &answer), Some(What::Used { trace: "t".into(), status: 200 }));
        assert!(read_answer(b"HTTP/1.1 x\r\n\r\n").is_err());
    }
}
