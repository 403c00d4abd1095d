//! How often L1 would be hit if it were of another size.
//!
//! An entry that is read again would have been there under LRU if all that was read since fits beside it: the bytes of
//! these are its stack distance, and the share of reads below a distance is the hit ratio of that size. Keys are sampled
//! by their hash, so a thousandth of them tells as much about the rest: C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad:
//! Efficient MRC Construction with SHARDS, FAST 2015, in its form of fixed size. L1 keeps by frequency, too, and mostly
//! does a little better than this says.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// The most keys that are followed.
const MOST: usize = 4_096;
/// Moments that are told apart before they are numbered anew.
const MOMENTS: usize = 4 * MOST;
/// Of so many hashes a threshold is a share.
const SPACE: u32 = 1 << 24;
/// Bins of distances: four to each doubling, from 4 KiB on.
const BINS: usize = 4 * 32;
const SMALLEST: u32 = 12;

/// Follows the reads of some keys.
pub(crate) struct Advisor {
    /// Keys whose mixed hash is below this are followed.
    threshold: AtomicU32,
    state: Mutex<State>,
}

struct State {
    keys: HashMap<u64, Key, RandomState>,
    /// The keys by their mixed hashes, to leave out the highest.
    by_mix: BTreeSet<(u32, u64)>,
    /// The bytes of the key read last at each moment, as sums over ranges.
    bytes: Fenwick,
    next: usize,
    /// How many reads fell into each bin, each counted as as many as it stands for; and those of keys not seen before.
    bins: [f64; BINS],
    first: f64,
}

#[derive(Clone, Copy)]
struct Key {
    moment: usize,
    weight: u32,
}

/// Sums over ranges that change: P. Fenwick, A New Data Structure for Cumulative Frequency Tables, 1994.
struct Fenwick(Box<[i64; MOMENTS + 1]>);

impl Advisor {
    pub(crate) fn new() -> Self {
        let state = State {
            keys: HashMap::default(),
            by_mix: BTreeSet::new(),
            bytes: Fenwick::new(),
            next: 0,
            bins: [0.0; BINS],
            first: 0.0,
        };
        Self { threshold: AtomicU32::new(SPACE), state: Mutex::new(state) }
    }

    /// Whether the reads of a key with this hash are followed.
    #[inline]
    pub(crate) fn follows(&self, hash: u64) -> bool {
        mix(hash) < self.threshold.load(Relaxed)
    }

    /// A key was read.
    #[cold]
    pub(crate) fn read(&self, hash: u64) {
        let mut state = self.state();
        let threshold = self.threshold.load(Relaxed);
        if mix(hash) < threshold {
            state.read(hash, f64::from(SPACE) / f64::from(threshold));
            if state.keys.len() > MOST
                && let Some(lower) = state.leave_out()
            {
                self.threshold.store(lower, Relaxed);
            }
        }
    }

    /// The entry of a key that was read has this weight.
    #[cold]
    pub(crate) fn weigh(&self, hash: u64, weight: usize) {
        self.state().weigh(hash, weight);
    }

    /// The curve so far, of `all` reads, if they are counted. What the sampled ones stand for is more or less than that by
    /// the hottest keys, which are in the sample or not, and would hit at any size: the paper's adjustment.
    pub(crate) fn curve(&self, all: Option<u64>) -> HitCurve {
        let state = self.state();
        let (mut bins, sampled) = (state.bins, state.bins.iter().sum::<f64>() + state.first);
        let lacking = all.map_or(0.0, |all| all as f64 - sampled).max(-bins[0]);
        bins[0] += lacking;
        HitCurve { bins, reads: sampled + lacking }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of a read that stands for `scale` reads, and of keys that are one in `scale`.
    fn read(&mut self, hash: u64, scale: f64) {
        if self.next == MOMENTS {
            self.renumber();
        }
        let known = self.keys.get(&hash).copied();
        match known {
            Some(key) => {
                let since = self.bytes.sum(self.next) - self.bytes.sum(key.moment);
                self.bins[bin(since.max(0) as f64 * scale)] += scale;
                self.bytes.add(key.moment, -i64::from(key.weight));
            }
            None => {
                self.first += scale;
                self.by_mix.insert((mix(hash), hash));
            }
        }
        // That of a new key is known when L1 keeps its entry.
        let weight = known.map_or(0, |key| key.weight);
        self.keys.insert(hash, Key { moment: self.next, weight });
        self.bytes.add(self.next, weight.into());
        self.next += 1;
    }

    fn weigh(&mut self, hash: u64, weight: usize) {
        if let Some(key) = self.keys.get_mut(&hash) {
            self.bytes.add(key.moment, i64::from(bounded(weight)) - i64::from(key.weight));
            key.weight = bounded(weight);
        }
    }

    /// Leaves out the keys with the highest mixed hash, so that a smaller share is followed. That is the new threshold.
    fn leave_out(&mut self) -> Option<u32> {
        let highest = self.by_mix.last()?.0;
        while let Some((_, hash)) = self.by_mix.last().copied().filter(|(mix, _)| *mix == highest) {
            self.by_mix.pop_last();
            if let Some(key) = self.keys.remove(&hash) {
                self.bytes.add(key.moment, -i64::from(key.weight));
            }
        }
        Some(highest)
    }

    /// Numbers the moments of the last reads anew, in their order.
    fn renumber(&mut self) {
        let mut order: Vec<_> = self.keys.iter().map(|(hash, key)| (key.moment, *hash)).collect();
        order.sort_unstable();
        self.bytes = Fenwick::new();
        self.next = order.len();
        for (moment, (_, hash)) in order.into_iter().enumerate() {
            if let Some(key) = self.keys.get_mut(&hash) {
                key.moment = moment;
                self.bytes.add(moment, key.weight.into());
            }
        }
    }
}

impl Fenwick {
    fn new() -> Self {
        Self(vec![0; MOMENTS + 1].try_into().expect("as many as the array has"))
    }

    fn add(&mut self, place: usize, change: i64) {
        let mut at = place + 1;
        while at <= MOMENTS {
            self.0[at] += change;
            at += at & at.wrapping_neg();
        }
    }

    /// The sum of the places below `end`.
    fn sum(&self, end: usize) -> i64 {
        let (mut at, mut sum) = (end, 0);
        while at > 0 {
            sum += self.0[at];
            at &= at - 1;
        }
        sum
    }
}

/// Bits of the hash that neither the shards nor the tables use alone.
fn mix(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32
}

fn bounded(weight: usize) -> u32 {
    u32::try_from(weight).unwrap_or(u32::MAX)
}

fn bin(bytes: f64) -> usize {
    let quarters = (bytes.max(1.0).log2() - f64::from(SMALLEST)) * 4.0;
    (quarters.ceil().max(0.0) as usize).min(BINS - 1)
}

/// How often L1 would be hit at other sizes: what [`Cache::hit_curve`](crate::Cache::hit_curve) gives.
///
/// `Display` is a table of sizes and hit ratios.
#[derive(Clone)]
pub struct HitCurve {
    bins: [f64; BINS],
    reads: f64,
}

impl HitCurve {
    /// The share of the reads that an L1 of so many bytes would have answered, 0 to 1. `None` before the first read.
    pub fn hit_ratio(&self, bytes: usize) -> Option<f64> {
        let hits: f64 = self.bins.iter().take(bin(bytes as f64) + 1).sum();
        (self.reads > 0.0).then(|| hits / self.reads)
    }

    /// The smallest size that reaches this share of what any size could answer, 0 to 1. `None` before the first read.
    pub fn bytes_for(&self, share: f64) -> Option<usize> {
        let wanted = self.bins.iter().sum::<f64>() * share;
        let mut hits = 0.0;
        let number = self.bins.iter().position(|count| {
            hits += count;
            hits >= wanted
        });
        number.filter(|_| self.reads > 0.0).map(size_of_bin)
    }

    /// Sizes in bytes, each twice the one before, and the hit ratio of each, up to where more would change nothing.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        let last = self.bins.iter().rposition(|count| *count > 0.0).unwrap_or(0);
        let sizes = (0..=last.div_ceil(4)).map(|doubling| size_of_bin(doubling * 4));
        sizes.filter_map(|bytes| Some((bytes, self.hit_ratio(bytes)?)))
    }
}

/// The bytes up to which distances fall into a bin.
fn size_of_bin(number: usize) -> usize {
    (f64::from(SMALLEST) + number as f64 / 4.0).exp2() as usize
}

impl fmt::Display for HitCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  hit ratio", "L1 in MiB")?;
        for (bytes, ratio) in self.iter().filter(|(bytes, _)| *bytes >= 1 << 20) {
            writeln!(f, "{:>12}  {ratio:.3}", bytes >> 20)?;
        }
        Ok(())
    }
}

impl fmt::Debug for HitCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Advisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advisor").field("threshold", &self.threshold).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn hash(key: u64) -> u64 {
        xxh3_64(&key.to_le_bytes())
    }

    /// The curve of these reads, of entries of 1,000 bytes each.
    fn curve(reads: impl Iterator<Item = u64>) -> HitCurve {
        let (advisor, mut all) = (Advisor::new(), 0);
        for key in reads.map(hash) {
            all += 1;
            if advisor.follows(key) {
                advisor.read(key);
                advisor.weigh(key, 1_000);
            }
        }
        advisor.curve(Some(all))
    }

    #[test]
    fn a_loop_over_keys_hits_from_its_size_on() {
        let curve = curve((0..200_000).map(|read| read % 2_000));
        let ratio = |bytes| curve.hit_ratio(bytes).unwrap();
        assert!(ratio(1_500_000) < 0.01 && ratio(2_500_000) > 0.98, "{curve:?}");
        assert!((2_000_000..2_500_000).contains(&curve.bytes_for(0.99).unwrap()), "{:?}", curve.bytes_for(0.99));
    }

    #[test]
    fn a_sample_tells_as_much_as_all_keys() {
        let mut rng = Rng::with_seed(3);
        // Few keys are asked for often, many rarely.
        let reads: Vec<u64> =
            (0..2_000_000).map(|_| (50_000.0f64.powf(rng.f64())) as u64 + 40_000 * rng.u64(0..5)).collect();
        let sampled = curve(reads.iter().copied());
        let exact = exact(&reads);
        for bytes in [1 << 20, 4 << 20, 16 << 20, 64 << 20] {
            let (sampled, exact) = (sampled.hit_ratio(bytes).unwrap(), exact(bytes));
            assert!((sampled - exact).abs() < 0.03, "{bytes}: {sampled} instead of {exact}");
        }
    }

    /// The hit ratio of LRU at each size, by all keys.
    fn exact(reads: &[u64]) -> impl Fn(usize) -> f64 {
        move |bytes| {
            let mut cache = lru::LruCache::new(std::num::NonZeroUsize::new(bytes / 1_000).unwrap());
            let hits = reads.iter().filter(|key| cache.put(**key, ()).is_some()).count();
            hits as f64 / reads.len() as f64
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_read() {
        let curve = Advisor::new().curve(None);
        assert_eq!((curve.hit_ratio(1 << 20), curve.bytes_for(0.9), curve.iter().count()), (None, None, 0));
    }
}
