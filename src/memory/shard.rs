//! One shard: its entries, and what it may hold. Which of them stay, `policy` decides.

#[cfg(feature = "metrics")]
use super::Tally;
use super::frequency::Frequency;
use super::ghost::Ghost;
use super::node::{Dropped, Node, Now};
use super::store::{Listed, Store};
use super::trial::Trial;
use super::weights::Weights;
use super::{Absence, Sight};
use crate::key::Name;

/// How many entries from each tail a sweep looks at.
const SWEEP: usize = 4;

/// How many entries a walk over all of them looks at under one lock: microseconds.
const STEP: usize = 64;

/// A part of the store, always used under its lock.
pub(super) struct Shard<S = Listed> {
    pub(super) small: Queue<S>,
    pub(super) main: Queue<S>,
    /// What left `small`.
    pub(super) unread: Ghost,
    /// What left `main`.
    pub(super) aged: Ghost,
    /// Bytes `small` may hold while `main` would have to give way, before bounds.
    pub(super) target: usize,
    /// How many of the entries that recently left `small` were read there: a moving mean, in parts of `policy`'s `ALL`.
    pub(super) read_in_small: u32,
    pub(super) frequency: Frequency,
    pub(super) trial: Trial,
    /// Bytes this shard may hold. All allowances and what is in the pool add up to the budget.
    pub(super) allowance: usize,
    /// Before this moment no newcomer is gone, nor anything the last sweep saw.
    next_sweep: u64,
    /// How many keys came that were not there, since this was last looked at.
    pub(super) newcomers: usize,
    /// Whether an entry since then needed bytes of other shards.
    pub(super) is_thin: bool,
    /// Entries that gave way so far, and among them newcomers that were not read once.
    pub(super) evicted: [u64; 2],
}

/// An ordered map and its own ledger.
pub(super) struct Queue<S> {
    pub(super) map: S,
    pub(super) weights: Weights,
    /// The most entries since the last shrink.
    peak: usize,
}

impl<S: Store> Shard<S> {
    pub(super) fn new(allowance: usize) -> Self {
        Self {
            small: Queue::new(),
            main: Queue::new(),
            unread: Ghost::default(),
            aged: Ghost::default(),
            target: 0,
            read_in_small: 0,
            frequency: Frequency::default(),
            trial: Trial::default(),
            allowance,
            next_sweep: u64::MAX,
            newcomers: 0,
            is_thin: false,
            evicted: [0; 2],
        }
    }

    #[inline]
    pub(super) fn peek(&self, hash: u64) -> Option<&Node> {
        self.main.map.peek(hash).or_else(|| self.small.map.peek(hash))
    }

    /// Why nothing is held for this hash: an entry may have left lately to make room.
    #[cold]
    pub(super) fn absence(&self, hash: u64) -> Absence {
        if self.unread.has(hash) || self.aged.has(hash) { Absence::Evicted } else { Absence::Unknown }
    }

    pub(super) fn weight(&self) -> usize {
        self.main.weights.sum + self.small.weights.sum
    }

    pub(super) fn len(&self) -> usize {
        self.main.map.len() + self.small.map.len()
    }

    /// Removes the entry of a key.
    pub(super) fn remove(&mut self, name: Name<'_>, dropped: &mut Dropped) {
        if self.peek(name.hash64()).is_some_and(|node| node.is_of(name)) {
            self.pop(name.hash64(), dropped);
        }
    }

    /// Lets the entry of a key expire at the tick `at`. Returns whether there is nothing left of it.
    pub(super) fn expire(&mut self, name: Name<'_>, at: u64) -> bool {
        let hash = name.hash64();
        let queue = if self.main.map.peek(hash).is_some() { &mut self.main } else { &mut self.small };
        let Some(node) = queue.map.peek_mut(hash).filter(|node| node.is_of(name)) else { return false };
        node.expire(at);
        self.next_sweep = self.next_sweep.min(node.gone());
        node.gone() <= at
    }

    #[cfg(feature = "metrics")]
    pub(super) fn tally(&self) -> Tally {
        let [evicted, evicted_unread] = self.evicted;
        Tally { bytes: self.weight(), entries: self.len(), evicted, evicted_unread }
    }

    /// How many entries there are in each queue.
    pub(super) fn lengths(&self) -> [usize; 2] {
        [self.small.map.len(), self.main.map.len()]
    }

    /// Shows the next entries, of which so many are `left` in each queue, and removes what is gone or was forgotten.
    /// Returns whether none is left.
    pub(super) fn walk(
        &mut self,
        left: &mut [usize; 2],
        now: Now<'_>,
        see: &mut dyn FnMut(Sight<'_>),
        dropped: &mut Dropped,
    ) -> bool {
        let mut step = STEP;
        for ((queue, in_main), left) in [(&mut self.small, false), (&mut self.main, true)].into_iter().zip(&mut *left) {
            let few = step.min(*left);
            queue.walk(few, now, &mut |node| see(node.sight(in_main)), dropped);
            step -= few;
            *left -= few;
        }
        *left == [0; 2]
    }

    /// Takes everything out, with what was learned of it.
    pub(super) fn take(&mut self) -> Self {
        let fresh = Self { evicted: self.evicted, ..Self::new(self.allowance) };
        std::mem::replace(self, fresh)
    }

    /// Takes all entries of a queue out, the oldest first.
    pub(super) fn drain(&mut self, in_main: bool) -> Vec<(u64, Node)> {
        let queue = if in_main { &mut self.main } else { &mut self.small };
        let hashes: Vec<_> = queue.map.oldest().map(|(hash, _)| hash).collect();
        hashes.into_iter().filter_map(|hash| Some((hash, queue.pop(hash)?))).collect()
    }

    /// Forgets what was learned and may hold nothing, after its entries were taken out.
    pub(super) fn start_anew(&mut self) {
        self.allowance = 0;
        self.take();
    }

    /// Holds an entry of another shard, as its newest.
    pub(super) fn adopt(&mut self, hash: u64, node: Node, in_main: bool) {
        self.next_sweep = self.next_sweep.min(node.gone());
        let queue = if in_main { &mut self.main } else { &mut self.small };
        queue.push(hash, node);
    }

    /// The weights of its entries.
    pub(super) fn weights(&self) -> Weights {
        self.small.weights.with(self.main.weights)
    }

    /// Bytes of allowance that an entry of `weight` needs from outside, so as not to push out most of this shard.
    pub(super) fn lacks(&self, hash: u64, weight: usize) -> usize {
        if weight <= self.allowance / 2 {
            return 0;
        }
        let older = self.peek(hash).map_or(0, Node::weight);
        let growth = weight.saturating_sub(older);
        if growth > self.allowance / 2 || weight > self.allowance { growth } else { 0 }
    }

    /// Stores a node, evicting what it takes. Returns whether it is held; if not, nothing of its hash is.
    pub(super) fn put(&mut self, hash: u64, node: Node, now: Now<'_>, dropped: &mut Dropped) -> bool {
        self.sweep(now, dropped);
        if node.weight() > self.allowance {
            self.pop(hash, dropped);
            dropped.push(node);
            return false;
        }
        self.next_sweep = self.next_sweep.min(node.gone());
        if let Err(newcomer) = self.replace(hash, node, now, dropped) {
            self.insert(hash, newcomer, now, dropped);
        }
        true
    }

    /// Gives up to `amount` of the allowance away, but keeps `floor`. Returns how much.
    pub(super) fn give(&mut self, amount: usize, floor: usize, now: Now<'_>, dropped: &mut Dropped) -> usize {
        let amount = amount.min(self.allowance.saturating_sub(floor));
        self.allowance -= amount;
        while self.weight() > self.allowance {
            self.evict(0, now, dropped);
        }
        amount
    }

    /// Puts a node in the place of the one of its hash, if there is one.
    fn replace(&mut self, hash: u64, mut node: Node, now: Now<'_>, dropped: &mut Dropped) -> Result<(), Node> {
        loop {
            let weight = self.weight();
            let queue = if self.main.map.peek(hash).is_some() { &mut self.main } else { &mut self.small };
            let Some(place) = queue.map.peek_mut(hash) else { return Err(node) };
            let (old, new) = (place.weight(), node.weight());
            if weight - old + new <= self.allowance {
                if place.has_key_of(&node) {
                    node.inherit_reads(place);
                }
                dropped.push(std::mem::replace(place, node));
                queue.weights.take(old);
                queue.weights.add(new);
                return Ok(());
            }
            // The victim may be this very entry; then the next round finds nothing to replace.
            self.evict(0, now, dropped);
        }
    }

    /// Removes what is gone near the tails.
    fn sweep(&mut self, now: Now<'_>, dropped: &mut Dropped) {
        if now.tick < self.next_sweep {
            return;
        }
        let small = self.small.sweep(now, dropped);
        let main = self.main.sweep(now, dropped);
        self.next_sweep = small.min(main);
    }

    pub(super) fn pop(&mut self, hash: u64, dropped: &mut Dropped) {
        if let Some(mut node) = self.main.pop(hash).or_else(|| self.small.pop(hash)) {
            node.free_share();
            dropped.push(node);
        }
    }
}

impl<S: Store> Queue<S> {
    fn new() -> Self {
        Self { map: S::empty(), weights: Weights::default(), peak: 0 }
    }

    pub(super) fn push(&mut self, hash: u64, node: Node) {
        self.weights.add(node.weight());
        self.map.push(hash, node);
        self.peak = self.peak.max(self.map.len());
    }

    pub(super) fn pop(&mut self, hash: u64) -> Option<Node> {
        let node = self.map.pop(hash)?;
        self.weights.take(node.weight());
        // The table of a population of small entries would stay for ever, unaccounted, when large ones follow.
        if self.map.len() * 8 < self.peak && self.peak > 64 {
            self.map.shrink();
            self.peak = self.map.len();
        }
        Some(node)
    }

    /// The oldest entry.
    pub(super) fn tail(&self) -> Option<(u64, &Node)> {
        self.map.oldest().next()
    }

    /// Moves an entry to the head, for the price of a read.
    pub(super) fn second_chance(&mut self, hash: u64) {
        if let Some(node) = self.map.peek_mut(hash) {
            node.cool();
            self.map.promote(hash);
        }
    }

    /// Shows so many of the oldest entries, removes what is gone among them, and moves the others to the head. Once all were
    /// moved they are in the order of before.
    fn walk(&mut self, count: usize, now: Now<'_>, see: &mut dyn FnMut(&Node), dropped: &mut Dropped) {
        for _ in 0..count {
            let Some((hash, node)) = self.tail() else { return };
            see(node);
            if node.is_live(now) {
                self.map.promote(hash);
            } else {
                self.pop(hash).into_iter().for_each(|node| dropped.push(node));
            }
        }
    }

    /// Removes what is gone among the oldest entries. Returns when to look again.
    fn sweep(&mut self, now: Now<'_>, dropped: &mut Dropped) -> u64 {
        let mut gone = [None; SWEEP];
        let mut next = u64::MAX;
        for (slot, (hash, node)) in gone.iter_mut().zip(self.map.oldest()) {
            next = next.min(node.gone());
            *slot = (!node.is_live(now)).then_some(hash);
        }
        for hash in gone.into_iter().flatten() {
            if let Some(node) = self.pop(hash) {
                dropped.push(node);
            }
        }
        next
    }
}

#[cfg(test)]
impl<S: Store> Shard<S> {
    /// Checks the ledgers against a walk over all entries.
    pub(super) fn validate(&self) {
        for queue in [&self.small, &self.main] {
            let walked: Vec<_> = queue.map.oldest().collect();
            assert_eq!(walked.len(), queue.map.len());
            assert_eq!(walked.iter().map(|(_, node)| node.weight()).sum::<usize>(), queue.weights.sum);
            assert!(walked.iter().all(|(hash, node)| queue.map.peek(*hash).is_some_and(|n| std::ptr::eq(n, *node))));
        }
        assert!(self.small.map.oldest().all(|(hash, _)| self.main.map.peek(hash).is_none()));
        assert!(self.weight() <= self.allowance);
    }
}
