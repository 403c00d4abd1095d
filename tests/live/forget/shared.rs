//! Over real servers and files, as two processes.

use std::sync::Arc;

use cachekit::backends::{File, Redis};
use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, Effect, FileLimits, Intent, RedisSettings};

use super::told::Heard;
use super::{GRACE, fallback};
use crate::servers::{Server, eventually};
use harness::support::{Broken, Slow};

type Pages = Cache<Redis, Checked<Postcard>>;

fn redis(server: &Server) -> Redis {
    let mut settings = RedisSettings::new(&server.url()).unwrap();
    (settings.timeout, settings.connect_timeout) = (GRACE, GRACE);
    Redis::new(settings).unwrap()
}

fn pages(server: &Server, l1: bool) -> Pages {
    pages_told_to(&Arc::default(), server, l1)
}

fn pages_told_to(heard: &Arc<Heard>, server: &Server, l1: bool) -> Pages {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").observer(Arc::clone(heard) as _);
    let builder = builder.backend(redis(server)).stale_if_error(GRACE).l1_enabled(l1);
    builder.swr_enabled(false).adaptive_timeout_enabled(false).build().unwrap()
}

async fn in_l1(cache: &Pages, key: &str) -> Option<u32> {
    cache.entry(key).skip_l2_read().get().await.unwrap()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k{n}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_keys_are_forgotten_everywhere_by_eight_commands() {
    let server = Server::start();
    let (one, two) = (pages(&server, true), pages(&server, true));
    let names = names(1_000);
    for name in &names {
        one.set(name, 1u32).await.unwrap();
    }
    for name in &names {
        assert_eq!(two.get(name).await.unwrap(), Some(1u32));
    }
    let before = (server.calls("unlink"), server.calls("xadd"));
    one.invalidate_many(&names).await.unwrap();
    assert_eq!((server.calls("unlink") - before.0, server.calls("xadd") - before.1), (8, 1_000));
    eventually("all have arrived", async || {
        for name in &names {
            if in_l1(&two, name).await.is_some() {
                return false;
            }
        }
        true
    })
    .await;
    for name in &names {
        assert_eq!((one.get::<u32>(name).await.unwrap(), two.get::<u32>(name).await.unwrap()), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_in_one_process_stands_in_in_the_other() {
    let server = Server::start();
    let (one, two, three) = (pages(&server, true), pages(&server, true), pages(&server, false));
    for key in ["home", "news"] {
        one.set(key, 1u32).await.unwrap();
        assert_eq!((two.get(key).await.unwrap(), three.get(key).await.unwrap()), (Some(1u32), Some(1u32)));
    }
    one.expire("home").await.unwrap();
    eventually("it arrives", async || in_l1(&two, "home").await.is_none()).await;
    for cache in [&one, &two, &three] {
        assert_eq!((cache.get::<u32>("home").await.unwrap(), cache.get("news").await.unwrap()), (None, Some(1u32)));
        assert_eq!(fallback(cache, "home").await, Some(1));
    }
    one.expire_all().await.unwrap();
    eventually("that, too", async || in_l1(&two, "news").await.is_none()).await;
    eventually("and the versions", async || three.get::<u32>("news").await.unwrap().is_none()).await;
    for cache in [&one, &two, &three] {
        assert_eq!((cache.get::<u32>("news").await.unwrap(), fallback(cache, "news").await), (None, Some(1)));
    }
    one.clear().await.unwrap();
    assert_eq!(one.l1_bytes(), 0);
    eventually("nothing is left", async || fallback(&two, "news").await.is_none()).await;
    eventually("nor in the backend", async || fallback(&three, "news").await.is_none()).await;
    assert_eq!((fallback(&one, "home").await, fallback(&one, "news").await), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computation_in_another_process_does_not_outlive_an_expire() {
    let server = Server::start();
    let heard = Arc::<Heard>::default();
    let (one, two) = (pages(&server, true), pages_told_to(&heard, &server, true));
    one.set("home", 1u32).await.unwrap();
    let slow = Slow::new();
    let call = tokio::spawn({
        let (two, slow) = (two.clone(), slow.clone());
        async move {
            let entry = two.entry("home").skip_l2_read();
            entry.get_or_compute(move || slow.run(Ok(2u32))).await.unwrap()
        }
    });
    slow.wait_for_start().await;
    one.expire("home").await.unwrap();
    // What the computation leaves in L1 before the message arrives is a fallback, as any value of before is.
    eventually("it arrives", async || heard.take().iter().any(|told| told.1 == Effect::Expired)).await;
    slow.finish(1);
    assert_eq!(call.await.unwrap(), 2, "who asked before gets it");
    eventually("it is nowhere", async || two.pending() == 0 && in_l1(&two, "home").await.is_none()).await;
    for (cache, left) in [(&one, Some(1)), (&two, None)] {
        assert_eq!((cache.get::<u32>("home").await.unwrap(), fallback(cache, "home").await), (None, left));
    }
    let new = pages(&server, false);
    assert_eq!(new.get_or_compute("home", || async { Ok::<_, Broken>(3u32) }).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_overlap_in_opposite_orders_all_end() {
    let server = Server::start();
    let (one, two) = (pages(&server, true), pages(&server, true));
    let work: Vec<_> = (0..4)
        .map(|n| {
            let cache = if n < 2 { one.clone() } else { two.clone() };
            tokio::spawn(async move {
                for round in 0..20 {
                    let mut keys = names(300);
                    keys.rotate_left(round * 13);
                    if n % 2 == 0 {
                        keys.reverse();
                    }
                    cache.set(&keys[n], 1u32).await.unwrap();
                    cache.invalidate_many(keys).await.unwrap();
                }
            })
        })
        .collect();
    for task in work {
        tokio::time::timeout(std::time::Duration::from_secs(120), task).await.expect("no deadlock").unwrap();
    }
    for name in names(300) {
        assert_eq!(one.get::<u32>(&name).await.unwrap(), None);
    }
}

/// Two caches that see only what their backend has: what expires is a fallback for both, unless it is computed
/// meanwhile.
async fn expires_over<B: Backend>(backend: impl Fn() -> B + Send + Sync) {
    let build = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").backend(backend());
        let builder =
            builder.stale_if_error(GRACE).l1_enabled(false).swr_enabled(false).adaptive_timeout_enabled(false);
        builder.build().unwrap()
    };
    let (one, two) = (build(), build());
    for key in ["home", "busy", "news", "gone"] {
        one.set(key, 1u32).await.unwrap();
        assert_eq!(two.get(key).await.unwrap(), Some(1u32));
    }
    let slow = Slow::new();
    let call = tokio::spawn({
        let (two, slow) = (two.clone(), slow.clone());
        async move {
            let entry = two.entry("busy").skip_l2_read();
            entry.get_or_compute(move || slow.run(Ok(2u32))).await.unwrap()
        }
    });
    slow.wait_for_start().await;
    for key in ["home", "busy"] {
        one.expire(key).await.unwrap();
    }
    slow.finish(1);
    assert_eq!(call.await.unwrap(), 2);
    eventually("its write has ended", async || two.pending() == 0).await;
    one.invalidate_many(["gone", "absent"]).await.unwrap();
    for cache in [&one, &two] {
        for (key, left) in [("home", Some(1)), ("busy", None), ("gone", None)] {
            assert_eq!((cache.get::<u32>(key).await.unwrap(), fallback(cache, key).await), (None, left), "{key}");
        }
        assert_eq!(cache.get("news").await.unwrap(), Some(1u32));
    }
    one.expire_all().await.unwrap();
    eventually("it is known", async || two.get::<u32>("news").await.unwrap().is_none()).await;
    for cache in [&one, &two] {
        assert_eq!(fallback(cache, "news").await, Some(1));
    }
    one.clear().await.unwrap();
    eventually("that, too", async || fallback(&two, "news").await.is_none()).await;
    for cache in [&one, &two] {
        assert_eq!((fallback(cache, "home").await, fallback(cache, "news").await), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_expire() {
    let dir = tempfile::tempdir().unwrap();
    expires_over(|| File::open(dir.path().join("cache"), FileLimits::default()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_redis_expire() {
    let server = Server::start();
    expires_over(|| redis(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_memcached_expire() {
    let server = crate::servers::Memcached::start();
    let mut settings = cachekit::MemcachedSettings::new([server.address()]);
    (settings.timeout, settings.connect_timeout) = (GRACE / 2, GRACE / 2);
    expires_over(|| cachekit::backends::Memcached::new(settings.clone()).unwrap()).await;
}
