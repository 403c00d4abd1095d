//! Caches for programs without async.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Checked, Keyring, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{CacheBuilder, Computed, DomainSettings, ErrorKind, Intent, Outcome, Previous, blocking};

use super::servers::{PATIENCE, wait_until};
use harness::support::Broken;

mod batches;
mod computations;
mod loaders;
mod processes;
mod runtimes;
mod stale;

type Blocking = blocking::Cache<Memory, Checked<Postcard>>;

/// A cache over a backend of its own, or one that is shared.
fn over(backend: &Memory) -> Blocking {
    CacheBuilder::new().backend(backend.clone()).intent(Intent::Production).build_blocking().unwrap()
}

fn cache() -> Blocking {
    over(&Memory::new(1 << 20))
}

/// A computation that tells that it has begun, and waits for the permission to end.
fn held<T>(begun: Sender<()>, value: T) -> (impl FnOnce() -> Result<T, Broken>, Sender<()>) {
    let (end, ended) = channel();
    let compute = move || {
        begun.send(()).unwrap();
        ended.recv_timeout(PATIENCE).unwrap();
        Ok(value)
    };
    (compute, end)
}

#[test]
fn every_operation_does_what_the_async_one_does() {
    let cache = cache();
    cache.set("a", 1u32).unwrap();
    assert_eq!(cache.get::<u32>("a").unwrap(), Some(1));
    assert_eq!(cache.get_arc::<u32>("a").unwrap().as_deref(), Some(&1));
    assert!(cache.exists("a").unwrap() && !cache.exists("b").unwrap());
    assert_eq!(cache.refresh("a", || Ok::<_, Broken>(2u32)).unwrap(), 2);
    assert_eq!(*cache.get_or_compute_arc("a", || Err::<u32, _>(Broken("not asked"))).unwrap(), 2);
    let decided = || Ok::<_, Broken>(Computed::new(3u32).tags(["odd"]).ttl(Duration::from_secs(9)));
    assert_eq!(*cache.entry("b").get_or_decide(decided).unwrap(), 3);
    cache.invalidate_tags(["odd", "even"]).unwrap();
    assert_eq!(cache.get::<u32>("b").unwrap(), None);
    cache.set_many([("b", 3u32), ("c", 4)]).unwrap();
    cache.set_many_with([("d", Computed::new(5u32).tags(["odd"]))]).unwrap();
    assert_eq!(cache.get_many::<u32, _>(["d", "c", "x", "a"]).unwrap(), [Some(5), Some(4), None, Some(2)]);
    cache.invalidate_many(["a", "b"]).unwrap();
    cache.expire("c").unwrap();
    cache.invalidate_tag("odd").unwrap();
    assert_eq!(cache.get_many::<u32, _>(["a", "b", "c", "d"]).unwrap(), [None; 4]);
    for forget in [Blocking::clear, Blocking::invalidate_namespace, Blocking::expire_all] {
        cache.set("a", 1u32).unwrap();
        forget(&cache).unwrap();
        assert_eq!(cache.get::<u32>("a").unwrap(), None);
    }
    let prices = cache.typed::<u64, u32>("prices").unwrap();
    let brief = || prices.entry(&7).ttl(Duration::from_secs(9));
    let fetched = brief().tags(["odd"]).fetch(|| Ok::<_, Broken>(70)).unwrap();
    assert!((fetched.outcome(), *fetched.value()) == (Outcome::Computed, 70) && fetched.has_tag("odd"));
    let fetched = prices.fetch(&7, || Err(Broken("not asked"))).unwrap();
    assert!(fetched.outcome() == Outcome::L1Hit && fetched.remaining() <= Duration::from_secs(9));
    assert!(prices.remaining(&7).unwrap().is_some_and(|left| left <= Duration::from_secs(9)));
    assert_eq!(prices.remaining(&8).unwrap(), None);
    assert_eq!(cache.fetch("e", || Ok::<_, Broken>(5u32)).unwrap().into_value(), 5);
    let failed = cache.entry("f").fetch(|| Err::<u32, _>(Broken("down"))).unwrap_err();
    assert_eq!(failed.failed(), Some(&Broken("down")));
    cache.ping().unwrap();
    assert!(cache.health().unwrap().is_up());
    assert_eq!(cache.stats().computed, 4);
    assert!(cache.warnings().is_empty() && cache.policy().stats);
}

#[test]
fn domains_types_and_tenants_are_those_of_the_async_cache() {
    let shop = cache();
    let brief = DomainSettings::new().ttl(Duration::from_secs(5));
    let users = shop.typed::<String, u32>("users").unwrap();
    let prices = shop.typed_with::<u64, u32>("prices", brief.clone()).unwrap();
    assert_eq!(users.get_or_compute("ada", || Ok::<_, Broken>(1)).unwrap(), 1);
    users.entry("grace").tags(["user:2"]).set(2).unwrap();
    prices.entry(&7).tags(["user:2"]).get_or_compute(|| Ok::<_, Broken>(70)).unwrap();
    assert_eq!(shop.domain("users").unwrap().get::<u32>("ada").unwrap(), Some(1));
    assert_eq!(prices.cache().policy().ttl, Duration::from_secs(5));
    shop.invalidate_tag("user:2").unwrap();
    assert_eq!((users.get("grace").unwrap(), prices.get(&7).unwrap()), (None, None));
    users.invalidate_all().unwrap();
    assert!(!users.exists("ada").unwrap());
    assert_eq!(shop.typed::<u64, u32>("users").unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(shop.domain_with("users", brief).unwrap_err().kind(), ErrorKind::Config);

    let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
    let secure = CacheBuilder::new().intent(Intent::Secure).keyring(keyring).build_blocking().unwrap();
    let names = secure.typed::<u64, String>("names").unwrap();
    let (acme, globex) = (names.tenant("acme").unwrap(), names.tenant("globex").unwrap());
    acme.set(&1, "Ada".to_owned()).unwrap();
    assert_eq!((acme.get(&1).unwrap().as_deref(), globex.get(&1).unwrap()), (Some("Ada"), None));
}

#[test]
fn blocking_and_async_caches_share_entries() {
    let backend = Memory::new(1 << 20);
    over(&backend).set("key", 7u32).unwrap();
    let other = CacheBuilder::new().backend(backend).intent(Intent::Production).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(other.get::<u32>("key")).unwrap(), Some(7));
}

#[test]
fn closed_cache_has_written_and_goes_on_without_keeping() {
    let backend = Memory::new(1 << 20);
    let (one, two) = (over(&backend), over(&backend));
    for key in 0..100u32 {
        assert_eq!(one.get_or_compute(key, || Ok::<_, Broken>(key)).unwrap(), key);
    }
    one.close(PATIENCE).unwrap();
    assert_eq!(one.pending(), 0);
    let found = two.get_many::<u32, _>(0..100u32).unwrap();
    assert_eq!(found, (0..100).map(Some).collect::<Vec<_>>());
    let computed = Cell::new(0);
    for _ in 0..2 {
        let compute = || Ok::<_, Broken>(computed.replace(computed.get() + 1));
        one.get_or_compute("after", compute).unwrap();
    }
    assert_eq!(computed.get(), 2);
}
