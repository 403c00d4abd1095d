//! A computed value, with what its computation decided.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Grace;
use crate::frame::{self, Validator};
use crate::seal::Dates;
use crate::tiers::Options;

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
    pub(super) decided: Decided,
}

/// What a computation decided about keeping its value.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) ttl: Option<Duration>,
    pub(super) grace: Option<Grace>,
    pub(super) tags: Vec<u64>,
    pub(super) validator: Option<Validator>,
    pub(super) store: bool,
}

impl Default for Decided {
    /// Nothing: it is kept as the call and the policy say.
    fn default() -> Self {
        Self { ttl: None, grace: None, tags: Vec::new(), validator: None, store: true }
    }
}

impl Decided {
    /// The options of a call where nothing was decided.
    pub(super) fn over(&self, options: Options) -> Options {
        let stale_if_error = self.grace.or(options.stale_if_error);
        Options { ttl: self.ttl.or(options.ttl), stale_if_error, ..options }
    }

    /// The dates of an entry, planned by those options. A grace that was decided is that of all its readers.
    pub(super) fn of(&self, dates: Dates) -> Dates {
        Dates { own_grace: self.grace.is_some(), ..dates }
    }
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
        Self { value, decided: Decided::default() }
    }

    /// The value.
    #[cfg(feature = "testing")]
    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    /// Keeps it for `ttl`, whatever the call said. A TTL the cache cannot keep means that the value is returned, not
    /// stored.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.decided.ttl = Some(ttl);
        self
    }

    /// How long after its expiry the value may stand in for a failing computation, whatever the call and the policy say,
    /// here and in other processes. A call with [`Entry::stale_if_error`](crate::Entry::stale_if_error) says it for itself.
    pub fn stale_if_error(mut self, grace: impl Into<Grace>) -> Self {
        self.decided.grace = Some(grace.into());
        self
    }

    /// The value says that there is nothing: it lives for `ttl`, and does not stand in for a failing computation, unless
    /// [`stale_if_error`](Computed::stale_if_error) is named. For answers that only the computation can tell from others;
    /// the setting `negative_ttl` does it for every `None`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::Computed;
    /// fn page(found: Option<String>) -> Computed<String> {
    ///     match found {
    ///         Some(page) => Computed::new(page),
    ///         None => Computed::new("no such page".to_owned()).negative(Duration::from_secs(5)),
    ///     }
    /// }
    /// ```
    pub fn negative(mut self, ttl: Duration) -> Self {
        self.decided.ttl = Some(ttl);
        self.decided.grace.get_or_insert(Grace::For(Duration::ZERO));
        self
    }

    /// What the origin knows this version of the value by, such as an ETag: 1 to 64 bytes. It is kept with the entry, and
    /// the next computation of [`Entry::get_or_revalidate`](crate::Entry::get_or_revalidate) can ask the origin with it.
    /// One of another length is left out.
    pub fn validator(mut self, validator: impl AsRef<[u8]>) -> Self {
        self.decided.validator = frame::validator(validator.as_ref());
        self
    }

    /// Marks the entry with tags, by which [`Cache::invalidate_tag`](crate::Cache::invalidate_tag) forgets it. Up to
    /// 1,024, those of the call included: with more the value is returned, not stored.
    pub fn tags<'a>(mut self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        add_tags(&mut self.decided.tags, tags);
        self
    }

    /// The same decision about what `change` makes of the value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Computed<U> {
        Computed { value: change(self.value), decided: self.decided }
    }

    /// The same decision about a value that is shared from here on.
    pub(super) fn shared(self) -> Computed<Arc<T>> {
        self.map(Arc::new)
    }

    /// Adds the tags of the call.
    pub(super) fn also(mut self, tags: Vec<u64>) -> Self {
        self.decided.tags.extend(tags);
        unite(&mut self.decided.tags);
        self
    }

    /// Gives the value to everyone who waits, and stores it nowhere.
    pub fn do_not_store(mut self) -> Self {
        self.decided.store = false;
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
            .field("ttl", &self.decided.ttl)
            .field("tags", &self.decided.tags.len())
            .field("store", &self.decided.store)
            .finish_non_exhaustive()
    }
}
