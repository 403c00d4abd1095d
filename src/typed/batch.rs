//! Many keys of a typed cache by one call.

use std::sync::Arc;

use super::TypedCache;
use crate::backends::Backend;
use crate::cache::{Computed, Loaded};
use crate::codec::Codec;
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::sensitive::Storable;

impl<K, V, B, C> TypedCache<K, V, B, C>
where
    K: IntoKey + 'static,
    V: Storable<C>,
    B: Backend,
    C: Codec,
{
    /// Like [`Cache::get_many`](crate::Cache::get_many).
    ///
    /// # Errors
    /// As [`Cache::get_many`](crate::Cache::get_many).
    pub async fn get_many(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<V>>, Error>
    where
        V: Storable<C, Form: Clone>,
    {
        let found = self.cache.get_many(keys);
        found.await
    }

    /// Like [`Cache::set_many`](crate::Cache::set_many).
    ///
    /// # Errors
    /// As [`Cache::set_many`](crate::Cache::set_many).
    pub async fn set_many(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<(), Error> {
        let set = self.cache.set_many(items);
        set.await
    }

    /// Like [`Cache::set_many_with`](crate::Cache::set_many_with).
    ///
    /// # Errors
    /// As [`Cache::set_many`](crate::Cache::set_many).
    pub async fn set_many_with(&self, items: impl IntoIterator<Item = (K, Computed<V>)>) -> Result<(), Error> {
        let set = self.cache.set_many_with(items);
        set.await
    }

    /// Like [`Cache::get_or_compute_many`](crate::Cache::get_or_compute_many).
    ///
    /// # Errors
    /// For each key as of [`Cache::get_or_compute`](crate::Cache::get_or_compute).
    ///
    /// # Examples
    /// ```
    /// use cachekit::Loaded;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let shop = cachekit::CacheBuilder::new().namespace("shop").build()?;
    /// let names = shop.typed::<u64, String>("names")?;
    /// let found = names.get_or_compute_many([1, 2], |missing| async move {
    ///     let rows = missing.into_iter().map(|id| (id, format!("user {id}")));
    ///     Ok::<Loaded<u64, String, std::io::Error>, _>(rows.collect())
    /// });
    /// assert_eq!(found.await[1].as_ref().unwrap().as_deref(), Some("user 2"));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn get_or_compute_many<E, F, Fut>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: F,
    ) -> Vec<Result<Option<V>, ComputeError<E>>>
    where
        K: Clone,
        V: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Loaded<K, V, E>, E>> + Send + 'static,
    {
        let found = self.cache.get_or_compute_many(keys, compute);
        found.await
    }

    /// The value of a form that callers share.
    pub(super) fn value_of(form: Arc<V::Form>) -> V
    where
        V: Storable<C, Form: Clone>,
    {
        V::from_form(Arc::unwrap_or_clone(form))
    }
}
