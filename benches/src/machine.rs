//! What this machine is, so that a figure can be read later: processor, memory, kernel, file system, compiler.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use accredit_core::time::Timestamp;

/// The present instant.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Processors that may be used.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `2x-some-processor`: what the machine is called in the name of a file.
pub(crate) fn name() -> String {
    let model = processor();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = model.chars().map(plain).collect();
    let words: Vec<&str> = words.split('-').filter(|w| !w.is_empty()).take(6).collect();
    format!("{}x-{}", processors(), words.join("-"))
}

/// One line for each thing.
pub(crate) fn description() -> String {
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let profile = if cfg!(debug_assertions) { "debug: the figures mean nothing" } else { "release" };
    let directory = std::env::temp_dir();
    [
        format!("processor    {} x {}", processors(), processor()),
        format!("memory       {memory}"),
        format!("kernel       {}", kernel.trim()),
        format!(
            "directory    {} on {}",
            directory.display(),
            said("stat", &["-f", "-c", "%T", &directory.display().to_string()])
        ),
        format!("compiler     {}", said("rustc", &["--version"])),
        format!("profile      {profile}"),
        format!("load before  {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()),
    ]
    .join("\n")
}

fn processor() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    text.unwrap_or_else(|| "unknown".to_owned())
}
