//! Servers that stop, die and come back.

use std::time::Instant;

use cachekit::{Backend, ErrorKind};

use super::support::{HASTE, MINUTE, at_once, fill_in, hasty, key, patient, value_of};
use crate::servers::{Mood, Proxy, SOON, Server, eventually};
use harness::support::leased;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_to_a_stopped_server_ends_in_time() {
    let server = Server::start();
    let redis = hasty(&server.url());
    fill_in(&redis, 64).await;
    server.pause();
    let ask = |id| {
        let redis = redis.clone();
        async move {
            let start = Instant::now();
            let kind = match id % 4 {
                0 => redis.get(&key(id)).await.unwrap_err().kind(),
                1 => redis.set(&key(id), value_of(id), MINUTE).await.unwrap_err().kind(),
                2 => leased(&redis, &key(id), MINUTE).await.unwrap_err().kind(),
                _ => redis.get_many(&[key(id), key(0)]).await.unwrap_err().kind(),
            };
            (kind, start.elapsed())
        }
    };
    for (kind, elapsed) in at_once(64, ask).await {
        assert_eq!(kind, ErrorKind::Timeout);
        assert!((HASTE..SOON).contains(&elapsed), "{elapsed:?}");
    }
    server.resume();
    let ask = |id| {
        let redis = redis.clone();
        async move { (id, redis.get(&key(id)).await.unwrap()) }
    };
    for (id, found) in at_once(64, ask).await {
        assert_eq!(found, Some(value_of(id)), "answers that came too late are nobody's");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_operation_after_a_restart_works() {
    let server = Server::start();
    let redis = patient(&server.url());
    for round in 0..3 {
        redis.set(&key(round), value_of(round), MINUTE).await.unwrap();
        server.kill();
        if round > 0 {
            let refused = redis.get(&key(round)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
            assert!(refused.is_temporary());
        }
        server.restart();
        assert_eq!(redis.get(&key(round)).await.unwrap(), None, "no file, so nothing was kept");
    }
    redis.set(&key(9), value_of(9), MINUTE).await.unwrap();
    assert_eq!(redis.get(&key(9)).await.unwrap(), Some(value_of(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_dead_server_fail_at_once_and_never_gang_up() {
    let server = Server::start();
    let redis = patient(&server.url());
    redis.ping().await.unwrap();
    server.kill();
    let ask = |id| {
        let redis = redis.clone();
        async move { redis.get(&key(id)).await.unwrap_err().kind() }
    };
    // With half a minute for each command and each connect, no timeout has a part in this.
    assert_eq!(at_once(256, ask).await, [ErrorKind::Unavailable; 256]);
    server.restart();
    let ask = |id| {
        let redis = redis.clone();
        async move { redis.get(&key(id)).await.unwrap() }
    };
    assert_eq!(at_once(256, ask).await, vec![None; 256]);
    let connections = server.connections();
    assert!(connections <= 2, "{connections} connections for 256 callers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_ends_as_it_began() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = hasty(&proxy.url());
    fill_in(&redis, 8).await;
    for _ in 0..2 {
        proxy.set(Mood::Hole);
        for id in 0..5 {
            assert_eq!(redis.get(&key(id)).await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        proxy.set(Mood::Open);
        eventually("the backend is back", async || redis.get(&key(1)).await.is_ok()).await;
        for id in 0..8 {
            assert_eq!(redis.get(&key(id)).await.unwrap(), Some(value_of(id)));
        }
    }
}

#[tokio::test]
async fn a_dropped_call_takes_no_answer_of_others() {
    let server = Server::start();
    let redis = patient(&server.url());
    fill_in(&redis, 16).await;
    let first = key(0);
    for round in 0..200 {
        let mut dropped = Box::pin(redis.get(&first));
        let _ = harness::support::poll_once(&mut dropped);
        drop(dropped);
        let id = round % 16;
        assert_eq!(redis.get(&key(id)).await.unwrap(), Some(value_of(id)));
    }
}
