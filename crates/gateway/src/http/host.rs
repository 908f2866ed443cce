//! One host, one spelling: the canonical name or address that policy sees, that is resolved, dialled
//! and named in TLS, and that a secret is bound to.
//!
//! Not a general URL host parser: every spelling that a resolver, a URL library or an upstream could
//! read as some other host is refused, never repaired. The one repair is ASCII lower case, which DNS
//! itself makes (RFC 4343). Address *classes* are judged when dialling, in [`address`](super::address).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest DNS name in bytes, without a trailing dot (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 253;

/// Longest label of a DNS name in bytes (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// Why a text does not name one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is nothing before the port.
    #[error("the host is empty")]
    Empty,
    /// The name or one of its labels is too long.
    #[error("the host is longer than a DNS name may be")]
    TooLong,
    /// A character that no host name has: user information, lists, paths and non-ASCII end here.
    #[error("the host holds a character that no host name has")]
    Character,
    /// A label is empty, or starts or ends with a hyphen; a trailing dot is an empty last label.
    #[error("the host has an empty label or one that starts or ends with a hyphen")]
    Label,
    /// A number that some resolvers read as an address, or an address not in canonical form.
    #[error("the host is an address in a form that is not canonical")]
    Address,
    /// The port is not a canonical number from 1 to 65535, or is missing where it must be given.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

/// Whether the exchange with the upstream is protected by TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`: no protection.
    Http,
    /// `https`: TLS.
    Https,
}

impl Scheme {
    /// The scheme as written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that is meant when none is written (RFC 9110 §4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A host in its one canonical spelling: a lower-case ASCII DNS name without a trailing dot, or an
/// IP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Name(Box<str>),
    Ip(IpAddr),
}

impl Host {
    /// Reads a host without port; IPv6 addresses stand in brackets (RFC 3986 §3.2.2).
    ///
    /// International names come as `xn--` labels. IPv4-mapped IPv6 addresses are refused, since they
    /// are a second spelling of an IPv4 host.
    ///
    /// # Errors
    /// [`HostError`] when the text is not one host in canonical spelling.
    pub fn parse(text: &[u8]) -> Result<Self, HostError> {
        let Some((&first, rest)) = text.split_first() else { return Err(HostError::Empty) };
        if first == b'[' {
            let Some(inner) = rest.strip_suffix(b"]") else { return Err(HostError::Address) };
            return parse_v6(inner).map(|ip| Host(Kind::Ip(IpAddr::V6(ip))));
        }
        let name = parse_name(text)?;
        if !ends_in_number(&name) {
            return Ok(Host(Kind::Name(name.into())));
        }
        // Only the canonical dotted quad is an address; `127.1`, `0x7f000001` and the like are nothing.
        let ip: Ipv4Addr = name.parse().map_err(|_| HostError::Address)?;
        if ip.to_string() != name {
            return Err(HostError::Address);
        }
        Ok(Host(Kind::Ip(IpAddr::V4(ip))))
    }

    /// The address, when the host was written as one.
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.0 {
            Kind::Name(_) => None,
            Kind::Ip(ip) => Some(*ip),
        }
    }

    /// The DNS name, when the host was written as one.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Name(name) => Some(name),
            Kind::Ip(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Name(name) => f.write_str(name),
            Kind::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Kind::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A host with the port that was written beside it, if one was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`; user information is refused with the other characters that no
    /// host has.
    ///
    /// # Errors
    /// [`HostError`] when host or port are not canonical.
    pub fn parse(text: &[u8]) -> Result<Self, HostError> {
        let (host, port) = split_port(text)?;
        Ok(Authority { host: Host::parse(host)?, port })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port as written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port as written, or `default`.
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

/// Splits off `:port`; a colon without a canonical port after it is an error, not an absent port.
fn split_port(text: &[u8]) -> Result<(&[u8], Option<u16>), HostError> {
    let host_end = match text.iter().position(|&b| b == b']') {
        Some(bracket) => bracket + 1,
        None => text.iter().position(|&b| b == b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    let Some((&colon, digits)) = rest.split_first() else { return Ok((host, None)) };
    if colon != b':' {
        return Err(HostError::Character);
    }
    Ok((host, Some(parse_port(digits)?)))
}

fn parse_port(digits: &[u8]) -> Result<u16, HostError> {
    let canonical = matches!(digits, [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit);
    if !canonical {
        return Err(HostError::Port);
    }
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(HostError::Port)
}

fn parse_v6(inner: &[u8]) -> Result<Ipv6Addr, HostError> {
    let text = std::str::from_utf8(inner).map_err(|_| HostError::Address)?;
    let ip: Ipv6Addr = text.parse().map_err(|_| HostError::Address)?;
    let canonical = ip.to_string() == text && ip.to_ipv4_mapped().is_none();
    canonical.then_some(ip).ok_or(HostError::Address)
}

fn parse_name(text: &[u8]) -> Result<String, HostError> {
    if text.len() > NAME_BYTES_MAX {
        return Err(HostError::TooLong);
    }
    let mut name = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => name.push(char::from(byte)),
            b'A'..=b'Z' => name.push(char::from(byte.to_ascii_lowercase())),
            _ => return Err(HostError::Character),
        }
    }
    name.split('.').try_for_each(check_label)?;
    Ok(name)
}

fn check_label(label: &str) -> Result<(), HostError> {
    if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
        return Err(HostError::Label);
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(HostError::TooLong);
    }
    Ok(())
}

/// Whether a URL parser would take the name for an IPv4 number (WHATWG URL §3.5, "ends in a number").
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, why: HostError) {
        assert_eq!(Authority::parse(text.as_bytes()), Err(why), "{text:?}");
    }

    // case: EGR-06
    #[test]
    fn a_number_that_some_resolver_reads_as_an_address_is_refused() {
        for text in [
            "2130706433",
            "0x7f000001",
            "0X7F000001",
            "0177.0.0.1",
            "127.1",
            "127.0.1",
            "0",
            "0x",
            "1.2.3.4.5",
            "256.0.0.1",
            "01.2.3.4",
            "a.0x1",
            "example.1",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0::1]",
            "[::AB]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "[]",
        ] {
            refused(text, HostError::Address);
        }
    }

    // case: EGR-02, EGR-09, EGR-15
    #[test]
    fn a_text_with_two_readings_is_refused() {
        refused("", HostError::Empty);
        refused(":80", HostError::Empty);
        for text in [
            "allowed, evil",
            "user@allowed",
            "allowed/x",
            "allowed?x",
            "allowed#x",
            "al lowed",
            "a_b",
            "b\u{fc}cher.test",
            "[::1]x",
            "all\\owed",
            "a%2eb",
        ] {
            refused(text, HostError::Character);
        }
        for text in ["localhost.", "api.example.com.", ".a", "a..b", "-a.test", "a-.test"] {
            refused(text, HostError::Label);
        }
        refused(&format!("{}.test", "a".repeat(64)), HostError::TooLong);
        refused(&"a.".repeat(127), HostError::TooLong);
    }

    // case: EGR-02, EGR-10
    #[test]
    fn a_port_is_canonical_or_the_text_is_refused() {
        for text in [
            "allowed:",
            "allowed:0",
            "allowed:65536",
            "allowed:0443",
            "allowed:+443",
            "allowed:443@evil",
            "allowed:443:443",
            "allowed: 443",
            "allowed:99999999999",
            "[::1]:",
            "allowed:x",
        ] {
            refused(text, HostError::Port);
        }
        let found = Authority::parse(b"allowed:65535").map(|a| a.port());
        assert_eq!(found, Ok(Some(65535)));
    }

    // case: EGR-09
    #[test]
    fn spellings_of_one_name_are_one_host_and_lookalikes_are_others() {
        let canonical = Host::parse(b"api.example.com").expect("a plain name");
        assert_eq!(Host::parse(b"API.example.COM"), Ok(canonical.clone()));
        for other in ["api.example.com.evil.test", "evil-api.example.com", "xapi.example.com"] {
            assert_ne!(Host::parse(other.as_bytes()).expect("a plain name"), canonical);
        }
    }

    #[test]
    fn canonical_hosts_are_printed_as_they_were_written() {
        for text in [
            "localhost",
            "a",
            "1e100.net",
            "r3---sn-x.test",
            "xn--bcher-kva.test",
            "10.0.0.5",
            "[::1]",
            "[2001:db8::1]",
        ] {
            assert_eq!(Host::parse(text.as_bytes()).expect(text).to_string(), text);
        }
    }
}
