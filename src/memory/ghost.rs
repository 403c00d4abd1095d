//! Remembers which entries left lately.
//!
//! Sixteen bits an entry, four to a bucket, oldest out first. A false positive only misplaces a newcomer.

const SLOTS: usize = 4;

/// Fingerprints of hashes.
#[derive(Default)]
pub(super) struct Ghost {
    /// Empty, or a power of two of them.
    buckets: Vec<[u16; SLOTS]>,
}

impl Ghost {
    /// Remembers a hash. `entries` is how many the shard holds: the table follows it, starting anew when it grows.
    pub(super) fn insert(&mut self, hash: u64, entries: usize) {
        let wanted = entries.div_ceil(SLOTS).next_power_of_two();
        if wanted > self.buckets.len() || wanted * 4 < self.buckets.len() {
            self.buckets = vec![[0; SLOTS]; wanted];
        }
        let fingerprint = fingerprint(hash);
        if let Some(bucket) = self.bucket(hash) {
            *bucket = [fingerprint, bucket[0], bucket[1], bucket[2]];
        }
    }

    /// Whether a hash is remembered.
    pub(super) fn has(&self, hash: u64) -> bool {
        let mask = self.buckets.len().wrapping_sub(1);
        self.buckets.get(hash as usize & mask).is_some_and(|bucket| bucket.contains(&fingerprint(hash)))
    }

    /// Forgets a hash. Returns how many of its bucket left after it, or `None` if it was not remembered.
    pub(super) fn take(&mut self, hash: u64) -> Option<usize> {
        let fingerprint = fingerprint(hash);
        let bucket = self.bucket(hash)?;
        let slot = bucket.iter().position(|slot| *slot == fingerprint)?;
        bucket[slot..].rotate_left(1);
        bucket[SLOTS - 1] = 0;
        Some(slot)
    }

    fn bucket(&mut self, hash: u64) -> Option<&mut [u16; SLOTS]> {
        let mask = self.buckets.len().wrapping_sub(1);
        self.buckets.get_mut(hash as usize & mask)
    }
}

/// Bits that choose neither the shard nor the bucket; never 0, which is an empty slot.
fn fingerprint(hash: u64) -> u16 {
    ((hash >> 44) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn remembers_once_and_only_what_it_was_told() {
        let mut ghost = Ghost::default();
        assert_eq!(ghost.take(hash(1)), None);
        ghost.insert(hash(1), 64);
        assert_eq!(ghost.take(hash(2)), None);
        assert!(ghost.has(hash(1)) && !ghost.has(hash(2)));
        assert_eq!(ghost.take(hash(1)), Some(0));
        assert!(!ghost.has(hash(1)));
        assert_eq!(ghost.take(hash(1)), None);
    }

    #[test]
    fn a_full_bucket_forgets_its_oldest() {
        let mut ghost = Ghost::default();
        let same_bucket = |n: u64| n << 44;
        for n in 1..=5 {
            ghost.insert(same_bucket(n), 1);
        }
        assert_eq!(ghost.take(same_bucket(1)), None);
        assert_eq!(ghost.take(same_bucket(3)), Some(2));
        assert_eq!([2, 4, 5].map(|n| ghost.take(same_bucket(n))), [Some(2), Some(1), Some(0)]);
    }

    #[test]
    fn memory_follows_the_entries_both_ways() {
        let mut ghost = Ghost::default();
        ghost.insert(hash(1), 1_000);
        assert_eq!(ghost.buckets.len(), 256);
        ghost.insert(hash(1), 900);
        assert_eq!(ghost.buckets.len(), 256);
        ghost.insert(hash(1), 10);
        assert_eq!(ghost.buckets.len(), 4);
    }
}
