//! Hashed keys: names that do not leak.

use std::time::Duration;

use cachekit::CacheBuilder;
use cachekit::backends::Memory;
use cachekit::codec::{Encrypted, Postcard};

use super::{Spy, keyring, told};

fn hidden(spy: &Spy, key: u8) -> cachekit::Cache<Spy, Encrypted<Postcard>> {
    told(spy, keyring(key), &Default::default(), |settings| settings.hashed_keys = Some(true))
}

#[tokio::test]
async fn hashed_keys_show_neither_key_nor_tenant() {
    let spy = Spy::new();
    let cache = hidden(&spy, 1);
    let acme = cache.tenant("acme").unwrap();
    for name in ["ada@example.org", &"long".repeat(200)] {
        cache.set(name, 1u32).await.unwrap();
        acme.set(name, 2u32).await.unwrap();
        assert_eq!(cache.entry(name).skip_l1_read().get::<u32>().await.unwrap(), Some(1));
        assert_eq!(acme.entry(name).skip_l1_read().get::<u32>().await.unwrap(), Some(2));
    }
    let texts: Vec<String> = spy.all().into_iter().map(|(text, _)| text).collect();
    for text in &texts {
        let hash = text.strip_prefix("users:#").unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    }
    assert_eq!(texts.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    acme.invalidate("ada@example.org").await.unwrap();
    assert_eq!(acme.get::<u32>("ada@example.org").await.unwrap(), None);
    assert_eq!(cache.get::<u32>("ada@example.org").await.unwrap(), Some(1));
}

/// One who can guess a name still cannot find it without the key; processes with one key agree.
#[tokio::test]
async fn the_hash_is_keyed_where_there_is_a_key() {
    let spy = Spy::new();
    let (one, same, other) = (hidden(&spy, 1), hidden(&spy, 1), hidden(&spy, 2));
    let plain = CacheBuilder::new().backend(spy.clone()).namespace("users").hashed_keys(true).namespace_index(false);
    let plain = plain.build().unwrap();
    for cache in [&one, &same, &other] {
        cache.set("42", 1u32).await.unwrap();
    }
    plain.set("42", 1u32).await.unwrap();
    plain.close(Duration::from_secs(5)).await.unwrap();
    let texts: Vec<String> = spy.all().into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0] != texts[2] && texts[0] != texts[3] && texts[2] != texts[3]);
    // BLAKE2b-256 of "users:42".
    assert_eq!(texts[3], "users:#b6a20eb53bf741968ad3f371db6fffe3484a1d84356cd7b595dae86f9cc7a93d");
}

#[tokio::test]
async fn names_are_shown_unless_they_are_to_be_hidden() {
    let memory = Memory::new(1 << 20);
    let build =
        |hashed| CacheBuilder::new().backend(memory.clone()).namespace("users").hashed_keys(hashed).build().unwrap();
    let (shown, hidden) = (build(false), build(true));
    assert!(!shown.policy().hashed_keys && hidden.policy().hashed_keys);
    shown.set("42", 1u32).await.unwrap();
    assert_eq!(hidden.get::<u32>("42").await.unwrap(), None);
    hidden.set("42", 2u32).await.unwrap();
    assert_eq!((shown.get::<u32>("42").await.unwrap(), hidden.get::<u32>("42").await.unwrap()), (Some(1), Some(2)));
}
