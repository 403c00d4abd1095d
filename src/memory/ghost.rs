//! Remembers which entries left a queue lately, and how long ago.
//!
//! Ten bits an entry for its hash and six for when it left, four to a bucket, oldest out first. A false positive only
//! misplaces a newcomer. Time is bytes: an entry is as old as what left the queue after it.

const SLOTS: usize = 4;
/// The bits of the time. It begins anew after twice to four times what the shard may hold, when few buckets still have
/// what left so long ago.
const TIME: u32 = 6;
const TIMES: u16 = 1 << TIME;
/// What the shard may hold is at least so many bits of steps of time.
const PARTS: u32 = 4;

/// Fingerprints of hashes, each above the time at which it left.
#[derive(Default)]
pub(super) struct Ghost {
    /// Empty, or a power of two of them.
    buckets: Vec<[u16; SLOTS]>,
    /// The bytes that left so far.
    left: u64,
}

impl Ghost {
    /// Remembers a hash whose entry weighed so much. `entries` is how many the shard holds, and `room` how many bytes it
    /// may hold: the table follows the entries, starting anew when it grows.
    pub(super) fn insert(&mut self, hash: u64, weight: usize, entries: usize, room: usize) {
        let wanted = entries.div_ceil(SLOTS).next_power_of_two();
        if wanted > self.buckets.len() || wanted * 4 < self.buckets.len() {
            self.buckets = vec![[0; SLOTS]; wanted];
        }
        self.left += weight as u64;
        let slot = fingerprint(hash) << TIME | self.time(room);
        if let Some(bucket) = self.bucket(hash) {
            *bucket = [slot, bucket[0], bucket[1], bucket[2]];
        }
    }

    /// Whether a hash is remembered.
    pub(super) fn has(&self, hash: u64) -> bool {
        let mask = self.buckets.len().wrapping_sub(1);
        self.buckets.get(hash as usize & mask).is_some_and(|bucket| place(bucket, hash).is_some())
    }

    /// Forgets a hash. Returns how many bytes have left since its entry did, about, or `None` if it was not remembered.
    pub(super) fn take(&mut self, hash: u64, room: usize) -> Option<usize> {
        let now = self.time(room);
        let bucket = self.bucket(hash)?;
        let slot = place(bucket, hash)?;
        let age = now.wrapping_sub(bucket[slot]) % TIMES;
        bucket[slot..].rotate_left(1);
        bucket[SLOTS - 1] = 0;
        Some(usize::from(age) << step(room))
    }

    fn time(&self, room: usize) -> u16 {
        (self.left >> step(room)) as u16 % TIMES
    }

    fn bucket(&mut self, hash: u64) -> Option<&mut [u16; SLOTS]> {
        let mask = self.buckets.len().wrapping_sub(1);
        self.buckets.get_mut(hash as usize & mask)
    }
}

/// Time goes in steps of so many bits of bytes.
fn step(room: usize) -> u32 {
    room.checked_ilog2().unwrap_or(0).saturating_sub(PARTS)
}

fn place(bucket: &[u16; SLOTS], hash: u64) -> Option<usize> {
    bucket.iter().position(|slot| *slot >> TIME == fingerprint(hash))
}

/// Bits that choose neither the shard nor the bucket; never 0, which is an empty slot.
fn fingerprint(hash: u64) -> u16 {
    ((hash >> 44) as u16 & (u16::MAX >> TIME)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 16;

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn remembers_once_and_only_what_it_was_told() {
        let mut ghost = Ghost::default();
        assert_eq!(ghost.take(hash(1), ROOM), None);
        ghost.insert(hash(1), 100, 64, ROOM);
        assert_eq!(ghost.take(hash(2), ROOM), None);
        assert!(ghost.has(hash(1)) && !ghost.has(hash(2)));
        assert_eq!(ghost.take(hash(1), ROOM), Some(0));
        assert!(!ghost.has(hash(1)));
        assert_eq!(ghost.take(hash(1), ROOM), None);
    }

    #[test]
    fn an_age_is_the_bytes_that_left_since() {
        let mut ghost = Ghost::default();
        (0..200).for_each(|n| ghost.insert(hash(n), 512, 1_000, ROOM));
        // To an eighth of the room, 16 of these.
        let eighths = [199, 184, 183, 120, 0].map(|n| ghost.take(hash(n), ROOM).map(|age| age * 8 / ROOM));
        assert_eq!(eighths, [0, 1, 1, 5, 12].map(Some));
        // After more than it can tell apart an age is too low.
        ghost.insert(hash(500), 1, 1_000, ROOM);
        ghost.insert(hash(501), 4 * ROOM, 1_000, ROOM);
        assert_eq!(ghost.take(hash(500), ROOM), Some(0));
    }

    #[test]
    fn a_full_bucket_forgets_its_oldest() {
        let mut ghost = Ghost::default();
        let same_bucket = |n: u64| n << 44;
        for n in 1..=5 {
            ghost.insert(same_bucket(n), ROOM / 8, 1, ROOM);
        }
        assert_eq!(ghost.take(same_bucket(1), ROOM), None);
        assert_eq!(ghost.take(same_bucket(3), ROOM), Some(ROOM / 4));
        let eighths = [2, 4, 5].map(|n| ghost.take(same_bucket(n), ROOM).map(|age| age * 8 / ROOM));
        assert_eq!(eighths, [Some(3), Some(1), Some(0)]);
    }

    #[test]
    fn memory_follows_the_entries_both_ways() {
        let mut ghost = Ghost::default();
        ghost.insert(hash(1), 1, 1_000, ROOM);
        assert_eq!(ghost.buckets.len(), 256);
        ghost.insert(hash(1), 1, 900, ROOM);
        assert_eq!(ghost.buckets.len(), 256);
        ghost.insert(hash(1), 1, 10, ROOM);
        assert_eq!(ghost.buckets.len(), 4);
    }
}
