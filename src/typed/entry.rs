//! One entry of a typed cache.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Borrowed;
use crate::backends::Backend;
use crate::cache::{Computed, Entry, Explanation, Fetched, Previous, Revalidated, entry_options};
use crate::codec::Codec;
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::seal::Value;
use crate::sensitive::Storable;

/// A call under way of a [`TypedCache`](super::TypedCache): an [`Entry`] whose value type is known.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let shop = cachekit::CacheBuilder::new().namespace("shop").build()?;
/// let names = shop.typed::<u64, String>("names")?;
/// names.entry(&42).ttl(Duration::from_secs(60)).tags(["user:42"]).set("Ada".to_owned()).await?;
/// shop.invalidate_tag("user:42").await?;
/// assert_eq!(names.get(&42).await?, None);
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[must_use = "an entry does nothing until it is read, computed or set"]
pub struct TypedEntry<'a, Q: ?Sized, V, B: Backend, C: Codec> {
    entry: Entry<'a, B, C, Borrowed<'a, Q>>,
    value: PhantomData<fn() -> V>,
}

impl<'a, Q: IntoKey + ?Sized, V: Storable<C>, B: Backend, C: Codec> TypedEntry<'a, Q, V, B, C> {
    pub(super) fn new(entry: Entry<'a, B, C, Borrowed<'a, Q>>) -> Self {
        Self { entry, value: PhantomData }
    }

    entry_options!(entry);

    /// As [`Entry::get`].
    ///
    /// # Errors
    /// As [`Cache::get`](crate::Cache::get).
    pub async fn get(self) -> Result<Option<V>, Error>
    where
        V: Storable<C, Form: Clone>,
    {
        self.entry.get().await
    }

    /// As [`Entry::get_arc`].
    ///
    /// # Errors
    /// As [`Cache::get`](crate::Cache::get).
    pub async fn get_arc(self) -> Result<Option<Arc<V>>, Error>
    where
        V: Value,
    {
        self.entry.get_arc().await
    }

    /// As [`Entry::explain`].
    ///
    /// # Errors
    /// As [`Entry::explain`].
    pub async fn explain(self) -> Result<Explanation, Error> {
        self.entry.explain().await
    }

    /// As [`Entry::set`].
    ///
    /// # Errors
    /// As [`Cache::set`](crate::Cache::set).
    pub async fn set(self, value: V) -> Result<(), Error> {
        self.entry.set(value).await
    }

    /// As [`Entry::get_or_compute`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    pub fn get_or_compute<E, F, Fut>(self, compute: F) -> impl Future<Output = Result<V, ComputeError<E>>>
    where
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.entry.get_or_compute(compute)
    }

    /// As [`Entry::fetch`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    pub fn fetch<E, F, Fut>(self, compute: F) -> impl Future<Output = Result<Fetched<V>, ComputeError<E>>>
    where
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.entry.fetch(compute)
    }

    /// As [`Entry::fetch_or_decide`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    pub fn fetch_or_decide<E, F, Fut>(
        self,
        compute: F,
    ) -> impl Future<Output = Result<Fetched<Arc<V>>, ComputeError<E>>>
    where
        V: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<V>, E>> + Send + 'static,
    {
        self.entry.fetch_or_decide(compute)
    }

    /// As [`Entry::fetch_or_revalidate`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    pub fn fetch_or_revalidate<E, F, Fut>(
        self,
        compute: F,
    ) -> impl Future<Output = Result<Fetched<Arc<V>>, ComputeError<E>>>
    where
        V: Value,
        E: Send + Sync + 'static,
        F: FnOnce(Option<Previous<V>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Revalidated<V>, E>> + Send + 'static,
    {
        self.entry.fetch_or_revalidate(compute)
    }

    /// As [`Entry::refresh`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    pub fn refresh<E, F, Fut>(self, compute: F) -> impl Future<Output = Result<V, ComputeError<E>>>
    where
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.entry.refresh(compute)
    }

    /// As [`Entry::get_or_decide`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    pub fn get_or_decide<E, F, Fut>(self, compute: F) -> impl Future<Output = Result<Arc<V>, ComputeError<E>>>
    where
        V: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<V>, E>> + Send + 'static,
    {
        self.entry.get_or_decide(compute)
    }

    /// As [`Entry::get_or_revalidate`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    pub fn get_or_revalidate<E, F, Fut>(self, compute: F) -> impl Future<Output = Result<Arc<V>, ComputeError<E>>>
    where
        V: Value,
        E: Send + Sync + 'static,
        F: FnOnce(Option<Previous<V>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Revalidated<V>, E>> + Send + 'static,
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
