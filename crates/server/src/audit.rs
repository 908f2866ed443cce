//! The ledger over HTTP: search, follow, export, prove, verify; and its own paths for any tlog client.

use std::time::{Duration, Instant};

use accredit_api::Page;
use accredit_api::audit::{
    AuditKey, AuditQuery, CheckpointQuery, ConsistencyProof, ConsistencyQuery, Entry, JSON_LINES,
    VerifyReport,
};
use accredit_authority::audit::{AuditEntry, AuditFilter, TlogPart};
use accredit_core::text::Workflow;
use accredit_core::time::Timestamp;
use accredit_identity::id::{AgentName, CredentialName, ResourceName, TaskId};
use axum::Json as Reply;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::access::By;
use crate::app::App;
use crate::extract::{Params, canonical, line_opt, moment, number_cursor, page_size, word_opt};
use crate::problem::Failure;

/// How soon a follower sees a new entry.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A quiet stream carries an empty line this often, so that a connection that is gone is noticed.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// Characters of the longest kind that can be searched for.
const KIND_CHARS_MAX: usize = 64;
/// Characters of the longest outcome that can be searched for.
const OUTCOME_CHARS_MAX: usize = 32;

/// The largest size that can be asked about: every JSON reader can hold it.
const SIZE_MAX: u64 = (1 << 53) - 1;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const LINES: HeaderValue = HeaderValue::from_static(JSON_LINES);

fn wire(found: &AuditEntry) -> Entry {
    Entry {
        seq: found.seq,
        time: Timestamp::from_ms(found.entry.at()).to_string(),
        kind: found.entry.kind().to_owned(),
        fields: found.entry.body().clone(),
    }
}

/// Searches the ledger, newest first
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(AuditQuery), responses((status = 200, body = Page<Entry>)))]
pub(crate) async fn search(
    State(app): State<App>,
    _: By,
    Params(query): Params<AuditQuery>,
) -> Result<Reply<Page<Entry>>, Failure> {
    let limit = page_size(query.limit)?;
    let filter = AuditFilter {
        since: query.since.as_deref().map(|t| moment("since", t)).transpose()?,
        until: query.until.as_deref().map(|t| moment("until", t)).transpose()?,
        before: number_cursor(query.cursor.as_deref())?,
        limit: limit + 1,
        kind: word_opt("kind", query.kind, KIND_CHARS_MAX)?,
        task: canonical::<TaskId>("task", query.task.as_deref())?,
        agent: canonical::<AgentName>("agent", query.agent.as_deref())?,
        workflow: line_opt::<Workflow>("workflow", query.workflow.as_deref())?.map(|w| w.to_string()),
        resource: canonical::<ResourceName>("resource", query.resource.as_deref())?,
        credential: canonical::<CredentialName>("credential", query.credential.as_deref())?,
        outcome: word_opt("outcome", query.outcome, OUTCOME_CHARS_MAX)?,
    };
    let mut found = app.authority().search_audit(filter).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|e| e.seq.to_string());
    Ok(Reply(Page { items: found.iter().map(wire).collect(), next }))
}

/// A place in the ledger, as a path spells it. What cannot be one is not there.
fn place(text: &str) -> Result<u64, Failure> {
    number_cursor(Some(text)).ok().flatten().ok_or_else(|| Failure::not_found("audit entry"))
}

/// Shows an entry
#[utoipa::path(get, path = "/v1/audit/entries/{seq}", tag = "audit", params(("seq" = u64, Path, description = "Place of the entry")), responses((status = 200, body = Entry)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: By,
    Path(seq): Path<String>,
) -> Result<Reply<Entry>, Failure> {
    Ok(Reply(wire(&app.authority().audit_entry(place(&seq)?).await?)))
}

struct Follower {
    app: App,
    next: u64,
    /// Where an export ends; `None`: it goes on.
    end: Option<u64>,
    wrote_at: Instant,
}

impl Follower {
    /// The next lines; none at the end, or when the ledger cannot be read: then the stream breaks off.
    async fn lines(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        loop {
            if self.end.is_some_and(|end| self.next >= end) {
                return None;
            }
            let step = match self.app.authority().follow_audit(self.next).await {
                Ok(step) => step,
                Err(fault) => return Some(Err(std::io::Error::other(fault.code))),
            };
            self.next = step.next;
            let wanted = step.entries.iter().filter(|e| self.end.is_none_or(|end| e.seq < end));
            let mut text = Vec::new();
            for entry in wanted {
                serde_json::to_writer(&mut text, &wire(entry)).ok()?;
                text.push(b'\n');
            }
            if text.is_empty() && self.wrote_at.elapsed() > QUIET_MAX {
                text.push(b'\n');
            }
            if !text.is_empty() {
                self.wrote_at = Instant::now();
                return Some(Ok(text.into()));
            }
            if step.at_end {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

fn stream(app: App, next: u64, end: Option<u64>) -> Response {
    let follower = Follower { app, next, end, wrote_at: Instant::now() };
    let lines = futures_util::stream::unfold(follower, |mut follower| async move {
        let lines = follower.lines().await?;
        Some((lines, follower))
    });
    ([(header::CONTENT_TYPE, LINES)], Body::from_stream(lines)).into_response()
}

/// Follows the ledger
///
/// JSON lines of new entries from now on; an empty line now and then.
#[utoipa::path(get, path = "/v1/audit/tail", tag = "audit", responses((status = 200, description = "JSON lines of `Entry`", content_type = "application/jsonl", body = Entry)))]
pub(crate) async fn tail(State(app): State<App>, _: By) -> Result<Response, Failure> {
    let next = app.authority().ledger_size().await?;
    Ok(stream(app, next, None))
}

/// Exports the ledger
///
/// JSON lines of every entry up to the one that records the export.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", responses((status = 200, description = "JSON lines of `Entry`", content_type = "application/jsonl", body = Entry)))]
pub(crate) async fn export(State(app): State<App>, By(by): By) -> Result<Response, Failure> {
    let last = app.authority().begin_export(&by, 0).await?;
    Ok(stream(app, 0, Some(last + 1)))
}

/// Verifies the whole ledger
#[utoipa::path(post, path = "/v1/audit/verify", tag = "audit", responses((status = 200, body = VerifyReport)))]
pub(crate) async fn verify(State(app): State<App>, _: By) -> Result<Reply<VerifyReport>, Failure> {
    let started = Instant::now();
    let found = app.authority().verify_audit().await?;
    Ok(Reply(VerifyReport {
        ok: found.ok,
        entries: found.size + found.unsigned,
        size: found.size,
        root: found.root,
        problems: found.problem.into_iter().collect(),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }))
}

/// Gives the newest checkpoint (C2SP tlog-checkpoint), with the cosignatures that it has
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit", params(CheckpointQuery), responses((status = 200, description = "A signed note", content_type = "text/plain", body = String)))]
pub(crate) async fn checkpoint(
    State(app): State<App>,
    _: By,
    Params(query): Params<CheckpointQuery>,
) -> Result<Response, Failure> {
    let note = match query.cosigned_by {
        Some(witness) => app.authority().cosigned_checkpoint(&witness).await?,
        None => app.authority().audit_checkpoint().await?,
    };
    Ok(([(header::CONTENT_TYPE, TEXT)], note).into_response())
}

/// Gives the key that checkpoints are verified with
#[utoipa::path(get, path = "/v1/audit/key", tag = "audit", responses((status = 200, body = AuditKey)))]
pub(crate) async fn key(State(app): State<App>, _: By) -> Result<Reply<AuditKey>, Failure> {
    Ok(Reply(AuditKey { verifier: app.authority().audit_key()? }))
}

/// Gives the evidence for one entry in one file (C2SP tlog-proof)
#[utoipa::path(get, path = "/v1/audit/proof/{seq}", tag = "audit", params(("seq" = u64, Path, description = "Place of the entry")), responses((status = 200, description = "A `.tlog-proof` file", content_type = "text/plain", body = String)))]
pub(crate) async fn proof(
    State(app): State<App>,
    _: By,
    Path(seq): Path<String>,
) -> Result<Response, Failure> {
    Ok(([(header::CONTENT_TYPE, TEXT)], app.authority().audit_proof(place(&seq)?).await?).into_response())
}

/// Proves that an earlier ledger is a prefix of a later one
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "audit", params(ConsistencyQuery), responses((status = 200, body = ConsistencyProof)))]
pub(crate) async fn consistency(
    State(app): State<App>,
    _: By,
    Params(query): Params<ConsistencyQuery>,
) -> Result<Reply<ConsistencyProof>, Failure> {
    if query.old == 0 || query.old.max(query.new) > SIZE_MAX {
        return Err(Failure::field("old", format!("expected sizes from 1 to {SIZE_MAX}")));
    }
    let proof = app.authority().audit_consistency(query.old, query.new).await?;
    Ok(Reply(ConsistencyProof { old: query.old, new: query.new, proof }))
}

/// Gives a part of the ledger in its own format (C2SP tlog-tiles)
#[utoipa::path(get, path = "/v1/audit/tlog/{path}", tag = "audit", params(("path" = String, Path, description = "`checkpoint`, `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`")), responses((status = 200, description = "The part", content_type = "application/octet-stream", body = String)))]
pub(crate) async fn tlog(
    State(app): State<App>,
    _: By,
    Path(path): Path<String>,
) -> Result<Response, Failure> {
    Ok(match app.authority().tlog_part(&path).await? {
        TlogPart::Checkpoint(note) => ([(header::CONTENT_TYPE, TEXT)], note).into_response(),
        TlogPart::Bytes(bytes) => ([(header::CONTENT_TYPE, BYTES)], bytes).into_response(),
    })
}
