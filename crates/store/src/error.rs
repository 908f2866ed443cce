//! What can go wrong, one enum per operation. Every one of them ends in a refusal, never in an allow.

use accredit_core::decision::Decision;
use accredit_ledger::EntryError;
use rusqlite::ErrorCode;

/// Why the database does not take work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// No room on the disk. Work resumes by itself when there is some.
    #[error("the disk is full")]
    DiskFull,
    /// Reading, writing or flushing failed: nothing is believed until it was read back from the file.
    #[error("the disk failed: {0}")]
    Io(String),
    /// The file is not what this program wrote.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// The head kept outside the database tells another history.
    #[error("the database does not continue the ledger head kept outside it")]
    Forked,
    /// A fault of the code that asked: its change panicked.
    #[error("a change failed inside the program")]
    Panicked,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// It does not answer, or says that it is not there for us now.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Anything else that the database reports.
    #[error("the database failed: {0}")]
    Other(String),
}

impl Cause {
    /// A stable word for the ledger and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Io(_) => "disk_failed",
            Self::Corrupt(_) => "database_damaged",
            Self::Forked => "ledger_forked",
            Self::Panicked => "internal",
            Self::Closed => "closed",
            Self::Unreachable(_) => "database_unreachable",
            Self::Other(_) => "database_failed",
        }
    }
}

/// Why one access to the database failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used at all.
    #[error(transparent)]
    Unavailable(#[from] Cause),
    /// Something else already has what must be unique: a name, an endpoint, an id.
    #[error("it is already taken: {0}")]
    Conflict(String),
    /// A stored document is not of the form that this version writes.
    #[error("a stored {what} cannot be read: {why}")]
    Document {
        /// Sort of document.
        what: &'static str,
        /// What the parser said.
        why: String,
    },
    /// The event is not one that the ledger may hold.
    #[error("the ledger refuses the entry: {0}")]
    Entry(#[from] EntryError),
    /// A tile or root of the ledger cannot be used.
    #[error("the ledger's tree cannot be used: {0}")]
    Tree(String),
}

impl StoreError {
    pub(crate) fn document(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Document { what, why: why.to_string() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Self::document("row", text);
        };
        Self::Unavailable(match failure.code {
            ErrorCode::ConstraintViolation => return Self::Conflict(text),
            ErrorCode::DiskFull => Cause::DiskFull,
            ErrorCode::SystemIoFailure => Cause::Io(text),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Cause::Corrupt(text),
            // The statement or a value is wrong, the database is not.
            ErrorCode::Unknown
            | ErrorCode::TooBig
            | ErrorCode::TypeMismatch
            | ErrorCode::ParameterOutOfRange => {
                return Self::document("statement", text);
            }
            _ => Cause::Other(text),
        })
    }
}

/// Why a change was not made. Nothing of it is left, in the database or the ledger.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The use case refused.
    #[error("{0}")]
    Refused(E),
    /// More is waiting than the queue holds: try again later.
    #[error("the store has too much to do")]
    Full,
    /// The database does not take work. When the very flush of this change failed, it may turn out to have been
    /// made, whole and with its entry, once the file was read back: whoever asked reads again before repeating it.
    #[error(transparent)]
    Unavailable(Cause),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// Why a decision was not recorded. The action must not happen.
#[derive(thiserror::Error)]
pub enum RecordError {
    /// Something that the decision rests on has changed since: decide again from fresh facts.
    #[error("the facts have changed since the decision")]
    Narrowed(Box<Decision>),
    /// Another use took the last of a limit, or let the task see more than policy was asked about: decide
    /// again from fresh figures.
    #[error("the task used more since the decision")]
    LimitReached(Box<Decision>),
    /// More is waiting than the queue holds.
    #[error("the store has too much to do")]
    Overloaded,
    /// The database does not take work, or the entry is refused by the ledger.
    #[error("the decision cannot be recorded: {0}")]
    Unavailable(String),
}

impl std::fmt::Debug for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A decision is not for logs in whole.
        std::fmt::Display::fmt(self, f)
    }
}

/// Why there are no facts. The action must not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// The tenant has no such task.
    #[error("there is no such task")]
    NoTask,
    /// The facts cannot be read or do not fit together.
    #[error("the facts cannot be read: {0}")]
    Unavailable(String),
}

impl From<StoreError> for FactsError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
