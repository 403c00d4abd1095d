//! Orders about tags that no entry has, at a rate, beside computations of entries with tags of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachekit::backends::{File, Memcached, Memory, Redis};
use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, FileLimits, Intent, MemcachedSettings, RedisSettings};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::servers::{self, Server, eventually};
use harness::support::Broken;

const PRODUCTS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);

type Shop<B> = Cache<B, Checked<Postcard>>;

/// A cache as in a process of its own.
fn process<B: Backend>(backend: B, namespace: &str) -> Shop<B> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace(namespace).backend(backend);
    let builder = builder.adaptive_timeout_enabled(false).backpressure_enabled(false).swr_enabled(false);
    let mut settings = cachekit::Settings::default();
    settings.operation_timeout = Some(PATIENCE);
    builder.settings(settings).build().unwrap()
}

/// Computes all products, and returns how many another process finds, and how many orders were given meanwhile.
async fn found_beside_orders<B: Backend>([here, elsewhere, reader]: [B; 3], rate: u64) -> (usize, usize) {
    let namespace = &format!("shop{rate}");
    let (here, elsewhere) = (process(here, namespace), process(elsewhere, namespace));
    let reader = process(reader, namespace);
    let (is_over, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let orders = tokio::spawn({
        let (is_over, given) = (Arc::clone(&is_over), Arc::clone(&given));
        async move {
            let mut pace = interval(Duration::from_micros(1_000_000 / rate));
            pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while !is_over.load(SeqCst) {
                pace.tick().await;
                elsewhere.invalidate_tag(&format!("order-{}", given.fetch_add(1, SeqCst))).await.unwrap();
            }
        }
    });
    eventually("orders are given", async || given.load(SeqCst) > 10).await;
    for some in 0..10 {
        let mut computations = JoinSet::new();
        for product in (0..PRODUCTS).filter(|product| product % 10 == some) {
            let cache = here.clone();
            computations.spawn(async move {
                let compute = move || async move {
                    sleep(Duration::from_millis(50)).await;
                    Ok::<_, Broken>(product)
                };
                let tags = [format!("product-{product}"), format!("kind-{}", product % 7)];
                cache.entry(product).tags(tags.iter().map(String::as_str)).get_or_compute(compute).await.unwrap()
            });
        }
        computations.join_all().await;
    }
    eventually("all is written", async || here.pending() == 0).await;
    let mut found = 0;
    for product in 0..PRODUCTS {
        found += usize::from(reader.get::<u32>(product).await.unwrap() == Some(product));
    }
    is_over.store(true, SeqCst);
    orders.await.unwrap();
    assert_eq!((here.stats().fenced, here.stats().gaps), (0, 0));
    (found, given.load(SeqCst))
}

async fn keeps_all<B: Backend>(name: &str, backend: impl Fn() -> B) {
    for rate in [100, 1_000] {
        let (found, orders) = found_beside_orders([backend(), backend(), backend()], rate).await;
        println!("{name}: {found} of {PRODUCTS} found, beside {orders} orders at up to {rate} a second");
        assert_eq!(found, PRODUCTS as usize, "{name}, beside {orders} orders");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stores_results_amid_unrelated_invalidations() {
    let server = Server::start();
    let redis = || {
        let mut settings = RedisSettings::new(&server.url()).unwrap();
        (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
        Redis::new(settings).unwrap()
    };
    keeps_all("redis", redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memcached_stores_results_amid_unrelated_invalidations() {
    let servers = [(); 2].map(|()| servers::Memcached::start());
    let memcached = || {
        let mut settings = MemcachedSettings::new(servers.each_ref().map(servers::Memcached::address));
        (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
        Memcached::new(settings).unwrap()
    };
    keeps_all("memcached", memcached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_files_store_results_amid_unrelated_invalidations() {
    let memory = Memory::new(64 << 20);
    keeps_all("memory", || memory.clone()).await;
    let dir = tempfile::tempdir().unwrap();
    keeps_all("files", || File::open(dir.path(), FileLimits::default()).unwrap()).await;
}
