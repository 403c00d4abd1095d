//! Many keys of a blocking cache by one call.

use super::runtime::wait;
use super::{Cache, ask};
use crate::backends::Backend;
use crate::cache::{Computed, Loaded};
use crate::codec::Codec;
use crate::error::{ComputeError, Error};
use crate::key::IntoKey;
use crate::sensitive::Storable;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Like [`Cache::get_many`](crate::Cache::get_many).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<T>>, Error>
    where
        T: Storable<C, Form: Clone>,
        K: IntoKey,
    {
        wait(self.0.get_many(keys))?
    }

    /// Like [`Cache::set_many`](crate::Cache::set_many).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn set_many<K: IntoKey + 'static, T: Storable<C>>(
        &self,
        items: impl IntoIterator<Item = (K, T)>,
    ) -> Result<(), Error> {
        wait(self.0.set_many(items))?
    }

    /// Like [`Cache::set_many_with`](crate::Cache::set_many_with).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn set_many_with<K: IntoKey + 'static, T: Storable<C>>(
        &self,
        items: impl IntoIterator<Item = (K, Computed<T>)>,
    ) -> Result<(), Error> {
        wait(self.0.set_many_with(items))?
    }

    /// Like [`Cache::get_or_compute_many`](crate::Cache::get_or_compute_many), but that `compute` runs on this thread, and
    /// may borrow. Where it is called several times, that is one after another.
    ///
    /// # Errors
    /// For each key as there, and [`ComputeError::Cache`] inside a tokio runtime.
    ///
    /// # Panics
    /// If `compute` does.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Loaded};
    /// let users = CacheBuilder::new().namespace("users").build_blocking()?;
    /// users.set(2u64, "Grace".to_owned())?;
    /// let mut queries = 0;
    /// let found = users.get_or_compute_many([1u64, 2, 3], |missing| {
    ///     queries += 1;
    ///     Ok::<Loaded<u64, String, std::io::Error>, _>(missing.into_iter().map(|id| (id, format!("user {id}"))).collect())
    /// });
    /// let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(found, ["user 1", "Grace", "user 3"].map(|name| Some(name.to_owned())));
    /// assert_eq!(queries, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_or_compute_many<K, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        compute: impl FnMut(Vec<K>) -> Result<Loaded<K, T, E>, E>,
    ) -> Vec<Result<Option<T>, ComputeError<E>>>
    where
        K: IntoKey + Clone + 'static,
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        let asked = keys.len();
        let (asker, thread) = ask::pair::<Vec<K>, Result<Loaded<K, T, E>, E>>();
        let found = self.0.get_or_compute_many(keys, move |missing| {
            let asker = asker.clone();
            // Of a call that was answered nothing is computed: what waits for its keys computes for itself.
            async move { asker.ask(missing).await.unwrap_or_else(|| Ok(Loaded::new())) }
        });
        let found = thread.serve(async { Ok(found.await) }, compute);
        found.unwrap_or_else(|error| vec![error; asked].into_iter().map(Err).collect())
    }
}
