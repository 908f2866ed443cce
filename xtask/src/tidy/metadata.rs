//! The workspace as cargo sees it: its packages and what each names as a dependency.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;

/// One package of the workspace.
pub(super) struct Package {
    /// Folder-style name: without the `accredit-` prefix.
    pub(super) name: String,
    /// Its manifest, relative to the root.
    pub(super) manifest: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` table.
pub(super) struct Dependency {
    pub(super) name: String,
    /// A package of this workspace.
    pub(super) ours: bool,
    /// Named for tests only.
    pub(super) tests_only: bool,
}

/// Reads `cargo metadata` without resolving anything, so that it needs no network.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>, Failure> {
    let text = output(root, &["metadata", "--no-deps", "--offline", "--format-version", "1"])?;
    let value: Value = serde_json::from_str(&text).map_err(|why| odd(&why.to_string()))?;
    let packages = value["packages"].as_array().ok_or_else(|| odd("it has no `packages`"))?;
    packages.iter().map(|package| read_package(root, package)).collect()
}

/// Runs cargo in `root` and returns what it printed.
pub(super) fn output(root: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let what = format!("cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|why| Failure::Command { what: what.clone(), why: why.to_string() })?;
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        return Err(Failure::Command { what, why });
    }
    String::from_utf8(done.stdout).map_err(|why| Failure::Command { what, why: why.to_string() })
}

fn read_package(root: &Path, package: &Value) -> Result<Package, Failure> {
    let name = text(package, "name")?;
    let manifest = text(package, "manifest_path")?;
    let manifest = Path::new(manifest).strip_prefix(root).unwrap_or(Path::new(manifest));
    let dependencies =
        package["dependencies"].as_array().ok_or_else(|| odd("a package has no `dependencies`"))?;
    Ok(Package {
        name: short(name).to_owned(),
        manifest: manifest.to_string_lossy().replace('\\', "/"),
        dependencies: dependencies.iter().map(read_dependency).collect::<Result<_, _>>()?,
    })
}

fn read_dependency(dependency: &Value) -> Result<Dependency, Failure> {
    let name = text(dependency, "name")?;
    Ok(Dependency {
        name: short(name).to_owned(),
        ours: dependency.get("path").is_some_and(Value::is_string),
        tests_only: dependency["kind"].as_str() == Some("dev"),
    })
}

fn short(name: &str) -> &str {
    name.strip_prefix("accredit-").unwrap_or(name)
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str, Failure> {
    value[field].as_str().ok_or_else(|| odd(&format!("`{field}` is missing")))
}

fn odd(why: &str) -> Failure {
    Failure::Command { what: "cargo metadata".to_owned(), why: why.to_owned() }
}
