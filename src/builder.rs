//! The builder: three choices of type, everything else a setting.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use crate::backends::{AnyBackend, Backend, NoBackend};
use crate::cache::{About, Cache, Parts};
use crate::clock::{self, Clock};
#[cfg(feature = "encryption")]
use crate::codec::Keyring;
use crate::codec::{Codec, Compressed, Postcard};
use crate::config::{Decided, Environment, Grace, Secrets, Settings, Setup};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::intent::{Preset, Production};
use crate::key::Namespace;
use crate::memory::Weighers;
use crate::seal::Value;

mod bus;
mod check;
mod fittings;
mod neighbours;
mod settings;

use self::bus::BusSource;
use self::neighbours::Resident;

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
    namespace: Option<String>,
    explicit: Settings,
    environment: Option<Environment>,
    secrets: Option<Secrets>,
    observers: Vec<Arc<dyn Observer>>,
    bus: Option<BusSource>,
    clock: Arc<dyn Clock>,
    weighers: Weighers,
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

/// The hint for the default backend.
const NOBODY_CHOSE: &str = "no variable selects a backend, and Redis at redis://localhost:6379/0, the default, does not answer: the \
                            cache goes on with L1 alone; set CACHEKIT_REDIS_URL, or call .l1_only()";

impl CacheBuilder<NoBackend, Postcard, Production> {
    /// A builder that reads no environment: L1 alone, [`Postcard`], [`Production`].
    pub fn new() -> Self {
        let rest = Rest {
            namespace: None,
            explicit: Settings::default(),
            environment: None,
            secrets: None,
            observers: Vec::new(),
            bus: None,
            clock: clock::system(),
            weighers: Weighers::default(),
        };
        Self { source: Box::new(|_| Ok(None.into())), codec: Postcard, preset: Production, rest: Box::new(rest) }
    }
}

impl Default for CacheBuilder<NoBackend, Postcard, Production> {
    fn default() -> Self {
        Self::new()
    }
}

impl CacheBuilder<AnyBackend, Compressed<Postcard>, Production> {
    /// A builder whose backend and settings come from the `CACHEKIT_*` variables of this process.
    ///
    /// Reads them now; what is wrong with them waits for [`build`](Self::build). The cache's type is `Cache<AnyBackend,
    /// Standard>`, with [`Standard`](crate::codec::Standard), unless an intent, a codec or a backend is named.
    pub fn from_env() -> Self {
        Self::from_environment(Environment::from_env())
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
        Self::from_environment(Environment::from_vars(vars))
    }

    /// Like [`from_env`](Self::from_env), of an environment that was read before.
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
            let backend = environment.map(AnyBackend::selected_by).transpose()?;
            let is_default = environment.is_some_and(|environment| matches!(environment.selected, Ok(None)));
            Ok(Chosen { backend, hint: is_default.then_some(NOBODY_CHOSE) })
        };
        let mut builder = CacheBuilder::new().codec(Compressed::new(Postcard)).with_source(Box::new(source));
        builder.rest.environment = Some(environment);
        builder
    }
}

impl<B: Backend, C: Codec, P: Preset> CacheBuilder<B, C, P> {
    /// Keeps entries in `backend`, whatever the environment says. [`intent::Io`](crate::intent::Io) replaces it. With
    /// [`AnyBackend::none`] there is L1 alone, as with [`l1_only`](Self::l1_only).
    pub fn backend<B2: Backend>(self, backend: B2) -> CacheBuilder<B2, C, P> {
        self.with_source(Box::new(|_| Ok(Some(backend).into())))
    }

    /// Keeps entries in L1 alone, whatever the environment says.
    ///
    /// Several processes then hold values of their own. With [`bus_from`](Self::bus_from) they tell one another what to
    /// forget: what one sets, invalidates or lets expire leaves the L1 of the others, each of which computes it anew.
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
    /// `default`, which is for a program with one cache: two that name none over one backend are a warning.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.rest.namespace = Some(namespace.into());
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

    /// Measures time with `clock`. Default [`SystemClock`](crate::SystemClock), one
    /// for all: caches over one store share its circuit breaker only if they have the same clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.rest.clock = clock;
        self
    }

    /// Weighs values of type `T` in L1 by what `weigher` says: the bytes that a value owns on the heap, to which L1 adds
    /// what it takes in place. One weigher for each type, the last counts; domains and tenants of the cache have the same.
    ///
    /// Without one, L1 estimates by what serde shows of a value. That is too little for what serde does not see, such as a
    /// field with `#[serde(skip)]` or capacity beyond the length, and off for many small boxes.
    ///
    /// What it says counts in L1 alone, and a value that so weighs more than `max_value_size` is not kept there. It has no
    /// effect where L1 keeps ciphertext (`Intent::Secure`).
    ///
    /// # Cost
    /// Each value that enters L1 is weighed once more, on the thread that puts it there and under no lock. Of a weigher that
    /// panics the estimate is taken.
    ///
    /// # Examples
    /// ```
    /// use cachekit::CacheBuilder;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Page {
    ///     text: String,
    ///     #[serde(skip)]
    ///     index: Vec<u64>,
    /// }
    /// let heap = |page: &Page| page.text.capacity() + page.index.capacity() * size_of::<u64>();
    /// let pages = CacheBuilder::new().weigher(heap).build()?;
    /// pages.set("home", Page { text: "welcome".to_owned(), index: vec![0; 1_000] }).await?;
    /// assert!(pages.l1_bytes() > 8_000);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn weigher<T: Value>(mut self, weigher: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        self.rest.weighers.add(weigher);
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

    /// Encrypts with these keys, whatever the environment says. A key is a source, not a switch: it is
    /// [`Intent::Secure`](crate::intent::Secure) that encrypts, or another intent whose codec asks for keys. Keys named
    /// here stand in for all of the environment's.
    ///
    /// # Examples
    /// ```
    /// use cachekit::codec::Keyring;
    /// use cachekit::{CacheBuilder, Intent};
    /// # let key = "ab".repeat(32);
    /// let cards = CacheBuilder::new().intent(Intent::Secure).keyring(Keyring::from_hex(&key)?).build()?;
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    #[cfg(feature = "encryption")]
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.rest.secrets = Some(keyring.secrets());
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
        let Rest { namespace, mut explicit, environment, secrets, observers, bus, clock, weighers } = *self.rest;
        // That is what a bus is named for.
        explicit.invalidation_enabled = explicit.invalidation_enabled.or(bus.is_some().then_some(true));
        let environment = environment.as_ref();
        let mut problems = environment.map(|environment| environment.problems.clone()).unwrap_or_default();
        let from_environment = environment.map(|environment| environment.settings.clone()).unwrap_or_default();
        let mut decided = Decided::new(&explicit, &from_environment, &self.preset.settings());
        let settings = decided.settings.clone();
        let mut policy = settings.decide(&mut problems);
        let is_named = namespace.is_some();
        let mut namespace = Namespace::new(namespace.as_deref().unwrap_or("default"));
        let observers = fittings::listeners(&policy, observers, environment);
        let has_key = secrets.is_some() || environment.is_some_and(|environment| environment.secrets.master.is_some());
        policy.setup = fittings::setup(secrets, environment, observers.clone());
        let codec = self.preset.codec(self.codec).and_then(|mut codec| {
            codec.configure(&policy)?;
            Ok(codec)
        });
        let Setup { names, .. } = std::mem::take(&mut policy.setup);
        if let (Ok(namespace), true) = (&mut namespace, policy.hashed_keys) {
            namespace.hide_names(names.get().cloned());
        }
        let is_named_bus = bus.is_some();
        let bus = bus.and_then(|bus| bus::resolve(bus, namespace.as_ref().ok()?, &mut problems));
        let (mut hint, mut missing, mut has_own_bus) = (None, None, false);
        let choose = || {
            let chosen = (self.source)(environment)?;
            hint = chosen.hint;
            Ok(chosen.backend)
        };
        let backend = self.preset.backend(choose, environment);
        let backend = backend.map(|backend| backend.filter(|backend| !backend.capabilities().absent));
        if let Ok(Some(backend)) = &backend {
            let can = backend.capabilities();
            fittings::suit(&mut policy, &settings, can);
            fittings::note(&mut decided, &policy);
            has_own_bus = namespace.as_ref().is_ok_and(|namespace| backend.bus(&namespace.bus()).is_some());
            let has_bus = bus.is_some() || has_own_bus;
            check::capabilities(&explicit, can, has_bus, &mut problems);
            missing = check::missing(&policy, can, has_bus);
        }
        if let Ok(backend) = &backend {
            check::life(&policy, backend.as_ref().map(Backend::capabilities), &mut problems);
        }
        let (namespace, codec, backend) = match (namespace, codec, backend) {
            (Ok(namespace), Ok(codec), Ok(backend)) if problems.is_empty() => (namespace, codec, backend),
            (namespace, codec, backend) => {
                let others = [namespace.err(), codec.err(), backend.err()];
                return Err(check::everything_wrong(problems, others.into_iter().flatten()));
            }
        };
        let can = backend.as_ref().map(Backend::capabilities);
        let stack = fittings::stack(&codec, &policy);
        let has_idle_key = has_key && !<P::Codec<C> as Codec>::CONFIDENTIAL;
        let mut warnings = fittings::warnings(environment, &policy, can, has_idle_key);
        warnings.extend(missing);
        if let Some(can) = can
            && let Some(store) = can.store
        {
            let resident = Resident { is_named, stack: stack.clone(), life: observers.life() };
            warnings.extend(neighbours::meet(can.name, store, namespace.root(), resident));
        }
        warnings.iter().for_each(|message| observers.tell(Event::Warning { message }));
        let bus_name = fittings::bus(&policy, is_named_bus, has_own_bus);
        fittings::settle(&mut decided, &policy, bus_name != "none");
        let about = About {
            intent: format!("{:?}", self.preset),
            backend: can.map_or("none", |can| can.name),
            address: backend.as_ref().and_then(Backend::address),
            codec: stack,
            bus: bus_name,
            decided,
        };
        Ok(Cache::assemble(Parts { namespace, policy, clock, observers, backend, hint, bus, codec, weighers, about }))
    }

    fn with_source<B2>(self, source: Source<B2>) -> CacheBuilder<B2, C, P> {
        CacheBuilder { source, codec: self.codec, preset: self.preset, rest: self.rest }
    }
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
