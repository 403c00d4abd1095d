//! L1: values in the memory of the process.
//!
//! Shards, each a mutex over a policy of its own, as many as leave each enough entries to choose among. A hit is one lock,
//! one or two look-ups by hash, a comparison of the key, and a relaxed store while the entry is young in reads. The bound
//! is in bytes and holds whenever a call returns. No user code runs under a lock: values leave through a buffer that
//! outlives the guard.

use std::any::Any;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use bytes::Bytes;

use crate::frame::Labels;
use crate::key::{Key, Name};
use crate::order::{ForgottenBy, Moment, Orders};

use self::node::{Dropped, Node, Now};
use self::shard::Shard;

mod cost;
#[cfg(feature = "advisor")]
mod curve;
mod examine;
mod frequency;
mod ghost;
mod lead;
mod node;
mod policy;
mod room;
mod shard;
mod share;
mod span;
mod spread;
mod store;
mod trial;
mod weigh;
mod weighers;
mod weights;

#[cfg(test)]
mod tests;

pub(crate) use self::cost::Cost;
#[cfg(feature = "advisor")]
pub use self::curve::HitCurve;
pub(crate) use self::lead::Lead;
pub(crate) use self::share::Share;
pub(crate) use self::weigh::{weigh, weigh_up_to};
pub(crate) use self::weighers::Weighers;

/// What L1 keeps for a key: a value, or a whole frame as [`Sealed`].
///
/// Which of the two, its type says; a variant here would cost each hit a copy and each entry 16 bytes.
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;

/// The bytes of an entry as the backend has them. L1 keeps them where the codec hides values, and of entries whose type
/// is not known yet.
pub(crate) struct Sealed(pub(crate) Bytes);

/// An entry on its way into L1. Moments are ticks of the cache's clock.
pub(crate) struct Entry {
    pub(crate) held: AnyValue,
    /// Bytes the value takes, beyond what L1 itself needs for an entry.
    pub(crate) weight: usize,
    /// From here on stale.
    pub(crate) fresh_until: u64,
    /// How far ahead of that it is renewed.
    pub(crate) lead: Lead,
    /// What it cost to compute; the least of all where that is not to count.
    pub(crate) cost: Cost,
    /// From here on expired: a fallback only.
    pub(crate) expires: u64,
    /// From here on gone.
    pub(crate) gone: u64,
    /// How old it is by now, in ticks.
    pub(crate) age: u64,
    /// The last order before its making began.
    pub(crate) since: Moment,
    pub(crate) labels: Labels,
    /// The part of the budget that it takes its bytes of, if it has one.
    pub(crate) share: Option<Arc<Share>>,
}

/// How old a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    /// Fresh, and to be renewed all the same: its end is near.
    Early,
    Stale,
    Expired,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("weight", &self.weight).finish_non_exhaustive()
    }
}

/// What an entry costs beyond its value and the text of its key, in bytes: the node and its links, its slots in the
/// tables of the map at a usual load, a fingerprint, what the allocator adds, and a share of what only a long text
/// needs.
const OVERHEAD: usize = 176;

/// What an entry takes in all whose value takes `weight`.
fn whole_weight(weight: usize, name: Name<'_>) -> usize {
    weight.saturating_add(name.len()).saturating_add(OVERHEAD)
}

/// The fewest bytes for a shard, where all are used: of the smallest entries that have room for the policy to choose.
const MIN_SHARE: usize = 16 * 1024;

/// The life of an entry, in ticks: negative before the first. Of what was asked for without its tags the end alone is
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) made: i64,
    /// From then on it is stale.
    pub(crate) fresh_until: i64,
    /// From then on it is expired.
    pub(crate) expires: u64,
}

/// Why L1 has nothing for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// It holds nothing, and remembers nothing.
    Unknown,
    /// It let the entry go to make room, a short while ago.
    Evicted,
    /// The life of the entry was over, and its grace.
    Expired,
    /// An order forgot the entry.
    Forgotten(ForgottenBy),
    /// Messages may have been lost since the entry was read.
    Doubted,
}

/// What L1 found.
pub(crate) struct Hit {
    pub(crate) held: AnyValue,
    pub(crate) age: Age,
    pub(crate) times: Times,
    /// If there are any, and they were asked for.
    pub(crate) labels: Option<Labels>,
}

/// The in-process tier.
///
/// Each shard that is used starts with an equal share of the budget. An entry too big for a share lets its shard borrow
/// from the others, which evict at once; what a shard holds beyond its share goes back when that entry leaves.
pub(crate) struct L1 {
    /// As many as may be used, a power of two.
    shards: Box<[Line]>,
    /// How many are used, less one. A reader that finds an entry need not look at it again; all else does, under a lock.
    mask: AtomicUsize,
    /// The fewest that are used.
    fewest: usize,
    max_bytes: usize,
    /// Bytes of the budget that no shard may use now.
    pool: AtomicUsize,
    /// An entry over this is refused.
    max_entry: usize,
    orders: Arc<Orders>,
    weighers: Weighers,
    #[cfg(feature = "advisor")]
    advisor: Option<curve::Advisor>,
}

/// What a walk over all entries shows of one.
pub(crate) struct Sight<'a> {
    pub(crate) text: &'a str,
    pub(crate) tags: &'a [u64],
    /// Twice the number of its last reads, and one more if the entry is in the queue of those that came back. Below two
    /// it was not read.
    pub(crate) heat: u8,
}

/// What L1 holds, and what it has given up to make room.
#[cfg(feature = "metrics")]
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
    pub(crate) evicted: u64,
    /// Of these, newcomers that were not read once.
    pub(crate) evicted_unread: u64,
}

/// How far a walk over all entries has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    shard: usize,
    /// How many entries of this shard are left, if it has begun.
    left: Option<[usize; 2]>,
}

/// A shard on cache lines of its own, prefetched in pairs.
#[repr(align(128))]
struct Line(Mutex<Shard>);

impl L1 {
    /// An empty store of at most `max_bytes`.
    pub(crate) fn new(max_bytes: usize, orders: Arc<Orders>) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::with_shards(max_bytes, 1..=shard_count(max_bytes, cores), orders)
    }

    /// With so many shards, of which the fewest are used at first. Both numbers are powers of two.
    fn with_shards(max_bytes: usize, counts: RangeInclusive<usize>, orders: Arc<Orders>) -> Self {
        let (fewest, most) = counts.into_inner();
        let share = max_bytes / fewest;
        let allowance = |index| if index < fewest { share } else { 0 };
        Self {
            shards: (0..most).map(|index| Line(Mutex::new(Shard::new(allowance(index))))).collect(),
            mask: AtomicUsize::new(fewest - 1),
            fewest,
            max_bytes,
            pool: AtomicUsize::new(max_bytes % fewest),
            max_entry: (max_bytes / 8).min(Node::MAX_WEIGHT),
            orders,
            weighers: Weighers::default(),
            #[cfg(feature = "advisor")]
            advisor: None,
        }
    }

    /// The same, where users say how much values of some types take.
    pub(crate) fn weighed_by(self, weighers: Weighers) -> Self {
        Self { weighers, ..self }
    }

    /// What a user says that `value` takes; without that `estimated` bytes.
    pub(crate) fn weight_of<T: 'static>(&self, value: &T, estimated: usize) -> usize {
        self.weighers.weigh(value).unwrap_or(estimated)
    }

    /// The same, which samples reads if the policy says so.
    #[cfg(feature = "advisor")]
    pub(crate) fn advised(self, is_on: bool) -> Self {
        Self { advisor: is_on.then(curve::Advisor::new), ..self }
    }

    /// How often it would be hit at other sizes, if reads are sampled, of which there were so many in all.
    #[cfg(feature = "advisor")]
    pub(crate) fn hit_curve(&self, all: Option<u64>) -> Option<HitCurve> {
        Some(self.advisor.as_ref()?.curve(all))
    }

    /// A call looks for a key. Not part of [`get`](L1::get): a flight looks once more for the same call.
    #[inline]
    #[cfg_attr(not(feature = "advisor"), expect(unused_variables, reason = "nothing is sampled"))]
    pub(crate) fn note_read(&self, hash: u64) {
        #[cfg(feature = "advisor")]
        if let Some(advisor) = self.follower(hash) {
            advisor.read(hash);
        }
    }

    /// The advisor, if it follows the reads of this hash.
    #[cfg(feature = "advisor")]
    #[inline]
    fn follower(&self, hash: u64) -> Option<&curve::Advisor> {
        self.advisor.as_ref().filter(|advisor| advisor.follows(hash))
    }

    /// What is held for a key, and how old it is at `now`. Removes it if it is gone or was forgotten.
    pub(crate) fn get(&self, name: Name<'_>, now: u64) -> Option<Hit> {
        self.find(name, now, false, |_, _| false, |_| {})
    }

    /// What `take` takes, under a lock, of a value that is fresh, not near its end, and known to be good as it is. Anything
    /// else is for [`get_by`](L1::get_by), which says what it is.
    #[inline(always)]
    pub(crate) fn fresh<V>(&self, name: Name<'_>, now: u64, take: impl FnOnce(&AnyValue) -> Option<V>) -> Option<V> {
        self.orders.check(now);
        // Where it misses because the entries have moved meanwhile, the closer look finds them.
        let shard = self.shards[self.index(name.hash64())].lock();
        let node = shard.peek(name.hash64())?;
        if !node.is_fresh(Now { tick: now, orders: &self.orders }) || !node.is_of(name) {
            return None;
        }
        node.touch();
        take(&node.held)
    }

    /// Like [`get`](L1::get). Of what is near its end, `is_due` says whether it is to be renewed, with so many ticks left.
    /// `absent` hears why nothing is found.
    #[inline(always)]
    pub(crate) fn get_by(
        &self,
        name: Name<'_>,
        now: u64,
        is_due: impl FnOnce(Lead, u64) -> bool,
        absent: impl FnOnce(Absence),
    ) -> Option<Hit> {
        self.find(name, now, false, is_due, absent)
    }

    /// Like [`get`](L1::get), with the tags, which cost another counter to be raised.
    pub(crate) fn get_tagged(
        &self,
        name: Name<'_>,
        now: u64,
        is_due: impl FnOnce(Lead, u64) -> bool,
        absent: impl FnOnce(Absence),
    ) -> Option<Hit> {
        self.find(name, now, true, is_due, absent)
    }

    #[inline(always)]
    fn find(
        &self,
        name: Name<'_>,
        now: u64,
        tagged: bool,
        is_due: impl FnOnce(Lead, u64) -> bool,
        absent: impl FnOnce(Absence),
    ) -> Option<Hit> {
        // By readers alone: what else looks at entries depends on which of them share a shard.
        self.orders.check(now);
        let hash = name.hash64();
        let shard = self.lock(hash);
        let Some(node) = shard.peek(hash).filter(|node| node.is_of(name)) else {
            absent(shard.absence(hash));
            return None;
        };
        let moment = Now { tick: now, orders: &self.orders };
        if let Some((age, expires)) = node.life(moment, is_due) {
            node.touch();
            let labels = if tagged { node.labels() } else { None };
            // Who wants no tags wants no dates: a hit is spared them.
            let (made, fresh_until) = if tagged { (node.made(), node.fresh_until()) } else { (0, 0) };
            let times = Times { made, fresh_until, expires };
            return Some(Hit { held: Arc::clone(&node.held), age, times, labels });
        }
        absent(node.absence(moment));
        self.forget(shard, name);
        None
    }

    /// Whether an entry of `weight` fits under `key`.
    pub(crate) fn fits(&self, key: &Key, weight: usize) -> bool {
        whole_weight(weight, key.name()) <= self.max_entry
    }

    /// Stores an entry, if `admit` says so under the lock of its shard and it fits. Returns whether it is held now.
    ///
    /// An entry fits if it takes, with its key and [`OVERHEAD`], at most an eighth of the budget.
    /// If refused, an older entry of the key stays only when `admit` said no.
    pub(crate) fn put(&self, key: &Key, entry: Entry, now: u64, admit: impl FnOnce() -> bool) -> bool {
        let (hash, name) = (key.hash64(), key.name());
        let weight = whole_weight(entry.weight, name);
        if weight > self.max_entry || entry.gone <= now {
            let shard = self.lock(hash);
            if admit() {
                self.forget(shard, name);
            }
            return false;
        }
        let node = Node::new(key.text(), entry, weight, now);
        if !self.makes_room_in_share(hash, &node) {
            self.forget(self.lock(hash), name);
            return false;
        }
        self.place(hash, weight, now, |_| if admit() { Ok(node) } else { Err(Some(node)) })
    }

    /// Like [`put`](L1::put), where nothing is held for the key. What is too large is not stored.
    pub(crate) fn put_first(&self, key: &Key, entry: Entry, now: u64, admit: impl FnOnce() -> bool) -> bool {
        let weight = whole_weight(entry.weight, key.name());
        if weight > self.max_entry || entry.gone <= now {
            return false;
        }
        let moment = Now { tick: now, orders: &self.orders };
        let node = Node::new(key.text(), entry, weight, now);
        if !self.makes_room_in_share(key.hash64(), &node) {
            return false;
        }
        self.place(key.hash64(), weight, now, |shard| {
            let is_first = shard.peek(key.hash64()).is_none_or(|other| !other.is_live(moment));
            if is_first && admit() { Ok(node) } else { Err(Some(node)) }
        })
    }

    /// Puts a value of `weight` in the place of the `sealed` entry that it was opened from, if that is there still. Its
    /// dates and labels stay.
    pub(crate) fn unseal(&self, name: Name<'_>, sealed: &AnyValue, value: AnyValue, weight: usize, now: u64) {
        let (hash, weight) = (name.hash64(), whole_weight(weight, name));
        if weight > self.max_entry {
            return self.forget(self.lock(hash), name);
        }
        self.place(hash, weight, now, |shard| {
            let old = shard.peek(hash).filter(|node| node.is_of(name) && Arc::ptr_eq(&node.held, sealed));
            old.map(|node| node.opened(value, weight)).ok_or(None)
        });
    }

    /// Stores the node of this weight that `make` makes under the lock of its shard. Returns whether it is held now.
    fn place(
        &self,
        hash: u64,
        weight: usize,
        now: u64,
        make: impl FnOnce(&Shard) -> Result<Node, Option<Node>>,
    ) -> bool {
        #[cfg(feature = "advisor")]
        if let Some(advisor) = self.follower(hash) {
            advisor.weigh(hash, weight);
        }
        let moment = Now { tick: now, orders: &self.orders };
        let mut dropped = Dropped::default();
        let mut shard = self.lock(hash);
        let lacks = shard.lacks(hash, weight);
        if lacks > 0 {
            drop(shard);
            let loan = self.borrow(hash, lacks, moment, &mut dropped);
            shard = self.lock(hash);
            shard.allowance += loan;
            shard.is_thin = true;
        } else if shard.allowance < self.share() {
            shard.allowance += self.draw(self.share() - shard.allowance);
        }
        let held = match make(&shard) {
            Ok(node) => shard.put(hash, node, moment, &mut dropped),
            Err(refused) => {
                refused.into_iter().for_each(|node| dropped.push(node));
                false
            }
        };
        self.settle(&mut shard);
        let is_ill_spread = self.asks_for_respread(&mut shard);
        drop(shard);
        if is_ill_spread {
            self.respread();
        }
        held
    }

    /// Forgets a key.
    pub(crate) fn remove(&self, key: &Key) {
        self.forget(self.lock(key.hash64()), key.name());
    }

    /// Lets a key expire at the tick `now`: what is left of it is a fallback.
    pub(crate) fn expire(&self, key: &Key, now: u64) {
        let name = key.name();
        let mut shard = self.lock(name.hash64());
        if shard.expire(name, now) {
            self.forget(shard, name);
        }
    }

    /// Removes everything, at the price of a drop for each entry.
    pub(crate) fn clear(&self) {
        for line in &self.shards {
            let mut shard = line.lock();
            let old = shard.take();
            self.settle(&mut shard);
            drop(shard);
            drop(old);
        }
    }

    /// Removes what is gone or was forgotten among the next few entries. Returns whether all were looked at.
    ///
    /// What comes in meanwhile counts as a little older than it is when something has to give way.
    pub(crate) fn reclaim(&self, progress: &mut Progress, now: u64) -> bool {
        self.walk(progress, now, &mut |_| {})
    }

    /// Shows the next few entries to `see`, under a lock, also those that are gone or were forgotten, which are removed.
    /// Returns whether all were looked at; some are shown twice or not at all where entries are spread anew meanwhile.
    pub(crate) fn walk(&self, progress: &mut Progress, now: u64, see: &mut dyn FnMut(Sight<'_>)) -> bool {
        let mut dropped = Dropped::default();
        let moment = Now { tick: now, orders: &self.orders };
        if progress.shard >= self.used() {
            return true;
        }
        let mut shard = self.shards[progress.shard].lock();
        let mut left = progress.left.take().unwrap_or_else(|| shard.lengths());
        if shard.walk(&mut left, moment, see, &mut dropped) {
            progress.shard += 1;
        } else {
            progress.left = Some(left);
        }
        self.settle(&mut shard);
        drop(shard);
        progress.shard >= self.used()
    }

    /// Whether most of the budget is used, so that soon something has to give way.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.weight() >= self.max_bytes / 4 * 3
    }

    /// What it holds, and what it has given up so far.
    #[cfg(feature = "metrics")]
    pub(crate) fn tally(&self) -> Tally {
        self.shards.iter().map(|line| line.lock().tally()).fold(Tally::default(), |sum, tally| Tally {
            bytes: sum.bytes + tally.bytes,
            entries: sum.entries + tally.entries,
            evicted: sum.evicted + tally.evicted,
            evicted_unread: sum.evicted_unread + tally.evicted_unread,
        })
    }

    /// Bytes accounted for.
    pub(crate) fn weight(&self) -> usize {
        self.shards.iter().map(|line| line.lock().weight()).sum()
    }

    /// Entries held.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|line| line.lock().len()).sum()
    }

    /// Removes a key, and drops its value once the lock is released.
    #[cold]
    fn forget(&self, mut shard: MutexGuard<'_, Shard>, name: Name<'_>) {
        let mut dropped = Dropped::default();
        shard.remove(name, &mut dropped);
        self.settle(&mut shard);
        drop(shard);
    }
}

impl Line {
    /// No user code runs under the lock, so a poisoned shard is a whole one.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for L1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("L1").field("shards", &self.used()).field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

/// The most shards: eight a core spread the locks, and each has [`MIN_SHARE`] at least.
fn shard_count(max_bytes: usize, cores: usize) -> usize {
    let wanted = (cores * 8).next_power_of_two().clamp(16, 256);
    let most = (max_bytes / MIN_SHARE).max(1);
    wanted.min(1 << most.ilog2())
}

#[cfg(test)]
impl L1 {
    /// Checks every ledger, and that allowances neither leak nor grow.
    fn validate(&self, max_bytes: usize) {
        let mut allowances = self.pool.load(std::sync::atomic::Ordering::Relaxed);
        for line in &self.shards {
            let shard = line.lock();
            shard.validate();
            allowances += shard.allowance;
        }
        assert_eq!(allowances, max_bytes);
        assert!(self.weight() <= max_bytes);
    }
}
