//! Why a call brought no answer that its caller can use, and whose doing it was.

use accredit_api::Problem;

/// A call that brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers there.
    #[error("nobody answers at {at}: {source}")]
    Unreachable {
        /// Where.
        at: String,
        /// Why.
        source: std::io::Error,
    },
    /// The other end could not prove that it is the server that was named.
    #[error("the server at {at} did not prove who it is: {source}")]
    Untrusted {
        /// Where.
        at: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection ended before the answer was whole.
    #[error("the connection to {at} broke: {source}")]
    Broken {
        /// Where.
        at: String,
        /// Why.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("no answer from {at} within {seconds} s")]
    TimedOut {
        /// Where.
        at: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// The server refused, and says why and what to do.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The answer is not one of this protocol: another program or another version answers there.
    #[error("{at} answered what is not of this protocol: {why}")]
    Protocol {
        /// Where.
        at: String,
        /// What is wrong with it. Never the answer itself.
        why: String,
    },
    /// What was to be sent cannot be a request.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

impl CallError {
    /// The refusal, where the server gave one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Protocol { .. }
            | Self::Request(_) => None,
        }
    }

    /// Whether the call may be repeated as it is: nothing was decided about it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused(problem) => problem.status == 503,
            Self::Untrusted { .. } | Self::Protocol { .. } | Self::Request(_) => false,
        }
    }
}
