//! Fences: what was begun before an invalidation.
//!
//! A fence is the version of a key, taken before a computation or a backend read begins. Whatever changes the key raises
//! the version, so what began earlier knows that it must not store its result. Only keys that somebody works on have a lane:
//! the table holds one lane per running operation, not one per key ever seen.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use crate::key::Key;

const SHARDS: usize = 64;

type Lanes = HashMap<Key, Arc<Lane>, RandomState>;
type Shard = Mutex<Lanes>;

/// The lanes of all keys being worked on.
pub(crate) struct Fences {
    shards: Box<[Shard]>,
}

#[derive(Debug, Default)]
struct Lane {
    version: AtomicU64,
    /// Orders this process's writes of the key to the backend.
    turn: AsyncMutex<()>,
}

impl Fences {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() })
    }

    /// Takes the present version of `key`.
    pub(crate) fn take(self: &Arc<Self>, key: &Key) -> Fence {
        let lane = Arc::clone(self.shard(key).entry(key.clone()).or_default());
        let version = AtomicU64::new(lane.version.load(SeqCst));
        Fence { fences: Arc::clone(self), key: key.clone(), lane, version }
    }

    /// How many lanes there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Lanes> {
        lock(&self.shards[key.hash64() as usize % SHARDS])
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, Lanes> {
    // A map operation that panics leaves the map usable.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fences").field("lanes", &self.len()).finish()
    }
}

/// The version of a key at one moment.
pub(crate) struct Fence {
    fences: Arc<Fences>,
    key: Key,
    lane: Arc<Lane>,
    version: AtomicU64,
}

impl Fence {
    /// Whether nothing has changed the key since.
    pub(crate) fn holds(&self) -> bool {
        self.lane.version.load(SeqCst) == self.version.load(SeqCst)
    }

    /// Voids every fence of the key but this one, which moves on to the new version.
    pub(crate) fn raise(&self) {
        self.version.store(self.lane.version.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    /// Waits until no other task of this process writes the key to the backend.
    pub(crate) async fn turn(&self) -> AsyncMutexGuard<'_, ()> {
        self.lane.turn.lock().await
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let mut shard = self.fences.shard(&self.key);
        // The table's and this one: lanes are cloned under the lock of the shard only.
        if Arc::strong_count(&self.lane) == 2
            && let Entry::Occupied(lane) = shard.entry(self.key.clone())
        {
            lane.remove();
        }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("key", &self.key).field("holds", &self.holds()).finish_non_exhaustive()
    }
}
