//! `accredit audit`: search the ledger, follow it, and prove it. Verification happens here, not at the server: the server is
//! under suspicion, and what this machine saw before is held against it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use accredit_api::audit::{AuditKey, AuditQuery, Entry, VerifyReport};
use accredit_client::routes;
use accredit_ledger::note::VerifierKey;
use accredit_ledger::proof::Evidence;
use clap::{Args, Subcommand};

use super::operator::Operator;
use super::task::limit;
use super::verify::{self, Trusted};
use super::vouchers::Vouchers;
use super::{Context, when};
use crate::config::paths::{private_dir, write_private};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Entries that `search` shows unless told otherwise.
const SHOWN: usize = 50;
/// How often a signed head that is behind the outside one is asked for again.
const HEAD_TRIES: u32 = 50;
/// Pause in between. All of them are longer than another replica needs to take the lead from one that was killed.
const HEAD_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Search entries, the newest first
    Search {
        #[command(flatten)]
        filter: Filter,
        /// Most entries to show
        #[arg(long, default_value_t = SHOWN, value_parser = limit)]
        limit: usize,
    },
    /// Print entries as they are appended
    Tail {
        #[command(flatten)]
        filter: Filter,
    },
    /// Verify the ledger on this machine: every entry, every hash, every signed head; 1 if anything is wrong
    Verify(Verify),
    /// Write the proof that an entry is in the ledger
    Prove {
        /// Number of the entry
        entry: u64,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the newest signed head, with the cosignatures that it has
    Checkpoint,
    /// Print the key that heads are signed with: what a witness is told
    Key,
    /// Write entries as JSON lines
    Export {
        #[command(flatten)]
        filter: Filter,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Filter {
    /// Of this kind, such as action.decided
    #[arg(long)]
    kind: Option<String>,
    /// About this agent
    #[arg(long)]
    agent: Option<String>,
    /// About this task
    #[arg(long)]
    task: Option<String>,
    /// With this workflow reference: the steps of one piece of work
    #[arg(long, value_name = "REF")]
    workflow: Option<String>,
    /// About this resource
    #[arg(long)]
    resource: Option<String>,
    /// About this credential
    #[arg(long)]
    credential: Option<String>,
    /// With this outcome: allow, ask, deny
    #[arg(long)]
    outcome: Option<String>,
    /// Not before: 7d, 2h, or 2026-11-22T09:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

#[derive(Debug, Args)]
struct Verify {
    /// Also count the entries about this task or decision
    subject: Option<String>,
    /// An earlier signed head that must be a prefix of the ledger, in addition to what this machine saw before
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// The log's verifier key, from somewhere else than the server [default: the one that this machine saw first]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Verify a proof (`audit prove`) instead, without any server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["against", "subject"])]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    vouchers: Vouchers,
}

/// Runs the command.
pub(crate) async fn run(args: AuditArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    if let Verb::Verify(Verify { bundle: Some(bundle), key, vouchers, .. }) = &args.verb {
        return verify_bundle(bundle, key.as_deref(), vouchers, context);
    }
    let operator = Operator::new(context)?;
    match args.verb {
        Verb::Search { filter, limit } => {
            let entries: Vec<Entry> = operator.up_to(routes::AUDIT, &filter.query()?, limit).await?;
            let row = |e: &Entry| vec![e.seq.to_string(), when::show(&e.time), e.kind.clone(), fields(e)];
            out.list(&entries, &["entry", "time", "kind", "fields"], row, "no entries")?;
        }
        Verb::Tail { filter } => {
            let query = filter.query()?;
            let mut lines = operator.lines(routes::AUDIT_TAIL).await?;
            loop {
                let next = tokio::select! {
                    line = lines.next::<Entry>() => line.map_err(|e| super::operator::failure(&e))?,
                    _ = tokio::signal::ctrl_c() => None,
                };
                let Some(entry) = next else { break };
                if fits(&query, &entry) {
                    out.line(&entry, one_line)?;
                }
            }
        }
        Verb::Verify(args) => return verify_ledger(args, &operator, context).await,
        Verb::Prove { entry, out: file } => {
            let raw = operator.raw(&routes::one(routes::PROOFS, &entry.to_string())).await?;
            write_data(out, file.as_deref(), &raw.bytes)?;
        }
        Verb::Checkpoint => {
            let raw = operator.raw(routes::CHECKPOINT).await?;
            write_data(out, None, &raw.bytes)?;
        }
        Verb::Key => {
            let key: AuditKey = operator.get(routes::AUDIT_KEY).await?;
            out.line(&key, |key| key.verifier.clone())?;
        }
        Verb::Export { filter, out: file } => export(&filter, file.as_deref(), &operator, out).await?,
    }
    Ok(Exit::Ok)
}

async fn export(
    filter: &Filter,
    file: Option<&Path>,
    operator: &Operator<'_>,
    out: Output,
) -> Result<(), Failure> {
    let query = filter.query()?;
    let mut lines = operator.lines(routes::AUDIT_EXPORT).await?;
    let mut sink =
        file.map(|path| std::fs::File::create(path).map_err(|e| Failure::file(path, &e))).transpose()?;
    let mut count = 0_u64;
    while let Some(line) = lines.next_text().await.map_err(|e| super::operator::failure(&e))? {
        if !serde_json::from_str(&line).is_ok_and(|entry| fits(&query, &entry)) {
            continue;
        }
        match (&mut sink, file) {
            (Some(sink), Some(path)) => writeln!(sink, "{line}").map_err(|e| Failure::file(path, &e))?,
            _ => out.text(&(line + "\n"))?,
        }
        count += 1;
    }
    if let (Some(sink), Some(path)) = (sink, file) {
        sink.sync_all().map_err(|e| Failure::file(path, &e))?;
    }
    out.say(&format!("{count} entries"));
    Ok(())
}

async fn verify_ledger(args: Verify, operator: &Operator<'_>, context: &Context) -> Result<Exit, Failure> {
    let offered: AuditKey = operator.get(routes::AUDIT_KEY).await?;
    let key = trusted_key(args.key.as_deref(), Some(&offered.verifier), context)?;
    let (mut latest, head) = heads(operator, context).await?;
    let seen = context.paths.state().join("audit.checkpoint");
    let mut earlier = Vec::new();
    for path in args.against.iter().chain(seen.exists().then_some(&seen)) {
        earlier.push(std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?);
    }
    // Each is a head that others vouch for: the newest of all is verified, the others must be prefixes of it.
    let cosigned = args.vouchers.cosigned(&latest, &key, operator).await?;
    for signed in cosigned.heads {
        let newest = size_of(&signed) > size_of(&latest);
        earlier.push(if newest { std::mem::replace(&mut latest, signed) } else { signed });
    }
    let trusted = Trusted { key, latest, earlier, head, cosigned: cosigned.by };
    let mut outcome = verify::ledger(trusted, args.subject, operator, context.out).await?;
    if !outcome.ok {
        // It reads its own rows and so often names the very entry. Not trusted: it only adds to the verdict.
        let own: Result<VerifyReport, Failure> =
            operator.post(routes::AUDIT_VERIFY, &serde_json::json!({})).await;
        outcome.server_says = own.map(|report| report.problems).unwrap_or_default();
    }
    if outcome.ok {
        keep(&seen, outcome.checkpoint.as_bytes(), context)?;
    }
    context.out.one(&outcome, verify::Outcome::lines)?;
    Ok(if outcome.ok { Exit::Ok } else { Exit::Error })
}

fn verify_bundle(
    path: &Path,
    key: Option<&Path>,
    vouchers: &Vouchers,
    context: &Context,
) -> Result<Exit, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
    let key = trusted_key(key, None, context)?;
    let verified = Evidence::parse(&text).and_then(|evidence| Ok((evidence.verify(&[key])?, evidence)));
    let (entry, evidence) =
        verified.map_err(|e| Failure::new(Exit::Error, "not_proved", "the proof does not hold", e))?;
    let cosigned = vouchers.on(entry.checkpoint(), evidence.signed_checkpoint())?;
    let bytes = entry
        .entry()
        .encode()
        .map_err(|e| Failure::new(Exit::Error, "not_proved", "the proof does not hold", e))?;
    let fields: serde_json::Value = serde_json::from_slice(bytes.as_bytes()).unwrap_or_default();
    let shown = serde_json::json!({
        "ok": true, "entry": entry.index(), "size": entry.checkpoint().size(),
        "origin": entry.checkpoint().origin(), "cosigned_by": cosigned, "fields": fields,
    });
    context.out.one(&shown, |_| {
        vec![
            ("proof", "holds".to_owned()),
            ("entry", format!("{} of {}", entry.index(), entry.checkpoint().size())),
            ("ledger", entry.checkpoint().origin().to_owned()),
            (
                "cosigned by",
                if cosigned.is_empty() { "nobody was asked for".to_owned() } else { cosigned.join(", ") },
            ),
            ("content", fields.to_string()),
        ]
    })?;
    Ok(Exit::Ok)
}

/// The key that signed heads must be signed with: the one that is named, else the one that this machine saw first. What
/// the server offers later does not replace it.
fn trusted_key(
    named: Option<&Path>,
    offered: Option<&str>,
    context: &Context,
) -> Result<VerifierKey, Failure> {
    let pinned = context.paths.state().join("audit.key");
    let text = match named {
        Some(path) => std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?,
        None => match (std::fs::read_to_string(&pinned), offered) {
            (Ok(text), Some(offered)) if text.trim() != offered.trim() => {
                let why = "the server offers another key than the one that this machine saw first";
                let failure = Failure::new(Exit::Error, "key_changed", "the ledger was not verified", why);
                return Err(failure.todo(format!(
                    "ask the operator; if the key was changed on purpose, remove {}",
                    pinned.display()
                )));
            }
            (Ok(text), _) => text,
            (Err(_), Some(offered)) => {
                keep(&pinned, offered.as_bytes(), context)?;
                context.out.say(&format!("note: the log's key is trusted from now on: {}", pinned.display()));
                offered.to_owned()
            }
            (Err(_), None) => {
                let failure = Failure::usage(
                    "nothing was verified",
                    "the log's verifier key is not known on this machine",
                );
                return Err(failure.todo("name it with --key FILE, or run `accredit audit verify` once"));
            }
        },
    };
    VerifierKey::parse(text.trim()).map_err(|e| Failure::usage("the verifier key was not understood", e))
}

/// The newest signed head, and the one outside the database. The server moves the outside head first, so a signed head that
/// is behind it may be about to be kept, and gets a moment.
async fn heads(
    operator: &Operator<'_>,
    context: &Context,
) -> Result<(String, Option<accredit_ledger::head::Head>), Failure> {
    let outside = outside_head(context)?;
    for _ in 0..HEAD_TRIES {
        let latest = signed_head(operator).await?;
        if outside.as_ref().is_none_or(|head| head.size() <= size_of(&latest)) {
            return Ok((latest, outside));
        }
        tokio::time::sleep(HEAD_PAUSE).await;
    }
    Ok((signed_head(operator).await?, outside))
}

/// The size that a signed head claims: enough to order heads that are verified afterwards.
fn size_of(signed: &str) -> u64 {
    signed.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0)
}

async fn signed_head(operator: &Operator<'_>) -> Result<String, Failure> {
    let latest = operator.raw(routes::CHECKPOINT).await?;
    String::from_utf8(latest.bytes.to_vec())
        .map_err(|e| Failure::new(Exit::Error, "checkpoint", "the signed head is not text", e))
}

/// The head that the server keeps outside its database, where this is its machine: a database that was put back is shorter.
fn outside_head(context: &Context) -> Result<Option<accredit_ledger::head::Head>, Failure> {
    let path = context.paths.state().join("ledger.head");
    match std::fs::read_to_string(&path) {
        Ok(text) => accredit_ledger::head::Head::parse(&text).map(Some).map_err(|e| {
            Failure::new(Exit::Error, "head", "the head kept outside the database cannot be read", e)
        }),
        Err(_) => Ok(None),
    }
}

fn keep(path: &Path, bytes: &[u8], context: &Context) -> Result<(), Failure> {
    let kept = private_dir(context.paths.state()).and_then(|()| write_private(path, bytes));
    kept.map_err(|e| Failure::file(path, &e))
}

fn write_data(out: Output, file: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match file {
        Some(path) => std::fs::write(path, bytes).map_err(|e| Failure::file(path, &e)),
        None => {
            out.text(&String::from_utf8_lossy(bytes))?;
            Ok(())
        }
    }
}

impl Filter {
    fn query(&self) -> Result<AuditQuery, Failure> {
        Ok(AuditQuery {
            kind: self.kind.clone(),
            agent: self.agent.clone(),
            task: self.task.clone(),
            workflow: self.workflow.clone(),
            resource: self.resource.clone(),
            credential: self.credential.clone(),
            outcome: self.outcome.clone(),
            since: when::parse_opt("--since", self.since.as_deref())?,
            until: when::parse_opt("--until", self.until.as_deref())?,
            cursor: None,
            limit: None,
        })
    }
}

/// Whether an entry is one of those that were asked for. A stream carries all of them.
fn fits(query: &AuditQuery, entry: &Entry) -> bool {
    let field = |name: &str, wanted: &Option<String>| {
        wanted.as_deref().is_none_or(|wanted| entry.fields.get(name).and_then(|v| v.as_str()) == Some(wanted))
    };
    let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let at = moment(&entry.time);
    let since = query.since.as_deref().is_none_or(|since| at >= moment(since));
    let until = query.until.as_deref().is_none_or(|until| at < moment(until));
    query.kind.as_ref().is_none_or(|kind| *kind == entry.kind)
        && field("agent", &query.agent)
        && field("task", &query.task)
        && field("workflow", &query.workflow)
        && field("resource", &query.resource)
        && field("credential", &query.credential)
        && field("outcome", &query.outcome)
        && since
        && until
}

fn one_line(entry: &Entry) -> String {
    crate::output::safe(&format!(
        "{} {} {} {}",
        entry.seq,
        when::show(&entry.time),
        entry.kind,
        fields(entry)
    ))
}

fn fields(entry: &Entry) -> String {
    let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    entry.fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_shows_the_entries_that_were_asked_for() {
        let entry = Entry {
            seq: 7,
            time: "2026-11-22T09:30:00.250Z".to_owned(),
            kind: "action.decided".to_owned(),
            fields: serde_json::from_str(r#"{"agent":"shop-coder","outcome":"deny"}"#).expect("fields"),
        };
        let check =
            |query: AuditQuery, expected: bool| assert_eq!(fits(&query, &entry), expected, "{query:?}");
        let text = |text: &str| Some(text.to_owned());
        check(AuditQuery::default(), true);
        check(
            AuditQuery { kind: text("action.decided"), agent: text("shop-coder"), ..AuditQuery::default() },
            true,
        );
        check(AuditQuery { outcome: text("allow"), ..AuditQuery::default() }, false);
        check(AuditQuery { task: text("t_1"), ..AuditQuery::default() }, false);
        check(AuditQuery { since: text("2026-11-22T09:30:00Z"), ..AuditQuery::default() }, true);
        check(AuditQuery { until: text("2026-11-22T09:30:00Z"), ..AuditQuery::default() }, false);
        assert!(one_line(&entry).starts_with("7 2026-11-22 09:30:00 action.decided agent=shop-coder"));
    }
}
