//! Typed blocking caches: a domain with its key type and its value type.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use crate::backends::{AnyBackend, Backend};
use crate::cache::{Computed, DomainSettings, Fetched, Loaded};
#[cfg(feature = "encryption")]
use crate::codec::Encrypted;
use crate::codec::{Codec, Standard};
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::seal::Value;
use crate::sensitive::Storable;
use crate::typed::Borrowed;

mod entry;

pub use self::entry::TypedEntry;

/// A [`cachekit::TypedCache`](crate::TypedCache) whose calls wait.
///
/// Made by [`Cache::typed`]; cheap to clone.
pub struct TypedCache<K, V, B: Backend = AnyBackend, C: Codec = Standard> {
    cache: Cache<B, C>,
    types: PhantomData<fn(K) -> V>,
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Like [`Cache::typed`](crate::Cache::typed).
    ///
    /// # Errors
    /// As there.
    pub fn typed<K: IntoKey + 'static, V: Storable<C>>(&self, name: &str) -> Result<TypedCache<K, V, B, C>, Error> {
        self.typed_with(name, DomainSettings::new())
    }

    /// Like [`Cache::typed_with`](crate::Cache::typed_with).
    ///
    /// # Errors
    /// As there.
    pub fn typed_with<K: IntoKey + 'static, V: Storable<C>>(
        &self,
        name: &str,
        settings: DomainSettings,
    ) -> Result<TypedCache<K, V, B, C>, Error> {
        let typed = self.0.typed_with::<K, V>(name, settings)?;
        Ok(TypedCache { cache: Cache(typed.cache().clone()), types: PhantomData })
    }
}

impl<K, V, B, C> TypedCache<K, V, B, C>
where
    K: IntoKey + 'static,
    V: Storable<C>,
    B: Backend,
    C: Codec,
{
    /// The domain without its types, for what concerns no key: `stats`, `invalidate_tag`, `health`, `close`.
    pub fn cache(&self) -> &Cache<B, C> {
        &self.cache
    }

    /// The entry of `key`, for a call with options of its own.
    pub fn entry<'a, Q: IntoKey + ?Sized>(&'a self, key: &'a Q) -> TypedEntry<'a, Q, V, B, C>
    where
        K: Borrow<Q>,
    {
        TypedEntry { entry: self.cache.entry(Borrowed(key)), value: PhantomData }
    }

    /// Like [`Cache::get`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn get<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
    {
        self.cache.get(Borrowed(key))
    }

    /// Like [`Cache::get_arc`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn get_arc<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<Option<Arc<V>>, Error>
    where
        K: Borrow<Q>,
        V: Value,
    {
        self.cache.get_arc(Borrowed(key))
    }

    /// Like [`Cache::get_or_compute`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_compute<Q, E>(&self, key: &Q, compute: impl FnOnce() -> Result<V, E>) -> Result<V, ComputeError<E>>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
    {
        self.entry(key).get_or_compute(compute)
    }

    /// Like [`Cache::get_or_compute_arc`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_compute_arc<Q, E>(
        &self,
        key: &Q,
        compute: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, ComputeError<E>>
    where
        K: Borrow<Q>,
        V: Value,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
    {
        self.cache.get_or_compute_arc(Borrowed(key), compute)
    }

    /// Like [`Cache::fetch`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn fetch<Q, E>(&self, key: &Q, compute: impl FnOnce() -> Result<V, E>) -> Result<Fetched<V>, ComputeError<E>>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
    {
        self.entry(key).fetch(compute)
    }

    /// Like [`Cache::remaining`].
    ///
    /// # Errors
    /// As [`Cache::remaining`].
    pub fn remaining<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<Option<Duration>, Error>
    where
        K: Borrow<Q>,
    {
        self.cache.remaining(Borrowed(key))
    }

    /// Like [`Cache::refresh`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn refresh<Q, E>(&self, key: &Q, compute: impl FnOnce() -> Result<V, E>) -> Result<V, ComputeError<E>>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
    {
        self.entry(key).refresh(compute)
    }

    /// Like [`Cache::set`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn set<Q: IntoKey + ?Sized>(&self, key: &Q, value: V) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.cache.set(Borrowed(key), value)
    }

    /// Like [`Cache::exists`].
    ///
    /// # Errors
    /// As [`Cache::exists`].
    pub fn exists<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
    {
        self.cache.exists(Borrowed(key))
    }

    /// Like [`Cache::invalidate`].
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub fn invalidate<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.cache.invalidate(Borrowed(key))
    }

    /// Like [`Cache::invalidate_many`].
    ///
    /// # Errors
    /// As [`Cache::invalidate_many`].
    pub fn invalidate_many<'k, Q: IntoKey + ?Sized + 'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
    ) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.cache.invalidate_many(keys.into_iter().map(Borrowed))
    }

    /// Like [`Cache::expire`].
    ///
    /// # Errors
    /// As [`Cache::expire`].
    pub fn expire<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.cache.expire(Borrowed(key))
    }

    /// Forgets every entry of this domain, as [`Cache::invalidate_namespace`] of its handle does.
    ///
    /// # Errors
    /// As [`Cache::invalidate_namespace`].
    pub fn invalidate_all(&self) -> Result<(), Error> {
        self.cache.invalidate_namespace()
    }

    /// Like [`Cache::get_many`].
    ///
    /// # Errors
    /// As [`Cache::get_many`].
    pub fn get_many(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<V>>, Error>
    where
        V: Storable<C, Form: Clone>,
    {
        self.cache.get_many(keys)
    }

    /// Like [`Cache::set_many`].
    ///
    /// # Errors
    /// As [`Cache::set_many`].
    pub fn set_many(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<(), Error> {
        self.cache.set_many(items)
    }

    /// Like [`Cache::set_many_with`].
    ///
    /// # Errors
    /// As [`Cache::set_many`].
    pub fn set_many_with(&self, items: impl IntoIterator<Item = (K, Computed<V>)>) -> Result<(), Error> {
        self.cache.set_many_with(items)
    }

    /// Like [`Cache::get_or_compute_many`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute_many`].
    pub fn get_or_compute_many<E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: impl FnMut(Vec<K>) -> Result<Loaded<K, V, E>, E>,
    ) -> Vec<Result<Option<V>, ComputeError<E>>>
    where
        K: Clone,
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        self.cache.get_or_compute_many(keys, compute)
    }
}

#[cfg(feature = "encryption")]
impl<K: IntoKey + 'static, V: Storable<Encrypted<C>>, B: Backend, C: Codec> TypedCache<K, V, B, Encrypted<C>> {
    /// The part of this domain that belongs to the tenant `id`, as of [`Cache::tenant`].
    ///
    /// # Errors
    /// As [`Cache::tenant`].
    pub fn tenant(&self, id: &str) -> Result<Self, Error> {
        Ok(Self { cache: self.cache.tenant(id)?, types: PhantomData })
    }
}

impl<K, V, B: Backend, C: Codec> Clone for TypedCache<K, V, B, C> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), types: PhantomData }
    }
}

impl<K, V, B: Backend, C: Codec> fmt::Debug for TypedCache<K, V, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedCache").field("cache", &self.cache).finish_non_exhaustive()
    }
}
