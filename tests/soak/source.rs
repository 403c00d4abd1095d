//! The source of truth, and what each cache has promised of it.
//!
//! Each key has a count that goes up before any change of it begins, and its values carry the count they were made
//! from. Changes of one key come one after another, so that the oracle knows which came last.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) const KEYS: usize = 2_000;
pub(crate) const TAGS: usize = 8;
/// Of a value, up to twice.
const BULK: usize = 400;

/// What the caches hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) key: usize,
    pub(crate) count: u64,
    bulk: Vec<u8>,
}

impl Value {
    pub(crate) fn new(key: usize, count: u64) -> Self {
        Self { key, count, bulk: vec![Self::filling(key, count); BULK + key % BULK] }
    }

    /// Whether this is a value of `key`, and all of one piece.
    pub(crate) fn is_of(&self, key: usize) -> bool {
        *self == Self::new(key, self.count)
    }

    fn filling(key: usize, count: u64) -> u8 {
        (key as u64 ^ count) as u8
    }
}

pub(crate) struct Source {
    counts: Vec<AtomicU64>,
    /// Held while a key is changed.
    keys: Vec<Mutex<()>>,
    /// Held shared while a key with the tag is changed, and alone while all of them are.
    tags: Vec<RwLock<()>>,
}

/// Nobody else changes the key meanwhile.
pub(crate) struct Turn<'a> {
    _tag: RwLockReadGuard<'a, ()>,
    _key: MutexGuard<'a, ()>,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self {
            counts: (0..KEYS).map(|_| AtomicU64::new(1)).collect(),
            keys: (0..KEYS).map(|_| Mutex::default()).collect(),
            tags: (0..TAGS).map(|_| RwLock::default()).collect(),
        }
    }

    pub(crate) fn tag(key: usize) -> usize {
        key % TAGS
    }

    /// The keys with a tag.
    pub(crate) fn tagged(tag: usize) -> impl Iterator<Item = usize> {
        (tag..KEYS).step_by(TAGS)
    }

    pub(crate) fn count(&self, key: usize) -> u64 {
        self.counts[key].load(SeqCst)
    }

    /// A change begins.
    pub(crate) fn raise(&self, key: usize) -> u64 {
        self.counts[key].fetch_add(1, SeqCst) + 1
    }

    /// The right to change a key, unless somebody does.
    pub(crate) fn turn(&self, key: usize) -> Option<Turn<'_>> {
        let tag = self.tags[Self::tag(key)].try_read().ok()?;
        Some(Turn { _tag: tag, _key: self.keys[key].try_lock().ok()? })
    }

    /// The right to change all keys with a tag.
    pub(crate) async fn turn_of_tag(&self, tag: usize) -> RwLockWriteGuard<'_, ()> {
        self.tags[tag].write().await
    }

    /// The right to change all keys.
    pub(crate) async fn turn_of_all(&self) -> Vec<RwLockWriteGuard<'_, ()>> {
        let mut all = Vec::with_capacity(TAGS);
        for tag in 0..TAGS {
            all.push(self.turn_of_tag(tag).await);
        }
        all
    }
}

/// What one cache has promised: the lowest count of each key that its readers may see.
pub(crate) struct Floors(Vec<AtomicU64>);

impl Floors {
    pub(crate) fn new() -> Self {
        Self((0..KEYS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn of(&self, key: usize) -> u64 {
        self.0[key].load(SeqCst)
    }

    pub(crate) fn raise(&self, key: usize, count: u64) {
        self.0[key].fetch_max(count, SeqCst);
    }
}
