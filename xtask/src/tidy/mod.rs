//! `cargo xtask tidy`: what the documents promise about the shape of the code, checked.
//!
//! Each check is one file and returns findings; none of them stops at the first. A finding is one line,
//! `file:line: what is wrong and what to do`, so that an editor can jump to it.

mod codes;
mod dependencies;
mod edges;
mod length;
mod links;
mod metadata;
mod modules;
mod vouchers;
mod words;

use std::path::Path;

use crate::failure::Failure;
use crate::output;
use crate::tree;

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

/// Runs every check and prints what was found. `Ok(true)` when nothing was.
pub(crate) fn run(root: &Path) -> Result<bool, Failure> {
    let sources = tree::sources(root)?;
    let packages = metadata::packages(root)?;
    let mut findings = Vec::new();
    findings.extend(edges::check(root, &packages)?);
    findings.extend(dependencies::check(root, &packages)?);
    findings.extend(modules::check(&sources));
    findings.extend(vouchers::check(root, &sources)?);
    findings.extend(length::check(&sources));
    findings.extend(links::check(root, &sources));
    findings.extend(words::check(&sources));
    findings.extend(codes::check(&sources));
    findings.sort();
    for Finding { path, line, message } in &findings {
        output::line(&format!("{path}:{line}: {message}"));
    }
    if findings.is_empty() {
        output::line(&format!("tidy: {} files, {} crates, nothing to say", sources.len(), packages.len()));
    } else {
        output::line(&format!("tidy: {} to put right", findings.len()));
    }
    Ok(findings.is_empty())
}
