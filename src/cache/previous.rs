//! What was there before: for computations that ask their origin whether it has changed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::computed::{Computed, Decided};
use crate::config::Grace;
use crate::flight::Fallback;

/// The value that an entry has had, handed to the computation that is to replace it.
///
/// Stale, expired and within its grace, or near its end; what was invalidated or cleared is not handed on. Taken by
/// the computation of [`Entry::get_or_revalidate`](crate::Entry::get_or_revalidate). `Debug` shows no value.
pub struct Previous<T> {
    value: Arc<T>,
    age: Duration,
    decided: Decided,
}

impl<T> Previous<T> {
    /// Of what a flight falls back on, at the tick `now`. The tags are those of the program.
    pub(super) fn new(fallback: &Fallback<T>, domain: &[u64], now: u64) -> Self {
        let Fallback { value, labels, times, .. } = fallback;
        let age = (now as i64).saturating_sub(times.made).max(0).unsigned_abs();
        let tags = labels.tags.iter().copied().filter(|tag| !domain.contains(tag)).collect();
        let decided = Decided { tags, validator: labels.validator.clone(), ..Decided::default() };
        Self { value: Arc::clone(value), age: Duration::from_millis(age), decided }
    }

    /// The value.
    pub fn value(&self) -> &Arc<T> {
        &self.value
    }

    /// How long ago it was computed, or was found not to be modified.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// What the origin knows the value by, if its computation said that: see
    /// [`Computed::validator`](crate::Computed::validator).
    pub fn validator(&self) -> Option<&[u8]> {
        self.decided.validator.as_deref()
    }

    /// The origin says that it is as it was: the entry gets the dates of a new one, and keeps its tags and its validator.
    pub fn not_modified(self) -> Revalidated<T> {
        Revalidated(Computed { value: self.value, decided: self.decided })
    }
}

/// Without the value.
impl<T> fmt::Debug for Previous<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Previous").field("age", &self.age).finish_non_exhaustive()
    }
}

/// What a computation answers that was given the previous value: that one, by [`Previous::not_modified`], or another one,
/// made of a value or of a [`Computed`].
#[must_use = "an answer does nothing until the computation returns it"]
pub struct Revalidated<T>(pub(super) Computed<Arc<T>>);

impl<T> Revalidated<T> {
    /// Like [`Computed::ttl`], for the value as it was.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// Like [`Computed::stale_if_error`], for the value as it was.
    pub fn stale_if_error(self, grace: impl Into<Grace>) -> Self {
        Self(self.0.stale_if_error(grace))
    }

    /// Adds tags, as [`Computed::tags`] does.
    pub fn tags<'a>(self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        Self(self.0.tags(tags))
    }

    /// Like [`Computed::validator`], for the value as it was.
    pub fn validator(self, validator: impl AsRef<[u8]>) -> Self {
        Self(self.0.validator(validator))
    }
}

impl<T> From<Computed<T>> for Revalidated<T> {
    fn from(computed: Computed<T>) -> Self {
        Self(computed.shared())
    }
}

impl<T> From<T> for Revalidated<T> {
    fn from(value: T) -> Self {
        Computed::new(value).into()
    }
}

/// Without the value.
impl<T> fmt::Debug for Revalidated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revalidated").field(&self.0).finish()
    }
}
