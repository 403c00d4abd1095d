//! What was forgotten in a backend: the head and the records of a ledger.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{Backend, Cache, CacheBuilder, Intent, RedisSettings};

use super::shelf::Shelf;
use super::{Vector, vector};
use crate::servers::{PATIENCE, Reply, Server};

const HEAD: &str = "users::{ledger-be72b73078f5374f-2b}:0";
const RECORD: &str = "users::{ledger-be72b73078f5374f-2b}:0:d7b";

fn file(name: &str) -> Vector {
    vector(include_str!("ledger.txt"), name)
}

fn cache<B: Backend>(backend: B, clock: &ManualClock) -> Cache<B, Postcard> {
    let builder = CacheBuilder::new().intent(Intent::Test).namespace("users").backend(backend);
    let builder = builder.l1_enabled(false).namespace_index(true).clock(Arc::new(clock.clone()));
    builder.ttl(Duration::from_secs(60)).build().unwrap()
}

/// Whether an entry is valid whose computation began at this time of the ledger, and that has this tag.
async fn is_valid(time: u8, tag: Option<&str>) -> bool {
    let (clock, mut head) = (ManualClock::new(), file("head").bytes);
    head[18] = time;
    let shelf = Shelf::with([(HEAD, head)]);
    cache(shelf.clone(), &clock).entry(42).tags(tag).set(1u32).await.unwrap();
    shelf.put(HEAD, file("head").bytes);
    shelf.put(RECORD, file("record").bytes);
    cache(shelf, &clock).get::<u32>(42).await.unwrap().is_some()
}

#[tokio::test]
async fn a_head_and_a_record_say_what_was_forgotten() {
    assert!(!is_valid(2, None).await, "everything was forgotten at 3");
    assert!(!is_valid(4, None).await, "everything expired at 5");
    assert!(is_valid(5, None).await);
    assert!(!is_valid(9, Some("eu")).await, "it was forgotten at 10");
    assert!(is_valid(10, Some("eu")).await);
    assert!(!is_valid(6, Some("eu-1890")).await, "the floor of its record is 7");
    assert!(is_valid(7, Some("eu-1890")).await);
    assert!(is_valid(5, Some("uk")).await, "its record was never made");
}

/// Where a test plants items, and looks what became of them.
trait Store: Sync {
    fn plant(&self, key: &str, bytes: &[u8]);
    fn stored(&self, key: &str) -> Vec<u8>;
}

impl Store for Shelf {
    fn plant(&self, key: &str, bytes: &[u8]) {
        self.put(key, bytes.to_vec());
    }
    fn stored(&self, key: &str) -> Vec<u8> {
        self.bytes(key).to_vec()
    }
}

impl Store for Server {
    fn plant(&self, key: &str, bytes: &[u8]) {
        self.call(&[b"SET", key.as_bytes(), bytes]);
    }
    fn stored(&self, key: &str) -> Vec<u8> {
        let Reply::Text(bytes) = self.call(&["GET", key]) else { panic!("there is no `{key}`") };
        bytes
    }
}

async fn orders_write_these_bytes<B: Backend>(store: &impl Store, backend: B) {
    let clock = ManualClock::new();
    let cache = cache(backend, &clock);
    let plant = |record| {
        store.plant(HEAD, &file("head").bytes);
        store.plant(RECORD, record);
    };
    plant(b"no record");
    cache.invalidate_tag("eu-1890").await.unwrap();
    file("record that was lost").check(&store.stored(RECORD));

    plant(&file("record").bytes);
    cache.invalidate_tag("eu-1890").await.unwrap();
    file("head after a tag").check(&store.stored(HEAD));
    file("record after a tag").check(&store.stored(RECORD));

    cache.invalidate_namespace().await.unwrap();
    clock.advance(Duration::from_secs(1));
    cache.expire_all().await.unwrap();
    file("head after all").check(&store.stored(HEAD));
    file("record after a tag").check(&store.stored(RECORD));
}

#[tokio::test]
async fn an_order_is_carried_out_by_these_bytes() {
    let shelf = Shelf::with([]);
    orders_write_these_bytes(&shelf, shelf.clone()).await;
}

/// Its script reads and writes the same bytes by itself.
#[tokio::test]
async fn redis_carries_an_order_out_by_the_same_bytes() {
    let server = Server::start();
    let mut settings = RedisSettings::new(&server.url()).unwrap();
    (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
    orders_write_these_bytes(&server, Redis::new(settings).unwrap()).await;
}
