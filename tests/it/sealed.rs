//! Confidential codecs: L1 holds only what they wrote, and opens it on each hit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Checked, Context, Postcard};
use cachekit::testing::{Chaos, ChaosControl, Fault};
use cachekit::{
    Backend, Cache, CacheBuilder, Codec, ComputeError, Error, ErrorKind, Intent, Key, Operation, Policy, Unreadable,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use harness::support::{Broken, Journal, Note};

/// Stands in for encryption: veils bytes, counts openings, refuses what its checksum refuses.
#[derive(Debug, Clone, Default)]
struct Veiled {
    inner: Checked<Postcard>,
    opened: Arc<AtomicUsize>,
}

impl Codec for Veiled {
    const CONFIDENTIAL: bool = true;

    fn name(&self) -> String {
        format!("veiled({})", self.inner.name())
    }

    fn configure(&mut self, policy: &Policy) -> Result<(), Error> {
        self.inner.configure(policy)
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        self.inner.encode(value, context, out)?;
        out[start..].iter_mut().for_each(|byte| *byte ^= 0xA5);
        Ok(())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        self.opened.fetch_add(1, SeqCst);
        let plain: Vec<u8> = bytes.iter().map(|byte| byte ^ 0xA5).collect();
        self.inner.decode(&plain, context)
    }
}

type Sealed = (Cache<Chaos<Memory>, Veiled>, Memory, ChaosControl, Arc<Journal>);

fn sealed(codec: Veiled, vars: &[(&str, &str)]) -> Sealed {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    let cache = CacheBuilder::from_vars(vars.iter().copied())
        .intent(Intent::Minimal)
        .codec(codec)
        .backend(chaos)
        .observer(Arc::clone(&journal) as _)
        .build()
        .unwrap();
    (cache, memory, control, journal)
}

#[tokio::test]
async fn each_hit_opens_the_sealed_bytes_anew() {
    let codec = Veiled::default();
    let (cache, _, control, _) = sealed(codec.clone(), &[]);
    cache.set("key", "marker".to_owned()).await.unwrap();
    let after_set = codec.opened.load(SeqCst);
    let mut values = Vec::new();
    for _ in 0..3 {
        let value = cache.get_or_compute_arc("key", || async { Ok::<String, Broken>(String::new()) }).await.unwrap();
        assert_eq!(*value, "marker");
        values.push(value);
    }
    assert_eq!(codec.opened.load(SeqCst), after_set + 3);
    assert!(!Arc::ptr_eq(&values[0], &values[1]), "L1 holds no value to share");
    assert_eq!(control.count(Operation::Get), 0, "and yet L1 answered");
}

#[tokio::test]
async fn a_computed_value_is_sealed_before_l1_has_it() {
    let codec = Veiled::default();
    let (cache, memory, ..) = sealed(codec.clone(), &[]);
    let computed = cache.get_or_compute("key", || async { Ok::<_, Broken>("marker".to_owned()) }).await.unwrap();
    assert_eq!(computed, "marker");
    let before = codec.opened.load(SeqCst);
    assert_eq!(cache.get::<String>("key").await.unwrap().as_deref(), Some("marker"));
    assert_eq!(codec.opened.load(SeqCst), before + 1);
    cache.close(std::time::Duration::from_secs(5)).await.unwrap();
    let stored = memory.get(&cachekit::Key::new("default", "key").unwrap()).await.unwrap().unwrap();
    assert!(!stored.windows(6).any(|window| window == b"marker"));
}

#[tokio::test]
async fn an_entry_that_is_not_authentic_is_a_miss_and_is_replaced() {
    let (cache, _, control, journal) = sealed(Veiled::default(), &[]);
    cache.entry("key").skip_l1_write().set(1u32).await.unwrap();
    control.inject(Operation::Get, Fault::Flip(8 * 66));
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    control.heal();
    cache.close(std::time::Duration::from_secs(5)).await.unwrap();
    assert!(journal.contains(&Note::Unreadable(Unreadable::Unauthentic)));
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(2));
}

#[tokio::test]
async fn fail_closed_reports_it_and_keeps_the_entry() {
    let (cache, _, control, journal) = sealed(Veiled::default(), &[("CACHEKIT_ENCRYPTION_FAIL_CLOSED", "true")]);
    cache.entry("key").skip_l1_write().set(1u32).await.unwrap();
    control.inject(Operation::Get, Fault::Flip(8 * 66));
    let Err(ComputeError::Cache(error)) = cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await else {
        panic!("an error")
    };
    assert_eq!(error.kind(), ErrorKind::Unauthentic);
    assert_eq!(cache.get::<u32>("key").await.unwrap_err().kind(), ErrorKind::Unauthentic);
    assert_eq!(journal.count(|note| matches!(note, Note::Computed(_))), 0, "nothing was computed");
    control.heal();
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1), "the entry is still there");
}

#[tokio::test]
async fn an_l1_of_sealed_entries_is_bounded_by_their_bytes() {
    let (cache, ..) = sealed(Veiled::default(), &[("CACHEKIT_L1_MAX_SIZE_MB", "1")]);
    for key in 0..2_000u32 {
        cache.set(key, vec![7u8; 2_000]).await.unwrap();
    }
    let (bytes, entries) = (cache.l1_bytes(), cache.l1_len());
    assert!(bytes <= 1 << 20 && entries > 300, "{bytes} bytes, {entries} entries");
}

#[tokio::test]
async fn unreadable_entry_is_reported_once_per_call() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let told = || journal.count(|note| matches!(note, Note::Unreadable(_)));
    let builder = || CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(memory.clone());
    let sealed = builder().codec(Veiled::default()).observer(Arc::clone(&journal) as _).build().unwrap();
    // In L1, in the backend, and there once more under the lease.
    sealed.set("sealed", 1u32).await.unwrap();
    assert_eq!(sealed.get::<String>("sealed").await.unwrap(), None);
    assert_eq!(told(), 1);
    let compute = || async { Ok::<_, Broken>("text".to_owned()) };
    assert_eq!(sealed.get_or_compute("sealed", compute).await.unwrap(), "text");
    assert_eq!(told(), 2);
    assert_eq!(sealed.get::<String>("sealed").await.unwrap().as_deref(), Some("text"));
    assert_eq!(told(), 2);
    // In the backend alone.
    let plain = builder().l1_enabled(false).observer(Arc::clone(&journal) as _).build().unwrap();
    plain.set("plain", 1u32).await.unwrap();
    assert_eq!(plain.get_or_compute("plain", compute).await.unwrap(), "text");
    assert_eq!(told(), 3);
    // Split, with a part missing.
    let split = || builder().l1_enabled(false).max_chunk_size_mb(0.001).observer(Arc::clone(&journal) as _);
    split().build().unwrap().set("split", vec![7u8; 5_000]).await.unwrap();
    let manifest = memory.get(&Key::new("default", "split").unwrap()).await.unwrap().unwrap();
    let other = Memory::new(1 << 20);
    other.set(&Key::new("default", "split").unwrap(), manifest, Duration::from_secs(60)).await.unwrap();
    let compute = || async { Ok::<_, Broken>(vec![8u8; 5_000]) };
    let torn = split().backend(other).build().unwrap();
    assert_eq!(torn.get_or_compute("split", compute).await.unwrap()[0], 8);
    assert_eq!(told(), 4);
}
