//! Domains: parts of a cache with names, settings and counters of their own.
//!
//! Everything else (L1, flights, the backend, the bus) is shared. Each entry of a domain has the tag of the domain, so
//! forgetting a domain is an order about that tag.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Cache, Inner};
use crate::backends::Backend;
use crate::codec::Codec;
use crate::config::{self, Policy};
use crate::error::{Error, ErrorKind};
use crate::event::{Observers, Stats};
use crate::frame::{self, Tags};
use crate::memory::Share;
use crate::seal::Value;
use crate::tiers::Tiers;

mod settings;

pub use self::settings::DomainSettings;

/// The domains of a cache that were named so far.
#[derive(Debug, Default)]
pub(super) struct Domains(Mutex<BTreeMap<Arc<str>, Named>>);

/// A domain that was named.
#[derive(Debug, Clone)]
struct Named {
    settings: DomainSettings,
    policy: Arc<Policy>,
    observers: Observers,
    tag: Tags,
    share: Option<Arc<Share>>,
    types: Option<Types>,
}

/// What a domain holds.
#[derive(Debug, Clone, Copy)]
struct Types {
    ids: [TypeId; 2],
    /// Of keys and values.
    names: [&'static str; 2],
}

/// The longest name of a domain, in bytes.
const LONGEST_NAME: usize = 64;

impl<B: Backend, C: Codec> Cache<B, C> {
    /// The part of this cache that is called `name`, 1 to 64 bytes of any text, with the settings of the cache.
    ///
    /// A domain has keys of its own: `users` and `orders` may both have a key 42. It has its own [`stats`](Cache::stats),
    /// and [`invalidate_namespace`](Cache::invalidate_namespace), [`clear`](Cache::clear) and
    /// [`expire_all`](Cache::expire_all) of its handle concern it alone. Tags reach across all domains of the cache. It is
    /// the same cache otherwise: one L1, one backend with its connections and circuit breaker, one bus, one `close`.
    ///
    /// Of a domain's handle `domain` gives the other domain, not a part of the first. Domains are few and named by the
    /// program: each is remembered as long as the cache lives.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] if the name is empty or too long. [`ErrorKind::Config`] if the domain was named before with
    /// other settings.
    ///
    /// # Cost
    /// Some allocations and a lock. A handle kept costs nothing, and each entry eight bytes.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let shop = CacheBuilder::new().intent(Intent::Production).namespace("shop").build()?;
    /// let (users, orders) = (shop.domain("users")?, shop.domain("orders")?);
    /// users.entry(42).tags(["user:42"]).set("Ada".to_owned()).await?;
    /// orders.entry(42).tags(["user:42"]).set(99u32).await?;
    /// orders.set(43, 7u32).await?;
    ///
    /// shop.invalidate_tag("user:42").await?;
    /// assert_eq!((users.get::<String>(42).await?, orders.get::<u32>(42).await?), (None, None));
    /// users.invalidate_namespace().await?;
    /// assert_eq!(orders.get::<u32>(43).await?, Some(7));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn domain(&self, name: &str) -> Result<Self, Error> {
        self.domain_with(name, DomainSettings::new())
    }

    /// Like [`domain`](Cache::domain), with settings of its own. Name them once, and clone the handle; a
    /// second call must name the same.
    ///
    /// # Errors
    /// As [`domain`](Cache::domain), and [`ErrorKind::Config`] with a line for every setting that breaks its rule.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use cachekit::{CacheBuilder, DomainSettings};
    /// let shop = CacheBuilder::new().namespace("shop").build()?;
    /// let brief = DomainSettings::new().ttl(Duration::from_secs(5));
    /// let prices = shop.domain_with("prices", brief.clone())?;
    /// assert_eq!(prices.policy().ttl, Duration::from_secs(5));
    /// assert!(shop.domain_with("prices", brief).is_ok());
    /// let error = shop.domain("prices").unwrap_err().to_string();
    /// assert!(error.contains("was named before with other settings"));
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn domain_with(&self, name: &str, settings: DomainSettings) -> Result<Self, Error> {
        check_name(name)?;
        let (inner, shared) = (&*self.inner, &self.inner.shared);
        let (name, named) = shared.domains.name(name, settings, &shared.l2.policy, &shared.observers)?;
        let tiers = named.tiers(&inner.tiers);
        let inner = Inner {
            namespace: inner.namespace.domain(&name),
            domain: Some(name),
            plain_hits: tiers.has_plain_hits(&named.observers),
            tiers,
            clock: Arc::clone(&inner.clock),
            observers: named.observers,
            shared: Arc::clone(shared),
            warm: Arc::clone(&inner.warm),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Gives the domain of this handle its types, whose names are those of keys and values.
    pub(crate) fn bind<K: 'static, T: Value>(&self, name: &str, names: [&'static str; 2]) -> Result<(), Error> {
        self.inner.tiers.sealer.check_type::<T>()?;
        let types = Types { ids: [TypeId::of::<K>(), TypeId::of::<T>()], names };
        self.inner.shared.domains.bind(name, types)
    }
}

impl Named {
    /// Those of the domain.
    fn tiers<B: Backend, C: Codec>(&self, whole: &Tiers<B, C>) -> Tiers<B, C> {
        let Self { policy, observers, tag, share, .. } = self.clone();
        let sealer = Arc::new(whole.sealer.with_version(policy.schema_version));
        Tiers { sealer, policy, observers, domain: tag, share, ..whole.clone() }
    }
}

impl Domains {
    /// The domain of this name, as it was named before, or as it is now.
    fn name(
        &self,
        name: &str,
        settings: DomainSettings,
        whole: &Policy,
        observers: &Observers,
    ) -> Result<(Arc<str>, Named), Error> {
        let mut all = self.all();
        if let Some((name, named)) = all.get_key_value(name) {
            if named.settings == settings {
                return Ok((Arc::clone(name), named.clone()));
            }
            let message = format!(
                "the domain `{name}` was named before with other settings: name them in one place and clone the handle, \
                 or give the two domains names of their own"
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let mut problems = Vec::new();
        let policy = Arc::new(settings.over(whole, &mut problems));
        let share = settings.l1_bytes(whole, &mut problems).map(Share::new);
        if !problems.is_empty() {
            return Err(config::error(problems));
        }
        let observers = observers.of_part(settings.observers());
        let tag = Tags::from([frame::domain_tag(name)]);
        let named = Named { settings, policy, observers, tag, share, types: None };
        let name = Arc::<str>::from(name);
        all.insert(Arc::clone(&name), named.clone());
        Ok((name, named))
    }

    /// Gives a domain its types, once.
    fn bind(&self, name: &str, types: Types) -> Result<(), Error> {
        let mut all = self.all();
        let Some(named) = all.get_mut(name) else { return Ok(()) };
        let Types { ids, names: [key, value] } = *named.types.get_or_insert(types);
        if ids == types.ids {
            return Ok(());
        }
        let [other_key, other] = types.names;
        let message = format!(
            "the domain `{name}` holds `{value}` by `{key}`, and would hold `{other}` by `{other_key}`, too: give each \
             pair of types a domain of its own"
        );
        Err(Error::new(ErrorKind::Config, message))
    }

    /// Whether there is a domain of this name by now. The empty name is that of the cache itself.
    pub(super) fn has(&self, name: &str) -> bool {
        name.is_empty() || self.all().contains_key(name)
    }

    /// The tiers of the domain of this name, if there is one by now.
    pub(super) fn tiers<B: Backend, C: Codec>(&self, name: &str, whole: &Tiers<B, C>) -> Option<Tiers<B, C>> {
        if name.is_empty() { Some(whole.clone()) } else { Some(self.all().get(name)?.tiers(whole)) }
    }

    /// Shows each, with what hears of it.
    #[cfg(feature = "metrics")]
    pub(super) fn each(&self, mut see: impl FnMut(&str, &Observers)) {
        self.all().iter().for_each(|(name, named)| see(name, &named.observers));
    }

    /// Their names, by their tags.
    pub(super) fn by_tag(&self) -> HashMap<u64, Box<str>> {
        self.all().iter().flat_map(|(name, named)| named.tag.iter().map(|tag| (*tag, Box::from(&**name)))).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Named>> {
        // A map operation that panics leaves the map usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all domains together have done.
    pub(super) fn stats(&self) -> Stats {
        self.all().values().fold(Stats::default(), |sum, named| sum + named.observers.stats())
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let message = match name.len() {
        0 => "the name of the domain is empty: give it one".to_owned(),
        1..=LONGEST_NAME => return Ok(()),
        length => {
            format!("a domain's name of {length} bytes is longer than the {LONGEST_NAME} accepted: use a shorter one")
        }
    };
    Err(Error::new(ErrorKind::Key, message))
}
