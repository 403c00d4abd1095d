//! Typed caches: a domain of a cache with its key type and its value type.

use std::any::type_name;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::backends::{AnyBackend, Backend};
use crate::cache::{Cache, DomainSettings, Fetched};
#[cfg(feature = "encryption")]
use crate::codec::Encrypted;
use crate::codec::{Codec, Standard};
use crate::error::{ComputeError, Error};
use crate::key::{Digits, IntoKey, KeyWriter, PartText};
use crate::seal::Value;
use crate::sensitive::Storable;

mod batch;
mod entry;
mod loader;

pub use self::entry::TypedEntry;
pub use self::loader::{Loader, LoadingCache};

/// A [domain](Cache::domain) of a cache whose keys are `K` and whose values are `V`.
///
/// Made by [`Cache::typed`]; cheap to clone. Calls name no types, and those with a key or a value of another type do not
/// compile. Keys are taken by reference, as those of a `HashMap`: `&str` for `String`, too.
///
/// The defaults are the types of [`CacheBuilder::from_env`](crate::CacheBuilder#method.from_env), so a field of a struct is
/// `TypedCache<UserId, User>`. A function that takes any backend is tested with another:
/// ```
/// use cachekit::backends::Memory;
/// use cachekit::{Backend, CacheBuilder, ComputeError, Intent, TypedCache};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// struct User {
///     name: String,
/// }
///
/// async fn user<B: Backend>(users: &TypedCache<u64, User, B>, id: u64) -> Result<User, ComputeError<std::io::Error>> {
///     users.get_or_compute(&id, move || async move { Ok(User { name: format!("user {id}") }) }).await
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let shop = CacheBuilder::from_vars([("CACHEKIT_DEFAULT_TTL", "60")]).backend(Memory::new(1 << 20)).build()?;
/// let users = shop.typed::<u64, User>("users")?;
/// assert_eq!(user(&users, 42).await?.name, "user 42");
/// assert_eq!(users.get(&42).await?, Some(User { name: "user 42".into() }));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
/// A key of another type does not compile:
/// ```compile_fail,E0277
/// # let shop = cachekit::CacheBuilder::new().build()?;
/// let users = shop.typed::<u64, String>("users")?;
/// let user = users.get("42");
/// # Ok::<(), cachekit::Error>(())
/// ```
pub struct TypedCache<K, V, B: Backend = AnyBackend, C: Codec = Standard> {
    cache: Cache<B, C>,
    types: PhantomData<fn(K) -> V>,
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// The [domain](Cache::domain) `name` of this cache, for keys of type `K` and values of type `V`.
    ///
    /// # Errors
    /// As [`domain`](Cache::domain). [`ErrorKind::Config`](crate::ErrorKind::Config) if the domain was given other types
    /// before, [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the codec of this cache cannot carry values of type `V`:
    /// it says which codec can.
    ///
    /// # Cost
    /// As of `domain`, and some microseconds for the first cache of a type.
    ///
    /// # Examples
    /// ```
    /// let shop = cachekit::CacheBuilder::new().namespace("shop").build()?;
    /// let names = shop.typed::<u64, String>("names")?;
    /// let error = shop.typed::<u64, u64>("names").unwrap_err().to_string();
    /// assert!(error.contains("holds `alloc::string::String` by `u64`"), "{error}");
    ///
    /// let error = shop.typed::<u64, serde_json::Value>("pages").unwrap_err().to_string();
    /// assert!(error.contains("`MessagePack` and `Json` carry it"), "{error}");
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn typed<K: IntoKey + 'static, V: Storable<C>>(&self, name: &str) -> Result<TypedCache<K, V, B, C>, Error> {
        self.typed_with(name, DomainSettings::new())
    }

    /// Like [`typed`](Cache::typed), with settings of its own.
    ///
    /// # Errors
    /// As [`typed`](Cache::typed) and [`domain_with`](Cache::domain_with).
    pub fn typed_with<K: IntoKey + 'static, V: Storable<C>>(
        &self,
        name: &str,
        settings: DomainSettings,
    ) -> Result<TypedCache<K, V, B, C>, Error> {
        let cache = self.domain_with(name, settings)?;
        cache.bind::<K, V::Form>(name, [type_name::<K>(), type_name::<V>()])?;
        Ok(TypedCache { cache, types: PhantomData })
    }
}

/// A key that is borrowed.
pub(crate) struct Borrowed<'a, Q: ?Sized>(pub(crate) &'a Q);

impl<Q: IntoKey + ?Sized> IntoKey for Borrowed<'_, Q> {
    #[inline]
    fn as_text<'b>(&'b self, digits: &'b mut Digits) -> Option<PartText<'b>> {
        self.0.as_text(digits)
    }

    #[inline]
    fn write_key(&self, key: &mut KeyWriter<'_>) {
        self.0.write_key(key);
    }
}

impl<K, V, B, C> TypedCache<K, V, B, C>
where
    K: IntoKey + 'static,
    V: Storable<C>,
    B: Backend,
    C: Codec,
{
    /// The cache of a domain that has these types.
    #[cfg(feature = "blocking")]
    pub(crate) fn of(cache: Cache<B, C>) -> Self {
        Self { cache, types: PhantomData }
    }

    /// The domain without its types, for what concerns no key: `stats`, `invalidate_tag`, `health`, `close`.
    pub fn cache(&self) -> &Cache<B, C> {
        &self.cache
    }

    /// The entry of `key`, for a call with options of its own.
    pub fn entry<'a, Q: IntoKey + ?Sized>(&'a self, key: &'a Q) -> TypedEntry<'a, Q, V, B, C>
    where
        K: Borrow<Q>,
    {
        TypedEntry::new(self.cache.entry(Borrowed(key)))
    }

    /// Like [`Cache::get`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
    {
        self.cache.get(Borrowed(key)).await
    }

    /// Like [`Cache::get_arc`].
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get_arc<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<Option<Arc<V>>, Error>
    where
        K: Borrow<Q>,
        V: Value,
    {
        self.cache.get_arc(Borrowed(key)).await
    }

    /// Like [`Cache::get_or_compute`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_compute<'a, Q, E, F, Fut>(
        &'a self,
        key: &'a Q,
        compute: F,
    ) -> impl Future<Output = Result<V, ComputeError<E>>> + use<'a, K, V, B, C, Q, E, F, Fut>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.cache.get_or_compute(Borrowed(key), compute)
    }

    /// Like [`Cache::get_or_compute_arc`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn get_or_compute_arc<'a, Q, E, F, Fut>(
        &'a self,
        key: &'a Q,
        compute: F,
    ) -> impl Future<Output = Result<Arc<V>, ComputeError<E>>> + use<'a, K, V, B, C, Q, E, F, Fut>
    where
        K: Borrow<Q>,
        V: Value,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.cache.get_or_compute_arc(Borrowed(key), compute)
    }

    /// Like [`Cache::fetch`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn fetch<'a, Q, E, F, Fut>(
        &'a self,
        key: &'a Q,
        compute: F,
    ) -> impl Future<Output = Result<Fetched<V>, ComputeError<E>>> + use<'a, K, V, B, C, Q, E, F, Fut>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.cache.fetch(Borrowed(key), compute)
    }

    /// Like [`Cache::remaining`].
    ///
    /// # Errors
    /// As [`Cache::remaining`].
    pub async fn remaining<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<Option<Duration>, Error>
    where
        K: Borrow<Q>,
    {
        self.cache.remaining(Borrowed(key)).await
    }

    /// Like [`Cache::refresh`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    pub fn refresh<'a, Q, E, F, Fut>(
        &'a self,
        key: &'a Q,
        compute: F,
    ) -> impl Future<Output = Result<V, ComputeError<E>>> + use<'a, K, V, B, C, Q, E, F, Fut>
    where
        K: Borrow<Q>,
        V: Storable<C, Form: Clone>,
        Q: IntoKey + ?Sized,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.cache.refresh(Borrowed(key), compute)
    }

    /// Like [`Cache::set`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub async fn set<Q: IntoKey + ?Sized>(&self, key: &Q, value: V) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.cache.set(Borrowed(key), value).await
    }

    /// Like [`Cache::exists`].
    ///
    /// # Errors
    /// As [`Cache::exists`].
    pub async fn exists<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
    {
        self.cache.exists(Borrowed(key)).await
    }

    /// Like [`Cache::invalidate`].
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.cache.invalidate(Borrowed(key)).await
    }

    /// Like [`Cache::invalidate_many`].
    ///
    /// # Errors
    /// As [`Cache::invalidate_many`].
    pub async fn invalidate_many<'k, Q: IntoKey + ?Sized + 'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
    ) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        let forgotten = self.cache.invalidate_many(keys.into_iter().map(Borrowed));
        forgotten.await
    }

    /// Like [`Cache::expire`].
    ///
    /// # Errors
    /// As [`Cache::expire`].
    pub async fn expire<Q: IntoKey + ?Sized>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.cache.expire(Borrowed(key)).await
    }

    /// Forgets every entry of this domain, as [`Cache::invalidate_namespace`] of its handle does.
    ///
    /// # Errors
    /// As [`Cache::invalidate_namespace`].
    pub async fn invalidate_all(&self) -> Result<(), Error> {
        self.cache.invalidate_namespace().await
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
