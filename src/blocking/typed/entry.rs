//! One entry of a typed blocking cache.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::backends::Backend;
use crate::blocking::Entry;
#[cfg(doc)]
use crate::blocking::{Cache, TypedCache};
use crate::cache::{Computed, Explanation, Fetched, Previous, Revalidated, entry_options};
use crate::codec::Codec;
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::seal::Value;
use crate::sensitive::Storable;
use crate::typed::Borrowed;

/// An [`Entry`] of a [`TypedCache`].
#[must_use = "an entry does nothing until it is read, computed or set"]
pub struct TypedEntry<'a, Q: ?Sized, V, B: Backend, C: Codec> {
    pub(super) entry: Entry<'a, B, C, Borrowed<'a, Q>>,
    pub(super) value: PhantomData<fn() -> V>,
}

impl<Q: IntoKey + ?Sized, V: Storable<C>, B: Backend, C: Codec> TypedEntry<'_, Q, V, B, C> {
    entry_options!(entry);

    /// As [`Entry::get`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn get(self) -> Result<Option<V>, Error>
    where
        V: Storable<C, Form: Clone>,
    {
        self.entry.get()
    }

    /// As [`Entry::get_arc`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn get_arc(self) -> Result<Option<Arc<V>>, Error>
    where
        V: Value,
    {
        self.entry.get_arc()
    }

    /// As [`Entry::explain`].
    ///
    /// # Errors
    /// As [`Entry::explain`].
    pub fn explain(self) -> Result<Explanation, Error> {
        self.entry.explain()
    }

    /// As [`Entry::set`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn set(self, value: V) -> Result<(), Error> {
        self.entry.set(value)
    }

    /// As [`Entry::get_or_compute`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_compute<E>(self, compute: impl FnOnce() -> Result<V, E>) -> Result<V, ComputeError<E>>
    where
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        self.entry.get_or_compute(compute)
    }

    /// As [`Entry::fetch`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn fetch<E>(self, compute: impl FnOnce() -> Result<V, E>) -> Result<Fetched<V>, ComputeError<E>>
    where
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        self.entry.fetch(compute)
    }

    /// As [`Entry::fetch_or_decide`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn fetch_or_decide<E>(
        self,
        compute: impl FnOnce() -> Result<Computed<V>, E>,
    ) -> Result<Fetched<Arc<V>>, ComputeError<E>>
    where
        V: Value,
        E: Send + Sync + 'static,
    {
        self.entry.fetch_or_decide(compute)
    }

    /// As [`Entry::fetch_or_revalidate`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn fetch_or_revalidate<E>(
        self,
        compute: impl FnOnce(Option<Previous<V>>) -> Result<Revalidated<V>, E>,
    ) -> Result<Fetched<Arc<V>>, ComputeError<E>>
    where
        V: Value,
        E: Send + Sync + 'static,
    {
        self.entry.fetch_or_revalidate(compute)
    }

    /// As [`Entry::refresh`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn refresh<E>(self, compute: impl FnOnce() -> Result<V, E>) -> Result<V, ComputeError<E>>
    where
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        self.entry.refresh(compute)
    }

    /// As [`Entry::get_or_decide`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_decide<E>(self, compute: impl FnOnce() -> Result<Computed<V>, E>) -> Result<Arc<V>, ComputeError<E>>
    where
        V: Value,
        E: Send + Sync + 'static,
    {
        self.entry.get_or_decide(compute)
    }

    /// As [`Entry::get_or_revalidate`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_revalidate<E>(
        self,
        compute: impl FnOnce(Option<Previous<V>>) -> Result<Revalidated<V>, E>,
    ) -> Result<Arc<V>, ComputeError<E>>
    where
        V: Value,
        E: Send + Sync + 'static,
    {
        self.entry.get_or_revalidate(compute)
    }
}

/// Without the key, which often carries personal data.
impl<Q: ?Sized, V, B: Backend, C: Codec> fmt::Debug for TypedEntry<'_, Q, V, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}
