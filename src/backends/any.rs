//! Any backend, chosen at run time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page};
use crate::bus::AnyBus;
use crate::config::{Environment, Selection, error};
use crate::error::{Error, ErrorKind};
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

/// A backend whose type was chosen at run time, such as by the environment.
///
/// Clones share the backend. `Debug` shows the backend's own.
///
/// # Cost
/// One boxed future per operation.
///
/// # Examples
/// A program that shares entries where it is told to, and else lives in L1 alone, in one type:
/// ```
/// use cachekit::backends::{AnyBackend, Memory};
/// use cachekit::codec::Standard;
/// use cachekit::{Cache, CacheBuilder, Environment};
/// fn users(shared: Option<Memory>) -> Result<Cache<AnyBackend, Standard>, cachekit::Error> {
///     let backend = shared.map_or_else(AnyBackend::none, AnyBackend::new);
///     CacheBuilder::from_environment(Environment::from_env()).backend(backend).namespace("users").build()
/// }
/// # users(None)?;
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Clone)]
pub struct AnyBackend(Option<Arc<dyn Erased>>);

impl AnyBackend {
    /// Hides the type of `backend`.
    pub fn new(backend: impl Backend) -> Self {
        Self(Some(Arc::new(backend)))
    }

    /// No backend: a cache built over it lives in L1 alone, and has the type of one that does not.
    ///
    /// Asked for anything itself, it answers [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub fn none() -> Self {
        Self(None)
    }

    /// A store of 100 MiB in the memory of this process, for tests and programs without a server:
    /// [`Memory`](super::Memory), which takes another size.
    pub fn memory() -> Self {
        Self::new(super::Memory::new(100 << 20))
    }

    /// The backend that the environment selects, else Redis at its default URL; connects to nothing. It is what
    /// [`CacheBuilder::from_environment`](crate::CacheBuilder::from_environment) uses where no other is named.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with everything that is wrong with the environment,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the backend is not in this build, and what the
    /// backend refuses.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "file")] {
    /// use cachekit::backends::AnyBackend;
    /// use cachekit::{Backend, Environment};
    /// let directory = std::env::temp_dir().join("cachekit-any");
    /// let environment = Environment::from_vars([("CACHEKIT_FILE_CACHE_DIR", &directory)]);
    /// assert_eq!(AnyBackend::from_environment(&environment)?.capabilities().name, "file");
    /// # }
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        if environment.problems.is_empty() {
            return Self::selected_by(environment);
        }
        let selection = environment.selected.as_ref().err();
        Err(error(environment.problems.iter().chain(selection).cloned().collect()))
    }

    /// The backend, if nothing is wrong with the rest of the environment.
    pub(crate) fn selected_by(environment: &Environment) -> Result<Self, Error> {
        let selected = environment.selected.clone().map_err(|problem| error(vec![problem]))?;
        match selected {
            Some(Selection::File) => Self::file(environment),
            Some(Selection::Memcached) => Self::memcached(environment),
            Some(Selection::CachekitIo) => Self::cachekitio(environment),
            Some(Selection::Redis) | None => Self::redis(environment),
        }
    }

    #[cfg(feature = "redis")]
    fn redis(environment: &Environment) -> Result<Self, Error> {
        super::Redis::new(environment.redis.clone()).map(Self::new)
    }

    #[cfg(not(feature = "redis"))]
    fn redis(_: &Environment) -> Result<Self, Error> {
        let message = "the Redis backend, selected or used by default, is not in this build: build cachekit with its \
                       feature `redis`, set CACHEKIT_FILE_CACHE_DIR alone, or call .backend(..) or .l1_only()";
        Self::missing(message)
    }

    #[cfg(feature = "memcached")]
    fn memcached(environment: &Environment) -> Result<Self, Error> {
        super::Memcached::new(environment.memcached.clone()).map(Self::new)
    }

    #[cfg(not(feature = "memcached"))]
    fn memcached(_: &Environment) -> Result<Self, Error> {
        let message =
            "CACHEKIT_MEMCACHED_SERVERS selects the Memcached backend: build cachekit with its feature `memcached`";
        Self::missing(message)
    }

    #[cfg(feature = "cachekitio")]
    fn cachekitio(environment: &Environment) -> Result<Self, Error> {
        super::CachekitIo::new(environment.cachekitio.clone()).map(Self::new)
    }

    #[cfg(not(feature = "cachekitio"))]
    fn cachekitio(_: &Environment) -> Result<Self, Error> {
        let message = "CACHEKIT_API_KEY selects the CachekitIO backend: build cachekit with its feature `cachekitio`";
        Self::missing(message)
    }

    #[cfg(feature = "file")]
    fn file(environment: &Environment) -> Result<Self, Error> {
        super::File::open(environment.file.directory.clone(), environment.file.limits).map(Self::new)
    }

    #[cfg(not(all(feature = "redis", feature = "memcached", feature = "cachekitio", feature = "file")))]
    fn missing(message: &'static str) -> Result<Self, Error> {
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    #[cfg(not(feature = "file"))]
    fn file(_: &Environment) -> Result<Self, Error> {
        let message = "CACHEKIT_FILE_CACHE_DIR selects the File backend: build cachekit with its feature `file`";
        Self::missing(message)
    }
}

impl AnyBackend {
    fn inner(&self) -> Result<&dyn Erased, Error> {
        self.0.as_deref().ok_or_else(|| Error::new(ErrorKind::Unsupported, "there is no backend: AnyBackend::none()"))
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(backend) => backend.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// `Backend` with boxed futures. Distinct names, so that no method can call itself by mistake.
#[async_trait]
trait Erased: fmt::Debug + Send + Sync {
    fn erased_capabilities(&self) -> Capabilities;
    async fn erased_get(&self, key: &Key) -> Result<Option<Bytes>, Error>;
    async fn erased_set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error>;
    async fn erased_remove(&self, key: &Key) -> Result<(), Error>;
    async fn erased_ttl(&self, key: &Key) -> Result<Option<Duration>, Error>;
    async fn erased_get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error>;
    async fn erased_set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error>;
    async fn erased_remove_many(&self, keys: &[Key]) -> Result<(), Error>;
    fn erased_part(&self, key: &Key) -> u16;
    async fn erased_forget(&self, order: &Order) -> Result<Forgotten, Error>;
    async fn erased_lease(
        &self,
        key: &Key,
        hold: Duration,
        token: LeaseToken,
        seen: Option<&Bytes>,
    ) -> Result<Lease, Error>;
    async fn erased_renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error>;
    async fn erased_fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error>;
    async fn erased_release(&self, key: &Key, token: LeaseToken) -> Result<(), Error>;
    async fn erased_ping(&self) -> Result<(), Error>;
    fn erased_bus(&self, name: &Key) -> Option<AnyBus>;
    fn erased_address(&self) -> Option<String>;
    async fn erased_diagnose(&self, probe: &Key) -> Vec<Finding>;
    async fn erased_scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error>;
}

#[async_trait]
impl<B: Backend> Erased for B {
    fn erased_capabilities(&self) -> Capabilities {
        self.capabilities()
    }
    async fn erased_get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.get(key).await
    }
    async fn erased_set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.set(key, value, ttl).await
    }
    async fn erased_remove(&self, key: &Key) -> Result<(), Error> {
        self.remove(key).await
    }
    async fn erased_ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.ttl(key).await
    }
    async fn erased_get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.get_many(keys).await
    }
    async fn erased_set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        self.set_many(items, ttl).await
    }
    async fn erased_remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.remove_many(keys).await
    }
    fn erased_part(&self, key: &Key) -> u16 {
        self.part(key)
    }
    async fn erased_forget(&self, order: &Order) -> Result<Forgotten, Error> {
        self.forget(order).await
    }
    async fn erased_lease(
        &self,
        key: &Key,
        hold: Duration,
        token: LeaseToken,
        seen: Option<&Bytes>,
    ) -> Result<Lease, Error> {
        self.lease(key, hold, token, seen).await
    }
    async fn erased_renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.renew(key, hold, token).await
    }
    async fn erased_fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.fill(key, value, ttl, token).await
    }
    async fn erased_release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.release(key, token).await
    }
    async fn erased_ping(&self) -> Result<(), Error> {
        self.ping().await
    }
    fn erased_bus(&self, name: &Key) -> Option<AnyBus> {
        self.bus(name)
    }
    fn erased_address(&self) -> Option<String> {
        self.address()
    }
    async fn erased_diagnose(&self, probe: &Key) -> Vec<Finding> {
        self.diagnose(probe).await
    }
    async fn erased_scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        self.scan(prefix, after, count).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for AnyBackend {
    fn capabilities(&self) -> Capabilities {
        let none = || Capabilities { absent: true, ..Capabilities::new("none") };
        self.0.as_ref().map_or_else(none, |backend| backend.erased_capabilities())
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.inner()?.erased_get(key).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.inner()?.erased_set(key, value, ttl).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.inner()?.erased_remove(key).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.inner()?.erased_ttl(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.inner()?.erased_get_many(keys).await
    }
    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        self.inner()?.erased_set_many(items, ttl).await
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.inner()?.erased_remove_many(keys).await
    }
    fn part(&self, key: &Key) -> u16 {
        self.0.as_ref().map_or(0, |backend| backend.erased_part(key))
    }
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        self.inner()?.erased_forget(order).await
    }
    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        self.inner()?.erased_lease(key, hold, token, seen).await
    }
    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.inner()?.erased_renew(key, hold, token).await
    }
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.inner()?.erased_fill(key, value, ttl, token).await
    }
    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.inner()?.erased_release(key, token).await
    }
    async fn ping(&self) -> Result<(), Error> {
        self.inner()?.erased_ping().await
    }
    fn bus(&self, name: &Key) -> Option<AnyBus> {
        self.0.as_ref()?.erased_bus(name)
    }
    fn address(&self) -> Option<String> {
        self.0.as_ref()?.erased_address()
    }
    async fn diagnose(&self, probe: &Key) -> Vec<Finding> {
        match &self.0 {
            Some(backend) => backend.erased_diagnose(probe).await,
            None => Vec::new(),
        }
    }
    async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        self.inner()?.erased_scan(prefix, after, count).await
    }
}
