//! Which process is at the other end of a local connection, and whether this runner started it. The kernel answers both:
//! `/proc/net/tcp` knows the socket, `/proc/<pid>/fd` its holder, and parents lead back to the runner, because the
//! runner adopts what its descendants leave behind (`PR_SET_CHILD_SUBREAPER`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// Longest chain of parents that is followed.
const DEPTH_MAX: usize = 1_024;
/// `01` in `/proc/net/tcp`: the connection stands.
const ESTABLISHED: &str = "01";

/// Whether a process that descends from `root` holds the client's end of the connection from `peer` to `local`.
pub(crate) fn connected_from_within(root: u32, peer: SocketAddr, local: SocketAddr) -> bool {
    socket_inode(peer, local).is_some_and(|inode| holder_within(root, inode))
}

/// The processes that descend from `root`, which is not among them.
pub(crate) fn descendants(root: u32) -> BTreeSet<u32> {
    within(&parents(), root)
}

fn within(parents: &BTreeMap<u32, u32>, root: u32) -> BTreeSet<u32> {
    let leads_to_root = |pid: u32| {
        let above = std::iter::successors(parents.get(&pid).copied(), |p| parents.get(p).copied());
        above.take(DEPTH_MAX).any(|p| p == root)
    };
    parents.keys().copied().filter(|pid| leads_to_root(*pid)).collect()
}

/// Each process with its parent.
fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parent(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect()
}

/// The fourth field of `/proc/<pid>/stat`; the second one may hold spaces and parentheses.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The inode of the socket whose own end is `peer` and whose far end is `local`.
fn socket_inode(peer: SocketAddr, local: SocketAddr) -> Option<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| inode_of_line(line, peer, local))
    })
}

fn inode_of_line(line: &str, peer: SocketAddr, local: SocketAddr) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (own, far, state) = (fields.next()?, fields.next()?, fields.next()?);
    let fits = state == ESTABLISHED && address(own)? == peer && address(far)? == local;
    // after the state: queues, timer, retransmits, user, timeout, inode
    fits.then(|| fields.nth(5)?.parse().ok()).flatten().filter(|inode| *inode != 0)
}

/// `0100007F:1F90`: the bytes of the address as words of the machine, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let v4 = |bytes: [u8; 4]| Some(SocketAddr::from((Ipv4Addr::from(bytes), port)));
    match ip.len() {
        8 => v4(word(0)?),
        // Clients that only speak IPv6 reach 127.0.0.1 as ::ffff:127.0.0.1.
        32 if word(0)? == [0; 4] && word(8)? == [0; 4] && word(16)? == [0, 0, 0xff, 0xff] => v4(word(24)?),
        _ => None,
    }
}

fn holder_within(root: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    descendants(root).into_iter().any(|pid| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        links.map(|link| fs::read_link(link.path())).any(|to| to.is_ok_and(|to| to == Path::new(&wanted)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    // case: SEC-01
    #[test]
    fn a_connection_of_a_descendant_is_told_from_any_other() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let local = listener.local_addr().expect("its address");
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; read -r line <&3", local.port());
        let mut child = Command::new("bash")
            .args(["-c", &format!("bash -c '{script}'; true")])
            .stdin(Stdio::null())
            .spawn()
            .expect("bash");
        let (stream, peer) = listener.accept().expect("a connection");
        let me = std::process::id();
        assert!(connected_from_within(me, peer, local), "the child of a child is within");
        assert!(connected_from_within(child.id(), peer, local), "and so it is for its own parent");
        let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
        assert!(!connected_from_within(sleeper.id(), peer, local), "a sibling did not open it");
        drop(stream);
        child.wait().expect("its end");
        sleeper.kill().and_then(|()| sleeper.wait()).expect("its end");
    }

    // case: SEC-01
    #[test]
    fn a_connection_from_outside_the_tree_is_not_within() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let local = listener.local_addr().expect("its address");
        let own = TcpStream::connect(local).expect("a connection");
        let (mut stream, peer) = listener.accept().expect("the same");
        assert!(
            !connected_from_within(std::process::id(), peer, local),
            "the runner itself is not its child"
        );
        drop(own);
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
        assert!(!connected_from_within(1, peer, local), "a closed connection belongs to nobody");
    }

    #[test]
    fn parents_lead_back_to_the_root_and_no_further() {
        let parents = BTreeMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (30, 31), (31, 30)]);
        assert_eq!(within(&parents, 10), BTreeSet::from([11, 12]));
        assert_eq!(within(&parents, 12), BTreeSet::new());
        assert_eq!(parent("42 (a ) (b) S 7 42 1"), Some(7));
    }

    #[test]
    fn addresses_of_both_tables_are_read() {
        let at = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(address("0100007F:1F90"), at("127.0.0.1:8080"));
        assert_eq!(address("0000000000000000FFFF00000100007F:0050"), at("127.0.0.1:80"));
        assert_eq!(address("00000000000000000000000001000000:0050"), None);
        assert_eq!(address("0100007F"), None);
    }
}
