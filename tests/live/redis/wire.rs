//! What travels, and what is kept on the server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cachekit::Backend;

use super::support::{MINUTE, fill_in, key, patient, value_of};
use crate::servers::{Cluster, Mood, Proxy, Reply, Server};
use harness::support::leased;

#[tokio::test]
async fn values_are_stored_as_they_are_under_their_keys() {
    let server = Server::start();
    let redis = patient(&server.url());
    let value = Bytes::from_static(b"\0\r\n\xFF$-1");
    redis.set(&key(("eu west", 42)), value.clone(), MINUTE).await.unwrap();
    assert_eq!(server.call(&["KEYS", "*"]), Reply::List(vec![Reply::Text(b"users:eu%20west/42".to_vec())]));
    assert_eq!(server.call(&["GET", "users:eu%20west/42"]), Reply::Text(value.to_vec()));
    assert_eq!(server.cli(&["SET", "users:7", "by hand"]), "OK");
    assert_eq!(redis.get(&key(7)).await.unwrap().as_deref(), Some(&b"by hand"[..]));
}

#[tokio::test]
async fn the_database_of_the_url_is_used() {
    let server = Server::start();
    let redis = patient(&format!("redis://{}/5", server.address()));
    redis.set(&key(1), "v".into(), MINUTE).await.unwrap();
    let keyspace = server.cli(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db5:keys=1") && !keyspace.contains("db0"), "{keyspace}");
}

/// A fraction of a millisecond is rounded up, and no more than that.
#[tokio::test]
async fn times_travel_in_milliseconds() {
    let server = Server::start();
    let redis = patient(&server.url());
    let mut monitor = server.monitor();
    let time = |millis| Duration::from_millis(millis) - Duration::from_micros(700);
    redis.set(&key(1), "v".into(), time(60_001)).await.unwrap();
    let Some(token) = leased(&redis, &key(2), time(60_002)).await.unwrap() else { panic!("held") };
    assert!(redis.fill(&key(2), "w".into(), time(60_003), token).await.unwrap());
    redis.set_many(vec![(key(3), "x".into())], time(60_004)).await.unwrap();
    let heard = monitor.heard(&server).join("\n");
    for millis in 60_001..=60_004 {
        assert!(heard.contains(&format!("\"{millis}\"")), "{millis} is not in\n{heard}");
    }
    assert!(!heard.contains("\"60000\"") && !heard.contains("\"60005\""), "{heard}");
    let left: u64 = server.cli(&["PTTL", "users:2"]).parse().unwrap();
    assert!((1..=60_003).contains(&left), "{left}");
    redis.set(&key(4), "y".into(), Duration::from_nanos(1)).await.unwrap();
    assert!(monitor.heard(&server).iter().any(|line| line.contains("\"PX\" \"1\"")), "one at least");
}

#[tokio::test]
async fn a_lease_is_a_lock_beside_the_entry() {
    let server = Server::start();
    let redis = patient(&server.url());
    let Some(token) = leased(&redis, &key(42), MINUTE).await.unwrap() else { panic!("held") };
    let written = format!("{:032x}", token.as_u128());
    assert_eq!(server.cli(&["GET", "users:42:lock"]), written);
    let left: u64 = server.cli(&["PTTL", "users:42:lock"]).parse().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
    assert!(redis.fill(&key(42), "v".into(), MINUTE, token).await.unwrap());
    assert_eq!(server.cli(&["EXISTS", "users:42:lock"]), "0");

    assert_eq!(server.cli(&["SET", "users:42:lock", "of another program", "PX", "60000"]), "OK");
    assert!(leased(&redis, &key(42), MINUTE).await.unwrap().is_none());
    redis.release(&key(42), token).await.unwrap();
    assert_eq!(server.cli(&["GET", "users:42:lock"]), "of another program");
    redis.remove(&key(42)).await.unwrap();
    assert_eq!(server.cli(&["KEYS", "*"]).trim(), "users:42:wait", "the mark of who was refused ends by its time");
}

/// Nobody may see the value go and the lock stay, or the value come and the lock stay.
#[tokio::test]
async fn entry_and_lock_change_in_one_step() {
    let server = Server::start();
    let redis = patient(&server.url());
    redis.set(&key(1), "v".into(), MINUTE).await.unwrap();
    let mut monitor = server.monitor();
    redis.remove(&key(1)).await.unwrap();
    let removal = monitor.heard(&server);
    assert_eq!(removal.len(), 1, "{removal:?}");
    assert!(removal[0].contains("\"users:1\" \"users:1:lock\""), "{removal:?}");

    redis.set(&key(1), "w".into(), MINUTE).await.unwrap();
    let change = monitor.heard(&server);
    let own: Vec<_> = change.iter().filter(|line| !line.contains(" lua]")).collect();
    let is_script = own.len() == 1 && own[0].contains("\"EVALSHA\"");
    let is_transaction = own.iter().any(|line| line.contains("\"MULTI\"")) && own.last().unwrap().contains("\"EXEC\"");
    assert!(is_script || is_transaction, "{change:?}");
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let server = Server::start();
    let redis = patient(&server.url());
    for round in ["first", "second"] {
        redis.set(&key(1), round.into(), MINUTE).await.unwrap();
        let Some(token) = leased(&redis, &key(2), MINUTE).await.unwrap() else { panic!("held") };
        assert!(redis.fill(&key(2), round.into(), MINUTE, token).await.unwrap());
        redis.set_many(vec![(key(3), round.into()), (key(4), round.into())], MINUTE).await.unwrap();
        for id in 1..=4 {
            assert_eq!(redis.get(&key(id)).await.unwrap().as_deref(), Some(round.as_bytes()), "{id}");
        }
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    }
}

#[tokio::test]
async fn traffic_is_what_was_asked_for_and_an_occasional_echo() {
    let server = Server::start();
    let redis = patient(&server.url());
    redis.set(&key(1), "v".into(), MINUTE).await.unwrap();
    let mut monitor = server.monitor();
    for _ in 0..100 {
        redis.get(&key(1)).await.unwrap();
    }
    let (reads, others): (Vec<_>, Vec<_>) =
        monitor.heard(&server).into_iter().partition(|line| line.ends_with("\"GET\" \"users:1\""));
    assert_eq!(reads.len(), 100, "{reads:?}");
    // A word tells whether the connection is in step.
    assert!(others.len() <= 100 / 16 + 1 && others.iter().all(|line| line.contains("\"ECHO\"")), "{others:?}");
}

/// Every call of a cache carries room for the operations it may do.
#[test]
fn an_operation_is_small_before_it_begins() {
    let redis = patient("redis://127.0.0.1:1");
    let (name, value) = (key(1), Bytes::from_static(b"v"));
    let sizes = [size_of_val(&redis.get(&name)), size_of_val(&redis.set(&name, value, MINUTE))];
    assert!(sizes.iter().all(|size| *size <= 1_536), "{sizes:?}");
}

#[tokio::test]
async fn a_batch_travels_once() {
    const DELAY: Duration = Duration::from_millis(40);
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = patient(&proxy.url());
    fill_in(&redis, 200).await;
    let keys: Vec<_> = (0..200).map(key).collect();
    proxy.set(Mood::Slow(DELAY));
    let start = Instant::now();
    fill_in(&redis, 200).await;
    let found = redis.get_many(&keys).await.unwrap();
    redis.remove_many(&keys).await.unwrap();
    assert!(start.elapsed() < DELAY * 100, "{:?} for three batches of 200", start.elapsed());
    assert!(found.into_iter().eq((0..200).map(|id| Some(value_of(id)))));
    assert_eq!((server.calls("get"), server.calls("mget")), (0, 1));
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_entry_and_lock_in_one_slot() {
    let cluster = Cluster::start();
    let redis = patient(&cluster.url());
    for id in 0..20 {
        let (name, lock) = (format!("users:{id}"), format!("{{users:{id}}}:lock"));
        let Some(token) = leased(&redis, &key(id), MINUTE).await.unwrap() else { panic!("held") };
        let owner = cluster.owner(&name);
        assert_eq!(owner.cli(&["GET", &lock]), format!("{:032x}", token.as_u128()));
        assert!(redis.fill(&key(id), value_of(id), MINUTE, token).await.unwrap());
        assert_eq!(owner.cli(&["EXISTS", &lock]), "0");
        assert_eq!(owner.cli(&["GET", &name]), format!("the value of {id}"));
    }
    let keys: Vec<_> = (0..20).rev().map(key).collect();
    let found = redis.get_many(&keys).await.unwrap();
    assert!(found.into_iter().eq((0..20).rev().map(|id| Some(value_of(id)))));
    redis.remove_many(&keys).await.unwrap();
    assert!(cluster.nodes.iter().all(|node| node.cli(&["DBSIZE"]) == "0"));
}
