//! Reports: how a cache is set up.

use super::Cache;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::config::{Decided, Report};

/// What the builder knew of a cache and the cache itself does not need.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) intent: String,
    pub(crate) backend: &'static str,
    pub(crate) address: Option<String>,
    pub(crate) codec: String,
    pub(crate) bus: &'static str,
    pub(crate) decided: Decided,
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// How this cache is set up: its namespace, backend, codecs, intent and bus, and each setting with the place that its
    /// value comes from. No secret is in it.
    ///
    /// The settings are those of the whole cache, of a [domain](Cache::domain) too.
    ///
    /// # Cost
    /// Some sixty short texts: for a start of a program, or for who asks.
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent, backends::Memory};
    /// let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).intent(Intent::Test).namespace("users").build()?;
    /// let report = cache.report();
    /// assert_eq!((report.backend, report.codec.as_str(), report.intent.as_str()), ("memory", "postcard", "Test"));
    /// assert!(report.to_string().contains("wait_for_write"));
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn report(&self) -> Report {
        let About { intent, backend, address, codec, bus, decided } = &*self.inner.shared.about;
        Report {
            namespace: self.inner.name().to_owned(),
            domain: self.inner.domain.as_deref().map(str::to_owned),
            backend,
            address: address.clone(),
            codec: codec.clone(),
            intent: intent.clone(),
            bus,
            rows: decided.rows(),
        }
    }
}
