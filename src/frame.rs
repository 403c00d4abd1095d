//! The frame: the plain header in front of an entry.
//!
//! ```text
//!  0  C1 01        magic and version; 0xC1 is the one byte MessagePack never uses
//!  2  kind         00 an entry, 01 a manifest of chunks, 02 a chunk
//!  3  tags         number of tags, 0..=64
//!  4  created      u64, milliseconds since the Unix epoch          (all numbers big-endian)
//! 12  fresh for    u64, milliseconds since created
//! 20  ttl          u64, milliseconds since created
//! 28  cost         u32, milliseconds the computation took
//! 32  stack        u32, fingerprint of the codec stack
//! 36  schema       u64, fingerprint of the value's type
//! 44  namespace    u64, version of the namespace it was computed under
//! 52  tags x 16    u64 fingerprint of the tag's name, u64 version
//! ```
//! The codec's output follows. Dates travel here so that every backend keeps them.
//!
//! ```text
//! C1 02 | u64 milliseconds since the Unix epoch | an entry
//! ```
//! is an entry that expired at that moment, whatever its own dates say. Its bytes are as they were, because a codec
//! may have bound them.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// What the first bytes of an entry say about the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Milliseconds since the Unix epoch.
    pub(crate) created: u64,
    /// Milliseconds after `created` from which the entry is stale.
    pub(crate) fresh_for: u64,
    /// Milliseconds after `created` from which the entry is expired.
    pub(crate) ttl: u64,
    /// Milliseconds the computation took.
    pub(crate) cost: u32,
    /// Fingerprint of the codec stack.
    pub(crate) stack: u32,
    /// Fingerprint of the value's type.
    pub(crate) schema: u64,
    /// Version of the namespace.
    pub(crate) namespace: u64,
    /// Fingerprint and version of each tag.
    pub(crate) tags: Vec<(u64, u64)>,
}

/// The kinds of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Entry,
    Manifest,
    Chunk,
}

/// The most tags an entry can carry.
pub(crate) const MAX_TAGS: usize = 64;

const MAGIC: [u8; 2] = [0xC1, 0x01];
const FIXED: usize = 52;
const EXPIRED: [u8; 2] = [0xC1, 0x02];

/// What is stored in place of an `entry` that expired `at` this moment.
pub(crate) fn expire(entry: &[u8], at: u64) -> Bytes {
    let mut out = Vec::with_capacity(EXPIRED.len() + size_of::<u64>() + entry.len());
    out.extend_from_slice(&EXPIRED);
    out.extend_from_slice(&at.to_be_bytes());
    out.extend_from_slice(entry);
    out.into()
}

/// The entry in stored bytes, and when it expired if that was ahead of its time. Other bytes are as they are.
pub(crate) fn strip_expiry(bytes: Bytes) -> (Bytes, Option<u64>) {
    match expired_at(&bytes) {
        Some(at) => (bytes.slice(EXPIRED.len() + size_of::<u64>()..), Some(at)),
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
        0 => Kind::Entry,
        1 => Kind::Manifest,
        2 => Kind::Chunk,
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
        let tags = &self.tags[..self.tags.len().min(MAX_TAGS)];
        let mut out = Vec::with_capacity(FIXED + tags.len() * 16);
        start(Kind::Entry, &mut out);
        out.push(tags.len() as u8);
        out.extend_from_slice(&self.created.to_be_bytes());
        out.extend_from_slice(&self.fresh_for.to_be_bytes());
        out.extend_from_slice(&self.ttl.to_be_bytes());
        out.extend_from_slice(&self.cost.to_be_bytes());
        out.extend_from_slice(&self.stack.to_be_bytes());
        out.extend_from_slice(&self.schema.to_be_bytes());
        out.extend_from_slice(&self.namespace.to_be_bytes());
        for (tag, version) in tags {
            out.extend_from_slice(&tag.to_be_bytes());
            out.extend_from_slice(&version.to_be_bytes());
        }
        out
    }

    /// Splits an entry into its header, the header's bytes, and the codec's output.
    ///
    /// `None` for bytes that are not an entry of ours, or are cut short.
    pub(crate) fn split(bytes: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (Kind::Entry, rest) = kind(bytes)? else { return None };
        let count = usize::from(*rest.first()?);
        if count > MAX_TAGS {
            return None;
        }
        let (head, body) = bytes.split_at_checked(FIXED + count * 16)?;
        let mut fields = Fields(&head[4..]);
        let header = Self {
            created: fields.u64()?,
            fresh_for: fields.u64()?,
            ttl: fields.u64()?,
            cost: fields.u32()?,
            stack: fields.u32()?,
            schema: fields.u64()?,
            namespace: fields.u64()?,
            tags: (0..count).map(|_| Some((fields.u64()?, fields.u64()?))).collect::<Option<_>>()?,
        };
        Some((header, head, body))
    }
}

/// Reads big-endian numbers off the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_entry_is_itself_behind_ten_bytes_and_nothing_else_is_one() {
        let entry = [&[0xC1, 0x01, 0x00][..], &[7; 60]].concat();
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
