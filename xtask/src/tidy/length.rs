//! No file grows past what a reader can hold.

use super::Finding;
use crate::tree::SourceFile;

/// Lines. Ten times the median of the tree; a longer file holds more than one concept.
const LINES_MAX: usize = 1000;

const EXTENSIONS: [&str; 8] = ["rs", "py", "sh", "mjs", "js", "ts", "sql", "md"];

/// Finds hand-written files that are too long.
pub(super) fn check(sources: &[SourceFile]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|file| EXTENSIONS.iter().any(|extension| file.is(extension)))
        .filter_map(|file| {
            let lines = file.text.lines().count();
            let message = format!("{lines} lines, more than {LINES_MAX}; split it where the meaning splits");
            (lines > LINES_MAX).then(|| Finding::new(&file.path, LINES_MAX + 1, message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_exact() {
        for (lines, expected) in [(LINES_MAX, 0), (LINES_MAX + 1, 1)] {
            let file = SourceFile { path: "a.rs".to_owned(), text: "x\n".repeat(lines) };
            assert_eq!(check(&[file]).len(), expected, "{lines} lines");
        }
    }
}
