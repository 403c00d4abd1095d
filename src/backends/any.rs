//! Any backend, chosen at run time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, Lease, LeaseToken};
use crate::bus::AnyBus;
use crate::config::{Environment, Selection, error};
use crate::error::Error;
use crate::key::Key;

/// A backend whose type was chosen at run time, such as by the environment.
///
/// Clones share the backend. `Debug` shows the backend's own.
///
/// # Cost
/// One boxed future per operation.
///
/// # Examples
/// ```
/// use cachekit::backends::{AnyBackend, Memory};
/// let backend = AnyBackend::new(Memory::new(1 << 20));
/// assert_eq!(cachekit::Backend::capabilities(&backend).name, "memory");
/// ```
#[derive(Clone)]
pub struct AnyBackend(Arc<dyn Erased>);

impl AnyBackend {
    /// Hides the type of `backend`.
    pub fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    /// The backend that the environment selects.
    pub(crate) fn from_environment(environment: &Environment) -> Result<Self, Error> {
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
        Err(Error::new(crate::error::ErrorKind::Unsupported, message))
    }

    #[cfg(not(feature = "file"))]
    fn file(_: &Environment) -> Result<Self, Error> {
        let message = "CACHEKIT_FILE_CACHE_DIR selects the File backend: build cachekit with its feature `file`";
        Self::missing(message)
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `Backend` with boxed futures. Distinct names, so that no method can call itself by mistake.
#[async_trait]
trait Erased: fmt::Debug + Send + Sync {
    fn erased_capabilities(&self) -> Capabilities;
    async fn erased_get(&self, key: &Key) -> Result<Option<Bytes>, Error>;
    async fn erased_set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error>;
    async fn erased_remove(&self, key: &Key) -> Result<(), Error>;
    async fn erased_exists(&self, key: &Key) -> Result<bool, Error>;
    async fn erased_ttl(&self, key: &Key) -> Result<Option<Duration>, Error>;
    async fn erased_touch(&self, key: &Key, ttl: Duration) -> Result<bool, Error>;
    async fn erased_get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error>;
    async fn erased_set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error>;
    async fn erased_remove_many(&self, keys: &[Key]) -> Result<(), Error>;
    async fn erased_lease(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<Lease, Error>;
    async fn erased_renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error>;
    async fn erased_fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error>;
    async fn erased_release(&self, key: &Key, token: LeaseToken) -> Result<(), Error>;
    async fn erased_ping(&self) -> Result<(), Error>;
    fn erased_bus(&self, name: &Key) -> Option<AnyBus>;
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
    async fn erased_exists(&self, key: &Key) -> Result<bool, Error> {
        self.exists(key).await
    }
    async fn erased_ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.ttl(key).await
    }
    async fn erased_touch(&self, key: &Key, ttl: Duration) -> Result<bool, Error> {
        self.touch(key, ttl).await
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
    async fn erased_lease(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<Lease, Error> {
        self.lease(key, hold, token).await
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
}

#[deny(clippy::missing_trait_methods)]
impl Backend for AnyBackend {
    fn capabilities(&self) -> Capabilities {
        self.0.erased_capabilities()
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.0.erased_get(key).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.0.erased_set(key, value, ttl).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.0.erased_remove(key).await
    }
    async fn exists(&self, key: &Key) -> Result<bool, Error> {
        self.0.erased_exists(key).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.0.erased_ttl(key).await
    }
    async fn touch(&self, key: &Key, ttl: Duration) -> Result<bool, Error> {
        self.0.erased_touch(key, ttl).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.0.erased_get_many(keys).await
    }
    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        self.0.erased_set_many(items, ttl).await
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.0.erased_remove_many(keys).await
    }
    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<Lease, Error> {
        self.0.erased_lease(key, hold, token).await
    }
    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.0.erased_renew(key, hold, token).await
    }
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.0.erased_fill(key, value, ttl, token).await
    }
    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.0.erased_release(key, token).await
    }
    async fn ping(&self) -> Result<(), Error> {
        self.0.erased_ping().await
    }
    fn bus(&self, name: &Key) -> Option<AnyBus> {
        self.0.erased_bus(name)
    }
}
