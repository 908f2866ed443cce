//! Witnesses: after each checkpoint every configured one is asked to cosign it. A witness is outside: it is waited for by
//! nobody, and whatever it does stops neither checkpoints nor actions. One that has seen another history than ours is an
//! alarm, in the ledger and in health.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use accredit_core::event::Event;
use accredit_ledger::Hash;
use accredit_ledger::checkpoint::{self, VerifiedCheckpoint};
use accredit_ledger::cosignature::Cosignature;
use accredit_ledger::note::CosignerKey;
use accredit_ledger::witness::AddCheckpoint;
use accredit_store::SignedHead;
use accredit_witness::{Answer, AskError, WitnessClient};

use crate::Authority;
use crate::fault::Fault;

/// Most witnesses: with the log's own signature they stay within a note's sixteen lines.
pub const WITNESSES_MAX: usize = 8;
/// How often a witness is asked while there is something new: checkpoints come twice a second at most.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Longest pause after failures, which doubles from [`ASK_EVERY`].
const ASK_AGAIN_MAX: Duration = Duration::from_secs(300);
/// How often a witness that refuses is asked again.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// How long a witness may give no cosignature before health says so.
const LATE_AFTER: Duration = Duration::from_secs(300);

/// A witness that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSetting {
    /// Where.
    pub client: WitnessClient,
    /// The key that its cosignatures are checked with.
    pub key: CosignerKey,
}

/// How witnesses stand to the ledger, all of them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WitnessFigures {
    /// How many are configured.
    pub configured: u64,
    /// Entries under the newest checkpoint that the slowest has cosigned.
    pub witnessed: u64,
    /// How many do not answer, or not as they should.
    pub failing: u64,
    /// How many have seen another history.
    pub refusing: u64,
    /// How many have failed for longer than is passed over.
    pub late: u64,
}

/// Why a witness will not cosign: what it has seen and what is here do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    /// It cosigned more entries than there are: this ledger went back.
    RolledBack,
    /// It cosigned another history of the same or a smaller size.
    Forked,
}

impl Alarm {
    const fn code(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::Forked => "forked",
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::RolledBack => "the witness has cosigned more entries than this ledger has",
            Self::Forked => "the witness has cosigned another history of this ledger",
        }
    }
}

/// What came of asking a witness.
enum Outcome {
    /// It has cosigned the newest checkpoint already, or there is none, or nothing can be checked now.
    Nothing,
    /// It has cosigned.
    Cosigned(Cosignature),
    /// It has seen something else, up to this size.
    Alarmed(Alarm, u64),
    /// Another checkpoint was signed while it was asked: next time.
    Overtaken,
}

/// Why a witness could not be asked.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the witness does not cosign for this log: give it the key that `accredit audit key` prints")]
    UnknownLog,
    #[error("the witness has another key of this log: give it the one that `accredit audit key` prints")]
    UnknownKey,
    #[error(
        "the witness says that it cosigned {0} entries last, and refuses a request that goes on from there"
    )]
    Contradiction(u64),
}

#[derive(Debug, Default)]
struct State {
    cosigned: u64,
    failing_since: Option<Instant>,
    alarm: Option<Alarm>,
}

/// The witnesses and how each stands.
#[derive(Default)]
pub(crate) struct Witnesses(Vec<Watched>);

struct Watched {
    setting: WitnessSetting,
    state: Mutex<State>,
}

impl Watched {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witnesses {
    pub(crate) fn new(settings: &[WitnessSetting]) -> Self {
        let watched =
            |setting: &WitnessSetting| Watched { setting: setting.clone(), state: Mutex::default() };
        Self(settings.iter().map(watched).collect())
    }

    /// Starts asking. It ends when the authority is dropped.
    pub(crate) fn start(authority: &Arc<Authority>) {
        for place in 0..authority.witnesses.0.len() {
            tokio::spawn(follow(Arc::downgrade(authority), place));
        }
    }

    pub(crate) fn figures(&self) -> WitnessFigures {
        let mut figures = WitnessFigures { configured: self.0.len() as u64, ..WitnessFigures::default() };
        figures.witnessed = self.0.iter().map(|watched| watched.state().cosigned).min().unwrap_or(0);
        for watched in &self.0 {
            let state = watched.state();
            figures.failing += u64::from(state.failing_since.is_some());
            figures.late += u64::from(state.failing_since.is_some_and(|at| at.elapsed() > LATE_AFTER));
            figures.refusing += u64::from(state.alarm.is_some());
        }
        figures
    }
}

/// Asks one witness again and again until the authority is gone.
async fn follow(authority: Weak<Authority>, place: usize) {
    let mut pause = ASK_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let Some(authority) = authority.upgrade() else { return };
        let Some(watched) = authority.witnesses.0.get(place) else { return };
        pause = match authority.turn(watched).await {
            Ok(None) => ASK_EVERY,
            Ok(Some(_)) => REFUSED_AGAIN,
            Err(error) => {
                watched.state().failing_since.get_or_insert_with(Instant::now);
                tracing::warn!(witness = watched.setting.client.name(), %error, "no cosignature; the witness will be asked again");
                (pause * 2).min(ASK_AGAIN_MAX)
            }
        };
    }
}

impl Authority {
    /// One turn with one witness. Gives the alarm that it is in afterwards.
    async fn turn(&self, watched: &Watched) -> Result<Option<Alarm>, TurnError> {
        match self.ask(watched).await? {
            Outcome::Nothing | Outcome::Overtaken => {}
            Outcome::Cosigned(cosignature) => self.agreed(watched, cosignature.by()).await?,
            Outcome::Alarmed(alarm, size) => self.alarm(watched, alarm, size).await?,
        }
        let mut state = watched.state();
        state.failing_since = None;
        Ok(state.alarm)
    }

    async fn ask(&self, watched: &Watched) -> Result<Outcome, TurnError> {
        let WitnessSetting { client, key } = &watched.setting;
        let name = key.to_string();
        let read = self.store.read(move |view| Ok((view.latest_checkpoint()?, view.newest_cosigned(&name)?)));
        let (latest, cosigned) = read.await.map_err(Fault::from)?;
        let old = cosigned.map_or(0, |head| head.size);
        watched.state().cosigned = old;
        let (Some(latest), Some(keys)) = (latest, self.keys()) else { return Ok(Outcome::Nothing) };
        if latest.size == old {
            return Ok(Outcome::Nothing);
        }
        let head = checkpoint::open(&latest.note, std::slice::from_ref(keys.ledger_verifier()))
            .map_err(|error| Fault::unavailable("ledger_damaged", error.to_string()))?;
        let asking = Asking { client, key, latest: &latest, head: &head };
        let size = match self.add_checkpoint(&asking, old).await? {
            Answer::Last(size) if size > latest.size => return self.ahead(size).await,
            Answer::Last(size) => size,
            answer => return self.judge(answer, old, &latest).await,
        };
        // It tells what it has: asked once more with the proof from there.
        match self.add_checkpoint(&asking, size).await? {
            Answer::Last(again) if again == size && size == latest.size => {
                Ok(Outcome::Alarmed(Alarm::Forked, size))
            }
            Answer::Last(again) if again == size => Err(TurnError::Contradiction(size)),
            answer => self.judge(answer, size, &latest).await,
        }
    }

    async fn add_checkpoint(&self, asking: &Asking<'_>, old: u64) -> Result<Answer, TurnError> {
        let new = asking.latest.size;
        let proof: Vec<Hash> = match old {
            0 => Vec::new(),
            old if old == new => Vec::new(),
            old => {
                self.store.read(move |view| view.consistency_proof(old, new)).await.map_err(Fault::from)?
            }
        };
        let request = AddCheckpoint::new(old, proof, asking.latest.note.clone());
        Ok(asking.client.add_checkpoint(&request, asking.head, asking.key).await?)
    }

    async fn judge(&self, answer: Answer, old: u64, latest: &SignedHead) -> Result<Outcome, TurnError> {
        match answer {
            Answer::Cosigned(cosignature) => {
                self.keep(&cosignature, latest.size).await?;
                Ok(Outcome::Cosigned(cosignature))
            }
            // The proof is right for our tree, so theirs is another.
            Answer::NotAPrefix => Ok(Outcome::Alarmed(Alarm::Forked, old)),
            Answer::Last(_) => Ok(Outcome::Overtaken),
            Answer::UnknownLog => Err(TurnError::UnknownLog),
            Answer::UnknownKey => Err(TurnError::UnknownKey),
        }
    }

    /// The witness has more than the checkpoint that it was asked about: is there one by now that has as much?
    async fn ahead(&self, size: u64) -> Result<Outcome, TurnError> {
        let newest = self.store.read(|view| view.latest_checkpoint()).await.map_err(Fault::from)?;
        let overtaken = newest.is_some_and(|newest| newest.size >= size);
        Ok(if overtaken { Outcome::Overtaken } else { Outcome::Alarmed(Alarm::RolledBack, size) })
    }

    async fn keep(&self, cosignature: &Cosignature, size: u64) -> Result<(), Fault> {
        let (key, line) = (cosignature.by().to_string(), cosignature.line().to_owned());
        self.store.change(move |tx| Ok::<_, Fault>(tx.keep_cosignature(&key, size, &line)?)).await?;
        Ok(())
    }

    /// A witness cosigned. After an alarm that is worth an entry; otherwise not: each entry makes a checkpoint, and each
    /// checkpoint would make an entry.
    async fn agreed(&self, watched: &Watched, key: &CosignerKey) -> Result<(), Fault> {
        if watched.state().alarm.is_some() {
            let event = Event::new(self.tenant(), "ledger.witness_agreed").with("witness", key.name());
            self.store.change(move |tx| Ok::<_, Fault>(tx.append(event)?)).await?;
            tracing::warn!(
                witness = watched.setting.client.name(),
                "a witness that had refused has cosigned"
            );
        }
        watched.state().alarm = None;
        Ok(())
    }

    /// A witness has seen another history. Recorded when it begins, and again at each start while it lasts.
    async fn alarm(&self, watched: &Watched, alarm: Alarm, size: u64) -> Result<(), Fault> {
        if watched.state().alarm == Some(alarm) {
            return Ok(());
        }
        let name = watched.setting.key.name().to_owned();
        tracing::error!(witness = name, code = alarm.code(), size, "{}", alarm.reason());
        let tenant = self.tenant().clone();
        self.store
            .change(move |tx| {
                let Some(latest) = tx.latest_checkpoint()? else { return Ok(()) };
                let event = Event::new(&tenant, "ledger.witness_refused")
                    .with("witness", name)
                    .with("code", alarm.code())
                    .with_number("witness_size", size)
                    .with_number("size", latest.size)
                    .with("root", latest.root)
                    .with("reason", alarm.reason());
                tx.append(event).map(|_| ()).map_err(Fault::from)
            })
            .await?;
        watched.state().alarm = Some(alarm);
        Ok(())
    }
}

/// One checkpoint on its way to one witness.
struct Asking<'a> {
    client: &'a WitnessClient,
    key: &'a CosignerKey,
    latest: &'a SignedHead,
    head: &'a VerifiedCheckpoint,
}
