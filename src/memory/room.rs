//! Room in L1: the bytes that a shard may use, and those that a share may.

use std::sync::atomic::Ordering;

use super::L1;
use super::node::{Dropped, Node, Now};
use super::shard::Shard;
use super::share::Charge;

impl L1 {
    /// Takes up to `amount` out of the pool.
    pub(super) fn draw(&self, amount: usize) -> usize {
        let rest = |pool: usize| Some(pool.saturating_sub(amount));
        let before = self.pool.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        before.unwrap_or_else(|pool| pool).min(amount)
    }

    /// Collects allowance for the shard of a hash: from the pool, then evenly from the others, then from any.
    ///
    /// Holds one lock at a time. Another shard keeps an eighth of its share.
    pub(super) fn borrow(&self, hash: u64, amount: usize, now: Now<'_>, dropped: &mut Dropped) -> usize {
        let (home, used) = (self.index(hash), self.used());
        let mut loan = self.draw(amount);
        let even = (amount - loan).div_ceil(used);
        for most in [even, amount] {
            for line in (1..used).map(|step| &self.shards[(home + step) % used]) {
                let rest = amount - loan;
                if rest == 0 {
                    return loan;
                }
                loan += line.lock().give(rest.min(most), self.share() / 8, now, dropped);
            }
        }
        loan
    }

    /// Lets entries of the node's share go until that is not exceeded: of its own shard, else of the others. False if the
    /// node alone is more than the share.
    #[inline]
    pub(super) fn makes_room_in_share(&self, hash: u64, node: &Node) -> bool {
        node.charge().is_none_or(|charge| self.make_room_for(hash, charge))
    }

    #[cold]
    fn make_room_for(&self, hash: u64, charge: &Charge) -> bool {
        if charge.is_too_much() {
            return false;
        }
        let (home, used, mut dropped) = (self.index(hash), self.used(), Dropped::default());
        let older = self.lock(hash).peek(hash).and_then(Node::charge).map_or(0, Charge::weight);
        for line in (0..used).map(|step| &self.shards[(home + step) % used]) {
            let mut shard = line.lock();
            while charge.is_over(older) && shard.evict_of(charge, hash, &mut dropped) {}
            self.settle(&mut shard);
            drop(shard);
            if !charge.is_over(older) {
                break;
            }
        }
        true
    }

    /// Returns what a shard may hold beyond its share and does not need.
    #[inline]
    pub(super) fn settle(&self, shard: &mut Shard) {
        let excess = shard.allowance.saturating_sub(self.share().max(shard.weight()));
        if excess > 0 {
            shard.allowance -= excess;
            self.pool.fetch_add(excess, Ordering::Relaxed);
        }
    }
}
