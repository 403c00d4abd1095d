//! What a cache keeps in the backend for itself, under a reserved name.
//!
//! It is sealed as entries are, and no order forgets it.

use std::sync::Arc;
use std::time::Duration;

use super::Tiers;
use crate::backends::Backend;
use crate::clock::millis;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::Why;
use crate::key::Key;
use crate::seal::{Dates, Marks, Value};

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// What was noted under this name. What cannot be read is none.
    pub(crate) async fn recall<T: Value>(&self, name: &Key) -> Result<Option<T>, Error> {
        let Some(guard) = &self.l2.guard else { return Ok(None) };
        let Some(bytes) = guard.read(name, &Why::default()).await? else { return Ok(None) };
        let Ok(head) = self.sealer.head(name.as_str(), &bytes) else { return Ok(None) };
        Ok(self.open(name, &bytes, &head).await.ok())
    }

    /// Notes a value under this name, for so long.
    pub(crate) async fn note<T: Value>(&self, name: &Key, value: T, ttl: Duration) -> Result<(), Error> {
        let Some(guard) = &self.l2.guard else { return Ok(()) };
        let ttl = ttl.min(guard.capabilities().max_ttl);
        let (created, clock, life) = (self.clock.wall(), self.l2.clocks.own(&*self.clock), millis(ttl));
        let dates = Dates { created, fresh_for: life, ttl: life, grace: 0, own_grace: false, clock };
        let sealed = self.sealing(name, &Arc::new(value), dates, Duration::ZERO).seal(Marks::default()).await?;
        let permit = guard.queue_write(name, sealed.len(), true).await?;
        guard.put_next(&permit, name, sealed, ttl, None).await.map(|_| ())
    }
}
