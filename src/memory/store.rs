//! An ordered map of entries, by hash.
//!
//! The policy needs nine operations and no more, so another store can be tried without touching it.

use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroUsize;

use lru::LruCache;

use super::node::Node;

/// Entries in the order they came, found by hash. The tail is the oldest.
pub(super) trait Store {
    /// An empty store that owns no table yet.
    fn empty() -> Self;
    /// The entry of a hash; the order stays.
    fn peek(&self, hash: u64) -> Option<&Node>;
    /// As [`peek`](Store::peek), to change it in place.
    fn peek_mut(&mut self, hash: u64) -> Option<&mut Node>;
    /// Adds an entry at the head. The hash must be absent.
    fn push(&mut self, hash: u64, node: Node);
    /// Takes an entry out.
    fn pop(&mut self, hash: u64) -> Option<Node>;
    /// Moves an entry to the head.
    fn promote(&mut self, hash: u64);
    /// The entries from the tail on.
    fn oldest(&self) -> impl Iterator<Item = (u64, &Node)>;
    /// How many entries there are.
    fn len(&self) -> usize;
    /// Gives memory back that a larger population needed.
    fn shrink(&mut self);
}

/// The store in use.
pub(super) type Listed = LruCache<u64, Node, BuildHasherDefault<Identity>>;

impl Store for Listed {
    fn empty() -> Self {
        // A bounded map would allocate a table for its bound at once, and count entries where bytes matter.
        Self::unbounded_with_hasher(BuildHasherDefault::default())
    }

    #[inline]
    fn peek(&self, hash: u64) -> Option<&Node> {
        LruCache::peek(self, &hash)
    }

    #[inline]
    fn peek_mut(&mut self, hash: u64) -> Option<&mut Node> {
        LruCache::peek_mut(self, &hash)
    }

    fn push(&mut self, hash: u64, node: Node) {
        debug_assert!(!self.contains(&hash));
        LruCache::put(self, hash, node);
    }

    fn pop(&mut self, hash: u64) -> Option<Node> {
        LruCache::pop(self, &hash)
    }

    fn promote(&mut self, hash: u64) {
        LruCache::promote(self, &hash);
    }

    fn oldest(&self) -> impl Iterator<Item = (u64, &Node)> {
        self.iter().rev().map(|(hash, node)| (*hash, node))
    }

    #[inline]
    fn len(&self) -> usize {
        LruCache::len(self)
    }

    fn shrink(&mut self) {
        // The map shrinks its table when its bound changes; both bounds are out of reach.
        const LESS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(usize::MAX - 2);
        let other = if self.cap() == LESS { NonZeroUsize::MAX } else { LESS };
        self.resize(other);
    }
}

/// A hasher for keys that are hashes already.
#[derive(Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
