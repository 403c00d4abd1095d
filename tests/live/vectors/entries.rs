//! Entries, whole and in chunks.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use cachekit::codec::{Checked, Codec, Compressed, Encrypted, Keyring, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{Cache, CacheBuilder, Intent, Value};
use serde::{Deserialize, Serialize};

use super::shelf::Shelf;
use super::{Vector, vector};
use harness::support::Broken;

pub(super) const HEAD: &str = "users::{ledger-be72b73078f5374f-2b}:0";

pub(super) fn file(name: &str) -> Vector {
    vector(include_str!("entries.txt"), name)
}

/// A shelf with a ledger alone.
pub(super) fn shelf() -> Shelf {
    Shelf::with([(HEAD, file("head").bytes)])
}

/// What dates entries 2025-01-01T00:00:00Z.
fn cache<C: Codec>(shelf: &Shelf, codec: C) -> Cache<Shelf, C> {
    let builder = CacheBuilder::new().intent(Intent::Test).namespace("users").codec(codec).backend(shelf.clone());
    let builder = builder.l1_enabled(false).namespace_index(true).swr_enabled(true).clock(Arc::new(ManualClock::new()));
    let builder = builder.ttl(Duration::from_secs(60)).stale_if_error(Duration::from_secs(600));
    builder.max_chunk_size_mb(527.0 / 1_048_576.0).build().unwrap()
}

fn encrypted() -> Encrypted<Postcard> {
    Encrypted::new(Postcard, Keyring::from_bytes(&[0xAA; 32]).unwrap())
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct User {
    id: u32,
    shape: Shape,
    tags: Vec<Option<u8>>,
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle { radius: u32 },
}

/// What is stored of `value` is the vector, and the vector is read as it.
async fn same<T: Value + Clone + PartialEq + Debug, C: Codec>(name: &str, codec: C, value: T, tags: &[&str]) {
    let (shelf, vector) = (shelf(), file(name));
    let cache = cache(&shelf, codec);
    cache.entry(42).tags(tags.iter().copied()).set(value.clone()).await.unwrap();
    vector.check(&shelf.bytes("users:42"));
    shelf.put("users:42", vector.bytes);
    assert_eq!(cache.get::<T>(42).await.unwrap(), Some(value), "{name}");
}

#[tokio::test]
async fn entries_are_written_and_read_as_these_bytes() {
    let (ada, shape) = ("ada".to_owned(), Shape::Circle { radius: 2 });
    same("plain", Postcard, ada.clone(), &[]).await;
    same("tags", Postcard, ada.clone(), &["eu", "uk"]).await;
    same("checked", Checked::new(Postcard), ada.clone(), &[]).await;
    same("encrypted", encrypted(), ada, &[]).await;
    same("struct", Postcard, User { id: 7, shape, tags: vec![Some(5), None] }, &[]).await;
}

/// Other versions of the library that compresses find other bytes for the same text.
#[tokio::test]
async fn a_compressed_entry_is_read() {
    let shelf = shelf();
    shelf.put("users:42", file("compressed").bytes);
    let found = cache(&shelf, Compressed::new(Postcard)).get::<String>(42).await.unwrap();
    assert_eq!(found, Some("ab".repeat(600)));
}

/// No build writes one yet.
#[tokio::test]
async fn an_entry_with_a_validator_is_read() {
    let shelf = shelf();
    shelf.put("users:42", file("validator").bytes);
    let cache = cache(&shelf, Postcard);
    assert_eq!(cache.get::<String>(42).await.unwrap().as_deref(), Some("ada"));
}

#[tokio::test]
async fn an_entry_that_was_expired_is_kept_as_a_fallback() {
    let (shelf, vector) = (shelf(), file("expired"));
    let cache = cache(&shelf, Postcard);
    shelf.put("users:42", file("plain").bytes);
    cache.expire(42).await.unwrap();
    vector.check(&shelf.bytes("users:42"));
    shelf.put("users:42", vector.bytes);
    assert_eq!(cache.get::<String>(42).await.unwrap(), None);
    let fails = || async { Err::<String, _>(Broken("down")) };
    assert_eq!(cache.get_or_compute(42, fails).await.unwrap(), "ada");
}

#[tokio::test]
async fn a_long_value_is_a_manifest_and_chunks() {
    let (shelf, value) = (shelf(), "a".repeat(600));
    let cache = cache(&shelf, Postcard);
    cache.set(42, value.clone()).await.unwrap();
    let write = file("manifest").check(&shelf.bytes("users:42"));
    let name =
        |write: &[u8], index| format!("users:42:chunk:{:016x}:{index}", u64::from_be_bytes(write.try_into().unwrap()));
    let chunk = |index: u32| file(&format!("chunk {index}"));
    for index in 0..2 {
        let chosen = chunk(index).check(&shelf.bytes(&name(&write, index)));
        assert!(chosen.starts_with(&write), "a chunk says of which write it is");
    }
    let planted = self::shelf();
    planted.put("users:42", file("manifest").bytes);
    (0..2).for_each(|index| planted.put(&name(&[0, 0, 0, 0, 0, 0, 0, 7], index), chunk(index).bytes));
    let found = self::cache(&planted, Postcard).get::<String>(42).await.unwrap();
    assert_eq!(found, Some(value));
}
