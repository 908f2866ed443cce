//! The command itself: found, started with its environment, told what the runner is told, and its end as an exit code.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::environment::Changes;
use super::tree;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long a command may take to end after the runner was told to.
const GRACE: Duration = Duration::from_secs(10);
/// `ENOEXEC`: the file is executable and holds no program.
const NO_PROGRAM: i32 = 8;

/// Finds the program before anything is started for it.
///
/// # Errors
/// 127 when there is none, 126 when it cannot be executed, as `env` and container tools have it.
pub(crate) fn find(program: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
    let named = program.to_string_lossy().into_owned();
    let missing = || {
        Failure::new(
            Exit::NoCommand,
            "no_command",
            format!("`{named}` was not started"),
            "there is no such command",
        )
    };
    let forbidden = || {
        Failure::new(
            Exit::NotExecutable,
            "not_executable",
            format!("`{named}` was not started"),
            "it cannot be executed",
        )
    };
    if named.contains('/') {
        let path = PathBuf::from(program);
        return match executable(&path) {
            Some(true) => Ok(path),
            Some(false) => Err(forbidden()),
            None => Err(missing()),
        };
    }
    let dirs: Vec<PathBuf> = path.map(|p| std::env::split_paths(p).collect()).unwrap_or_default();
    let candidates = || dirs.iter().map(|dir| dir.join(program));
    if let Some(found) = candidates().find(|p| executable(p) == Some(true)) {
        return Ok(found);
    }
    let there = candidates().any(|p| executable(&p) == Some(false) && !p.is_dir());
    Err(if there { forbidden() } else { missing() })
}

/// Whether a file can be executed; `None` when it is not there.
fn executable(path: &Path) -> Option<bool> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Starts the command in our own process group, on our own terminal.
///
/// # Errors
/// 126 or 127 when the kernel does not execute it.
pub(crate) fn start(command: &[OsString], changes: &Changes) -> Result<Child, Failure> {
    let (program, arguments) = command.split_first().expect("the command line requires a command");
    let mut child = Command::new(program);
    child.args(arguments).envs(&changes.set);
    changes.remove.iter().for_each(|name| {
        child.env_remove(name);
    });
    child.spawn().map_err(|error| {
        let refused =
            error.kind() == io::ErrorKind::PermissionDenied || error.raw_os_error() == Some(NO_PROGRAM);
        let exit = if refused { Exit::NotExecutable } else { Exit::NoCommand };
        let what = format!("`{}` was not started", program.to_string_lossy());
        Failure::new(exit, "not_started", what, error)
    })
}

/// Waits for the command, passing on what the runner is told. After a request to end, the command has ten
/// seconds.
///
/// # Errors
/// When the kernel does not say how it ended.
pub(crate) async fn wait(child: &mut Child) -> io::Result<Exit> {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut orphans = signal(SignalKind::child())?;
    let mut deadline = None;
    loop {
        let received = tokio::select! {
            status = child.wait() => return Ok(exit_of(status?)),
            _ = interrupt.recv() => Signal::INT,
            _ = quit.recv() => Signal::QUIT,
            _ = terminate.recv() => Signal::TERM,
            _ = hangup.recv() => Signal::HUP,
            _ = orphans.recv() => { reap_orphans(pid); continue },
            () = over(deadline) => { child.start_kill()?; deadline = None; continue },
        };
        if matches!(received, Signal::TERM | Signal::HUP) {
            deadline.get_or_insert_with(|| tokio::time::Instant::now() + GRACE);
        }
        if !(matches!(received, Signal::INT | Signal::QUIT) && terminal_tells_the_group()) {
            let _ = pid.map(|pid| kill_process(pid, received));
        }
    }
}

async fn over(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Whether a key on the terminal signals the command along with the runner, because both are in its foreground
/// group: then passing the signal on would deliver it twice, which many tools read as "at once".
fn terminal_tells_the_group() -> bool {
    let terminal = std::fs::File::open("/dev/tty").ok();
    terminal.and_then(|t| rustix::termios::tcgetpgrp(&t).ok()) == Some(rustix::process::getpgrp())
}

/// Collects adopted processes that have ended, but never the command itself. A process that adopts none has none: what
/// descends from it has somebody else waiting for it.
fn reap_orphans(command: Option<Pid>) {
    if !matches!(rustix::process::child_subreaper(), Ok(Some(_))) {
        return;
    }
    let me = std::process::id();
    for pid in tree::descendants(me).into_iter().filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        if Some(pid) != command {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// The code of a command, or 128 and the number of the signal that ended it.
fn exit_of(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap_or(255);
    Exit::Child(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process has one command: whoever waits for one collects every other child as an orphan.
    static ONE_COMMAND: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    async fn run(command: &[&str], changes: &Changes) -> Exit {
        let _alone = ONE_COMMAND.lock().await;
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let mut child = start(&command, changes).expect("a program");
        wait(&mut child).await.expect("an end")
    }

    #[tokio::test]
    async fn the_exit_code_is_the_commands_own() {
        for (script, code) in [("true", 0), ("exit 37", 37), ("kill -TERM $$", 143)] {
            assert_eq!(run(&["sh", "-c", script], &Changes::default()).await, Exit::Child(code), "{script}");
        }
    }

    #[test]
    fn a_command_that_cannot_run_is_told_from_one_that_is_not_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "x").expect("a file");
        let code = |program: &OsStr, path: &OsStr| find(program, Some(path)).map_err(|f| f.exit().code());
        let here = dir.path().as_os_str();
        assert_eq!(code(plain.as_os_str(), here), Err(126));
        assert_eq!(code(OsStr::new("plain"), here), Err(126));
        assert_eq!(code(OsStr::new("nothing"), here), Err(127));
        assert_eq!(code(OsStr::new("/nowhere/nothing"), here), Err(127));
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        assert_eq!(code(OsStr::new("plain"), here), Ok(plain.clone()));
    }

    #[tokio::test]
    async fn variables_are_set_and_taken_away() {
        let mut changes = Changes::default();
        changes.set.insert("ACCREDIT_TEST".to_owned(), "here".to_owned());
        changes.remove.push("PATH".into());
        let script = "[ \"$ACCREDIT_TEST\" = here ] && ! /usr/bin/env | /usr/bin/grep -q ^PATH=";
        assert_eq!(run(&["/bin/sh", "-c", script], &changes).await, Exit::Child(0));
    }
}
