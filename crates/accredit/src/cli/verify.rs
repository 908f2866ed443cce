//! Verification of a whole ledger on this machine: entries, tiles and signed heads are read from the server as they are
//! needed, recomputed by the ledger's own rules, and held against what is trusted here.

use accredit_client::routes;
use accredit_ledger::checkpoint;
use accredit_ledger::head::Head;
use accredit_ledger::note::VerifierKey;
use accredit_ledger::tile::{Bundle, Tile};
use accredit_ledger::verify::{Expected, Tail, VerifyError, verify};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::operator::Operator;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, Output};

/// Entries after which the progress line moves.
const PROGRESS_EVERY: u64 = 1_000;
/// Questions on their way: verification asks one at a time.
const QUESTIONS: usize = 1;

/// What is trusted here, and the head that is held against it.
pub(crate) struct Trusted {
    /// The key that heads are signed with.
    pub(crate) key: VerifierKey,
    /// The newest signed head, as the server gave it.
    pub(crate) latest: String,
    /// Signed heads from before.
    pub(crate) earlier: Vec<String>,
    /// The head kept outside the database.
    pub(crate) head: Option<Head>,
    /// Witnesses whose cosignatures were required and found.
    pub(crate) cosigned: Vec<String>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// Whether everything fits.
    pub(crate) ok: bool,
    /// Entries that were verified.
    entries: u64,
    /// Root of the tree over them, base64.
    root: String,
    /// Earlier heads that are prefixes.
    prefixes: u64,
    /// Witnesses that cosigned what was verified, where that was required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cosigned_by: Vec<String>,
    /// What does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What the server finds wrong with its own rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) server_says: Vec<String>,
    /// What was asked about, and how many entries name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<(String, u64)>,
    /// The head that was verified.
    #[serde(skip)]
    pub(crate) checkpoint: String,
}

impl Outcome {
    /// For a person.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = vec![("ledger", if self.ok { "whole" } else { "NOT WHOLE" }.to_owned())];
        lines.extend(self.problem.iter().map(|problem| ("problem", problem.clone())));
        lines.extend(self.server_says.iter().map(|problem| ("server says", problem.clone())));
        if self.ok {
            lines.push(("entries", self.entries.to_string()));
            lines.push(("root", self.root.clone()));
            lines.push(("earlier heads", format!("{} are prefixes", self.prefixes)));
            lines.extend(self.cosigned_by.iter().map(|witness| ("cosigned by", witness.clone())));
        }
        lines.extend(self.subject.iter().map(|(id, n)| ("about", format!("{id}: {n} of these entries"))));
        lines
    }
}

/// One thing that verification needs from the server, and where the answer goes.
struct Question {
    path: String,
    answer: oneshot::Sender<Result<Option<Vec<u8>>, Failure>>,
}

/// Verifies the server's ledger.
///
/// # Errors
/// When the ledger could not be read. What is wrong with it is no error but the [`Outcome`].
pub(crate) async fn ledger(
    trusted: Trusted,
    subject: Option<String>,
    operator: &Operator<'_>,
    out: Output,
) -> Result<Outcome, Failure> {
    let (questions, mut asked) = mpsc::channel::<Question>(QUESTIONS);
    let work = tokio::task::spawn_blocking(move || recompute(&trusted, subject, &Source { questions }, out));
    while let Some(question) = asked.recv().await {
        let _ = question.answer.send(fetch(operator, &question.path).await);
    }
    let outcome =
        work.await.map_err(|e| Failure::new(Exit::Error, "verify", "the verification broke off", e))?;
    out.progress("");
    outcome
}

/// The bytes at a path of the log; nothing when there are none.
async fn fetch(operator: &Operator<'_>, path: &str) -> Result<Option<Vec<u8>>, Failure> {
    match operator.raw(&routes::part(routes::TLOG, path)).await {
        Ok(raw) => Ok(Some(raw.bytes.to_vec())),
        Err(failure) if failure.exit() == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Asks from the thread that computes.
struct Source {
    questions: mpsc::Sender<Question>,
}

impl Source {
    fn get(&self, path: String) -> Result<Option<Vec<u8>>, Failure> {
        let gone = |_| Failure::new(Exit::Error, "verify", "the verification broke off", "nobody answers");
        let (answer, answered) = oneshot::channel();
        self.questions.blocking_send(Question { path, answer }).map_err(|e| gone(e.to_string()))?;
        answered.blocking_recv().map_err(|e| gone(e.to_string()))?
    }
}

fn recompute(
    trusted: &Trusted,
    subject: Option<String>,
    source: &Source,
    out: Output,
) -> Result<Outcome, Failure> {
    let keys = std::slice::from_ref(&trusted.key);
    let size = checkpoint::open(&trusted.latest, keys).map(|c| c.size()).unwrap_or(0);
    let mut entries = Entries { source, size, bundle: 0, held: Vec::new().into_iter(), read: 0, out };
    let mut about = 0_u64;
    let next = || {
        let bytes = entries.next()?;
        if let (Some(id), Some(bytes)) = (&subject, &bytes) {
            about += u64::from(names(bytes, id));
        }
        Ok::<_, Failure>(bytes)
    };
    let mut earlier = ordered(&trusted.earlier, keys).into_iter();
    let expected =
        Expected { log: keys, latest: &trusted.latest, head: trusted.head.as_ref(), tail: Tail::Count };
    let tile = |tile: Tile| source.get(tile.path());
    let verified = verify(&expected, next, tile, || Ok(earlier.next()));
    let subject = subject.map(|id| (id, about));
    let checkpoint = trusted.latest.clone();
    match verified {
        Ok(report) => Ok(Outcome {
            ok: true,
            entries: report.size,
            root: report.root.to_base64(),
            prefixes: report.checkpoints,
            cosigned_by: trusted.cosigned.clone(),
            problem: None,
            server_says: Vec::new(),
            subject,
            checkpoint,
        }),
        Err(VerifyError::Problem(problem)) => Ok(Outcome {
            ok: false,
            entries: 0,
            root: String::new(),
            prefixes: 0,
            cosigned_by: Vec::new(),
            problem: Some(problem.to_string()),
            server_says: Vec::new(),
            subject,
            checkpoint,
        }),
        Err(VerifyError::Read(failure)) => Err(failure),
    }
}

/// Earlier heads by their size. One that cannot be opened stays in front, so that it is looked at and named.
fn ordered(signed: &[String], keys: &[VerifierKey]) -> Vec<String> {
    let mut all: Vec<(u64, &String)> = signed
        .iter()
        .map(|text| (checkpoint::open(text, keys).map(|c| c.size()).unwrap_or(0), text))
        .collect();
    all.sort();
    all.into_iter().map(|(_, text)| text.clone()).collect()
}

/// Whether an entry names this id in one of its fields.
fn names(bytes: &[u8], id: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| holds(&value, id))
}

fn holds(value: &serde_json::Value, id: &str) -> bool {
    match value {
        serde_json::Value::String(text) => text == id,
        serde_json::Value::Array(items) => items.iter().any(|item| holds(item, id)),
        serde_json::Value::Object(fields) => fields.values().any(|field| holds(field, id)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
    }
}

/// The entries in order, a bundle at a time.
struct Entries<'a> {
    source: &'a Source,
    size: u64,
    bundle: u64,
    held: std::vec::IntoIter<Vec<u8>>,
    read: u64,
    out: Output,
}

impl Entries<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(entry) = self.held.next() {
            self.read += 1;
            if self.read.is_multiple_of(PROGRESS_EVERY) {
                self.out.progress(&format!("verifying {} of {} entries", self.read, self.size));
            }
            return Ok(Some(entry));
        }
        let Some(bundle) = Bundle::of_tree(self.bundle, self.size) else { return Ok(None) };
        let Some(bytes) = self.source.get(bundle.path())? else { return Ok(None) };
        let broken =
            |e| Failure::new(Exit::Error, "bundle", "the ledger is NOT WHOLE: entries cannot be read", e);
        let entries: Vec<Vec<u8>> =
            bundle.entries(&bytes).map_err(broken)?.into_iter().map(<[u8]>::to_vec).collect();
        self.bundle += 1;
        self.held = entries.into_iter();
        self.next()
    }
}
