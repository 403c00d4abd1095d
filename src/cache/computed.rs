//! A computed value, with what its computation decided.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::frame;

/// A computed value and what its computation decided about keeping it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::Computed;
/// async fn page(busy: bool) -> std::io::Result<Computed<String>> {
///     if busy {
///         return Ok(Computed::new("come back later".to_owned()).do_not_store());
///     }
///     Ok(Computed::new("<html>".to_owned()).ttl(Duration::from_secs(30)).tags(["pages", "home"]))
/// }
/// ```
#[derive(Clone)]
#[must_use = "a computed value does nothing until its computation returns it"]
pub struct Computed<T> {
    pub(super) value: T,
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<u64>,
    pub(super) store: bool,
}

/// Adds the fingerprints of names, each of them once.
pub(super) fn add_tags<'a>(known: &mut Vec<u64>, tags: impl IntoIterator<Item = &'a str>) {
    known.extend(tags.into_iter().map(frame::fingerprint));
    unite(known);
}

fn unite(tags: &mut Vec<u64>) {
    tags.sort_unstable();
    tags.dedup();
}

impl<T> Computed<T> {
    /// A value, kept as the call and the policy say.
    pub fn new(value: T) -> Self {
        Self { value, ttl: None, tags: Vec::new(), store: true }
    }

    /// Keeps it for `ttl`, whatever the call said. A TTL the cache cannot keep means that the value is returned, not
    /// stored.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Marks the entry with tags, by which [`Cache::invalidate_tag`](crate::Cache::invalidate_tag) forgets it. Up to
    /// 1,024, those of the call included: with more the value is returned, not stored.
    pub fn tags<'a>(mut self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        add_tags(&mut self.tags, tags);
        self
    }

    /// The same decision about what `change` makes of the value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Computed<U> {
        Computed { value: change(self.value), ttl: self.ttl, tags: self.tags, store: self.store }
    }

    /// The same decision about a value that is shared from here on.
    pub(super) fn shared(self) -> Computed<Arc<T>> {
        self.map(Arc::new)
    }

    /// Adds the tags of the call.
    pub(super) fn also(mut self, tags: Vec<u64>) -> Self {
        self.tags.extend(tags);
        unite(&mut self.tags);
        self
    }

    /// Gives the value to everyone who waits, and stores it nowhere.
    pub fn do_not_store(mut self) -> Self {
        self.store = false;
        self
    }
}

/// Kept as the call and the policy say.
impl<T> From<T> for Computed<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Without the value.
impl<T> fmt::Debug for Computed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed")
            .field("ttl", &self.ttl)
            .field("tags", &self.tags.len())
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
