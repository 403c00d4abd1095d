//! What the computation of a batch gives.

use std::fmt;

use crate::cache::Computed;

/// What a computation has loaded for some keys: for each a value, or an error; a key that is not named has no value.
///
/// Collected from pairs of key and value, or of key and [`Computed`], which says more about how the value is kept. Keys
/// that were not asked for are left out. `V` has its usual meaning, so a cache of `Option<User>` can keep that there is no
/// user: see [`otherwise`](Loaded::otherwise).
///
/// # Examples
/// ```
/// use cachekit::{Computed, Loaded};
/// let rows = [(1u64, "Ada"), (2, "Grace")];
/// let users: Loaded<u64, String, std::io::Error> = rows.into_iter().map(|(id, name)| (id, name.to_owned())).collect();
/// let tagged = rows.into_iter().map(|(id, name)| (id, Computed::new(name.to_owned()).tags(["users"])));
/// let users: Loaded<u64, String, std::io::Error> = tagged.collect();
/// ```
#[must_use = "what was loaded does nothing until the computation returns it"]
pub struct Loaded<K, V, E> {
    pub(super) found: Vec<(K, Result<Computed<V>, E>)>,
    pub(super) otherwise: Option<Computed<V>>,
}

impl<K, V, E> Loaded<K, V, E> {
    /// Nothing, for no key.
    pub fn new() -> Self {
        Self { found: Vec::new(), otherwise: None }
    }

    /// A value for one more key. Of two for one key the last counts.
    pub fn insert(&mut self, key: K, value: impl Into<Computed<V>>) {
        self.found.push((key, Ok(value.into())));
    }

    /// The computation of this key has failed: all who asked for it get this error, and others do not.
    pub fn insert_error(&mut self, key: K, error: E) {
        self.found.push((key, Err(error)));
    }

    /// The value of every key that is not named.
    ///
    /// # Examples
    /// ```
    /// # use cachekit::Loaded;
    /// let rows = [(1u64, Some("Ada".to_owned()))];
    /// // That there is no user 2 is kept, too, for the setting `negative_ttl`.
    /// let users: Loaded<u64, Option<String>, std::io::Error> = rows.into_iter().collect::<Loaded<_, _, _>>().otherwise(None);
    /// ```
    pub fn otherwise(mut self, value: impl Into<Computed<V>>) -> Self {
        self.otherwise = Some(value.into());
        self
    }
}

impl<K, V, E> Default for Loaded<K, V, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V, E, A: Into<Computed<V>>> FromIterator<(K, A)> for Loaded<K, V, E> {
    fn from_iter<I: IntoIterator<Item = (K, A)>>(pairs: I) -> Self {
        let found = pairs.into_iter().map(|(key, value)| (key, Ok(value.into()))).collect();
        Self { found, otherwise: None }
    }
}

impl<K, V, E, A: Into<Computed<V>>> Extend<(K, A)> for Loaded<K, V, E> {
    fn extend<I: IntoIterator<Item = (K, A)>>(&mut self, pairs: I) {
        pairs.into_iter().for_each(|(key, value)| self.insert(key, value));
    }
}

/// Without keys and values.
impl<K, V, E> fmt::Debug for Loaded<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("keys", &self.found.len()).finish_non_exhaustive()
    }
}
