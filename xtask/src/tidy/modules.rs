//! Every Rust file opens by saying what it is.

use super::Finding;
use crate::tree::SourceFile;

/// Finds Rust files whose first line is not `//!`.
pub(super) fn check(sources: &[SourceFile]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|file| file.is("rs") && !opens_with_doc(&file.text))
        .map(|file| Finding::new(&file.path, 1, "open the file with `//!`: what it is and what it is not"))
        .collect()
}

fn opens_with_doc(text: &str) -> bool {
    let mut lines = text.lines();
    // A program may start with `#!`.
    let first = lines.next().filter(|line| !line.starts_with("#!/")).or_else(|| lines.next());
    first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|doc| !doc.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sentence_counts() {
        for (text, expected) in [
            ("//! What it is.\nfn f() {}", true),
            ("#!/usr/bin/env run\n//! What it is.\n", true),
            ("//!\nfn f() {}", false),
            ("// What it is.\n", false),
            ("\n//! Late.\n", false),
            ("", false),
        ] {
            assert_eq!(opens_with_doc(text), expected, "{text:?}");
        }
    }
}
