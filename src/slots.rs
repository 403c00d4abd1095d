//! Slots: how a Redis cluster divides keys among its nodes.
//!
//! The slot of a key is a checksum of its text, or of what stands in the first pair of braces. Entries have no braces.
//! What a cache notes beside them has, so that a name can be given the slot that it must be in.

/// The slots of every cluster.
const SLOTS: u16 = 16_384;

/// Groups of slots in a row, each of which has bookkeeping of its own. Masters mostly serve slots in a row, so most
/// groups are lost with one master, and not with another.
pub(crate) const GROUPS: u16 = 16;

/// The slot of a key.
#[cfg(any(test, feature = "redis-cluster"))]
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    checksum(0, tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// The group of a key.
#[cfg(any(test, feature = "redis-cluster"))]
pub(crate) fn group(key: &str) -> u16 {
    slot(key) / (SLOTS / GROUPS)
}

/// `name` in braces, with two digits behind it that put it into a slot of this group.
pub(crate) fn tag(name: &str, group: u16) -> String {
    let begun = checksum(0, name.as_bytes());
    let is_there = |digits: &[u8; 2]| checksum(begun, digits) % SLOTS / (SLOTS / GROUPS) == group % GROUPS;
    let all = DIGITS.into_iter().flat_map(|first| DIGITS.map(|last| [first, last]));
    let [first, last] = all.into_iter().find(is_there).expect("two digits reach every group, whatever stands before");
    format!("{{{name}{}{}}}", char::from(first), char::from(last))
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// CRC-16/XMODEM, which the cluster specification names, of bytes behind others that have the checksum `begun`.
fn checksum(begun: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(begun, |crc, &byte| crc << 8 ^ CHECKSUMS[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The checksum of each byte alone.
const CHECKSUMS: [u16; 256] = {
    let mut checksums = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        checksums[byte] = crc;
        byte += 1;
    }
    checksums
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_specification() {
        assert_eq!(checksum(0, b"123456789"), 0x31C3);
        assert_eq!(checksum(checksum(0, b"12345"), b"6789"), 0x31C3);
        assert_eq!(checksum(0, b""), 0);
    }

    #[test]
    fn the_first_pair_of_braces_counts_alone_unless_it_is_empty() {
        let whole = slot("users:42");
        assert_eq!(["a{users:42}b", "{users:42}:lock", "{users:42}{x}"].map(slot), [whole; 3]);
        for key in ["a{}b{users:42}", "}users:42{", "{users:42"] {
            assert_eq!(slot(key), checksum(0, key.as_bytes()) % SLOTS, "{key}");
        }
    }

    #[test]
    fn every_name_finds_a_tag_in_every_group() {
        for name in 0..1_000 {
            for group in 0..GROUPS {
                let tag = tag(&format!("ledger-{name}-"), group);
                assert_eq!(super::group(&tag), group, "{tag}");
            }
        }
    }
}
