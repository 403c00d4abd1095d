//! Loaders of caches whose calls wait.
//!
//! What is loaded may be gathered from several calls, or renewed behind a call that was answered. So no caller's thread
//! is the one that loads, and a thread that may block does.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::TypedCache;
use super::runtime::{may_block, wait};
use crate::backends::{AnyBackend, Backend};
use crate::cache::{Computed, Fetched, Loaded};
use crate::codec::{Codec, Standard};
use crate::error::{ComputeError, Error};
use crate::event::Span;
use crate::flight::Context;
use crate::key::{FromKey, IntoKey};
use crate::sensitive::Storable;
use crate::typed;

/// How the values of a domain come about: [`cachekit::Loader`](crate::Loader) as plain functions.
///
/// They run on a thread of a pool, not on that of a caller: so many at once as there are loads under way, up to 512. So a
/// loader owns what it needs, and thread-locals of callers are not there. It may block, and call blocking caches. It runs
/// in the `tracing` span of the call that started the load.
///
/// # Examples
/// ```
/// use cachekit::blocking::Loader;
/// use cachekit::{CacheBuilder, Loaded};
///
/// /// Users of a database, which answers one query for many of them.
/// struct Users;
///
/// impl Loader for Users {
///     type Key = u64;
///     type Value = Option<String>;
///     type Error = std::io::Error;
///
///     fn load(&self, id: &u64) -> Result<Option<String>, std::io::Error> {
///         Ok((*id < 100).then(|| format!("user {id}")))
///     }
///
///     fn load_many(&self, ids: &[u64]) -> Result<Loaded<u64, Option<String>, std::io::Error>, std::io::Error> {
///         let rows = ids.iter().filter(|id| **id < 100).map(|id| (*id, Some(format!("user {id}"))));
///         Ok(rows.collect::<Loaded<_, _, _>>().otherwise(None))
///     }
/// }
///
/// let shop = CacheBuilder::new().namespace("shop").build_blocking()?;
/// let users = shop.typed("users")?.with_loader(Users);
/// assert_eq!(users.get(&42)?.as_deref(), Some("user 42"));
/// let found = users.get_many([7, 100]).into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(found, [Some("user 7".to_owned()), None]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Loader: Send + Sync + 'static {
    /// What names a value.
    type Key: IntoKey + Clone + 'static;
    /// What is loaded.
    type Value: Send + 'static;
    /// Why it could not be.
    type Error: Send + Sync + 'static;

    /// Loads the value of one key.
    ///
    /// # Errors
    /// As the source of the values has them. The calls that wait are told.
    fn load(&self, key: &Self::Key) -> Result<Self::Value, Self::Error>;

    /// How a value is kept that [`load`](Loader::load) gave: for how long, with which tags, or not at all. Default: as the
    /// domain says. What a `load_many` of its own gives says so itself, by [`Computed`].
    ///
    /// # Examples
    /// ```
    /// # struct Prices;
    /// impl cachekit::blocking::Loader for Prices {
    /// #   type Key = String;
    /// #   type Value = f64;
    /// #   type Error = std::io::Error;
    ///     // ..
    /// #   fn load(&self, item: &String) -> std::io::Result<f64> { Ok(9.99) }
    ///     fn decide(&self, item: &String, price: f64) -> cachekit::Computed<f64> {
    ///         cachekit::Computed::new(price).tags([item.as_str(), "prices"])
    ///     }
    /// }
    /// ```
    fn decide(&self, key: &Self::Key, value: Self::Value) -> Computed<Self::Value> {
        let _ = key;
        Computed::new(value)
    }

    /// Loads the values of several keys, at least two. Default: each by [`load`](Loader::load), one after another.
    ///
    /// A key that the answer does not name is an error of the calls that asked for it, of kind
    /// [`ErrorKind::Absent`](crate::ErrorKind::Absent).
    ///
    /// # Errors
    /// Where nothing could be loaded. What could not be loaded of one key alone belongs in the answer, by
    /// [`Loaded::insert_error`].
    #[expect(clippy::type_complexity, reason = "what it gives is named for each type that makes it")]
    fn load_many(&self, keys: &[Self::Key]) -> Result<Loaded<Self::Key, Self::Value, Self::Error>, Self::Error> {
        let mut loaded = Loaded::new();
        for key in keys {
            match self.load(key) {
                Ok(value) => loaded.insert(key.clone(), self.decide(key, value)),
                Err(error) => loaded.insert_error(key.clone(), error),
            }
        }
        Ok(loaded)
    }
}

/// A [`TypedCache`] that loads what it lacks by itself: [`cachekit::LoadingCache`](crate::LoadingCache) for threads that
/// wait.
///
/// Made by [`TypedCache::with_loader`]; cheap to clone. A stale value is returned at once, and renewed in the background.
/// A loader that panics is [`ComputeError::Panicked`] to all who wait. At its deadline a load goes on, because a thread
/// cannot be stopped, and its result is dropped.
pub struct LoadingCache<L: Loader, B: Backend = AnyBackend, C: Codec = Standard>
where
    L::Value: Storable<C>,
{
    typed: TypedCache<L::Key, L::Value, B, C>,
    loading: typed::LoadingCache<Pooled<L>, B, C>,
}

impl<K, V, B, C> TypedCache<K, V, B, C>
where
    K: IntoKey + Clone + 'static,
    V: Storable<C>,
    B: Backend,
    C: Codec,
{
    /// Like [`TypedCache::with_loader`](crate::TypedCache::with_loader).
    pub fn with_loader<L: Loader<Key = K, Value = V>>(self, loader: L) -> LoadingCache<L, B, C> {
        let loading = typed::TypedCache::of(self.cache().0.clone()).with_loader(Pooled(Arc::new(loader)));
        LoadingCache { typed: self, loading }
    }
}

impl<L, B, C> LoadingCache<L, B, C>
where
    L: Loader<Value: Storable<C>>,
    B: Backend,
    C: Codec,
{
    /// Like [`LoadingCache::batch_window`](crate::LoadingCache::batch_window).
    pub fn batch_window(self, window: Duration) -> Self {
        Self { loading: self.loading.batch_window(window), ..self }
    }

    /// Like [`LoadingCache::max_batch`](crate::LoadingCache::max_batch).
    pub fn max_batch(self, keys: usize) -> Self {
        Self { loading: self.loading.max_batch(keys), ..self }
    }

    /// The cache without its loader.
    pub fn typed(&self) -> &TypedCache<L::Key, L::Value, B, C> {
        &self.typed
    }

    /// Like [`LoadingCache::get`](crate::LoadingCache::get).
    ///
    /// # Errors
    /// As there, and [`ComputeError::Cache`] inside a tokio runtime.
    pub fn get(&self, key: &L::Key) -> Result<L::Value, ComputeError<L::Error>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        wait(self.loading.get(key))?
    }

    /// Like [`LoadingCache::fetch`](crate::LoadingCache::fetch).
    ///
    /// # Errors
    /// As there, and [`ComputeError::Cache`] inside a tokio runtime.
    pub fn fetch(&self, key: &L::Key) -> Result<Fetched<L::Value>, ComputeError<L::Error>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        wait(self.loading.fetch(key))?
    }

    /// Like [`LoadingCache::refresh`](crate::LoadingCache::refresh).
    ///
    /// # Errors
    /// As there, and [`ComputeError::Cache`] inside a tokio runtime.
    pub fn refresh(&self, key: &L::Key) -> Result<L::Value, ComputeError<L::Error>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        wait(self.loading.refresh(key))?
    }

    /// Like [`LoadingCache::warm_up`](crate::LoadingCache::warm_up).
    ///
    /// # Errors
    /// Inside a tokio runtime.
    pub fn warm_up(&self) -> Result<usize, Error>
    where
        L::Key: FromKey,
        L::Value: Storable<C, Form: Clone>,
    {
        wait(self.loading.warm_up())
    }

    /// Like [`LoadingCache::get_many`](crate::LoadingCache::get_many).
    ///
    /// # Errors
    /// For each key as of [`get`](Self::get).
    pub fn get_many(&self, keys: impl IntoIterator<Item = L::Key>) -> Vec<Result<L::Value, ComputeError<L::Error>>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        let keys: Vec<L::Key> = keys.into_iter().collect();
        let asked = keys.len();
        let found = wait(self.loading.get_many(keys));
        found.unwrap_or_else(|error| vec![error; asked].into_iter().map(|error| Err(error.into())).collect())
    }
}

/// A loader on threads of its own.
struct Pooled<L>(Arc<L>);

impl<L: Loader> typed::Loader for Pooled<L> {
    type Key = L::Key;
    type Value = L::Value;
    type Error = L::Error;

    async fn load(&self, key: &L::Key) -> Result<L::Value, L::Error> {
        let (loader, key) = (Arc::clone(&self.0), key.clone());
        on_a_thread(move || loader.load(&key)).await
    }

    fn decide(&self, key: &L::Key, value: L::Value) -> Computed<L::Value> {
        self.0.decide(key, value)
    }

    async fn load_many(&self, keys: &[L::Key]) -> Result<Loaded<L::Key, L::Value, L::Error>, L::Error> {
        let (loader, keys) = (Arc::clone(&self.0), keys.to_vec());
        on_a_thread(move || loader.load_many(&keys)).await
    }
}

/// Runs `work` where it may block, as part of the computation at hand.
async fn on_a_thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (context, span) = (Context::current(), Span::current());
    let loaded = spawn_blocking(move || span.run(|| context.run(|| may_block(work)))).await;
    // It was not cancelled: its runtime stays for ever.
    loaded.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

impl<L, B, C> Clone for LoadingCache<L, B, C>
where
    L: Loader<Value: Storable<C>>,
    B: Backend,
    C: Codec,
{
    fn clone(&self) -> Self {
        Self { typed: self.typed.clone(), loading: self.loading.clone() }
    }
}

impl<L, B, C> fmt::Debug for LoadingCache<L, B, C>
where
    L: Loader<Value: Storable<C>>,
    B: Backend,
    C: Codec,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.loading.fmt(f)
    }
}
