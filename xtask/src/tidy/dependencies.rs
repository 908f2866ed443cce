//! Other people's code: what may appear where, and what may not appear at all.
//!
//! A pure crate names the few packages it may use (`xtask/pure.txt`), so that no clock, network or runtime comes in through
//! one of them. A heavy or dangerous dependency lives in one crate (`xtask/heavy.txt`), so that checking and testing the others
//! never waits for it. `deny.toml` says the rest for those who have cargo-deny; the names that matter most are
//! looked up here, so that a plain `make test` notices them too.

use std::fs;
use std::path::Path;

use super::Finding;
use super::metadata::{self, Package};
use crate::failure::Failure;
use crate::tree;

const HEAVY: &str = "xtask/heavy.txt";
const PURE: &str = "xtask/pure.txt";
const LOCK: &str = "Cargo.lock";

/// Crates that stand outside the product and may look inside whatever they test or measure.
const OUTSIDE: [&str; 5] = ["tests", "tests-pki", "tests-postgres", "benches", "xtask"];

/// Packages that may not even be in the lock file, each with the reason.
const BANNED: [(&str, &str); 5] = [
    ("openssl-sys", "there is one TLS stack, rustls"),
    ("native-tls", "there is one TLS stack, rustls"),
    ("serde_yaml", "it is unmaintained, and configuration is TOML"),
    ("serde_yml", "it is unsound, and configuration is TOML"),
    ("bincode", "it is unmaintained, and stored forms are named columns or canonical JSON"),
];

/// Packages that may be in the lock file, as an optional part of another, but are never compiled.
const NEVER_BUILT: [(&str, &str); 1] = [("ring", "there is one cryptographic provider, aws-lc-rs")];

/// Checks manifests, lock file and the graph that is really built.
pub(super) fn check(root: &Path, packages: &[Package]) -> Result<Vec<Finding>, Failure> {
    let lock_path = root.join(LOCK);
    let lock = fs::read_to_string(&lock_path).map_err(|source| tree::file_failure(&lock_path, source))?;
    let mut findings = heavy(&read(root, HEAVY)?, packages);
    findings.extend(pure(&read(root, PURE)?, packages));
    findings.extend(banned(&lock));
    for (name, reason) in NEVER_BUILT {
        if is_locked(&lock, name) {
            findings.extend(built(root, name, reason));
        }
    }
    Ok(findings)
}

/// A line `name: word word …` of a checked-in list.
struct Entry {
    line: usize,
    name: String,
    words: Vec<String>,
}

fn read(root: &Path, list: &str) -> Result<Vec<Entry>, Failure> {
    let lines = tree::list(root, list)?;
    let read_line = |(line, text): (usize, String)| match text.split_once(':') {
        Some((name, words)) => Ok(Entry {
            line,
            name: name.trim().to_owned(),
            words: words.split_whitespace().map(str::to_owned).collect(),
        }),
        None => {
            Err(Failure::List { path: root.join(list), line, why: format!("`{text}` is not `name: words`") })
        }
    };
    lines.into_iter().map(read_line).collect()
}

/// Entries are `dependency: crates that may use it`.
fn heavy(entries: &[Entry], packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Entry { line, name, words: homes } in entries {
        for package in packages.iter().filter(|package| !OUTSIDE.contains(&package.name.as_str())) {
            let uses = package.dependencies.iter().any(|dependency| dependency.name == *name);
            if uses && !homes.contains(&package.name) {
                let message = format!("`{name}` belongs in {} alone ({HEAVY}:{line})", homes.join(" and "));
                findings.push(Finding::new(&package.manifest, 1, message));
            }
        }
    }
    findings
}

/// Entries are `crate: packages of others that it may use`; what its tests use is free.
fn pure(entries: &[Entry], packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Entry { line, name, words: allowed } in entries {
        let Some(package) = packages.iter().find(|package| package.name == *name) else {
            findings.push(Finding::new(PURE, *line, format!("there is no crate `{name}`")));
            continue;
        };
        for dependency in
            package.dependencies.iter().filter(|dependency| !dependency.ours && !dependency.tests_only)
        {
            if !allowed.contains(&dependency.name) {
                let message = format!("`{name}` is pure; `{}` is not in {PURE}:{line}", dependency.name);
                findings.push(Finding::new(&package.manifest, 1, message));
            }
        }
    }
    findings
}

fn banned(lock: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in lock.lines().enumerate() {
        for (name, reason) in BANNED {
            if line == format!("name = \"{name}\"") {
                findings.push(Finding::new(LOCK, index + 1, format!("`{name}` is banned: {reason}")));
            }
        }
    }
    findings
}

fn is_locked(lock: &str, name: &str) -> bool {
    lock.lines().any(|line| line == format!("name = \"{name}\""))
}

/// A finding when anything that is compiled for this machine needs `name`, or when that cannot be told.
fn built(root: &Path, name: &str, reason: &str) -> Option<Finding> {
    match metadata::output(root, &["tree", "--locked", "--workspace", "-e", "normal,build", "-i", name]) {
        Ok(tree) if tree.trim().is_empty() => None,
        Ok(_) => Some(Finding::new(LOCK, 1, format!("`{name}` is compiled; {reason}"))),
        Err(failure) => {
            let why = failure.to_string().lines().collect::<Vec<_>>().join(" ");
            Some(Finding::new(LOCK, 1, format!("it cannot be told whether `{name}` is compiled: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::Dependency;
    use super::*;

    fn package(name: &str, dependency: &str, tests_only: bool) -> Package {
        let dependencies = vec![Dependency { name: dependency.to_owned(), ours: false, tests_only }];
        Package { name: name.to_owned(), manifest: format!("crates/{name}/Cargo.toml"), dependencies }
    }

    fn entry(name: &str, word: &str) -> Entry {
        Entry { line: 1, name: name.to_owned(), words: vec![word.to_owned()] }
    }

    #[test]
    fn a_heavy_dependency_stays_at_home() {
        for (name, expected) in [("store", 0), ("tests", 0), ("gateway", 1)] {
            let found = heavy(&[entry("rusqlite", "store")], &[package(name, "rusqlite", false)]);
            assert_eq!(found.len(), expected, "{name}: {found:?}");
        }
    }

    #[test]
    fn a_pure_crate_uses_what_is_listed() {
        for (dependency, tests_only, expected) in
            [("serde", false, 0), ("tokio", false, 1), ("tokio", true, 0)]
        {
            let found = pure(&[entry("core", "serde")], &[package("core", dependency, tests_only)]);
            assert_eq!(found.len(), expected, "{dependency}: {found:?}");
        }
    }

    #[test]
    fn a_pure_crate_that_is_gone_is_found() {
        assert_eq!(pure(&[entry("core", "serde")], &[]).len(), 1);
    }

    #[test]
    fn a_banned_package_is_found_with_its_line() {
        let found = banned("[[package]]\nname = \"native-tls\"\nversion = \"0.2\"\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }

    #[test]
    fn a_name_inside_another_is_not_banned() {
        assert!(banned("name = \"native-tls-not\"\n").is_empty());
    }
}
