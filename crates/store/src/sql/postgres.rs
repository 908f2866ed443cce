//! A session of PostgreSQL, as a thread that may wait uses it. Every answer has a deadline: a database that says
//! nothing is a database that cannot be reached.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error, Statement};

use super::{Go, Row, Value};
use crate::error::{Cause, StoreError};

pub(crate) use tokio_postgres::Row as PgRow;

/// How long one answer of the database is waited for. A commit that waits for a synchronous standby is the longest
/// thing that is waited for; what takes longer is taken for lost.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Statements kept prepared per session: more than the crate has texts, searches with their variants included.
const STATEMENTS_MAX: usize = 512;
/// How often it is looked whether an answer that may take long is still worth waiting for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One session. It is lost for good after an error of the connection; whoever owns it opens another.
pub(crate) struct PgSession {
    client: Client,
    runtime: Handle,
    statements: RefCell<HashMap<Box<str>, Statement>>,
}

impl PgSession {
    pub(crate) fn new(client: Client, runtime: Handle) -> Self {
        Self { client, runtime, statements: RefCell::default() }
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an answer, no longer than [`ANSWER_TIME_MAX`].
    pub(crate) fn wait<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        let within = async { tokio::time::timeout(ANSWER_TIME_MAX, answer).await };
        match self.runtime.block_on(within) {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Cause::Unreachable("it did not answer in time".into()).into()),
        }
    }

    /// Runs statements that may wait for others for up to `max`, for as long as it is `worth_it`.
    pub(crate) fn run_after_others(
        &self,
        sql: &str,
        max: Duration,
        worth_it: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        let until = Instant::now() + max;
        let waiting = async {
            let answer = self.client.batch_execute(sql);
            tokio::pin!(answer);
            loop {
                match tokio::time::timeout(LOOK_EVERY, &mut answer).await {
                    Ok(answer) => return Some(answer),
                    Err(_) if Instant::now() < until && worth_it() => {}
                    Err(_) => return None,
                }
            }
        };
        match self.runtime.block_on(waiting) {
            Some(answer) => Ok(answer?),
            None => Err(Cause::Unreachable("others have not come to an end in time".into()).into()),
        }
    }

    /// The prepared form of a text.
    pub(crate) fn prepared(&self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wait(self.client.prepare(&numbered(sql)))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS_MAX {
            statements.clear();
        }
        statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }

    /// The rows of a query whose parameters are lists or of other types than the queries of both databases have.
    pub(crate) fn ask(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<PgRow>, StoreError> {
        let statement = self.prepared(sql)?;
        self.wait(self.client.query(&statement, params))
    }

    /// Changes rows as such a query says, and says how many.
    pub(crate) fn tell(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        self.wait(self.client.execute(&statement, params))
    }

    pub(super) fn each(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<Go, StoreError>,
    ) -> Result<(), StoreError> {
        for row in self.ask(sql, &dynamic(params))? {
            if read(&Row::Postgres(&row))? == Go::Enough {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        let changed = self.tell(sql, &dynamic(params))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(crate) fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.wait(self.client.batch_execute(sql))
    }
}

/// Parameters as the client takes them.
fn dynamic<'v>(params: &'v [Value<'v>]) -> Vec<&'v (dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// The text with PostgreSQL's marks for parameters: `?3` is `$3`, and a bare `?` is the next one. Texts of this crate
/// have no question mark inside a literal.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let (mut rest, mut next) = (sql, 1);
    while let Some(at) = rest.find('?') {
        out.push_str(&rest[..at]);
        out.push('$');
        rest = &rest[at + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            out.push_str(&next.to_string());
            next += 1;
        }
    }
    out.push_str(rest);
    out
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(integer) if *ty == Type::INT4 => i32::try_from(*integer)?.to_sql(ty, out),
            Value::Integer(integer) if *ty == Type::INT8 => integer.to_sql(ty, out),
            Value::Integer(_) => Err(format!("a number where {ty} is expected").into()),
            Value::Text(text) => text.to_sql(ty, out),
            Value::Blob(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Which type a value fits is looked at when it is written: only then it is known which value it is.
        true
    }

    to_sql_checked!();
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let Some(said) = error.as_db_error() else {
            return Self::of_client(&error);
        };
        // Only the message: details and context may hold values.
        let text = format!("{} ({})", said.message(), said.code().code());
        let class = said.code().code().get(..2).unwrap_or_default();
        Self::Unavailable(match class {
            "23" => return Self::Conflict(text),
            _ if *said.code() == SqlState::DISK_FULL => Cause::DiskFull,
            _ if *said.code() == SqlState::IO_ERROR => Cause::Io(text),
            "XX" => Cause::Corrupt(text),
            // It goes down, comes up, is a standby, or has no room for another session.
            "08" | "25" | "53" | "57" | "58" => Cause::Unreachable(text),
            // The statement or a value is wrong, the database is not.
            "0A" | "21" | "22" | "26" | "42" => return Self::document("statement", text),
            _ => Cause::Other(text),
        })
    }
}

impl StoreError {
    /// An error of the connection, or of a value that does not fit its column.
    fn of_client(error: &Error) -> Self {
        use std::error::Error as _;
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        let text = format!("{error}{cause}");
        let conversion = error.source().is_some_and(|source| {
            source.is::<tokio_postgres::types::WrongType>() || source.is::<std::num::TryFromIntError>()
        });
        if conversion || text.starts_with("error serializing") || text.starts_with("error deserializing") {
            return Self::document("row", text);
        }
        Cause::Unreachable(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_parameters_become_those_of_postgresql() {
        for (sql, wanted) in [
            ("SELECT 1", "SELECT 1"),
            ("a = ?1 AND b = ?2 AND c = ?1", "a = $1 AND b = $2 AND c = $1"),
            ("a = ? AND b IN (?, ?) LIMIT ?", "a = $1 AND b IN ($2, $3) LIMIT $4"),
            ("VALUES (?10, ?11)", "VALUES ($10, $11)"),
        ] {
            assert_eq!(numbered(sql), wanted);
        }
    }
}
