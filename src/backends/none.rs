//! No backend: the type of a cache that lives in L1 alone.

use std::time::Duration;

use bytes::Bytes;

use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page};
use crate::bus::AnyBus;
use crate::error::Error;
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

/// The backend type of a cache without L2; see `CacheBuilder::l1_only`.
///
/// It has no values, so a `Cache<NoBackend, _>` cannot talk to anything, and the compiler knows.
///
/// # Examples
/// ```
/// use cachekit::backends::NoBackend;
/// use cachekit::codec::{Checked, Postcard};
/// use cachekit::{Cache, CacheBuilder};
/// let alone: Cache<NoBackend, Checked<Postcard>> = CacheBuilder::new().build()?;
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum NoBackend {}

/// Implements `Backend` for a type without values: its methods cannot be called.
macro_rules! without_values {
    ($name:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl Backend for $name {
            fn capabilities(&self) -> Capabilities {
                match *self {}
            }
            async fn get(&self, _: &Key) -> Result<Option<Bytes>, Error> {
                match *self {}
            }
            async fn set(&self, _: &Key, _: Bytes, _: Duration) -> Result<(), Error> {
                match *self {}
            }
            async fn remove(&self, _: &Key) -> Result<(), Error> {
                match *self {}
            }
            async fn ttl(&self, _: &Key) -> Result<Option<Duration>, Error> {
                match *self {}
            }
            async fn get_many(&self, _: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
                match *self {}
            }
            async fn set_many(&self, _: Vec<(Key, Bytes)>, _: Duration) -> Result<(), Error> {
                match *self {}
            }
            async fn remove_many(&self, _: &[Key]) -> Result<(), Error> {
                match *self {}
            }
            fn part(&self, _: &Key) -> u16 {
                match *self {}
            }
            async fn forget(&self, _: &Order) -> Result<Forgotten, Error> {
                match *self {}
            }
            async fn lease(&self, _: &Key, _: Duration, _: LeaseToken, _: Option<&Bytes>) -> Result<Lease, Error> {
                match *self {}
            }
            async fn renew(&self, _: &Key, _: Duration, _: LeaseToken) -> Result<bool, Error> {
                match *self {}
            }
            async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: LeaseToken) -> Result<bool, Error> {
                match *self {}
            }
            async fn release(&self, _: &Key, _: LeaseToken) -> Result<(), Error> {
                match *self {}
            }
            async fn ping(&self) -> Result<(), Error> {
                match *self {}
            }
            fn bus(&self, _: &Key) -> Option<AnyBus> {
                match *self {}
            }
            fn address(&self) -> Option<String> {
                match *self {}
            }
            async fn diagnose(&self, _: &Key) -> Vec<Finding> {
                match *self {}
            }
            async fn scan(&self, _: &str, _: Option<Cursor>, _: usize) -> Result<Page, Error> {
                match *self {}
            }
        }
    };
}
#[cfg(not(feature = "cachekitio"))]
pub(super) use without_values;

without_values!(NoBackend);
