//! The process at the other end of a Unix socket, as the kernel names it.
//!
//! *Unattested*: any process of the same user can connect, and the executable is what it was when it was looked
//! up. Enough for a developer's machine, and shown as what it is.

use std::path::{Path, PathBuf};

/// Why a process is not the agent that it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The socket is no way in for this agent.
    #[error("this agent has no user registered for the Unix socket")]
    NotRegistered,
    /// A process of another user.
    #[error("the process belongs to user {uid}, who is not the one registered for this agent")]
    OtherUser {
        /// The user that it belongs to.
        uid: u32,
    },
}

/// What the kernel says about the process that connected (`SO_PEERCRED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPeer {
    uid: u32,
    gid: u32,
    pid: u32,
    exe: Option<PathBuf>,
}

impl SocketPeer {
    /// What was read from the socket; `exe` where the executable could be looked up.
    #[must_use]
    pub const fn observed(uid: u32, gid: u32, pid: u32, exe: Option<PathBuf>) -> Self {
        Self { uid, gid, pid, exe }
    }

    /// User id.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Group id.
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// Process id when it connected; it may belong to another process by now.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The executable, where it could be looked up.
    #[must_use]
    pub fn exe(&self) -> Option<&Path> {
        self.exe.as_deref()
    }
}
