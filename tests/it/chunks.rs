//! Values larger than one item: whole or a miss.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, ChaosControl};
use cachekit::{Backend, Cache, CacheBuilder, Intent, Key, Operation, Unreadable};

use harness::support::{Broken, Journal, Note, Slow, forward, poll_once, settle};

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
    for written in ["nothing", "the chunks"] {
        gate.wait_for(1).await;
        assert_eq!(found(&two).await, Some(1), "{written} of the new value");
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

#[tokio::test]
async fn chunks_go_in_batches_with_the_manifest_written_last() {
    let (memory, chaos, control) = shared();
    let journal = Arc::new(Journal::default());
    let cache = cache(chaos, false, &journal);
    cache.set("key", large(1)).await.unwrap();
    assert_eq!((memory.len(), control.count(Operation::Set)), (6, 2), "five chunks, then the manifest");
    assert_eq!(found(&cache).await, Some(1));
    assert_eq!(control.count(Operation::Get), 2, "the manifest, then five chunks");
    // 33 batches of 16.
    let long: Vec<u8> = (0..520 * 600u32).map(|n| (n >> 5) as u8).collect();
    let narrow = CacheBuilder::new().intent(Intent::Minimal).backend(Chaos::new(memory.clone())).l1_enabled(false);
    let narrow = narrow.max_chunk_size_mb(615.0 / f64::from(1 << 20)).build().unwrap();
    narrow.set("long", long.clone()).await.unwrap();
    assert!(narrow.get::<Vec<u8>>("long").await.unwrap() == Some(long));
}

/// The keys of the manifest and the chunks that a backend was asked to store.
#[derive(Debug, Clone)]
struct Noted(Memory, Arc<std::sync::Mutex<Vec<Key>>>);

impl Backend for Noted {
    forward!(0: capabilities get remove ttl get_many remove_many part forget lease renew release ping bus);
    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), cachekit::Error> {
        self.1.lock().unwrap().extend(items.iter().map(|(key, _)| key.clone()));
        self.0.set_many(items, ttl).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), cachekit::Error> {
        self.1.lock().unwrap().push(key.clone());
        self.0.set(key, value, ttl).await
    }
    async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: cachekit::LeaseToken) -> Result<bool, cachekit::Error> {
        Ok(false)
    }
}

#[tokio::test]
async fn chunk_that_is_missing_cut_or_foreign_is_a_reported_miss() {
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

fn manifest(length: u64, chunks: u32) -> Bytes {
    let start = [&[0xC1, 0x01, 0x01][..], &7u64.to_be_bytes()].concat();
    [&start[..], &length.to_be_bytes(), &chunks.to_be_bytes()].concat().into()
}

fn chunk(index: u32, bytes: &[u8]) -> Bytes {
    [&[0xC1, 0x01, 0x02][..], &7u64.to_be_bytes(), &index.to_be_bytes(), bytes].concat().into()
}

#[tokio::test]
async fn a_manifest_that_no_build_writes_costs_one_read_and_no_memory() {
    let (memory, chaos, control) = shared();
    let journal = Arc::new(Journal::default());
    let cache = cache(chaos, false, &journal);
    let key = Key::new("default", "key").unwrap();
    let (limit, torn) = (100 << 20, Unreadable::Torn);
    let absurd = [
        (u64::MAX, 1, Unreadable::TooLarge),
        (limit + 1, 2, Unreadable::TooLarge),
        (limit, 104_857_600, torn),
        (1 << 40, u32::MAX, torn),
        (10, 11, torn),
        (10, 2, torn),
        (0, 0, torn),
        (10, 0, torn),
    ];
    for (length, chunks, reason) in absurd {
        memory.set(&key, manifest(length, chunks), Duration::from_secs(60)).await.unwrap();
        let before = control.count(Operation::Get);
        assert_eq!(found(&cache).await, None);
        assert_eq!(control.count(Operation::Get) - before, 1, "{length} bytes in {chunks} chunks");
        let told = journal.notes().into_iter().rev().find(|note| matches!(note, Note::Unreadable(_)));
        assert_eq!(told, Some(Note::Unreadable(reason)), "{length} bytes in {chunks} chunks");
    }
    assert_eq!(journal.count(|note| matches!(note, Note::Unreadable(_))), absurd.len());
    memory.set(&key, manifest(limit, 2), Duration::from_secs(60)).await.unwrap();
    let peak = allocation_counter::measure(|| {
        assert_eq!(poll_once(&mut Box::pin(found(&cache))), Poll::Ready(None));
    });
    let peak = peak.bytes_max;
    assert!(peak < 64 << 10, "{peak} bytes for a manifest that promises 100 MiB");
}

#[tokio::test]
async fn chunks_that_are_empty_too_short_or_too_many_are_a_miss() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let cache = cache(memory.clone(), false, &journal);
    let (key, ttl) = (Key::new("default", "key").unwrap(), Duration::from_secs(60));
    let part = |index: u32| key.reserved(&format!("chunk:{:016x}:{index}", 7));
    let cases: [(u64, &[usize]); 5] =
        [(1_024, &[0, 1_024]), (1_024, &[511, 513]), (1_024, &[1_024, 0]), (1_024, &[600, 600]), (1_025, &[512, 512])];
    for (told, (length, parts)) in cases.into_iter().enumerate() {
        memory.set(&key, manifest(length, parts.len() as u32), ttl).await.unwrap();
        for (index, length) in (0u32..).zip(parts) {
            memory.set(&part(index), chunk(index, &vec![1; *length]), ttl).await.unwrap();
        }
        assert_eq!(found(&cache).await, None);
        assert_eq!(journal.count(|note| *note == Note::Unreadable(Unreadable::Torn)), told + 1, "{parts:?}");
    }
}
