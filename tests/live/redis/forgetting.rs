//! What one process forgets, others forget: caches over one server, each with connections of its own.

use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Cache, CacheBuilder, Intent};

use super::support::{at_once, listening, patient};
use crate::servers::{Cluster, Mood, Proxy, Server, eventually};
use harness::support::{Broken, Slow};

type Pages = Cache<Redis, Checked<Postcard>>;

fn pages(redis: Redis) -> Pages {
    builder(redis).build().unwrap()
}

fn builder(redis: Redis) -> CacheBuilder<Redis, Postcard, cachekit::intent::Production> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").backend(redis);
    builder.swr_enabled(false).adaptive_timeout_enabled(false)
}

/// What L1 holds, whatever the server has.
async fn in_l1(cache: &Pages, id: usize) -> Option<u64> {
    cache.entry(id).skip_l2_read().get().await.unwrap()
}

/// Does `work` for the keys `0..count`, 64 at once.
async fn each<F>(count: usize, work: impl Fn(usize) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let part = |task: usize| {
        let work = work.clone();
        async move {
            for id in (task..count).step_by(64) {
                work(id).await;
            }
        }
    };
    at_once(64, part).await;
}

async fn set_all(cache: &Pages, count: usize) {
    let cache = cache.clone();
    each(count, move |id| {
        let cache = cache.clone();
        async move { cache.set(id, id as u64).await.unwrap() }
    })
    .await;
}

async fn invalidate_all(cache: &Pages, count: usize) {
    let cache = cache.clone();
    each(count, move |id| {
        let cache = cache.clone();
        async move { cache.invalidate(id).await.unwrap() }
    })
    .await;
}

async fn get_all(cache: &Pages, count: usize, expected: impl Fn(usize) -> Option<u64> + Send + Sync) {
    let (cache, expected) = (cache.clone(), (0..count).map(expected).collect::<Vec<_>>());
    each(count, move |id| {
        let (cache, expected) = (cache.clone(), expected[id]);
        async move { assert_eq!(cache.get(id).await.unwrap(), expected, "{id}") }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_reach_the_memory_of_other_processes() {
    let server = Server::start();
    let (one, two) = (pages(patient(&server.url())), pages(patient(&server.url())));
    set_all(&one, 10).await;
    get_all(&two, 10, |id| Some(id as u64)).await;
    assert_eq!(in_l1(&two, 3).await, Some(3));
    one.set(3usize, 33u64).await.unwrap();
    eventually("the set arrives", async || in_l1(&two, 3).await.is_none()).await;
    assert_eq!(two.get(3usize).await.unwrap(), Some(33u64));
    one.invalidate(3usize).await.unwrap();
    eventually("the invalidation arrives", async || in_l1(&two, 3).await.is_none()).await;
    assert_eq!((two.get::<u64>(3usize).await.unwrap(), in_l1(&two, 4).await), (None, Some(4)));
    one.entry(5usize).tags(["author"]).set(55u64).await.unwrap();
    eventually("the tagged one is read", async || two.get(5usize).await.unwrap() == Some(55u64)).await;
    one.invalidate_tag("author").await.unwrap();
    eventually("the tag arrives", async || in_l1(&two, 5).await.is_none()).await;
    assert_eq!((two.get::<u64>(5usize).await.unwrap(), in_l1(&two, 4).await), (None, Some(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_invalidated_by_another_process_is_never_read() {
    let server = Server::start();
    let (one, two) = (pages(patient(&server.url())), pages(patient(&server.url())));
    let slow = Slow::new();
    let old = tokio::spawn({
        let (two, slow) = (two.clone(), slow.clone());
        async move { two.get_or_compute(7usize, move || slow.run(Ok(1u64))).await.unwrap() }
    });
    slow.wait_for_start().await;
    one.invalidate(7usize).await.unwrap();
    slow.finish(1);
    assert_eq!(old.await.unwrap(), 1, "who asked before gets it");
    eventually("the late result is nowhere", async || two.pending() == 0 && in_l1(&two, 7).await.is_none()).await;
    assert_eq!((one.get::<u64>(7usize).await.unwrap(), two.get::<u64>(7usize).await.unwrap()), (None, None));
    let new = two.get_or_compute(7usize, || async { Ok::<_, Broken>(2u64) }).await.unwrap();
    assert_eq!(new, 2);
}

/// Fills the L1 of a cache behind a proxy, cuts it off, lets another invalidate everything, and shows that nothing of
/// it is left once the first is back.
async fn away(count: usize, lose: impl FnOnce(&Server), gaps: bool) {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    // What it holds is believed all the while, so that only what it hears takes anything away.
    let believing = builder(listening(&proxy.url())).max_staleness(Duration::from_secs(3_600)).build().unwrap();
    let (one, two) = (pages(patient(&server.url())), believing);
    set_all(&one, count).await;
    get_all(&two, count, |id| Some(id as u64)).await;
    assert_eq!(two.l1_len(), count);
    proxy.set(Mood::Closed);
    proxy.cut();
    eventually("it is cut off", async || two.stats().backend_failures > 0).await;
    invalidate_all(&one, count).await;
    assert_eq!(in_l1(&two, 1).await, Some(1), "it heard nothing");
    lose(&server);
    proxy.set(Mood::Open);
    // The messages that are left are applied before the gap is told, beyond which nothing is believed.
    let has_told = || !gaps || two.stats().gaps > 0;
    eventually("it catches up", async || has_told() && in_l1(&two, count - 1).await.is_none()).await;
    for id in 0..count {
        assert_eq!(in_l1(&two, id).await, None, "{id}");
    }
    assert_eq!(two.stats().gaps > 0, gaps);
    get_all(&two, count, |_| None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_away_for_9_000_invalidations_keeps_no_old_value() {
    away(9_000, |_| {}, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_away_beyond_the_bus_history_trusts_no_entry() {
    away(10_000, |server| drop(server.cli(&["XTRIM", "pages::bus", "MAXLEN", "100"])), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_everything_leaves_nothing_to_believe() {
    let server = Server::start();
    let cache = pages(patient(&server.url()));
    set_all(&cache, 100).await;
    assert_eq!(in_l1(&cache, 1).await, Some(1));
    server.kill();
    server.restart();
    eventually("it notices", async || cache.stats().gaps > 0).await;
    assert_eq!(in_l1(&cache, 1).await, None);
    assert_eq!(cache.get::<u64>(1usize).await.unwrap(), None);
    set_all(&cache, 100).await;
    get_all(&cache, 100, |id| Some(id as u64)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_of_any_size_is_invalidated_by_a_few_commands() {
    let server = Server::start();
    let (one, two) = (pages(patient(&server.url())), pages(patient(&server.url())));
    set_all(&one, 1_000).await;
    get_all(&two, 1_000, |id| Some(id as u64)).await;
    let mut monitor = server.monitor();
    one.invalidate_namespace().await.unwrap();
    let commands = monitor.heard(&server);
    let wanted = |line: &&String| !line.contains("XREAD") && !line.contains("XRANGE");
    let changes: Vec<_> = commands.iter().filter(wanted).collect();
    assert!(changes.len() <= 20, "{changes:?}");
    // A set ends the lease on its key.
    let removes = |line: &&String| line.contains("\"DEL\"") && !line.contains(":lock\"");
    assert_eq!(commands.iter().find(removes), None);
    for word in ["\"SCAN\"", "\"KEYS\"", "\"FLUSHDB\"", "\"UNLINK\""] {
        assert!(!commands.iter().any(|line| line.to_uppercase().contains(word)), "{commands:?}");
    }
    get_all(&one, 1_000, |_| None).await;
    eventually("the other process follows", async || two.get::<u64>(1usize).await.unwrap().is_none()).await;
    get_all(&two, 1_000, |_| None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_cost_no_commands_of_their_own() {
    let server = Server::start();
    let cache = CacheBuilder::new().namespace("pages").backend(patient(&server.url())).l1_enabled(false);
    let cache = cache.swr_enabled(false).build().unwrap();
    cache.set(1usize, 1u64).await.unwrap();
    assert_eq!(cache.get(1usize).await.unwrap(), Some(1u64));
    let before = server.calls("get") + server.calls("mget");
    let start = std::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(cache.get(1usize).await.unwrap(), Some(1u64));
    }
    let seconds = start.elapsed().as_secs() + 2;
    let commands = server.calls("get") + server.calls("mget") - before;
    assert!((1_000..=1_000 + 2 * seconds).contains(&commands), "{commands} commands in {seconds} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_is_dropped_leaves_no_connection() {
    let server = Server::start();
    let before = server.connections();
    let cache = pages(patient(&server.url()));
    set_all(&cache, 10).await;
    assert!(server.connections() > before);
    drop(cache);
    eventually("its connections are closed", async || server.connections() == before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_forgets_by_tag_and_by_namespace() {
    let cluster = Cluster::start();
    for namespace in ["pages", "books", "users", "a:b/c"] {
        let cache = || {
            let builder = CacheBuilder::new().namespace(namespace).backend(patient(&cluster.url()));
            builder.l1_enabled(false).swr_enabled(false).build().unwrap()
        };
        let (one, two) = (cache(), cache());
        one.entry(1usize).tags(["eu"]).set(1u64).await.unwrap();
        one.entry(2usize).tags(["uk"]).set(2u64).await.unwrap();
        one.invalidate_tag("eu").await.unwrap();
        assert_eq!((two.get::<u64>(1usize).await.unwrap(), two.get(2usize).await.unwrap()), (None, Some(2u64)));
        two.invalidate_namespace().await.unwrap();
        eventually("it is known", async || one.get::<u64>(2usize).await.unwrap().is_none()).await;
        assert_eq!(one.entry(3usize).tags(["uk"]).get_or_compute(async || Ok::<_, Broken>(3u64)).await.unwrap(), 3);
        eventually("what was computed is stored", async || two.get(3usize).await.unwrap() == Some(3u64)).await;
    }
    let owners = cluster.nodes.iter().filter(|node| !node.cli(&["KEYS", "*ledger-*"]).is_empty()).count();
    assert!(owners > 1, "the ledgers are on {owners} nodes");
}
