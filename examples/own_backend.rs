//! A backend of your own, and the proof that it keeps the contract.
//!
//! Run it with `cargo run --example own_backend --features testing`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Capabilities, Lease, LeaseToken};
use cachekit::testing::{ManualClock, conformance};
use cachekit::{Backend, Clock, Error, ErrorKind, Key};

/// Entries in a map, each with the moment it ends. It forgets an expired entry when it is asked for.
#[derive(Debug)]
struct Shelf {
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<Key, (Bytes, u64)>>,
}

impl Shelf {
    const LIMIT: usize = 1 << 20;

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
        let now = self.clock.ticks();
        Ok(self.with(|entries| match entries.get(key) {
            Some((value, ends)) if now < *ends => Some(value.clone()),
            _ => {
                entries.remove(key);
                None
            }
        }))
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        if value.len() > Self::LIMIT {
            return Err(Error::new(ErrorKind::TooLarge, "a shelf takes values of up to 1 MiB"));
        }
        // Rounded up to whole milliseconds, never down.
        let ends = self.clock.ticks().saturating_add(ttl.as_nanos().div_ceil(1_000_000) as u64);
        self.with(|entries| entries.insert(key.clone(), (value, ends)));
        Ok(())
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.with(|entries| entries.remove(key));
        Ok(())
    }

    async fn lease(&self, _: &Key, _: Duration) -> Result<Lease, Error> {
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
}

#[tokio::main]
async fn main() {
    let clock = ManualClock::new();
    let make = || async { Shelf { clock: Arc::new(clock.clone()), entries: Mutex::default() } };
    let kept = conformance::backend(make, conformance::BackendOptions::manual(clock.clone())).await;
    println!("The shelf keeps the contract:");
    for sentence in kept {
        println!("- {sentence}");
    }
}
