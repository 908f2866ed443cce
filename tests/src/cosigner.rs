//! A running witness: the real `accredit witness serve`, with a directory and a port of its own.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Said, binary, free_port, wait_for};

/// A witness that runs until it is dropped.
pub struct Cosigner {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its public key.
    pub key: String,
    child: Child,
}

impl Cosigner {
    /// Makes a witness in `dir` that cosigns for a log, and starts it.
    ///
    /// # Panics
    /// When it cannot be made or does not answer.
    #[track_caller]
    #[must_use]
    pub fn start(dir: &Path, name: &str, log_key: &str) -> Self {
        let init = ["init", "--name", name, "--log", log_key];
        let key = command(dir).args(init).output().expect("the command can be started");
        let key = Said::of(&key).ok().stdout.trim().to_owned();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = File::create(dir.join("serve.err")).expect("a file for its output");
        let child = command(dir)
            .args(["serve", "--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the witness can be started");
        let witness = Self { address, key, child };
        wait_for(|| TcpStream::connect(address).ok());
        witness
    }

    /// Lines of `accredit.toml` that name it.
    #[must_use]
    pub fn config(&self) -> String {
        format!("[[audit.witness]]\nurl = \"http://{}\"\nkey = \"{}\"\n", self.address, self.key)
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("witness").arg("--dir").arg(dir).env("HOME", dir);
    command.env_remove("ACCREDIT_URL").env_remove("ACCREDIT_STATE");
    command
}

impl Drop for Cosigner {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
