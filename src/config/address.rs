//! Hosts and ports in text.
//!
//! Strict on purpose: a resolver takes `0x7f.1` and `2130706433` for addresses, so a name that ends in a number is
//! refused unless it is a plain IPv4 address. What is checked here is what gets connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host, and its port if one is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// As written; an IPv6 address is in brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Address<'a> {
    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        // The colons of an IPv6 address are inside its brackets.
        let split = text.rfind(':').filter(|&colon| !text[colon..].contains(']'));
        let (host, port) = match split {
            Some(colon) => (&text[..colon], Some(port(&text[colon + 1..])?)),
            None => (text, None),
        };
        is_host(host).then_some(Self { host, port })
    }

    /// The address, if the host is one and not a name.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        ip(self.host)
    }
}

fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|&port| port > 0)
}

fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn is_host(host: &str) -> bool {
    ip(host).is_some() || is_name(host)
}

fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !is_number(last)
}

/// Whether a resolver may read a label as a number: digits, or hex after `0x`.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether an address is link-local or serves the metadata of a cloud machine, also inside an IPv6 address.
///
/// No setting lets a client through to one of these: they answer with the credentials of the machine.
pub(crate) fn is_forbidden(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local()
                || METADATA_V6.contains(&ip)
                || inner(ip).any(|inner| is_forbidden(IpAddr::V4(inner)))
        }
    }
}

/// Metadata at addresses that are not link-local: those of Alibaba, Oracle and Azure.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// Those of Amazon, Google and Scaleway.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Whether an address is one of the public Internet, and so is every IPv4 address inside an IPv6 one.
#[cfg(any(feature = "cachekitio", test))]
pub(crate) fn is_public(ip: IpAddr) -> bool {
    if is_forbidden(ip) {
        return false;
    }
    match ip {
        IpAddr::V4(ip) => !RESERVED_V4.iter().any(|&(net, bits)| (ip.to_bits() ^ net.to_bits()) >> (32 - bits) == 0),
        IpAddr::V6(ip) => {
            let is_in = |&(net, bits): &(Ipv6Addr, u32)| (ip.to_bits() ^ net.to_bits()) >> (128 - bits) == 0;
            PUBLIC_V6.iter().any(is_in)
                && !RESERVED_V6.iter().any(is_in)
                && inner(ip).all(|inner| is_public(IpAddr::V4(inner)))
        }
    }
}

/// What the registry of special addresses keeps from the Internet: this host, private, shared, loopback, protocols,
/// documentation, relays, benchmarks, multicast, and all that is reserved.
#[cfg(any(feature = "cachekitio", test))]
const RESERVED_V4: [(Ipv4Addr, u32); 14] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Where global unicast addresses are given out, and two ways to write or reach IPv4 ones: mapped and NAT64.
#[cfg(any(feature = "cachekitio", test))]
const PUBLIC_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
];

/// What of it is kept: protocols with tunnels and benchmarks among them, documentation twice.
#[cfg(any(feature = "cachekitio", test))]
const RESERVED_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// The IPv4 addresses that an IPv6 address stands for or leads to: mapped, compatible, translated, NAT64, 6to4, Teredo
/// (its server and, with all bits turned over, its client) and ISATAP.
fn inner(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let (first, second) = match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => (Some(v4(high, low)), None),
        [0x2002, high, low, ..] => (Some(v4(high, low)), None),
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            (Some(v4(high, low)), Some(v4(!client_high, !client_low)))
        }
        _ => (None, None),
    };
    first.into_iter().chain(second)
}
