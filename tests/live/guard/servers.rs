//! The guard before real servers that stop, hang and vanish.
#![cfg(unix)]

use std::sync::Arc;
use std::time::Instant;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::intent::Production;
use cachekit::{Cache, CacheBuilder, Intent, Operation};
use tokio::task::JoinSet;

use super::SECOND;
use crate::servers::{Proxy, SOON, Server, eventually};
use harness::support::{Broken, Journal, Note};

type Users = Cache<Redis, Checked<Postcard>>;
type Builder = CacheBuilder<Redis, Postcard, Production>;

/// A cache as it comes, but for `build`, that has measured how fast its server answers.
async fn users(url: &str, build: impl FnOnce(Builder) -> Builder) -> (Users, Arc<Journal>) {
    let journal = Arc::<Journal>::default();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").codec(Postcard);
    let builder = builder.backend(Redis::from_url(url).unwrap()).observer(Arc::<Journal>::clone(&journal) as _);
    let cache = build(builder).build().unwrap();
    for key in 0..20u32 {
        eventually("it is stored", async || cache.set(key, key).await.is_ok()).await;
        eventually("it is read", async || cache.entry(key).skip_l1_read().get::<u32>().await.is_ok()).await;
    }
    (cache, journal)
}

async fn ask(cache: &Users, key: u32) {
    assert_eq!(cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap(), key);
}

/// Operations that failed, but for listening, which is no caller's.
fn failures(journal: &Journal) -> usize {
    journal.count(|note| matches!(note, Note::BackendFailed(operation, _) if *operation != Operation::Receive))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_never_answers_costs_only_the_first_few_callers() {
    let server = Server::start();
    let (cache, journal) = users(&server.url(), |builder| builder.l1_enabled(false)).await;
    server.pause();
    let mut waits = Vec::new();
    while cache.stats().breaker_opened == 0 {
        let begun = Instant::now();
        ask(&cache, 100 + waits.len() as u32).await;
        waits.push(begun.elapsed());
        assert!(waits.len() <= 10, "{:?}", journal.notes());
    }
    // The timeout is a tenth of a second, then more, up to that of a command and a connect; nothing else is waited for.
    assert!(waits.iter().all(|wait| *wait < 4 * SECOND), "{waits:?}");
    let (failed, computed, refused) = (failures(&journal), cache.stats().computations, cache.stats().refused);
    let begun = Instant::now();
    for key in 1_000..1_200 {
        ask(&cache, key).await;
    }
    assert!(begun.elapsed() < 200 * SECOND / 20, "{:?}: nobody waits for the server", begun.elapsed());
    // The breaker lets three probes through after a quarter second, and again after twice as long each time.
    let probes = 18;
    assert!(failures(&journal) <= failed + probes, "no other operation was begun");
    assert_eq!(cache.stats().computations, computed + 200);
    assert!(cache.stats().refused >= refused + 200 - probes as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_back_is_used_again_at_once() {
    let server = Server::start();
    let recovery = SECOND / 2;
    let (cache, _) = users(&server.url(), |builder| builder.l1_enabled(false).recovery_timeout(recovery)).await;
    for paused in [true, false] {
        if paused {
            server.pause()
        } else {
            server.kill()
        }
        let opened = cache.stats().breaker_opened;
        eventually("the breaker opens", async || {
            ask(&cache, 1).await;
            cache.stats().breaker_opened > opened
        })
        .await;
        if paused {
            server.resume()
        } else {
            server.restart()
        }
        let (back, hits) = (Instant::now(), cache.stats().l2_hits);
        eventually("the server is used", async || {
            ask(&cache, 1).await;
            cache.stats().l2_hits >= hits + 10
        })
        .await;
        // Half a minute, without the setting.
        assert!(back.elapsed() <= SOON, "{:?} after it was back (paused: {paused})", back.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_compute_once_per_key_while_the_server_is_down() {
    const KEYS: u32 = 1_000;
    let server = Server::start();
    let (cache, _) = users(&server.url(), |builder| builder).await;
    server.kill();
    let computed = cache.stats().computations;
    let mut callers = JoinSet::new();
    for caller in 0..10 * KEYS {
        let cache = cache.clone();
        callers.spawn(async move { ask(&cache, 100 + caller % KEYS).await });
    }
    callers.join_all().await;
    assert_eq!(cache.stats().computations, computed + u64::from(KEYS));
    assert_eq!(cache.stats().failed, 0);
    eventually("nothing is under way", async || cache.pending() == 0).await;
    let shown = format!("{cache:#?}");
    assert!(["flights: 0", "fences: 0", "tasks: 0"].iter().all(|nothing| shown.contains(nothing)), "{shown}");
}

/// The guard gives operations up long before the backend would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_lost_by_the_network_is_given_up_behind_the_guard() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let (cache, journal) = users(&proxy.url(), |builder| builder.recovery_timeout(SECOND / 10)).await;
    let look = async || cache.entry(1u32).skip_l1_read().get::<u32>().await;
    // So many that a few timeouts do not make the next ones longer.
    for _ in 0..400 {
        look().await.unwrap();
    }
    proxy.strand();
    let before = failures(&journal);
    eventually("the server is reached again", async || look().await.is_ok()).await;
    let failures = failures(&journal) - before;
    assert!((1..=10).contains(&failures), "{failures} operations failed");
}
