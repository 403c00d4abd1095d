//! The frame: the plain header in front of an entry.
//!
//! ```text
//!  0  C1 01        magic and version; 0xC1 is the one byte MessagePack never uses
//!  2  kind         01 a manifest of chunks, 02 a chunk, 05 an entry (00, 03 and 04 were entries of builds before)
//!  3  flags        u8: 01 a validator follows the tags, 02 the grace was decided for this entry; the others are zero
//!  4  tags         u16, number of tags, 0..=1024                   (all numbers big-endian)
//!  6  created      u64, milliseconds since the Unix epoch
//! 14  fresh for    u64, milliseconds since created
//! 22  ttl          u64, milliseconds since created
//! 30  grace        u64, milliseconds after the ttl for which the backend keeps it
//! 38  clock        u32, name of the clock that shows `created`: random, another each time that the clock is set
//! 42  cost         u64, microseconds the computation took
//! 50  stack        u32, fingerprint of the codec stack
//! 54  schema       u64, fingerprint of the value's type
//! 62  key          u64, fingerprint of the key's text
//! 70  lineage      u64, of the ledger that says what was forgotten
//! 78  time         u64, of that ledger when the computation began
//! 86  tags x 8     u64 fingerprint of the tag's name
//!     validator    u8 length, 1..=64, and as many bytes: what an origin knows this version of the value by
//! ```
//! All fingerprints are XXH3-64, seed 0, of the UTF-8 text: the same in every process, build and version. The key's
//! tells an entry that a server or a proxy gave for another key, whatever the codec stack; it is no protection from a
//! forger.
//!
//! The codec's output follows. Dates travel here so that every backend keeps them.
//!
//! ```text
//! C1 02 | u64 milliseconds since the Unix epoch | an entry
//! ```
//! is an entry that expired at that moment, whatever its own dates say. Its bytes are as they were, because a codec
//! may have bound them.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A moment of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    /// Of the ledger: random, another once it was lost.
    pub(crate) lineage: u64,
    /// How many orders to forget it had taken.
    pub(crate) time: u64,
}

impl Stamp {
    /// The lineage, then the time.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.lineage) << 64 | u128::from(self.time)).to_be_bytes()
    }
}

/// What the first bytes of an entry say about the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Milliseconds since the Unix epoch.
    pub(crate) created: u64,
    /// Milliseconds after `created` from which the entry is stale.
    pub(crate) fresh_for: u64,
    /// Milliseconds after `created` from which the entry is expired.
    pub(crate) ttl: u64,
    /// Milliseconds after the TTL for which the backend was asked to keep it.
    pub(crate) grace: u64,
    /// Whether the computation decided that, so that it holds for readers with other settings, too.
    pub(crate) has_own_grace: bool,
    /// Names the clock that shows `created`.
    pub(crate) clock: u32,
    /// Microseconds the computation took.
    pub(crate) cost: u64,
    /// Fingerprint of the codec stack.
    pub(crate) stack: u32,
    /// Fingerprint of the value's type.
    pub(crate) schema: u64,
    /// Fingerprint of the key's text.
    pub(crate) key: u64,
    /// When the computation began, by the ledger.
    pub(crate) stamp: Stamp,
    pub(crate) labels: Labels,
}

/// The kinds of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest = 1,
    Chunk = 2,
    Entry = 5,
}

/// Fingerprints of the tags of an entry.
pub(crate) type Tags = Arc<[u64]>;

/// What an origin knows a version of a value by, such as an ETag.
pub(crate) type Validator = Arc<[u8]>;

/// What an entry was given beside its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Fingerprints of the tags.
    pub(crate) tags: Tags,
    /// From 1 to 64 bytes.
    pub(crate) validator: Option<Validator>,
}

impl Labels {
    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.validator.is_none()
    }

    /// The bytes that they take.
    pub(crate) fn size(&self) -> usize {
        size_of_val(&*self.tags) + self.validator.as_ref().map_or(0, |validator| validator.len())
    }
}

/// A validator of these bytes, if they are as many as one may have.
pub(crate) fn validator(bytes: &[u8]) -> Option<Validator> {
    (1..=MAX_VALIDATOR).contains(&bytes.len()).then(|| bytes.into())
}

/// The most tags of the program's an entry can carry.
pub(crate) const MAX_TAGS: usize = 1_024;
/// With that of its domain.
const MOST_TAGS: usize = MAX_TAGS + 1;

const MAGIC: [u8; 2] = [0xC1, 0x01];
/// The bytes in front of the tags.
const FIXED: usize = 86;
/// The flag of an entry with a validator.
const VALIDATOR: u8 = 1;
/// The flag of an entry whose grace was decided for it.
const OWN_GRACE: u8 = 2;
/// The longest validator.
const MAX_VALIDATOR: usize = 64;
const EXPIRED: [u8; 2] = [0xC1, 0x02];
/// The bytes in front of an entry that expired ahead of its time.
pub(crate) const EXPIRY: usize = EXPIRED.len() + size_of::<u64>();

/// What is stored in place of an `entry` that expired `at` this moment.
pub(crate) fn expire(entry: &[u8], at: u64) -> Bytes {
    let mut out = Vec::with_capacity(EXPIRY + entry.len());
    out.extend_from_slice(&EXPIRED);
    out.extend_from_slice(&at.to_be_bytes());
    out.extend_from_slice(entry);
    out.into()
}

/// The entry in stored bytes, and when it expired if that was ahead of its time. Other bytes are as they are.
pub(crate) fn strip_expiry(bytes: Bytes) -> (Bytes, Option<u64>) {
    match expired_at(&bytes) {
        Some(at) => (bytes.slice(EXPIRY..), Some(at)),
        None => (bytes, None),
    }
}

fn expired_at(bytes: &[u8]) -> Option<u64> {
    let mut fields = Fields(bytes.strip_prefix(&EXPIRED)?);
    let at = fields.u64()?;
    matches!(kind(fields.0), Some((Kind::Entry, _))).then_some(at)
}

/// The kind of a frame, and what follows its first three bytes. `None` for bytes that are not ours.
pub(crate) fn kind(bytes: &[u8]) -> Option<(Kind, &[u8])> {
    let (kind, rest) = bytes.strip_prefix(&MAGIC)?.split_first()?;
    let kind = match kind {
        1 => Kind::Manifest,
        2 => Kind::Chunk,
        5 => Kind::Entry,
        _ => return None,
    };
    Some((kind, rest))
}

/// Appends the three bytes that start a frame of `kind`.
pub(crate) fn start(kind: Kind, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.push(kind as u8);
}

impl Header {
    /// The bytes of this header, as they stand in front of the codec's output.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Labels { tags, validator } = &self.labels;
        let tags = &tags[..tags.len().min(MOST_TAGS)];
        let mut out = Vec::with_capacity(FIXED + self.labels.size() + 1);
        start(Kind::Entry, &mut out);
        let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        out.push(flag(VALIDATOR, validator.is_some()) | flag(OWN_GRACE, self.has_own_grace));
        out.extend_from_slice(&(tags.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.created.to_be_bytes());
        out.extend_from_slice(&self.fresh_for.to_be_bytes());
        out.extend_from_slice(&self.ttl.to_be_bytes());
        out.extend_from_slice(&self.grace.to_be_bytes());
        out.extend_from_slice(&self.clock.to_be_bytes());
        out.extend_from_slice(&self.cost.to_be_bytes());
        out.extend_from_slice(&self.stack.to_be_bytes());
        out.extend_from_slice(&self.schema.to_be_bytes());
        out.extend_from_slice(&self.key.to_be_bytes());
        out.extend_from_slice(&self.stamp.to_bytes());
        tags.iter().for_each(|tag| out.extend_from_slice(&tag.to_be_bytes()));
        if let Some(validator) = validator {
            out.push(validator.len() as u8);
            out.extend_from_slice(validator);
        }
        out
    }

    /// Splits an entry into its header, the header's bytes, and the codec's output.
    ///
    /// `None` for bytes that are not an entry of ours, or are cut short.
    pub(crate) fn split(bytes: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (Kind::Entry, rest) = kind(bytes)? else { return None };
        let mut fields = Fields(rest);
        let (flags, count) = (fields.u8()?, usize::from(fields.u16()?));
        if flags & !(VALIDATOR | OWN_GRACE) != 0 || count > MOST_TAGS {
            return None;
        }
        let mut header = Self {
            created: fields.u64()?,
            fresh_for: fields.u64()?,
            ttl: fields.u64()?,
            grace: fields.u64()?,
            has_own_grace: flags & OWN_GRACE != 0,
            clock: fields.u32()?,
            cost: fields.u64()?,
            stack: fields.u32()?,
            schema: fields.u64()?,
            key: fields.u64()?,
            stamp: fields.stamp()?,
            labels: Labels { tags: fields.tags(count)?, validator: None },
        };
        if flags & VALIDATOR != 0 {
            header.labels.validator = Some(fields.validator()?);
        }
        let (head, body) = bytes.split_at(bytes.len() - fields.0.len());
        Some((header, head, body))
    }
}

/// Reads big-endian numbers off the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*head))
    }

    pub(crate) fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp { lineage: self.u64()?, time: self.u64()? })
    }

    /// So many tags; memory is taken for those that are there.
    fn tags(&mut self, count: usize) -> Option<Tags> {
        let (head, rest) = self.0.split_at_checked(count * size_of::<u64>())?;
        self.0 = rest;
        if count == 0 {
            // Allocates nothing.
            return Some(Tags::default());
        }
        Some(head.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect())
    }

    fn validator(&mut self) -> Option<Validator> {
        let length = usize::from(self.u8()?);
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        validator(bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }
}

/// The fingerprint of a name, the same in every process and build.
pub(crate) fn fingerprint(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// The tag of all entries of a domain. No tag that a program names has it.
pub(crate) fn domain_tag(name: &str) -> u64 {
    const SEED: u64 = u64::from_le_bytes(*b"+domain:");
    xxh3_64_with_seed(name.as_bytes(), SEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(tags: usize) -> Header {
        Header {
            created: 1,
            fresh_for: 2,
            ttl: 3,
            grace: 8,
            has_own_grace: false,
            clock: 9,
            cost: 4,
            stack: 5,
            schema: 6,
            key: 10,
            stamp: Stamp { lineage: 7, time: 11 },
            labels: Labels { tags: (0..tags as u64).map(|tag| u64::MAX - tag).collect(), validator: None },
        }
    }

    #[test]
    fn a_header_is_these_bytes_and_one_of_an_earlier_kind_is_none() {
        let bytes = header(1).to_bytes();
        let numbers = [1u64, 2, 3, 8].map(u64::to_be_bytes).concat();
        let numbers =
            [numbers, 9u32.to_be_bytes().to_vec(), 4u64.to_be_bytes().to_vec(), 5u32.to_be_bytes().to_vec()].concat();
        let numbers = [numbers, [6u64, 10, 7, 11, u64::MAX].map(u64::to_be_bytes).concat()].concat();
        assert_eq!(bytes, [&[0xC1, 0x01, 0x05, 0, 0, 1][..], &numbers].concat());
        for kind in (0..=u8::MAX).filter(|kind| *kind != 5) {
            let other = [&[0xC1, 0x01, kind][..], &bytes[3..]].concat();
            assert_eq!(Header::split(&other), None, "kind {kind}");
        }
        assert_eq!(fingerprint("users:42"), FINGERPRINT);
    }

    /// What the first build with it made of `users:42`.
    const FINGERPRINT: u64 = 7725952601518010407;

    #[test]
    fn header_reads_back_with_any_tags_and_never_if_cut_short() {
        for tags in [0, 1, 64, 65, 255, 256, 1_023, MAX_TAGS, MOST_TAGS] {
            let written = header(tags).to_bytes();
            let bytes = [&written[..], b"body"].concat();
            assert_eq!(Header::split(&bytes), Some((header(tags), &written[..], &b"body"[..])), "{tags} tags");
            for length in 0..written.len() {
                assert_eq!(Header::split(&bytes[..length]), None, "{length} bytes of {tags} tags");
            }
        }
    }

    #[test]
    fn header_with_too_many_tags_or_unknown_flags_is_rejected() {
        let bytes = header(MOST_TAGS).to_bytes();
        assert_eq!(bytes[..6], [0xC1, 0x01, 0x05, 0, 0x04, 0x01]);
        for head in [[0, 0x04, 0x02], [0, 0xff, 0xff], [4, 0, 0], [0x80, 0, 0]] {
            let forged = [&bytes[..3], &head, &vec![0; 1 << 20]].concat();
            assert_eq!(Header::split(&forged), None, "{head:?}");
        }
    }

    #[test]
    fn a_validator_and_a_grace_of_its_own_belong_to_the_header() {
        let mut flagged = header(2).to_bytes();
        flagged[3] = 1;
        let with = |validator: &[u8]| [&flagged[..], &[validator.len() as u8], validator, b"body"].concat();
        for length in [1, 64] {
            let bytes = with(&vec![7; length]);
            let head = &bytes[..flagged.len() + 1 + length];
            let mut expected = header(2);
            expected.labels.validator = validator(&vec![7; length]);
            assert_eq!(Header::split(&bytes), Some((expected.clone(), head, &b"body"[..])), "{length} bytes");
            assert_eq!(expected.to_bytes(), head);
        }
        let mut own = header(2);
        own.has_own_grace = true;
        let bytes = own.to_bytes();
        assert_eq!((bytes[3], Header::split(&bytes).map(|(header, ..)| header)), (2, Some(own)));
        for length in [0, 65, 255] {
            assert_eq!(Header::split(&with(&vec![7; length])), None, "{length} bytes");
        }
        assert_eq!(Header::split(&[&flagged[..], &[64], &[7; 63]].concat()), None, "cut short");
    }

    #[test]
    fn expired_entry_is_the_entry_behind_a_ten_byte_prefix() {
        let entry = [&[0xC1, 0x01, 0x05][..], &[7; 60]].concat();
        let stored = expire(&entry, 0x0102);
        assert_eq!(stored[..10], [0xC1, 0x02, 0, 0, 0, 0, 0, 0, 0x01, 0x02]);
        assert_eq!(strip_expiry(stored.clone()), (Bytes::from(entry.clone()), Some(0x0102)));
        let others = [
            Bytes::new(),
            Bytes::from(entry.clone()),
            expire(&stored, 1),
            expire(&[0xC1, 0x01, 0x01, 0, 0], 1),
            expire(b"text", 1),
            expire(&[], 1),
        ];
        for other in others.into_iter().chain((0..13).map(|length| stored.slice(..length))) {
            assert_eq!(strip_expiry(other.clone()), (other, None));
        }
    }
}
