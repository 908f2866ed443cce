//! A person with a machine of their own: signed in by a link, with no socket of the authority to be somebody through.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Accredit, Said, binary};

/// Somebody who is signed in.
pub struct Person {
    home: TempDir,
    url: String,
}

impl Person {
    /// Signs in with a link that an administrator made for them.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    #[must_use]
    pub fn sign_in(accredit: &Accredit, name: &str, role: &str) -> Self {
        let person = Self::away(accredit);
        let link = accredit.json(&["login", "--link", "--operator", name, "--role", role]);
        let link = link["code"].as_str().expect("a code");
        person.cli(&["login", &format!("{}/#l={link}", person.url)]).ok();
        person
    }

    /// Somebody who is not signed in yet.
    ///
    /// # Panics
    /// When they can have no directory.
    #[must_use]
    pub fn away(accredit: &Accredit) -> Self {
        let home = tempfile::Builder::new().prefix("accredit-person-").tempdir().expect("a directory");
        Self { home, url: accredit.url() }
    }

    /// The command line on their machine, ready for arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.env_remove("ACCREDIT_STATE").env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME");
        command.env("HOME", self.home.path()).env("ACCREDIT_URL", &self.url).stdin(Stdio::null());
        command.arg("--state").arg(self.home.path().join("state"));
        command
    }

    /// Runs a command as this person.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn cli<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Said {
        Said::of(&self.command().args(arguments).output().expect("the command can be started"))
    }

    /// Runs a command that must succeed, with `-o json`.
    ///
    /// # Panics
    /// When it fails or prints no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.cli(&[&["-o", "json"], arguments].concat()).ok().json()
    }
}
