//! P7: the ledger with many entries: append, integrate, verify everything, prove one entry, and search the uses of
//! one credential.

use std::time::{Duration, Instant};

use accredit_core::event::Event;
use accredit_core::id::CredentialName;
use accredit_ledger::checkpoint::Checkpoint;
use accredit_ledger::hash::leaf_hash;
use accredit_ledger::note::Signer;
use accredit_ledger::tree::RightEdge;
use accredit_store::{EntryFilter, Store, StoreConfig, StoreError};

use crate::decide::tenant;
use crate::figures::{Times, short};
use crate::report::{Report, Table};
use crate::world::random;
use crate::{Failure, Scale, machine};

/// Entries of one change while the ledger is filled.
const PER_CHANGE: usize = 2_000;
/// Entries put into the tree at a time, as the authority does it.
const PER_STEP: usize = 4_096;
/// Credentials that the uses are spread over.
const CREDENTIALS: usize = 200;
/// Name of the log.
const ORIGIN: &str = "bench.test/ledger";

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let entries = scale.of(1_000_000, 5_000);
    let title = format!(
        "Ledger of {entries} entries (P7: verify at most 5 s, a proof at most 5 ms, uses at most 50 ms)"
    );
    let mut table = Table::new(title, &["step", "in all", "for one"]);
    let mut add = |step: &str, whole: Duration, count: usize| {
        let one = whole.as_secs_f64() * 1e6 / count as f64;
        table.row([step.to_owned(), format!("{:.2} s", whole.as_secs_f64()), format!("{} us", short(one))]);
    };
    let begun = Instant::now();
    let mut edge = RightEdge::empty();
    let leaf = [b'x'; 512];
    for _ in 0..entries {
        edge.push(leaf_hash(&leaf), |_, _| {});
    }
    add("append in memory, leaf of 512 bytes", begun.elapsed(), entries);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (rest, notes) = runtime.block_on(stored(directory.path(), entries, scale))?;
    for (step, whole, count) in rest {
        add(step, whole, count);
    }
    notes.into_iter().for_each(|note| table.note(note));
    report.add(&table);
    Ok(())
}

type Steps = Vec<(&'static str, Duration, usize)>;

async fn stored(
    directory: &std::path::Path,
    entries: usize,
    scale: Scale,
) -> Result<(Steps, Vec<String>), Failure> {
    let path = directory.join("accredit.db");
    let head_path = directory.join("ledger.head");
    let store = Store::open(StoreConfig { path: path.clone(), head_path, readers: 4, queue_max: 1_000 })?;
    let mut steps = Steps::new();

    let begun = Instant::now();
    for first in (0..entries).step_by(PER_CHANGE) {
        let tenant = tenant()?;
        let change = store.change(move |tx| -> Result<(), StoreError> {
            if first == 0 {
                tx.ensure_tenant(&tenant)?;
            }
            (first..entries.min(first + PER_CHANGE)).try_for_each(|n| tx.append(event(&tenant, n)).map(drop))
        });
        change.await?;
    }
    steps.push(("append, durable, 2,000 a change", begun.elapsed(), entries));

    let begun = Instant::now();
    while store.integrate(PER_STEP).await?.size < entries as u64 {}
    steps.push(("integrate into the tree", begun.elapsed(), entries));

    let signer = Signer::from_seed(ORIGIN, &[7; 32])?;
    store.checkpoint(|size, root| Checkpoint::new(ORIGIN, size, *root)?.sign(&signer)).await?;
    let key = signer.verifier().clone();
    let begun = Instant::now();
    let verified = store.verify_all(vec![key], |_| {}).await?;
    steps.push(("verify everything", begun.elapsed(), entries));
    if verified.size != entries as u64 {
        return Err(format!("only {} entries were verified", verified.size).into());
    }

    let mut notes = Vec::new();
    let (mut proofs, mut searches) = (Times::default(), Times::default());
    let rounds = scale.of(1_000, 20);
    for n in 0..rounds {
        let (seq, size) = ((n * 7_919 % entries) as u64, entries as u64);
        let begun = Instant::now();
        store.read(move |view| view.inclusion_proof(seq, size)).await?;
        proofs.add(begun.elapsed());
        let credential = Some(credential(n)?.to_string());
        let filter =
            EntryFilter { tenant: Some(tenant()?), credential, limit: 100, ..EntryFilter::default() };
        let begun = Instant::now();
        let found = store.read(move |view| view.entries(&filter)).await?;
        searches.add(begun.elapsed());
        if found.is_empty() {
            return Err("a search found nothing".into());
        }
    }
    for (what, times) in
        [("prove one entry", &mut proofs), ("newest 100 uses of one credential", &mut searches)]
    {
        let [p50, p99, _] = times.usual_us().map(short);
        notes.push(format!("{what}: p50 {p50} us, p99 {p99} us over {rounds}"));
    }
    // What was written last may still stand in the write-ahead log.
    let log = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |file| file.len());
    let bytes = std::fs::metadata(&path)?.len() + log;
    notes.push(format!("database: {} MB, {} bytes an entry", bytes / 1_000_000, bytes / entries as u64));
    Ok((steps, notes))
}

fn credential(number: usize) -> Result<CredentialName, Failure> {
    Ok(CredentialName::parse(&format!("key-{}", number % CREDENTIALS))?)
}

/// An entry as a use writes it.
pub(crate) fn event(tenant: &accredit_core::id::TenantName, number: usize) -> Event {
    use accredit_core::id::DecisionId;
    Event::new(tenant, "action.decided")
        .with("decision", DecisionId::from_random(random()))
        .with("agent", format!("agent-{}", number % 50))
        .with("task", format!("t_{:026}", number / 100))
        .with("purpose", "measure what it costs")
        .with("workflow", format!("BENCH-{}", number % 1_000))
        .with("operation", "http.get")
        .with("effect", "read")
        .with("resource", "service")
        .with("credential", format!("key-{}", number % CREDENTIALS))
        .with("method", "GET")
        .with("scheme", "https")
        .with("host", "service.bench.test")
        .with_number("port", 443)
        .with("path", "/v1/orders")
        .with("request_digest", "a".repeat(64))
        .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .with("outcome", "allow")
        .with("code", "allowed")
        .with("mode", "enforce")
        .with_flag("enforced", true)
        .with_list("policies", ["starter/use-within-boundary"])
        .with("policy_set", "b".repeat(64))
        .with("facts", "c".repeat(64))
        .with_number("now", u64::try_from(machine::now().as_ms()).unwrap_or(0))
}
