//! Entries of other keys: what a backend gives for one key and was stored for another is a miss, whatever the codec.
#![cfg(unix)]
#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{File, Memcached, Memory, Redis};
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{
    Backend, Cache, CacheBuilder, Codec, FileLimits, Grace, Intent, Key, MemcachedSettings, Settings, Unreadable,
};

use crate::servers::{self, Server};
use harness::support::{Broken, Journal, Note};

const TTL: Duration = Duration::from_secs(60);

/// Neither a checksum nor encryption.
fn minimal<B: Backend>(backend: B, journal: &Arc<Journal>) -> Cache<B, Postcard> {
    let builder = CacheBuilder::new().intent(Intent::Minimal).namespace("users").backend(backend);
    builder
        .l1_enabled(false)
        .wait_for_write(true)
        .max_chunk_size_mb(0.01)
        .observer(Arc::clone(journal) as _)
        .build()
        .unwrap()
}

fn key(name: &str) -> Key {
    Key::new("users", name).unwrap()
}

fn of_another(journal: &Journal) -> usize {
    journal.count(|note| *note == Note::Unreadable(Unreadable::Unauthentic))
}

/// Copies what is stored for one key to another.
async fn copy<B: Backend>(backend: &B, from: &Key, to: &Key) {
    let bytes = backend.get(from).await.unwrap().expect("it is stored");
    backend.set(to, bytes, TTL).await.unwrap();
}

async fn refuses_another_keys_entry<B: Backend + Clone>(backend: B) {
    let journal = Arc::new(Journal::default());
    let cache = minimal(backend.clone(), &journal);
    cache.set("ada", "hers".to_owned()).await.unwrap();
    copy(&backend, &key("ada"), &key("eve")).await;
    assert_eq!(cache.get::<String>("eve").await.unwrap(), None);
    assert!(!cache.exists("eve").await.unwrap());
    let computed = cache.get_or_compute("eve", || async { Ok::<_, Broken>("her own".to_owned()) }).await;
    assert_eq!(computed.unwrap(), "her own");
    assert_eq!(of_another(&journal), 2, "one read of `get`, and one of the flight");
    assert_eq!(cache.get::<String>("eve").await.unwrap().as_deref(), Some("her own"), "it was stored over it");
    assert_eq!(cache.get::<String>("ada").await.unwrap().as_deref(), Some("hers"));
}

#[tokio::test]
async fn a_copied_entry_is_a_miss_in_memory() {
    refuses_another_keys_entry(Memory::new(1 << 20)).await;
}

#[tokio::test]
async fn a_copied_entry_is_a_miss_in_files() {
    let dir = tempfile::tempdir().unwrap();
    refuses_another_keys_entry(File::open(dir.path(), FileLimits::default()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_entry_is_a_miss_in_redis() {
    let server = Server::start();
    refuses_another_keys_entry(Redis::from_url(&server.url()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_entry_is_a_miss_in_memcached() {
    let server = servers::Memcached::start();
    refuses_another_keys_entry(Memcached::new(MemcachedSettings::new([server.address()])).unwrap()).await;
}

#[tokio::test]
async fn a_copied_manifest_or_chunk_is_a_miss() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let cache = minimal(memory.clone(), &journal);
    let large = vec![7u8; 15_000];
    cache.set("ada", large.clone()).await.unwrap();
    let manifest = memory.get(&key("ada")).await.unwrap().unwrap();
    copy(&memory, &key("ada"), &key("eve")).await;
    assert_eq!(cache.get::<Vec<u8>>("eve").await.unwrap(), None, "its chunks are under the other key");
    let write = u64::from_be_bytes(manifest[3..11].try_into().unwrap());
    for index in 0..2 {
        let chunk = format!("chunk:{write:016x}:{index}");
        copy(&memory, &key("ada").reserved(&chunk), &key("eve").reserved(&chunk)).await;
    }
    assert_eq!(cache.get::<Vec<u8>>("eve").await.unwrap(), None);
    assert_eq!((journal.count(|note| *note == Note::Unreadable(Unreadable::Torn)), of_another(&journal)), (1, 1));
    assert_eq!(cache.get::<Vec<u8>>("ada").await.unwrap(), Some(large));
}

#[tokio::test]
async fn an_entry_of_another_namespace_or_type_is_told_of_as_anothers() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let cache = minimal(memory.clone(), &journal);
    let other =
        CacheBuilder::new().intent(Intent::Minimal).namespace("admins").backend(memory.clone()).build().unwrap();
    other.set("ada", "hers".to_owned()).await.unwrap();
    copy(&memory, &Key::new("admins", "ada").unwrap(), &key("ada")).await;
    assert_eq!(cache.get::<String>("ada").await.unwrap(), None);
    assert_eq!(cache.get::<u32>("ada").await.unwrap(), None, "not a type in turns with another");
    assert_eq!((of_another(&journal), journal.count(|note| matches!(note, Note::Warning(_)))), (2, 0));
}

#[tokio::test]
async fn an_expired_entry_of_another_key_stands_in_for_nothing() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let settings = || {
        let mut settings = Settings::default();
        (settings.stale_if_error, settings.l1_enabled) = (Some(Grace::Ttl), Some(false));
        settings
    };
    let cache =
        CacheBuilder::new().intent(Intent::Minimal).namespace("users").backend(memory.clone()).settings(settings());
    let cache = cache.clock(Arc::new(clock.clone())).ttl(TTL).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    cache.expire("ada").await.unwrap();
    copy(&memory, &key("ada"), &key("eve")).await;
    assert_eq!(fallback(&cache, "ada").await, Some(1));
    assert_eq!(fallback(&cache, "eve").await, None);
}

/// What a failing computation is answered with.
async fn fallback<C: Codec>(cache: &Cache<Memory, C>, key: &str) -> Option<u32> {
    cache.get_or_compute(key, || async { Err::<u32, _>(Broken("down")) }).await.ok()
}

#[tokio::test]
async fn entries_of_earlier_kinds_are_misses() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let cache = minimal(memory.clone(), &journal);
    cache.set("ada", 1u32).await.unwrap();
    let bytes = memory.get(&key("ada")).await.unwrap().unwrap();
    assert_eq!(bytes[..6], [0xC1, 0x01, 0x05, 0, 0, 0]);
    let without_key = [&bytes[..62], &bytes[70..]].concat();
    for (kind, entry) in [(0, &without_key[..]), (3, &without_key), (4, &bytes), (6, &bytes)] {
        let earlier = [&[0xC1, 0x01, kind][..], &entry[3..]].concat();
        memory.set(&key("ada"), Bytes::from(earlier), TTL).await.unwrap();
        assert_eq!(cache.get::<u32>("ada").await.unwrap(), None, "kind {kind}");
    }
    assert_eq!(journal.count(|note| *note == Note::Unreadable(Unreadable::Foreign)), 4);
}
