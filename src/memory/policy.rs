//! Which entries of a shard stay.
//!
//! S3-FIFO on two ordered maps, with counts. Newcomers to a full shard live in `small`. What was read there, and what comes
//! back after it left `small`, has a claim to a place in `main`: it takes that of the tail of `main`, if it was asked for
//! more often ([`Frequency`](super::frequency::Frequency)), each measured by its weight and perhaps its cost, or if counts are not to be trusted
//! ([`Trial`](super::trial::Trial)). While there is room `main` takes everything. A hit moves nothing, it counts; the tail of
//! `main` is given another round for each read. Much of a loop over more keys than fit so stays, and one-time keys pass by.
//!
//! How large `small` is: it grows by what comes back soon after leaving it, because it would have been there still, and
//! shrinks by what comes back soon after leaving `main`. It does not grow where nothing in it is read, as in a loop.

use super::Cost;
use super::node::{Dropped, Node, Now};
use super::shard::Shard;
use super::share::Charge;
use super::store::Store;
use super::trial::Decision;

/// How many entries that were read one eviction spares before it takes one all the same: microseconds under the lock,
/// where a shard full of reads would take milliseconds. It moves the hit ratio of recorded traces by a tenth of a point
/// at most.
const PATIENCE: usize = 256;

/// How many entries of a share that were read are spared before one gives way all the same.
const SPARED: usize = 64;

/// Every entry that leaves `small` was read.
const ALL: u32 = 1 << 16;
/// The part of the last one in the mean of all.
const PART: u32 = 64;
/// Where one in twenty is read, `small` grows by all that comes back soon; where fewer are, by less.
const ENOUGH: u32 = ALL / 20;

/// What speaks for an entry where two contend for a place.
struct Claim {
    hash: u64,
    /// Those that are not counted yet.
    reads: u8,
    weight: usize,
    cost: Cost,
}

impl Claim {
    fn of(hash: u64, node: &Node) -> Self {
        Self { hash, reads: node.reads(), weight: node.weight(), cost: node.cost() }
    }
}

impl<S: Store> Shard<S> {
    /// Adds an entry whose hash is absent.
    pub(super) fn insert(&mut self, hash: u64, node: Node, now: Now<'_>, dropped: &mut Dropped) {
        let weight = node.weight();
        self.newcomers += 1;
        let is_back = self.learn(hash);
        self.frequency.note(hash, 1, self.len());
        let room = |shard: &Self| shard.weight() + weight <= shard.allowance;
        let had_room = room(self);
        while !room(self) {
            self.evict(weight, now, dropped);
        }
        let to_main = had_room || is_back && self.wins(&Claim::of(hash, &node), now);
        let queue = if to_main { &mut self.main } else { &mut self.small };
        queue.push(hash, node);
    }

    /// Takes note that a key is back. Returns whether `small` let it go a short while ago.
    fn learn(&mut self, hash: u64) -> bool {
        let soon = self.allowance / 8;
        let usual = self.weight() / self.len().max(1);
        let unread = self.unread.take(hash, self.allowance);
        let aged = self.aged.take(hash, self.allowance);
        if unread.is_some_and(|age| age <= soon) {
            let part = self.read_in_small.min(ENOUGH) as usize;
            self.target = self.small_target() + usual * part / ENOUGH as usize;
        }
        if aged.is_some_and(|age| age <= soon) {
            self.target = self.small_target().saturating_sub(usual);
        }
        if (unread.is_some() || aged.is_some())
            && let Some(decision) = self.trial.take(hash)
            && self.main.map.peek(decision.stayed).is_some()
        {
            let was_right = self.was_read(decision);
            self.trial.learn(decision, was_right);
        }
        unread.is_some_and(|age| age <= self.allowance)
    }

    /// Bytes that `small` may hold while `main` would have to give way.
    fn small_target(&self) -> usize {
        self.target.clamp(self.allowance / 20, self.allowance - self.allowance / 10)
    }

    /// Lets one entry go, if there is any, for a newcomer of this weight.
    pub(super) fn evict(&mut self, newcomer: usize, now: Now<'_>, dropped: &mut Dropped) {
        // What cannot be read any more gives way before anything else does.
        if let Some(hash) = self.dead_tail(now) {
            return self.pop(hash, dropped);
        }
        let is_small_full = self.small.weights.sum + newcomer > self.small_target() && self.small.map.len() > 0;
        if is_small_full || self.main.map.len() == 0 {
            self.evict_from_small(now, dropped);
        } else {
            self.evict_from_main(now, dropped);
        }
    }

    /// Lets the tail of `small` go, or that of `main` in its place.
    fn evict_from_small(&mut self, now: Now<'_>, dropped: &mut Dropped) {
        let mut patience = PATIENCE;
        while let Some((hash, node)) = self.small.tail() {
            let (reads, is_live) = (node.reads(), node.is_live(now));
            let claim = Claim::of(hash, node);
            let seen = if reads > 0 { ALL } else { 0 };
            self.read_in_small = self.read_in_small - self.read_in_small / PART + seen / PART;
            if is_live && reads > 0 && patience > 0 {
                patience -= 1;
                let was_room = self.has_room_in_main(claim.weight);
                let wins = self.wins(&claim, now);
                self.frequency.note(hash, reads, self.main.map.len());
                if wins {
                    self.spare(hash, true);
                    if was_room {
                        continue;
                    }
                    return self.evict_from_main(now, dropped);
                }
            }
            return self.let_go(hash, true, is_live, dropped);
        }
    }

    fn evict_from_main(&mut self, now: Now<'_>, dropped: &mut Dropped) {
        self.pass_read(now);
        if let Some((hash, node)) = self.main.tail() {
            let is_live = node.is_live(now);
            self.let_go(hash, false, is_live, dropped);
        }
    }

    fn let_go(&mut self, hash: u64, from_small: bool, is_live: bool, dropped: &mut Dropped) {
        let entries = self.len();
        let (queue, ghost) =
            if from_small { (&mut self.small, &mut self.unread) } else { (&mut self.main, &mut self.aged) };
        let Some(node) = queue.pop(hash) else { return };
        if is_live {
            self.evicted[0] += 1;
            self.evicted[1] += u64::from(from_small && !node.was_read());
            ghost.insert(hash, node.weight(), entries, self.allowance);
        }
        dropped.push(node);
    }

    /// Whether `main` may take more while `small` keeps its part.
    fn has_room_in_main(&self, weight: usize) -> bool {
        self.main.weights.sum + weight + self.small_target() <= self.allowance
    }

    /// Whether an entry gets a place in `main`.
    fn wins(&mut self, claim: &Claim, now: Now<'_>) -> bool {
        if self.has_room_in_main(claim.weight) {
            return true;
        }
        self.pass_read(now);
        let Some((rival, node)) = self.main.tail() else { return true };
        if node.was_read() {
            return false;
        }
        // Its last request counts for nothing: that of the rival is still to come.
        let counts = (self.frequency.of(claim.hash) + u64::from(claim.reads)).saturating_sub(1);
        // For each byte: each times the weight of the other.
        let (asked, kept) = (counts * node.weight() as u64, self.frequency.of(rival) * claim.weight as u64);
        let is_asked_more = asked > kept;
        let dearer = || asked.saturating_mul(claim.cost.factor()) > kept.saturating_mul(node.cost().factor());
        if !node.is_live(now) || if node.cost().is_spent() { is_asked_more } else { dearer() } {
            return true;
        }
        if is_asked_more && let Some(node) = self.main.map.peek_mut(rival) {
            node.spend_cost();
        }
        let by_counts = self.trial.trusts_counts();
        let (gone, stayed) = if by_counts { (claim.hash, rival) } else { (rival, claim.hash) };
        if let Some(older) = self.trial.remember(Decision { gone, stayed, by_counts })
            && self.was_read(older)
        {
            self.trial.learn(older, true);
        }
        !by_counts
    }

    /// Whether the entry that stayed was read since.
    fn was_read(&self, decision: Decision) -> bool {
        let Some(node) = self.main.map.peek(decision.stayed) else { return false };
        // An unread entry that stayed by counts is still the tail: it has moved on by a read.
        let is_tail = || self.main.tail().is_some_and(|(hash, _)| hash == decision.stayed);
        node.was_read() || decision.by_counts && !is_tail()
    }

    /// Gives the tails of `main` another round that were read.
    fn pass_read(&mut self, now: Now<'_>) {
        let entries = self.main.map.len();
        for _ in 0..PATIENCE {
            let Some((hash, node)) = self.main.tail() else { return };
            if !node.was_read() || !node.is_live(now) {
                return;
            }
            self.frequency.note(hash, 1, entries);
            self.main.second_chance(hash);
        }
    }

    /// The entry at a tail that is gone or forgotten, if one is.
    fn dead_tail(&self, now: Now<'_>) -> Option<u64> {
        let tails = [&self.main, &self.small].map(|queue| queue.tail());
        tails.into_iter().flatten().find(|(_, node)| !node.is_live(now)).map(|(hash, _)| hash)
    }

    /// Lets an entry at a tail live on, because it was read: from `small` it moves on, `main` gives it another round.
    fn spare(&mut self, hash: u64, from_small: bool) {
        if !from_small {
            return self.main.second_chance(hash);
        }
        if let Some(mut node) = self.small.pop(hash) {
            node.reset_reads();
            self.main.push(hash, node);
        }
    }

    /// Lets one entry of this share go, but not that of `hash`. Returns whether there was one near a tail.
    pub(super) fn evict_of(&mut self, charge: &Charge, hash: u64, dropped: &mut Dropped) -> bool {
        let mut patience = SPARED;
        while let Some((victim, from_small, was_read)) = self.oldest_of(charge, hash) {
            if was_read && patience > 0 {
                patience -= 1;
                self.spare(victim, from_small);
            } else {
                self.evicted[0] += 1;
                self.evicted[1] += u64::from(from_small && !was_read);
                self.pop(victim, dropped);
                return true;
            }
        }
        false
    }

    /// The oldest entry of a share but that of `hash`, whether it is in `small`, and whether it was read.
    fn oldest_of(&self, charge: &Charge, hash: u64) -> Option<(u64, bool, bool)> {
        [(&self.small, true), (&self.main, false)].into_iter().find_map(|(queue, is_small)| {
            let of_share = |node: &Node| node.charge().is_some_and(|other| other.is_in_share_of(charge));
            let mut near = queue.map.oldest().take(PATIENCE);
            let (victim, node) = near.find(|(other, node)| *other != hash && of_share(node))?;
            Some((victim, is_small, node.was_read()))
        })
    }
}
