//! Warm starts: what processes had in use is in L1 before it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachekit::backends::{Memory, Redis};
use cachekit::codec::{Checked, Keyring, Postcard};
use cachekit::testing::{Chaos, ChaosControl, Fault, ManualClock};
use cachekit::{
    Backend, Cache, CacheBuilder, Codec, DomainSettings, Intent, Loaded, Loader, Operation, Outcome, Tier, Unreadable,
};

use crate::servers::Server;
use harness::support::{Broken, Journal, Late, Note, settle};

const SOON: Duration = Duration::from_secs(5);

type Shop<B> = Cache<B, Checked<Postcard>>;

fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Production> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").backend(backend).jitter(false);
    builder.clock(Arc::new(clock.clone())).warm_keys(1_000)
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(16 << 20, Arc::new(clock.clone()))
}

/// Stores so many numbers, reads them, and ends.
async fn yesterday<B: Backend>(cache: Shop<B>, count: u32) {
    for key in 0..count {
        cache.entry(key).tags([["even", "odd"][key as usize % 2]]).set(key).await.unwrap();
        assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(key));
    }
    cache.close(SOON).await.unwrap();
}

/// Which of so many numbers L1 has.
async fn in_l1<B: Backend, C: Codec>(cache: &Cache<B, C>, count: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for key in 0..count {
        found.extend(cache.entry(key).skip_l2_read().get::<u32>().await.unwrap());
    }
    found
}

fn chaos(clock: &ManualClock) -> (Chaos<Memory>, ChaosControl) {
    let backend = Chaos::with_clock(memory(clock), Arc::new(clock.clone()));
    let control = backend.control();
    (backend, control)
}

#[tokio::test]
async fn a_process_that_starts_has_in_l1_what_the_last_one_had_in_use() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    yesterday(builder(&clock, backend.clone()).build().unwrap(), 600).await;
    let today = builder(&clock, backend).stats(true).build().unwrap();
    assert!(!today.health().await.is_warm);
    assert!(today.warm_up().await && today.health().await.is_warm);
    let before = control.count(Operation::Get);
    for key in 0..600u32 {
        assert_eq!(today.get::<u32>(key).await.unwrap(), Some(key));
    }
    let found: Vec<Option<u32>> = today.get_many(0..600u32).await.unwrap();
    assert_eq!(found, (0..600).map(Some).collect::<Vec<_>>());
    let fetched = today.fetch(7u32, || async { Ok::<_, Broken>(0u32) }).await.unwrap();
    assert!(fetched.outcome() == Outcome::L1Hit && *fetched.value() == 7 && fetched.has_tag("odd"));
    assert_eq!(control.count(Operation::Get), before, "none was read from the backend again");
    assert_eq!((today.stats().l1_hits, today.stats().l2_hits), (1_201, 0));
}

#[tokio::test]
async fn the_first_computing_call_begins_it_and_none_waits_for_it() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    yesterday(builder(&clock, backend.clone()).build().unwrap(), 50).await;
    let today = builder(&clock, backend).build().unwrap();
    control.inject(Operation::Get, Fault::Hang);
    let first = today.entry("other").skip_l2_read().get_or_compute(|| async { Ok::<_, Broken>(1u32) });
    assert_eq!(first.await.unwrap(), 1);
    assert_eq!(in_l1(&today, 50).await, [0u32; 0]);
    control.heal();
    settle().await;
    assert_eq!(in_l1(&today, 50).await.len(), 50);
    let off = builder(&clock, memory(&clock)).warm_keys(0).build().unwrap();
    assert!(off.health().await.is_warm && off.warm_up().await);
}

#[tokio::test]
async fn what_is_opened_lives_weighs_and_ages_as_if_it_had_been_read_from_the_backend() {
    let clock = ManualClock::new();
    let backend = memory(&clock);
    let text = || "x".repeat(1_000);
    let first = builder(&clock, backend.clone()).build().unwrap();
    for key in 0..100u32 {
        first.entry(key).tags(["a", "b"]).set(text()).await.unwrap();
        first.get::<String>(key).await.unwrap();
    }
    first.close(SOON).await.unwrap();
    clock.advance(Duration::from_secs(1_000));
    let (warm, cold) = (builder(&clock, backend.clone()).build().unwrap(), builder(&clock, backend).build().unwrap());
    assert!(warm.warm_up().await);
    clock.advance(Duration::from_secs(100));
    for key in 0..100u32 {
        for cache in [&warm, &cold] {
            assert_eq!(cache.get::<String>(key).await.unwrap(), Some(text()));
        }
    }
    assert_eq!(warm.l1_bytes(), cold.l1_bytes());
    let seen = async |cache: &Shop<Memory>| {
        let fetched = cache.fetch(1u32, || async { Ok::<_, Broken>(String::new()) }).await.unwrap();
        (fetched.outcome(), fetched.age(), fetched.remaining(), fetched.has_tag("b"))
    };
    assert_eq!(seen(&warm).await, seen(&cold).await);
    assert_eq!(seen(&warm).await.1, Duration::from_secs(1_100));
    clock.advance(Duration::from_secs(2_500));
    assert_eq!(in_l1(&warm, 100).await, [0u32; 0], "they have expired");
}

#[tokio::test]
async fn changes_by_other_processes_reach_what_nobody_has_asked_for_yet() {
    let clock = ManualClock::new();
    let backend = memory(&clock);
    let other = builder(&clock, backend.clone()).build().unwrap();
    yesterday(builder(&clock, backend.clone()).build().unwrap(), 10).await;
    let today = builder(&clock, backend).build().unwrap();
    assert!(today.warm_up().await);
    other.invalidate(0u32).await.unwrap();
    other.set(2u32, 200u32).await.unwrap();
    other.expire(4u32).await.unwrap();
    other.invalidate_tag("odd").await.unwrap();
    settle().await;
    assert_eq!(in_l1(&today, 10).await, [6, 8]);
    assert_eq!(today.get::<u32>(2u32).await.unwrap(), Some(200));
    today.expire_all().await.unwrap();
    assert_eq!(in_l1(&today, 10).await, [0u32; 0]);
    today.clear().await.unwrap();
    assert_eq!(today.get::<u32>(6u32).await.unwrap(), None);
}

#[tokio::test]
async fn a_change_while_entries_are_on_their_way_is_not_undone() {
    let clock = ManualClock::new();
    let backend = Late::new(memory(&clock));
    yesterday(builder(&clock, backend.clone()).build().unwrap(), 10).await;
    let [today, other] = [(); 2].map(|()| builder(&clock, backend.clone()).build().unwrap());
    backend.hold(Operation::Get);
    let warming = tokio::spawn({
        let today = today.clone();
        async move { today.warm_up().await }
    });
    backend.wait_until_done().await;
    backend.hold(Operation::Get);
    backend.let_go();
    backend.wait_until_done().await;
    today.invalidate(0u32).await.unwrap();
    today.set(2u32, 200u32).await.unwrap();
    other.invalidate(4u32).await.unwrap();
    other.set(6u32, 600u32).await.unwrap();
    today.invalidate_tag("odd").await.unwrap();
    settle().await;
    backend.let_go();
    assert!(warming.await.unwrap());
    assert_eq!(in_l1(&today, 10).await, [200, 8]);
    assert_eq!(today.get::<u32>(6u32).await.unwrap(), Some(600));
}

#[tokio::test]
async fn what_l1_has_no_room_for_is_not_read_and_the_hottest_are_read_first() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    let first = builder(&clock, backend.clone()).build().unwrap();
    for key in 0..1_000u32 {
        first.set(key, vec![key as u8; 4_000]).await.unwrap();
        for _ in 0..key / 700 {
            assert!(first.get::<Vec<u8>>(key).await.unwrap().is_some());
        }
    }
    first.close(SOON).await.unwrap();
    let today = builder(&clock, backend).l1_max_size_mb(1.0).build().unwrap();
    let before = control.count(Operation::Get);
    assert!(today.warm_up().await);
    let reads = control.count(Operation::Get) - before;
    assert!(reads <= 5, "{reads} reads: the roster, two batches of entries, and two to compare clocks");
    let in_l1 = async |keys: std::ops::Range<u32>| {
        let mut found = 0;
        for key in keys {
            let entry = today.entry(key).skip_l2_read().get::<Vec<u8>>().await.unwrap();
            found += u32::from(entry.is_some());
        }
        found
    };
    let (cold, hot) = (in_l1(0..700).await, in_l1(700..1_000).await);
    assert!(cold < 50 && hot > 150, "{cold} of 700 that were not read, {hot} of 300 that were");
}

#[tokio::test]
async fn what_this_process_has_by_then_stays() {
    let clock = ManualClock::new();
    let backend = memory(&clock);
    yesterday(builder(&clock, backend.clone()).build().unwrap(), 3).await;
    let today = builder(&clock, backend).build().unwrap();
    let newer = today.entry(1u32).skip_l2_write().refresh(|| async { Ok::<_, Broken>(100u32) });
    assert_eq!(newer.await.unwrap(), 100);
    assert!(today.warm_up().await);
    assert_eq!(in_l1(&today, 3).await, [0, 100, 2]);
}

#[tokio::test]
async fn an_entry_of_another_type_is_a_miss_and_a_large_one_is_opened() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    let journal = Arc::new(Journal::default());
    let first = builder(&clock, backend.clone()).build().unwrap();
    let large: Vec<u8> = (0..300_000u32).map(|byte| byte as u8).collect();
    first.set("large", large.clone()).await.unwrap();
    first.set("text", "words".to_owned()).await.unwrap();
    assert!(first.get::<Vec<u8>>("large").await.unwrap().is_some() && first.exists("text").await.unwrap());
    first.close(SOON).await.unwrap();
    let today = builder(&clock, backend).observer(Arc::clone(&journal) as _).build().unwrap();
    assert!(today.warm_up().await);
    let before = control.count(Operation::Get);
    assert_eq!(today.get::<Vec<u8>>("large").await.unwrap(), Some(large));
    assert_eq!(control.count(Operation::Get), before);
    assert_eq!(today.get::<u32>("text").await.unwrap(), None);
    assert!(journal.contains(&Note::Unreadable(Unreadable::Schema)));
    assert_eq!(today.get::<String>("text").await.unwrap().as_deref(), Some("words"));
}

#[tokio::test]
async fn each_domain_is_read_by_its_own_settings_once_it_is_named() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    let first = builder(&clock, backend.clone()).build().unwrap();
    let parts = |cache: &Shop<Chaos<Memory>>| {
        let brief = DomainSettings::new().l1_ttl(Duration::from_secs(10)).schema_version(3);
        [cache.clone(), cache.domain_with("brief", brief).unwrap(), cache.domain("users").unwrap()]
    };
    for part in parts(&first) {
        part.set("key", 1u32).await.unwrap();
        part.get::<u32>("key").await.unwrap();
    }
    first.close(SOON).await.unwrap();
    let today = builder(&clock, backend).build().unwrap();
    assert!(today.warm_up().await);
    assert_eq!(today.l1_len(), 1, "no domain is named yet");
    let [_, brief, users] = parts(&today);
    assert!(!today.health().await.is_warm);
    assert!(brief.warm_up().await && users.health().await.is_warm);
    let before = control.count(Operation::Get);
    assert_eq!(today.l1_len(), 3);
    clock.advance(Duration::from_secs(9));
    for part in [&today, &brief, &users] {
        assert_eq!(part.get::<u32>("key").await.unwrap(), Some(1));
    }
    assert_eq!(control.count(Operation::Get), before);
    clock.advance(Duration::from_secs(1));
    for (part, reads) in [(&today, 0), (&users, 0), (&brief, 1)] {
        let before = control.count(Operation::Get);
        assert_eq!(part.get::<u32>("key").await.unwrap(), Some(1));
        assert_eq!(control.count(Operation::Get), before + reads);
    }
    users.invalidate_namespace().await.unwrap();
    assert_eq!(users.get::<u32>("key").await.unwrap(), None);
    assert_eq!(brief.get::<u32>("key").await.unwrap(), Some(1));
}

#[tokio::test]
async fn with_secure_neither_names_nor_the_roster_can_be_read() {
    let server = Server::start();
    let build = |hashed: bool| {
        let builder = CacheBuilder::new().intent(Intent::Secure).namespace("shop").hashed_keys(hashed);
        let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
        builder.backend(Redis::from_url(&server.url()).unwrap()).keyring(keyring).warm_keys(100).build().unwrap()
    };
    for hashed in [false, true] {
        let first = build(hashed);
        let parts = |cache: &Cache<Redis, _>| [cache.clone(), cache.tenant("acme").unwrap()];
        for part in parts(&first) {
            part.set("alice", 1u32).await.unwrap();
            assert_eq!(part.get::<u32>("alice").await.unwrap(), Some(1));
        }
        first.close(SOON).await.unwrap();
        let saved = server.cli(&["GET", "shop::roster"]);
        assert!(saved.len() > 100 && !saved.contains("alice"), "{saved}");
        let today = build(hashed);
        assert!(today.warm_up().await);
        for part in parts(&today) {
            let found = part.entry("alice").skip_l2_read().get::<u32>().await.unwrap();
            assert_eq!(found, Some(1), "hashed: {hashed}");
        }
        today.clear().await.unwrap();
        today.close(SOON).await.unwrap();
    }
}

#[tokio::test]
async fn names_are_saved_once_a_minute_and_those_of_several_processes_come_together() {
    let clock = ManualClock::new();
    let backend = memory(&clock);
    let build = || builder(&clock, backend.clone()).build().unwrap();
    let (one, two) = (build(), build());
    for (cache, keys) in [(&one, 0..5u32), (&two, 5..10u32)] {
        for key in keys {
            let compute = move || async move { Ok::<_, Broken>(key) };
            assert_eq!(cache.get_or_compute(key, compute).await.unwrap(), key);
            assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(key));
        }
    }
    settle().await;
    assert!(in_l1(&warmed(build()).await, 10).await.is_empty(), "nothing is saved yet");
    for _ in 0..2 {
        clock.advance(Duration::from_secs(67));
        settle().await;
    }
    assert_eq!(in_l1(&warmed(build()).await, 10).await, (0..10).collect::<Vec<u32>>());
    drop((one, two));
    clock.advance(Duration::from_secs(67));
    settle().await;
}

async fn warmed<B: Backend>(cache: Shop<B>) -> Shop<B> {
    assert!(cache.warm_up().await);
    cache
}

#[tokio::test]
async fn a_backend_that_fails_keeps_no_start_cold_beyond_its_deadline() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    yesterday(builder(&clock, backend.clone()).build().unwrap(), 600).await;
    control.inject_all(Fault::Refuse);
    let build = || builder(&clock, backend.clone()).warm_deadline(SOON).breaker_enabled(false).build().unwrap();
    let dead = build();
    assert!(!dead.health().await.is_warm);
    for _ in 0..49 {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    assert!(!dead.health().await.is_warm);
    let waiting = tokio::spawn({
        let dead = dead.clone();
        async move { dead.warm_up().await }
    });
    settle().await;
    clock.advance(Duration::from_millis(100));
    assert!(!waiting.await.unwrap(), "it was not in time");
    assert!(dead.health().await.is_warm);
    let late = build();
    late.health().await;
    settle().await;
    control.heal();
    for _ in 0..20 {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    assert!(late.health().await.is_warm, "the backend was back in time");
    assert_eq!(in_l1(&late, 600).await.len(), 600);
    control.inject_all(Fault::Refuse);
    late.close(SOON).await.unwrap();
}

#[tokio::test]
async fn a_pause_reads_and_saves_nothing() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    yesterday(builder(&clock, backend.clone()).build().unwrap(), 5).await;
    let before = [Operation::Get, Operation::Set].map(|operation| control.count(operation));
    let paused = builder(&clock, backend).paused(true).build().unwrap();
    paused.health().await;
    settle().await;
    assert_eq!([Operation::Get, Operation::Set].map(|operation| control.count(operation)), before);
    paused.resume_tier(Tier::L2);
    paused.resume_tier(Tier::L1);
    clock.advance(Duration::from_millis(50));
    settle().await;
    assert_eq!(in_l1(&paused, 5).await.len(), 5);
}

#[tokio::test]
async fn what_a_pause_or_a_tag_has_made_l1_forget_is_hot_all_the_same() {
    let clock = ManualClock::new();
    for incident in [0, 1] {
        let backend = memory(&clock);
        let first = builder(&clock, backend.clone()).build().unwrap();
        for key in 0..10u32 {
            first.entry(key).tags(["all"]).set(key).await.unwrap();
            first.get::<u32>(key).await.unwrap();
        }
        match incident {
            0 => {
                first.pause();
                first.resume();
            }
            _ => first.expire_all().await.unwrap(),
        }
        first.close(SOON).await.unwrap();
        for key in 0..10u32 {
            first.set(key, key + 1).await.unwrap();
        }
        let today = builder(&clock, backend).build().unwrap();
        assert_eq!(in_l1(&warmed(today).await, 10).await, (1..=10).collect::<Vec<u32>>(), "incident {incident}");
    }
}

/// Doubles numbers; counts the calls. Keys above a thousand hang, those above a hundred fail.
#[derive(Default, Clone)]
struct Doubles(Arc<AtomicUsize>);

impl Loader for Doubles {
    type Key = u32;
    type Value = u32;
    type Error = Broken;

    async fn load(&self, key: &u32) -> Result<u32, Broken> {
        Ok(key * 2)
    }

    async fn load_many(&self, keys: &[u32]) -> Result<Loaded<u32, u32, Broken>, Broken> {
        self.0.fetch_add(1, SeqCst);
        if keys.iter().any(|key| *key > 1_000) {
            std::future::pending::<()>().await;
        }
        let mut loaded = Loaded::new();
        for key in keys {
            match key {
                0..=100 => loaded.insert(*key, key * 2),
                _ => loaded.insert_error(*key, Broken("down")),
            }
        }
        Ok(loaded)
    }
}

#[tokio::test]
async fn what_the_backend_has_no_more_is_loaded_in_batches() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    let loader = Doubles::default();
    let build = || builder(&clock, backend.clone()).warm_deadline(SOON).build().unwrap();
    let start = || build().typed("numbers").unwrap().with_loader(loader.clone());
    let first = start();
    for key in (1..=80).chain(101..=120) {
        first.typed().set(&key, key * 2).await.unwrap();
        first.typed().get(&key).await.unwrap();
    }
    first.typed().cache().close(SOON).await.unwrap();
    for key in (1..=40).chain(101..=120) {
        first.typed().invalidate(&key).await.unwrap();
    }
    let today = start();
    assert_eq!(today.fetch(&1_000_000).await.unwrap().outcome(), Outcome::Computed);
    assert_eq!(today.warm_up().await, 40, "those that the loader has");
    assert_eq!(loader.0.load(SeqCst), 1, "by one call");
    assert!(today.typed().cache().health().await.is_warm);
    let before = control.count(Operation::Get);
    for key in 1..=80u32 {
        assert_eq!(today.get(&key).await.unwrap(), key * 2);
    }
    let fetched = today.fetch(&7).await.unwrap();
    assert_eq!((fetched.outcome(), *fetched.value()), (Outcome::L1Hit, 14));
    assert_eq!((control.count(Operation::Get), loader.0.load(SeqCst)), (before, 1));
    assert_eq!(today.warm_up().await, 0, "once");
}

#[tokio::test]
async fn a_loader_that_hangs_keeps_no_start_cold_beyond_its_deadline() {
    let clock = ManualClock::new();
    let backend = memory(&clock);
    let build = || builder(&clock, backend.clone()).warm_deadline(SOON).build().unwrap();
    let start = || build().typed("numbers").unwrap().with_loader(Doubles::default());
    let first = start();
    for key in 1_001..=1_010 {
        first.typed().set(&key, key).await.unwrap();
        first.typed().get(&key).await.unwrap();
    }
    first.typed().cache().close(SOON).await.unwrap();
    first.typed().cache().clear().await.unwrap();
    let today = start();
    let health = today.typed().cache().clone();
    let loading = tokio::spawn(async move { today.warm_up().await });
    settle().await;
    clock.advance(SOON - Duration::from_millis(1));
    settle().await;
    assert!(!health.health().await.is_warm && !loading.is_finished());
    clock.advance(Duration::from_millis(1));
    assert!(health.health().await.is_warm);
    assert_eq!(loading.await.unwrap(), 0);
}

#[tokio::test]
async fn over_redis_a_start_reads_what_was_hot_in_batches() {
    let server = Server::start();
    let build = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop");
        builder.backend(Redis::from_url(&server.url()).unwrap()).warm_keys(2_000).build().unwrap()
    };
    let first = build();
    first.set_many((0..2_500u32).map(|key| (key, key))).await.unwrap();
    for key in 0..1_000u32 {
        assert_eq!(first.get::<u32>(key).await.unwrap(), Some(key));
    }
    first.close(SOON).await.unwrap();
    let today = build();
    let reads = || server.calls("mget") + server.calls("get");
    let before = reads();
    assert!(today.warm_up().await);
    assert!((8..=14).contains(&(reads() - before)), "{} reads of 2,000 entries", reads() - before);
    let found = in_l1(&today, 2_500).await;
    assert_eq!((found.len(), &found[..1_000]), (2_000, &(0..1_000).collect::<Vec<u32>>()[..]));
    today.close(SOON).await.unwrap();
}
