//! Links between the documents: the file exists, and so does the heading.
//!
//! Links to other sites are left alone; a check that needs the network is a check that fails for no reason.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Finding;
use crate::tree::SourceFile;

/// Finds links in Markdown files whose target is not there.
pub(super) fn check(root: &Path, sources: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources.iter().filter(|file| file.is("md")) {
        for (number, line) in prose(file) {
            for target in targets(line) {
                if let Some(message) = broken(root, sources, file, target) {
                    findings.push(Finding::new(&file.path, number, message));
                }
            }
        }
    }
    findings
}

/// Lines outside fenced code.
fn prose(file: &SourceFile) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// The targets of `[text](target)` in one line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

fn broken(root: &Path, sources: &[SourceFile], from: &SourceFile, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = resolve(&from.path, path);
    let page = sources.iter().find(|file| file.path == path);
    if page.is_none() && !root.join(&path).exists() {
        return Some(format!("link to `{target}`: there is no such file"));
    }
    let page = page?;
    let missing = !anchor.is_empty() && page.is("md") && !anchors(page).contains(anchor);
    missing.then(|| format!("link to `{target}`: {path} has no such heading"))
}

/// `path` as seen from the folder of `from`, relative to the root; an empty path is the page itself.
fn resolve(from: &str, path: &str) -> String {
    if path.is_empty() {
        return from.to_owned();
    }
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut resolved = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => resolved.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    resolved.to_string_lossy().replace('\\', "/")
}

/// The anchors that a Markdown renderer gives to the headings of a page.
fn anchors(page: &SourceFile) -> BTreeSet<String> {
    prose(page)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn check_links(text: &str, expected: &[&str]) {
        let root = crate::tree::root();
        let sources = [page("README.md", "# The one path\n"), page("docs/a.md", text)];
        let found = check(&root, &sources);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expected) {
            assert!(finding.message.contains(part), "{finding:?}");
        }
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        check_links("[a](../README.md) [b](../README.md#the-one-path) [c](https://example.org/x)", &[]);
    }

    #[test]
    fn a_missing_file_or_heading_is_found() {
        check_links("[a](../no-such-page.md)", &["no such file"]);
        check_links("[a](../README.md#elsewhere)", &["no such heading"]);
    }

    #[test]
    fn code_is_not_prose() {
        check_links("```\n[a](../no-such-page.md)\n```\n", &[]);
    }
}
