//! The ledger: what the directory holds, in sum.
//!
//! Kept in the lock file, so that all processes share it and no write has to scan the directory. It is never below the
//! truth as long as all writers keep it: a write counts before it places its file. What kills and foreign writers
//! leave wrong, the next scan mends. A scan takes no lock, so files come and go meanwhile; by what was added since it
//! began it knows how far its own sums can be wrong.

use xxhash_rust::xxh3::xxh3_64;

use crate::config::FileLimits;

/// The length of a ledger on disk, in bytes.
pub(super) const LENGTH: usize = 96;
const MAGIC: u64 = u64::from_be_bytes(*b"CKLEDGR\x03");
/// A directory of so few entries is scanned by the write that wants it scanned: that takes a few milliseconds.
const SMALL: u64 = 1_000;
const MAX_AGE: u64 = 30_000;
/// How long the caps of a process hold for others after its last write: an hour.
const CAPS_AGE: u64 = 3_600_000;

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

    /// These totals, if a scan that `found` others while this much was added, and whatever was removed, allows them;
    /// else what it allows that is nearest.
    fn mended(self, found: Self, added: Self, before: Self) -> Self {
        let mend = |total: u64, found: u64, added: u64, before: u64| {
            let removed = before.saturating_add(added).saturating_sub(total);
            total.clamp(found.saturating_sub(removed), found.saturating_add(added))
        };
        Self {
            entries: mend(self.entries, found.entries, added.entries, before.entries),
            bytes: mend(self.bytes, found.bytes, added.bytes, before.bytes),
            leases: mend(self.leases, found.leases, added.leases, before.leases),
        }
    }

    /// Whether entries and bytes are within `percent` of the caps.
    pub(super) fn within(&self, percent: u64, caps: &Caps) -> bool {
        let fits = |value: u64, cap: u64| u128::from(value) * 100 <= u128::from(cap) * u128::from(percent);
        fits(self.entries, caps.entries) && fits(self.bytes, caps.bytes)
    }
}

/// How much the directory may hold: the largest caps of the processes that write to it. A process with smaller ones
/// would throw out what the others keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Caps {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// When a process that has them wrote last (milliseconds since the epoch).
    claimed: u64,
}

impl Caps {
    pub(super) fn of(limits: &FileLimits, now: u64) -> Self {
        Self { entries: limits.max_entries, bytes: limits.max_size, claimed: now }
    }

    /// These limits, or each of the `others` in the directory that is larger, if its process wrote within the last hour.
    pub(super) fn or_larger(self, others: Self) -> Self {
        if !others.hold_at(self.claimed) || (self.entries >= others.entries && self.bytes >= others.bytes) {
            return self;
        }
        let claims = self.entries >= others.entries || self.bytes >= others.bytes;
        Self {
            entries: self.entries.max(others.entries),
            bytes: self.bytes.max(others.bytes),
            claimed: if claims { self.claimed } else { others.claimed },
        }
    }

    /// Whether these hold, and are not those of a process that has its `own`.
    pub(super) fn differ(self, own: Self) -> bool {
        self.hold_at(own.claimed) && (self.entries, self.bytes) != (own.entries, own.bytes)
    }

    fn hold_at(self, now: u64) -> bool {
        now.checked_sub(self.claimed).is_some_and(|age| age < CAPS_AGE)
    }
}

/// Totals, when the files themselves were counted last (milliseconds since the epoch), the caps, and all that was ever
/// added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) totals: Totals,
    pub(super) counted: u64,
    pub(super) caps: Caps,
    pub(super) added: Totals,
}

impl Ledger {
    /// The ledger of a directory that was counted for the first time, or for none.
    pub(super) fn new(totals: Totals, counted: u64, caps: Caps) -> Self {
        Self { totals, counted, caps, added: Totals::default() }
    }

    /// Counts an entry of `length` bytes that is about to be there.
    pub(super) fn admit(&mut self, length: u64) {
        self.totals.add(length);
        self.added.add(length);
    }

    /// Counts a lease that is about to be there.
    pub(super) fn lend(&mut self) {
        self.totals.leases = self.totals.leases.saturating_add(1);
        self.added.leases = self.added.leases.saturating_add(1);
    }

    /// Takes over what a scan has `found` that began when this ledger was as `before`.
    pub(super) fn mend(&mut self, before: &Self, found: Totals) {
        let added = Totals {
            entries: self.added.entries.saturating_sub(before.added.entries),
            bytes: self.added.bytes.saturating_sub(before.added.bytes),
            leases: self.added.leases.saturating_sub(before.added.leases),
        };
        self.totals = self.totals.mended(found, added, before.totals);
    }

    /// Whether so few entries are there that a scan takes no time that matters.
    pub(super) fn is_small(&self) -> bool {
        self.totals.entries <= SMALL
    }

    /// Whether it is young enough to be believed. One from the future is not.
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        now.checked_sub(self.counted).is_some_and(|age| age < MAX_AGE)
    }

    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let Totals { entries, bytes, leases } = self.totals;
        let mut out = [0; LENGTH];
        let caps = [self.caps.entries, self.caps.bytes, self.caps.claimed];
        let added = [self.added.entries, self.added.bytes, self.added.leases];
        let fields = [MAGIC, self.counted, entries, bytes, leases].into_iter().chain(caps).chain(added);
        for (slot, field) in out.chunks_exact_mut(8).zip(fields) {
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
        let [magic, counted, entries, bytes_held, leases, most_entries, most_bytes, claimed, added @ .., sum] = fields;
        let ours = magic == MAGIC && sum == xxh3_64(&bytes[..LENGTH - 8]);
        let caps = Caps { entries: most_entries, bytes: most_bytes, claimed };
        let totals = |[entries, bytes, leases]: [u64; 3]| Totals { entries, bytes, leases };
        ours.then_some(Self { totals: totals([entries, bytes_held, leases]), counted, caps, added: totals(added) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_ledger_is_not_believed() {
        let totals = Totals { entries: 3, bytes: 1 << 40, leases: 1 };
        let caps = Caps { entries: 100, bytes: 1 << 20, claimed: 1_700_000_000_000 };
        let added = Totals { entries: 5, bytes: 7, leases: 9 };
        let ledger = Ledger { totals, counted: 1_700_000_000_000, caps, added };
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
    fn ledger_is_fresh_for_30_seconds_and_never_from_the_future() {
        let ledger = Ledger::new(Totals::default(), 100_000, Caps::default());
        assert!(ledger.is_fresh(100_000) && ledger.is_fresh(129_999));
        assert!(!ledger.is_fresh(130_000) && !ledger.is_fresh(99_999));
    }

    #[test]
    fn a_scan_mends_what_it_can_know() {
        let totals = |entries| Totals { entries, bytes: 10 * entries, leases: 0 };
        let before = Ledger::new(totals(100), 0, Caps::default());
        let after = |found, change: &dyn Fn(&mut Ledger)| {
            let mut ledger = before;
            change(&mut ledger);
            ledger.mend(&before, totals(found));
            assert_eq!(ledger.totals.bytes, 10 * ledger.totals.entries);
            ledger.totals.entries
        };
        assert_eq!(after(70, &|_| ()), 70, "nothing changed meanwhile, so what was found is true");
        assert_eq!(after(300, &|_| ()), 300);
        // Five came and three went, before or after the scan looked there.
        let changed = |ledger: &mut Ledger| {
            (0..5).for_each(|_| ledger.admit(10));
            (0..3).for_each(|_| ledger.totals.subtract(10));
        };
        for found in [97, 100, 102, 105] {
            assert_eq!(after(found, &changed), 102, "{found} are possible");
        }
        assert_eq!(after(90, &changed), 95, "no more can be there");
        assert_eq!(after(110, &changed), 107, "no fewer can");
    }

    #[test]
    fn larger_caps_win_until_an_hour_after_their_last_write() {
        let caps = |entries, bytes, claimed| Caps { entries, bytes, claimed };
        let larger = caps(100, 1_000, 5_000);
        assert_eq!(caps(50, 500, 6_000).or_larger(larger), larger);
        assert_eq!(caps(50, 500, 5_000 + CAPS_AGE).or_larger(larger).bytes, 500);
        assert_eq!(caps(50, 500, 4_999).or_larger(larger).bytes, 500, "a claim from the future is none");
        assert_eq!(caps(200, 2_000, 6_000).or_larger(larger), caps(200, 2_000, 6_000));
        assert_eq!(caps(50, 2_000, 6_000).or_larger(larger), caps(100, 2_000, 6_000));
    }

    #[test]
    fn ninety_percent_is_counted_exactly() {
        let limits = Caps { entries: 100, bytes: 1_000, claimed: 0 };
        let totals = |entries, bytes| Totals { entries, bytes, leases: 0 };
        assert!(totals(90, 900).within(90, &limits));
        assert!(!totals(91, 0).within(90, &limits));
        assert!(!totals(0, 901).within(90, &limits));
        assert!(!totals(u64::MAX, u64::MAX).within(100, &limits));
    }
}
