//! The settings of a domain: what differs from those of its cache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Grace, Policy, Problem, Settings};
use crate::event::Observer;

/// What a domain of a cache does in a way of its own; everything else is as the cache does it.
///
/// Taken by [`Cache::domain_with`](crate::Cache::domain_with) and [`Cache::typed_with`](crate::Cache::typed_with), which
/// check it by the rules of the settings of the same names.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use cachekit::{CacheBuilder, DomainSettings};
/// let cache = CacheBuilder::new().namespace("shop").ttl(Duration::from_secs(3_600)).build()?;
/// let prices = cache.domain_with("prices", DomainSettings::new().ttl(Duration::from_secs(5)).jitter(false))?;
/// assert_eq!((prices.policy().ttl.as_secs(), cache.policy().ttl.as_secs()), (5, 3_600));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "settings do nothing until a domain takes them"]
pub struct DomainSettings {
    settings: Settings,
    l1_share: Option<f64>,
    observers: Vec<Arc<dyn Observer>>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.settings.$name = Some($name);
            self
        }
    )*};
}

impl DomainSettings {
    /// Those of the cache.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// How long entries live, above zero and up to 3,650 days.
        ttl: Duration;
        /// How long a `None` lives: a value that serde writes as such. Above zero.
        negative_ttl: Duration;
        /// The longest that L1 answers with an entry before the backend is read again. Above zero. So stale at most an entry of
        /// the domain is, whatever is heard: `max_staleness` is a setting of the whole cache, because all domains hear
        /// other processes by one bus.
        l1_ttl: Duration;
        /// Whether stale entries are served while they are renewed.
        swr_enabled: bool;
        /// The share of its TTL after which an entry is stale, 0.1..=1.0.
        swr_threshold_ratio: f64;
        /// Whether entries that are stored at once end one after another.
        jitter: bool;
        /// How eagerly entries are renewed ahead of their end, 0..=100.
        xfetch_beta: f64;
        /// When to answer with an older value while a computation goes on; less than `deadline`.
        soft_timeout: Duration;
        /// When to give a computation up. Above zero.
        deadline: Duration;
        /// How long the error of a computation is kept in this process. Above zero.
        error_ttl: Duration;
        /// A number that makes entries stored under another number misses.
        schema_version: u32;
    }

    /// How long after its expiry an entry may stand in for a failing computation: a duration, or [`Grace::Ttl`].
    pub fn stale_if_error(mut self, grace: impl Into<Grace>) -> Self {
        self.settings.stale_if_error = Some(grace.into());
        self
    }

    /// The share of L1 that the entries of this domain take at most, above 0 and up to 1. Default: as much as their reads
    /// earn them, as the entries of all domains.
    ///
    /// For a domain that would push out others which are read less often and cost more. When it has its share, a new
    /// entry takes the place of one of its own that is old and little read. One that alone is
    /// more than the share is not kept in L1. What the share leaves free others use.
    pub fn l1_share(mut self, share: f64) -> Self {
        self.l1_share = Some(share);
        self
    }

    /// The bytes of L1 that the domain may take, if it has a share.
    pub(super) fn l1_bytes(&self, whole: &Policy, problems: &mut Vec<Problem>) -> Option<usize> {
        let share = config::share(problems, "l1_share", self.l1_share)?;
        Some((whole.l1_max_size? as f64 * share) as usize)
    }

    /// Tells `observer` of what this domain does, after the observers of the cache. May be called several times. Of the
    /// backend, its circuit breaker and the bus the cache's observers hear alone.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    pub(super) fn observers(&self) -> &[Arc<dyn Observer>] {
        &self.observers
    }

    /// The policy of a domain of a cache with the policy `whole`.
    pub(super) fn over(&self, whole: &Policy, problems: &mut Vec<Problem>) -> Policy {
        let Settings {
            ttl,
            negative_ttl,
            l1_ttl,
            stale_if_error,
            swr_enabled,
            swr_threshold_ratio,
            jitter,
            xfetch_beta,
            soft_timeout,
            deadline,
            error_ttl,
            schema_version,
            ..
        } = self.settings;
        let renews = swr_enabled.unwrap_or(whole.swr_threshold_ratio.is_some());
        let deadline = deadline.or(Some(whole.deadline));
        let soft_timeout = soft_timeout.or(whole.soft_timeout);
        let swr_threshold_ratio = swr_threshold_ratio.or(whole.swr_threshold_ratio);
        let (swr_enabled, settings) = (Some(renews), self.settings.clone());
        let asked = Settings { deadline, soft_timeout, swr_enabled, swr_threshold_ratio, ..settings }.decide(problems);
        Policy {
            ttl: ttl.map_or(whole.ttl, |_| asked.ttl),
            negative_ttl: negative_ttl.and(asked.negative_ttl).or(whole.negative_ttl),
            l1_ttl: l1_ttl.and(asked.l1_ttl).or(whole.l1_ttl),
            stale_if_error: stale_if_error.map_or(whole.stale_if_error, |_| asked.stale_if_error),
            swr_threshold_ratio: asked.swr_threshold_ratio,
            jitter: jitter.unwrap_or(whole.jitter),
            xfetch_beta: xfetch_beta.map_or(whole.xfetch_beta, |_| asked.xfetch_beta),
            soft_timeout: asked.soft_timeout,
            deadline: asked.deadline,
            error_ttl: error_ttl.and(asked.error_ttl).or(whole.error_ttl),
            schema_version: schema_version.unwrap_or(whole.schema_version),
            ..whole.clone()
        }
    }
}

/// Observers are equal if they are the same ones.
impl PartialEq for DomainSettings {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.l1_share == other.l1_share
            && self.observers.len() == other.observers.len()
            && self.observers.iter().zip(&other.observers).all(|(one, two)| Arc::ptr_eq(one, two))
    }
}

impl fmt::Debug for DomainSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DomainSettings");
        shown
            .field("settings", &self.settings)
            .field("l1_share", &self.l1_share)
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}
