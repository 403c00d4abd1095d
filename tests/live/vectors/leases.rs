//! Leases, as each backend keeps them: written by one process, and honoured by others.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{File, Memcached, Redis};
use cachekit::testing::ManualClock;
use cachekit::{Backend, FileLimits, Key, Lease, LeaseToken, MemcachedSettings, RedisSettings};

use super::{Vector, vector};
use crate::servers::{self, Server};
use harness::support::leased;

const MINUTE: Duration = Duration::from_secs(60);

fn file(name: &str) -> Vector {
    vector(include_str!("leases.txt"), name)
}

fn key() -> Key {
    Key::new("users", 42).unwrap()
}

/// A lease that was planted is its token's, and no other's.
async fn is_honoured(backend: &impl Backend, token: LeaseToken) {
    let other = backend.lease(&key(), MINUTE, LeaseToken::random(), None).await.unwrap();
    assert_eq!(other, Lease::Held, "it is another's");
    assert!(!backend.fill(&key(), "late".into(), MINUTE, LeaseToken::random()).await.unwrap());
    assert!(backend.fill(&key(), "ada".into(), MINUTE, token).await.unwrap(), "it is this one's");
}

#[tokio::test]
async fn redis_keeps_a_token_beside_the_key() {
    let (server, vector) = (Server::start(), file("redis"));
    let redis = Redis::new(RedisSettings::new(&server.url()).unwrap()).unwrap();
    let token = leased(&redis, &key(), MINUTE).await.unwrap().unwrap();
    let text = |token: LeaseToken| format!("{:032x}", token.as_u128());
    assert_eq!(vector.check(server.cli(&["GET", "users:42:lock"]).as_bytes()), text(token).as_bytes());
    let planted = LeaseToken::random();
    let bytes = vector.with(text(planted).as_bytes());
    server.cli(&["SET", "users:42:lock", std::str::from_utf8(&bytes).unwrap(), "PX", "60000"]);
    is_honoured(&redis, planted).await;
}

#[tokio::test]
async fn files_keep_a_token_in_a_file_beside_the_entry() {
    let (parent, vector) = (tempfile::tempdir().unwrap(), file("file"));
    let dir = parent.path().join("cache");
    let files = File::open_with_clock(&dir, FileLimits::default(), Arc::new(ManualClock::new())).unwrap();
    let token = leased(&files, &key(), MINUTE).await.unwrap().unwrap();
    let path = dir.join("582992d52d563cfc1eec671a3b89bd6e.lease");
    assert_eq!(vector.check(&std::fs::read(&path).unwrap()), token.as_u128().to_be_bytes());
    let planted = LeaseToken::random();
    std::fs::write(&path, vector.with(&planted.as_u128().to_be_bytes())).unwrap();
    is_honoured(&files, planted).await;
}

/// Client flags and bytes of what is under a name.
fn stored(server: &servers::Memcached, name: &str) -> Vec<u8> {
    let flags = server.ask(&format!("mg {name} f"));
    assert_eq!(flags.trim_end(), "HD f1818583411", "the flags of leases: `leas`");
    server.bytes(name).unwrap()
}

#[tokio::test]
async fn memcached_keeps_a_placeholder_or_a_lock() {
    let (server, placeholder, lock) =
        (servers::Memcached::start(), file("memcached placeholder"), file("memcached lock"));
    let mut settings = MemcachedSettings::new([server.address()]);
    (settings.timeout, settings.connect_timeout) = (servers::PATIENCE, servers::PATIENCE);
    let memcached = Memcached::new(settings).unwrap();
    let token = leased(&memcached, &key(), MINUTE).await.unwrap().unwrap();
    assert_eq!(placeholder.check(&stored(&server, "users:42")), token.as_u128().to_be_bytes());
    let planted = LeaseToken::random();
    server.plant("users:42", 0x6c65_6173, &placeholder.with(&planted.as_u128().to_be_bytes()));
    is_honoured(&memcached, planted).await;

    let token = leased(&memcached, &key(), MINUTE).await.unwrap().unwrap();
    let chosen = lock.check(&stored(&server, "users:42:lock"));
    let (held, id) = chosen.split_at(16);
    assert_eq!(held, token.as_u128().to_be_bytes());
    let planted = LeaseToken::random();
    let bytes = lock.with(&[&planted.as_u128().to_be_bytes(), id].concat());
    server.plant("users:42:lock", 0x6c65_6173, &bytes);
    assert!(memcached.fill(&key(), "grace".into(), MINUTE, planted).await.unwrap());
}
