//! The exit codes of every command. They are an interface: scripts branch on them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok,
    /// It failed, or what it checked is not as it must be.
    Error,
    /// The command line or a file that a person writes was not understood.
    Usage,
    /// What it names does not exist.
    NotFound,
    /// It was refused.
    Denied,
    /// It waits for a person, or the wait is over.
    Pending,
    /// The operator is not signed in.
    SignIn,
    /// It collides with what is there.
    Conflict,
    /// Nobody answers at the other end.
    Unreachable,
    /// Whoever read its output has gone, as after `| head`: the code of a command that `SIGPIPE` ended.
    ReaderGone,
    /// `run`: our own part failed before the command could start.
    RunFailed,
    /// `run`: the command is there and cannot be executed.
    NotExecutable,
    /// `run`: there is no such command.
    NoCommand,
    /// `run`: what the command itself ended with.
    Child(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Pending => 5,
            Self::SignIn => 6,
            Self::Conflict => 7,
            Self::Unreachable => 8,
            Self::ReaderGone => 141,
            Self::RunFailed => 125,
            Self::NotExecutable => 126,
            Self::NoCommand => 127,
            Self::Child(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let documented = [
            (Exit::Ok, 0),
            (Exit::Error, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Denied, 4),
            (Exit::Pending, 5),
            (Exit::SignIn, 6),
            (Exit::Conflict, 7),
            (Exit::Unreachable, 8),
            (Exit::RunFailed, 125),
            (Exit::NotExecutable, 126),
            (Exit::NoCommand, 127),
            (Exit::Child(143), 143),
        ];
        for (exit, code) in documented {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
