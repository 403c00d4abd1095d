//! A value that the server finds too long: not stored, and nothing else suffers.
#![cfg(unix)]

use cachekit::RedisSettings;
use cachekit::backends::{AnyBackend, Redis};
use tokio::task::JoinSet;

use super::*;
use crate::servers::{Proxy, Server, eventually};
use harness::support::{Journal, Note};

type Shop = Cache<AnyBackend, Checked<Postcard>>;

const LONG: usize = 3 << 20;
const SMALL: u32 = 50;

fn shop(backend: impl Backend) -> (Shop, Arc<Journal>) {
    let journal = Arc::<Journal>::default();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").codec(Postcard).l1_enabled(false);
    // A busy machine may be slow; what it is too slow for would be computed.
    let builder = builder.adaptive_min(2 * SECOND).operation_timeout(20 * SECOND);
    let builder = builder.backend(AnyBackend::new(backend)).observer(Arc::<Journal>::clone(&journal) as _);
    (builder.build().unwrap(), journal)
}

fn patient(url: &str) -> Redis {
    let mut settings = RedisSettings::new(url).unwrap();
    (settings.timeout, settings.connect_timeout) = (10 * SECOND, 10 * SECOND);
    Redis::new(settings).unwrap()
}

/// Asks for short values all the time, while long ones are computed; returns how often short ones were computed.
async fn beside(shop: &Shop, long: u32) -> u64 {
    for key in 0..SMALL {
        eventually("it is stored", async || {
            shop.set(key, key).await.unwrap();
            shop.get(key).await.unwrap() == Some(key)
        })
        .await;
    }
    let (asked, before) = (Arc::new(tokio::sync::Notify::new()), shop.stats());
    let mut readers = JoinSet::new();
    for reader in 0..4 {
        let (shop, asked) = (shop.clone(), Arc::clone(&asked));
        readers.spawn(async move {
            for turn in 0u32.. {
                let key = (reader + turn) % SMALL;
                let value = shop.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap();
                assert_eq!(value, key);
                asked.notify_one();
                tokio::task::yield_now().await;
            }
        });
    }
    for key in 0..long {
        asked.notified().await;
        let compute = move || async move { Ok::<_, Broken>(vec![7u8; LONG]) };
        let value: Vec<u8> = shop.entry(("long", key)).wait_for_write(true).get_or_compute(compute).await.unwrap();
        assert_eq!(value.len(), LONG);
    }
    asked.notified().await;
    readers.shutdown().await;
    shop.stats().computations - before.computations - u64::from(long)
}

fn failures(journal: &Journal) -> Vec<Note> {
    let told = |note: &Note| matches!(note, Note::BackendFailed(..) | Note::NotStored(..) | Note::Warning(_));
    journal.notes().into_iter().filter(told).collect()
}

fn too_large(journal: &Journal) -> usize {
    journal.count(|note| matches!(note, Note::NotStored(ErrorKind::TooLarge, _)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_too_long_for_redis_is_not_stored_and_harms_no_other() {
    let server = Server::setup().args(["--proto-max-bulk-len", "1mb"]).start();
    let proxy = Proxy::of(server.port());
    let (shop, journal) = shop(patient(&proxy.url()));
    assert_eq!(beside(&shop, 10).await, 0, "{:?}", failures(&journal));
    assert_eq!(too_large(&journal), 10);
    assert_eq!((shop.stats().breaker_opened, shop.stats().failed), (0, 0));
    // One for commands, one for the bus, and two that the first long value cost; none of the others was sent.
    assert!(proxy.accepted() <= 4, "{} connections", proxy.accepted());
    let error = shop.set("long", vec![7u8; LONG]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("proto-max-bulk-len"), "{error}");
    shop.set("shorter", vec![7u8; 900_000]).await.unwrap();
    assert_eq!(shop.get("shorter").await.unwrap(), Some(vec![7u8; 900_000]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_server_is_not_taken_for_one_that_refuses_long_values() {
    let server = Server::start();
    let (shop, _) = shop(Redis::from_url(&server.url()).unwrap());
    shop.set("long", vec![7u8; LONG]).await.unwrap();
    server.kill();
    assert_eq!(shop.set("long", vec![7u8; LONG]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.restart();
    eventually("long values are stored again", async || shop.set("long", vec![7u8; LONG]).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_too_long_for_memcached_is_not_stored_nor_harms_others() {
    use cachekit::{MemcachedSettings, backends::Memcached};

    let server = crate::servers::Memcached::start_with(&["-m", "64", "-I", "1m"]);
    let mut settings = MemcachedSettings::new([server.address()]);
    settings.max_item_size = 2 * LONG;
    (settings.timeout, settings.connect_timeout) = (10 * SECOND, 10 * SECOND);
    let (shop, journal) = shop(Memcached::new(settings).unwrap());
    assert_eq!(beside(&shop, 10).await, 0, "{:?}", failures(&journal));
    assert_eq!((too_large(&journal), shop.stats().failed), (10, 0));
    assert_eq!(shop.set("long", vec![7u8; LONG]).await.unwrap_err().kind(), ErrorKind::TooLarge);
}
