//! What kind of address is about to be dialled, and whether it may be.
//!
//! The address that was checked is the address that is dialled: [`Dialable`] is what the check leaves
//! behind, so a second resolution cannot slip another address in between. Which resource may reach
//! private networks is the resource's fact; it comes in as [`Reach`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What kind of place an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// The public internet.
    Global,
    /// Networks of an organisation: RFC 1918, unique local IPv6, and the shared space of RFC 6598.
    Private,
    /// This machine.
    Loopback,
    /// The machine's own link, where cloud instances are told their identity.
    LinkLocal,
    /// A well-known address that hands credentials to whoever asks from a cloud instance.
    Metadata,
    /// No address, or "this network".
    Unspecified,
    /// Many receivers.
    Multicast,
    /// Documentation, benchmarks, protocol assignments, tunnels whose far end cannot be judged, and
    /// everything not assigned.
    Reserved,
}

/// How far a resource's destination may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The public internet alone.
    Global,
    /// Private networks and this machine as well, because the resource says so.
    Private,
}

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The resource does not reach addresses of this class.
    #[error("the address is {0:?}, which the resource does not reach")]
    Class(AddressClass),
    /// The address is one that Accredit itself listens on.
    #[error("the address is one that Accredit itself listens on")]
    Own,
}

/// An address that may be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialable(SocketAddr);

impl Dialable {
    /// Judges an address that a resource's host resolved to. `own` lists what Accredit listens on.
    ///
    /// # Errors
    /// [`AddressError`] when it must not be dialled.
    pub fn check(address: SocketAddr, reach: Reach, own: &[SocketAddr]) -> Result<Self, AddressError> {
        let ip = plain(address.ip());
        let class = classify(ip);
        if !permitted(class, reach) {
            return Err(AddressError::Class(class));
        }
        if own.iter().any(|listener| covers(*listener, ip, class, address.port())) {
            return Err(AddressError::Own);
        }
        Ok(Dialable(SocketAddr::new(ip, address.port())))
    }

    /// The address to dial.
    pub fn address(&self) -> SocketAddr {
        self.0
    }
}

/// Whether a resource of this reach may dial addresses of this class.
pub fn permitted(class: AddressClass, reach: Reach) -> bool {
    match class {
        AddressClass::Global => true,
        AddressClass::Private | AddressClass::Loopback => reach == Reach::Private,
        AddressClass::LinkLocal
        | AddressClass::Metadata
        | AddressClass::Unspecified
        | AddressClass::Multicast
        | AddressClass::Reserved => false,
    }
}

/// The class of an address. IPv6 addresses that carry an IPv4 one have the class of that one.
pub fn classify(ip: IpAddr) -> AddressClass {
    match plain(ip) {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip),
    }
}

/// Whether a listener answers at this address. One on every interface answers at all addresses of the
/// machine, which may be any that is not global.
fn covers(listener: SocketAddr, ip: IpAddr, class: AddressClass, port: u16) -> bool {
    let everywhere = listener.ip().is_unspecified() && class != AddressClass::Global;
    listener.port() == port && (everywhere || plain(listener.ip()) == ip)
}

/// An IPv4-mapped address (`::ffff:0:0/96`) is the IPv4 address: that is what gets dialled.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// IPv4 places that hand out credentials: AWS, GCP, Azure and others; AWS container credentials; Azure's
/// host; Alibaba; Oracle.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same for IPv6: AWS, AWS container credentials, GCP.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// IANA IPv4 special-purpose address registry.
fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&ip) {
        return AddressClass::Metadata;
    }
    match ip.octets() {
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => AddressClass::Private,
        [169, 254, ..] => AddressClass::LinkLocal,
        [224..=239, ..] => AddressClass::Multicast,
        // Protocol assignments, documentation, 6to4 relays, AS112, benchmarks, former class E, broadcast.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Reserved,
        [192, 88, 99, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => {
            AddressClass::Reserved
        }
        [198, 18 | 19, ..] | [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Global,
    }
}

/// IANA IPv6 special-purpose address registry; outside `2000::/3` nothing is global.
fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&ip) {
        return AddressClass::Metadata;
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // NAT64 (RFC 6052): the network dials the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => classify_v4(embedded(high, low)),
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] => AddressClass::Private,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // Protocol assignments with Teredo and ORCHID, documentation, 6to4, documentation, AS112.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] => AddressClass::Reserved,
        [0x3fff, 0..=0xfff, ..] | [0x2620, 0x4f, 0x8000, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Global,
        _ => AddressClass::Reserved,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(class: AddressClass, addresses: &[&str]) {
        for text in addresses {
            let ip: IpAddr = text.parse().expect("an address");
            assert_eq!(classify(ip), class, "{text}");
        }
    }

    // case: EGR-05, EGR-06, EGR-07
    #[test]
    fn every_special_block_is_known_at_both_ends() {
        check(
            AddressClass::Loopback,
            &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"],
        );
        check(
            AddressClass::Private,
            &[
                "10.0.0.0",
                "10.0.0.5",
                "10.255.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.168.0.0",
                "192.168.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "fc00::",
                "fdff:ffff::1",
                "::ffff:10.0.0.5",
                "64:ff9b::10.0.0.5",
            ],
        );
        check(
            AddressClass::LinkLocal,
            &["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1", "::ffff:169.254.1.1"],
        );
        check(
            AddressClass::Metadata,
            &[
                "169.254.169.254",
                "169.254.170.2",
                "168.63.129.16",
                "100.100.100.200",
                "192.0.0.192",
                "fd00:ec2::254",
                "fd20:ce::254",
                "::ffff:169.254.169.254",
                "64:ff9b::169.254.169.254",
            ],
        );
        check(AddressClass::Unspecified, &["0.0.0.0", "0.255.255.255", "::", "::ffff:0.0.0.0", "64:ff9b::"]);
        check(AddressClass::Multicast, &["224.0.0.1", "239.255.255.255", "ff02::1", "::ffff:224.0.0.1"]);
        check(
            AddressClass::Reserved,
            &[
                "192.0.0.1",
                "192.0.2.1",
                "192.88.99.1",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.1",
                "203.0.113.1",
                "240.0.0.1",
                "255.255.255.255",
                "::127.0.0.1",
                "::2",
                "64:ff9b:1::10.0.0.5",
                "100::1",
                "2001::1",
                "2001:1ff::1",
                "2001:db8::1",
                "2002:7f00:1::",
                "2002:808:808::",
                "3fff::1",
                "3fff:fff::1",
                "5f00::1",
                "fec0::1",
                "4000::1",
            ],
        );
        check(
            AddressClass::Global,
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2000::1",
                "2001:200::1",
                "2606:4700::1111",
                "3fff:1000::1",
                "::ffff:1.1.1.1",
                "64:ff9b::1.1.1.1",
            ],
        );
    }

    // case: EGR-05, EGR-07
    #[test]
    fn private_networks_open_only_to_a_resource_that_says_so_and_others_never() {
        for (address, reach, expected) in [
            ("1.1.1.1:443", Reach::Global, Ok(())),
            ("10.0.0.5:443", Reach::Global, Err(AddressError::Class(AddressClass::Private))),
            ("10.0.0.5:443", Reach::Private, Ok(())),
            ("127.0.0.1:443", Reach::Global, Err(AddressError::Class(AddressClass::Loopback))),
            ("127.0.0.1:443", Reach::Private, Ok(())),
            ("[::ffff:10.0.0.5]:443", Reach::Global, Err(AddressError::Class(AddressClass::Private))),
            ("169.254.169.254:80", Reach::Private, Err(AddressError::Class(AddressClass::Metadata))),
            ("[fd00:ec2::254]:80", Reach::Private, Err(AddressError::Class(AddressClass::Metadata))),
            ("169.254.1.1:80", Reach::Private, Err(AddressError::Class(AddressClass::LinkLocal))),
            ("0.0.0.0:80", Reach::Private, Err(AddressError::Class(AddressClass::Unspecified))),
            ("224.0.0.1:80", Reach::Private, Err(AddressError::Class(AddressClass::Multicast))),
            ("240.0.0.1:80", Reach::Private, Err(AddressError::Class(AddressClass::Reserved))),
        ] {
            let found = Dialable::check(address.parse().expect("an address"), reach, &[]).map(|_| ());
            assert_eq!(found, expected, "{address} {reach:?}");
        }
    }

    // case: EGR-05
    #[test]
    fn accredit_never_dials_itself() {
        let own: [SocketAddr; 3] =
            ["127.0.0.1:9749", "0.0.0.0:9748", "[::]:9750"].map(|text| text.parse().expect("an address"));
        for (address, refused) in [
            ("127.0.0.1:9749", true),
            ("[::ffff:127.0.0.1]:9749", true),
            ("127.0.0.1:9747", false),
            ("10.0.0.5:9748", true),
            ("127.0.0.1:9748", true),
            ("[::1]:9750", true),
            ("1.1.1.1:9748", false),
        ] {
            let found = Dialable::check(address.parse().expect("an address"), Reach::Private, &own);
            assert_eq!(found == Err(AddressError::Own), refused, "{address}");
        }
    }

    // case: EGR-06, EGR-08
    #[test]
    fn the_address_that_was_checked_is_the_one_that_is_dialled() {
        let mapped: SocketAddr = "[::ffff:1.1.1.1]:443".parse().expect("an address");
        let dialled = Dialable::check(mapped, Reach::Global, &[]).map(|d| d.address().to_string());
        assert_eq!(dialled.as_deref(), Ok("1.1.1.1:443"));
    }
}
