//! Many keys by one call.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Memory, Redis};
use cachekit::codec::{Checked, Postcard};
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{
    Backend, Cache, CacheBuilder, ComputeError, Computed, Error, ErrorKind, Intent, Key, Loaded, Operation, Settings,
};
use tokio::task::JoinSet;

use crate::servers::{PATIENCE, Server};
use harness::support::{Broken, Slow, forward, settle};

type Users<B> = Cache<B, Checked<Postcard>>;
type Rows = Loaded<u32, String, Broken>;

fn users<B: Backend>(backend: B) -> Users<B> {
    CacheBuilder::new().intent(Intent::Production).namespace("users").jitter(false).backend(backend).build().unwrap()
}

fn name(id: u32) -> String {
    format!("user {id}")
}

fn rows(ids: impl IntoIterator<Item = u32>) -> Rows {
    ids.into_iter().map(|id| (id, name(id))).collect()
}

/// The lists of keys that computations were called with.
#[derive(Clone, Default)]
struct Queries(Arc<Mutex<Vec<Vec<u32>>>>);

impl Queries {
    fn note(&self, keys: &[u32]) {
        self.0.lock().unwrap().push(keys.to_vec());
    }

    fn taken(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Asks for some users; the computation knows all of them.
    async fn ask<B: Backend>(&self, users: &Users<B>, ids: impl IntoIterator<Item = u32>) -> Vec<String> {
        let queries = self.clone();
        let compute = move |missing: Vec<u32>| {
            queries.note(&missing);
            async move { Ok(rows(missing)) }
        };
        let found = users.get_or_compute_many(ids, compute).await;
        found.into_iter().map(|found| found.unwrap().unwrap()).collect()
    }
}

#[tokio::test]
async fn batch_computes_what_is_missing_by_one_call_in_order() {
    let (memory, queries) = (Memory::new(1 << 20), Queries::default());
    let (here, other) = (users(memory.clone()), users(memory));
    other.set_many((0..5).map(|id| (id, name(id)))).await.unwrap();
    here.set(7u32, name(7)).await.unwrap();
    let asked = [9u32, 7, 3, 8, 3, 9, 1];
    assert_eq!(queries.ask(&here, asked).await, asked.map(name));
    assert_eq!(queries.taken(), [[9, 8]], "L1 has 7, the backend 3 and 1");
    assert_eq!(queries.ask(&other, asked).await, asked.map(name));
    assert!(queries.taken().is_empty(), "what was computed is in the backend");
    let stats = here.stats();
    assert_eq!((stats.computed, stats.l2_hits, stats.l1_hits, stats.joined, stats.calls()), (2, 2, 1, 2, 7));
    assert_eq!(here.get_many::<String, _>(asked).await.unwrap(), asked.map(|id| Some(name(id))));
    assert!(queries.ask(&here, []).await.is_empty() && queries.taken().is_empty());
    assert!(here.get_many::<String, u32>([]).await.unwrap().is_empty());
}

#[tokio::test]
async fn equal_cold_pages_make_one_query() {
    let (cache, slow, queries) = (users(Memory::new(1 << 20)), Slow::new(), Queries::default());
    let mut pages = JoinSet::new();
    for _ in 0..8 {
        let (cache, slow, queries) = (cache.clone(), slow.clone(), queries.clone());
        pages.spawn(async move {
            let compute = move |missing: Vec<u32>| {
                queries.note(&missing);
                slow.clone().run(Ok(rows(missing)))
            };
            cache.get_or_compute_many(0..50, compute).await
        });
    }
    slow.wait_for_start().await;
    settle().await;
    slow.finish(8);
    while let Some(page) = pages.join_next().await {
        let page: Vec<String> = page.unwrap().into_iter().map(|found| found.unwrap().unwrap()).collect();
        assert_eq!(page, (0..50).map(name).collect::<Vec<_>>());
    }
    assert_eq!(queries.taken(), [(0..50).collect::<Vec<_>>()]);
    assert_eq!((cache.stats().computed, cache.stats().joined), (50, 350));
}

#[tokio::test]
async fn key_that_fails_fails_for_all_who_asked_and_no_other_key() {
    let (cache, slow) = (users(Memory::new(1 << 20)), Slow::new());
    let load = |slow: Slow| {
        move |missing: Vec<u32>| {
            let mut loaded = rows(missing.iter().copied().filter(|id| *id != 2 && *id != 3));
            loaded.insert_error(2, Broken("user 2 is broken"));
            slow.clone().run(Ok(loaded))
        }
    };
    let (first, second) = (load(slow.clone()), load(slow.clone()));
    let one = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute_many([1u32, 2, 3], first).await }
    });
    slow.wait_for_start().await;
    let two = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute_many([2u32, 3, 4], second).await }
    });
    slow.wait_for_start().await;
    let single = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute(2u32, || async { Ok::<String, Broken>("unused".into()) }).await }
    });
    settle().await;
    slow.finish(2);
    let is_broken = |answer: &Result<_, ComputeError<Broken>>| {
        answer.as_ref().err().and_then(ComputeError::failed) == Some(&Broken("user 2 is broken"))
    };
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!((one[0].as_ref().unwrap(), one[2].as_ref().unwrap()), (&Some(name(1)), &None));
    assert_eq!((two[1].as_ref().unwrap(), two[2].as_ref().unwrap()), (&None, &Some(name(4))));
    assert!(is_broken(&one[1]) && is_broken(&two[0]));
    assert!(single.await.unwrap().unwrap_err().failed().is_some());
    assert_eq!(cache.get_many::<String, _>([1u32, 2, 3, 4]).await.unwrap(), [Some(name(1)), None, None, Some(name(4))]);
}

#[tokio::test]
async fn whole_failure_and_panic_reach_each_key_that_was_computed() {
    let cache = users(Memory::new(1 << 20));
    cache.set(1u32, name(1)).await.unwrap();
    let fails = |_: Vec<u32>| async { Err::<Rows, _>(Broken("the database is down")) };
    let found = cache.get_or_compute_many([1u32, 2, 3], fails).await;
    assert_eq!(found[0].as_ref().unwrap(), &Some(name(1)));
    assert!(found[1..].iter().all(|found| found.as_ref().unwrap_err().to_string().contains("database is down")));
    let panics =
        |missing: Vec<u32>| async move { if missing.len() == 2 { panic!("no table") } else { Ok(Rows::new()) } };
    let found = cache.get_or_compute_many([1u32, 2, 3], panics).await;
    for found in &found[1..] {
        assert!(matches!(found, Err(ComputeError::Panicked { message, .. }) if &**message == "no table"), "{found:?}");
    }
    assert_eq!(cache.stats().computations_failed, 4);
}

#[tokio::test]
async fn absent_key_is_asked_for_by_a_single_call_that_joined_it() {
    let (cache, slow) = (users(Memory::new(1 << 20)), Slow::new());
    let nothing = {
        let slow = slow.clone();
        move |_: Vec<u32>| slow.clone().run(Ok(Rows::new()))
    };
    let batch = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute_many([1u32], nothing).await }
    });
    slow.wait_for_start().await;
    let single = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute(1u32, || async { Ok::<_, Broken>(name(1)) }).await }
    });
    settle().await;
    slow.finish(1);
    assert_eq!(batch.await.unwrap()[0].as_ref().unwrap(), &None);
    assert_eq!(single.await.unwrap().unwrap(), name(1), "its own computation knows more");
    assert_eq!((cache.stats().absent, cache.stats().computed, cache.stats().calls()), (1, 1, 2));
}

#[tokio::test]
async fn value_of_what_is_not_named_is_kept_for_the_negative_ttl() {
    let (clock, queries) = (ManualClock::new(), Queries::default());
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).namespace("users");
    let cache = builder.negative_ttl(Duration::from_secs(5)).build().unwrap();
    let ask = async || {
        let queries = queries.clone();
        let compute = move |missing: Vec<u32>| {
            queries.note(&missing);
            let rows: Loaded<u32, Option<String>, Broken> = [(1u32, Some(name(1)))].into_iter().collect();
            async move { Ok(rows.otherwise(None)) }
        };
        let found = cache.get_or_compute_many([1u32, 2], compute).await;
        found.into_iter().map(|found| found.unwrap().flatten()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(ask().await, [Some(name(1)), None]);
    }
    assert_eq!(queries.taken(), [[1, 2]]);
    clock.advance(Duration::from_secs(5));
    assert_eq!(ask().await, [Some(name(1)), None]);
    assert_eq!(queries.taken(), [[2]]);
}

#[tokio::test]
async fn stale_values_are_answered_and_renewed_in_one_batch() {
    let (clock, queries) = (ManualClock::new(), Queries::default());
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let process = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").jitter(false);
        let builder = builder.clock(Arc::new(clock.clone())).ttl(Duration::from_secs(60)).swr_threshold_ratio(0.5);
        builder.backend(memory.clone()).build().unwrap()
    };
    let (here, other) = (process(), process());
    here.set_many([(1u32, "old".to_owned()), (2, "old".to_owned())]).await.unwrap();
    clock.advance(Duration::from_secs(40));
    assert_eq!(queries.ask(&other, [1, 2, 3]).await, ["old", "old", "user 3"], "stale in the backend");
    settle().await;
    let asked: HashSet<Vec<u32>> = queries.taken().into_iter().collect();
    assert_eq!(asked, HashSet::from([vec![3], vec![1, 2]]));
    assert_eq!(queries.ask(&other, [1, 2, 3]).await, [1, 2, 3].map(name));
    clock.advance(Duration::from_secs(40));
    assert_eq!(queries.ask(&other, [1, 2, 3]).await, [1, 2, 3].map(name), "stale in L1");
    settle().await;
    assert_eq!(queries.taken(), [[1, 2, 3]]);
}

#[tokio::test]
async fn overlapping_batches_compute_each_key_once() {
    let (cache, counts) = (users(Memory::new(1 << 22)), Arc::new([const { AtomicUsize::new(0) }; 200]));
    let mut tasks = JoinSet::new();
    for task in 0..100u64 {
        let (cache, counts) = (cache.clone(), Arc::clone(&counts));
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            let ids: Vec<u32> = (0..50).map(|_| random.u32(0..200)).collect();
            let compute = move |missing: Vec<u32>| {
                missing.iter().for_each(|id| _ = counts[*id as usize].fetch_add(1, SeqCst));
                async move {
                    tokio::task::yield_now().await;
                    let mut loaded = rows(missing.iter().copied().filter(|id| *id != 13));
                    loaded.insert_error(13, Broken("unlucky"));
                    Ok(loaded)
                }
            };
            let found = cache.get_or_compute_many(ids.clone(), compute).await;
            for (id, found) in ids.into_iter().zip(found) {
                match found {
                    Ok(found) => assert_eq!(found, Some(name(id))),
                    Err(error) => assert_eq!((id, error.failed()), (13, Some(&Broken("unlucky")))),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    for (id, count) in counts.iter().enumerate().filter(|(id, _)| *id != 13) {
        assert!(count.load(SeqCst) <= 1, "{id} was computed {} times", count.load(SeqCst));
    }
    assert_eq!(cache.pending(), 0);
}

#[tokio::test]
async fn batch_whose_computation_asks_for_its_own_keys_is_refused() {
    let cache = users(Memory::new(1 << 20));
    let inner = cache.clone();
    let compute = move |missing: Vec<u32>| {
        let inner = inner.clone();
        async move {
            let own = inner.get_or_compute(missing[1], || async { Ok::<_, Broken>(String::new()) }).await;
            let refused = own.unwrap_err().to_string();
            assert!(refused.contains("wait for itself"), "{refused}");
            let other = inner.get_or_compute(99u32, || async { Ok::<_, Broken>(name(99)) }).await;
            assert_eq!(other.unwrap(), name(99));
            Ok(rows(missing))
        }
    };
    let found = cache.get_or_compute_many([1u32, 2], compute).await;
    assert_eq!(found.into_iter().map(|found| found.unwrap().unwrap()).collect::<Vec<_>>(), [1, 2].map(name));
}

#[tokio::test]
async fn batch_goes_on_without_its_caller_and_ends_with_close() {
    let (cache, slow) = (users(Memory::new(1 << 20)), Slow::new());
    let compute = {
        let slow = slow.clone();
        move |missing: Vec<u32>| slow.clone().run(Ok(rows(missing)))
    };
    let caller = tokio::spawn({
        let (cache, compute) = (cache.clone(), compute.clone());
        async move { cache.get_or_compute_many(0..20u32, compute).await }
    });
    slow.wait_for_start().await;
    caller.abort();
    assert!(caller.await.is_err());
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close(Duration::from_secs(30)).await }
    });
    settle().await;
    assert!(!closing.is_finished());
    slow.finish(1);
    closing.await.unwrap().unwrap();
    let found = cache.get_many::<String, _>(0..20u32).await.unwrap();
    assert_eq!(found, (0..20).map(|id| Some(name(id))).collect::<Vec<_>>());
    slow.finish(1);
    let after = cache.get_or_compute_many(20..30u32, compute).await;
    assert_eq!(after.len(), 10);
    assert!(after.into_iter().all(|found| found.unwrap().is_some()), "a closed cache computes for its callers");
}

#[tokio::test]
async fn computation_of_a_batch_is_dropped_at_the_deadline() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let cache = builder.deadline(Duration::from_secs(3)).build().unwrap();
    let slow = Slow::new();
    let alive = Arc::new(());
    let compute = {
        let (slow, alive) = (slow.clone(), Arc::clone(&alive));
        move |missing: Vec<u32>| {
            let (slow, alive) = (slow.clone(), Arc::clone(&alive));
            async move {
                let _alive = alive;
                slow.run(Ok(rows(missing))).await
            }
        }
    };
    let call = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute_many([1u32, 2], compute).await }
    });
    slow.wait_for_start().await;
    settle().await;
    clock.advance(Duration::from_secs(3));
    assert!(call.await.unwrap().iter().all(|found| matches!(found, Err(ComputeError::TimedOut))));
    settle().await;
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn backend_that_fails_costs_get_many_an_error_and_computations_nothing() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let (control, queries) = (chaos.control(), Queries::default());
    let cache = users(chaos);
    for operation in [Operation::Get, Operation::Lease, Operation::Set] {
        control.inject(operation, Fault::Refuse);
    }
    assert_eq!(cache.get_many::<String, _>([1u32]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(queries.ask(&cache, [1, 2, 3]).await, [1, 2, 3].map(name));
    assert_eq!(queries.taken(), [[1, 2, 3]]);
    assert!(cache.get_many::<String, _>([""]).await.is_err());
    let found = cache.get_or_compute_many(["", "a"], |missing| async move {
        Ok::<Loaded<&str, u32, Broken>, _>(missing.into_iter().map(|key| (key, 7)).collect())
    });
    assert_eq!(found.await[1].as_ref().unwrap(), &Some(7));
}

#[tokio::test]
async fn set_many_says_for_each_how_it_is_kept_and_the_last_of_two_stays() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let cache = builder.backend(Memory::with_clock(1 << 20, Arc::new(clock.clone()))).build().unwrap();
    let brief = Computed::new(2u32).ttl(Duration::from_secs(5));
    let items =
        [("a", Computed::new(1u32)), ("b", brief), ("c", Computed::new(3).do_not_store()), ("a", Computed::new(4))];
    cache.set_many_with(items).await.unwrap();
    assert_eq!(cache.get_many::<u32, _>(["a", "b", "c"]).await.unwrap(), [Some(4), Some(2), None]);
    clock.advance(Duration::from_secs(5));
    assert_eq!(cache.get_many::<u32, _>(["a", "b"]).await.unwrap(), [Some(4), None]);
    let error = cache.set_many([("", 1u32), ("d", 5)]).await.unwrap_err();
    assert_eq!((error.kind(), cache.get::<u32>("d").await.unwrap()), (ErrorKind::Key, Some(5)));
}

/// Counts how many stores are under way at once. Others get their turn meanwhile.
#[derive(Debug)]
struct Crowded {
    memory: Memory,
    under_way: AtomicUsize,
    most: Arc<AtomicUsize>,
}

impl Backend for Crowded {
    forward!(memory: capabilities get remove ttl get_many set_many remove_many part forget lease renew fill release ping bus);

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.most.fetch_max(self.under_way.fetch_add(1, SeqCst) + 1, SeqCst);
        settle().await;
        self.under_way.fetch_sub(1, SeqCst);
        self.memory.set(key, value, ttl).await
    }
}

#[tokio::test]
async fn set_many_has_no_more_under_way_than_the_backend_may_have() {
    let most = Arc::new(AtomicUsize::new(0));
    let backend = Crowded { memory: Memory::new(1 << 20), under_way: AtomicUsize::new(0), most: Arc::clone(&most) };
    let builder = CacheBuilder::new().intent(Intent::Minimal).backpressure_enabled(true).max_concurrent(4);
    let cache = builder.max_queued(0).queue_wait(Duration::ZERO).backend(backend).build().unwrap();
    cache.set_many((0..50u32).map(|key| (key, key))).await.unwrap();
    assert_eq!(most.load(SeqCst), 4);
    assert_eq!(cache.get_many::<u32, _>(0..50u32).await.unwrap(), (0..50).map(Some).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batch_is_worked_on_piece_by_piece() {
    let (cache, queries) = (users(Memory::new(256 << 20)), Queries::default());
    let found = queries.ask(&cache, 0..10_000).await;
    assert!(found.iter().enumerate().all(|(id, found)| *found == name(id as u32)));
    let asked = queries.taken();
    assert!(asked.iter().all(|keys| keys.len() <= 1_024), "each query has a bound");
    assert_eq!(asked.concat().len(), 10_000);
    assert!(asked.len() < 20, "{} queries", asked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_compute_each_key_of_overlapping_batches_once() {
    let (server, counts) = (Server::start(), Arc::new([const { AtomicUsize::new(0) }; 200]));
    // A busy machine is to make no operation late, and no lease run out: what is late is computed all the same.
    let mut patient = Settings::default();
    patient.operation_timeout = Some(PATIENCE);
    patient.lease_hold = Some(PATIENCE);
    patient.lease_wait = Some(PATIENCE);
    let processes = [0, 1].map(|_| {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").settings(patient.clone());
        let builder = builder.adaptive_timeout_enabled(false).backpressure_enabled(false);
        builder.backend(Redis::from_url(&server.url()).unwrap()).build().unwrap()
    });
    let mut tasks = JoinSet::new();
    for task in 0..100u64 {
        let (cache, counts) = (processes[task as usize % 2].clone(), Arc::clone(&counts));
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            let ids: Vec<u32> = (0..50).map(|_| random.u32(0..200)).collect();
            let compute = move |missing: Vec<u32>| {
                missing.iter().for_each(|id| _ = counts[*id as usize].fetch_add(1, SeqCst));
                async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(rows(missing))
                }
            };
            let found = cache.get_or_compute_many(ids.clone(), compute).await;
            for (id, found) in ids.into_iter().zip(found) {
                assert_eq!(found.unwrap(), Some(name(id)));
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let all: Vec<usize> = counts.iter().map(|count| count.load(SeqCst)).collect();
    assert!(all.iter().all(|count| *count <= 1), "{all:?}");
    assert!(all.iter().sum::<usize>() > 190);
}
