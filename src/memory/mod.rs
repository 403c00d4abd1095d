//! L1: values in the memory of the process.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::key::Key;

/// What L1 keeps for a key.
#[derive(Clone)]
pub(crate) enum Held {
    /// A value, for codecs that do not hide it.
    Value(Arc<dyn Any + Send + Sync>),
    /// A whole frame, opened on each hit, for confidential codecs.
    Sealed(Bytes),
}

/// An entry on its way into L1. Moments are ticks of the cache's clock.
pub(crate) struct Entry {
    pub(crate) held: Held,
    /// Bytes the value takes, beyond what L1 itself needs for an entry.
    pub(crate) weight: usize,
    /// From here on stale.
    pub(crate) fresh_until: u64,
    /// From here on expired: a fallback only.
    pub(crate) expires: u64,
    /// From here on gone.
    pub(crate) gone: u64,
}

/// How old a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    Stale,
    Expired,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("weight", &self.weight).finish_non_exhaustive()
    }
}

/// The in-process tier.
#[derive(Debug)]
pub(crate) struct L1;

impl L1 {
    /// An empty store of at most `max_bytes`.
    pub(crate) fn new(_max_bytes: usize) -> Self {
        Self
    }

    /// What is held for a key, and how old it is at `now`. Removes it if it is gone.
    pub(crate) fn get(&self, _hash: u64, _text: &str, _now: u64) -> Option<(Held, Age)> {
        None
    }

    /// Stores an entry, if `admit` says so under the lock of its shard and it fits. Returns whether it is held now.
    ///
    /// If refused, an older entry of the key stays only when `admit` said no.
    pub(crate) fn put(&self, _key: &Key, _entry: Entry, _now: u64, _admit: impl FnOnce() -> bool) -> bool {
        false
    }

    /// Forgets a key.
    pub(crate) fn remove(&self, _key: &Key) {}

    /// Bytes accounted for.
    pub(crate) fn weight(&self) -> usize {
        0
    }

    /// Entries held.
    pub(crate) fn len(&self) -> usize {
        0
    }
}
