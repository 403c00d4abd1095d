//! Buses from elsewhere.
//!
//! A backend without a bus, or no backend at all, leaves the processes deaf to one another; any bus makes them hear.

use super::CacheBuilder;
use crate::backends::Backend;
use crate::bus::{AnyBus, Bus};
use crate::codec::Codec;
use crate::config::{Fault, Problem};
use crate::intent::Preset;
use crate::key::{Key, Namespace};

/// Gives the bus of a name, once the namespace is known.
pub(super) type BusSource = Box<dyn FnOnce(&Key) -> Result<AnyBus, Problem> + Send>;

/// The bus of a namespace, or what is wrong with it.
pub(super) fn resolve(bus: BusSource, namespace: &Namespace, problems: &mut Vec<Problem>) -> Option<AnyBus> {
    bus(&namespace.bus()).map_err(|problem| problems.push(problem)).ok()
}

impl<B: Backend, C: Codec, P: Preset> CacheBuilder<B, C, P> {
    /// Tells other processes what to forget by the bus of `backend`, in place of that of the cache's own backend.
    ///
    /// So a cache over memcached, files or the CachekitIO API has a bus, say that of a [`Redis`]; and so has a cache
    /// without backend, whose processes then keep one another's L1 honest. Entries are not kept there. All processes
    /// over the same entries name the same bus. Sets `invalidation_enabled`, unless that is called with `false`.
    ///
    /// A bus that fails leaves the circuit breaker of the cache's backend closed. What could not be told fails the call
    /// of [`set`](crate::Cache::set) or [`invalidate`](crate::Cache::invalidate) that it is about, and is told again
    /// in the background. While the bus cannot be heard, L1 is believed for three seconds at a time, or for
    /// [`max_staleness`](Self::max_staleness), and an [`Event::Warning`](crate::Event::Warning) says why.
    ///
    /// # Cost
    /// What `backend` needs for it: with [`Redis`], one connection to listen, whatever the number of
    /// caches over it, and one small write for each change.
    ///
    /// # Examples
    /// Two caches without a backend, as in two processes; [`Memory`](crate::backends::Memory) stands in for a server.
    /// ```
    /// use cachekit::{CacheBuilder, backends::Memory};
    /// # use std::time::Duration;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let server = Memory::new(1 << 20);
    /// let cache = || CacheBuilder::new().namespace("prices").bus_from(server.clone()).build();
    /// let (here, there) = (cache()?, cache()?);
    /// there.set("tea", 3u32).await?;
    /// here.set("tea", 4u32).await?;
    /// # while there.get::<u32>("tea").await?.is_some() {
    /// #     tokio::time::sleep(Duration::from_millis(1)).await;
    /// # }
    /// // A moment later `there` has forgotten the price, and would compute it.
    /// assert_eq!(there.get::<u32>("tea").await?, None);
    /// assert_eq!(here.get::<u32>("tea").await?, Some(4));
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    ///
    /// [`Redis`]: crate::backends
    pub fn bus_from(mut self, backend: impl Backend) -> Self {
        let source = move |name: &Key| {
            backend.bus(name).ok_or_else(|| {
                let rule = format!("the {} backend has no bus to other processes", backend.capabilities().name);
                Problem::new("bus_from", Fault::new(rule, "name one that has, such as Redis, or leave bus_from out"))
            })
        };
        self.rest.bus = Some(Box::new(source));
        self
    }

    /// Tells other processes what to forget by `bus`, as [`bus_from`](Self::bus_from) does by that of a backend.
    ///
    /// The bus is for this namespace alone: an order to forget a namespace or a tag names neither, so caches of other
    /// namespaces on the same bus would obey it, too.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bytes::Bytes;
    /// use cachekit::{Batch, Bus, CacheBuilder, Error, Position};
    ///
    /// /// Says to everybody that anything may have changed: right, and slow.
    /// #[derive(Debug)]
    /// struct Doubt;
    ///
    /// impl Bus for Doubt {
    ///     async fn publish(&self, _: Bytes) -> Result<(), Error> {
    ///         Ok(())
    ///     }
    ///     async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
    ///         if after.is_some() {
    ///             tokio::time::sleep(wait.min(Duration::from_secs(10))).await;
    ///         }
    ///         Ok(Batch { messages: Vec::new(), position: Position::new("nowhere"), gap: after.is_some() })
    ///     }
    /// }
    ///
    /// let cache = CacheBuilder::new().bus(Doubt).build()?;
    /// assert!(cache.policy().invalidation);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn bus(mut self, bus: impl Bus) -> Self {
        let bus = AnyBus::new(bus);
        self.rest.bus = Some(Box::new(|_| Ok(bus)));
        self
    }
}
