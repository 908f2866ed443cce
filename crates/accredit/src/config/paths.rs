//! Where state, configuration and the local socket are (XDG Base Directory Specification).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Where an installation without its own state directory looks for its configuration.
const SYSTEM_CONFIG: &str = "/etc/accredit/accredit.toml";

/// The directories of one installation of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    state: PathBuf,
    runtime: PathBuf,
    socket: PathBuf,
}

impl Paths {
    /// The paths that flags and environment lead to. `state` is what `--state` says, if anything.
    pub(crate) fn new(state: Option<&Path>, environment: &BTreeMap<String, String>) -> Self {
        let variable = |name: &str| environment.get(name).filter(|v| v.starts_with('/')).map(PathBuf::from);
        let home = variable("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let chosen = state.map(Path::to_owned).or_else(|| variable("ACCREDIT_STATE"));
        let standard =
            || variable("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("accredit");
        // An installation with a state directory of its own shares nothing with the user's standard one.
        let runtime = match (&chosen, variable("XDG_RUNTIME_DIR")) {
            (None, Some(runtime)) => runtime.join("accredit"),
            (None, None) => standard(),
            (Some(state), _) => state.clone(),
        };
        let socket = variable("ACCREDIT_SOCKET").unwrap_or_else(|| runtime.join("accredit.sock"));
        Self { state: chosen.unwrap_or_else(standard), runtime, socket }
    }

    /// Database, keys, checkpoints and sessions.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// What lives no longer than a process: the directories of runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.runtime.join("runs")
    }

    /// The Unix socket of the local authority.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The public certificate of the local gateway's authority, beside the socket.
    pub(crate) fn gateway_ca(&self) -> PathBuf {
        self.socket.with_file_name("gateway-ca.pem")
    }

    /// The session of an operator with a remote authority, or with the local one.
    pub(crate) fn session(&self) -> PathBuf {
        self.state.join("session")
    }

    /// The private keys of agents that were enrolled on this machine.
    pub(crate) fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// The configuration of the server: the first of these that is there, or none.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        [self.state.join("accredit.toml"), PathBuf::from(SYSTEM_CONFIG)].into_iter().find(|p| p.exists())
    }
}

/// Makes a directory that only its owner may enter, or checks that the one that stands there is such.
///
/// # Errors
/// When it cannot be made, belongs to somebody else, or others may enter it and that cannot be changed.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = std::fs::symlink_metadata(path)?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || !ours {
        let why = format!("`{}` is not a directory of this user", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if metadata.mode() & 0o077 != 0 {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// When it cannot be written, synced or put in place.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.new", std::process::id()));
    let partial = PathBuf::from(partial);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn paths(state: Option<&str>, environment: &[(&str, &str)]) -> Paths {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Paths::new(state.map(Path::new), &environment)
    }

    #[test]
    fn paths_follow_flag_then_environment_then_standard() {
        let standard = paths(None, &[("HOME", "/home/ana"), ("XDG_RUNTIME_DIR", "/run/user/1000")]);
        assert_eq!(standard.state(), Path::new("/home/ana/.local/state/accredit"));
        assert_eq!(standard.socket(), Path::new("/run/user/1000/accredit/accredit.sock"));
        let bare = paths(None, &[("HOME", "/home/ana")]);
        assert_eq!(bare.socket(), Path::new("/home/ana/.local/state/accredit/accredit.sock"));
        let variable = paths(None, &[("ACCREDIT_STATE", "/a"), ("XDG_RUNTIME_DIR", "/run/user/1000")]);
        assert_eq!((variable.state(), variable.socket()), (Path::new("/a"), Path::new("/a/accredit.sock")));
        let flag = paths(Some("/b"), &[("ACCREDIT_STATE", "/a"), ("ACCREDIT_SOCKET", "/s")]);
        assert_eq!((flag.state(), flag.socket()), (Path::new("/b"), Path::new("/s")));
    }

    #[test]
    fn directories_and_files_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("a/b");
        private_dir(&inner).expect("a new directory");
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        private_dir(&inner).expect("an old directory");
        let mode = |p: &Path| std::fs::metadata(p).expect("metadata").mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        let file = inner.join("session");
        write_private(&file, b"one").expect("a file");
        write_private(&file, b"two").expect("a file again");
        assert_eq!(std::fs::read(&file).expect("its bytes"), b"two");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(std::fs::read_dir(&inner).expect("a listing").count(), 1);
    }
}
