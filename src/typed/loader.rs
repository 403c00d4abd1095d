//! Loaders: the computation of a domain, named once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Borrowed, TypedCache};
use crate::backends::{AnyBackend, Backend, join};
use crate::cache::{Computed, Fetched, Gathered, Loaded, Rules, WARM_BATCH};
use crate::codec::{Codec, Standard};
use crate::error::{ComputeError, Error, ErrorKind};
use crate::key::{FromKey, IntoKey};
use crate::sensitive::Storable;

/// How the values of a domain come about, such as from a database.
///
/// Implementers write plain `async fn`; the futures must be `Send`. A key that may have no value has a value type that says
/// so, such as `Option<User>`: then it is kept, too, that there is none, for as long as the setting `negative_ttl` says.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, Loaded, Loader};
///
/// /// Users of a database, which answers one query for many of them.
/// struct Users;
///
/// impl Loader for Users {
///     type Key = u64;
///     type Value = Option<String>;
///     type Error = std::io::Error;
///
///     async fn load(&self, id: &u64) -> Result<Option<String>, std::io::Error> {
///         Ok((*id < 100).then(|| format!("user {id}")))
///     }
///
///     async fn load_many(&self, ids: &[u64]) -> Result<Loaded<u64, Option<String>, std::io::Error>, std::io::Error> {
///         let rows = ids.iter().filter(|id| **id < 100).map(|id| (*id, Some(format!("user {id}"))));
///         Ok(rows.collect::<Loaded<_, _, _>>().otherwise(None))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let shop = CacheBuilder::new().namespace("shop").build()?;
/// let users = shop.typed("users")?.with_loader(Users);
/// assert_eq!(users.get(&42).await?.as_deref(), Some("user 42"));
/// assert_eq!(users.get(&100).await?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait Loader: Send + Sync + 'static {
    /// What names a value.
    type Key: IntoKey + Clone + 'static;
    /// What is loaded.
    type Value: Send + 'static;
    /// Why it could not be.
    type Error: Send + Sync + 'static;

    /// Loads the value of one key.
    fn load(&self, key: &Self::Key) -> impl Future<Output = Result<Self::Value, Self::Error>> + Send;

    /// How a value is kept that [`load`](Loader::load) gave: for how long, with which tags, or not at all. Default: as the
    /// domain says. What a `load_many` of its own gives says so itself, by [`Computed`].
    ///
    /// # Examples
    /// ```
    /// # struct Prices;
    /// impl cachekit::Loader for Prices {
    /// #   type Key = String;
    /// #   type Value = f64;
    /// #   type Error = std::io::Error;
    ///     // ..
    /// #   async fn load(&self, item: &String) -> std::io::Result<f64> { Ok(9.99) }
    ///     fn decide(&self, item: &String, price: f64) -> cachekit::Computed<f64> {
    ///         cachekit::Computed::new(price).tags([item.as_str(), "prices"])
    ///     }
    /// }
    /// ```
    fn decide(&self, key: &Self::Key, value: Self::Value) -> Computed<Self::Value> {
        let _ = key;
        Computed::new(value)
    }

    /// Loads the values of several keys, at least two. Default: each by [`load`](Loader::load), all at once.
    ///
    /// A key that the answer does not name is an error of the calls that asked for it, of kind
    /// [`ErrorKind::Absent`].
    #[expect(clippy::type_complexity, reason = "what it gives is named for each type that makes it")]
    fn load_many(
        &self,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Loaded<Self::Key, Self::Value, Self::Error>, Self::Error>> + Send {
        async {
            let values = join::all(keys.iter().map(|key| self.load(key))).await;
            let mut loaded = Loaded::new();
            for (key, value) in keys.iter().zip(values) {
                match value {
                    Ok(value) => loaded.insert(key.clone(), self.decide(key, value)),
                    Err(error) => loaded.insert_error(key.clone(), error),
                }
            }
            Ok(loaded)
        }
    }
}

/// A [`TypedCache`] that loads what it lacks by itself.
///
/// Made by [`TypedCache::with_loader`]; cheap to clone. The promises are those of
/// [`get_or_compute`](crate::Cache::get_or_compute).
pub struct LoadingCache<L: Loader, B: Backend = AnyBackend, C: Codec = Standard>
where
    L::Value: Storable<C>,
{
    typed: TypedCache<L::Key, L::Value, B, C>,
    loader: Arc<L>,
    window: Duration,
    most: usize,
    gathered: Gathered<L::Key, <L::Value as Storable<C>>::Form, L::Error>,
}

impl<K, V, B, C> TypedCache<K, V, B, C>
where
    K: IntoKey + Clone + 'static,
    V: Storable<C>,
    B: Backend,
    C: Codec,
{
    /// This cache with a loader, so that calls need no computation.
    pub fn with_loader<L: Loader<Key = K, Value = V>>(self, loader: L) -> LoadingCache<L, B, C> {
        LoadingCache::new(self, Arc::new(loader), Duration::ZERO, DEFAULT_MOST)
    }
}

impl<L, B, C> LoadingCache<L, B, C>
where
    L: Loader<Value: Storable<C>>,
    B: Backend,
    C: Codec,
{
    fn new(typed: TypedCache<L::Key, L::Value, B, C>, loader: Arc<L>, window: Duration, most: usize) -> Self {
        let rules = Rules { window, most: if window.is_zero() { 1 } else { most } };
        let gathered = {
            let loader = Arc::clone(&loader);
            typed.cache.gather::<_, L::Value, _, _, _>(move |keys| load(Arc::clone(&loader), keys), rules)
        };
        Self { typed, loader, window, most, gathered }
    }

    /// Gathers what [`get`](Self::get) has to load: the first key waits this long for others, which are then loaded by one
    /// [`load_many`](Loader::load_many). Zero, the default, loads each at once.
    ///
    /// A load is late by up to the window, so it is worth it where many calls come at once and a query costs more. It waits
    /// on the clock of the cache: one that is moved by hand has to be moved on.
    pub fn batch_window(self, window: Duration) -> Self {
        Self::new(self.typed, self.loader, window, self.most)
    }

    /// The most keys that are gathered, 1 to 1,024: as soon as so many have come they are loaded. Default 100.
    pub fn max_batch(self, keys: usize) -> Self {
        Self::new(self.typed, self.loader, self.window, keys)
    }

    /// The cache without its loader.
    pub fn typed(&self) -> &TypedCache<L::Key, L::Value, B, C> {
        &self.typed
    }

    /// The value of `key`: from L1, else from the backend, else by the loader.
    ///
    /// # Errors
    /// As of [`get_or_compute`](crate::Cache::get_or_compute), and [`ComputeError::Cache`] of kind
    /// [`ErrorKind::Absent`] if [`load_many`](Loader::load_many) gave nothing for the key.
    pub async fn get(&self, key: &L::Key) -> Result<L::Value, ComputeError<L::Error>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        let form = self.typed.cache.load_one::<L::Key, L::Value, L::Error>(key, &self.gathered).await?;
        form.map(TypedCache::<L::Key, L::Value, B, C>::value_of).ok_or_else(|| absent().into())
    }

    /// Like [`get`](Self::get), and says whence the value came, how old it is and how long it lives.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    pub async fn fetch(&self, key: &L::Key) -> Result<Fetched<L::Value>, ComputeError<L::Error>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        let fetched = self.typed.cache.fetch_one::<L::Key, L::Value, L::Error>(key, &self.gathered).await?;
        Ok(fetched.ok_or_else(absent)?.map(TypedCache::<L::Key, L::Value, B, C>::value_of))
    }

    /// Loads the value of `key` anew and stores it, as [`Cache::refresh`](crate::Cache::refresh) does.
    ///
    /// # Errors
    /// As of [`get_or_compute`](crate::Cache::get_or_compute).
    pub async fn refresh(&self, key: &L::Key) -> Result<L::Value, ComputeError<L::Error>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        let (loader, own) = (Arc::clone(&self.loader), key.clone());
        let load = move || async move { Ok(loader.decide(&own, loader.load(&own).await?)) };
        self.typed.cache.entry(Borrowed(key)).refresh_by(load).await
    }

    /// Loads the entries of this domain that were hot when processes last saved their names, and that the backend has no
    /// more; how many could be loaded. Waits first until what the backend has is in L1, as
    /// [`Cache::warm_up`](crate::Cache::warm_up) does. For programs that call it before they serve, with the setting
    /// `warm_keys`; without it nothing is loaded.
    ///
    /// At most 240 keys are loaded at a time, until `warm_deadline` is over: then it returns, and a load under way goes on.
    /// Until it returns, [`Health::is_warm`](crate::Health::is_warm) says no, but never beyond that deadline. A key whose
    /// load fails is left cold. Where names are hidden, keys cannot be told from what was saved, and none is loaded.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # struct Users;
    /// # impl cachekit::Loader for Users {
    /// #     type Key = u64;
    /// #     type Value = String;
    /// #     type Error = std::io::Error;
    /// #     async fn load(&self, id: &u64) -> std::io::Result<String> { Ok(format!("user {id}")) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let redis = cachekit::backends::Memory::new(1 << 20);
    /// let start = || cachekit::CacheBuilder::new().backend(redis.clone()).warm_keys(1_000).build();
    /// let yesterday = start()?;
    /// let users = yesterday.typed("users")?.with_loader(Users);
    /// users.get(&42).await?;
    /// yesterday.close(Duration::from_secs(5)).await?;
    /// yesterday.clear().await?;
    ///
    /// let users = start()?.typed("users")?.with_loader(Users);
    /// assert_eq!(users.warm_up().await, 1);
    /// assert_eq!(users.typed().get(&42).await?.as_deref(), Some("user 42"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn warm_up(&self) -> usize
    where
        L::Key: FromKey,
        L::Value: Storable<C, Form: Clone>,
    {
        let (keys, _loading) = self.typed.cache.gone::<L::Key>().await;
        let mut loaded = 0;
        let load = async {
            for few in keys.chunks(WARM_BATCH) {
                loaded += self.get_many(few.iter().cloned()).await.iter().filter(|value| value.is_ok()).count();
            }
        };
        self.typed.cache.before_warm_deadline(load).await;
        loaded
    }

    /// The values of `keys`, in their order. What has to be loaded is loaded by one
    /// [`load_many`](Loader::load_many), as by [`Cache::get_or_compute_many`](crate::Cache::get_or_compute_many).
    ///
    /// # Errors
    /// For each key as of [`get`](Self::get).
    pub async fn get_many(
        &self,
        keys: impl IntoIterator<Item = L::Key>,
    ) -> Vec<Result<L::Value, ComputeError<L::Error>>>
    where
        L::Value: Storable<C, Form: Clone>,
    {
        let loader = Arc::clone(&self.loader);
        let found = self.typed.cache.get_or_compute_many(keys, move |keys| load(Arc::clone(&loader), keys));
        found.await.into_iter().map(|found| found?.ok_or_else(|| absent().into())).collect()
    }
}

/// The most keys that are gathered by default.
const DEFAULT_MOST: usize = 100;

async fn load<L: Loader>(loader: Arc<L>, keys: Vec<L::Key>) -> Result<Loaded<L::Key, L::Value, L::Error>, L::Error> {
    match keys.as_slice() {
        [key] => {
            let mut loaded = Loaded::new();
            loaded.insert(key.clone(), loader.decide(key, loader.load(key).await?));
            Ok(loaded)
        }
        keys => loader.load_many(keys).await,
    }
}

fn absent() -> Error {
    Error::new(
        ErrorKind::Absent,
        "the loader gave no value for this key: name it, or give the others one by `otherwise`",
    )
}

impl<L, B, C> Clone for LoadingCache<L, B, C>
where
    L: Loader<Value: Storable<C>>,
    B: Backend,
    C: Codec,
{
    fn clone(&self) -> Self {
        let &Self { window, most, .. } = self;
        let (typed, loader, gathered) = (self.typed.clone(), Arc::clone(&self.loader), Arc::clone(&self.gathered));
        Self { typed, loader, window, most, gathered }
    }
}

impl<L, B, C> fmt::Debug for LoadingCache<L, B, C>
where
    L: Loader<Value: Storable<C>>,
    B: Backend,
    C: Codec,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadingCache").field("typed", &self.typed).field("window", &self.window).finish_non_exhaustive()
    }
}
