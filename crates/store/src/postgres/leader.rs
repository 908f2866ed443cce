//! Places in the ledger. Any number of replicas append; one of them, the leader, gives what has arrived its place in the
//! tree, and keeps checkpoints. Each of its transactions renews its lease, and begins by making sure that nobody has taken
//! over: a deposed leader writes nothing. Another replica takes over when it has seen the lease unchanged for as long as
//! it runs, by its own clock, or when the leader has left.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use accredit_core::time::Timestamp;
use accredit_ledger::Entry;
use accredit_ledger::hash::{Hash, leaf_hash};
use accredit_ledger::tree::{self, Appended};
use tokio::runtime::Handle;

use super::address::Address;
use super::session::{Backend, open_writer};
use super::sighting::Sighting;
use crate::error::{Cause, StoreError};
use crate::ledger::checkpoint::SignedHead;
use crate::ledger::entries::columns;
use crate::ledger::tree::TreeHead;
use crate::sql::{Conn, PgSession};
use crate::view::View;

/// How long the leader leads without being heard of: how long the ledger waits when one dies.
const LEASE: Duration = Duration::from_secs(3);
/// Most entries that get their place in one step: their rows are written in one statement.
const STEP_MAX: usize = 2_048;

pub(crate) struct Leader {
    address: Arc<Address>,
    runtime: Handle,
    replica: Arc<str>,
    last: Backend,
    kept: Mutex<Kept>,
}

/// What a leader, or one that would be, keeps between its transactions.
#[derive(Default)]
struct Kept {
    session: Option<PgSession>,
    /// The lease of another replica.
    lease: Option<Sighting>,
}

/// What a leader did.
pub(crate) enum Led<T> {
    /// It was done.
    Done(T),
    /// Another replica leads.
    ByAnother,
}

/// `until` is for replicas of the version before, and for people. The mark of the lease is the transaction that renewed
/// it last, $3 the one that was seen for so long that it has run out.
const LEAD: &str = "UPDATE leader SET holder = $1, token = token + CASE WHEN holder = $1 THEN 0 ELSE 1 END,
        until = clock_timestamp() + CAST($2 AS BIGINT) * INTERVAL '1 millisecond'
    WHERE id = 1 AND (holder = $1 OR CAST(xmin AS TEXT) = $3
        OR NOT EXISTS (SELECT 1 FROM replica WHERE replica.id = leader.holder)) RETURNING token";
const LEASED: &str = "SELECT CAST(xmin AS TEXT) FROM leader WHERE id = 1";
const ARRIVED: &str = "SELECT arrival.era, CAST(arrival.tx AS TEXT), arrival.n, arrival.body
    FROM arrival, tree
    WHERE tree.id = 1 AND (arrival.era, arrival.tx, arrival.n) > (tree.last_era, tree.last_tx, tree.last_n)
        AND (arrival.era < tree.era OR arrival.tx < pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY arrival.era, arrival.tx, arrival.n LIMIT $1";
const PLACE: &str = "INSERT INTO leaf (seq, era, tx, n, tenant, kind, at, task, agent, resource, credential, decision,
        request, workflow, outcome)
    SELECT seq, era, CAST(tx AS XID8), n, tenant, kind, at, task, agent, resource, credential, decision, request,
        workflow, outcome
    FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), CAST($5 AS TEXT[]),
        CAST($6 AS TEXT[]), CAST($7 AS BIGINT[]), CAST($8 AS TEXT[]), CAST($9 AS TEXT[]), CAST($10 AS TEXT[]),
        CAST($11 AS TEXT[]), CAST($12 AS TEXT[]), CAST($13 AS TEXT[]), CAST($14 AS TEXT[]), CAST($15 AS TEXT[]))
        AS placed (seq, era, tx, n, tenant, kind, at, task, agent, resource, credential, decision, request, workflow,
        outcome)";
const GROW: &str =
    "UPDATE tree SET size = $1, root = $2, last_era = $3, last_tx = CAST(CAST($4 AS TEXT) AS XID8),
        last_n = $5 WHERE id = 1 AND size = $6 AND root = $7";
const TILE: &str = "INSERT INTO tile (level, position, hashes) VALUES ($1, $2, $3)
    ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes";
const CHECKPOINT: &str = "INSERT INTO checkpoint (size, epoch, root, note, at)
    SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS BYTEA), CAST($4 AS TEXT), CAST($5 AS BIGINT)
    WHERE (SELECT max(size) FROM checkpoint) IS NOT DISTINCT FROM CAST($6 AS BIGINT)";

impl Leader {
    pub(crate) fn new(address: Arc<Address>, runtime: Handle, replica: Arc<str>) -> Self {
        Self { address, runtime, replica, last: Backend::default(), kept: Mutex::default() }
    }

    /// Takes the lead, if nobody else has it, or goes on leading.
    pub(crate) fn lead(&self) -> Result<Led<()>, StoreError> {
        self.leading(|_| Ok(()))
    }

    /// Gives up to `max` arrivals their places, if this replica leads. Gives the head of the tree.
    pub(crate) fn integrate(&self, max: usize) -> Result<Led<TreeHead>, StoreError> {
        self.leading(|session| {
            let view = View::new(Conn::Postgres(session));
            let before = view.tree_head()?;
            let limit = i64::try_from(max.clamp(1, STEP_MAX)).unwrap_or(i64::MAX);
            let arrived = session.ask(ARRIVED, &[&limit])?;
            let arrived = arrived.iter().map(Placed::read).collect::<Result<Vec<_>, _>>()?;
            let (arrived, leaves): (Vec<Placed>, Vec<Hash>) = arrived.into_iter().unzip();
            let Some(last) = arrived.last() else { return Ok(before) };
            let appended = tree::append(before.size, &leaves, |tile| view.widest_tile(tile))?;
            place(session, before.size, &arrived)?;
            grow(session, &before, &appended, last)?;
            Ok(TreeHead { size: appended.size, root: appended.root, ..before })
        })
    }

    /// Keeps a checkpoint, if this replica leads and the one before it is the one that it was made after.
    pub(crate) fn keep(
        &self,
        kept: &SignedHead,
        epoch: u64,
        at: Timestamp,
        last: Option<u64>,
    ) -> Result<Led<()>, StoreError> {
        self.leading(|session| {
            let (size, epoch, root) = (whole(kept.size), whole(epoch), kept.root.as_bytes().as_slice());
            let (at, last) = (at.as_ms(), last.map(whole));
            match session.tell(CHECKPOINT, &[&size, &epoch, &root, &kept.note, &at, &last])? {
                1 => Ok(()),
                _ => Err(StoreError::Tree("somebody else signed a checkpoint".into())),
            }
        })
    }

    /// One transaction of the leader. The row of the lease is locked until its end, so that nobody takes over meanwhile.
    fn leading<T>(
        &self,
        work: impl FnOnce(&PgSession) -> Result<T, StoreError>,
    ) -> Result<Led<T>, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match kept.session.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => open_writer(&self.address, &self.runtime, &self.replica, "accredit ledger", &self.last)?,
        };
        let done = in_transaction(&session, &self.replica, &mut kept.lease, work);
        if !matches!(done, Err(StoreError::Unavailable(_))) {
            kept.session = Some(session);
        }
        done
    }
}

fn in_transaction<T>(
    session: &PgSession,
    replica: &str,
    lease: &mut Option<Sighting>,
    work: impl FnOnce(&PgSession) -> Result<T, StoreError>,
) -> Result<Led<T>, StoreError> {
    session.run("BEGIN; SET LOCAL accredit.tenants = '*'")?;
    let done = match lead(session, replica, lease) {
        Ok(true) => work(session).map(Led::Done),
        Ok(false) => Ok(Led::ByAnother),
        Err(error) => Err(error),
    };
    match done {
        Ok(done) => session.run("COMMIT").map(|()| done),
        Err(error) => {
            if !session.is_closed() {
                let _ = session.run("ROLLBACK");
            }
            Err(error)
        }
    }
}

/// Renews the lease or takes it over. Whether this replica leads until the end of the transaction; if not, it notes how
/// long the lease of the one that does has not been renewed.
fn lead(session: &PgSession, replica: &str, lease: &mut Option<Sighting>) -> Result<bool, StoreError> {
    let run_out = lease.as_ref().filter(|seen| seen.unchanged() >= LEASE).map_or("", Sighting::mark);
    let lease_ms = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
    if !session.ask(LEAD, &[&replica, &lease_ms, &run_out])?.is_empty() {
        *lease = None;
        return Ok(true);
    }
    let asked = Instant::now();
    for row in &session.ask(LEASED, &[])? {
        let mark: String = row.try_get(0)?;
        lease.get_or_insert_with(|| Sighting::of(&mark)).again(&mark, asked);
    }
    Ok(false)
}

/// An entry that has arrived and gets its place.
pub(crate) struct Placed {
    pub(crate) era: i64,
    /// The transaction that it arrived in.
    pub(crate) tx: String,
    pub(crate) n: i64,
    pub(crate) entry: Entry,
}

impl Placed {
    /// The entry, and the hash of its leaf.
    fn read(row: &tokio_postgres::Row) -> Result<(Self, Hash), StoreError> {
        let body: Vec<u8> = row.try_get(3)?;
        let entry = Entry::decode(&body)?;
        let placed = Self { era: row.try_get(0)?, tx: row.try_get(1)?, n: row.try_get(2)?, entry };
        Ok((placed, leaf_hash(&body)))
    }
}

/// Gives entries their places, from `first` on.
pub(crate) fn place(session: &PgSession, first: u64, arrived: &[Placed]) -> Result<(), StoreError> {
    let seqs: Vec<i64> = (first..).take(arrived.len()).map(whole).collect();
    let eras: Vec<i64> = arrived.iter().map(|a| a.era).collect();
    let txs: Vec<&str> = arrived.iter().map(|a| a.tx.as_str()).collect();
    let ns: Vec<i64> = arrived.iter().map(|a| a.n).collect();
    let tenants: Vec<&str> = arrived.iter().map(|a| a.entry.tenant()).collect();
    let kinds: Vec<&str> = arrived.iter().map(|a| a.entry.kind()).collect();
    let times: Vec<i64> = arrived.iter().map(|a| a.entry.at()).collect();
    let searched: Vec<[Option<&str>; 8]> = arrived.iter().map(|a| columns(&a.entry)).collect();
    let column = |at: usize| -> Vec<Option<&str>> { searched.iter().map(|row| row[at]).collect() };
    let columns: [Vec<Option<&str>>; 8] = std::array::from_fn(column);
    let [task, agent, resource, credential, decision, request, workflow, outcome] = &columns;
    let placed = session.tell(
        PLACE,
        &[
            &seqs, &eras, &txs, &ns, &tenants, &kinds, &times, task, agent, resource, credential, decision,
            request, workflow, outcome,
        ],
    );
    match placed? {
        placed if placed == arrived.len() as u64 => Ok(()),
        placed => Err(StoreError::Tree(format!("{placed} of {} entries got a place", arrived.len()))),
    }
}

fn grow(
    session: &PgSession,
    before: &TreeHead,
    appended: &Appended,
    last: &Placed,
) -> Result<(), StoreError> {
    for (tile, hashes) in &appended.tiles {
        let (level, position) = (i64::from(tile.level()), whole(tile.index()));
        session.tell(TILE, &[&level, &position, hashes])?;
    }
    let (size, old_size) = (whole(appended.size), whole(before.size));
    let (root, old_root) = (appended.root.as_bytes().as_slice(), before.root.as_bytes().as_slice());
    match session.tell(GROW, &[&size, &root, &last.era, &last.tx, &last.n, &old_size, &old_root])? {
        1 => Ok(()),
        _ => Err(Cause::Other("the tree was changed by somebody else".into()).into()),
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
