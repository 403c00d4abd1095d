//! Fences: what was begun before a change of its key.
//!
//! A fence is taken before a computation or a backend read begins. What began before a change of its key must not be
//! stored. Of computations without a change between them, the one that began last is stored last; what was read before a
//! computation was stored is not kept after it.
//!
//! Only keys that a task works on have a state: the table holds one for each running operation, not one for each key
//! ever seen.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::Moment;
use super::orders::Orders;
use super::signal::Signal;
use super::turn::{Turns, WriteTurn};
use crate::key::Key;

const SHARDS: usize = 64;

type Keys = HashMap<Key, Arc<KeyState>, RandomState>;

/// The states of all keys being worked on.
pub(crate) struct Fences(Box<[Arc<Shard>]>);

/// The states of some keys. Each fence holds its own shard, so that threads that work on different keys share no
/// counter.
struct Shard {
    keys: Mutex<Keys>,
    orders: Arc<Orders>,
}

/// What the fences of one key share. Its state is locked after the shard of the table, never before.
#[derive(Debug, Default)]
struct KeyState {
    state: Mutex<State>,
    /// Orders this process's writes of the key to the backend.
    turns: Turns,
    /// Raised when another process tells of the key.
    signal: Signal,
}

/// Each field of a moment is zero before the first of its kind.
#[derive(Debug, Default)]
struct State {
    /// When a change of the key began or ended last.
    changed: Moment,
    /// When the fence was taken that did so.
    owner: Moment,
    /// When another process changed the key last.
    heard: Moment,
    /// When a computation was stored last.
    stored: Moment,
    /// When the youngest fence was taken under which one was.
    youngest: Moment,
    /// When the youngest change began that has ended, well or not.
    ended: Moment,
    /// When the youngest expiry began that left a fallback.
    kept: Moment,
    /// How many fences there are.
    users: usize,
}

impl KeyState {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fences {
    pub(crate) fn new(orders: &Arc<Orders>) -> Self {
        let shard = || Arc::new(Shard { keys: Mutex::default(), orders: Arc::clone(orders) });
        Self((0..SHARDS).map(|_| shard()).collect())
    }

    /// Takes a fence of `key`.
    pub(crate) fn take(&self, key: &Key) -> Fence {
        let shard = &self.0[key.hash64() as usize % SHARDS];
        let since = shard.orders.latest();
        let mut keys = shard.keys();
        let state = Arc::clone(keys.entry(key.clone()).or_default());
        let moment = {
            let mut state = state.lock();
            state.users += 1;
            shard.orders.next()
        };
        drop(keys);
        Fence { shard: Arc::clone(shard), key: key.clone(), state, moment, since }
    }

    /// Whether no task works on `key`.
    pub(crate) fn is_idle(&self, key: &Key) -> bool {
        let keys = self.0[key.hash64() as usize % SHARDS].keys();
        keys.is_empty() || !keys.contains_key(key)
    }

    /// Wakes the tasks that wait to hear of `key`.
    pub(crate) fn wake(&self, key: &Key) {
        let shard = &self.0[key.hash64() as usize % SHARDS];
        let state = shard.keys().get(key).map(Arc::clone);
        if let Some(state) = state {
            state.signal.raise();
        }
    }

    /// How many keys have a state.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.keys().len()).sum()
    }
}

impl Shard {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        // A map operation that panics leaves the map usable.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fences").field("keys", &self.len()).finish()
    }
}

/// A moment of a key.
pub(crate) struct Fence {
    shard: Arc<Shard>,
    key: Key,
    state: Arc<KeyState>,
    /// When it was taken.
    moment: Moment,
    /// The last order before.
    since: Moment,
}

impl Fence {
    /// Whether nothing else has changed the key since.
    pub(crate) fn holds(&self) -> bool {
        self.holds_in(&self.state.lock())
    }

    /// Whether something with these tags, whose making began with this fence, was forgotten by its tags, or with
    /// everything.
    pub(crate) fn forgot(&self, tags: &[u64]) -> bool {
        self.shard.orders.forgot(self.since, tags)
    }

    /// Whether what L1 held when the fence was taken is not believed any more.
    pub(crate) fn is_doubted(&self) -> bool {
        self.shard.orders.doubts(self.since)
    }

    /// Whether another process may have changed the key since, unheard.
    pub(crate) fn has_missed(&self) -> bool {
        self.shard.orders.missed(self.since)
    }

    /// Whether what was begun with this fence, at the tick `begun`, is older at the tick `now` than anything may be
    /// that other processes may have changed since.
    pub(crate) fn is_outdated(&self, begun: u64, now: u64) -> bool {
        self.is_doubted() && !self.shard.orders.is_young(begun, now)
    }

    /// Whether the fence was taken before everything was cleared.
    pub(crate) fn was_cleared(&self) -> bool {
        self.shard.orders.cleared(self.since)
    }

    /// Whether the fence was taken before everything expired or was forgotten.
    pub(crate) fn expired(&self) -> bool {
        self.shard.orders.voided_all(self.since)
    }

    /// The key whose fence this is.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The last order before the fence was taken.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// Whether this fence holds and no other computation was stored since it was taken, or since it
    /// [claimed](Fence::claim).
    pub(crate) fn is_current(&self) -> bool {
        let state = self.state.lock();
        self.holds_in(&state) && (state.stored <= self.moment || state.youngest == self.moment)
    }

    /// Begins a change, which voids every fence of the key but this one. Returns when it began.
    pub(crate) fn raise(&self) -> Moment {
        self.change(&mut self.state.lock())
    }

    /// Ends the change that `begun` then. Voids every fence of the key but this one.
    pub(crate) fn end(&self, begun: Moment) {
        let mut state = self.state.lock();
        self.change(&mut state);
        state.ended = state.ended.max(begun);
    }

    fn change(&self, state: &mut State) -> Moment {
        (state.changed, state.owner) = (self.shard.orders.next(), self.moment);
        state.changed
    }

    /// Whether no change has ended that began after `begun`.
    pub(crate) fn is_youngest(&self, begun: Moment) -> bool {
        self.state.lock().ended <= begun
    }

    /// Notes that the expiry that `begun` then left a fallback.
    pub(crate) fn keep(&self, begun: Moment) {
        self.state.lock().kept = begun;
    }

    /// Whether the change that began at `made` left a fallback.
    pub(crate) fn kept(&self, made: Moment) -> bool {
        self.state.lock().kept == made
    }

    /// Forgets anew what has this tag and began before.
    pub(crate) fn forget_tag(&self, tag: u64) {
        self.shard.orders.forget_tag(tag);
    }

    /// Voids every fence of the key, because another process changed it. What this process changes meanwhile may be the
    /// older of the two.
    pub(crate) fn hear(&self) {
        {
            let mut state = self.state.lock();
            state.heard = self.change(&mut state);
        }
        self.state.signal.raise();
    }

    /// How often other processes have told of the key.
    pub(crate) fn signals(&self) -> u64 {
        self.state.signal.seen()
    }

    /// Waits until another process tells of the key: that it has changed it, or that a lease of it has ended. Not if
    /// that was since there were so many signals.
    pub(crate) async fn signalled(&self, seen: u64) {
        self.state.signal.after(seen).await;
    }

    /// Whether this fence holds and no other process has changed the key since it was taken.
    pub(crate) fn holds_for_all(&self) -> bool {
        let state = self.state.lock();
        self.holds_in(&state) && state.heard <= self.moment
    }

    /// Asks to store a computation. Granted if this fence holds and nothing was stored that began later.
    pub(crate) fn claim(&self) -> bool {
        let mut state = self.state.lock();
        let granted = self.holds_in(&state) && state.youngest < self.moment;
        if granted {
            (state.youngest, state.stored) = (self.moment, self.shard.orders.next());
        }
        granted
    }

    /// Waits until no other task of this process writes the key to the backend, unless it stands still.
    pub(crate) async fn turn(&self) -> WriteTurn<'_> {
        self.state.turns.take().await
    }

    fn holds_in(&self, state: &State) -> bool {
        if cfg!(cachekit_without = "fence") {
            return true;
        }
        (state.owner == self.moment || state.changed <= self.moment) && !self.shard.orders.voided_all(self.since)
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let mut keys = self.shard.keys();
        let mut state = self.state.lock();
        state.users -= 1;
        if state.users == 0 {
            keys.remove(&self.key);
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
    use crate::key::Key;
    use crate::order::Orders;

    #[test]
    fn whoever_raises_holds_and_nobody_else() {
        let (fences, key) = (Fences::new(&Orders::new(None, 0)), Key::new("n", "k").unwrap());
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
        let orders = Orders::new(None, 0);
        let (fences, key) = (Fences::new(&orders), Key::new("n", "k").unwrap());
        let (raised, untouched) = (fences.take(&key), fences.take(&Key::new("n", "other").unwrap()));
        raised.raise();
        orders.forget_tag(7);
        assert!(raised.holds() && untouched.is_current() && raised.forgot(&[7]) && !raised.forgot(&[8]));
        orders.forget_all();
        assert!(!raised.holds() && !untouched.holds() && !raised.claim());
        let later = fences.take(&key);
        assert!(later.holds());
        orders.expire_all(0);
        assert!(!later.holds() && !later.forgot(&[]) && !later.was_cleared());
        assert!(fences.take(&key).holds());
    }

    #[test]
    fn computation_begun_last_is_stored_last_over_older_reads() {
        let (fences, key) = (Fences::new(&Orders::new(None, 0)), Key::new("n", "k").unwrap());
        let [older, younger, read] = [(); 3].map(|()| fences.take(&key));
        assert!(older.claim() && older.is_current());
        assert!(read.holds() && !read.is_current());
        assert!(younger.holds() && younger.claim() && younger.is_current());
        assert!(older.holds() && !older.is_current() && !older.claim());
        assert!(fences.take(&key).is_current());
        read.raise();
        assert!(!younger.is_current() && !younger.claim());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_what_was_heard_since() {
        let (fences, key) = (Fences::new(&Orders::new(None, 0)), Key::new("n", "k").unwrap());
        fences.wake(&key);
        let (fence, other) = (fences.take(&key), fences.take(&Key::new("n", "other").unwrap()));
        let seen = fence.signals();
        fences.wake(&key);
        fence.signalled(seen).await;
        let [mut waiting, mut elsewhere] =
            [(&fence, fence.signals()), (&other, 0)].map(|(fence, seen)| Box::pin(fence.signalled(seen)));
        let mut is_woken = async |_: ()| {
            tokio::select! { biased; () = &mut elsewhere => None, () = &mut waiting => Some(true), () = async {} => Some(false) }
        };
        assert_eq!(is_woken(()).await, Some(false));
        fences.take(&key).hear();
        assert_eq!(is_woken(()).await, Some(true));
    }

    #[test]
    fn no_state_outlives_its_fences_even_if_all_are_dropped_at_once() {
        let (fences, start) = (Fences::new(&Orders::new(None, 0)), Barrier::new(2));
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
