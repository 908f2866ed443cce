//! Files that are generated and checked in: `openapi.json` and the test vectors.
//!
//! They are in the tree so that a change of the interface is a diff that a reader sees. `--check` compares and
//! changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;
use crate::output;
use crate::tree;

const OPENAPI: &str = "openapi.json";

/// Writes the description of the control plane that the binary prints, or compares it with the one in the tree.
pub(crate) fn openapi(root: &Path, check: bool) -> Result<bool, Failure> {
    let printed = cargo_output(root, &["run", "-q", "-p", "accredit", "--", "openapi"])?;
    let wanted = normal(&printed)?;
    let path = root.join(OPENAPI);
    if !check {
        fs::write(&path, wanted).map_err(|source| tree::file_failure(&path, source))?;
        output::line(&format!("openapi: wrote {OPENAPI}"));
        return Ok(true);
    }
    let present = fs::read_to_string(&path).map_err(|source| tree::file_failure(&path, source))?;
    if let Some(line) = first_difference(&present, &wanted) {
        output::line(&format!(
            "{OPENAPI}:{line}: differs from what the binary says; run `cargo xtask openapi` and commit the result"
        ));
        return Ok(false);
    }
    output::line(&format!("openapi: {OPENAPI} is what the binary says"));
    Ok(true)
}

/// Runs the generators (`examples/vectors.rs`) of the crates that have test vectors, or their checks
/// (`tests/vectors.rs`).
pub(crate) fn vectors(root: &Path, check: bool) -> Result<bool, Failure> {
    let folder = if check { "tests" } else { "examples" };
    let crates = crates_with(root, &format!("{folder}/vectors.rs"))?;
    if crates.is_empty() {
        output::line(&format!("vectors: no crate has {folder}/vectors.rs"));
        return Ok(false);
    }
    for name in crates {
        let package = format!("accredit-{name}");
        let done = if check {
            cargo(root, &["test", "-q", "-p", &package, "--test", "vectors"])?
        } else {
            cargo(root, &["run", "-q", "-p", &package, "--example", "vectors"])?
        };
        if !done {
            return Ok(false);
        }
        output::line(&format!("vectors: {name} {}", if check { "agrees" } else { "written" }));
    }
    Ok(true)
}

/// Names of the crates that have `file`, in order.
fn crates_with(root: &Path, file: &str) -> Result<Vec<String>, Failure> {
    let folder = root.join("crates");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|source| tree::file_failure(&folder, source))? {
        let path: PathBuf = entry.map_err(|source| tree::file_failure(&folder, source))?.path();
        if path.join(file).is_file()
            && let Some(name) = path.file_name()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The same JSON with two spaces of indentation and a line feed at the end.
fn normal(text: &str) -> Result<String, Failure> {
    let broken = |why: serde_json::Error| Failure::Command {
        what: "accredit openapi".to_owned(),
        why: format!("what it printed is not JSON: {why}"),
    };
    let value: Value = serde_json::from_str(text).map_err(broken)?;
    let mut text = serde_json::to_string_pretty(&value).map_err(broken)?;
    text.push('\n');
    Ok(text)
}

/// The first line, from 1, in which two texts differ.
fn first_difference(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return None;
    }
    let same = a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count();
    Some(same + 1)
}

/// Runs cargo with our own output; whether it ended well.
fn cargo(root: &Path, arguments: &[&str]) -> Result<bool, Failure> {
    let status = command(root, arguments).status().map_err(|why| not_run(arguments, &why))?;
    Ok(status.success())
}

/// Runs cargo and returns its standard output; errors go to the terminal.
fn cargo_output(root: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let done =
        command(root, arguments).stderr(Stdio::inherit()).output().map_err(|why| not_run(arguments, &why))?;
    if !done.status.success() {
        let why = format!("ended with {}", done.status);
        return Err(Failure::Command { what: format!("cargo {}", arguments.join(" ")), why });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    command
}

fn not_run(arguments: &[&str], why: &std::io::Error) -> Failure {
    Failure::Command { what: format!("cargo {}", arguments.join(" ")), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_line() {
        for (a, b, expected) in [
            ("1\n2\n", "1\n2\n", None),
            ("1\n2\n", "1\n3\n", Some(2)),
            ("1\n", "1\n2\n", Some(2)),
            ("", "1\n", Some(1)),
        ] {
            assert_eq!(first_difference(a, b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn layout_does_not_matter() {
        let a = normal("{\"a\":[1, 2]}").expect("valid");
        let b = normal("{ \"a\" : [1,2] }\n\n").expect("valid");
        assert_eq!(a, b);
        assert!(matches!(normal("not json"), Err(Failure::Command { .. })));
    }
}
