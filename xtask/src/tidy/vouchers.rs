//! Constructors that vouch for a check are called in exactly one place.
//!
//! A value such as `Recorded` means that something was verified or made durable. Its constructor cannot be private
//! where the check lives in another crate, so `xtask/vouchers.txt` names it, and this check holds it to one call
//! outside tests. It reads text, not types: it finds `Type::name` and, in the file that implements `Type`,
//! `Self::name`. A rename through `use … as` would escape it, and a reviewer would see that.

use std::path::Path;

use super::Finding;
use crate::failure::Failure;
use crate::tree::{self, SourceFile};

const LIST: &str = "xtask/vouchers.txt";

/// Folders whose files are tests, measurements or chores as a whole.
const NOT_PRODUCT: [&str; 6] = ["tests/", "benches/", "fuzz/", "xtask/", "examples/", "demo/"];

/// Compares the list with the call sites in the product.
pub(super) fn check(root: &Path, sources: &[SourceFile]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for (line, text) in tree::list(root, LIST)? {
        let Some((owner, name)) = text.split_once("::") else {
            let why = format!("`{text}` is not `Type::constructor`");
            return Err(Failure::List { path: root.join(LIST), line, why });
        };
        let found = sites(sources, owner, name);
        if found.is_empty() {
            findings.push(Finding::new(
                LIST,
                line,
                format!("nothing calls `{text}`; remove the line or the constructor"),
            ));
        }
        if found.len() > 1 {
            findings.extend(found.into_iter().map(|(path, line)| {
                Finding::new(
                    path,
                    line,
                    format!("`{text}` vouches for a check and may be called in one place only"),
                )
            }));
        }
    }
    Ok(findings)
}

/// Where the product calls `owner::name`: path and line.
fn sites<'a>(sources: &'a [SourceFile], owner: &str, name: &str) -> Vec<(&'a str, usize)> {
    let mut found = Vec::new();
    for file in sources.iter().filter(|file| file.is("rs") && is_product(&file.path)) {
        let implements = file.text.contains(&format!("impl {owner} "));
        for (number, line) in product_lines(file) {
            let qualified = mentions(line, &format!("{owner}::{name}"));
            if qualified || (implements && mentions(line, &format!("Self::{name}"))) {
                found.push((file.path.as_str(), number));
            }
        }
    }
    found
}

fn is_product(path: &str) -> bool {
    !NOT_PRODUCT.iter().any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")))
}

/// Code above the tests at the end of the file, without comments.
fn product_lines(file: &SourceFile) -> impl Iterator<Item = (usize, &str)> {
    file.lines()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

/// Whether `path` stands in `line` as a whole: `Recorded::assertion` is not in `Unrecorded::assertion_text`.
fn mentions(line: &str, path: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_sites(path: &str, text: &str, expected: usize) {
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(sites(&[file], "Recorded", "assertion").len(), expected, "{path}: {text}");
    }

    #[test]
    fn calls_in_the_product_are_counted() {
        check_sites("crates/a/src/x.rs", "let r = Recorded::assertion(id);", 1);
        check_sites("crates/a/src/x.rs", "rows.map(Recorded::assertion)", 1);
        check_sites("crates/a/src/x.rs", "impl Recorded {\n fn f() { Self::assertion() }\n}", 1);
    }

    #[test]
    fn what_is_no_call_in_the_product_is_not() {
        check_sites("crates/a/src/x.rs", "// Recorded::assertion is called elsewhere", 0);
        check_sites("crates/a/src/x.rs", "Unrecorded::assertion(id); Recorded::assertion_text()", 0);
        check_sites("crates/a/src/x.rs", "#[cfg(test)]\nmod tests { Recorded::assertion(id); }", 0);
        check_sites("crates/a/tests/x.rs", "Recorded::assertion(id);", 0);
        check_sites("crates/a/src/x.rs", "impl Other {\n fn f() { Self::assertion() }\n}", 0);
    }
}
