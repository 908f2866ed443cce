//! Exact hosts: a canonical name or address, a scheme and a port. No patterns, no defaults guessed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest DNS name in bytes (RFC 1035 §2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// Why a text is not an exact host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one exact host such as `api.example.com` (lower case, no port, no path, no `*`)")]
pub struct HostError;

/// A DNS name in lower case without a final dot, or an address in its canonical spelling
/// (IPv6 without brackets).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Host(Arc<str>);

impl Host {
    /// Parses the canonical spelling.
    ///
    /// # Errors
    /// [`HostError`] for anything with another spelling, so that two spellings never mean one host.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if is_canonical_address(text) || is_dns_name(text) { Ok(Self(text.into())) } else { Err(HostError) }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

fn is_canonical_address(text: &str) -> bool {
    let v4 = text.parse::<Ipv4Addr>().is_ok_and(|a| a.to_string() == text);
    let v6 = text.parse::<Ipv6Addr>().is_ok_and(|a| a.to_string() == text);
    v4 || v6
}

fn is_dns_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    // A last label of digits (or 0x…) would be read as an address by somebody.
    let last = text.rsplit('.').next().unwrap_or("");
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    (1..=HOST_BYTES_MAX).contains(&text.len()) && !numeric && text.split('.').all(label)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.0)
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Whether the way to a host is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// TLS, verified.
    Https,
    /// In the clear: only where a resource says so itself.
    Http,
}

impl Scheme {
    /// `https` or `http`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// The port meant when none is written.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

/// One place that a resource answers at: scheme, host and port, all exact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Encrypted or not.
    pub scheme: Scheme,
    /// Exact host.
    pub host: Host,
    /// TCP port, 1 to 65535.
    pub port: u16,
}

impl Endpoint {
    /// Parses `host`, `host:port`, `https://host[:port]` or `http://host[:port]`; `https` when no
    /// scheme is written.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(_) => return Err(HostError),
            None => (Scheme::Https, text),
        };
        let (host, port) = split_port(rest)?;
        let port = port.unwrap_or(scheme.default_port());
        Ok(Self { scheme, host: Host::parse(host)?, port })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), HostError> {
    let port = |p: &str| match p.parse::<u16>() {
        Ok(n) if n > 0 && n.to_string() == p => Ok(Some(n)),
        _ => Err(HostError),
    };
    if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']').ok_or(HostError)?;
        return match rest.strip_prefix(':') {
            Some(p) => Ok((host, port(p)?)),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(HostError),
        };
    }
    match text.split_once(':') {
        Some((host, p)) => Ok((host, port(p)?)),
        None => Ok((text, None)),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_str();
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{host}{close}", self.scheme.as_str())?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case: EGR-06, EGR-09
    #[test]
    fn a_host_has_one_spelling() {
        let bad = [
            "",
            "a.",
            "A.example",
            "2130706433",
            "0x7f000001",
            "127.1",
            "0177.0.0.1",
            "0",
            "*.a",
            "a:1",
            "a/b",
            "::FFFF:1.2.3.4",
            "[::1]",
            "-a.b",
            "a..b",
        ];
        for bad in bad {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
        for good in ["api.example.com", "localhost", "127.0.0.1", "::1", "xn--bcher-kva.example"] {
            assert_eq!(Host::parse(good).expect("a host").as_str(), good);
        }
    }

    // case: EGR-10
    #[test]
    fn an_endpoint_has_one_port() {
        for bad in ["a:0", "a:65536", "a:", "a:+1", "a:01", "ftp://a", "https://u@a", "a:1:2"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Endpoint::parse("a.test").expect("an endpoint").to_string(), "https://a.test");
        assert_eq!(Endpoint::parse("http://[::1]:81").expect("an endpoint").to_string(), "http://[::1]:81");
    }
}
