//! What a program can do that writes to the server, with each intent: what `docs/security.md` says of it.

use cachekit::backends::Redis;
use cachekit::codec::{Keyring, Postcard};
use cachekit::intent::Preset;
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent};

use super::support::patient;
use crate::servers::{Server, eventually};

fn builder(server: &Server) -> CacheBuilder<Redis, Postcard, cachekit::intent::Production> {
    CacheBuilder::new().namespace("users").backend(patient(&server.url())).l1_enabled(false)
}

fn keyring(digit: &str) -> Keyring {
    Keyring::from_hex(&digit.repeat(64)).unwrap()
}

async fn read<B: Backend, C: Codec>(cache: &Cache<B, C>, key: &str) -> Option<u64> {
    cache.get(key).await.unwrap()
}

/// Stores with one cache what another, of the same stack, reads. The keys of the writer are not those of the reader.
async fn believes_a_writer<P: Preset + Clone + Send + Sync>(server: &Server, intent: P) -> bool {
    let cache = |digit| builder(server).intent(intent.clone()).keyring(keyring(digit)).build().unwrap();
    let (own, writer) = (cache("a"), cache("b"));
    own.set("forged", 1u64).await.unwrap();
    writer.set("forged", 2u64).await.unwrap();
    read(&own, "forged").await == Some(2)
}

/// Flips each bit of an entry. Whether another value was ever read.
async fn believes_a_changed_bit<P: Preset + Clone>(server: &Server, intent: P) -> bool {
    let cache = builder(server).intent(intent).keyring(keyring("a")).build().unwrap();
    cache.set("flipped", 1u64).await.unwrap();
    let bits = 8 * server.cli(&["STRLEN", "users:flipped"]).parse::<usize>().unwrap();
    server.cli(&["COPY", "users:flipped", "whole"]);
    let mut believed = false;
    for bit in 0..bits {
        server.cli(&["COPY", "whole", "users:flipped", "REPLACE"]);
        let bit = bit.to_string();
        let set = server.cli(&["GETBIT", "users:flipped", &bit]);
        server.cli(&["SETBIT", "users:flipped", &bit, if set == "0" { "1" } else { "0" }]);
        believed |= cache.get::<u64>("flipped").await.is_ok_and(|read| read.is_some_and(|read| read != 1));
    }
    server.cli(&["DEL", "whole"]);
    believed
}

/// Puts an entry under another key, and an older one back in its own place.
async fn believes_a_copy<P: Preset + Clone>(server: &Server, intent: P) -> [bool; 2] {
    let cache = builder(server).intent(intent).keyring(keyring("a")).build().unwrap();
    cache.set("one", 1u64).await.unwrap();
    server.cli(&["COPY", "users:one", "users:two", "REPLACE"]);
    server.cli(&["COPY", "users:one", "older", "REPLACE"]);
    let elsewhere = read(&cache, "two").await.is_some();
    cache.set("one", 3u64).await.unwrap();
    server.cli(&["COPY", "older", "users:one", "REPLACE"]);
    [elsewhere, read(&cache, "one").await == Some(1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intent_stops_a_hostile_writer_as_the_security_page_says() {
    let server = Server::start();
    assert!(believes_a_writer(&server, Intent::Minimal).await);
    assert!(believes_a_writer(&server, Intent::Production).await, "a checksum is no signature");
    assert!(!believes_a_writer(&server, Intent::Secure).await);
    assert!(believes_a_changed_bit(&server, Intent::Minimal).await);
    assert!(!believes_a_changed_bit(&server, Intent::Production).await);
    assert!(!believes_a_changed_bit(&server, Intent::Secure).await);
    assert_eq!(believes_a_copy(&server, Intent::Minimal).await, [false, true]);
    assert_eq!(believes_a_copy(&server, Intent::Production).await, [false, true]);
    assert_eq!(believes_a_copy(&server, Intent::Secure).await, [false, true]);
}

/// A writer who puts the ledger back, too, revives what was invalidated, encrypted or not, until a process looks that
/// knows of the invalidation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_can_put_back_what_was_invalidated_with_its_ledger() {
    let server = Server::start();
    let cache = || builder(&server).intent(Intent::Secure).keyring(keyring("a")).build().unwrap();
    let own = cache();
    own.set("home", 1u64).await.unwrap();
    let head = server.cli(&["KEYS", "users::{ledger-*"]);
    let head = head.trim();
    server.cli(&["COPY", head, "saved"]);
    own.invalidate_namespace().await.unwrap();
    assert_eq!(read(&own, "home").await, None);
    server.cli(&["COPY", "saved", head, "REPLACE"]);
    let other = cache();
    assert_eq!(read(&other, "home").await, Some(1), "nothing there tells of the invalidation");
    server.cli(&["DEL", "users::bus"]);
    eventually("this process has found it out", async || own.stats().gaps > 0).await;
    assert_eq!(read(&own, "home").await, None);
    eventually("and the other, too", async || read(&other, "home").await.is_none()).await;
}
