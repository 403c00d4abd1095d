//! What keys become on the wire.

use cachekit::{Backend, Key};

use super::support::{MINUTE, at_once, key, patient, value_of, with};
use crate::servers::Memcached;

#[tokio::test]
async fn a_key_is_stored_as_it_is_behind_the_prefix() {
    let server = Memcached::start();
    let memcached = with(&[&server], |settings| settings.key_prefix = "app:".into());
    memcached.set(&key(42), "ada".into(), MINUTE).await.unwrap();
    assert_eq!(server.text("app:users:42").as_deref(), Some("ada"));
}

#[tokio::test]
async fn no_key_is_taken_for_a_command() {
    let server = Memcached::start();
    let memcached = patient(&[&server]);
    memcached.set(&key("kept"), "ada".into(), MINUTE).await.unwrap();
    for hostile in ["zz\r\nflush_all", "a\r\nset pwn 0 60 3\r\nbad", "a b", "a\nmd users:kept", "a\0b", ""] {
        let Ok(hostile) = Key::new("users", hostile) else { continue };
        memcached.set(&hostile, "theirs".into(), MINUTE).await.unwrap();
        memcached.get(&hostile).await.unwrap();
        memcached.remove(&hostile).await.unwrap();
        assert_eq!(memcached.get(&hostile).await.unwrap(), None);
    }
    assert_eq!((server.text("pwn"), server.text("users:kept").as_deref()), (None, Some("ada")));
    assert_eq!(server.stat("cmd_flush"), 0);
}

#[tokio::test]
async fn keys_that_are_too_long_behind_the_prefix_are_told_apart() {
    let server = Memcached::start();
    let memcached = with(&[&server], |settings| settings.key_prefix = "p".repeat(60));
    let long = |last: char| key("k".repeat(1_000) + &String::from(last)).reserved("chunk:ffffffffffffffff:4294967295");
    memcached.set(&long('a'), value_of(1), MINUTE).await.unwrap();
    memcached.set(&long('b'), value_of(2), MINUTE).await.unwrap();
    assert_eq!(memcached.get(&long('a')).await.unwrap(), Some(value_of(1)));
    assert_eq!(memcached.get(&long('b')).await.unwrap(), Some(value_of(2)));
    assert_eq!(memcached.get(&long('c')).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_is_at_one_server_and_a_batch_asks_each_once() {
    let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let memcached = patient(&servers.each_ref());
    let items = (0..60).map(|id| (key(id), value_of(id))).collect();
    memcached.set_many(items, MINUTE).await.unwrap();
    for id in 0..60 {
        let name = format!("users:{id}");
        let holders = servers.iter().filter(|server| server.text(&name).is_some()).count();
        assert_eq!(holders, 1, "{name}");
    }
    let keys: Vec<Key> = (0..60).map(key).collect();
    let found = memcached.get_many(&keys).await.unwrap();
    assert_eq!(found, (0..60).map(|id| Some(value_of(id))).collect::<Vec<_>>());
    assert!(servers.iter().all(|server| server.stat("curr_items") > 5), "every server has its share");
    let connections: Vec<u64> = servers.iter().map(|server| server.stat("total_connections")).collect();
    at_once(3, |_| {
        let (memcached, keys) = (memcached.clone(), keys.clone());
        async move { memcached.get_many(&keys).await.unwrap() }
    })
    .await;
    for (server, before) in servers.iter().zip(connections) {
        assert!(server.stat("total_connections") <= before + 4, "three batches take at most three connections");
    }
}
