//! Connections: how many, when, and what becomes of them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Redis;
use cachekit::{Backend, Bus, Error, ErrorKind};
use tokio::runtime::Builder;

use super::support::{HASTE, MINUTE, at_once, fill_in, hasty, key, patient, value_of, with};
use crate::servers::{Mood, PATIENCE, Proxy, Server, eventually};
use harness::support::{leased, poll_once};

#[test]
fn nothing_connects_before_the_first_operation() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    server.kill();
    let redis = patient(&proxy.url());
    let copy = redis.clone();
    assert_eq!(redis.capabilities().name, "redis");
    assert_eq!(proxy.accepted(), 0);
    server.restart();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        redis.set(&key(1), "v".into(), MINUTE).await.unwrap();
        assert_eq!(copy.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]));
    });
    assert_eq!(proxy.accepted(), 1, "clones share");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_load_opens_more_connections_than_the_pool_has() {
    let server = Server::start();
    let redis = with(&server.url(), |settings| {
        settings.pool_size = 3;
        (settings.timeout, settings.connect_timeout) = (MINUTE / 12, MINUTE);
    });
    let large = Bytes::from(vec![7; 300_000]);
    redis.set(&key("large"), large.clone(), MINUTE).await.unwrap();
    fill_in(&redis, 100).await;
    let buses: Vec<_> = (0..5).filter_map(|name| redis.bus(&key(("bus", name)))).collect();
    let ended = Arc::new(AtomicBool::new(false));
    let listeners: Vec<_> = buses
        .into_iter()
        .map(|bus| {
            let ended = Arc::clone(&ended);
            tokio::spawn(async move {
                let mut position = bus.receive(None, Duration::MAX).await.unwrap().position;
                while !ended.load(Ordering::Relaxed) {
                    position = bus.receive(Some(&position), Duration::MAX).await.unwrap().position;
                }
            })
        })
        .collect();

    let counted = tokio::spawn({
        let (ended, server) = (Arc::clone(&ended), server);
        async move {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(server.connections());
                tokio::task::yield_now().await;
            }
            (most, server)
        }
    });
    for _ in 0..3 {
        let (redis, large) = (redis.clone(), large.clone());
        let wrong = at_once(2_000, move |id| {
            let (redis, large) = (redis.clone(), large.clone());
            async move {
                let (key, expected) =
                    if id % 50 == 0 { (key("large"), large) } else { (key(id % 100), value_of(id % 100)) };
                redis.get(&key).await.unwrap() != Some(expected)
            }
        })
        .await;
        assert!(!wrong.contains(&true));
    }
    ended.store(true, Ordering::Relaxed);
    let (most, server) = counted.await.unwrap();
    assert!((2..=3).contains(&most), "{most} connections at once");
    for listener in listeners {
        listener.await.unwrap();
    }
    drop(redis);
    eventually("the connections end with the backend", async || server.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn medium_values_travel_over_more_connections_than_small_ones() {
    for (size, most) in [(200, 1), (16 << 10, 8)] {
        let server = Server::start();
        let redis = patient(&server.url());
        let value = Bytes::from(vec![7; size]);
        redis.set(&key(1), value.clone(), MINUTE).await.unwrap();
        for _ in 0..20 {
            let (redis, value) = (redis.clone(), value.clone());
            let wrong = at_once(64, move |_| {
                let (redis, value) = (redis.clone(), value.clone());
                async move { redis.get(&key(1)).await.unwrap() != Some(value) }
            });
            assert!(wrong.await.into_iter().all(|wrong| !wrong));
        }
        let connections = server.connections();
        assert!((most.min(2)..=most).contains(&connections), "{connections} connections for {size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_value_does_not_hold_up_small_ones() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = patient(&proxy.url());
    redis.set(&key("small"), "v".into(), MINUTE).await.unwrap();
    redis.set(&key("large"), vec![7; 1 << 20].into(), MINUTE).await.unwrap();
    assert_eq!(proxy.accepted(), 2, "a long value is never sent over the connection of others");
    let reader = patient(&proxy.url());
    reader.get(&key("large")).await.unwrap();
    eventually("long values that are read have a connection of their own", async move || {
        reader.get(&key("large")).await.unwrap();
        proxy.accepted() >= 4
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_one_connect_share_its_outcome() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    proxy.set(Mood::Hole);
    let redis = hasty(&proxy.url());
    let ask = {
        let redis = redis.clone();
        move |_| {
            let redis = redis.clone();
            async move { redis.get(&key(1)).await.unwrap_err().kind() }
        }
    };
    let kinds = at_once(64, ask).await;
    assert_eq!(kinds, [ErrorKind::Timeout; 64]);
    assert_eq!(proxy.accepted(), 1);
    proxy.set(Mood::Open);
    assert_eq!(redis.get(&key(1)).await.unwrap(), None, "a failure is not remembered");
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_replaced_unseen() {
    let server = Server::start();
    let redis = patient(&server.url());
    fill_in(&redis, 64).await;
    let ended = Arc::new(AtomicBool::new(false));
    let readers = tokio::spawn({
        let (redis, ended) = (redis.clone(), Arc::clone(&ended));
        at_once(64, move |id| {
            let (redis, ended) = (redis.clone(), Arc::clone(&ended));
            async move {
                let mut rounds = 0;
                while !ended.load(Ordering::Relaxed) {
                    assert_eq!(redis.get(&key(id)).await.unwrap(), Some(value_of(id)));
                    redis.set(&key(id), value_of(id), MINUTE).await.unwrap();
                    rounds += 1;
                }
                rounds
            }
        })
    });
    for _ in 0..5 {
        let before = server.calls("set");
        eventually("the tasks go on", async || server.calls("set") > before + 200).await;
        let killed: usize = server.cli(&["CLIENT", "KILL", "TYPE", "normal"]).parse().unwrap();
        assert!(killed >= 1);
    }
    ended.store(true, Ordering::Relaxed);
    assert!(readers.await.unwrap().iter().all(|rounds: &usize| *rounds > 0));
}

#[tokio::test]
async fn idle_connections_that_ended_are_replaced_unseen() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = patient(&proxy.url());
    fill_in(&redis, 3).await;
    proxy.cut();
    assert_eq!(redis.get(&key(1)).await.unwrap(), Some(value_of(1)));
    proxy.cut();
    redis.set(&key(1), "w".into(), MINUTE).await.unwrap();
    proxy.cut();
    assert!(leased(&redis, &key(1), MINUTE).await.unwrap().is_some());
    proxy.cut();
    redis.remove(&key(1)).await.unwrap();
    assert_eq!((server.cli(&["DBSIZE"]), proxy.accepted()), ("2".into(), 5));
}

/// No end of the connection tells that it is dead: only silence does.
#[tokio::test]
async fn a_connection_that_the_network_forgot_is_given_up() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = hasty(&proxy.url());
    fill_in(&redis, 3).await;
    proxy.strand();
    let start = std::time::Instant::now();
    let mut failures = 0;
    while redis.get(&key(1)).await.is_err() {
        failures += 1;
        assert!(start.elapsed() < PATIENCE, "{failures} failures");
    }
    assert!((1..=10).contains(&failures), "{failures}");
    assert_eq!(redis.get(&key(2)).await.unwrap(), Some(value_of(2)));
}

/// Nobody need wait as long as a command may take to find out.
#[tokio::test]
async fn lost_connection_is_given_up_even_by_callers_who_do_not_wait() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = patient(&proxy.url());
    fill_in(&redis, 3).await;
    proxy.strand();
    let mut impatient = 0;
    while tokio::time::timeout(HASTE, redis.get(&key(1))).await.is_err() {
        impatient += 1;
        assert!(impatient <= 10, "{impatient} left");
    }
    assert!(impatient >= 1 && proxy.accepted() == 2, "{impatient} left");
}

/// What takes long on a connection that answers others says nothing of the connection.
#[tokio::test]
async fn a_connection_that_answers_others_is_kept() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let redis = patient(&proxy.url());
    fill_in(&redis, 1).await;
    proxy.set(Mood::Mute);
    let early = tokio::spawn({
        let redis = redis.clone();
        async move { redis.get(&key(0)).await.unwrap() }
    });
    eventually("the server has answered", async || server.calls("get") == 1).await;
    server.cli(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let names: Vec<_> = (1..=6).map(key).collect();
    let mut sets: Vec<_> = names.iter().map(|key| Box::pin(redis.set(key, "v".into(), MINUTE))).collect();
    assert!(sets.iter_mut().all(|set| poll_once(set).is_pending()));
    proxy.set(Mood::Open);
    assert_eq!(early.await.unwrap(), Some(value_of(0)));
    tokio::time::sleep(HASTE).await;
    drop(sets);
    server.cli(&["CLIENT", "UNPAUSE"]);
    assert_eq!(redis.get(&key(0)).await.unwrap(), Some(value_of(0)));
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn several_runtimes_may_use_it_one_after_another() {
    let server = Server::start();
    let redis = patient(&server.url());
    for round in 0..4 {
        let runtime = match round % 2 {
            0 => Builder::new_current_thread().enable_all().build().unwrap(),
            _ => Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
        };
        runtime.block_on(async {
            if round > 0 {
                assert_eq!(redis.get(&key(round - 1)).await.unwrap(), Some(value_of(round - 1)));
            }
            redis.set(&key(round), value_of(round), MINUTE).await.unwrap();
            redis.set(&key("large"), vec![7; 200_000].into(), MINUTE).await.unwrap();
            assert_eq!(redis.get(&key("large")).await.unwrap().map(|value| value.len()), Some(200_000));
        });
    }
    assert!(server.connections() <= 2, "what a dead runtime held is given back");
}

/// What another runtime has begun and does not go on with is its own: on this one nothing waits for it.
#[test]
fn a_runtime_that_stands_still_holds_up_no_other() {
    let server = Server::start();
    let redis = patient(&server.url());
    let [still, running] = [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
    running.block_on(fill_in(&redis, 10));
    let keys: Vec<_> = (0..10).map(key).collect();
    let mut begun: Vec<_> = keys.iter().map(|key| Box::pin(redis.get(key))).collect();
    still.block_on(async { begun.iter_mut().for_each(|get| assert!(poll_once(get).is_pending())) });
    let found = running.block_on(async {
        let copy = redis.clone();
        at_once(10, move |id| {
            let redis = copy.clone();
            async move { redis.get(&key(id)).await }
        })
        .await
    });
    assert!(found.into_iter().all(|value| value.unwrap().is_some()));
    drop(still);
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let server = Server::start();
    let redis = patient(&server.url());
    refuses_to_work(&redis);
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        redis.set(&key(1), "v".into(), MINUTE).await.unwrap();
    });
    refuses_to_work(&redis);
}

fn refuses_to_work(redis: &Redis) {
    let (key, bus) = (key(1), redis.bus(&key("bus")).unwrap());
    let get = async { redis.get(&key).await.unwrap_err() };
    let set = async { redis.set(&key, "v".into(), MINUTE).await.unwrap_err() };
    let receive = async { bus.receive(None, Duration::MAX).await.unwrap_err() };
    let refused: [Pin<Box<dyn Future<Output = Error> + '_>>; 3] = [Box::pin(get), Box::pin(set), Box::pin(receive)];
    for mut call in refused {
        let Poll::Ready(error) = poll_once(&mut call) else { panic!("it waits") };
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("tokio runtime"), "{error}");
    }
}
