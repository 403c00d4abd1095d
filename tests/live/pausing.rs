//! Pausing a cache: what its calls do meanwhile, and what they believe afterwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Checked, Postcard};
use cachekit::testing::{Chaos, ChaosControl, ManualClock};
use cachekit::{
    Backend, Cache, CacheBuilder, ComputeError, DomainSettings, Event, Intent, Loaded, Observer, Operation, Tier,
};

use crate::servers::Server;
use harness::support::{Broken, NoLeases, Slow, settle};

const ALL: [Operation; 7] = [
    Operation::Get,
    Operation::Set,
    Operation::Remove,
    Operation::Lease,
    Operation::Ping,
    Operation::Publish,
    Operation::Receive,
];

fn operations(control: &ChaosControl) -> u64 {
    ALL.iter().map(|operation| control.count(*operation)).sum()
}

/// A cache with leases, a ledger and a bus that asks its backend nothing but what a call needs.
fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Production> {
    let builder = CacheBuilder::new().intent(Intent::Production).backend(backend).clock(Arc::new(clock.clone()));
    builder.jitter(false).swr_enabled(false).breaker_enabled(false).adaptive_timeout_enabled(false)
}

fn shared(clock: &ManualClock) -> Memory {
    Memory::with_clock(4 << 20, Arc::new(clock.clone()))
}

type Counted = Cache<Chaos<Memory>, Checked<Postcard>>;

/// Such a cache, and what counts the operations on its backend.
fn counted(clock: &ManualClock) -> (Counted, ChaosControl) {
    let backend = Chaos::with_clock(shared(clock), Arc::new(clock.clone()));
    let control = backend.control();
    (builder(clock, backend).build().unwrap(), control)
}

async fn computes<B: Backend, C: cachekit::Codec>(cache: &Cache<B, C>, key: &str, value: u32) -> u32 {
    let computed = cache.get_or_compute(key, move || async move { Ok::<_, Broken>(value) }).await.unwrap();
    settle().await;
    computed
}

#[tokio::test]
async fn while_paused_each_call_computes_and_the_backend_is_not_asked() {
    let clock = ManualClock::new();
    let (cache, control) = counted(&clock);
    assert_eq!(computes(&cache, "before", 1).await, 1);
    cache.pause();
    // A wait for messages that has begun ends.
    clock.advance(Duration::from_secs(1));
    settle().await;
    let before = operations(&control);
    for round in 2..5 {
        assert_eq!(computes(&cache, "before", round).await, round);
        assert_eq!(computes(&cache, "new", round).await, round);
        assert_eq!(cache.get::<u32>("before").await.unwrap(), None);
        assert!(!cache.exists("before").await.unwrap());
        clock.advance(Duration::from_secs(5));
        settle().await;
    }
    assert_eq!(operations(&control), before);
    let stats = cache.stats();
    assert_eq!((stats.l1_bypassed, stats.l2_bypassed), (12, 12), "six computed, three read, three asked for");
    assert_eq!((stats.computed, stats.l1_hits, stats.l2_hits, stats.absent), (7, 0, 0, 3));
    assert_eq!((stats.backend_failures, stats.refused, stats.not_stored), (0, 0, 0));

    cache.resume();
    assert_eq!(computes(&cache, "before", 9).await, 1, "what was there before the pause, and has not expired");
    assert_eq!(computes(&cache, "new", 9).await, 9, "nothing was stored");
    assert_eq!((cache.stats().l2_hits, cache.stats().l1_bypassed), (1, 12));
    assert_eq!(computes(&cache, "new", 10).await, 9, "and it is, from now on");
}

#[tokio::test]
async fn callers_of_one_key_share_a_computation_and_its_failure() {
    let cache = CacheBuilder::new().namespace("users").stale_if_error(Duration::from_secs(600)).build().unwrap();
    assert_eq!(computes(&cache, "ada", 1).await, 1);
    cache.pause();
    let slow = Slow::new();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (cache, run) = (cache.clone(), slow.clone());
            tokio::spawn(async move { cache.get_or_compute("ada", move || run.run(Ok(2u32))).await.unwrap() })
        })
        .collect();
    settle().await;
    slow.finish(20);
    for call in calls {
        assert_eq!(call.await.unwrap(), 2);
    }
    assert_eq!(slow.started(), 1);
    let failed = cache.get_or_compute("ada", || async { Err::<u32, _>(Broken("down")) }).await;
    assert!(matches!(failed, Err(ComputeError::Failed(_))), "no older value stands in: {failed:?}");
}

#[tokio::test]
async fn paused_l1_is_gone_by_and_the_backend_goes_on() {
    let clock = ManualClock::new();
    let (cache, control) = counted(&clock);
    assert_eq!(computes(&cache, "ada", 1).await, 1);
    cache.pause_tier(Tier::L1);
    assert!(cache.is_paused(Tier::L1) && !cache.is_paused(Tier::L2));
    let before = operations(&control);
    assert_eq!((computes(&cache, "ada", 2).await, computes(&cache, "bob", 3).await), (1, 3));
    assert_eq!((computes(&cache, "ada", 4).await, computes(&cache, "bob", 5).await), (1, 3));
    assert!(operations(&control) >= before + 4, "each call asks the backend");
    assert_eq!(cache.l1_len(), 1, "nothing came in");
    assert_eq!((cache.stats().l1_bypassed, cache.stats().l2_bypassed, cache.stats().l1_hits), (4, 0, 0));
    cache.resume_tier(Tier::L1);
    assert_eq!((computes(&cache, "bob", 6).await, computes(&cache, "bob", 7).await), (3, 3));
    assert_eq!(cache.stats().l1_hits, 1);
}

#[tokio::test]
async fn paused_backend_is_gone_by_and_l1_goes_on_hearing_others() {
    let clock = ManualClock::new();
    let backend = Chaos::with_clock(shared(&clock), Arc::new(clock.clone()));
    let control = backend.control();
    let (cache, other) = (builder(&clock, backend.clone()), builder(&clock, backend));
    let (cache, other) = (cache.build().unwrap(), other.build().unwrap());
    assert_eq!(computes(&cache, "ada", 1).await, 1);
    cache.pause_tier(Tier::L2);
    let before = [Operation::Get, Operation::Set, Operation::Lease].map(|operation| control.count(operation));
    assert_eq!((computes(&cache, "ada", 2).await, computes(&cache, "bob", 3).await), (1, 3));
    assert_eq!(computes(&cache, "bob", 4).await, 3, "L1 keeps what is computed");
    let after = [Operation::Get, Operation::Set, Operation::Lease].map(|operation| control.count(operation));
    assert_eq!(before, after);
    other.invalidate("ada").await.unwrap();
    settle().await;
    assert_eq!(computes(&cache, "ada", 5).await, 5, "L1 has heard of it");
    cache.resume();
    assert_eq!((computes(&cache, "ada", 6).await, cache.stats().l1_hits), (5, 3), "L1 has missed nothing");
}

#[tokio::test]
async fn a_set_while_paused_stores_nothing_and_leaves_nothing_older() {
    let clock = ManualClock::new();
    let backend = shared(&clock);
    let build = || builder(&clock, backend.clone()).build().unwrap();
    let (cache, other) = (build(), build());
    for pause in [None, Some(Tier::L1), Some(Tier::L2)] {
        assert_eq!(computes(&cache, "ada", 1).await, 1);
        assert_eq!(other.get::<u32>("ada").await.unwrap(), Some(1));
        pause.map_or_else(|| cache.pause(), |tier| cache.pause_tier(tier));
        cache.set("ada", 2u32).await.unwrap();
        settle().await;
        let in_l2 = (pause == Some(Tier::L1)).then_some(2);
        assert_eq!(other.get::<u32>("ada").await.unwrap(), in_l2, "{pause:?}");
        let here = pause.map(|_| 2);
        assert_eq!(cache.get::<u32>("ada").await.unwrap(), here, "{pause:?}");
        cache.resume();
        let after = if pause == Some(Tier::L2) { Some(2) } else { in_l2 };
        assert_eq!(cache.get::<u32>("ada").await.unwrap(), after, "{pause:?}");
        cache.invalidate("ada").await.unwrap();
        settle().await;
    }
}

#[tokio::test]
async fn what_is_forgotten_while_paused_is_not_there_after_resume() {
    let clock = ManualClock::new();
    let backend = shared(&clock);
    let build = || builder(&clock, backend.clone()).build().unwrap();
    let (cache, other) = (build(), build());
    let fill = async |cache: &Cache<Memory, Checked<Postcard>>| {
        for (key, tag) in [("a", "red"), ("b", "blue"), ("c", "green")] {
            cache.entry(key).tags([tag]).set(1u32).await.unwrap();
        }
        settle().await;
        for key in ["a", "b", "c"] {
            assert_eq!(other.get::<u32>(key).await.unwrap(), Some(1));
        }
    };
    fill(&cache).await;
    cache.pause();
    cache.invalidate("a").await.unwrap();
    cache.invalidate_tag("blue").await.unwrap();
    settle().await;
    let seen = async |cache: &Cache<Memory, Checked<Postcard>>| {
        [cache.get::<u32>("a").await, cache.get::<u32>("b").await, cache.get::<u32>("c").await].map(Result::unwrap)
    };
    assert_eq!(seen(&other).await, [None, None, Some(1)], "others hear of it during the pause");
    cache.resume();
    assert_eq!(seen(&cache).await, [None, None, Some(1)]);

    fill(&cache).await;
    cache.pause();
    clock.advance(Duration::from_secs(1));
    settle().await;
    other.invalidate("a").await.unwrap();
    other.invalidate_namespace().await.unwrap();
    other.set("c", 3u32).await.unwrap();
    settle().await;
    cache.resume();
    assert_eq!(seen(&cache).await, [None, None, Some(3)], "L1 believes nothing from before");
}

#[tokio::test]
async fn what_was_under_way_when_the_pause_began_is_answered_and_not_stored() {
    let clock = ManualClock::new();
    let (cache, control) = counted(&clock);
    let slow = Slow::new();
    let (calling, run) = (cache.clone(), slow.clone());
    let call = tokio::spawn(async move { calling.get_or_compute("ada", move || run.run(Ok(1u32))).await.unwrap() });
    slow.wait_for_start().await;
    cache.pause();
    let (stored, asked) = (control.count(Operation::Set), control.count(Operation::Lease));
    for _ in 0..10 {
        clock.advance(Duration::from_millis(500));
        settle().await;
    }
    assert_eq!(control.count(Operation::Lease), asked, "the lease is not renewed");
    let late = slow.clone();
    let another = cache.get_or_compute("ada", move || async move {
        late.finish(1);
        Ok::<_, Broken>(2u32)
    });
    assert_eq!(another.await.unwrap(), 2, "what would answer from the cache is not joined");
    assert_eq!(call.await.unwrap(), 1);
    settle().await;
    assert_eq!((control.count(Operation::Set), cache.l1_len()), (stored, 0));
    cache.resume();
    assert_eq!(computes(&cache, "ada", 3).await, 3);
}

#[tokio::test]
async fn a_computation_of_the_pause_is_not_stored_after_it() {
    let clock = ManualClock::new();
    let (cache, _) = counted(&clock);
    cache.pause();
    let slow = Slow::new();
    let (calling, run) = (cache.clone(), slow.clone());
    let call = tokio::spawn(async move { calling.get_or_compute("ada", move || run.run(Ok(1u32))).await.unwrap() });
    slow.wait_for_start().await;
    cache.resume();
    assert_eq!(computes(&cache, "ada", 2).await, 2);
    slow.finish(1);
    assert_eq!(call.await.unwrap(), 1);
    settle().await;
    assert_eq!(cache.get::<u32>("ada").await.unwrap(), Some(2));
}

#[tokio::test]
async fn clones_are_paused_together_and_a_backend_without_leases_too() {
    let clock = ManualClock::new();
    let cache = builder(&clock, NoLeases(shared(&clock))).invalidation_enabled(false).build().unwrap();
    let clone = cache.clone();
    clone.pause();
    assert_eq!((computes(&cache, "ada", 1).await, computes(&cache, "ada", 2).await), (1, 2));
    cache.resume();
    assert_eq!((computes(&clone, "ada", 3).await, computes(&clone, "ada", 4).await), (3, 3));
}

#[tokio::test]
async fn batches_are_computed_without_the_tiers_while_paused() {
    let clock = ManualClock::new();
    let (cache, control) = counted(&clock);
    cache.set_many([(1u64, 1u32), (2, 2)]).await.unwrap();
    cache.pause();
    clock.advance(Duration::from_secs(1));
    settle().await;
    let before = operations(&control);
    let many = async |value: u32| {
        let load = move |missing: Vec<u64>| async move {
            Ok::<Loaded<u64, u32, Broken>, _>(missing.into_iter().map(|key| (key, value)).collect())
        };
        let found = cache.get_or_compute_many([1u64, 2, 3], load).await;
        settle().await;
        found.into_iter().map(Result::unwrap).collect::<Option<Vec<u32>>>().unwrap()
    };
    assert_eq!((many(5).await, many(6).await), (vec![5; 3], vec![6; 3]));
    assert_eq!(cache.get_many::<u32, _>([1u64, 2]).await.unwrap(), [None, None]);
    assert_eq!(operations(&control), before);
    assert_eq!((cache.stats().l1_bypassed, cache.stats().l2_bypassed), (8, 8));
    cache.set_many([(2u64, 7u32)]).await.unwrap();
    cache.resume();
    assert_eq!(many(8).await, [1, 8, 8], "what was set meanwhile is gone, and not stored");
}

#[tokio::test]
async fn a_pause_reaches_domains_and_l1_ttl_is_a_setting_of_each() {
    let clock = ManualClock::new();
    let cache = builder(&clock, shared(&clock)).build().unwrap();
    let brief = DomainSettings::new().l1_ttl(Duration::from_secs(10));
    let prices = cache.domain_with("prices", brief).unwrap();
    assert_eq!((prices.policy().l1_ttl, cache.policy().l1_ttl), (Some(Duration::from_secs(10)), None));
    for handle in [&prices, &cache] {
        assert_eq!(computes(handle, "ada", 1).await, 1);
    }
    clock.advance(Duration::from_secs(10));
    for handle in [&prices, &cache] {
        assert_eq!(computes(handle, "ada", 2).await, 1);
    }
    assert_eq!((prices.stats().l2_hits, prices.stats().l1_hits), (1, 0));
    prices.pause();
    assert!(cache.is_paused(Tier::L1) && cache.is_paused(Tier::L2));
    assert_eq!((computes(&cache, "ada", 3).await, computes(&prices, "ada", 4).await), (3, 4));
    cache.resume();
    assert_eq!((computes(&cache, "ada", 5).await, computes(&prices, "ada", 6).await), (1, 1));
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        let note = match event {
            Event::Switched { tier, paused, .. } => format!("{tier:?} {}", if *paused { "paused" } else { "resumed" }),
            Event::Bypassed { key, tier, .. } => format!("{} by {tier:?}", key.as_str()),
            _ => return,
        };
        self.0.lock().unwrap().push(note);
    }
}

#[tokio::test]
async fn observers_hear_of_a_pause_of_its_end_and_of_each_call_between() {
    let (clock, heard) = (ManualClock::new(), Arc::new(Heard::default()));
    let cache = builder(&clock, shared(&clock)).observer(Arc::clone(&heard) as _).build().unwrap();
    cache.pause_tier(Tier::L2);
    cache.pause();
    cache.pause();
    computes(&cache, "ada", 1).await;
    cache.resume();
    cache.resume();
    computes(&cache, "ada", 1).await;
    let expected = ["L2 paused", "L1 paused", "default:ada by L1", "default:ada by L2", "L1 resumed", "L2 resumed"];
    assert_eq!(*heard.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn variables_pause_from_the_start_and_a_warning_says_so() {
    let build = |vars: &[(&str, &str)]| {
        CacheBuilder::from_vars(vars.iter().copied()).backend(Memory::new(1 << 20)).build().unwrap()
    };
    for (name, paused) in [
        ("CACHEKIT_PAUSED", [true, true]),
        ("CACHEKIT_L1_PAUSED", [true, false]),
        ("CACHEKIT_L2_PAUSED", [false, true]),
    ] {
        let cache = build(&[(name, "yes")]);
        assert_eq!([Tier::L1, Tier::L2].map(|tier| cache.is_paused(tier)), paused, "{name}");
        assert!(cache.warnings().iter().any(|warning| warning.contains("paused") && warning.contains(name)), "{name}");
        assert_eq!(computes(&cache, "ada", 1).await, 1);
        let second = computes(&cache, "ada", 2).await;
        assert_eq!(second, if name == "CACHEKIT_PAUSED" { 2 } else { 1 }, "{name}");
        cache.resume();
        let third = computes(&cache, "ada", 3).await;
        assert_eq!(computes(&cache, "ada", 4).await, third, "{name}");
        let off = build(&[(name, "off")]);
        assert!(!off.is_paused(Tier::L1) && !off.is_paused(Tier::L2) && off.warnings().is_empty(), "{name}");
    }
    let explicit = CacheBuilder::from_vars([("CACHEKIT_PAUSED", "true")]).l1_only().paused(false).build().unwrap();
    assert!(!explicit.is_paused(Tier::L1), "a call of the builder wins");
    let settings = CacheBuilder::new().l1_paused(true).l2_paused(true).build().unwrap();
    assert!(settings.is_paused(Tier::L1) && settings.is_paused(Tier::L2));
}

/// Over a real server, by what it is sent.
#[tokio::test]
async fn redis_is_sent_nothing_while_paused_but_changes() {
    let server = Server::start();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users");
    let cache = builder.backend(cachekit::backends::Redis::from_url(&server.url()).unwrap()).build().unwrap();
    assert_eq!(computes(&cache, "ada", 1).await, 1);
    cache.pause();
    // The wait for messages that is under way takes up to three quarters of a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut monitor = server.monitor();
    for round in 0..100 {
        assert_eq!(computes(&cache, "ada", round).await, round);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = monitor.heard(&server);
    assert!(said.is_empty(), "{said:?}");
    cache.invalidate("ada").await.unwrap();
    let said = monitor.heard(&server);
    assert!(said.len() == 2 && said[0].contains("UNLINK") && said[1].contains("XADD"), "{said:?}");
    cache.resume();
    assert_eq!((computes(&cache, "ada", 7).await, computes(&cache, "ada", 8).await), (7, 7));
}
