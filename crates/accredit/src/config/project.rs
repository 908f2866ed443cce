//! `.accredit.toml`: what a repository says about the tasks that are started in it. It is committed, so it holds no
//! secret and nothing that differs from person to person; it asks, and the authority decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::document::{self, ConfigError};

/// The name of the file.
pub(crate) const FILE: &str = ".accredit.toml";

/// What a repository says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProjectConfig {
    /// The agent that works here.
    pub(crate) agent: Option<String>,
    /// The template that its tasks start from.
    pub(crate) template: Option<String>,
    /// Where the purpose of a task comes from.
    pub(crate) task: Option<Origin>,
    /// Where the name of the person comes from.
    pub(crate) requested_by: Option<Origin>,
}

/// Where a value is taken from when a task starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The branch that is checked out.
    GitBranch,
    /// The e-mail address that commits are made with.
    GitEmail,
    /// A person is asked.
    Prompt,
    /// An environment variable.
    Environment(String),
}

impl ProjectConfig {
    /// Reads the nearest file at or above `start`, no higher than the repository's root.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read or understood.
    pub(crate) fn find(start: &Path) -> Result<Option<(Self, PathBuf)>, ConfigError> {
        for dir in start.ancestors() {
            let path = dir.join(FILE);
            if path.is_file() {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(&path).map_err(|e| ConfigError::of_file(&name, e))?;
                return Self::parse(&name, &text).map(|config| Some((config, path)));
            }
            if dir.join(".git").exists() {
                break;
            }
        }
        Ok(None)
    }

    /// Parses the text of such a file; `name` is for errors.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        document::read(name, text, &BTreeMap::new(), |root| {
            let mut task = root.section("task")?;
            let from = task.parsed("from", |text| Origin::parse(text, Origin::GitBranch))?;
            task.finish()?;
            Ok(Self {
                agent: root.text("agent")?,
                template: root.text("template")?,
                task: from,
                requested_by: root.parsed("requested_by", |text| Origin::parse(text, Origin::GitEmail))?,
            })
        })
    }
}

impl Origin {
    /// Parses `env:NAME`, `prompt`, or the one word for `git` that fits the field.
    fn parse(text: &str, git: Self) -> Result<Self, String> {
        let word = if git == Self::GitEmail { "git-email" } else { "git-branch" };
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Environment(name.to_owned())),
            None if text == word => Ok(git),
            None if text == "prompt" => Ok(Self::Prompt),
            _ => Err(format!("`{text}` is not one of {word}, prompt, env:NAME")),
        }
    }

    /// The value, if there is one now. `ask` asks a person.
    pub(crate) fn value(&self, ask: impl FnOnce() -> Option<String>) -> Option<String> {
        let found = match self {
            Self::GitBranch => git(&["symbolic-ref", "--short", "-q", "HEAD"]),
            Self::GitEmail => git(&["config", "user.email"]),
            Self::Prompt => ask(),
            Self::Environment(name) => std::env::var(name).ok(),
        };
        found.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_file_is_read() {
        let text = "agent = \"shop-coder\"\ntemplate = \"coding\"\ntask = { from = \"git-branch\" }\nrequested_by = \"git-email\"\n";
        let expected = ProjectConfig {
            agent: Some("shop-coder".to_owned()),
            template: Some("coding".to_owned()),
            task: Some(Origin::GitBranch),
            requested_by: Some(Origin::GitEmail),
        };
        assert_eq!(ProjectConfig::parse(FILE, text), Ok(expected));
        let variable = ProjectConfig::parse(FILE, "task = { from = \"env:JIRA_KEY\" }").expect("a project");
        assert_eq!(variable.task, Some(Origin::Environment("JIRA_KEY".to_owned())));
    }

    #[test]
    fn a_misspelt_or_secret_value_is_refused() {
        let check = |text: &str, message: &str| {
            let error = ProjectConfig::parse(FILE, text).expect_err(text);
            assert_eq!(error.to_string(), message);
        };
        check("agnet = \"a\"", ".accredit.toml:1: `agnet`: unknown key");
        check(
            "task = { from = \"git-email\" }",
            ".accredit.toml:1: `task.from`: `git-email` is not one of git-branch, prompt, env:NAME",
        );
        check(
            concat!("agent = \"ghp_", "0123456789abcdefghijABCDEFGHIJ012345\""),
            ".accredit.toml:1: `agent`: the value looks like a secret; keep it outside and write ${env:NAME} or ${file:/path}",
        );
    }

    #[test]
    fn the_search_stops_at_the_root_of_the_repository() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("repo/src");
        std::fs::create_dir_all(&inner).expect("directories");
        std::fs::write(dir.path().join(FILE), "agent = \"outside\"").expect("a file");
        let found = |from: &Path| ProjectConfig::find(from).expect("readable").and_then(|(c, _)| c.agent);
        assert_eq!(found(&inner), Some("outside".to_owned()));
        std::fs::create_dir(dir.path().join("repo/.git")).expect("a directory");
        assert_eq!(found(&inner), None);
        std::fs::write(dir.path().join("repo").join(FILE), "agent = \"inside\"").expect("a file");
        assert_eq!(found(&inner), Some("inside".to_owned()));
    }
}
