//! Processes that are measured: this program again in one of its roles, or a peer, each pinned to one processor,
//! with the processor time and memory that it has taken so far.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, gateway, load, machine, peers, upstream};

/// First argument of a process that plays a role.
pub(crate) const ROLE: &str = "as";

/// Plays the role that the arguments name, until standard input ends.
pub(crate) fn become_role(arguments: &[String]) -> Result<(), Failure> {
    match arguments.first().map(String::as_str) {
        Some("upstream") => upstream::serve(),
        Some("bare-proxy") => peers::bare::serve(),
        Some("gateway") => gateway::serve(),
        Some("load") => load::serve(),
        other => Err(format!("no such role: {other:?}").into()),
    }
}

/// One processor for what is measured, another for everything around it, where there are two.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// Where the measured process runs.
    Measured,
    /// Where upstream and load run.
    Around,
}

/// A running process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program in a role.
    pub(crate) fn role(role: &str, place: Place) -> Result<Self, Failure> {
        let mut command = pinned(&std::env::current_exe()?, place);
        command.args([ROLE, role]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Ok(Self { child, input, output })
    }

    /// Starts another program.
    pub(crate) fn program(program: &Path, arguments: &[&str], place: Place) -> Result<Self, Failure> {
        let mut command = pinned(program, place);
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, input: None, output: None })
    }

    /// Gives the role its task, one line of JSON.
    pub(crate) fn tell(&mut self, what: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let input = self.input.as_mut().ok_or("this process takes no input")?;
        input.write_all(&line)?;
        Ok(input.flush()?)
    }

    /// Takes the role's answer, one line of JSON.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let mut line = String::new();
        let output = self.output.as_mut().ok_or("this process gives no output")?;
        if output.read_line(&mut line)? == 0 {
            return Err("the process ended without an answer".into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Processor time of the process and its children so far.
    pub(crate) fn cpu(&self) -> Duration {
        let pids = family(self.child.id());
        Duration::from_nanos(pids.iter().map(|pid| cpu_ns(*pid)).sum())
    }

    /// Resident memory of the process, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1_024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // A peer with workers ends them when it is asked to; killing it would leave them.
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pinned(program: &Path, place: Place) -> Command {
    if machine::processors() < 2 || !Path::new("/usr/bin/taskset").exists() {
        return Command::new(program);
    }
    let cpu = match place {
        Place::Measured => "0",
        Place::Around => "1",
    };
    let mut command = Command::new("/usr/bin/taskset");
    command.args(["-c", cpu]).arg(program);
    command
}

/// Nanoseconds on a processor, of all threads that live. Threads that ended are not counted: ours live as long as
/// their process.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.filter_map(of).sum()
}

/// The process and everything that descends from it.
fn family(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `pid (name) state parent …`; the name may hold anything.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut left) = (Vec::new(), vec![root]);
    while let Some(pid) = left.pop() {
        found.push(pid);
        left.extend(children.get(&pid).into_iter().flatten());
    }
    found
}

/// Reads what the parent says to a role.
pub(crate) fn task<T: DeserializeOwned>() -> Result<T, Failure> {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        return Err("nobody said what to do".into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// Answers the parent.
pub(crate) fn answer(what: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}

/// Ends this process when the parent has gone.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let mut rest = String::new();
        while std::io::stdin().lock().read_line(&mut rest).is_ok_and(|n| n > 0) {
            rest.clear();
        }
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    });
}
