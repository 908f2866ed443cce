//! The whole ledger, streamed from the database through the verifier, held against the head outside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use accredit_ledger::head::Head;
use accredit_ledger::note::VerifierKey;
use accredit_ledger::verify::{Expected, Report, Tail, VerifyError, verify};

use crate::error::StoreError;
use crate::ledger::checkpoint::SignedHead;
use crate::ledger::head::HeadFileError;
use crate::ledger::tree::PLACED_TIME_MAX;
use crate::store::Store;
use crate::view::View;

/// Rows fetched at a time: bounds memory at some 32 MB even for the longest entries.
const ROWS: usize = 512;

/// Why the ledger was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyAllError {
    /// Nothing was signed yet.
    #[error("there is no checkpoint yet")]
    NoCheckpoint,
    /// The head outside cannot be read.
    #[error(transparent)]
    HeadFile(#[from] HeadFileError),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger is not what was signed.
    #[error(transparent)]
    Ledger(#[from] VerifyError<StoreError>),
}

impl Store {
    /// Verifies every entry, tile and checkpoint against the keys of the log and the head outside.
    /// `progress` is told now and then how many entries were read.
    ///
    /// # Errors
    /// [`VerifyAllError`] with the first thing wrong.
    pub async fn verify_all(
        &self,
        log: Vec<VerifierKey>,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Report, VerifyAllError> {
        let store = self.of_installation();
        let (head, latest) = self.head_and_checkpoint(&store).await?;
        let verified = store.read(move |view| {
            let expected =
                Expected { log: &log, latest: &latest.note, head: head.as_ref(), tail: Tail::Count };
            Ok(run(view, &expected, latest.size, &progress))
        });
        Ok(verified.await??)
    }
}

impl Store {
    /// The head outside, and the newest checkpoint. A replica that was killed between the two left a head that nobody has
    /// signed yet: whoever leads next does, which is waited for.
    async fn head_and_checkpoint(&self, store: &Self) -> Result<(Option<Head>, SignedHead), VerifyAllError> {
        let until = Instant::now() + PLACED_TIME_MAX;
        loop {
            // Nothing is signed here between the reading of the head and that of the checkpoint.
            let signing = self.ledger().await;
            let head = self.with_head_file(|file| Ok::<_, VerifyAllError>(file.read()?)).await?;
            let latest =
                store.read(|view| view.latest_checkpoint()).await?.ok_or(VerifyAllError::NoCheckpoint)?;
            drop(signing);
            let ahead = head.as_ref().is_some_and(|head| head.size() > latest.size);
            if !ahead || !self.is_shared() || Instant::now() > until {
                return Ok((head, latest));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// How often it is looked whether the newest head was signed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn run(
    view: &View<'_>,
    expected: &Expected<'_>,
    size: u64,
    progress: &dyn Fn(u64),
) -> Result<Report, VerifyError<StoreError>> {
    let mut entries = Rows::new(|after: Option<u64>| {
        let from = after.map_or(0, |seq| seq + 1);
        progress(from);
        Ok(view.entries_from(from, ROWS)?.into_iter().map(|entry| (entry.seq, entry.bytes)).collect())
    });
    let mut checkpoints = Rows::new(|after: Option<u64>| {
        let sql = "SELECT size, note FROM checkpoint WHERE size > ?1 AND size <= ?2 ORDER BY size LIMIT ?3";
        let after = after.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
        view.rows(sql, (after, size, ROWS), |row| Ok((row.get(0)?, row.get(1)?)))
    });
    verify(expected, || entries.next(), |tile| view.widest_tile(tile), || checkpoints.next())
}

/// Rows in the order of their key, a page at a time.
struct Rows<T, F> {
    fetch: F,
    page: VecDeque<(u64, T)>,
    last: Option<u64>,
}

impl<T, F> Rows<T, F>
where
    F: FnMut(Option<u64>) -> Result<Vec<(u64, T)>, StoreError>,
{
    const fn new(fetch: F) -> Self {
        Self { fetch, page: VecDeque::new(), last: None }
    }

    fn next(&mut self) -> Result<Option<T>, StoreError> {
        if self.page.is_empty() {
            self.page = (self.fetch)(self.last)?.into();
        }
        let Some((key, row)) = self.page.pop_front() else { return Ok(None) };
        self.last = Some(key);
        Ok(Some(row))
    }
}
