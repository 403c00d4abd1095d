//! Domains of one cache, and typed caches over them.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cachekit::backends::{AnyBackend, Memory, NoBackend, Redis};
use cachekit::codec::{Checked, Json, Keyring, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{
    Backend, Cache, CacheBuilder, Codec, DomainSettings, ErrorKind, Event, Fetched, Intent, Loaded, Loader,
    LoadingCache, Observer, Outcome, Scope, TypedCache,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::servers::{PATIENCE, Server, eventually};
use harness::support::{Broken, Slow, settle};

fn shop<B: Backend>(backend: B) -> Cache<B, Checked<Postcard>> {
    CacheBuilder::new().intent(Intent::Production).namespace("shop").jitter(false).backend(backend).build().unwrap()
}

#[tokio::test]
async fn domains_share_a_cache_and_no_key() {
    let memory = Memory::new(1 << 20);
    let (here, other) = (shop(memory.clone()), shop(memory));
    let (users, orders) = (here.domain("users").unwrap(), here.domain("orders").unwrap());
    here.set(42u32, "shop".to_owned()).await.unwrap();
    users.set(42u32, "user".to_owned()).await.unwrap();
    orders.set(42u32, "order".to_owned()).await.unwrap();
    for cache in [&here, &other] {
        let (users, orders) = (cache.domain("users").unwrap(), cache.domain("orders").unwrap());
        for (part, value) in [(cache, "shop"), (&users, "user"), (&orders, "order")] {
            assert_eq!(part.get::<String>(42u32).await.unwrap().as_deref(), Some(value));
        }
        assert_eq!(users.domain("orders").unwrap().get::<String>(42u32).await.unwrap().as_deref(), Some("order"));
    }
    assert_eq!(here.l1_len(), 3, "one L1");
    let (a, b) = (here.domain("a:b/c").unwrap(), here.domain("a").unwrap());
    a.set("d", 1u32).await.unwrap();
    assert_eq!(b.get::<u32>("b/c:d").await.unwrap(), None);
    for name in ["", &"x".repeat(65)] {
        assert_eq!(here.domain(name).unwrap_err().kind(), ErrorKind::Key, "{name}");
    }
}

#[tokio::test]
async fn a_domain_with_a_share_of_l1_takes_no_more_and_leaves_the_others() {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").backend(Memory::new(64 << 20));
    let shop = builder.l1_max_size_mb(2.0).jitter(false).build().unwrap();
    let users = shop.domain("users").unwrap();
    let pages = shop.domain_with("pages", DomainSettings::new().l1_share(0.25)).unwrap();
    for key in 0..300u32 {
        users.set(key, "x".repeat(1_000)).await.unwrap();
    }
    let taken = shop.l1_bytes();
    for key in 0..2_000u32 {
        pages.set(key, "x".repeat(1_000)).await.unwrap();
        assert!(shop.l1_bytes() - taken <= 1 << 19);
    }
    assert!(shop.l1_bytes() - taken > 1 << 18, "it has what it may have");
    let in_l1 = async |part: &Cache<Memory, Checked<Postcard>>, keys: std::ops::Range<u32>| {
        let mut found = 0;
        for key in keys {
            found += u32::from(part.entry(key).skip_l2_read().get::<String>().await.unwrap().is_some());
        }
        found
    };
    assert_eq!(in_l1(&users, 0..300).await, 300);
    assert!(in_l1(&pages, 1_900..2_000).await > 90, "the newest");
    pages.clear().await.unwrap();
    for key in 0..100u32 {
        pages.set(key, "x".repeat(1_000)).await.unwrap();
    }
    assert_eq!(in_l1(&pages, 0..100).await, 100, "what was forgotten takes nothing");
    for share in [0.0, -0.5, 1.5, f64::NAN] {
        let error = shop.domain_with("other", DomainSettings::new().l1_share(share)).unwrap_err().to_string();
        assert!(error.contains("l1_share: must be above 0 and at most 1"), "{error}");
    }
}

#[tokio::test]
async fn forgetting_a_domain_leaves_the_others_and_tags_reach_across() {
    let memory = Memory::new(1 << 20);
    let (here, other) = (shop(memory.clone()), shop(memory));
    let parts = |cache: &Cache<_, _>| ["users", "orders"].map(|name| cache.domain(name).unwrap());
    let fill = async || {
        for part in parts(&here) {
            part.entry(1u32).tags(["user:1"]).set(1u32).await.unwrap();
            part.set(2u32, 2u32).await.unwrap();
        }
        here.set(2u32, 2u32).await.unwrap();
    };
    let found = async |cache: &Cache<Memory, Checked<Postcard>>| {
        let mut found = Vec::new();
        for part in parts(cache) {
            found.push(part.get_many::<u32, _>([1u32, 2]).await.unwrap().into_iter().flatten().count());
        }
        (found[0], found[1], cache.get::<u32>(2u32).await.unwrap().is_some())
    };
    for clears in [false, true] {
        fill().await;
        assert_eq!((found(&here).await, found(&other).await), ((2, 2, true), (2, 2, true)));
        let [users, _] = parts(&other);
        if clears {
            users.clear().await.unwrap()
        } else {
            users.invalidate_namespace().await.unwrap()
        }
        settle().await;
        assert_eq!((found(&here).await, found(&other).await), ((0, 2, true), (0, 2, true)));
    }
    fill().await;
    assert_eq!(found(&other).await, (2, 2, true));
    here.invalidate_tag("user:1").await.unwrap();
    settle().await;
    assert_eq!((found(&here).await, found(&other).await), ((1, 1, true), (1, 1, true)));
    other.invalidate_namespace().await.unwrap();
    settle().await;
    assert_eq!((found(&here).await, found(&other).await), ((0, 0, false), (0, 0, false)));
}

#[tokio::test]
async fn expired_domain_stands_in_for_failing_computations_and_no_other_does() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let cache = builder.stale_if_error(Duration::from_secs(60)).build().unwrap();
    let (users, orders) = (cache.domain("users").unwrap(), cache.domain("orders").unwrap());
    users.set(1u32, 1u32).await.unwrap();
    orders.set(1u32, 1u32).await.unwrap();
    users.expire_all().await.unwrap();
    assert_eq!((users.get::<u32>(1u32).await.unwrap(), orders.get::<u32>(1u32).await.unwrap()), (None, Some(1)));
    let down = || async { Err::<u32, _>(Broken("down")) };
    assert_eq!(users.get_or_compute(1u32, down).await.unwrap(), 1);
    clock.advance(Duration::from_secs(60));
    assert!(users.get_or_compute(1u32, down).await.is_err(), "its grace is over");
    users.set(1u32, 2u32).await.unwrap();
    users.expire_all().await.unwrap();
    users.invalidate_namespace().await.unwrap();
    assert!(users.get_or_compute(1u32, down).await.is_err(), "nothing is left of it");
    users.set(1u32, 3u32).await.unwrap();
    users.invalidate_namespace().await.unwrap();
    users.expire_all().await.unwrap();
    assert!(users.get_or_compute(1u32, down).await.is_err(), "an expiry brings nothing back");
}

#[tokio::test]
async fn flight_of_a_forgotten_domain_stores_nothing() {
    let memory = Memory::new(1 << 20);
    let (here, other) = (shop(memory.clone()), shop(memory));
    let (slow, users) = (Slow::new(), here.domain("users").unwrap());
    let call = tokio::spawn({
        let (slow, users) = (slow.clone(), users.clone());
        async move { users.get_or_compute(1u32, move || slow.run(Ok(1u32))).await.unwrap() }
    });
    slow.wait_for_start().await;
    other.domain("users").unwrap().invalidate_namespace().await.unwrap();
    slow.finish(1);
    assert_eq!(call.await.unwrap(), 1);
    settle().await;
    for cache in [&here, &other] {
        assert_eq!(cache.domain("users").unwrap().get::<u32>(1u32).await.unwrap(), None);
    }
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Answered { outcome, .. } => format!("{outcome:?}"),
            Event::Invalidated { scope: Scope::Domain { name, .. }, effect, .. } => format!("{name}: {effect:?}"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test]
async fn each_domain_has_settings_counters_and_observers_of_its_own() {
    let (clock, [all, own]) = (ManualClock::new(), [(); 2].map(|()| Arc::new(Heard::default())));
    let builder = CacheBuilder::new().intent(Intent::Minimal).stats(true).clock(Arc::new(clock.clone()));
    let cache = builder.ttl(Duration::from_secs(60)).observer(Arc::clone(&all) as _).build().unwrap();
    let settings = DomainSettings::new().ttl(Duration::from_secs(5)).negative_ttl(Duration::from_secs(1));
    let settings = settings.stale_if_error(Duration::from_secs(10)).observer(Arc::clone(&own) as _);
    let prices = cache.domain_with("prices", settings.clone()).unwrap();
    assert_eq!((prices.policy().ttl, cache.policy().ttl), (Duration::from_secs(5), Duration::from_secs(60)));
    prices.set(1u32, Some(1u32)).await.unwrap();
    prices.set(2u32, None::<u32>).await.unwrap();
    cache.set(1u32, 1u32).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let found = prices.get_many::<Option<u32>, _>([1u32, 2]).await.unwrap();
    assert_eq!(found, [Some(Some(1)), None]);
    clock.advance(Duration::from_secs(4));
    assert_eq!(prices.get::<Option<u32>>(1u32).await.unwrap(), None);
    assert_eq!(cache.get::<u32>(1u32).await.unwrap(), Some(1));
    let down = || async { Err::<Option<u32>, _>(Broken("down")) };
    assert_eq!(prices.get_or_compute(1u32, down).await.unwrap(), Some(1), "by the grace of the domain");
    prices.invalidate_namespace().await.unwrap();

    assert_eq!((prices.stats().calls(), prices.stats().stale, cache.stats().calls()), (4, 1, 5));
    let expected = ["L1Hit", "Absent", "Absent", "Stale", "prices: Invalidated"].map(str::to_owned);
    assert_eq!(*own.0.lock().unwrap(), expected);
    assert_eq!(all.0.lock().unwrap().len(), 6, "the cache's hears of the domain, too");

    assert!(cache.domain_with("prices", settings).is_ok());
    for other in [DomainSettings::new(), DomainSettings::new().ttl(Duration::from_secs(6))] {
        let error = cache.domain_with("prices", other).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("other settings"), "{error}");
    }
    let wrong =
        DomainSettings::new().ttl(Duration::ZERO).swr_threshold_ratio(2.0).soft_timeout(Duration::from_secs(99));
    let error = cache.domain_with("wrong", wrong).unwrap_err();
    assert_eq!((error.kind(), error.to_string().lines().count()), (ErrorKind::Config, 3), "{error}");
    assert!(cache.domain("wrong").is_ok(), "nothing was named");
}

#[tokio::test]
async fn schema_version_of_a_domain_makes_older_entries_misses() {
    let memory = Memory::new(1 << 20);
    let versions = [0, 1].map(|version| {
        let settings = DomainSettings::new().schema_version(version);
        shop(memory.clone()).domain_with("users", settings).unwrap()
    });
    versions[0].set(1u32, 1u32).await.unwrap();
    assert_eq!(versions[1].get::<u32>(1u32).await.unwrap(), None);
    versions[1].set(1u32, 2u32).await.unwrap();
    assert_eq!(versions[1].get::<u32>(1u32).await.unwrap(), Some(2));
}

#[tokio::test]
async fn domain_of_a_tenant_is_the_tenant_of_a_domain() {
    let keyring = || Keyring::from_hex(&"ab".repeat(32)).unwrap();
    for hidden in [false, true] {
        let builder = CacheBuilder::new().intent(Intent::Secure).keyring(keyring()).hashed_keys(hidden);
        let cache = builder.backend(Memory::new(1 << 20)).build().unwrap();
        let acme = cache.tenant("acme").unwrap().domain("users").unwrap();
        acme.set(1u32, "ada".to_owned()).await.unwrap();
        let same = cache.domain("users").unwrap().tenant("acme").unwrap();
        assert_eq!(same.get::<String>(1u32).await.unwrap().as_deref(), Some("ada"));
        let others = [cache.domain("users").unwrap(), cache.tenant("acme").unwrap(), same.tenant("other").unwrap()];
        for other in others {
            assert_eq!(other.get::<String>(1u32).await.unwrap(), None);
        }
        cache.domain("users").unwrap().invalidate_namespace().await.unwrap();
        assert_eq!(same.get::<String>(1u32).await.unwrap(), None, "a domain is forgotten in all tenants");
        let typed = cache.typed::<String, u32>("ages").unwrap().tenant("acme").unwrap();
        typed.set("ada", 36).await.unwrap();
        assert_eq!(typed.get("ada").await.unwrap(), Some(36));
        assert_eq!(cache.typed::<String, u32>("ages").unwrap().get("ada").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_domains_take_the_connections_of_one_cache() {
    let server = Server::start();
    let shop = shop(Redis::from_url(&server.url()).unwrap());
    let domains: Vec<_> = (0..20).map(|number| shop.domain(&format!("domain{number}")).unwrap()).collect();
    for (number, domain) in domains.iter().enumerate() {
        domain.set(1u32, number as u32).await.unwrap();
        assert_eq!(domain.get::<u32>(1u32).await.unwrap(), Some(number as u32));
    }
    eventually("no connection too many is left", async || server.connections() <= 3).await;
    domains[7].invalidate_namespace().await.unwrap();
    for (number, domain) in domains.iter().enumerate() {
        let kept = if number == 7 { None } else { Some(number as u32) };
        assert_eq!(domain.get::<u32>(1u32).await.unwrap(), kept);
    }
    assert_eq!((shop.stats().l1_hits, domains[0].stats().l1_hits), (39, 2), "one L1, and each counts its own");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(u32),
    Text(String),
}

/// What an application holds.
struct App {
    users: TypedCache<String, User>,
    prices: TypedCache<(u32, &'static str), u64>,
}

async fn rename<B: Backend, C: Codec>(users: &TypedCache<String, User, B, C>, to: &str) -> Option<User> {
    users.set("ada", User { name: to.to_owned() }).await.unwrap();
    users.get("ada").await.unwrap()
}

#[tokio::test]
async fn typed_caches_are_fields_and_any_backend_does_in_tests() {
    let environment = CacheBuilder::from_vars([("CACHEKIT_DEFAULT_TTL", "60")]).backend(AnyBackend::memory());
    let shop = environment.build().unwrap();
    let app = App { users: shop.typed("users").unwrap(), prices: shop.typed("prices").unwrap() };
    assert_eq!(rename(&app.users, "Ada").await, Some(User { name: "Ada".into() }));
    app.prices.entry(&(1, "eur")).tags(["price"]).set(99).await.unwrap();
    assert_eq!(app.prices.clone().get(&(1, "eur")).await.unwrap(), Some(99));
    app.prices.invalidate_all().await.unwrap();
    assert!(!app.prices.exists(&(1, "eur")).await.unwrap() && app.users.exists("ada").await.unwrap());
    app.users.invalidate_many(["ada", "none"]).await.unwrap();
    assert_eq!(app.users.get("ada").await.unwrap(), None);
    let computed = app.users.get_or_compute("ada", || async { Ok::<_, Broken>(User { name: "A".into() }) });
    assert_eq!(computed.await.unwrap().name, "A");

    let json = CacheBuilder::new().codec(Json).intent(Intent::Minimal).build().unwrap();
    assert!(rename(&json.typed("users").unwrap(), "Ada").await.is_some());
    assert!(json.typed::<u32, Loose>("loose").is_ok(), "Json carries it");
}

#[tokio::test]
async fn typed_cache_is_refused_that_could_hold_nothing_or_two_types() {
    let cache = shop(Memory::new(1 << 20));
    let error = cache.typed::<u32, Loose>("loose").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("Loose") && error.to_string().contains("untagged"), "{error}");
    cache.typed::<u32, User>("users").unwrap();
    cache.typed::<u32, User>("users").unwrap();
    for error in [cache.typed::<u64, User>("users").unwrap_err(), cache.typed::<u32, u8>("users").unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("User` by `u32`"), "{error}");
    }
}

/// A loader that counts.
#[derive(Clone, Default)]
struct Counting {
    loads: Arc<AtomicUsize>,
    queries: Arc<Mutex<Vec<Vec<u32>>>>,
}

impl Loader for Counting {
    type Key = u32;
    type Value = String;
    type Error = Broken;

    async fn load(&self, key: &u32) -> Result<String, Broken> {
        self.loads.fetch_add(1, SeqCst);
        Ok(format!("user {key}"))
    }

    async fn load_many(&self, keys: &[u32]) -> Result<Loaded<u32, String, Broken>, Broken> {
        self.queries.lock().unwrap().push(keys.to_vec());
        if keys.contains(&666) {
            return Err(Broken("no such table"));
        }
        Ok(keys.iter().filter(|key| **key < 1_000).map(|key| (*key, format!("user {key}"))).collect())
    }
}

#[tokio::test]
async fn loader_needs_no_closures_and_gathers_what_comes_together() {
    let loader = Counting::default();
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let cache = builder.build().unwrap();
    let users = cache.typed("users").unwrap().with_loader(loader.clone());
    assert_eq!(users.get(&1).await.unwrap(), "user 1");
    assert_eq!(users.get(&1).await.unwrap(), "user 1");
    assert_eq!(loader.loads.load(SeqCst), 1);
    assert_eq!(users.refresh(&1).await.unwrap(), "user 1");
    assert_eq!(loader.loads.load(SeqCst), 2);

    let gathering = users.clone().batch_window(Duration::from_millis(5));
    let ask = |keys: std::ops::Range<u32>| {
        let mut calls = JoinSet::new();
        for key in keys {
            let users = gathering.clone();
            calls.spawn(async move { (key, users.get(&key).await) });
        }
        calls
    };
    let calls = ask(10..60);
    settle().await;
    assert!(loader.queries.lock().unwrap().is_empty(), "they wait for others");
    clock.advance(Duration::from_millis(5));
    for (key, value) in calls.join_all().await {
        assert_eq!(value.unwrap(), format!("user {key}"));
    }
    let queries = std::mem::take(&mut *loader.queries.lock().unwrap());
    assert_eq!((queries.len(), queries[0].len()), (1, 50));
    // A batch that is full does not wait.
    assert_eq!(ask(100..300).join_all().await.len(), 200);
    assert!(loader.queries.lock().unwrap().drain(..).all(|keys| keys.len() == 100));

    let found = users.get_many([1, 2, 2_000, 3]).await;
    assert_eq!(found[1].as_ref().unwrap(), "user 2");
    let error = found[2].as_ref().unwrap_err();
    assert!(matches!(error, cachekit::ComputeError::Cache(error) if error.kind() == ErrorKind::Absent), "{error:?}");
    assert_eq!(loader.queries.lock().unwrap().drain(..).collect::<Vec<_>>(), [[2, 2_000, 3]]);
    let failed = users.get_many([666, 667]).await;
    assert!(failed.iter().all(|found| found.as_ref().unwrap_err().failed() == Some(&Broken("no such table"))));
}

#[tokio::test]
async fn key_that_is_changed_while_it_waits_for_others_is_loaded_once_for_all_who_ask() {
    let (loader, clock) = (Counting::default(), ManualClock::new());
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let users = builder.build().unwrap().typed("users").unwrap().with_loader(loader.clone());
    let users = users.batch_window(Duration::from_millis(5));
    let ask = |key: u32| {
        let users = users.clone();
        tokio::spawn(async move { users.get(&key).await.unwrap() })
    };
    let before = ask(1);
    settle().await;
    users.typed().invalidate(&1).await.unwrap();
    let (after, other) = (ask(1), ask(2));
    settle().await;
    clock.advance(Duration::from_millis(5));
    assert_eq!([before.await.unwrap(), after.await.unwrap()], ["user 1", "user 1"]);
    assert_eq!(other.await.unwrap(), "user 2");
    assert_eq!(loader.queries.lock().unwrap().drain(..).collect::<Vec<_>>(), [[1, 2]]);
    assert_eq!(users.typed().get(&1).await.unwrap().as_deref(), Some("user 1"), "the second is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_replaces_the_value_in_every_process() {
    let server = Server::start();
    let [here, other] = [0, 1].map(|_| shop(Redis::from_url(&server.url()).unwrap()));
    here.set("rate", 1u32).await.unwrap();
    assert_eq!(other.get::<u32>("rate").await.unwrap(), Some(1));
    assert_eq!(here.refresh("rate", || async { Ok::<_, Broken>(2u32) }).await.unwrap(), 2);
    eventually("others have the new value", async || other.get::<u32>("rate").await.unwrap() == Some(2)).await;
    let failed = here.refresh("rate", || async { Err::<u32, _>(Broken("down")) }).await;
    assert_eq!(failed.unwrap_err().failed(), Some(&Broken("down")));
    assert_eq!(here.get::<u32>("rate").await.unwrap(), Some(2), "what there was stays");
    assert_eq!(here.stats().computations_failed, 1);
}

#[tokio::test]
async fn fetch_says_whence_a_value_came_and_how_long_it_lives() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let process = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").jitter(false);
        let builder = builder.clock(Arc::new(clock.clone())).ttl(Duration::from_secs(100)).swr_threshold_ratio(0.5);
        builder.stale_if_error(Duration::from_secs(50)).backend(memory.clone()).build().unwrap()
    };
    let (here, other) = (process(), process());
    let pages = |cache: &Cache<_, _>| cache.typed::<String, u32>("pages").unwrap();
    let seen = |fetched: &Fetched<u32>| {
        let seconds = [fetched.age(), fetched.fresh_for(), fetched.remaining()].map(|span| span.as_secs());
        (fetched.outcome(), *fetched.value(), seconds)
    };
    let fetch = async |cache: &Cache<_, _>, value: u32| {
        let typed = pages(cache);
        let load = move || async move { Ok::<_, Broken>(value) };
        let fetched = typed.entry("home").tags(["news"]).fetch(load).await.unwrap();
        assert!(fetched.has_tag("news") && !fetched.has_tag("sports"), "{fetched:?}");
        settle().await;
        seen(&fetched)
    };
    assert_eq!(fetch(&here, 1).await, (Outcome::Computed, 1, [0, 50, 100]));
    clock.advance(Duration::from_secs(20));
    assert_eq!(fetch(&here, 2).await, (Outcome::L1Hit, 1, [20, 30, 80]));
    assert_eq!(fetch(&other, 2).await, (Outcome::L2Hit, 1, [20, 30, 80]));
    clock.advance(Duration::from_secs(40));
    assert_eq!(fetch(&other, 3).await, (Outcome::Stale, 1, [60, 0, 40]));
    assert_eq!(fetch(&other, 4).await, (Outcome::L1Hit, 3, [0, 50, 100]), "renewed meanwhile");
    assert_eq!(pages(&other).remaining("home").await.unwrap(), Some(Duration::from_secs(100)));
    clock.advance(Duration::from_secs(110));
    assert_eq!(pages(&other).remaining("home").await.unwrap(), None);
    let down = || async { Err::<u32, _>(Broken("down")) };
    let fallback = pages(&other).fetch("home", down).await.unwrap();
    assert_eq!(seen(&fallback), (Outcome::Stale, 3, [110, 0, 0]));
    assert_eq!(pages(&other).cache().stats().calls(), 4);
    let unkept = here.entry("lone").ttl(Duration::from_secs(1)).fetch(|| async { Ok::<_, Broken>(7u32) });
    assert_eq!(unkept.await.unwrap().remaining().as_secs(), 1);
    assert_eq!(here.fetch("", || async { Ok::<_, Broken>(7u32) }).await.unwrap().into_value(), 7);
}

/// A loader that asks its own cache, as recursive ones do.
#[derive(Clone, Default)]
struct Factorials(Arc<OnceLock<LoadingCache<Factorials, NoBackend, Checked<Postcard>>>>);

impl Loader for Factorials {
    type Key = u64;
    type Value = u64;
    type Error = String;

    async fn load(&self, number: &u64) -> Result<u64, String> {
        let own = self.0.get().expect("set before the first load");
        match number.checked_sub(1) {
            None => Ok(1),
            Some(below) => own.get(&below).await.map(|value| value * number).map_err(|error| error.to_string()),
        }
    }
}

#[tokio::test]
async fn loader_that_asks_for_a_key_of_its_own_batch_is_refused_and_never_hangs() {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("numbers");
    let cache = builder.deadline(PATIENCE).build().unwrap();
    let loader = Factorials::default();
    let factorials = cache.typed("factorials").unwrap().with_loader(loader.clone());
    let factorials = factorials.batch_window(Duration::from_millis(1));
    assert!(loader.0.set(factorials.clone()).is_ok());
    assert_eq!(factorials.get(&5).await.unwrap(), 120, "each asks for the next, in a batch of its own");
    cache.clear().await.unwrap();
    let found = factorials.get_many([3, 2, 1, 0]).await;
    assert_eq!(found[3].as_ref().unwrap(), &1);
    for found in &found[..3] {
        let error = found.as_ref().unwrap_err().to_string();
        assert!(error.contains("wait for itself"), "{error}");
    }
    assert_eq!(
        factorials.get_many([3, 2, 1, 0]).await.into_iter().filter_map(Result::ok).count(),
        2,
        "0 is there by now"
    );
}
