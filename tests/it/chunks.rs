//! Values larger than one item: whole or a miss.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, ChaosControl};
use cachekit::{Backend, Cache, CacheBuilder, Intent, Key, Operation, Unreadable};

use crate::support::{Broken, Journal, Note, Slow, forward, settle};

const CHUNK: f64 = 0.01;

fn cache<B: Backend>(backend: B, leases: bool, journal: &Arc<Journal>) -> Cache<B, Postcard> {
    CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(backend)
        .leases(leases)
        .l1_enabled(false)
        .max_chunk_size_mb(CHUNK)
        .observer(Arc::clone(journal) as _)
        .build()
        .unwrap()
}

fn large(byte: u8) -> Vec<u8> {
    vec![byte; 50_000]
}

/// Which of the large values is there. Short where it fails.
async fn found<B: Backend>(cache: &Cache<B, Postcard>) -> Option<u8> {
    let value: Vec<u8> = cache.get("key").await.unwrap()?;
    assert!(value == large(value[0]), "a mixture");
    Some(value[0])
}

fn shared() -> (Memory, Chaos<Memory>, ChaosControl) {
    let memory = Memory::new(1 << 20);
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    (memory, chaos, control)
}

#[tokio::test]
async fn a_split_value_stays_readable_until_its_successor_is_whole() {
    let (memory, chaos, control) = shared();
    let journal = Arc::new(Journal::default());
    let (one, two) = (cache(chaos, false, &journal), cache(memory, false, &journal));
    one.set("key", large(1)).await.unwrap();
    let gate = control.gate(Operation::Set);
    let set = tokio::spawn({
        let one = one.clone();
        async move { one.set("key", large(2)).await }
    });
    for written in 0..6 {
        gate.wait_for(1).await;
        assert_eq!(found(&two).await, Some(1), "{written} items of the new value");
        gate.admit(1);
        settle().await;
    }
    set.await.unwrap().unwrap();
    assert_eq!(found(&two).await, Some(2));
    assert_eq!(journal.count(|note| matches!(note, Note::Unreadable(_))), 0);
}

#[tokio::test]
async fn a_split_value_whose_lease_is_void_leaves_a_newer_one_whole() {
    let (memory, chaos, control) = shared();
    let journal = Arc::new(Journal::default());
    let (one, two, slow) = (cache(chaos, true, &journal), cache(memory, true, &journal), Slow::new());
    let old = tokio::spawn({
        let (one, slow) = (one.clone(), slow.clone());
        async move { one.get_or_compute("key", move || slow.run(Ok(large(1)))).await }
    });
    slow.wait_for_start().await;
    let gate = control.gate(Operation::Set);
    slow.finish(1);
    gate.wait_for(1).await;
    two.set("key", large(2)).await.unwrap();
    gate.open();
    assert!(old.await.unwrap().unwrap() == large(1));
    one.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(found(&two).await, Some(2));
    assert_eq!(journal.count(|note| *note == Note::Fenced), 1);
}

/// The keys of the manifest and the chunks that a backend was asked to store.
#[derive(Debug, Clone)]
struct Noted(Memory, Arc<std::sync::Mutex<Vec<Key>>>);

impl Backend for Noted {
    forward!(0: capabilities get remove exists ttl touch get_many set_many remove_many lease renew release ping bus);
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), cachekit::Error> {
        self.1.lock().unwrap().push(key.clone());
        self.0.set(key, value, ttl).await
    }
    async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: cachekit::LeaseToken) -> Result<bool, cachekit::Error> {
        Ok(false)
    }
}

#[tokio::test]
async fn a_chunk_that_is_missing_cut_or_anothers_makes_a_miss_that_is_told_of() {
    let journal = Arc::new(Journal::default());
    let noted = Noted(Memory::new(1 << 20), Arc::default());
    let cache = cache(noted.clone(), false, &journal);
    let ttl = Duration::from_secs(60);
    cache.set("key", large(1)).await.unwrap();
    let keys = std::mem::take(&mut *noted.1.lock().unwrap());
    assert_eq!(keys.len(), 6, "five chunks, then the manifest");
    assert_eq!(keys[5], Key::new("default", "key").unwrap());
    cache.set("other", large(2)).await.unwrap();
    let others = std::mem::take(&mut *noted.1.lock().unwrap());
    let mut told = 0;
    for (chunk, other) in keys.iter().zip(&others).take(5) {
        let good = noted.get(chunk).await.unwrap().unwrap();
        let foreign = noted.get(other).await.unwrap().unwrap();
        let next = noted.get(&keys[(told / 5 + 1) % 5]).await.unwrap().unwrap();
        let mut longer = good.to_vec();
        longer.push(1);
        for bad in [None, Some(foreign), Some(next), Some(good.slice(..good.len() - 1)), Some(Bytes::from(longer))] {
            match bad {
                Some(bad) => noted.0.set(chunk, bad, ttl).await.unwrap(),
                None => noted.0.remove(chunk).await.unwrap(),
            }
            assert_eq!(found(&cache).await, None);
            told += 1;
            assert_eq!(journal.count(|note| *note == Note::Unreadable(Unreadable::Torn)), told);
        }
        noted.0.set(chunk, good, ttl).await.unwrap();
        assert_eq!(found(&cache).await, Some(1));
    }
    let computed = cache.get_or_compute("key", || async { Ok::<_, Broken>(large(9)) }).await;
    assert!(computed.unwrap() == large(1));
}

#[tokio::test]
async fn a_manifest_that_promises_too_much_costs_one_read() {
    let (memory, chaos, control) = shared();
    let journal = Arc::new(Journal::default());
    let cache = cache(chaos, false, &journal);
    let key = Key::new("default", "key").unwrap();
    for (length, chunks) in [(u64::MAX, 1), (1 << 40, u32::MAX), (10, 11), (0, 0), (10, 0)] {
        let mut manifest = vec![0xC1, 0x01, 0x01];
        manifest.extend_from_slice(&7u64.to_be_bytes());
        manifest.extend_from_slice(&u64::to_be_bytes(length));
        manifest.extend_from_slice(&u32::to_be_bytes(chunks));
        manifest.extend_from_slice(&u64::MAX.to_be_bytes());
        memory.set(&key, manifest.into(), Duration::from_secs(60)).await.unwrap();
        let before = control.count(Operation::Get);
        assert_eq!(found(&cache).await, None);
        assert_eq!(control.count(Operation::Get) - before, 1, "{length} bytes in {chunks} chunks");
    }
    assert_eq!(journal.count(|note| matches!(note, Note::Unreadable(_))), 5);
}
