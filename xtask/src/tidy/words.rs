//! Text that may not be in the tree: unfinished code and the names of package registries.
//!
//! Registries are reached through their ordinary clients, which a site may point at its own mirror; a name written
//! into a script would go around that.

use super::Finding;
use crate::tree::SourceFile;

/// What is looked for, and why it may not be there. Written in two halves, so that this file passes its own check.
const FORBIDDEN: [(&str, &str); 9] = [
    (concat!("todo", "!("), "finish it, or leave the feature out"),
    (concat!("unimplemented", "!("), "finish it, or leave the feature out"),
    (concat!("dbg", "!("), "remove it before committing"),
    (concat!("crates", ".io"), REGISTRY),
    (concat!("registry.npm", "js.org"), REGISTRY),
    (concat!("npm", "js.com"), REGISTRY),
    (concat!("py", "pi.org"), REGISTRY),
    (concat!("files.python", "hosted.org"), REGISTRY),
    (concat!("proxy.go", "lang.org"), REGISTRY),
];

const REGISTRY: &str = "name no registry; the client's own settings say where packages come from";

/// Written by tools, which put the registry's name there themselves.
const GENERATED: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// Finds forbidden text, once per line.
pub(super) fn check(sources: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources.iter().filter(|file| !is_generated(&file.path)) {
        for (number, line) in file.lines() {
            if let Some((word, why)) = FORBIDDEN.iter().find(|(word, _)| line.contains(word)) {
                findings.push(Finding::new(&file.path, number, format!("`{word}`: {why}")));
            }
        }
    }
    findings
}

fn is_generated(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    GENERATED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(path: &str, text: &str, expected: usize) {
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(check(&[file]).len(), expected, "{path}: {text}");
    }

    #[test]
    fn unfinished_code_and_registries_are_found() {
        check_line("a.rs", concat!("fn f() { todo", "!() }"), 1);
        check_line("a.md", concat!("https://crates", ".io/x"), 1);
        check_line("fuzz/Cargo.lock", concat!("https://crates", ".io/x"), 0);
        check_line("a.rs", "fn todo() {}", 0);
    }
}
