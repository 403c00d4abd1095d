//! Expired entries under encryption, in chunks, of tenants, and bytes that only look like them.

use bytes::Bytes;
use cachekit::Unreadable;
use cachekit::codec::{Encrypted, Keyring};

use super::*;
use harness::support::{Journal, Note};

fn secure(clock: &ManualClock, memory: &Memory, journal: &Arc<Journal>) -> Cache<Memory, Encrypted<Postcard>> {
    let keyring = Keyring::from_bytes(&[7; 32]).unwrap();
    let builder = CacheBuilder::new().intent(Intent::Secure).keyring(keyring).backend(memory.clone());
    let builder = builder.codec(Postcard).namespace("pages").ttl(TTL).stale_if_error(GRACE).swr_enabled(false);
    let builder = builder.namespace_index(true).observer(Arc::clone(journal) as _);
    builder.clock(Arc::new(clock.clone())).build().unwrap()
}

#[tokio::test]
async fn encrypted_entries_expire_unopened_and_stay_authentic() {
    let clock = ManualClock::new();
    let (memory, journal) = (memory(&clock), Arc::default());
    let (one, two) = (secure(&clock, &memory, &journal), secure(&clock, &memory, &journal));
    let key = Key::new("pages", "home").unwrap();
    one.set("home", 1u32).await.unwrap();
    let sealed = memory.get(&key).await.unwrap().unwrap();
    one.expire("home").await.unwrap();
    let wrapped = memory.get(&key).await.unwrap().unwrap();
    assert_eq!((&wrapped[..2], wrapped.slice(10..)), (&[0xC1, 0x02][..], sealed.clone()));
    for cache in [&one, &two] {
        assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
        assert_eq!(fallback(cache, "home").await, Some(1));
    }
    assert_eq!(journal.count(|note| matches!(note, Note::Unreadable(_))), 0);
    memory.set(&Key::new("pages", "news").unwrap(), wrapped, TTL).await.unwrap();
    assert_eq!(fallback(&two, "news").await, None, "of another key");
    assert!(journal.contains(&Note::Unreadable(Unreadable::Unauthentic)));
    one.set("home", 2u32).await.unwrap();
    one.expire_all().await.unwrap();
    assert_eq!((one.get::<u32>("home").await.unwrap(), fallback(&one, "home").await), (None, Some(2)));
}

#[tokio::test]
async fn values_in_chunks_expire_whole() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let small = || builder(&clock, memory.clone()).max_chunk_size_mb(0.001).l1_enabled(false).build().unwrap();
    let (one, two) = (small(), small());
    let large = vec![7u8; 20_000];
    one.set("home", large.clone()).await.unwrap();
    assert!(memory.get(&Key::new("pages", "home").unwrap()).await.unwrap().unwrap().len() < 100, "a manifest");
    one.expire("home").await.unwrap();
    assert_eq!(two.get::<Vec<u8>>("home").await.unwrap(), None);
    assert!(!two.exists("home").await.unwrap());
    let failing = || async { Err::<Vec<u8>, _>(Broken("down")) };
    assert_eq!(two.get_or_compute("home", failing).await.unwrap(), large);
    clock.advance(GRACE);
    assert!(two.get_or_compute("home", failing).await.is_err());
}

#[tokio::test]
async fn tenants_do_not_touch_each_others_keys() {
    let clock = ManualClock::new();
    let cache = secure(&clock, &memory(&clock), &Arc::default());
    let (acme, globex) = (cache.tenant("acme").unwrap(), cache.tenant("globex").unwrap());
    for key in ["a", "b", "c"] {
        for part in [&cache, &acme, &globex] {
            part.set(key, 1u32).await.unwrap();
        }
    }
    acme.invalidate_many(["a", "b"]).await.unwrap();
    acme.expire("c").await.unwrap();
    for key in ["a", "b", "c"] {
        assert_eq!(acme.get::<u32>(key).await.unwrap(), None);
        assert_eq!((cache.get(key).await.unwrap(), globex.get(key).await.unwrap()), (Some(1u32), Some(1u32)), "{key}");
    }
    assert_eq!((fallback(&acme, "a").await, fallback(&acme, "c").await), (None, Some(1)));
    acme.expire_all().await.unwrap();
    assert_eq!((globex.get::<u32>("a").await.unwrap(), fallback(&globex, "a").await), (None, Some(1)));
    acme.clear().await.unwrap();
    for part in [&cache, &acme, &globex] {
        assert_eq!(fallback(part, "b").await, None, "a namespace is that of all");
    }
}

#[tokio::test]
async fn bytes_that_look_like_an_expired_entry_are_a_miss() {
    let clock = ManualClock::new();
    let (memory, journal) = (memory(&clock), Arc::<Journal>::default());
    let cache = builder(&clock, memory.clone()).l1_enabled(false).observer(Arc::clone(&journal) as _).build().unwrap();
    let key = Key::new("pages", "home").unwrap();
    cache.set("home", 1u32).await.unwrap();
    let entry = memory.get(&key).await.unwrap().unwrap();
    let wrap = |at: u64, inner: &[u8]| [&[0xC1, 0x02][..], &at.to_be_bytes(), inner].concat();
    let twice = wrap(1, &wrap(1, &entry));
    let hostile = [wrap(1, b""), wrap(1, &[0xC1, 0x01]), wrap(1, &entry[..40]), twice, vec![0xC1, 0x02, 0, 0]];
    for (count, bytes) in hostile.into_iter().enumerate() {
        memory.set(&key, Bytes::from(bytes), TTL).await.unwrap();
        assert_eq!((cache.get::<u32>("home").await.unwrap(), fallback(&cache, "home").await), (None, None));
        assert!(!cache.exists("home").await.unwrap());
        assert_eq!(
            journal.count(|note| *note == Note::Unreadable(Unreadable::Foreign)),
            2 * (count + 1),
            "each call tells once"
        );
        cache.expire("home").await.unwrap();
        assert_eq!(memory.get(&key).await.unwrap(), None, "no fallback can be made of it");
    }
    let mut flipped = wrap(u64::MAX, &entry);
    memory.set(&key, Bytes::from(flipped.clone()), TTL).await.unwrap();
    assert_eq!((cache.get::<u32>("home").await.unwrap(), fallback(&cache, "home").await), (None, Some(1)));
    *flipped.last_mut().unwrap() ^= 1;
    memory.set(&key, Bytes::from(flipped), TTL).await.unwrap();
    assert_eq!(fallback(&cache, "home").await, None);
}
