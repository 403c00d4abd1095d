//! Tenants: parts of a cache that cannot read one another.
//!
//! A tenant has names and keys of its own. Everything else (L1, flights, fences, the backend) is shared, because what
//! tells entries apart there is their name.

use std::sync::Arc;

use super::{Cache, Inner};
use crate::backends::Backend;
use crate::codec::{Codec, Encrypted};
use crate::error::Error;
use crate::key::Tenant;
use crate::tiers::Tiers;

impl<B: Backend, C: Codec> Cache<B, Encrypted<C>> {
    /// The part of this cache that belongs to the tenant `id`: 1 to 256 bytes of any text.
    ///
    /// Its entries are encrypted with a key derived for the tenant, and bound to its id: an entry that is copied
    /// to another tenant's name is not authentic there. Its names cannot be those of another tenant, or of this cache.
    ///
    /// It is the same cache otherwise: one L1, one backend, one `close`. Tags and
    /// [`invalidate_namespace`](Cache::invalidate_namespace) reach all tenants of the namespace. Of a tenant's handle
    /// `tenant` gives a handle of the other tenant, not of a part of the first; of the handle of a
    /// [domain](Cache::domain) it gives that domain of the tenant.
    ///
    /// # Errors
    /// [`ErrorKind::Key`](crate::ErrorKind::Key) if the id is empty or too long.
    ///
    /// # Cost
    /// An allocation, and some microseconds for deriving keys unless the tenant is among the 256 used last. A handle
    /// kept costs nothing.
    ///
    /// # Examples
    /// ```
    /// use cachekit::codec::Keyring;
    /// use cachekit::{CacheBuilder, Intent};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let key = "ab".repeat(32);
    /// let users = CacheBuilder::new().intent(Intent::Secure).keyring(Keyring::from_hex(&key)?).build()?;
    /// let (acme, globex) = (users.tenant("acme")?, users.tenant("globex")?);
    /// acme.set(42, "ada".to_owned()).await?;
    /// assert_eq!(acme.get::<String>(42).await?.as_deref(), Some("ada"));
    /// assert_eq!(globex.get::<String>(42).await?, None);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub fn tenant(&self, id: &str) -> Result<Self, Error> {
        let (inner, tenant) = (&*self.inner, Tenant::new(id)?);
        let codec = inner.tiers.sealer.codec().tenant(&tenant)?;
        let names = codec.names()?;
        let sealer = Arc::new(inner.tiers.sealer.with_codec(codec));
        let inner = Inner {
            namespace: inner.namespace.tenant(&tenant, names),
            domain: inner.domain.clone(),
            tiers: Tiers { sealer, ..inner.tiers.clone() },
            clock: Arc::clone(&inner.clock),
            observers: inner.observers.clone(),
            shared: Arc::clone(&inner.shared),
            warm: Arc::clone(&inner.warm),
            plain_hits: inner.plain_hits,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}
