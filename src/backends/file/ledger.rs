//! The ledger: what the directory holds, in sum.
//!
//! Kept in the lock file, so that all processes share it and no write has to scan the directory. It is never below the
//! truth as long as everybody keeps it: a write counts before it places its file. What kills and foreign writers
//! leave wrong, the next scan mends.

use xxhash_rust::xxh3::xxh3_64;

use crate::config::FileLimits;

/// The length of a ledger on disk, in bytes.
pub(super) const LENGTH: usize = 48;
const MAGIC: u64 = u64::from_be_bytes(*b"CKLEDGR\x01");
const MAX_AGE: u64 = 30_000;

/// What the directory holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) entries: u64,
    /// Bytes of all entries, headers included.
    pub(super) bytes: u64,
    /// Lease files, ended ones included.
    pub(super) leases: u64,
}

impl Totals {
    pub(super) fn add(&mut self, length: u64) {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length);
    }

    pub(super) fn subtract(&mut self, length: u64) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(length);
    }

    /// The totals once an entry of `length` bytes has taken the place of one of `replaced` bytes, or of none.
    pub(super) fn with(mut self, replaced: Option<u64>, length: u64) -> Self {
        if let Some(replaced) = replaced {
            self.subtract(replaced);
        }
        self.add(length);
        self
    }

    /// Whether entries and bytes are within `percent` of the caps.
    pub(super) fn within(&self, percent: u64, limits: &FileLimits) -> bool {
        let fits = |value: u64, cap: u64| u128::from(value) * 100 <= u128::from(cap) * u128::from(percent);
        fits(self.entries, limits.max_entries) && fits(self.bytes, limits.max_size)
    }
}

/// Totals, and when they were last counted from the files themselves (milliseconds since the epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) totals: Totals,
    pub(super) counted: u64,
}

impl Ledger {
    /// Whether it is young enough to be believed. One from the future is not.
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        now.checked_sub(self.counted).is_some_and(|age| age < MAX_AGE)
    }

    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let Totals { entries, bytes, leases } = self.totals;
        let mut out = [0; LENGTH];
        for (slot, field) in out.chunks_exact_mut(8).zip([MAGIC, self.counted, entries, bytes, leases]) {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        let sum = xxh3_64(&out[..LENGTH - 8]);
        out[LENGTH - 8..].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// The ledger in `bytes`, or `None` if they are torn or not ours.
    pub(super) fn decode(bytes: &[u8; LENGTH]) -> Option<Self> {
        let mut fields = [0; LENGTH / 8];
        for (field, slot) in fields.iter_mut().zip(bytes.as_chunks().0) {
            *field = u64::from_be_bytes(*slot);
        }
        let [magic, counted, entries, bytes_held, leases, sum] = fields;
        let ours = magic == MAGIC && sum == xxh3_64(&bytes[..LENGTH - 8]);
        ours.then_some(Self { totals: Totals { entries, bytes: bytes_held, leases }, counted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_ledger_is_not_believed() {
        let totals = Totals { entries: 3, bytes: 1 << 40, leases: 1 };
        let ledger = Ledger { totals, counted: 1_700_000_000_000 };
        let bytes = ledger.encode();
        assert_eq!(Ledger::decode(&bytes), Some(ledger));
        for bit in 0..LENGTH * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Ledger::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(Ledger::decode(&[0; LENGTH]), None);
    }

    #[test]
    fn it_ages_in_thirty_seconds_and_is_not_believed_from_the_future() {
        let ledger = Ledger { totals: Totals::default(), counted: 100_000 };
        assert!(ledger.is_fresh(100_000) && ledger.is_fresh(129_999));
        assert!(!ledger.is_fresh(130_000) && !ledger.is_fresh(99_999));
    }

    #[test]
    fn ninety_percent_is_counted_exactly() {
        let limits = FileLimits { max_entries: 100, max_size: 1_000, ..FileLimits::default() };
        let totals = |entries, bytes| Totals { entries, bytes, leases: 0 };
        assert!(totals(90, 900).within(90, &limits));
        assert!(!totals(91, 0).within(90, &limits));
        assert!(!totals(0, 901).within(90, &limits));
        assert!(!totals(u64::MAX, u64::MAX).within(100, &limits));
    }
}
