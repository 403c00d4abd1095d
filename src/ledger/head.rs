//! The head of a ledger, as it is stored.
//!
//! ```text
//!  0  C1 03 01     magic and version
//!  3  lineage      u64, random                                     (all numbers big-endian)
//! 11  time         u64, of the last order
//! 19  forgot all   u64, the time of the last order to forget everything; zero if there was none
//! 27  expired all  u64, the time of the last order to let everything expire; zero if there was none
//! 35  expired at   u64, when that was, in milliseconds since the Unix epoch
//! 43  records      512 bytes, a bit for each record that was made, the lowest of a byte first
//! ```

use bytes::Bytes;

use super::{Change, RECORDS, Stamp, record_of};
use crate::frame::Fields;

const MAGIC: [u8; 3] = [0xC1, 0x03, 0x01];
const MADE: usize = RECORDS as usize / 8;

/// The time of a ledger, and what was forgotten with everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) now: Stamp,
    /// The time of the last order to forget everything.
    pub(crate) forgot_all: u64,
    /// The time of the last order to let everything expire, and when that was by the wall clock.
    pub(crate) expired_all: (u64, u64),
    made: Box<[u8; MADE]>,
}

impl Head {
    /// The head of a new ledger.
    pub(crate) fn new(lineage: u64) -> Self {
        let now = Stamp { lineage, time: 0 };
        Self { now, forgot_all: 0, expired_all: (0, 0), made: Box::new([0; MADE]) }
    }

    /// Reads a head. `None` for bytes that are none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.strip_prefix(&MAGIC)?);
        let now = fields.stamp()?;
        let (forgot_all, expired_all) = (fields.u64()?, (fields.u64()?, fields.u64()?));
        Some(Self { now, forgot_all, expired_all, made: Box::new(fields.0.try_into().ok()?) })
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let (expired, at) = self.expired_all;
        let numbers = [self.now.lineage, self.now.time, self.forgot_all, expired, at].map(u64::to_be_bytes);
        [&MAGIC[..], numbers.as_flattened(), &*self.made].concat().into()
    }

    /// Whether the record of this number was made.
    pub(crate) fn has(&self, record: u16) -> bool {
        self.made[usize::from(record / 8)] & 1 << (record % 8) != 0
    }

    /// Notes an order of this `time`. It is at least the next, or the one that an order before it took.
    pub(crate) fn note(&mut self, change: &Change, time: u64) {
        self.now.time = self.now.time.max(time);
        match change {
            Change::Nothing => {}
            Change::Everything => self.forgot_all = self.forgot_all.max(time),
            Change::Expiry { .. } if time <= self.expired_all.0 => {}
            Change::Expiry { at } => {
                // What expired before that is gone: one expiry is remembered.
                self.forgot_all = self.forgot_all.max(self.expired_all.0);
                self.expired_all = (time, *at);
            }
            Change::Tags(tags) => {
                for record in tags.iter().map(|tag| record_of(*tag)) {
                    self.made[usize::from(record / 8)] |= 1 << (record % 8);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_these_bytes_and_reads_back() {
        let mut head = Head::new(0x0102);
        head.note(&Change::Tags(vec![9 << 52]), 1);
        head.note(&Change::Everything, 2);
        head.note(&Change::Expiry { at: 7 }, 3);
        let bytes = head.to_bytes();
        let numbers = [0x0102u64, 3, 2, 3, 7].map(u64::to_be_bytes).concat();
        assert_eq!(bytes[..43], [&[0xC1, 0x03, 0x01][..], &numbers].concat());
        assert_eq!((bytes.len(), bytes[43 + 1], bytes[44 + 1..].iter().max()), (555, 2, Some(&0)));
        assert_eq!(Head::read(&bytes), Some(head));
    }

    #[test]
    fn other_bytes_are_no_head() {
        let bytes = Head::new(7).to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Head::read(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Head::read(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn of_two_expiries_the_earlier_has_forgotten_what_it_let_expire() {
        let mut head = Head::new(7);
        head.note(&Change::Expiry { at: 100 }, 1);
        assert_eq!((head.forgot_all, head.expired_all), (0, (1, 100)));
        head.note(&Change::Expiry { at: 200 }, 2);
        assert_eq!((head.forgot_all, head.expired_all), (1, (2, 200)));
    }
}
