//! The writer of decisions and outcomes: everything that waits in two round trips, whatever its number. It takes no
//! lock that keeps other replicas from recording; what a decision rests on is locked for sharing, so that whoever
//! changes it waits for the record or comes before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use accredit_core::digest::Digest;
use accredit_core::facts::{Prepared, Usage, Used};
use accredit_core::id::{DecisionId, RequestId, TaskId, TenantName};
use accredit_core::resource::Sensitivity;
use accredit_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::address::Address;
use super::session::{Backend, open_writer};
use super::stamps::SHARE;
use crate::batch::{Known, TaskKey};
use crate::error::{Cause, StoreError};
use crate::ledger::entries::NewEntry;
use crate::record::{OpenAction, Recording};
use crate::shared::Shared;
use crate::sql::{Conn, PgSession};
use crate::stamp::Subject;
use crate::view::View;
use crate::writer::{Command, Database, fatal};

pub(crate) struct Records {
    pub(crate) address: Arc<Address>,
    pub(crate) runtime: Handle,
    /// The name of this replica, which its open actions carry.
    pub(crate) replica: Arc<str>,
    pub(crate) last: Backend,
}

impl Database for Records {
    type Connection = PgSession;

    const NAME: &'static str = "records";

    fn conn(connection: &PgSession) -> Conn<'_> {
        Conn::Postgres(connection)
    }

    fn reopen(&self) -> Result<PgSession, StoreError> {
        open_writer(&self.address, &self.runtime, &self.replica, "accredit records", &self.last)
    }

    fn outlives(&self, cause: &Cause) -> bool {
        *cause == Cause::DiskFull
    }

    fn known(&self, _: &PgSession) -> Result<Known, StoreError> {
        Ok(Known::of_many_writers())
    }

    fn begin(&self, connection: &PgSession) -> Result<(), StoreError> {
        connection.run("BEGIN; SET LOCAL accredit.tenants = '*'")
    }

    fn commit(&self, connection: &PgSession) -> Result<(), StoreError> {
        connection.run("COMMIT")
    }

    fn roll_back(&self, connection: &PgSession) {
        if !connection.is_closed() {
            let _ = connection.run("ROLLBACK");
        }
    }

    fn carry_out(
        &self,
        connection: &PgSession,
        known: &mut Known,
        shared: &Shared,
        commands: &mut [Command],
    ) -> Result<(), Cause> {
        let needs = Needs::of(commands);
        let done = Bulk::load(connection, known, &needs).and_then(|mut bulk| {
            commands.iter_mut().try_for_each(|command| match command {
                Command::Record(job) => job.run(&mut bulk),
                Command::Settle(settled) => settled.run(&mut bulk),
                Command::Once(job) => job.run(&mut bulk),
                Command::Flush(_) => Ok(()),
                Command::Change(_) => {
                    Err(Cause::Other("a change came to the writer of records".into()).into())
                }
            })?;
            bulk.write()
        });
        match done {
            Ok(Written { usage, facts }) => {
                known.learn_facts(facts);
                shared.usage.publish(usage);
                Ok(())
            }
            Err(error) => {
                self.roll_back(connection);
                Err(fatal(error))
            }
        }
    }

    fn close(_: PgSession) {}
}

/// What a batch must know before it is judged.
#[derive(Default)]
struct Needs {
    subjects: BTreeSet<String>,
    /// Tasks whose figures must be exact.
    limited: BTreeSet<(TenantName, TaskId, usize)>,
    closing: Vec<(String, String)>,
    /// What is to be used up, in an order that all replicas have.
    once: BTreeMap<(&'static str, String), i64>,
    tenants: BTreeSet<String>,
}

impl Needs {
    fn of(commands: &[Command]) -> Self {
        let mut needs = Self::default();
        for command in commands {
            match command {
                Command::Record(job) => {
                    needs
                        .subjects
                        .extend(job.stamp().reads().map(|(subject, _)| subject.as_str().to_owned()));
                    needs.tenants.insert(job.key().0);
                    needs.limited.extend(job.limited().map(|((tenant, task), place)| (tenant, task, place)));
                }
                Command::Settle(settled) => {
                    let (tenant, decision) = settled.key();
                    needs.closing.push((tenant.to_owned(), decision.to_owned()));
                    needs.tenants.insert(tenant.to_owned());
                }
                Command::Once(job) => {
                    let (kind, hash, expires_at) = job.row();
                    needs.once.insert((kind, hash.to_owned()), expires_at);
                }
                Command::Change(_) | Command::Flush(_) => {}
            }
        }
        needs
    }

    /// The statements that open the transaction, in the scope of exactly the tenants in it.
    fn begin(&self) -> String {
        let tenants: Vec<&str> = self.tenants.iter().map(String::as_str).collect();
        format!("BEGIN; SET LOCAL accredit.tenants = '{}'", tenants.join(","))
    }
}

/// A transaction whose reads were made before and whose writes are made together, after everything was judged.
struct Bulk<'c> {
    session: &'c PgSession,
    view: View<'c>,
    known: &'c Known,
    /// Versions that stay as they are until the commit.
    versions: HashMap<String, u64>,
    /// Subjects that are there, locked or not.
    present: HashSet<String>,
    usage: HashMap<TaskKey, Usage>,
    counted: BTreeMap<(TenantName, TaskId, usize), (u64, u64)>,
    closed: HashSet<(String, String)>,
    /// What was used up by this batch, and by nobody before: the first who asks for it has it.
    fresh: HashSet<(String, String)>,
    opened: Vec<[Option<String>; 6]>,
    opened_at: Vec<i64>,
    ids: HashSet<(String, String)>,
    entries: Vec<(String, Vec<u8>)>,
    facts: HashMap<(TenantName, Digest), String>,
}

/// What is known once everything was committed.
struct Written {
    usage: Vec<(TaskKey, Usage)>,
    facts: Vec<(TenantName, Digest)>,
}

const LOOK: &str = "SELECT subject FROM stamp WHERE subject = ANY (?1)";
const FIRST_USE: &str = "INSERT INTO usage (tenant, task, place, calls, bytes)
    SELECT tenant, task, place, 0, 0
    FROM unnest(CAST(?1 AS TEXT[]), CAST(?2 AS TEXT[]), CAST(?3 AS BIGINT[])) AS used (tenant, task, place)
    ON CONFLICT DO NOTHING";
const USED: &str = "SELECT usage.tenant, usage.task, usage.place, usage.calls, usage.bytes FROM usage
    JOIN unnest(CAST(?1 AS TEXT[]), CAST(?2 AS TEXT[]), CAST(?3 AS BIGINT[])) AS used (tenant, task, place)
    USING (tenant, task, place) ORDER BY tenant, task, place FOR UPDATE OF usage";
const CLOSE: &str =
    "DELETE FROM open_action USING unnest(CAST(?1 AS TEXT[]), CAST(?2 AS TEXT[])) AS over (tenant, decision)
    WHERE open_action.tenant = over.tenant AND open_action.decision = over.decision
    RETURNING open_action.tenant, open_action.decision";
const ONCE: &str = "INSERT INTO used_once (kind, hash, expires_at)
    SELECT * FROM unnest(CAST(?1 AS TEXT[]), CAST(?2 AS TEXT[]), CAST(?3 AS BIGINT[]))
    ON CONFLICT DO NOTHING RETURNING kind, hash";
const ARRIVE: &str = "INSERT INTO arrival (tenant, body)
    SELECT tenant, body FROM unnest(CAST(?1 AS TEXT[]), CAST(?2 AS BYTEA[])) AS arriving (tenant, body)";
const OPEN: &str = "INSERT INTO open_action (tenant, decision, task, agent, resource, credential, at)
    SELECT * FROM unnest(CAST(?1 AS TEXT[]), CAST(?2 AS TEXT[]), CAST(?3 AS TEXT[]), CAST(?4 AS TEXT[]),
        CAST(?5 AS TEXT[]), CAST(?6 AS TEXT[]), CAST(?7 AS BIGINT[]))";
const KEEP: &str = "INSERT INTO facts (tenant, digest, text)
    SELECT * FROM unnest(CAST(?1 AS TEXT[]), CAST(?2 AS BYTEA[]), CAST(?3 AS TEXT[])) ON CONFLICT DO NOTHING";
const COUNT: &str = "INSERT INTO usage (tenant, task, place, calls, bytes)
    SELECT * FROM unnest(CAST(?1 AS TEXT[]), CAST(?2 AS TEXT[]), CAST(?3 AS BIGINT[]), CAST(?4 AS BIGINT[]),
        CAST(?5 AS BIGINT[]))
    ON CONFLICT (tenant, task, place)
        DO UPDATE SET calls = usage.calls + excluded.calls, bytes = usage.bytes + excluded.bytes
    RETURNING tenant, task, place, calls, bytes";

impl<'c> Bulk<'c> {
    /// Opens the transaction, locks what the batch rests on, and reads what it must know: one round trip.
    fn load(session: &'c PgSession, known: &'c Known, needs: &Needs) -> Result<Self, StoreError> {
        let subjects: Vec<&str> = needs.subjects.iter().map(String::as_str).collect();
        let limited = three(needs.limited.iter().map(|(t, k, p)| (t, k, *p)));
        let closing: (Vec<&str>, Vec<&str>) =
            needs.closing.iter().map(|(tenant, decision)| (tenant.as_str(), decision.as_str())).unzip();
        let lock = Ask::new(session, SHARE, !subjects.is_empty(), vec![&subjects])?;
        let keys: Vec<&(dyn ToSql + Sync)> = vec![&limited.0, &limited.1, &limited.2];
        let first_use = Ask::new(session, FIRST_USE, !limited.0.is_empty(), keys.clone())?;
        let used = Ask::new(session, USED, !limited.0.is_empty(), keys)?;
        let close = Ask::new(session, CLOSE, !closing.0.is_empty(), vec![&closing.0, &closing.1])?;
        let (kinds, hashes): (Vec<&str>, Vec<&str>) =
            needs.once.keys().map(|(kind, hash)| (*kind, hash.as_str())).unzip();
        let until: Vec<i64> = needs.once.values().copied().collect();
        let once = Ask::new(session, ONCE, !kinds.is_empty(), vec![&kinds, &hashes, &until])?;
        let (client, begin) = (session.client(), needs.begin());
        let ((), locked, _, used, closed, once) = session.wait(async {
            tokio::try_join!(
                client.batch_execute(&begin),
                lock.rows(client),
                first_use.rows(client),
                used.rows(client),
                close.rows(client),
                once.rows(client),
            )
        })?;
        let versions: HashMap<String, u64> = locked.iter().map(version).collect::<Result<_, _>>()?;
        let mut present: HashSet<String> = HashSet::new();
        if versions.len() < subjects.len() {
            for row in &session.ask(LOOK, &[&subjects])? {
                present.insert(row.try_get(0)?);
            }
        }
        let closed = closed.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let closed = closed.collect::<Result<_, StoreError>>()?;
        let fresh = once.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let fresh = fresh.collect::<Result<_, StoreError>>()?;
        let mut usage: HashMap<TaskKey, Usage> = HashMap::new();
        for row in &used {
            let (key, place, calls, bytes) = read_figures(row)?;
            usage.entry(key).or_default().add(place, calls, bytes);
        }
        Ok(Self {
            session,
            view: View::new(Conn::Postgres(session)),
            known,
            versions,
            present,
            usage,
            counted: BTreeMap::new(),
            closed,
            fresh,
            opened: Vec::new(),
            opened_at: Vec::new(),
            ids: HashSet::new(),
            entries: Vec::new(),
            facts: HashMap::new(),
        })
    }

    /// Writes everything and commits it: one round trip.
    fn write(self) -> Result<Written, StoreError> {
        let session = self.session;
        let entries: (Vec<&str>, Vec<&[u8]>) =
            self.entries.iter().map(|(tenant, body)| (tenant.as_str(), body.as_slice())).unzip();
        let column =
            |at: usize| -> Vec<Option<&str>> { self.opened.iter().map(|row| row[at].as_deref()).collect() };
        let opened: [Vec<Option<&str>>; 6] = std::array::from_fn(column);
        let texts: Vec<&str> = self.facts.values().map(String::as_str).collect();
        let (tenants, digests): (Vec<&str>, Vec<&[u8]>) =
            self.facts.keys().map(|(tenant, digest)| (tenant.as_str(), digest.as_bytes().as_slice())).unzip();
        let counted = three(self.counted.keys().map(|(t, k, p)| (t, k, *p)));
        let (calls, bytes): (Vec<i64>, Vec<i64>) =
            self.counted.values().map(|(calls, bytes)| (whole(*calls), whole(*bytes))).unzip();
        let mut row: Vec<&(dyn ToSql + Sync)> = opened.iter().map(|column| column as _).collect();
        row.push(&self.opened_at);
        let arrive = Ask::new(session, ARRIVE, !entries.0.is_empty(), vec![&entries.0, &entries.1])?;
        let open = Ask::new(session, OPEN, !self.opened.is_empty(), row)?;
        let keep = Ask::new(session, KEEP, !texts.is_empty(), vec![&tenants, &digests, &texts])?;
        let figures: Vec<&(dyn ToSql + Sync)> = vec![&counted.0, &counted.1, &counted.2, &calls, &bytes];
        let count = Ask::new(session, COUNT, !counted.0.is_empty(), figures)?;
        let client = session.client();
        let (_, _, _, used, ()) = session.wait(async {
            tokio::try_join!(
                arrive.rows(client),
                open.rows(client),
                keep.rows(client),
                count.rows(client),
                client.batch_execute("COMMIT"),
            )
        })?;
        // What was read is told as well: others have counted too, and whoever decides again must know.
        let mut usage = self.usage;
        for row in &used {
            let (key, place, calls, bytes) = read_figures(row)?;
            let mut figures = Usage::default();
            figures.add(place, calls, bytes);
            usage.entry(key).or_default().join(&figures);
        }
        Ok(Written { usage: usage.into_iter().collect(), facts: self.facts.into_keys().collect() })
    }
}

/// One of several statements that are sent together, if there is anything to ask.
struct Ask<'a> {
    statement: Option<Statement>,
    params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Ask<'a> {
    fn new(
        session: &PgSession,
        sql: &str,
        wanted: bool,
        params: Vec<&'a (dyn ToSql + Sync)>,
    ) -> Result<Self, StoreError> {
        Ok(Self { statement: wanted.then(|| session.prepared(sql)).transpose()?, params })
    }

    async fn rows(&self, client: &Client) -> Result<Vec<Row>, tokio_postgres::Error> {
        match &self.statement {
            Some(statement) => client.query(statement, &self.params).await,
            None => Ok(Vec::new()),
        }
    }
}

fn three<'a>(
    keys: impl Iterator<Item = (&'a TenantName, &'a TaskId, usize)>,
) -> (Vec<&'a str>, Vec<&'a str>, Vec<i64>) {
    keys.fold(Default::default(), |(mut tenants, mut tasks, mut places), (tenant, task, place)| {
        tenants.push(tenant.as_str());
        tasks.push(task.as_str());
        places.push(whole(place as u64));
        (tenants, tasks, places)
    })
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(row: &Row, at: usize) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(at)?;
    u64::try_from(number).map_err(|_| StoreError::document("row", format!("column {at} holds {number}")))
}

fn version(row: &Row) -> Result<(String, u64), StoreError> {
    Ok((row.try_get(0)?, count(row, 1)?))
}

fn read_figures(row: &Row) -> Result<(TaskKey, usize, u64, u64), StoreError> {
    let (tenant, task): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let tenant = TenantName::parse(&tenant).map_err(|e| StoreError::document("usage", e))?;
    let task = TaskId::parse(&task).map_err(|e| StoreError::document("usage", e))?;
    let place = usize::try_from(count(row, 2)?).unwrap_or(usize::MAX);
    Ok(((tenant, task), place, count(row, 3)?, count(row, 4)?))
}

impl Recording for Bulk<'_> {
    fn view(&self) -> &View<'_> {
        &self.view
    }

    /// A subject that is there and could not be locked is being changed; one that is not there was never changed.
    fn version(&mut self, subject: &Subject) -> Result<Option<u64>, StoreError> {
        match self.versions.get(subject.as_str()) {
            Some(version) => Ok(Some(*version)),
            None if self.present.contains(subject.as_str()) => Ok(None),
            None => Ok(Some(0)),
        }
    }

    fn exact(&mut self, key: &TaskKey, place: usize) -> Result<Used, StoreError> {
        Ok(self.usage.get(key).map(|usage| usage.of(place)).unwrap_or_default())
    }

    fn usage(&mut self, key: &TaskKey) -> Result<&Usage, StoreError> {
        Ok(self.usage.entry(key.clone()).or_default())
    }

    fn open_action(&mut self, action: &OpenAction<'_>) -> Result<bool, StoreError> {
        let (tenant, decision, task, agent, resource, credential, at) = action.row();
        if !self.ids.insert((tenant.to_owned(), decision.to_owned())) {
            return Ok(false);
        }
        let row = [Some(tenant), Some(decision), Some(task), Some(agent), resource, credential];
        self.opened.push(row.map(|text| text.map(str::to_owned)));
        self.opened_at.push(at);
        Ok(true)
    }

    fn close_action(&mut self, tenant: &str, decision: &str) -> Result<bool, StoreError> {
        Ok(self.closed.remove(&(tenant.to_owned(), decision.to_owned())))
    }

    fn keep_facts(&mut self, prepared: &Prepared) -> Result<(), StoreError> {
        let key = (prepared.facts().tenant.clone(), prepared.digest());
        if !self.known.has_facts(&key) {
            self.facts.entry(key).or_insert_with(|| prepared.text().to_owned());
        }
        Ok(())
    }

    fn count(&mut self, key: &TaskKey, grant: usize, calls: u64, bytes: u64) -> Result<(), StoreError> {
        if let Some(usage) = self.usage.get_mut(key) {
            usage.add(grant, calls, bytes);
        }
        let counted = self.counted.entry((key.0.clone(), key.1.clone(), grant)).or_default();
        *counted = (counted.0.saturating_add(calls), counted.1.saturating_add(bytes));
        Ok(())
    }

    /// What a task has seen is a version of the task here: a decision made without it does not come this far.
    fn saw_more(&mut self, _: &TaskKey, _: &Usage) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Decisions that let a task see more are written by the writer of changes.
    fn see(&mut self, _: &TaskKey, _: Sensitivity) -> Result<(), StoreError> {
        Ok(())
    }

    /// Decisions that ask somebody are written by the writer of changes.
    fn ask(&mut self, _: &TaskKey) -> Result<(), StoreError> {
        Ok(())
    }

    /// So are those that use an answer up; one that came here is not recorded.
    fn use_approval(
        &mut self,
        _: &TenantName,
        _: &RequestId,
        _: &DecisionId,
        _: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn use_once(&mut self, kind: &'static str, hash: &str, _: i64) -> Result<bool, StoreError> {
        Ok(self.fresh.remove(&(kind.to_owned(), hash.to_owned())))
    }

    fn append(&mut self, entry: &NewEntry) -> Result<(), StoreError> {
        self.entries.push((entry.tenant().to_owned(), entry.bytes().to_vec()));
        Ok(())
    }
}
