//! The client: keep-alive connections that send one request after another (closed loop), or at set instants (open
//! loop, times counted from the instant at which a request should have gone out).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::figures::Times;
use crate::world::Entrance;
use crate::{Failure, child};

/// What one run of the client is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Who is asked.
    pub(crate) address: SocketAddr,
    /// Path of every request.
    pub(crate) path: String,
    /// What opens a connection to our gateway.
    pub(crate) entrance: Option<Entrance>,
    /// Connections.
    pub(crate) connections: usize,
    /// Requests a second, all connections together; `None`: as fast as answers come.
    pub(crate) rate: Option<f64>,
    /// How long, in milliseconds.
    pub(crate) for_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Answers with status 200.
    pub(crate) answers: u64,
    /// Other answers, and connections that broke.
    pub(crate) errors: u64,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// Times of the answers, in nanoseconds.
    pub(crate) times_ns: Vec<u64>,
}

/// Plays the client: one run for each line of input.
pub(crate) fn serve() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    while let Ok(run) = child::task::<Run>() {
        child::answer(&runtime.block_on(perform(&run))?)?;
    }
    Ok(())
}

/// Performs one run in this process.
pub(crate) async fn perform(run: &Run) -> Result<Outcome, Failure> {
    // Connections are opened before the clock runs.
    let mut open = Vec::with_capacity(run.connections);
    for _ in 0..run.connections {
        open.push(Connection::open(run).await?);
    }
    let begun = Instant::now();
    let until = begun + Duration::from_millis(run.for_ms);
    let mut working = tokio::task::JoinSet::new();
    for (nth, connection) in open.into_iter().enumerate() {
        let (nth, of) = (nth as f64, run.connections as f64);
        let pace =
            run.rate.map(|rate| (Duration::from_secs_f64(nth / rate), Duration::from_secs_f64(of / rate)));
        working.spawn(connection.work(begun, until, pace));
    }
    let mut outcome = Outcome { answers: 0, errors: 0, seconds: 0.0, times_ns: Vec::new() };
    let mut times = Times::default();
    while let Some(worked) = working.join_next().await {
        let (more, errors) = worked?;
        times.extend(more);
        outcome.errors += errors;
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome.times_ns = times.into_ns();
    outcome.answers = outcome.times_ns.len() as u64;
    Ok(outcome)
}

/// One connection and what it always sends.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection; to our gateway, as a runner does: attached with a token and a proof.
    pub(crate) async fn open(run: &Run) -> Result<Self, Failure> {
        let stream = TcpStream::connect(run.address).await?;
        stream.set_nodelay(true)?;
        let request =
            format!("GET {} HTTP/1.1\r\nhost: {}\r\naccept: */*\r\n\r\n", run.path, run.address).into_bytes();
        let mut connection = Self { stream, request, buffer: Vec::with_capacity(4_096) };
        if let Some(entrance) = &run.entrance {
            connection.stream.write_all(&entrance.attach(run.address)?).await?;
            let status = connection.head().await?.0;
            if status != 101 {
                return Err(format!("the gateway does not attach a connection: status {status}").into());
            }
        }
        Ok(connection)
    }

    async fn work(
        mut self,
        begun: Instant,
        until: Instant,
        pace: Option<(Duration, Duration)>,
    ) -> (Times, u64) {
        let mut times = Times::default();
        let mut due = pace.map(|(first, _)| begun + first);
        loop {
            if let Some(due) = due {
                tokio::time::sleep_until(due.into()).await;
            }
            let from = due.unwrap_or_else(Instant::now);
            if from >= until {
                return (times, 0);
            }
            match self.ask().await {
                Ok(200) => times.add(from.elapsed()),
                // A connection that answers otherwise is not measured any further.
                Ok(_) | Err(_) => return (times, 1),
            }
            due = due.zip(pace).map(|(due, (_, every))| due + every);
        }
    }

    /// One request and its whole answer. Gives the status.
    pub(crate) async fn ask(&mut self) -> Result<u16, Failure> {
        self.stream.write_all(&self.request).await?;
        let (status, length) = self.head().await?;
        while self.buffer.len() < length {
            self.fill().await?;
        }
        self.buffer.drain(..length);
        Ok(status)
    }

    /// One request whose answer has no end: reads until it is cut.
    pub(crate) async fn read_until_cut(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.request).await?;
        while self.fill().await.is_ok() {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Reads one head. Gives status and length of the body.
    async fn head(&mut self) -> Result<(u16, usize), Failure> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
                self.buffer.drain(..end + 4);
                let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("no status")?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                let length = length.map_or(Ok(0), |l| l.trim().parse())?;
                return Ok((status, length));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err("the connection was closed".into());
        }
        Ok(())
    }
}
