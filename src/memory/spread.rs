//! Over how many shards the entries are spread.
//!
//! A shard chooses among its own entries alone. With few of them it keeps the worst of its own while another shard lets
//! better ones go, so as many shards are used as leave each [`FEWEST`] entries: one of 16 large values, all of many small
//! ones. How large entries are is seen as they come, so it is looked at again now and then.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering::Relaxed;

use super::node::Node;
use super::shard::Shard;
use super::weights::Weights;
use super::{L1, Line};

/// How many entries a shard has at least, once the budget is used. With half as many the hit ratio of a Zipf load is a
/// point lower, with twice as many it is the same.
const FEWEST: usize = 64;

/// How many newcomers of a shard there are at least between two looks.
const LOOK: usize = 16;

impl L1 {
    /// How many shards are used: a power of two, which changes only under the locks of all.
    #[inline]
    pub(super) fn used(&self) -> usize {
        self.mask.load(Relaxed) + 1
    }

    /// An even part of the budget for each shard that is used.
    #[inline]
    pub(super) fn share(&self) -> usize {
        self.max_bytes >> self.used().trailing_zeros()
    }

    /// From the middle of the hash: the map places by the low bits and tags by the high ones.
    #[inline]
    pub(super) fn index(&self, hash: u64) -> usize {
        (hash >> 32) as usize & self.mask.load(Relaxed)
    }

    /// The shard of a hash.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Shard> {
        loop {
            let index = self.index(hash);
            let shard = self.shards[index].lock();
            // While it waited for the lock, the entries may have moved on.
            if self.index(hash) == index {
                return shard;
            }
        }
    }

    /// After a newcomer came to a shard: whether it is time to look, and the shard's own weights ask for it.
    #[inline]
    pub(super) fn asks_for_respread(&self, shard: &mut Shard) -> bool {
        (shard.is_thin || shard.newcomers >= LOOK.max(shard.len())) && self.judge(shard)
    }

    #[cold]
    fn judge(&self, shard: &mut Shard) -> bool {
        (shard.newcomers, shard.is_thin) = (0, false);
        self.better(shard.weights()).is_some()
    }

    /// Another number of shards, if entries of these weights are spread too thin, or could be spread wider. Half of
    /// [`FEWEST`] are not too thin, so that the number does not swing.
    fn better(&self, weights: Weights) -> Option<usize> {
        let (entries, used) = (weights.entries_in(self.max_bytes), self.used());
        let wanted = (1 << (entries / FEWEST).max(1).ilog2()).clamp(self.fewest, self.shards.len());
        (wanted > used || wanted < used && entries < used * FEWEST / 2).then_some(wanted)
    }

    /// Spreads the entries anew, if all weights ask for it. No lock is held by the caller.
    #[cold]
    pub(super) fn respread(&self) {
        let weights = |line: &Line| line.lock().weights();
        let all = self.shards.iter().map(weights).fold(Weights::default(), Weights::with);
        if let Some(wanted) = self.better(all) {
            self.spread_over(wanted);
        }
    }

    /// Moves all entries under the locks of all shards: a few hundred nanoseconds each, and mostly there are few, because
    /// the first ones show how large the others will be. What was learned of keys that left is forgotten.
    pub(super) fn spread_over(&self, count: usize) {
        let mut shards: Vec<_> = self.shards.iter().map(Line::lock).collect();
        let allowance: usize = shards.iter().map(|shard| shard.allowance).sum();
        let [small, main] = [false, true].map(|in_main| in_order(&mut shards, in_main));
        shards.iter_mut().for_each(|shard| shard.start_anew());
        self.mask.store(count - 1, Relaxed);
        for (nodes, in_main) in [(small, false), (main, true)] {
            for (_, hash, node) in nodes {
                shards[self.index(hash)].adopt(hash, node, in_main);
            }
        }
        let rest = allowance - shards.iter().map(|shard| shard.weight()).sum::<usize>();
        for shard in &mut shards[..count] {
            shard.allowance = shard.weight() + rest / count;
        }
        self.pool.fetch_add(rest % count, Relaxed);
    }
}

/// Takes all nodes out of one queue of each shard. They come in their order, those of different shards by how far they
/// are from the tails.
fn in_order(shards: &mut [MutexGuard<'_, Shard>], in_main: bool) -> Vec<(u64, u64, Node)> {
    let mut all = Vec::new();
    for shard in shards {
        let nodes = shard.drain(in_main);
        let count = nodes.len() as u64;
        all.extend(nodes.into_iter().zip(0..).map(|((hash, node), place)| ((place << 32) / count, hash, node)));
    }
    all.sort_by_key(|(place, ..)| *place);
    all
}
