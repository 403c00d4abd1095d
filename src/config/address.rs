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
        IpAddr::V4(ip) => ip.is_link_local() || ip == Ipv4Addr::new(100, 100, 100, 200),
        IpAddr::V6(ip) => {
            let metadata = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            ip.is_unicast_link_local() || ip == metadata || inner(ip).is_some_and(|v4| is_forbidden(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 or 6to4.
fn inner(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}
