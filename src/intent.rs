//! Intents: what a cache is for.
//!
//! Each intent is a type of its own, because it decides the codec's type (and, for [`Io`], the backend's). What it sets
//! can be overridden by the environment and by explicit calls; what it decides in the type cannot.
//!
//! | | Minimal | Test | Dev | Production | Secure | Io |
//! |---|---|---|---|---|---|---|
//! | codec around the base | - | - | `Checked` | `Checked` | `Encrypted` | `Checked` |
//! | stale-while-revalidate | - | - | yes | yes | yes | yes |
//! | invalidation, namespace index | - | - | - | yes | yes | yes |
//! | breaker, adaptive timeout, retries | - | - | yes | yes | yes | yes |
//! | backpressure | yes | - | yes | yes | yes | yes |
//! | stats | - | yes | yes | yes | yes | yes |
//! | tracing | - | - | verbose | yes | yes | yes |
//! | metrics | - | - | - | yes | yes | yes |
//! | stale-if-error | - | - | - | = ttl | = ttl | = ttl |
//! | leases | - | - | - | yes | yes | yes |
//! | jitter, work after the answer | yes | - | yes | yes | yes | yes |
//!
//! [`Deterministic`] is an intent for tests of a program that names the types of another: it has the types of that one
//! and the settings of `Test`.

#[cfg(feature = "cachekitio")]
use std::any::{Any, TypeId};
use std::fmt;
use std::time::Duration;

use crate::backends::{Backend, CachekitIo};
#[cfg(feature = "encryption")]
use crate::codec::Encrypted;
use crate::codec::{Checked, Codec};
use crate::config::{Environment, Grace, Settings, Tracing};
use crate::error::{Error, ErrorKind};

/// What a cache is for: the types it is made of and the settings it starts from.
///
/// The intents of this module implement it; implement it to add one of your own.
///
/// # Examples
/// ```
/// use cachekit::{Backend, CacheBuilder, Codec, Environment, Error, Settings, codec::Checked, intent::Preset};
///
/// /// Checksums, but nothing kept after the answer.
/// #[derive(Debug)]
/// struct Careful;
///
/// impl Preset for Careful {
///     type Codec<C: Codec> = Checked<C>;
///     type Backend<B: Backend> = B;
///     fn codec<C: Codec>(&self, base: C) -> Result<Checked<C>, Error> {
///         Ok(Checked::new(base))
///     }
///     fn backend<B: Backend>(
///         &self,
///         chosen: impl FnOnce() -> Result<Option<B>, Error>,
///         _: Option<&Environment>,
///     ) -> Result<Option<B>, Error> {
///         chosen()
///     }
///     fn settings(&self) -> Settings {
///         let mut settings = Settings::default();
///         settings.background = Some(false);
///         settings
///     }
/// }
///
/// let cache = CacheBuilder::new().intent(Careful).build()?;
/// assert!(!cache.policy().background);
/// # Ok::<(), Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an intent",
    label = "not an intent",
    note = "use one of `Intent::{{Minimal, Test, Dev, Production, Secure, Io}}`; `Secure` needs the feature `encryption`"
)]
pub trait Preset: fmt::Debug + Sized + 'static {
    /// The codec of the cache, around the builder's.
    type Codec<C: Codec>: Codec;
    /// The backend of the cache, in place of the builder's or as it is.
    type Backend<B: Backend>: Backend;

    /// Wraps the builder's codec.
    ///
    /// # Errors
    /// If this intent cannot be met; `build` returns it.
    fn codec<C: Codec>(&self, base: C) -> Result<Self::Codec<C>, Error>;

    /// Takes or replaces the builder's backend; `None` is a cache of L1 alone.
    ///
    /// `chosen` makes the builder's, which an intent that replaces it need not do; `environment` is what the builder
    /// was given, if it was.
    ///
    /// # Errors
    /// If this intent cannot be met; `build` returns it.
    fn backend<B: Backend>(
        &self,
        chosen: impl FnOnce() -> Result<Option<B>, Error>,
        environment: Option<&Environment>,
    ) -> Result<Option<Self::Backend<B>>, Error>;

    /// What holds unless the environment or a call of the builder says otherwise.
    fn settings(&self) -> Settings;
}

macro_rules! presets {
    ($($(#[$doc:meta])* $name:ident: $codec:ty = $wrap:expr, $settings:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name;

        impl Preset for $name {
            type Codec<C: Codec> = $codec;
            type Backend<B: Backend> = B;

            fn codec<C: Codec>(&self, base: C) -> Result<Self::Codec<C>, Error> {
                Ok($wrap(base))
            }

            fn backend<B: Backend>(
                &self,
                chosen: impl FnOnce() -> Result<Option<B>, Error>,
                _: Option<&Environment>,
            ) -> Result<Option<B>, Error> {
                chosen()
            }

            fn settings(&self) -> Settings {
                $settings
            }
        }
    )*};
}

presets! {
    /// Speed first: no integrity check, no stats, nothing but the two tiers and a bound on the backend's load.
    Minimal: C = std::convert::identity, Settings { backpressure_enabled: Some(true), ..bare() };
    /// Deterministic: no jitter, the backend's write is awaited, nothing happens after the answer.
    Test: C = std::convert::identity, Settings {
        stats: Some(true),
        jitter: Some(false),
        wait_for_write: Some(true),
        background: Some(false),
        ..bare()
    };
    /// For development: checksums, resilience and verbose tracing, no talk with other processes.
    Dev: Checked<C> = Checked::new, Settings {
        swr_enabled: Some(true),
        breaker_enabled: Some(true),
        adaptive_timeout_enabled: Some(true),
        backpressure_enabled: Some(true),
        retries: Some(1),
        stats: Some(true),
        tracing: Some(Tracing::Verbose),
        ..bare()
    };
    /// Everything on. The intent of a builder that names none.
    Production: Checked<C> = Checked::new, everything();
}

/// For tests: the types of the intent inside, so that the cache fits where that one's does, and the settings of
/// [`Test`].
///
/// What the types promise holds: `Deterministic(Secure)` encrypts, and needs a key.
///
/// # Examples
/// ```
/// use cachekit::backends::AnyBackend;
/// use cachekit::codec::Standard;
/// use cachekit::{Cache, CacheBuilder, Environment, Intent};
/// struct App {
///     users: Cache<AnyBackend, Standard>,
/// }
/// let test = CacheBuilder::from_environment(Environment::default()).backend(AnyBackend::memory());
/// let app = App { users: test.intent(Intent::Deterministic(Intent::Production)).build()? };
/// assert!(!app.users.policy().jitter && app.users.policy().wait_for_write);
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Deterministic<P>(pub P);

impl<P: Preset> Preset for Deterministic<P> {
    type Codec<C: Codec> = P::Codec<C>;
    type Backend<B: Backend> = P::Backend<B>;

    fn codec<C: Codec>(&self, base: C) -> Result<Self::Codec<C>, Error> {
        self.0.codec(base)
    }

    fn backend<B: Backend>(
        &self,
        chosen: impl FnOnce() -> Result<Option<B>, Error>,
        environment: Option<&Environment>,
    ) -> Result<Option<Self::Backend<B>>, Error> {
        self.0.backend(chosen, environment)
    }

    fn settings(&self) -> Settings {
        Test.settings()
    }
}

/// Everything on, and entries encrypted with AES-256-GCM: `Cache<B, Encrypted<C>>`.
///
/// Needs a master key, from [`CacheBuilder::keyring`](crate::CacheBuilder::keyring) or `CACHEKIT_MASTER_KEY`, and the
/// feature `encryption`. Without a key `build` refuses. No later call of the builder takes the encryption away.
#[cfg(feature = "encryption")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Secure;

#[cfg(feature = "encryption")]
impl Preset for Secure {
    type Codec<C: Codec> = Encrypted<C>;
    type Backend<B: Backend> = B;

    fn codec<C: Codec>(&self, base: C) -> Result<Encrypted<C>, Error> {
        Ok(Encrypted::from_settings(base))
    }

    fn backend<B: Backend>(
        &self,
        chosen: impl FnOnce() -> Result<Option<B>, Error>,
        _: Option<&Environment>,
    ) -> Result<Option<B>, Error> {
        chosen()
    }

    fn settings(&self) -> Settings {
        everything()
    }
}

/// Everything on, over the CachekitIO API, whatever other backend the builder or the environment names.
///
/// Needs the feature `cachekitio` and an API key: that of [`backends::CachekitIo`](CachekitIo) if the builder names
/// one, else `CACHEKIT_API_KEY`, with the other variables of CachekitIO. That API has no bus and no leases, so other
/// processes are not told what to forget, and each process computes for itself.
///
/// # Examples
#[cfg_attr(feature = "cachekitio", doc = "```")]
#[cfg_attr(not(feature = "cachekitio"), doc = "```ignore")]
/// use cachekit::{Cache, CacheBuilder, Environment, Intent};
/// use cachekit::{backends::CachekitIo, codec::Standard};
/// let environment = Environment::from_vars([("CACHEKIT_API_KEY", "ck_live_42")]);
/// let cache: Cache<CachekitIo, Standard> =
///     CacheBuilder::from_environment(environment).intent(Intent::Io).build()?;
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Io;

impl Preset for Io {
    type Codec<C: Codec> = Checked<C>;
    type Backend<B: Backend> = CachekitIo;

    fn codec<C: Codec>(&self, base: C) -> Result<Checked<C>, Error> {
        Ok(Checked::new(base))
    }

    #[cfg(feature = "cachekitio")]
    fn backend<B: Backend>(
        &self,
        chosen: impl FnOnce() -> Result<Option<B>, Error>,
        environment: Option<&Environment>,
    ) -> Result<Option<CachekitIo>, Error> {
        if TypeId::of::<B>() == TypeId::of::<CachekitIo>() {
            let mut named = chosen()?;
            let named: &mut dyn Any = &mut named;
            return Ok(named.downcast_mut::<Option<CachekitIo>>().and_then(Option::take));
        }
        match environment {
            Some(environment) if environment.cachekitio.api_key.is_some() => {
                CachekitIo::new(environment.cachekitio.clone()).map(Some)
            }
            _ => Err(Error::new(
                ErrorKind::Config,
                "CACHEKIT_API_KEY: Intent::Io needs an API key; set it and let the builder read the environment, or \
                 call .backend(CachekitIo::new(..)?)",
            )),
        }
    }

    #[cfg(not(feature = "cachekitio"))]
    fn backend<B: Backend>(
        &self,
        _: impl FnOnce() -> Result<Option<B>, Error>,
        _: Option<&Environment>,
    ) -> Result<Option<CachekitIo>, Error> {
        let message = "Intent::Io needs the CachekitIO backend: build cachekit with its feature `cachekitio`";
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    fn settings(&self) -> Settings {
        everything()
    }
}

/// Everything off but L1.
fn bare() -> Settings {
    Settings {
        swr_enabled: Some(false),
        stale_if_error: Some(Grace::For(Duration::ZERO)),
        leases: Some(false),
        invalidation_enabled: Some(false),
        namespace_index: Some(false),
        breaker_enabled: Some(false),
        adaptive_timeout_enabled: Some(false),
        backpressure_enabled: Some(false),
        retries: Some(0),
        stats: Some(false),
        tracing: Some(Tracing::Off),
        metrics: Some(false),
        ..Settings::default()
    }
}

/// Everything on, an expired entry kept as a fallback for as long again as its TTL.
fn everything() -> Settings {
    Settings {
        swr_enabled: Some(true),
        stale_if_error: Some(Grace::Ttl),
        leases: Some(true),
        invalidation_enabled: Some(true),
        namespace_index: Some(true),
        breaker_enabled: Some(true),
        adaptive_timeout_enabled: Some(true),
        backpressure_enabled: Some(true),
        stats: Some(true),
        tracing: Some(Tracing::On),
        metrics: Some(true),
        ..Settings::default()
    }
}
