//! Fences: what was begun before an invalidation.
//!
//! A fence is the version of a key, taken before a computation or a backend read begins. Whatever changes the key
//! raises the version, so what began earlier knows that it must not store its result. Of computations without a change
//! between them, the one that began last is stored last; what was read before a computation was stored is not kept
//! after it.
//!
//! Only keys that somebody works on have a lane: the table holds one lane per running operation, not one per key ever
//! seen.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use self::turn::Turns;
use crate::epochs::Epochs;
use crate::key::Key;

mod turn;

pub(crate) use self::turn::Turn;

const SHARDS: usize = 64;

type Lanes = HashMap<Key, Arc<Lane>, RandomState>;

/// The lanes of all keys being worked on.
pub(crate) struct Fences(Box<[Arc<Shard>]>);

/// The lanes of some keys. Each fence holds its own shard, so that threads that work on different keys share no
/// counter.
struct Shard {
    lanes: Mutex<Lanes>,
    epochs: Arc<Epochs>,
}

/// What the fences of one key share. Its state is locked after the shard of the table, never before.
#[derive(Debug, Default)]
struct Lane {
    state: Mutex<State>,
    /// Orders this process's writes of the key to the backend.
    turns: Turns,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    /// The fence that raised the version last.
    owner: u64,
    /// How often another process changed the key.
    heard: u64,
    /// How many computations were stored.
    stores: u64,
    /// The youngest fence under which one was.
    youngest: u64,
    /// The version that the youngest change began that has ended, well or not.
    ended: u64,
    /// The version that the youngest expiry began that left a fallback.
    kept: u64,
    /// How many fences were taken.
    taken: u64,
    /// How many of them there are.
    users: usize,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fences {
    pub(crate) fn new(epochs: &Arc<Epochs>) -> Self {
        let shard = || Arc::new(Shard { lanes: Mutex::default(), epochs: Arc::clone(epochs) });
        Self((0..SHARDS).map(|_| shard()).collect())
    }

    /// Takes the present version of `key`.
    pub(crate) fn take(&self, key: &Key) -> Fence {
        let shard = &self.0[key.hash64() as usize % SHARDS];
        let epoch = shard.epochs.now();
        let mut lanes = shard.lanes();
        let lane = Arc::clone(lanes.entry(key.clone()).or_default());
        let (id, version, heard, stores) = {
            let mut state = lane.state();
            state.users += 1;
            state.taken += 1;
            (state.taken, state.version, state.heard, state.stores)
        };
        drop(lanes);
        Fence { shard: Arc::clone(shard), key: key.clone(), lane, id, version, heard, stores, epoch }
    }

    /// How many lanes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lanes().len()).sum()
    }
}

impl Shard {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // A map operation that panics leaves the map usable.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fences").field("lanes", &self.len()).finish()
    }
}

/// The version of a key at one moment.
pub(crate) struct Fence {
    shard: Arc<Shard>,
    key: Key,
    lane: Arc<Lane>,
    id: u64,
    version: u64,
    heard: u64,
    stores: u64,
    epoch: u64,
}

impl Fence {
    /// Whether nothing else has changed the key since.
    pub(crate) fn holds(&self) -> bool {
        self.holds_in(&self.lane.state())
    }

    /// Whether something with these tags, whose making began with this fence, was forgotten by its tags, or with
    /// everything.
    pub(crate) fn forgot(&self, tags: &[u64]) -> bool {
        self.shard.epochs.forgot(self.epoch, tags)
    }

    /// Whether what L1 held when the fence was taken is not believed any more.
    pub(crate) fn is_doubted(&self) -> bool {
        self.shard.epochs.doubts(self.epoch)
    }

    /// Whether another process may have changed the key since, unheard.
    pub(crate) fn has_missed(&self) -> bool {
        self.shard.epochs.missed(self.epoch)
    }

    /// Whether what was begun with this fence, at the tick `begun`, is older at the tick `now` than anything may be
    /// that other processes may have changed since.
    pub(crate) fn is_outdated(&self, begun: u64, now: u64) -> bool {
        self.is_doubted() && !self.shard.epochs.is_young(begun, now)
    }

    /// Whether the fence was taken before everything was cleared.
    pub(crate) fn was_cleared(&self) -> bool {
        self.shard.epochs.cleared(self.epoch)
    }

    /// Whether the fence was taken before everything expired or was forgotten.
    pub(crate) fn expired(&self) -> bool {
        self.shard.epochs.voided_all(self.epoch)
    }

    /// The key whose version this is.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The epoch in which the fence was taken.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether this fence holds and no other computation was stored since it was taken, or since it
    /// [claimed](Fence::claim).
    pub(crate) fn is_current(&self) -> bool {
        let state = self.lane.state();
        self.holds_in(&state) && (state.stores == self.stores || state.youngest == self.id)
    }

    /// Voids every fence of the key but this one. Returns the version that begins.
    pub(crate) fn raise(&self) -> u64 {
        let mut state = self.lane.state();
        state.version += 1;
        state.owner = self.id;
        state.version
    }

    /// Ends the change that began the version `begun`. Voids every fence of the key but this one.
    pub(crate) fn end(&self, begun: u64) {
        let mut state = self.lane.state();
        state.version += 1;
        state.owner = self.id;
        state.ended = state.ended.max(begun);
    }

    /// Whether no change has ended that began after the version `begun`.
    pub(crate) fn is_youngest(&self, begun: u64) -> bool {
        self.lane.state().ended <= begun
    }

    /// Notes that the expiry that began the version `begun` left a fallback.
    pub(crate) fn keep(&self, begun: u64) {
        self.lane.state().kept = begun;
    }

    /// Whether the change that began the version `made` left a fallback.
    pub(crate) fn kept(&self, made: u64) -> bool {
        self.lane.state().kept == made
    }

    /// Forgets anew what has this tag and began before.
    pub(crate) fn forget_tag(&self, tag: u64) {
        self.shard.epochs.raise_tag(tag);
    }

    /// Voids every fence of the key, because another process changed it. What this process changes meanwhile may be the
    /// older of the two.
    pub(crate) fn hear(&self) {
        let mut state = self.lane.state();
        state.version += 1;
        state.owner = self.id;
        state.heard += 1;
    }

    /// Whether this fence holds and no other process has changed the key since it was taken.
    pub(crate) fn holds_for_all(&self) -> bool {
        let state = self.lane.state();
        self.holds_in(&state) && state.heard == self.heard
    }

    /// Asks to store a computation. Granted if this fence holds and nothing was stored that began later.
    pub(crate) fn claim(&self) -> bool {
        let mut state = self.lane.state();
        let granted = self.holds_in(&state) && state.youngest < self.id;
        if granted {
            state.youngest = self.id;
            state.stores += 1;
        }
        granted
    }

    /// Waits until no other task of this process writes the key to the backend, unless it stands still.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.lane.turns.take().await
    }

    fn holds_in(&self, state: &State) -> bool {
        if cfg!(cachekit_without = "fence") {
            return true;
        }
        (state.owner == self.id || state.version == self.version) && !self.shard.epochs.voided_all(self.epoch)
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let mut lanes = self.shard.lanes();
        let mut state = self.lane.state();
        state.users -= 1;
        if state.users == 0 {
            lanes.remove(&self.key);
        }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("key", &self.key).field("holds", &self.holds()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::Fences;
    use crate::epochs::Epochs;
    use crate::key::Key;

    #[test]
    fn whoever_raises_holds_and_nobody_else() {
        let (fences, key) = (Fences::new(&Epochs::new(None, 0)), Key::new("n", "k").unwrap());
        let (first, second) = (fences.take(&key), fences.take(&key));
        assert!(first.holds() && second.holds());
        let begun = first.raise();
        assert!(first.holds() && !second.holds());
        assert!(second.raise() > begun);
        assert!(!first.holds() && second.holds());
        let third = fences.take(&key);
        assert!(third.holds() && second.holds());
    }

    #[test]
    fn no_fence_holds_once_everything_is_forgotten() {
        let epochs = Epochs::new(None, 0);
        let (fences, key) = (Fences::new(&epochs), Key::new("n", "k").unwrap());
        let (raised, untouched) = (fences.take(&key), fences.take(&Key::new("n", "other").unwrap()));
        raised.raise();
        epochs.raise_tag(7);
        assert!(raised.holds() && untouched.is_current() && raised.forgot(&[7]) && !raised.forgot(&[8]));
        epochs.raise_all();
        assert!(!raised.holds() && !untouched.holds() && !raised.claim());
        let later = fences.take(&key);
        assert!(later.holds());
        epochs.expire_all(0);
        assert!(!later.holds() && !later.forgot(&[]) && !later.was_cleared());
        assert!(fences.take(&key).holds());
    }

    #[test]
    fn the_computation_that_began_last_is_stored_last_and_reads_before_it_are_not_kept() {
        let (fences, key) = (Fences::new(&Epochs::new(None, 0)), Key::new("n", "k").unwrap());
        let [older, younger, read] = [(); 3].map(|()| fences.take(&key));
        assert!(older.claim() && older.is_current());
        assert!(read.holds() && !read.is_current());
        assert!(younger.holds() && younger.claim() && younger.is_current());
        assert!(older.holds() && !older.is_current() && !older.claim());
        assert!(fences.take(&key).is_current());
        read.raise();
        assert!(!younger.is_current() && !younger.claim());
    }

    #[test]
    fn no_lane_outlives_its_fences_even_if_all_are_dropped_at_once() {
        let (fences, start) = (Fences::new(&Epochs::new(None, 0)), Barrier::new(2));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for round in 0..20_000u32 {
                        let key = Key::new("n", round).unwrap();
                        start.wait();
                        for _ in 0..3 {
                            drop(fences.take(&key));
                        }
                    }
                });
            }
        });
        assert_eq!(fences.len(), 0);
    }
}
