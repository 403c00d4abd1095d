//! Something of serde's, watched while it writes.

use serde::{Serialize, Serializer};

use super::Format;
use super::place::At;

/// A serializer or a value at a place.
pub(super) struct Watched<'a, X, F> {
    pub(super) inner: X,
    pub(super) at: At<'a, F>,
}

impl<'a, X, F: Format> Watched<'a, X, F> {
    #[inline]
    pub(super) fn new(inner: X, at: At<'a, F>) -> Self {
        Self { inner, at }
    }
}

impl<T: Serialize + ?Sized, F: Format> Serialize for Watched<'_, &T, F> {
    #[inline]
    fn serialize<S: Serializer>(&self, format: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(Watched { inner: format, at: self.at })
    }
}
