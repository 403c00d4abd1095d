//! Encryption: what the backend sees, and what is refused.

mod keyrings;
#[cfg(target_os = "linux")]
mod leftovers;
mod names;
mod policies;
mod reference;
mod refusals;
mod sensitive;
mod silence;
mod tenants;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::{Encrypted, Keyring, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, Error, Intent, Key, LeaseToken, Settings};

use harness::support::{Journal, forward};

fn keyring(byte: u8) -> Keyring {
    Keyring::from_bytes(&[byte; 32]).unwrap()
}

/// A cache that encrypts, without work in the background, so that a test sees what it did.
fn secure<B: Backend + Clone>(backend: &B, keyring: Keyring) -> Cache<B, Encrypted<Postcard>> {
    told(backend, keyring, &Arc::default(), |_| {})
}

fn told<B: Backend + Clone>(
    backend: &B,
    keyring: Keyring,
    journal: &Arc<Journal>,
    set: impl FnOnce(&mut Settings),
) -> Cache<B, Encrypted<Postcard>> {
    let mut settings = Settings::default();
    (settings.background, settings.namespace_index) = (Some(false), Some(false));
    (settings.leases, settings.invalidation_enabled) = (Some(false), Some(false));
    set(&mut settings);
    CacheBuilder::new()
        .intent(Intent::Secure)
        .keyring(keyring)
        .backend(backend.clone())
        .settings(settings)
        .observer(Arc::clone(journal) as _)
        .namespace("users")
        .build()
        .unwrap()
}

/// A backend that remembers what is stored under which text, and may answer with something else.
#[derive(Debug, Clone)]
struct Spy {
    memory: Memory,
    seen: Arc<Mutex<Vec<(String, Bytes)>>>,
    answer: Arc<Mutex<Option<Bytes>>>,
    removed: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    fn new() -> Self {
        Self { memory: Memory::new(8 << 20), seen: Arc::default(), answer: Arc::default(), removed: Arc::default() }
    }

    fn last(&self) -> (String, Bytes) {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    fn all(&self) -> Vec<(String, Bytes)> {
        self.seen.lock().unwrap().clone()
    }

    fn removed(&self) -> Vec<String> {
        self.removed.lock().unwrap().clone()
    }

    /// Answers every read with these bytes.
    fn answer(&self, bytes: impl Into<Bytes>) {
        *self.answer.lock().unwrap() = Some(bytes.into());
    }

    fn note(&self, key: &Key, value: &Bytes) {
        self.seen.lock().unwrap().push((key.as_str().to_owned(), value.clone()));
    }
}

impl Backend for Spy {
    forward!(memory: capabilities ttl get_many remove_many part forget lease renew release ping bus);
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let answer = self.answer.lock().unwrap().clone();
        if answer.is_some() { Ok(answer) } else { self.memory.get(key).await }
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.note(key, &value);
        self.memory.set(key, value, ttl).await
    }
    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        items.iter().for_each(|(key, value)| self.note(key, value));
        self.memory.set_many(items, ttl).await
    }
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.note(key, &value);
        self.memory.fill(key, value, ttl, token).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.removed.lock().unwrap().push(key.as_str().to_owned());
        self.memory.remove(key).await
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
