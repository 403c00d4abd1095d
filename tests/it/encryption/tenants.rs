//! Tenants: names and keys of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachekit::{ErrorKind, Key};

use super::{Spy, keyring, secure};
use harness::support::Broken;

#[tokio::test]
async fn tenants_share_nothing_but_the_cache() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(1));
    let (acme, globex) = (cache.tenant("acme").unwrap(), cache.tenant("globex").unwrap());
    for (cache, value) in [(&cache, 1u32), (&acme, 2), (&globex, 3)] {
        cache.set("42", value).await.unwrap();
    }
    for skip in [false, true] {
        let get = async |cache: &_| {
            let cache: &cachekit::Cache<Spy, _> = cache;
            let entry = cache.entry("42");
            if skip { entry.skip_l1_read().get::<u32>().await } else { entry.get::<u32>().await }.unwrap()
        };
        assert_eq!((get(&cache).await, get(&acme).await, get(&globex).await), (Some(1), Some(2), Some(3)));
        assert_eq!(get(&cache.tenant("acme").unwrap()).await, Some(2), "a handle made again is the same tenant");
        assert_eq!(get(&globex.tenant("acme").unwrap()).await, Some(2), "and so is one made of another tenant's");
    }
    assert_eq!(cache.l1_len(), 3, "one L1");
    acme.invalidate("42").await.unwrap();
    assert_eq!(acme.get::<u32>("42").await.unwrap(), None);
    assert_eq!(globex.get::<u32>("42").await.unwrap(), Some(3));
    globex.invalidate_namespace().await.unwrap_err();
    assert_eq!(cache.stats(), acme.stats(), "one count");
}

#[tokio::test]
async fn a_namespace_is_forgotten_with_all_its_tenants() {
    let spy = Spy::new();
    let cache = super::told(&spy, keyring(1), &Arc::default(), |settings| settings.namespace_index = Some(true));
    let (acme, globex) = (cache.tenant("acme").unwrap(), cache.tenant("globex").unwrap());
    acme.set("42", 1u32).await.unwrap();
    globex.set("42", 2u32).await.unwrap();
    acme.invalidate_namespace().await.unwrap();
    assert_eq!((acme.get::<u32>("42").await.unwrap(), globex.get::<u32>("42").await.unwrap()), (None, None));
    acme.set("42", 3u32).await.unwrap();
    assert_eq!(acme.get::<u32>("42").await.unwrap(), Some(3));
}

/// Callers of two handles of a tenant share a flight; those of two tenants do not.
#[tokio::test]
async fn flights_are_the_tenants_own() {
    let cache = secure(&Spy::new(), keyring(1));
    let count = Arc::new(AtomicUsize::new(0));
    let load = |tenant: &str| {
        let (cache, count) = (cache.tenant(tenant).unwrap(), Arc::clone(&count));
        async move {
            let compute = move || async move {
                tokio::task::yield_now().await;
                Ok::<_, Broken>(count.fetch_add(1, SeqCst))
            };
            cache.get_or_compute("42", compute).await.unwrap()
        }
    };
    let (a, b, c) = tokio::join!(load("acme"), load("acme"), load("globex"));
    assert_eq!((a, count.load(SeqCst)), (b, 2));
    assert_ne!(a, c);
    cache.tenant("acme").unwrap().close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(cache.pending(), 0);
}

/// Names that look like tenants, reserved names or escapes.
#[tokio::test]
async fn no_key_and_no_other_tenant_has_a_tenants_names() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(1));
    let ids = ["acme", "acme:42", "@acme", "acme/42", "acme%3A42", "lock", "a", "ä", " ", "#", &"long".repeat(64)];
    let keys = ["42", "@acme:42", "acme", ":42", "@acme", "%40acme:42", "42:lock", "lock", &"long".repeat(100)];
    for key in keys {
        cache.set(key, key.to_owned()).await.unwrap();
        for id in ids {
            cache.tenant(id).unwrap().set(key, format!("{id} {key}")).await.unwrap();
        }
    }
    let mut texts: Vec<String> = spy.all().into_iter().map(|(text, _)| text).collect();
    assert!(texts.iter().all(|text| text.len() <= Key::MAX_LEN && text.is_ascii() && !text.contains(' ')));
    let all = texts.len();
    let reserved: Vec<String> =
        keys.iter().map(|key| Key::new("users", *key).unwrap().reserved("lock").as_str().into()).collect();
    assert!(!texts.iter().any(|text| reserved.contains(text)));
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), all);
    for key in keys {
        assert_eq!(cache.get::<String>(key).await.unwrap().unwrap(), key);
        for id in ids {
            assert_eq!(cache.tenant(id).unwrap().get::<String>(key).await.unwrap().unwrap(), format!("{id} {key}"));
        }
    }
}

#[test]
fn ids_are_neither_empty_nor_endless() {
    let cache = secure(&Spy::new(), keyring(1));
    for (id, part) in [(String::new(), "is empty"), ("x".repeat(257), "257 bytes is longer than the 256")] {
        let error = cache.tenant(&id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(error.to_string().contains(part), "{error}");
    }
    cache.tenant(&"x".repeat(256)).unwrap();
}

/// A computation for a tenant may use the cache of another, and of none; one that asks for its own key is found out.
#[tokio::test]
async fn a_computation_may_ask_another_tenant() {
    let cache = secure(&Spy::new(), keyring(1));
    let (acme, globex) = (cache.tenant("acme").unwrap(), cache.tenant("globex").unwrap());
    let inner = globex.clone();
    let value = acme.get_or_compute("42", move || async move {
        inner.get_or_compute("42", || async { Ok::<u32, Broken>(1) }).await.map_err(|_| Broken("refused"))
    });
    assert_eq!(value.await.unwrap(), 1);
    let again = cache.clone();
    let waits_for_itself = acme.get_or_compute("43", move || async move {
        let acme = again.tenant("acme").unwrap();
        acme.get_or_compute("43", || async { Ok::<u32, Broken>(1) }).await.map_err(|_| Broken("waits for itself"))
    });
    let error = waits_for_itself.await.unwrap_err();
    assert_eq!(error.to_string(), "waits for itself");
}
