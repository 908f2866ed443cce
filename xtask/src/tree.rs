//! The checkout: where it is, which files belong to it, and the small text lists kept in it.
//!
//! Files are found by walking, not by asking git, so that the chores also run in an unpacked source archive.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Folders that hold no source of ours: build output, installed tools, local state.
const NOT_OURS: [&str; 7] = ["target", ".git", ".tools", ".state", "node_modules", "__pycache__", "dist"];

/// A text file of the checkout.
pub(crate) struct SourceFile {
    /// Relative to the root, with `/` between folders.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether the name ends in `.extension`.
    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }

    /// Lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies inside the workspace").to_owned()
}

/// Every text file below `root`, in the order of their paths. Files that are not UTF-8 are left out.
pub(crate) fn sources(root: &Path) -> Result<Vec<SourceFile>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|source| file_failure(&folder, source))? {
            let entry = entry.map_err(|source| file_failure(&folder, source))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|source| file_failure(&path, source))?;
            if kind.is_dir() {
                if !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                    folders.push(path);
                }
            } else if kind.is_file()
                && let Some(file) = read_text(root, &path)?
            {
                found.push(file);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn read_text(root: &Path, path: &Path) -> Result<Option<SourceFile>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // An editor or a build may remove a file between the listing and now.
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file_failure(path, source)),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    let relative = path.strip_prefix(root).expect("the walk started at the root");
    Ok(Some(SourceFile { path: relative.to_string_lossy().replace('\\', "/"), text }))
}

/// The lines of a checked-in list, numbered from 1, without comments (`#` to the end) and blank lines.
pub(crate) fn list(root: &Path, relative: &str) -> Result<Vec<(usize, String)>, Failure> {
    let path = root.join(relative);
    let text = fs::read_to_string(&path).map_err(|source| file_failure(&path, source))?;
    Ok(text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect())
}

/// A failure that names the file.
pub(crate) fn file_failure(path: &Path, source: std::io::Error) -> Failure {
    Failure::File { path: path.to_owned(), source }
}
