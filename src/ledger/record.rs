//! A record of a ledger, as it is stored.
//!
//! ```text
//!  0  C1 04 01     magic and version
//!  3  lineage      u64, of the ledger that it belongs to           (all numbers big-endian)
//! 11  floor        u64, the time up to which tags that are not named count as forgotten
//! 19  tags x 16    up to 256 times: fingerprint u64, the time u64 at which it was forgotten, the latest last
//! ```

use bytes::Bytes;

use crate::frame::Fields;

const MAGIC: [u8; 3] = [0xC1, 0x04, 0x01];
const TAG: usize = 2 * size_of::<u64>();

/// When some tags were forgotten last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    lineage: u64,
    floor: u64,
    /// Fingerprints and times, the latest last.
    tags: Vec<(u64, u64)>,
}

impl Record {
    /// The most tags that a record names.
    pub(crate) const MAX_TAGS: usize = 256;

    /// The record of a ledger of this lineage that has noted nothing since `floor`.
    pub(crate) fn new(lineage: u64, floor: u64) -> Self {
        Self { lineage, floor, tags: Vec::new() }
    }

    /// Reads a record of the ledger of this lineage. `None` for bytes that are none.
    pub(crate) fn read(bytes: &[u8], lineage: u64) -> Option<Self> {
        let mut fields = Fields(bytes.strip_prefix(&MAGIC)?);
        let record = Self { lineage: fields.u64()?, floor: fields.u64()?, tags: Vec::new() };
        let (pairs, rest) = fields.0.as_chunks::<TAG>();
        if record.lineage != lineage || !rest.is_empty() || pairs.len() > Self::MAX_TAGS {
            return None;
        }
        let pair = |bytes: &[u8; TAG]| Some((Fields(bytes).u64()?, Fields(&bytes[8..]).u64()?));
        Some(Self { tags: pairs.iter().map(pair).collect::<Option<_>>()?, ..record })
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let numbers = self.tags.iter().flat_map(|(tag, time)| [*tag, *time]);
        let numbers = [self.lineage, self.floor].into_iter().chain(numbers);
        MAGIC.into_iter().chain(numbers.flat_map(u64::to_be_bytes)).collect()
    }

    /// Notes that these tags were forgotten at `time`.
    pub(super) fn forget(&mut self, tags: &[u64], time: u64) {
        self.tags.retain(|(tag, _)| !tags.contains(tag));
        self.tags.extend(tags.iter().map(|tag| (*tag, time)));
        let over = self.tags.len().saturating_sub(Self::MAX_TAGS);
        for (_, time) in self.tags.drain(..over) {
            self.floor = self.floor.max(time);
        }
    }

    /// When this tag was forgotten last, or may have been.
    pub(crate) fn forgotten_at(&self, tag: u64) -> u64 {
        let named = self.tags.iter().rev().find(|(named, _)| *named == tag);
        named.map_or(self.floor, |(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_these_bytes_and_reads_back_for_its_own_ledger() {
        let mut record = Record::new(1, 2);
        record.forget(&[3], 4);
        let numbers = [1u64, 2, 3, 4].map(u64::to_be_bytes).concat();
        let bytes = record.to_bytes();
        assert_eq!(bytes, [&[0xC1, 0x04, 0x01][..], &numbers].concat());
        assert_eq!((Record::read(&bytes, 1), Record::read(&bytes, 2)), (Some(record), None));
        for length in (0..bytes.len()).filter(|length| *length != 19) {
            assert_eq!(Record::read(&bytes[..length], 1), None, "{length} bytes");
        }
    }

    #[test]
    fn full_record_errs_towards_forgetting_its_oldest_tags() {
        let mut record = Record::new(1, 0);
        for tag in 1..=Record::MAX_TAGS as u64 + 2 {
            record.forget(&[tag], 10 * tag);
        }
        let bytes = record.to_bytes();
        assert_eq!((bytes.len(), Record::read(&bytes, 1)), (4_115, Some(record.clone())));
        assert_eq!([1, 2, 3, 4, 999].map(|tag| record.forgotten_at(tag)), [20, 20, 30, 40, 20]);
        record.forget(&[3], 9_000);
        assert_eq!([3, 4].map(|tag| record.forgotten_at(tag)), [9_000, 40]);
        assert_eq!(Record::read(&[&bytes[..], &[0; 16]].concat(), 1), None, "longer than any");
    }
}
