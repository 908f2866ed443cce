//! The request target: the four forms of RFC 9112 §3.2, of which three are understood.
//!
//! `*` is refused: it names a server, and every action here has an operation on a resource. Whether
//! target and `Host` agree is judged with the whole head, in [`head`](super::head).

use super::host::{Authority, HostError, Scheme};
use super::path::{Path, PathError, Query};

/// Why a request target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not one of the forms that are understood, or not the form that the method takes.
    #[error("the target is not in a form that this method takes")]
    Form,
    /// The authority in the target does not name one host and port.
    #[error("{0}")]
    Host(#[from] HostError),
    /// The path or query is refused.
    #[error("{0}")]
    Path(#[from] PathError),
}

/// What the request line asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`: the host stands in `Host` (RFC 9112 §3.2.1).
    Origin {
        /// The path.
        path: Path,
        /// The query, if there is a `?`.
        query: Option<Query>,
    },
    /// `http://host/path?query`, as a forward proxy is asked (RFC 9112 §3.2.2).
    Absolute {
        /// The scheme.
        scheme: Scheme,
        /// Host and port.
        authority: Authority,
        /// The path.
        path: Path,
        /// The query, if there is a `?`.
        query: Option<Query>,
    },
    /// `host:port` of CONNECT; the port is always written (RFC 9112 §3.2.3).
    Tunnel {
        /// Host and port.
        authority: Authority,
    },
}

impl Target {
    /// Reads the target of a request that is not CONNECT.
    ///
    /// # Errors
    /// [`TargetError`] when the target has no reading, or more than one.
    pub fn parse(raw: &[u8]) -> Result<Self, TargetError> {
        if raw.first() == Some(&b'/') {
            let (path, query) = split_query(raw)?;
            return Ok(Target::Origin { path, query });
        }
        let (scheme, rest) = split_scheme(raw).ok_or(TargetError::Form)?;
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = Authority::parse(authority)?;
        // An empty path is sent as `/` (RFC 9112 §3.2.1); written without it, `?` would follow the host.
        let (path, query) = if rest.is_empty() { (Path::parse(b"/")?, None) } else { split_query(rest)? };
        Ok(Target::Absolute { scheme, authority, path, query })
    }

    /// Reads the target of CONNECT.
    ///
    /// # Errors
    /// [`TargetError`] when it is not `host:port`.
    pub fn parse_tunnel(raw: &[u8]) -> Result<Self, TargetError> {
        let authority = Authority::parse(raw)?;
        if authority.port().is_none() {
            return Err(HostError::Port.into());
        }
        Ok(Target::Tunnel { authority })
    }

    /// The authority that the target itself names, with the port that is meant when none is written.
    pub fn authority(&self) -> Option<(&Authority, u16)> {
        match self {
            Target::Origin { .. } => None,
            Target::Absolute { scheme, authority, .. } => {
                Some((authority, authority.port_or(scheme.default_port())))
            }
            Target::Tunnel { authority } => authority.port().map(|port| (authority, port)),
        }
    }

    /// The path and query, unless this is a tunnel.
    pub fn path_and_query(&self) -> Option<(&Path, Option<&Query>)> {
        match self {
            Target::Origin { path, query } | Target::Absolute { path, query, .. } => {
                Some((path, query.as_ref()))
            }
            Target::Tunnel { .. } => None,
        }
    }
}

/// `http` and `https` in any case (RFC 3986 §3.1); every other scheme has no reading here.
fn split_scheme(raw: &[u8]) -> Option<(Scheme, &[u8])> {
    let at = raw.windows(3).position(|w| w == b"://")?;
    let scheme = match raw[..at].to_ascii_lowercase().as_slice() {
        b"http" => Scheme::Http,
        b"https" => Scheme::Https,
        _ => return None,
    };
    Some((scheme, &raw[at + 3..]))
}

fn split_query(raw: &[u8]) -> Result<(Path, Option<Query>), TargetError> {
    let Some(at) = raw.iter().position(|&b| b == b'?') else { return Ok((Path::parse(raw)?, None)) };
    Ok((Path::parse(&raw[..at])?, Some(Query::parse(&raw[at + 1..])?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(raw: &str) {
        assert!(Target::parse(raw.as_bytes()).is_err(), "{raw:?}");
    }

    // case: EGR-15, HTTP-13
    #[test]
    fn user_information_fragments_and_other_forms_are_refused() {
        for raw in [
            "http://user:pass@allowed/",
            "http://user@allowed/",
            "http://allowed/#f",
            "/x#f",
            "/x?q#f",
            "http://allowed#f",
            "*",
            "",
            "allowed",
            "allowed:443",
            "ftp://allowed/",
            "http:/allowed/",
            "http://",
            "http:///x",
            "://allowed/",
            "http://allowed?x",
            "//allowed/x",
            "http://allowed//x",
            "http://allowed:0/",
            "http://allowed:/",
        ] {
            refused(raw);
        }
    }

    #[test]
    fn the_forms_are_told_apart() {
        let origin = Target::parse(b"/v1/x?a=1").map(|t| t.authority().is_none());
        assert_eq!(origin, Ok(true));
        let absolute = Target::parse(b"HTTPS://Allowed").expect("absolute");
        let (authority, port) = absolute.authority().expect("has an authority");
        assert_eq!((authority.host().to_string().as_str(), port), ("allowed", 443));
        assert_eq!(absolute.path_and_query().map(|(p, q)| (p.as_str(), q.is_none())), Some(("/", true)));
    }

    // case: EGR-10
    #[test]
    fn a_tunnel_names_its_port() {
        for raw in [
            "allowed",
            "allowed:",
            "allowed:0",
            "http://allowed:443",
            "allowed:443/",
            "/x",
            "user@allowed:443",
        ] {
            assert!(Target::parse_tunnel(raw.as_bytes()).is_err(), "{raw:?}");
        }
        let tunnel = Target::parse_tunnel(b"[::1]:8443").expect("host and port");
        assert_eq!(tunnel.authority().map(|(_, port)| port), Some(8443));
    }
}
