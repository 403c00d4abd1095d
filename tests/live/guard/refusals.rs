//! A backend that answers reads and refuses writes: what it has is read as ever.
#![cfg(unix)]

use std::sync::Arc;

use cachekit::backends::{AnyBackend, Redis};

use super::*;
use crate::servers::{Server, eventually, wait_until};
use harness::support::{Journal, Note};

type Shop = Cache<AnyBackend, Checked<Postcard>>;

const ENTRIES: u32 = 50;

/// A cache without L1 whose backend has the first entries.
async fn shop(backend: AnyBackend) -> (Shop, Arc<Journal>) {
    let journal = Arc::<Journal>::default();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").codec(Postcard).l1_enabled(false);
    let shop = builder.backend(backend).observer(Arc::<Journal>::clone(&journal) as _).build().unwrap();
    for key in 0..ENTRIES {
        ask(&shop, key).await;
    }
    let found = async || {
        for key in 0..ENTRIES {
            if !shop.exists(key).await.unwrap() {
                return false;
            }
        }
        true
    };
    eventually("the entries are stored", found).await;
    (shop, journal)
}

async fn ask(shop: &Shop, key: u32) {
    let value = shop.get_or_compute(key, move || async move { Ok::<_, Broken>(format!("value {key}")) }).await.unwrap();
    assert_eq!(value, format!("value {key}"));
}

/// Reads what is there and computes what is not, while the backend refuses writes; then `mend`s it.
async fn reads_go_on(shop: &Shop, journal: &Journal, kind: ErrorKind, mend: impl FnOnce()) {
    let (before, set_before) = (shop.stats(), journal.notes().len());
    for turn in 0..200 {
        ask(shop, turn % ENTRIES).await;
        ask(shop, 1_000 + turn).await;
    }
    let (stats, notes) = (shop.stats(), journal.notes().split_off(set_before));
    assert_eq!(stats.l2_hits - before.l2_hits, 200, "every entry was read");
    assert_eq!(stats.computations - before.computations, 200, "every other was computed once");
    assert_eq!((stats.breaker_opened, stats.refused, stats.failed), (0, 0, 0));
    let warned = notes.iter().filter(|note| matches!(note, Note::Warning(text) if text.contains("takes writes")));
    assert_eq!(warned.count(), 1);
    let tried = notes.iter().filter(|note| matches!(note, Note::BackendFailed(..))).count();
    assert!((1..100).contains(&tried), "{tried} writes were tried");
    assert_eq!(shop.set(1u32, "other".to_owned()).await.unwrap_err().kind(), kind, "a set says so");
    mend();
    let mut key = 2_000;
    eventually("new entries are stored", async || {
        key += 1;
        ask(shop, key).await;
        shop.exists(key).await.unwrap()
    })
    .await;
}

async fn redis(server: &Server) -> (Shop, Arc<Journal>) {
    shop(AnyBackend::new(Redis::from_url(&server.url()).unwrap())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_goes_on_being_read() {
    let server = Server::setup().args(["--maxmemory-policy", "noeviction"]).start();
    let (shop, journal) = redis(&server).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let mend = || drop(server.cli(&["CONFIG", "SET", "maxmemory", "0"]));
    reads_go_on(&shop, &journal, ErrorKind::ReadOnly, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_goes_on_being_read_over_few_connections() {
    let server = Server::start();
    let (shop, journal) = redis(&server).await;
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let mend = || drop(server.cli(&["REPLICAOF", "NO", "ONE"]));
    reads_go_on(&shop, &journal, ErrorKind::ReadOnly, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_cannot_save_goes_on_being_read() {
    let server = Server::setup().args(["--save", "3600 1"]).start();
    let (shop, journal) = redis(&server).await;
    // The file that it would replace is a directory.
    std::fs::create_dir(server.socket().with_file_name("dump.rdb")).unwrap();
    server.cli(&["BGSAVE"]);
    wait_until("it cannot save", || server.says(&["SET", "any", "x"], "MISCONF"));
    let mend = || drop(server.cli(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]));
    reads_go_on(&shop, &journal, ErrorKind::ReadOnly, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_enough_replicas_goes_on_being_read() {
    let server = Server::start();
    let (shop, journal) = redis(&server).await;
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let mend = || drop(server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]));
    reads_go_on(&shop, &journal, ErrorKind::ReadOnly, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_store_goes_on_reading() {
    // Without the right to ask for a lease, and with that right alone.
    for denied in ["-set", "-evalsha"] {
        let server = Server::start();
        let (shop, journal) = redis(&server).await;
        server.cli(&["ACL", "SETUSER", "default", denied]);
        let mend = || drop(server.cli(&["ACL", "SETUSER", "default", "+@all"]));
        if denied == "-set" {
            reads_go_on(&shop, &journal, ErrorKind::Denied, mend).await;
            continue;
        }
        let before = shop.stats();
        for turn in 0..200 {
            ask(&shop, turn % ENTRIES).await;
            ask(&shop, 1_000 + turn).await;
        }
        assert_eq!(shop.stats().l2_hits - before.l2_hits, 200);
        assert_eq!(shop.stats().breaker_opened, 0);
        mend();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_goes_on_being_read() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let (shop, journal) = shop(AnyBackend::new(chaos)).await;
    for operation in [Operation::Set, Operation::Lease, Operation::Remove] {
        control.inject(operation, Fault::ReadOnly);
    }
    let mend = || control.heal();
    reads_go_on(&shop, &journal, ErrorKind::ReadOnly, mend).await;
}

#[tokio::test]
async fn stale_entry_is_not_renewed_while_writes_are_refused() {
    let Setup { clock, control, cache, .. } =
        setup(|builder| builder.swr_enabled(true).jitter(false).ttl(100 * SECOND).leases(true));
    cache.set(1u32, 0u32).await.unwrap();
    control.inject_all(Fault::ReadOnly);
    assert_eq!(compute(&cache, 2).await, 2, "this finds out that writes are refused");
    clock.advance(SECOND / 4 - SECOND / 100);
    let renewed = async || {
        let before = cache.stats().computations;
        compute(&cache, 1).await;
        settle().await;
        cache.stats().computations - before
    };
    assert_eq!(renewed().await, 0, "it is fresh");
    clock.advance(60 * SECOND);
    assert_eq!(renewed().await, 1, "it is stale, and one tries whether writes are taken");
    assert_eq!((renewed().await, renewed().await), (0, 0), "nothing could be kept");
    control.heal();
    clock.advance(SECOND);
    assert_eq!(renewed().await, 1);
    assert_eq!(compute(&cache, 1).await, 1);
}
