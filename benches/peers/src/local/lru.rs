//! `lru` behind a mutex, in shards: what a program writes without a cache crate for threads.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::{Key, Payload, Store};

/// Shards of a cache that is not small.
const SHARDS: usize = 16;

pub(crate) struct Sharded<K, V> {
    hasher: RandomState,
    shards: Vec<Mutex<LruCache<K, V>>>,
}

impl<K: Key, V: Payload> Sharded<K, V> {
    /// For so many entries; small ones have one shard, so that none is too small to choose well.
    pub(crate) fn new(capacity: usize) -> Self {
        let count = if capacity < 1_024 { 1 } else { SHARDS };
        let share = |index| capacity / count + usize::from(index < capacity % count);
        let shard = |index| Mutex::new(LruCache::new(NonZeroUsize::new(share(index)).unwrap_or(NonZeroUsize::MIN)));
        Self { hasher: RandomState::new(), shards: (0..count).map(shard).collect() }
    }

    fn shard<Q: ?Sized + Hash>(&self, key: &Q) -> MutexGuard<'_, LruCache<K, V>> {
        let index = (self.hasher.hash_one(key) >> 32) as usize % self.shards.len();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, Q, V> Store<Q, V> for Sharded<K, V>
where
    K: Key + Borrow<Q>,
    Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    V: Payload,
{
    fn read(&self, key: &Q) -> Option<V> {
        self.shard(key).get(key).cloned()
    }

    fn write(&self, key: &Q, value: V) {
        self.shard(key).put(key.to_owned(), value);
    }

    fn count(&self) -> usize {
        let lock = |shard: &Mutex<LruCache<K, V>>| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(lock).sum()
    }
}
