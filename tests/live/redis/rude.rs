//! Servers that send what they should not: nothing of it is believed, kept, or waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cachekit::backends::Redis;
use cachekit::codec::Codec;
use cachekit::{Backend, Cache, CacheBuilder, ErrorKind, Event, Intent, Observer, RedisSettings};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::support::{MINUTE, fill_in, hasty, key, patient, value_of};
use crate::servers::{Mode, Mood, Proxy, RudeRedis, Server, eventually};
use harness::support::Broken;

/// The longest entry that caches here take.
const ACCEPTED: usize = 64 << 10;
const KEYS: u64 = 16;
/// A call takes no longer on a machine that is very busy.
const WORST: Duration = Duration::from_secs(10);

/// A value that tells whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    id: u64,
    text: String,
}

impl Page {
    fn of(id: u64) -> Self {
        Self { id, text: "text ".repeat(40) }
    }
}

#[derive(Debug, Default)]
struct Failures(AtomicUsize);

impl Observer for Failures {
    fn event(&self, event: &Event<'_>) {
        if let Event::BackendFailed { .. } = event {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

/// What became of the calls under one mode.
#[derive(Debug, Default)]
struct Row {
    calls: usize,
    panics: usize,
    of_another: usize,
    failures: usize,
    worst: Duration,
    peak: u64,
}

fn backend(url: &str) -> Redis {
    let mut settings = RedisSettings::new(url).unwrap();
    (settings.timeout, settings.connect_timeout) = (Duration::from_millis(150), Duration::from_secs(1));
    Redis::new(settings).unwrap()
}

/// Reads each key once after the other, and then all at once.
async fn calls<C: Codec>(cache: &Cache<Redis, C>, row: &mut Row) {
    let call = |id: u64| {
        let cache = cache.clone();
        async move {
            let begun = Instant::now();
            let answer = cache.get_or_compute(id, move || async move { Ok::<_, Broken>(Page::of(id)) }).await;
            (answer.map(|page| page == Page::of(id)), begun.elapsed())
        }
    };
    let mut answers = Vec::new();
    for id in 0..KEYS {
        answers.push(tokio::spawn(call(id)).await);
    }
    let mut all = JoinSet::new();
    (0..4 * KEYS).for_each(|id| drop(all.spawn(call(id % KEYS))));
    while let Some(answer) = all.join_next().await {
        answers.push(answer);
    }
    for answer in answers {
        row.calls += 1;
        match answer {
            Ok((Ok(is_own), took)) => {
                row.of_another += usize::from(!is_own);
                row.worst = row.worst.max(took);
            }
            Ok((Err(_), _)) | Err(_) => row.panics += 1,
        }
    }
}

/// All that happens with one mode, on one thread, whose allocations are counted.
fn row<C: Codec>(mode: Mode, cache: impl FnOnce(Arc<Failures>, &RudeRedis) -> Cache<Redis, C>) -> Row {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, failures, mut row) = (RudeRedis::start(), Arc::<Failures>::default(), Row::default());
    let cache = runtime.block_on(async { cache(Arc::clone(&failures), &server) });
    runtime.block_on(async {
        for id in 0..KEYS {
            cache.set(id, Page::of(id)).await.unwrap();
        }
        assert_eq!(cache.get::<Page>(3u64).await.unwrap(), Some(Page::of(3)));
    });
    server.set(mode);
    if mode.is_of_connects() {
        server.cut();
    }
    row.peak = allocation_counter::measure(|| runtime.block_on(calls(&cache, &mut row))).bytes_max;
    row.failures = failures.0.load(Relaxed);
    server.set(Mode::Honest);
    runtime.block_on(eventually("the cache works again", async || {
        cache.set(3u64, Page::of(3)).await.is_ok()
            && cache.get::<Page>(3u64).await.is_ok_and(|page| page == Some(Page::of(3)))
    }));
    row
}

fn check(mode: Mode, name: &str, row: &Row) {
    println!("{mode:?}, {name}: {row:?}, {:.1} bytes a byte", row.peak as f64 / ACCEPTED as f64);
    assert_eq!((row.panics, row.of_another), (0, 0), "{mode:?}, {name}: {row:?}");
    assert!(row.worst < WORST, "{mode:?}, {name}: {row:?}");
    assert!(row.peak < 16 * ACCEPTED as u64, "{mode:?}, {name}: {row:?}");
}

macro_rules! table {
    ($intent:expr, $name:literal) => {
        for mode in Mode::ALL {
            for resp3 in [false, true] {
                let row = row(mode, |failures, server| {
                    CacheBuilder::new()
                        .intent($intent)
                        .backend(backend(&server.url(resp3)))
                        .l1_enabled(false)
                        .max_value_size(ACCEPTED as u64)
                        .recovery_timeout(Duration::from_millis(200))
                        .observer(failures)
                        .build()
                        .unwrap()
                });
                check(mode, &format!("{}, RESP{}", $name, 2 + u8::from(resp3)), &row);
            }
        }
    };
}

#[test]
fn minimal_cache_stays_correct_and_prompt_on_rude_servers() {
    table!(Intent::Minimal, "Minimal");
}

#[test]
fn production_cache_stays_correct_and_prompt_on_rude_servers() {
    table!(Intent::Production, "Production");
}

#[test]
fn what_is_said_of_other_servers_costs_no_more_either() {
    for (mode, which) in
        [Mode::HugeDiscovery, Mode::EndlessDiscovery].into_iter().flat_map(|mode| [(mode, 0), (mode, 1)])
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = RudeRedis::start();
        let redis = backend(&server.discovering_urls()[which]);
        server.set(mode);
        let find = async || assert!(redis.get(&key(1)).await.is_err(), "{mode:?}");
        let peak = allocation_counter::measure(|| (0..5).for_each(|_| runtime.block_on(find()))).bytes_max;
        assert!(server.flooded() > 0 && peak < 1 << 20, "{mode:?}: {peak} bytes");
        server.set(Mode::Honest);
        runtime.block_on(eventually("it is found", async || redis.set(&key(1), value_of(1), MINUTE).await.is_ok()));
        assert_eq!(runtime.block_on(redis.get(&key(1))).unwrap(), Some(value_of(1)));
    }
}

#[test]
fn what_is_pushed_costs_no_more_either() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = RudeRedis::start();
    server.set(Mode::EndlessTracking);
    let mut settings = RedisSettings::new(&server.url(true)).unwrap();
    (settings.timeout, settings.tracking) = (Duration::from_secs(1), true);
    let redis = Redis::new(settings).unwrap();
    let peak = allocation_counter::measure(|| {
        runtime.block_on(async {
            let builder = CacheBuilder::new().intent(Intent::Production).backend(redis);
            let cache = builder.max_value_size(ACCEPTED as u64).build().unwrap();
            cache.set(1u64, Page::of(1)).await.unwrap();
            eventually("it was pushed to", async || server.flooded() > 0).await;
            assert_eq!(cache.get::<Page>(1u64).await.unwrap(), Some(Page::of(1)));
            cache.close(Duration::from_secs(5)).await.unwrap();
        });
    })
    .bytes_max;
    assert!(peak < 4 << 20, "{peak} bytes");
}

/// A runtime that stands still hears nothing of what arrives: before it asks the next thing, it looks.
#[test]
fn an_answer_that_came_while_the_runtime_stood_still_is_nobodys() {
    for resp3 in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (server, failures) = (RudeRedis::start(), Arc::<Failures>::default());
        let redis = backend(&server.url(resp3));
        let read = |id: usize| runtime.block_on(redis.get(&key(id))).unwrap();
        runtime.block_on(fill_in(&redis, 20));
        server.set(Mode::StrayAtIdle);
        assert_eq!(read(1), Some(value_of(1)));
        server.set(Mode::Honest);
        std::thread::sleep(Duration::from_millis(50));
        for id in 0..20 {
            assert_eq!(read(id), Some(value_of(id)), "RESP{}", 2 + u8::from(resp3));
        }
        assert_eq!((server.accepted(), failures.0.load(Relaxed)), (2, 0), "one connection was replaced, unnoticed");
    }
}

/// What is asked together with an entry that is too long is read all the same.
#[tokio::test]
async fn one_entry_that_is_too_long_is_one_error_and_fails_no_other() {
    let (server, failures) = (RudeRedis::start(), Arc::<Failures>::default());
    let builder = CacheBuilder::new().intent(Intent::Minimal).namespace("users").backend(backend(&server.url(false)));
    let builder = builder.l1_enabled(false).max_value_size(ACCEPTED as u64).observer(Arc::clone(&failures) as _);
    let cache = builder.build().unwrap();
    for id in 0..KEYS {
        cache.set(id, Page::of(id)).await.unwrap();
    }
    server.store("users:3", &vec![0xC1; 2 * ACCEPTED]);
    let mut all = JoinSet::new();
    for id in 0..KEYS {
        let cache = cache.clone();
        all.spawn(async move { (id, cache.get::<Page>(id).await) });
    }
    while let Some(answer) = all.join_next().await {
        match answer.unwrap() {
            (3, answer) => assert_eq!(answer.unwrap_err().kind(), ErrorKind::TooLarge),
            (id, answer) => assert_eq!(answer.unwrap(), Some(Page::of(id)), "{id}"),
        }
    }
    let told = failures.0.load(Relaxed);
    assert!((1..=2).contains(&told), "{told} events: one of what ended the connection, and one of the entry");
    cache.set(3u64, Page::of(3)).await.unwrap();
    assert_eq!(cache.get::<Page>(3u64).await.unwrap(), Some(Page::of(3)));
}

#[tokio::test]
async fn a_connection_that_is_out_of_step_is_one_failure() {
    let (server, failures) = (RudeRedis::start(), Arc::<Failures>::default());
    let builder = CacheBuilder::new().intent(Intent::Minimal).backend(backend(&server.url(false))).l1_enabled(false);
    let cache = builder.observer(Arc::clone(&failures) as _).build().unwrap();
    for id in 0..KEYS {
        cache.set(id, Page::of(id)).await.unwrap();
    }
    server.set(Mode::StrayAtIdle);
    assert_eq!(cache.get::<Page>(1u64).await.unwrap(), Some(Page::of(1)));
    server.set(Mode::Honest);
    tokio::time::sleep(Duration::from_millis(50)).await;
    for id in 0..KEYS {
        assert_eq!(cache.get::<Page>(id).await.unwrap(), Some(Page::of(id)));
    }
    assert_eq!((server.accepted(), failures.0.load(Relaxed)), (2, 1));
}

/// A call that is dropped between its request and the answer leaves an answer behind, which the client has to take for
/// what it is. (Others gave it to the next request, over a connection that stayed off by one.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_leave_no_answer_to_others() {
    let server = Server::start();
    let redis = patient(&server.url());
    fill_in(&redis, 100).await;
    for round in 0..300 {
        let dropped: Vec<_> = (0..4)
            .map(|step| {
                let redis = redis.clone();
                tokio::spawn(async move { redis.get(&key((round + step) % 100)).await })
            })
            .collect();
        if round % 3 > 0 {
            tokio::time::sleep(Duration::from_micros(u64::try_from(round % 7 * 40).unwrap())).await;
        }
        dropped.iter().for_each(tokio::task::JoinHandle::abort);
        let id = round * 7 % 100;
        assert_eq!(redis.get(&key(id)).await.unwrap(), Some(value_of(id)));
    }
}

/// Answers that come after their requests were given up belong to nobody.
#[tokio::test]
async fn late_answers_are_given_to_no_other_request() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = hasty(&proxy.url());
    fill_in(&patient(&server.url()), 20).await;
    for round in 0..3 {
        proxy.set(Mood::Mute);
        for id in 0..2 {
            assert_eq!(redis.get(&key(id)).await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        proxy.set(Mood::Open);
        for id in (0..20).rev() {
            // The first may come before the way is open again.
            if let Ok(value) = redis.get(&key(id)).await {
                assert_eq!(value, Some(value_of(id)), "round {round}");
            }
        }
    }
}

/// No message of ours is nearly as long: what another program appends costs no more than one of them.
#[test]
fn a_message_of_the_bus_that_is_declared_huge_costs_no_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Arc::new(Server::start());
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").backend(patient(&server.url()));
    let cache = builder.max_value_size(ACCEPTED as u64).build().unwrap();
    runtime.block_on(async {
        cache.set(1u64, Page::of(1)).await.unwrap();
        eventually("it listens", async || server.cli(&["EXISTS", "users::bus"]) == "1").await;
    });
    let append = Arc::clone(&server);
    let huge = vec![b'm'; 64 << 20];
    let other = move || append.call(&[&b"XADD"[..], b"users::bus", b"*", b"m", &huge]);
    std::thread::spawn(other).join().unwrap();
    let peak = allocation_counter::measure(|| {
        runtime.block_on(async {
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                // It may meet the end of a connection twice.
                let _ = cache.set(2u64, Page::of(2)).await;
                let answer = cache.get_or_compute(2u64, || async { Ok::<_, Broken>(Page::of(2)) }).await;
                assert_eq!(answer.unwrap(), Page::of(2));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    })
    .bytes_max;
    assert!(peak < 4 << 20, "{peak} bytes");
    runtime.block_on(cache.close(Duration::from_secs(5))).unwrap();
}
