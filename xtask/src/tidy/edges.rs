//! Which crate may know which: `xtask/edges.txt` against what the manifests say.
//!
//! The list is exact in both directions, so that the picture in the documents and the code cannot drift apart:
//! an edge that is not listed is a finding, and so is a listed edge that is gone.

use std::collections::BTreeSet;
use std::path::Path;

use super::Finding;
use super::metadata::Package;
use crate::failure::Failure;
use crate::tree;

const LIST: &str = "xtask/edges.txt";

/// The checked-in list.
struct Allowed {
    /// `from -> *`: crates that stand on top of everything.
    any: BTreeSet<String>,
    /// One edge, with its line and whether it is for tests only.
    edges: Vec<(usize, Edge)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    tests_only: bool,
}

/// Compares the list with the manifests.
pub(super) fn check(root: &Path, packages: &[Package]) -> Result<Vec<Finding>, Failure> {
    let allowed = parse(root, &tree::list(root, LIST)?)?;
    Ok(compare(&allowed, packages))
}

fn compare(allowed: &Allowed, packages: &[Package]) -> Vec<Finding> {
    let mut unused: Vec<&(usize, Edge)> = allowed.edges.iter().collect();
    let mut findings = Vec::new();
    for package in packages {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.ours) {
            let edge = Edge {
                from: package.name.clone(),
                to: dependency.name.clone(),
                tests_only: dependency.tests_only,
            };
            unused.retain(|(_, listed)| *listed != edge);
            let listed = allowed.edges.iter().any(|(_, listed)| *listed == edge);
            if !listed && !allowed.any.contains(&package.name) {
                let note = if edge.tests_only { " for tests" } else { "" };
                let message = format!(
                    "`{} -> {}`{note} is not an allowed edge; find another way, or add it to {LIST} with the reason",
                    edge.from, edge.to
                );
                findings.push(Finding::new(&package.manifest, 1, message));
            }
        }
    }
    findings.extend(unused.into_iter().map(|(line, edge)| {
        let message = format!("`{} -> {}` is listed and no longer used; remove the line", edge.from, edge.to);
        Finding::new(LIST, *line, message)
    }));
    findings
}

/// Lines are `from -> to`, `from -> to for tests` or `from -> *`.
fn parse(root: &Path, lines: &[(usize, String)]) -> Result<Allowed, Failure> {
    let mut allowed = Allowed { any: BTreeSet::new(), edges: Vec::new() };
    for (line, text) in lines {
        let Some((from, rest)) = text.split_once(" -> ") else {
            let why = format!("`{text}` is not `from -> to`");
            return Err(Failure::List { path: root.join(LIST), line: *line, why });
        };
        let (to, tests_only) = match rest.trim().strip_suffix(" for tests") {
            Some(to) => (to.trim(), true),
            None => (rest.trim(), false),
        };
        if to == "*" {
            allowed.any.insert(from.trim().to_owned());
        } else {
            allowed.edges.push((*line, Edge { from: from.trim().to_owned(), to: to.to_owned(), tests_only }));
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::Dependency;
    use super::*;

    fn package(name: &str, to: &[(&str, bool)]) -> Package {
        let dependencies = to
            .iter()
            .map(|(name, tests_only)| Dependency {
                name: (*name).to_owned(),
                ours: true,
                tests_only: *tests_only,
            })
            .collect();
        Package { name: name.to_owned(), manifest: format!("crates/{name}/Cargo.toml"), dependencies }
    }

    fn check(list: &str, packages: &[Package], expected: &[&str]) {
        let lines: Vec<_> =
            list.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect();
        let allowed = parse(Path::new("/"), &lines).expect("the list is well formed");
        let found = compare(&allowed, packages);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expected) {
            assert!(finding.message.contains(part), "{finding:?} does not say `{part}`");
        }
    }

    #[test]
    fn a_listed_edge_passes() {
        check("store -> core", &[package("store", &[("core", false)])], &[]);
    }

    #[test]
    fn an_edge_outside_the_list_is_found() {
        let packages = [package("gateway", &[("store", false)])];
        check("", &packages, &["`gateway -> store` is not an allowed edge"]);
    }

    #[test]
    fn an_edge_for_tests_does_not_allow_the_real_one() {
        let packages = [package("gateway", &[("store", false)])];
        check("gateway -> store for tests", &packages, &["not an allowed edge", "no longer used"]);
    }

    #[test]
    fn a_listed_edge_that_is_gone_is_found() {
        check("store -> core", &[package("store", &[])], &["no longer used"]);
    }

    #[test]
    fn a_crate_on_top_may_know_all() {
        check("accredit -> *", &[package("accredit", &[("store", false), ("core", true)])], &[]);
    }

    #[test]
    fn a_line_that_is_no_edge_is_a_failure() {
        let lines = [(7, "store core".to_owned())];
        assert!(matches!(parse(Path::new("/"), &lines), Err(Failure::List { line: 7, .. })));
    }
}
