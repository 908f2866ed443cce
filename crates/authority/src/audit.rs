//! The ledger for its readers: search, follow, export, prove, verify. A tenant's reader gets that tenant's entries
//! and the installation's own, and nothing of others but hashes.

use accredit_core::event::Event;
use accredit_core::time::Timestamp;
use accredit_ledger::Entry;
use accredit_ledger::entry::INSTALL_TENANT;
use accredit_ledger::note::CosignerKey;
use accredit_ledger::proof::Evidence;
use accredit_ledger::tile::{Bundle, Tile};
use accredit_store::{EntryFilter, SignedHead, StoreError, StoredEntry, VerifyAllError, View};

use crate::Authority;
use crate::fault::{Fault, FaultKind};
use crate::operators::Operator;

/// Entries that one step of an export or of following reads.
pub const STEP: usize = 500;

/// One entry with its place.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// Its place in the ledger.
    pub seq: u64,
    /// The entry.
    pub entry: Entry,
}

/// One step of following the ledger.
#[derive(Debug)]
pub struct Step {
    /// Entries that the reader may see, oldest first.
    pub entries: Vec<AuditEntry>,
    /// Where to go on.
    pub next: u64,
    /// Whether the end was reached.
    pub at_end: bool,
}

/// What was found when the whole ledger was verified.
#[derive(Debug)]
pub struct Verified {
    /// Whether everything fits.
    pub ok: bool,
    /// Entries under the newest checkpoint.
    pub size: u64,
    /// Entries after it, not signed yet.
    pub unsigned: u64,
    /// Root of the newest checkpoint, base64; empty when there is none.
    pub root: String,
    /// What does not fit.
    pub problem: Option<String>,
}

/// A part of the ledger in its own format (C2SP tlog-tiles).
#[derive(Debug)]
pub enum TlogPart {
    /// The signed head.
    Checkpoint(String),
    /// Hashes or entries.
    Bytes(Vec<u8>),
}

impl Authority {
    /// Entries of the tenant that fit, newest first.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn search_audit(&self, filter: AuditFilter) -> Result<Vec<AuditEntry>, Fault> {
        let filter = EntryFilter {
            tenant: Some(self.tenant().clone()),
            kinds: filter.kind.into_iter().collect(),
            task: filter.task,
            agent: filter.agent,
            workflow: filter.workflow,
            resource: filter.resource,
            credential: filter.credential,
            outcome: filter.outcome,
            since: filter.since,
            until: filter.until,
            before_seq: filter.before,
            limit: filter.limit,
            ..EntryFilter::default()
        };
        let found = self.read_ledger(move |view| view.entries(&filter)).await?;
        found.iter().map(read).collect()
    }

    /// The entry at a place, if the reader may see it.
    ///
    /// # Errors
    /// [`Fault`] when there is none, or it is not the tenant's.
    pub async fn audit_entry(&self, seq: u64) -> Result<AuditEntry, Fault> {
        let found = self.read_ledger(move |view| view.entry_by_seq(seq)).await?;
        let entry = found.map(|e| read(&e)).transpose()?.filter(|e| self.may_see(&e.entry));
        entry.ok_or_else(|| no_entry(seq))
    }

    /// Reads the ledger when everything that was durable before has its place in it.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read, or the newest entries get no place.
    pub(crate) async fn read_ledger<R: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, Fault> {
        self.store.placed().await?;
        Ok(self.store.read(read).await?)
    }

    /// The size of the ledger: where following begins.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn ledger_size(&self) -> Result<u64, Fault> {
        self.read_ledger(|view| view.ledger_size()).await
    }

    /// Entries from a place on that the reader may see.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read.
    pub async fn follow_audit(&self, from: u64) -> Result<Step, Fault> {
        let found = self.store.read(move |view| view.entries_from(from, STEP)).await?;
        let next = found.last().map_or(from, |e| e.seq + 1);
        let at_end = found.len() < STEP;
        let entries: Vec<_> = found.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Step { entries: entries.into_iter().filter(|e| self.may_see(&e.entry)).collect(), next, at_end })
    }

    /// Records that the ledger is exported, before its first byte leaves.
    ///
    /// # Errors
    /// [`Fault`] when it cannot be recorded: then nothing is exported.
    pub async fn begin_export(&self, by: &Operator, from: u64) -> Result<u64, Fault> {
        let event = Event::new(self.tenant(), "audit.exported")
            .with("by", by.name())
            .with("format", "jsonl")
            .with_number("first", from);
        self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await?;
        // The entry that says so is in it.
        Ok(self.ledger_size().await?.saturating_sub(1))
    }

    /// Verifies every entry, tile and checkpoint, and the head outside the database.
    ///
    /// # Errors
    /// [`Fault`] when that cannot be read at all, or nothing was signed yet.
    pub async fn verify_audit(&self) -> Result<Verified, Fault> {
        // What was appended a moment ago is signed first, so that it is covered.
        self.integrate().await?;
        let keys = self.keys().ok_or_else(Fault::sealed)?;
        match self.store.verify_all(vec![keys.ledger_verifier().clone()], |_| {}).await {
            Ok(report) => Ok(Verified {
                ok: true,
                size: report.size,
                unsigned: report.unsigned,
                root: report.root.to_base64(),
                problem: None,
            }),
            Err(VerifyAllError::NoCheckpoint) => Err(no_checkpoint()),
            Err(error) => {
                let latest = self.store.read(|view| view.latest_checkpoint()).await?;
                let (size, root) = latest.map_or((0, String::new()), |c| (c.size, c.root.to_base64()));
                Ok(Verified { ok: false, size, unsigned: 0, root, problem: Some(error.to_string()) })
            }
        }
    }

    /// The newest checkpoint, a signed note (C2SP tlog-checkpoint), with the cosignatures that it has by now.
    ///
    /// # Errors
    /// [`Fault`] when nothing was signed yet.
    pub async fn audit_checkpoint(&self) -> Result<String, Fault> {
        // What was appended a moment ago is covered too. Where that cannot be signed now, the last one still stands.
        if let Err(fault) = self.integrate().await {
            tracing::warn!(%fault, "the newest entries are not under a checkpoint yet");
        }
        let latest =
            self.store.read(|view| view.latest_checkpoint()?.map(|c| cosigned(view, c)).transpose()).await?;
        latest.ok_or_else(no_checkpoint)
    }

    /// The newest checkpoint that a witness has cosigned, with the cosignatures on it. The witness is named by its
    /// verifier key.
    ///
    /// # Errors
    /// [`Fault`] when that is no such key, or it has cosigned none.
    pub async fn cosigned_checkpoint(&self, witness: &str) -> Result<String, Fault> {
        let key = CosignerKey::parse(witness).map_err(|error| {
            let next = "`accredit witness key` prints it.";
            Fault::invalid(
                "witness_key",
                format!("`cosigned_by` is no public key of a witness: {error}"),
                next,
            )
        })?;
        let witness = key.to_string();
        let newest = self
            .store
            .read(move |view| view.newest_cosigned(&witness)?.map(|c| cosigned(view, c)).transpose())
            .await?;
        newest.ok_or_else(|| {
            let detail = "the witness has cosigned no checkpoint of this ledger";
            let next = "`accredit health` says how witnesses stand; `[[audit.witness]]` names them.";
            Fault::new(FaultKind::NotFound, "not_cosigned", detail, next)
        })
    }

    /// The key that checkpoints are verified with (C2SP signed-note).
    ///
    /// # Errors
    /// [`Fault`] while the vault is sealed.
    pub fn audit_key(&self) -> Result<String, Fault> {
        Ok(self.keys().ok_or_else(Fault::sealed)?.ledger_verifier().to_string())
    }

    /// The evidence for one entry in one file (C2SP tlog-proof).
    ///
    /// # Errors
    /// [`Fault`] when there is no such entry, it is not the tenant's, or it is not covered by a checkpoint yet.
    pub async fn audit_proof(&self, seq: u64) -> Result<String, Fault> {
        self.audit_entry(seq).await?;
        let read = move |view: &View<'_>| {
            let Some(stored) = view.entry_by_seq(seq)? else { return Ok(None) };
            // One that others vouch for is worth more than an earlier one.
            let head = view
                .cosigned_from(seq + 1)?
                .map_or_else(|| view.checkpoint_from(seq + 1), |c| Ok(Some(c)))?;
            let Some(head) = head else { return Ok(None) };
            let path = view.inclusion_proof(seq, head.size)?;
            Ok(Some(Evidence::new(stored.bytes, seq, path, cosigned(view, head)?).encode()))
        };
        if let Some(proof) = self.store.read(read).await? {
            return Ok(proof);
        }
        // Appended a moment ago: sign it now.
        self.integrate().await?;
        self.store.read(read).await?.ok_or_else(no_checkpoint)
    }

    /// The proof that the ledger of `old` entries is a prefix of that of `new` (RFC 6962 §2.1.2), base64 hashes.
    ///
    /// # Errors
    /// [`Fault`] when the sizes are not those of the ledger.
    pub async fn audit_consistency(&self, old: u64, new: u64) -> Result<Vec<String>, Fault> {
        let size = self.store.read(|view| view.tree_head()).await?.size;
        if old == 0 || old > new || new > size {
            let detail = format!("the sizes must be 1 or more, in order, and at most {size}");
            return Err(Fault::invalid("sizes_out_of_range", detail, "Take both sizes from checkpoints."));
        }
        let proof = self.store.read(move |view| view.consistency_proof(old, new)).await?;
        Ok(proof.iter().map(accredit_ledger::Hash::to_base64).collect())
    }

    /// A part of the ledger under its path (C2SP tlog-tiles): `checkpoint`, `tile/<L>/<N>`, `tile/entries/<N>`.
    ///
    /// # Errors
    /// [`Fault`] when there is no such part, or it holds entries of another tenant.
    pub async fn tlog_part(&self, path: &str) -> Result<TlogPart, Fault> {
        let missing = || Fault::not_found("audit", path);
        if path == "checkpoint" {
            return self.audit_checkpoint().await.map(TlogPart::Checkpoint);
        }
        if let Ok(tile) = Tile::from_path(path) {
            let bytes = self.store.read(move |view| view.tile(tile)).await?;
            return bytes.map(TlogPart::Bytes).ok_or_else(missing);
        }
        let bundle = Bundle::from_path(path).map_err(|_| missing())?;
        let bytes =
            self.store.of_installation().read(move |view| view.bundle(bundle)).await?.ok_or_else(missing)?;
        let entries = bundle.entries(&bytes).map_err(|_| missing())?;
        let all_ours = entries.iter().all(|e| Entry::decode(e).is_ok_and(|e| self.may_see(&e)));
        if all_ours { Ok(TlogPart::Bytes(bytes)) } else { Err(missing()) }
    }

    fn may_see(&self, entry: &Entry) -> bool {
        [self.tenant().as_str(), INSTALL_TENANT].contains(&entry.tenant())
    }
}

/// Which entries are wanted; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this kind.
    pub kind: Option<String>,
    /// About this task.
    pub task: Option<String>,
    /// About this agent.
    pub agent: Option<String>,
    /// With this workflow reference.
    pub workflow: Option<String>,
    /// About this resource.
    pub resource: Option<String>,
    /// About this credential.
    pub credential: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Before this place.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

fn read(stored: &StoredEntry) -> Result<AuditEntry, Fault> {
    let entry = stored.decode().map_err(|error| {
        tracing::error!(seq = stored.seq, %error, "a ledger entry cannot be read: it was tampered with");
        let detail = format!("the ledger entry {} cannot be read: it was tampered with", stored.seq);
        Fault::unavailable("ledger_damaged", detail)
    })?;
    Ok(AuditEntry { seq: stored.seq, entry })
}

/// A checkpoint with the cosignatures that it has.
pub(crate) fn cosigned(view: &View<'_>, head: SignedHead) -> Result<String, StoreError> {
    Ok(head.note + &view.cosignatures(head.size)?.concat())
}

fn no_entry(seq: u64) -> Fault {
    Fault::new(
        FaultKind::NotFound,
        "not_found",
        format!("there is no entry {seq}"),
        "Search with `accredit audit search`.",
    )
}

fn no_checkpoint() -> Fault {
    Fault::unavailable("no_checkpoint", "no checkpoint covers this yet; one is signed every second")
}
