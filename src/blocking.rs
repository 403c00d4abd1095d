//! Caches for programs without async.
//!
//! [`CacheBuilder::build_blocking`] makes a [`Cache`] whose calls wait. It is a [`cachekit::Cache`](crate::Cache)
//! underneath, over the same backends, so its promises are the same, and processes with and without async share their
//! entries. What a method does is said there.
//!
//! ```
//! use cachekit::CacheBuilder;
//!
//! let shop = CacheBuilder::new().namespace("shop").build_blocking()?;
//! let users = shop.typed::<u64, String>("users")?;
//! // The closure runs on this thread, so it may borrow what it needs.
//! let rows = vec![(1, "Ada"), (2, "Grace")];
//! let find = |id| rows.iter().find(|row| row.0 == id).map(|row| row.1.to_owned()).ok_or("no such user");
//! assert_eq!(users.get_or_compute(&1, || find(1))?, "Ada");
//! assert_eq!(users.get_or_compute(&3, || find(3)).unwrap_err().failed(), Some(&"no such user"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Computations
//! They run on the thread of their call, while calls for the same key, from other threads and other processes, wait for
//! them. A call that joins another's computation drops its own closure unused. A thread cannot be stopped, so at its
//! deadline a computation goes on: other callers are answered then, its own caller when it returns, and its result is
//! dropped. If it panics, so does its caller; others get [`ComputeError::Panicked`].
//!
//! A stale value is returned at once, by all calls but one: that one is asked to renew it, runs its closure, and then
//! returns the older value; its next call finds the newer one. It waits for that no longer than a quarter of a second
//! where another process computes.
//!
//! A [`Loader`] needs no caller. It runs on threads of the runtime's pool, so renewals go on in the background.
//!
//! # Threads
//! All blocking caches of a process share two threads, which talk to backends, encode and decode, and the pool of up to
//! 512 that tokio has for what blocks, where loaders run. They start with the first call that needs them, and the two
//! stay: dropping a cache ends nothing and waits for nothing, and
//! [`close`](Cache::close) waits for what is to be written.
//!
//! Inside a tokio runtime every call is an error of kind [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported): a
//! program with a runtime uses [`cachekit::Cache`](crate::Cache). Code that is handed to `spawn_blocking` may block, and
//! says so by [`may_block`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backends::Backend;
use crate::builder::CacheBuilder;
use crate::cache::{self, DomainSettings, Fetched, Health};
use crate::codec::Codec;
#[cfg(feature = "encryption")]
use crate::codec::Encrypted;
use crate::config::{Policy, Report};
use crate::error::{ComputeError, Error};
use crate::event::{Stats, Tier};
use crate::intent::Preset;
use crate::key::IntoKey;
use crate::seal::Value;
use crate::sensitive::Storable;

mod ask;
mod batch;
mod entry;
mod forget;
mod loader;
mod runtime;
mod typed;

pub use self::entry::Entry;
pub use self::loader::{Loader, LoadingCache};
pub use self::runtime::may_block;
use self::runtime::wait;
pub use self::typed::{TypedCache, TypedEntry};

/// A [`cachekit::Cache`](crate::Cache) whose calls wait.
///
/// Cheap to clone; clones are one cache. Built by [`CacheBuilder::build_blocking`].
pub struct Cache<B: Backend, C: Codec>(cache::Cache<B, C>);

impl<B, C, P> CacheBuilder<B, C, P>
where
    B: Backend,
    C: Codec,
    P: Preset,
{
    /// Builds a cache whose calls wait: see [`blocking`](crate::blocking). Connects to nothing.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    #[expect(clippy::type_complexity, reason = "the type says what the intent makes of the builder's choices")]
    pub fn build_blocking(self) -> Result<Cache<P::Backend<B>, P::Codec<C>>, Error> {
        self.build().map(Cache)
    }
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Like [`Cache::get`](crate::Cache::get).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn get<T: Storable<C, Form: Clone>>(&self, key: impl IntoKey) -> Result<Option<T>, Error> {
        self.entry(key).get()
    }

    /// Like [`Cache::get_arc`](crate::Cache::get_arc).
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    pub fn get_arc<T: Value>(&self, key: impl IntoKey) -> Result<Option<Arc<T>>, Error> {
        self.entry(key).get_arc()
    }

    /// Like [`Cache::set`](crate::Cache::set).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn set<T: Storable<C>>(&self, key: impl IntoKey, value: T) -> Result<(), Error> {
        self.entry(key).set(value)
    }

    /// Like [`Cache::get_or_compute`](crate::Cache::get_or_compute), but that `compute` runs on this thread, if this call is
    /// the one that computes, and may borrow.
    ///
    /// # Errors
    /// As there, and [`ComputeError::Cache`] inside a tokio runtime.
    ///
    /// # Panics
    /// If `compute` does.
    pub fn get_or_compute<T, E>(
        &self,
        key: impl IntoKey,
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, ComputeError<E>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        self.entry(key).get_or_compute(compute)
    }

    /// Like [`Cache::get_or_compute_arc`](crate::Cache::get_or_compute_arc).
    ///
    /// # Errors
    /// As of [`get_or_compute`](Self::get_or_compute).
    pub fn get_or_compute_arc<T, E>(
        &self,
        key: impl IntoKey,
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
    {
        self.entry(key).get_or_compute_arc(compute)
    }

    /// Like [`Cache::fetch`](crate::Cache::fetch), with a `compute` that runs where that of
    /// [`get_or_compute`](Self::get_or_compute) does.
    ///
    /// # Errors
    /// As of [`get_or_compute`](Self::get_or_compute).
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Outcome};
    /// let pages = CacheBuilder::new().namespace("pages").build_blocking()?;
    /// let load = || Ok::<_, std::io::Error>("<html>".to_owned());
    /// assert_eq!(pages.fetch("home", load)?.outcome(), Outcome::Computed);
    /// let page = pages.fetch("home", load)?;
    /// assert!(page.outcome().is_hit() && page.age() < page.remaining());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fetch<T, E>(
        &self,
        key: impl IntoKey,
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<Fetched<T>, ComputeError<E>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        self.entry(key).fetch(compute)
    }

    /// Like [`Cache::refresh`](crate::Cache::refresh).
    ///
    /// # Errors
    /// As of [`get_or_compute`](Self::get_or_compute).
    pub fn refresh<T, E>(&self, key: impl IntoKey, compute: impl FnOnce() -> Result<T, E>) -> Result<T, ComputeError<E>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
    {
        self.entry(key).refresh(compute)
    }

    /// The entry of `key`, for a call with options of its own.
    pub fn entry<K: IntoKey>(&self, key: K) -> Entry<'_, B, C, K> {
        Entry(self.0.entry(key))
    }

    /// Like [`Cache::remaining`](crate::Cache::remaining).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn remaining(&self, key: impl IntoKey) -> Result<Option<Duration>, Error> {
        wait(self.0.remaining(key))?
    }

    /// Like [`Cache::exists`](crate::Cache::exists).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn exists(&self, key: impl IntoKey) -> Result<bool, Error> {
        wait(self.0.exists(key))?
    }

    /// Like [`Cache::domain`](crate::Cache::domain).
    ///
    /// # Errors
    /// As there.
    pub fn domain(&self, name: &str) -> Result<Self, Error> {
        self.0.domain(name).map(Self)
    }

    /// Like [`Cache::domain_with`](crate::Cache::domain_with).
    ///
    /// # Errors
    /// As there.
    pub fn domain_with(&self, name: &str, settings: DomainSettings) -> Result<Self, Error> {
        self.0.domain_with(name, settings).map(Self)
    }

    /// Like [`Cache::ping`](crate::Cache::ping).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn ping(&self) -> Result<(), Error> {
        wait(self.0.ping())?
    }

    /// Like [`Cache::health`](crate::Cache::health).
    ///
    /// # Errors
    /// Inside a tokio runtime.
    pub fn health(&self) -> Result<Health, Error> {
        wait(self.0.health())
    }

    /// Like [`Cache::warm_up`](crate::Cache::warm_up).
    ///
    /// # Errors
    /// Inside a tokio runtime.
    pub fn warm_up(&self) -> Result<bool, Error> {
        wait(self.0.warm_up())
    }

    /// Like [`Cache::close`](crate::Cache::close).
    ///
    /// # Errors
    /// As there, and inside a tokio runtime.
    pub fn close(&self, deadline: Duration) -> Result<(), Error> {
        wait(self.0.close(deadline))?
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty)?) -> $output:ty;)*) => {
        /// What waits for nothing.
        impl<B: Backend, C: Codec> Cache<B, C> {$(
            #[doc = concat!("Like [`Cache::", stringify!($name), "`](crate::Cache::", stringify!($name), ").")]
            pub fn $name(&self, $($arg: $type)?) -> $output {
                self.0.$name($($arg)?)
            }
        )*}
    };
}

forward! {
    stats() -> Stats;
    warnings() -> Vec<String>;
    policy() -> &Policy;
    report() -> Report;
    l1_bytes() -> usize;
    l1_len() -> usize;
    pending() -> usize;
    pause() -> ();
    pause_tier(tier: Tier) -> ();
    resume() -> ();
    resume_tier(tier: Tier) -> ();
    is_paused(tier: Tier) -> bool;
}

#[cfg(feature = "encryption")]
impl<B: Backend, C: Codec> Cache<B, Encrypted<C>> {
    /// Like [`Cache::tenant`](crate::Cache::tenant).
    ///
    /// # Errors
    /// As there.
    pub fn tenant(&self, id: &str) -> Result<Self, Error> {
        self.0.tenant(id).map(Self)
    }
}

impl<B: Backend, C: Codec> Clone for Cache<B, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend, C: Codec> fmt::Debug for Cache<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
