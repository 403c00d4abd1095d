//! Large values are walked, sealed and opened on other threads than those that serve requests.

use std::cell::Cell;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Compressed, Keyring, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use harness::support::{Broken, poll_once};

thread_local! {
    /// Rows that were written or read on this thread.
    static WALKED: Cell<usize> = const { Cell::new(0) };
}

/// A row that tells on which thread serde walks it.
#[derive(Debug, Clone, PartialEq)]
struct Row(String);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WALKED.set(WALKED.get() + 1);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WALKED.set(WALKED.get() + 1);
        String::deserialize(deserializer).map(Self)
    }
}

/// Two megabytes of rows.
const ROWS: usize = 20_000;

fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|row| Row(format!("{row:>0100}"))).collect()
}

/// The rows that this thread walked since the last call.
fn walked() -> usize {
    WALKED.take()
}

/// On a runtime of this thread.
async fn stays_off<B: Backend, C: Codec>(cache: Cache<B, C>) {
    let large = || cache.entry("large").wait_for_write(true);
    let compute = || async { Ok::<_, Broken>(rows(ROWS)) };
    cache.set("warm", rows(1)).await.unwrap();
    walked();
    assert_eq!(large().get_or_compute_arc(compute).await.unwrap().len(), ROWS);
    let first = walked();
    assert!(
        first < ROWS / 5,
        "{first} rows were walked here while they were stored: no more than tells that they are many"
    );
    assert_eq!(*large().skip_l1_read().get_arc::<Vec<Row>>().await.unwrap().unwrap(), rows(ROWS));
    let second = walked();
    assert!(second < ROWS / 5, "{second} rows were walked here while they were read");
    assert_eq!(*large().get_or_compute_arc(compute).await.unwrap(), rows(ROWS));
    assert_eq!(walked(), 0, "a hit in L1");
    let counted = cache.stats();
    assert_eq!((counted.l1_hits, counted.l2_hits), (1, 1));
    cache.set("large", rows(ROWS + 1)).await.unwrap();
    let set = walked();
    assert!(set < ROWS / 5, "{set} rows were walked here while they were set");
    assert_eq!(large().get_arc::<Vec<Row>>().await.unwrap().unwrap().len(), ROWS + 1);
    cache.close(Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn a_large_value_is_not_walked_where_requests_are_served() {
    let memory = || Memory::new(64 << 20);
    stays_off(CacheBuilder::new().intent(Intent::Production).backend(memory()).stats(true).build().unwrap()).await;
    let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
    let secure = CacheBuilder::new().intent(Intent::Secure).keyring(keyring).backend(memory());
    stays_off(secure.stats(true).build().unwrap()).await;
}

#[tokio::test]
async fn a_small_value_stays_where_it_is() {
    let cache = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(64 << 20)).build().unwrap();
    walked();
    cache.set("small", rows(100)).await.unwrap();
    assert!(walked() >= 200, "weighed and sealed");
    assert_eq!(cache.entry("small").skip_l1_read().get::<Vec<Row>>().await.unwrap().unwrap().len(), 100);
    assert!(walked() >= 200, "opened and weighed");
}

#[tokio::test]
async fn a_value_of_a_hundred_kilobytes_stays_unless_it_is_compressed() {
    // 120 KB of text, and twice that in memory.
    let count = 1_200;
    let builder = || CacheBuilder::new().intent(Intent::Minimal).backend(Memory::new(64 << 20)).l1_enabled(false);
    let set = async |cache: Cache<Memory, _>| {
        cache.set("warm", rows(1)).await.unwrap();
        walked();
        cache.set("rows", rows(count)).await.unwrap();
        walked()
    };
    assert!(set(builder().codec(Compressed::new(Postcard)).compression_enabled(false).build().unwrap()).await >= count);
    let here = set(builder().codec(Compressed::new(Postcard)).build().unwrap()).await;
    assert!(here <= count, "{here} rows were walked here: measured once, and compressed on another thread");
}

fn secure() -> Cache<Memory, cachekit::codec::Encrypted<cachekit::codec::Postcard>> {
    let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
    CacheBuilder::new().intent(Intent::Secure).keyring(keyring).backend(Memory::new(64 << 20)).build().unwrap()
}

#[test]
fn without_a_runtime_a_large_sealed_hit_is_opened_in_place() {
    let cache = secure();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(cache.set("large", rows(ROWS))).unwrap();
    let mut hit = Box::pin(cache.get_arc::<Vec<Row>>("large"));
    let std::task::Poll::Ready(Ok(Some(value))) = poll_once(&mut hit) else { panic!("a hit answers at once") };
    assert_eq!(*value, rows(ROWS));
}

#[tokio::test]
async fn a_large_value_is_set_even_if_its_caller_leaves() {
    let cache = secure();
    let mut left = Box::pin(cache.set("large", rows(ROWS)));
    assert!(poll_once(&mut left).is_pending());
    drop(left);
    while cache.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let found = cache.entry("large").skip_l1_read().get_arc::<Vec<Row>>().await.unwrap();
    assert_eq!(found.unwrap().len(), ROWS);
}
