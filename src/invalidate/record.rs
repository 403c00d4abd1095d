//! The version of a namespace, as it is stored.
//!
//! ```text
//! version u64 | up to 7 times: an earlier version u64, when its entries expired u64 (ms since the Unix epoch)
//! ```
//! Numbers are big-endian, the youngest of the earlier versions comes first. A build that reads eight bytes and no more
//! takes a longer record for a lost one and makes a new version: entries that expired are gone for everybody then.

use bytes::Bytes;

use crate::frame::Fields;

/// How many earlier versions a record remembers.
const MAX_EXPIRIES: usize = 7;

/// A version, and those that expired when it, or one after them, took their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) version: u64,
    pub(super) expired: Vec<Expired>,
}

/// A version whose entries expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expired {
    version: u64,
    /// Milliseconds since the Unix epoch.
    at: u64,
}

impl Record {
    pub(super) fn new(version: u64) -> Self {
        Self { version, expired: Vec::new() }
    }

    /// Reads a record. `None` for bytes that are none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let count = bytes.len().checked_sub(8)? / 16;
        if count > MAX_EXPIRIES {
            return None;
        }
        let mut fields = Fields(bytes);
        let version = fields.u64()?;
        let expired =
            (0..count).map(|_| Some(Expired { version: fields.u64()?, at: fields.u64()? })).collect::<Option<_>>()?;
        fields.0.is_empty().then_some(Self { version, expired })
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let numbers = self.expired.iter().flat_map(|expired| [expired.version, expired.at]);
        std::iter::once(self.version).chain(numbers).flat_map(u64::to_be_bytes).collect()
    }

    /// The record of the version `next`, for which the entries of this one expire `at` this moment.
    pub(super) fn expire(self, next: u64, at: u64) -> Self {
        let mut expired = vec![Expired { version: self.version, at }];
        expired.extend(self.expired.into_iter().take(MAX_EXPIRIES - 1));
        Self { version: next, expired }
    }
}

/// When the entries of `version` expired, if it is one of these.
pub(super) fn expired_at(expired: &[Expired], version: u64) -> Option<u64> {
    expired.iter().find(|earlier| earlier.version == version).map(|earlier| earlier.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_earlier_versions_are_remembered_and_read_back() {
        let mut record = Record::new(0);
        for n in 1..=9 {
            record = record.expire(n, 100 + n);
            let bytes = record.to_bytes();
            assert_eq!(bytes.len(), 8 + 16 * n.min(7) as usize);
            assert_eq!(Record::read(&bytes), Some(record.clone()));
        }
        assert_eq!(record.version, 9);
        assert_eq!(
            [1, 2, 8, 9].map(|version| expired_at(&record.expired, version)),
            [None, Some(103), Some(109), None]
        );
    }

    #[test]
    fn a_record_of_old_is_a_version_alone_and_other_bytes_are_none() {
        assert_eq!(Record::read(&7u64.to_be_bytes()), Some(Record::new(7)));
        let most = (0..9).fold(Record::new(0), |record, n| record.expire(n, n)).to_bytes();
        for length in (0..most.len()).filter(|length| length % 16 != 8) {
            assert_eq!(Record::read(&most[..length]), None, "{length} bytes");
        }
        assert_eq!(Record::read(&[0; 8 + 16 * 8]), None);
    }
}
