//! Witnesses whose cosignatures a verifier requires: whoever shows different histories to different readers would have to
//! win over so many of them.

use std::time::{Duration, Instant};

use accredit_api::audit::CheckpointQuery;
use accredit_client::routes;
use accredit_ledger::checkpoint::{self, Checkpoint};
use accredit_ledger::cosignature::{self, Cosignature};
use accredit_ledger::note::{CosignerKey, VerifierKey};
use clap::Args;

use super::operator::Operator;
use crate::config::duration;
use crate::exit::Exit;
use crate::failure::Failure;

/// Pause between looks.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(crate) struct Vouchers {
    /// Require the cosignature of this witness, by its public key as `accredit witness key` prints it
    #[arg(long, value_name = "KEY", value_parser = CosignerKey::parse)]
    witness: Vec<CosignerKey>,
    /// Be content with the cosignatures of so many of the witnesses [default: all]
    #[arg(long, value_name = "N", requires = "witness")]
    quorum: Option<usize>,
    /// How long cosignatures on what is there now are waited for; a server asks its witnesses within a second or two
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration::parse_s, requires = "witness")]
    wait: u64,
}

/// What was found of what was required.
#[derive(Debug, Default)]
pub(crate) struct Cosigned {
    /// Signed heads that the witnesses cosigned, still to be held against the ledger.
    pub(crate) heads: Vec<String>,
    /// Who cosigned, and when.
    pub(crate) by: Vec<String>,
}

impl Vouchers {
    /// For each witness a head that it cosigned and that covers everything that `latest` covers.
    ///
    /// # Errors
    /// [`Failure`] when there are fewer of them than required.
    pub(crate) async fn cosigned(
        &self,
        latest: &str,
        log: &VerifierKey,
        operator: &Operator<'_>,
    ) -> Result<Cosigned, Failure> {
        let quorum = self.quorum()?;
        if quorum == 0 {
            return Ok(Cosigned::default());
        }
        let latest = checkpoint::open(latest, std::slice::from_ref(log)).map_err(|e| not_cosigned(&e))?;
        let (mut found, until) = (Cosigned::default(), Instant::now() + Duration::from_secs(self.wait));
        let mut missing: Vec<&CosignerKey> = self.witness.iter().collect();
        loop {
            let mut still = Vec::new();
            for key in missing {
                match newest(key, log, operator).await? {
                    Some((signed, size, cosignature)) if size >= latest.size() => {
                        found.heads.push(signed);
                        found.by.push(show(&cosignature, size));
                    }
                    Some(_) | None => still.push(key),
                }
            }
            missing = still;
            // Those beyond the quorum get no time of their own.
            if missing.is_empty() || found.by.len() >= quorum {
                return Ok(found);
            }
            if Instant::now() > until {
                return Err(too_few(found.by.len(), quorum, latest.size(), &missing));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The witnesses among those required that cosigned this very head.
    ///
    /// # Errors
    /// [`Failure`] when there are fewer of them than required, or one's cosignature does not fit.
    pub(crate) fn on(&self, head: &Checkpoint, signed: &str) -> Result<Vec<String>, Failure> {
        let quorum = self.quorum()?;
        let found = cosignature::on_note(head, signed, &self.witness).map_err(|e| not_cosigned(&e))?;
        if found.len() < quorum {
            let by = |key: &&CosignerKey| found.iter().any(|cosignature| cosignature.by() == *key);
            let missing: Vec<_> = self.witness.iter().filter(|key| !by(key)).collect();
            return Err(too_few(found.len(), quorum, head.size(), &missing));
        }
        Ok(found.iter().map(|cosignature| show(cosignature, head.size())).collect())
    }

    fn quorum(&self) -> Result<usize, Failure> {
        let most = self.witness.len();
        if let Some(twice) = (1..most).find(|&i| self.witness[..i].contains(&self.witness[i])) {
            let name = self.witness[twice].name();
            return Err(Failure::usage(
                "nothing was verified",
                format!("the witness `{name}` is named twice"),
            ));
        }
        let quorum = self.quorum.unwrap_or(most);
        if most > 0 && !(1..=most).contains(&quorum) {
            let why = format!("--quorum is from 1 to the number of witnesses, {most}");
            return Err(Failure::usage("nothing was verified", why));
        }
        Ok(quorum)
    }
}

/// The newest head that the server has with a cosignature of this witness, both signatures checked.
async fn newest(
    key: &CosignerKey,
    log: &VerifierKey,
    operator: &Operator<'_>,
) -> Result<Option<(String, u64, Cosignature)>, Failure> {
    let query = CheckpointQuery { cosigned_by: Some(key.to_string()) };
    let raw = match operator.raw_with(routes::CHECKPOINT, &query).await {
        Ok(raw) => raw,
        Err(failure) if failure.exit() == Exit::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let signed = String::from_utf8(raw.bytes.to_vec()).map_err(|e| not_cosigned(&e))?;
    let head = checkpoint::open(&signed, std::slice::from_ref(log)).map_err(|e| not_cosigned(&e))?;
    let found =
        cosignature::on_note(&head, &signed, std::slice::from_ref(key)).map_err(|e| not_cosigned(&e))?;
    let size = head.size();
    Ok(found.into_iter().next().map(|cosignature| (signed, size, cosignature)))
}

fn show(cosignature: &Cosignature, size: u64) -> String {
    let at = i64::try_from(cosignature.time_s()).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let at = at.map_or_else(|| "a time that is none".to_owned(), |at| at.to_string());
    format!("{}: {size} entries, {at}", cosignature.by().name())
}

fn too_few(found: usize, quorum: usize, size: u64, missing: &[&CosignerKey]) -> Failure {
    let names: Vec<&str> = missing.iter().map(|key| key.name()).collect();
    let why = format!(
        "{found} of the required {quorum} witnesses have cosigned the {size} entries; missing: {}",
        names.join(", ")
    );
    let failure = Failure::new(Exit::Error, "too_few_witnesses", "the ledger was not verified", why);
    failure.todo("`accredit health` says whether a witness refuses or does not answer; if one refuses, treat the ledger as split")
}

fn not_cosigned(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Error,
        "cosignature",
        "the ledger is NOT WHOLE: a head or a cosignature does not fit",
        why,
    )
}
