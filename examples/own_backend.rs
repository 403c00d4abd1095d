//! A backend of your own, the proof that it keeps the contract, and a cache over it.
//!
//! Run it with `cargo run --example own_backend --features testing`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Capabilities, Lease, LeaseToken};
use cachekit::testing::{ManualClock, conformance};
use cachekit::{AnyBus, Backend, CacheBuilder, Clock, Error, ErrorKind, Forgotten, Key, Order, SystemClock};

/// Entries in a map, each with the moment it ends. It forgets an expired entry when it is asked for.
#[derive(Debug)]
struct Shelf {
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<Key, (Bytes, u64)>>,
}

impl Shelf {
    const LIMIT: usize = 1 << 20;

    /// What is under `key`, and when it ends.
    fn find(&self, key: &Key) -> Option<(Bytes, u64)> {
        let now = self.clock.ticks();
        self.with(|entries| match entries.get(key) {
            Some((value, ends)) if now < *ends => Some((value.clone(), *ends)),
            _ => {
                entries.remove(key);
                None
            }
        })
    }

    /// When what is kept for `ttl` from now ends. Rounded up to whole milliseconds, never down.
    fn end(&self, ttl: Duration) -> u64 {
        self.clock.ticks().saturating_add(ttl.as_nanos().div_ceil(1_000_000) as u64)
    }

    fn with<R>(&self, f: impl FnOnce(&mut HashMap<Key, (Bytes, u64)>) -> R) -> R {
        f(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn no_leases() -> Error {
    Error::new(ErrorKind::Unsupported, "a shelf has no leases")
}

impl Backend for Shelf {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("shelf").max_value(Self::LIMIT)
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        Ok(self.find(key).map(|(value, _)| value))
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        if value.len() > Self::LIMIT {
            return Err(Error::new(ErrorKind::TooLarge, "a shelf takes values of up to 1 MiB"));
        }
        self.with(|entries| entries.insert(key.clone(), (value, self.end(ttl))));
        Ok(())
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.with(|entries| entries.remove(key));
        Ok(())
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let now = self.clock.ticks();
        Ok(self.find(key).map(|(_, ends)| Duration::from_millis(ends.saturating_sub(now))))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        Ok(keys.iter().map(|key| self.find(key).map(|(value, _)| value)).collect())
    }

    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        for (key, value) in items {
            self.set(&key, value, ttl).await?;
        }
        Ok(())
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.with(|entries| keys.iter().for_each(|key| drop(entries.remove(key))));
        Ok(())
    }

    fn part(&self, _: &Key) -> u16 {
        0
    }

    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        self.with(|entries| {
            let found: Vec<_> =
                order.keys().iter().map(|key| entries.get(key).map(|(value, _)| value.clone())).collect();
            let (changes, forgotten) = order.carry_out(&found);
            entries.extend(changes.into_iter().map(|(key, value)| (key, (value, u64::MAX))));
            Ok(forgotten)
        })
    }

    async fn lease(&self, _: &Key, _: Duration, _: LeaseToken, _: Option<&Bytes>) -> Result<Lease, Error> {
        Err(no_leases())
    }

    async fn renew(&self, _: &Key, _: Duration, _: LeaseToken) -> Result<bool, Error> {
        Err(no_leases())
    }

    async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: LeaseToken) -> Result<bool, Error> {
        Err(no_leases())
    }

    async fn release(&self, _: &Key, _: LeaseToken) -> Result<(), Error> {
        Err(no_leases())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    fn bus(&self, _: &Key) -> Option<AnyBus> {
        None
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let clock = ManualClock::new();
    let make = || async { Shelf { clock: Arc::new(clock.clone()), entries: Mutex::default() } };
    let kept = conformance::backend(make, conformance::BackendOptions::manual(clock.clone())).await;
    println!("The shelf keeps the contract:");
    for sentence in kept {
        println!("- {sentence}");
    }

    // The intent turns on what a shelf lacks, so the cache has a warning, with what to do about it.
    let shelf = Shelf { clock: Arc::new(SystemClock), entries: Mutex::default() };
    let cache = CacheBuilder::new().backend(shelf).namespace("books").build()?;
    for warning in cache.warnings() {
        eprintln!("warning: {warning}");
    }
    cache.set("moby-dick", 1851u16).await?;
    println!("Moby-Dick is of {:?}", cache.entry("moby-dick").skip_l1_read().get::<u16>().await?);
    Ok(())
}
