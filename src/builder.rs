//! The builder: three choices of type, everything else a setting.

#[cfg(feature = "compression")]
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backends::{AnyBackend, Backend, NoBackend};
use crate::cache::{Cache, Parts};
use crate::clock::{Clock, SystemClock};
#[cfg(feature = "compression")]
use crate::codec::Compressed;
use crate::codec::{Codec, Postcard};
use crate::config::{Environment, Grace, Policy, Settings, Tracing};
use crate::error::Error;
#[cfg(feature = "tracing")]
use crate::event::TracingObserver;
use crate::event::{Counters, Event, Observer, Observers};
use crate::intent::{Preset, Production};
use crate::key::Namespace;

mod check;

/// Builds a [`Cache`].
///
/// Three choices decide the cache's type: [`backend`](Self::backend), [`codec`](Self::codec) and
/// [`intent`](Self::intent), in any order, the last of each counts. Everything else is a setting: an explicit call wins
/// over the environment, the environment over the intent, the intent over the default. Nothing is checked before
/// [`build`](Self::build), which reports every problem at once.
///
/// The setters are the settings most programs need; [`settings`](Self::settings) takes the rest of [`Settings`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::backends::Memory;
/// use cachekit::{CacheBuilder, Intent};
/// let cache = CacheBuilder::new()
///     .backend(Memory::new(64 << 20))
///     .intent(Intent::Production)
///     .namespace("users")
///     .ttl(Duration::from_secs(300))
///     .build()?;
/// assert_eq!(cache.policy().ttl, Duration::from_secs(300));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct CacheBuilder<B, C, P> {
    source: Source<B>,
    codec: C,
    preset: P,
    rest: Box<Rest>,
}

/// What does not decide the type.
struct Rest {
    namespace: String,
    explicit: Settings,
    environment: Option<Environment>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Arc<dyn Clock>,
}

/// Makes the backend, when everything else is known.
type Source<B> = Box<dyn FnOnce(Option<&Environment>) -> Result<Chosen<B>, Error> + Send>;

/// A backend, if there is to be one.
struct Chosen<B> {
    backend: Option<B>,
    /// What to say once, if it does not answer.
    hint: Option<&'static str>,
}

impl<B> From<Option<B>> for Chosen<B> {
    fn from(backend: Option<B>) -> Self {
        Self { backend, hint: None }
    }
}

/// The hint for the backend that nobody asked for.
const NOBODY_CHOSE: &str = "no variable selects a backend, and Redis at redis://localhost:6379/0, the default, does not answer: the \
                            cache goes on with L1 alone; set CACHEKIT_REDIS_URL, or call .l1_only()";

impl CacheBuilder<NoBackend, Postcard, Production> {
    /// A builder that reads no environment: L1 alone, [`Postcard`], [`Production`].
    pub fn new() -> Self {
        let rest = Rest {
            namespace: String::from("default"),
            explicit: Settings::default(),
            environment: None,
            observers: Vec::new(),
            clock: Arc::new(SystemClock),
        };
        Self { source: Box::new(|_| Ok(None.into())), codec: Postcard, preset: Production, rest: Box::new(rest) }
    }
}

impl Default for CacheBuilder<NoBackend, Postcard, Production> {
    fn default() -> Self {
        Self::new()
    }
}

impl CacheBuilder<AnyBackend, Postcard, Production> {
    /// A builder whose backend and settings come from an environment that was read before; [`Postcard`], uncompressed.
    ///
    /// What is wrong with the environment waits for [`build`](Self::build).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::{CacheBuilder, Environment};
    /// let environment = Environment::from_vars([("CACHEKIT_DEFAULT_TTL", "90")]);
    /// let cache = CacheBuilder::from_environment(environment).l1_only().build()?;
    /// assert_eq!(cache.policy().ttl, Duration::from_secs(90));
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn from_environment(environment: Environment) -> Self {
        let source = |environment: Option<&Environment>| {
            let backend = environment.map(AnyBackend::from_environment).transpose()?;
            let is_default = environment.is_some_and(|environment| matches!(environment.selected, Ok(None)));
            Ok(Chosen { backend, hint: is_default.then_some(NOBODY_CHOSE) })
        };
        let mut builder = CacheBuilder::new().with_source(Box::new(source));
        builder.rest.environment = Some(environment);
        builder
    }
}

#[cfg(feature = "compression")]
impl CacheBuilder<AnyBackend, Compressed<Postcard>, Production> {
    /// A builder whose backend and settings come from the `CACHEKIT_*` variables of this process.
    ///
    /// Reads them now; what is wrong with them waits for [`build`](Self::build). The cache's type is `Cache<AnyBackend,
    /// Standard>`, with [`Standard`](crate::codec::Standard), unless an intent, a codec or a backend is named.
    pub fn from_env() -> Self {
        Self::from_vars(std::env::vars_os())
    }

    /// Like [`from_env`](Self::from_env), with variables of the caller's.
    ///
    /// # Examples
    /// ```
    /// use cachekit::CacheBuilder;
    /// let vars = [("CACHEKIT_DEFAULT_TTL", "never"), ("CACHEKIT_COMPRESSION_LEVEL", "12")];
    /// let error = CacheBuilder::from_vars(vars).l1_only().build().unwrap_err().to_string();
    /// assert!(error.contains("CACHEKIT_DEFAULT_TTL") && error.contains("CACHEKIT_COMPRESSION_LEVEL"));
    /// ```
    pub fn from_vars<K: Into<OsString>, V: Into<OsString>>(vars: impl IntoIterator<Item = (K, V)>) -> Self {
        CacheBuilder::from_environment(Environment::from_vars(vars)).codec(Compressed::new(Postcard))
    }
}

impl<B: Backend, C: Codec, P: Preset> CacheBuilder<B, C, P> {
    /// Keeps entries in `backend`, whatever the environment says. [`intent::Io`](crate::intent::Io) replaces it.
    pub fn backend<B2: Backend>(self, backend: B2) -> CacheBuilder<B2, C, P> {
        self.with_source(Box::new(|_| Ok(Some(backend).into())))
    }

    /// Keeps entries in L1 alone, whatever the environment says.
    pub fn l1_only(self) -> CacheBuilder<NoBackend, C, P> {
        self.with_source(Box::new(|_| Ok(None.into())))
    }

    /// Serializes with `codec`. The intent wraps it: no codec named here can strip encryption or checksums.
    pub fn codec<C2: Codec>(self, codec: C2) -> CacheBuilder<B, C2, P> {
        CacheBuilder { source: self.source, codec, preset: self.preset, rest: self.rest }
    }

    /// Says what the cache is for. Default [`Production`].
    pub fn intent<P2: Preset>(self, intent: P2) -> CacheBuilder<B, C, P2> {
        CacheBuilder { source: self.source, codec: self.codec, preset: intent, rest: self.rest }
    }

    /// The head of all keys of this cache. Caches of one namespace over one backend share entries. Not empty. Default
    /// `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.rest.namespace = namespace.into();
        self
    }

    /// Tells `observer` of everything the cache does. May be called several times; all are told, in this order.
    ///
    /// # Cost
    /// Each L1 hit then allocates its key.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.rest.observers.push(observer);
        self
    }

    /// Measures time with `clock`. Default [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.rest.clock = clock;
        self
    }

    /// How long after its expiry an entry may stand in for a failing computation: a duration, or [`Grace::Ttl`].
    /// Default: as the intent says.
    pub fn stale_if_error(mut self, grace: impl Into<Grace>) -> Self {
        self.rest.explicit.stale_if_error = Some(grace.into());
        self
    }

    /// Takes every setting that `settings` names, as if by calls of this builder.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.rest.explicit = settings.or(std::mem::take(&mut self.rest.explicit));
        self
    }

    /// Builds the cache. Connects to nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with a line for every problem: where it is, the rule, and the fix. If the one problem is the namespace,
    /// [`ErrorKind::Key`]; if it is what this version or feature set lacks, [`ErrorKind::Unsupported`].
    ///
    /// [`ErrorKind::Config`]: crate::ErrorKind::Config
    /// [`ErrorKind::Key`]: crate::ErrorKind::Key
    /// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
    #[expect(clippy::type_complexity, reason = "the type says what the intent makes of the builder's choices")]
    pub fn build(self) -> Result<Cache<P::Backend<B>, P::Codec<C>>, Error> {
        let Rest { namespace, explicit, environment, observers, clock } = *self.rest;
        let environment = environment.as_ref();
        let mut problems = environment.map(|environment| environment.problems.clone()).unwrap_or_default();
        let from_environment = environment.map(|environment| environment.settings.clone()).unwrap_or_default();
        let settings = explicit.clone().or(from_environment).or(self.preset.settings());
        let mut policy = settings.decide(&mut problems);
        let namespace = Namespace::new(&namespace);
        let codec = self.preset.codec(self.codec).and_then(|mut codec| {
            codec.configure(&policy)?;
            Ok(codec)
        });
        let mut hint = None;
        let choose = || {
            let chosen = (self.source)(environment)?;
            hint = chosen.hint;
            Ok(chosen.backend)
        };
        let backend = self.preset.backend(choose, environment);
        if let Ok(Some(backend)) = &backend {
            let can = backend.capabilities();
            policy.operation_timeout = settings.operation_timeout.unwrap_or(can.timeout);
            let has_bus = namespace.as_ref().is_ok_and(|namespace| backend.bus(&namespace.bus()).is_some());
            check::capabilities(&explicit, &policy, can, has_bus, &mut problems);
        }
        let (namespace, codec, backend) = match (namespace, codec, backend) {
            (Ok(namespace), Ok(codec), Ok(backend)) if problems.is_empty() => (namespace, codec, backend),
            (namespace, codec, backend) => {
                let others = [namespace.err(), codec.err(), backend.err()];
                return Err(check::everything_wrong(problems, others.into_iter().flatten()));
            }
        };
        let observers = listeners(&policy, observers);
        for message in environment.into_iter().flat_map(|environment| &environment.warnings) {
            observers.tell(Event::Warning { message });
        }
        let has_key = environment.is_some_and(|environment| environment.secrets.master.is_some());
        if has_key && !<P::Codec<C> as Codec>::CONFIDENTIAL {
            let message =
                "CACHEKIT_MASTER_KEY is set, but this cache does not encrypt: a key is no switch, use Intent::Secure";
            observers.tell(Event::Warning { message });
        }
        if backend.is_none() && policy.l1_max_size.is_none() {
            observers.tell(Event::Warning { message: "L1 is off and there is no backend: nothing is cached" });
        }
        Ok(Cache::assemble(Parts { namespace, policy, clock, observers, backend, hint, codec }))
    }

    fn with_source<B2>(self, source: Source<B2>) -> CacheBuilder<B2, C, P> {
        CacheBuilder { source, codec: self.codec, preset: self.preset, rest: self.rest }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($type:ty);)*) => {
        impl<B: Backend, C: Codec, P: Preset> CacheBuilder<B, C, P> {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $name: $type) -> Self {
                    self.rest.explicit.$name = Some($name);
                    self
                }
            )*
        }
    };
}

setters! {
    /// How long entries live, above zero and up to 3,650 days. Default 3,600 s.
    ttl(Duration);
    /// How long a `None` lives: a value that serde writes as such. Default: as any value.
    negative_ttl(Duration);
    /// Whether stale entries are served while they are renewed. Default: as the intent says.
    swr_enabled(bool);
    /// The share of its TTL after which an entry is stale, 0.1..=1.0. Default 0.5.
    swr_threshold_ratio(f64);
    /// Whether freshness is spread by up to 10 % either way. Default true, except with `Intent::Test`.
    jitter(bool);
    /// When to answer with an older value while a computation goes on; less than `deadline`. Default never.
    soft_timeout(Duration);
    /// When to give a computation up. Default 60 s.
    deadline(Duration);
    /// How long a failing computation is left alone while an older value stands in. Default 10 s.
    throttle(Duration);
    /// The longest one backend operation may take. Default: as the backend's own limits let it, 5 s for most.
    operation_timeout(Duration);
    /// Whether callers wait for the backend's write. Default: only where `background` is false.
    wait_for_write(bool);
    /// Whether work may go on after the answer; without it nothing is served stale while it is renewed. Default true,
    /// except with `Intent::Test`.
    background(bool);
    /// The largest stored value that is cached, in bytes. Default 104,857,600.
    max_value_size(u64);
    /// The size above which stored values are split, in MB of 1,048,576 bytes. Default 50.
    max_chunk_size_mb(f64);
    /// Whether there is an L1. Default true. Without L1 and backend nothing is cached, and a warning says so.
    l1_enabled(bool);
    /// The size of L1 in MB of 1,048,576 bytes, at least 1. Default 100.
    l1_max_size_mb(f64);
    /// Whether processes agree by leases on who computes. Default: as the intent says, where the backend has leases.
    leases(bool);
    /// Whether other processes are told what to forget. Default: as the intent says, where the backend has a bus.
    invalidation_enabled(bool);
    /// Whether entries of the backend carry versions of their namespace and tags, by which they can be forgotten all at
    /// once. Default: as the intent says.
    namespace_index(bool);
    /// Whether outcomes are counted. Default: as the intent says.
    stats(bool);
    /// What `tracing` is told, with feature `tracing`. Default: as the intent says.
    tracing(Tracing);
    /// Whether values above 1 KiB are compressed, where the codec can. Default true.
    compression_enabled(bool);
    /// The zlib level, 1..=9. Default 6.
    compression_level(u32);
    /// Whether an entry that a confidential codec finds not authentic is kept and reported as an error, instead of
    /// being a miss. Default false.
    fail_closed(bool);
    /// A number that makes entries stored under another number misses, for changes of meaning that the type does not
    /// show. Default 0.
    schema_version(u32);
}

impl<B, C: fmt::Debug, P: fmt::Debug> fmt::Debug for CacheBuilder<B, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("codec", &self.codec)
            .field("intent", &self.preset)
            .field("explicit", &self.rest.explicit)
            .finish_non_exhaustive()
    }
}

fn listeners(policy: &Policy, listeners: Vec<Arc<dyn Observer>>) -> Observers {
    let counters = policy.stats.then(Arc::<Counters>::default);
    let hits = !listeners.is_empty() || policy.tracing == Tracing::Verbose;
    #[cfg(feature = "tracing")]
    let listeners = {
        let mut listeners = listeners;
        if policy.tracing != Tracing::Off {
            listeners.push(Arc::new(TracingObserver { verbose: policy.tracing == Tracing::Verbose }));
        }
        listeners
    };
    Observers::new(counters, listeners, hits)
}
