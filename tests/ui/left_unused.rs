//! What does nothing by itself must be used.
#![deny(unused_must_use)]

use std::time::Duration;

use cachekit::{Backend, Cache, CacheBuilder, Codec, Computed, Error, Key, LeaseToken};

async fn leave<B: Backend, C: Codec>(users: &Cache<B, C>, backend: &B, key: &Key) -> Result<(), Error> {
    CacheBuilder::new().ttl(Duration::from_secs(60));
    CacheBuilder::new().build();
    users.entry(42).skip_l1_read();
    users.invalidate(42);
    Computed::new(1).do_not_store();
    backend.lease(key, Duration::from_secs(1), LeaseToken::random(), None).await?;
    Ok(())
}

fn main() {}
