//! The bus of Redis: what is kept, what is lost, and what is said about it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cachekit::backends::Redis;
use cachekit::{AnyBus, Backend, Bus, Key, Position};

use super::support::{MINUTE, fill_in, hasty, key, listening, value_of, with};
use crate::servers::{Mood, PATIENCE, Proxy, SOON, Sentinels, Server, eventually, wait_until};

const NAME: &str = "users:k:bus";

fn bus(redis: &Redis) -> AnyBus {
    redis.bus(&key("k").reserved("bus")).expect("Redis has a bus")
}

async fn now(bus: &AnyBus) -> Position {
    let batch = bus.receive(None, Duration::MAX).await.unwrap();
    assert!(batch.messages.is_empty() && !batch.gap);
    batch.position
}

fn message(id: usize) -> Bytes {
    format!("message {id}").into()
}

/// What comes behind `position` until there are `count` messages or a gap, over all errors that pass.
async fn hear(bus: &AnyBus, mut position: Position, count: usize) -> (Vec<Bytes>, Position, bool) {
    let (mut messages, start) = (Vec::new(), Instant::now());
    loop {
        assert!(start.elapsed() < PATIENCE, "{} of {count} messages", messages.len());
        match bus.receive(Some(&position), Duration::MAX).await {
            Ok(batch) => {
                messages.extend(batch.messages);
                position = batch.position;
                if batch.gap || messages.len() >= count {
                    return (messages, position, batch.gap);
                }
            }
            Err(error) => assert!(error.is_temporary(), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_stream_that_passes_away_with_its_use() {
    let server = Server::start();
    let bus = bus(&listening(&server.url()));
    let position = now(&bus).await;
    bus.publish(message(1)).await.unwrap();
    assert_eq!(server.cli(&["TYPE", NAME]), "stream");
    let left: i64 = server.cli(&["PTTL", NAME]).parse().unwrap();
    assert!(left > 24 * 60 * 60 * 1000, "{left}");
    let (messages, _, gap) = hear(&bus, position, 1).await;
    assert_eq!((messages, gap), (vec![message(1)], false));
    bus.publish(Bytes::from_static(b"\0\r\n\xFF")).await.unwrap();
    let stored = server.call(&["XREVRANGE", NAME, "+", "-", "COUNT", "1"]);
    assert!(stored.to_string().contains("\0\r\n"), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_catches_up() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let (near, far) = (bus(&listening(&server.url())), bus(&hasty(&proxy.url())));
    let position = now(&far).await;
    let expected: Vec<_> = (0..2_500).map(message).collect();
    proxy.set(Mood::Closed);
    proxy.cut();
    for message in &expected {
        near.publish(message.clone()).await.unwrap();
    }
    assert!(far.receive(Some(&position), Duration::MAX).await.is_err(), "nobody can be heard");
    proxy.set(Mood::Open);
    let (messages, _, gap) = hear(&far, position, expected.len()).await;
    assert!(!gap);
    assert_eq!(messages, expected);
}

/// Whatever took the entry at the position may have taken others behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_is_said_to_be() {
    let server = Server::start();
    let redis = listening(&server.url());
    let writer = bus(&redis);
    let trim = || {
        server.cli(&["XTRIM", NAME, "MAXLEN", "1"]);
    };
    let flush = || {
        server.cli(&["FLUSHALL"]);
    };
    let rename = || {
        server.cli(&["RENAME", NAME, "away"]);
    };
    let restart = || server.restart();
    let losses: [&dyn Fn(); 4] = [&trim, &flush, &rename, &restart];
    for (index, lose) in losses.into_iter().enumerate() {
        // Whoever listens all the while loses nothing: this one is away.
        let position = now(&bus(&redis)).await;
        writer.publish(message(1)).await.unwrap();
        writer.publish(message(2)).await.unwrap();
        lose();
        let bus = bus(&redis);
        let (_, position, gap) = hear(&bus, position, usize::MAX).await;
        assert!(gap, "loss {index}");
        writer.publish(message(3)).await.unwrap();
        let (messages, _, gap) = hear(&bus, position, 1).await;
        assert_eq!((messages.last(), gap), (Some(&message(3)), false), "after loss {index}");
    }
}

/// Whoever waits for messages hears of a restart at once, not when the wait is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_not_waited_out() {
    let server = Server::start();
    let bus = bus(&with(&server.url(), |settings| settings.timeout = PATIENCE * 10));
    let position = now(&bus).await;
    let reader = tokio::spawn({
        let bus = bus.clone();
        async move { hear(&bus, position, 1).await }
    });
    eventually("the reader waits", async || server.cli(&["CLIENT", "LIST"]).contains("cmd=xread")).await;
    server.kill();
    server.restart();
    let start = Instant::now();
    assert!(reader.await.unwrap().2);
    // The longest wait of a bus is ten seconds.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_outlives_its_connection() {
    let server = Server::start();
    let bus = bus(&listening(&server.url()));
    let mut position = now(&bus).await;
    for id in 0..5 {
        let reader = tokio::spawn({
            let (bus, position) = (bus.clone(), position.clone());
            async move { hear(&bus, position, 1).await }
        });
        eventually("the reader waits", async || server.cli(&["CLIENT", "LIST"]).contains("cmd=xread")).await;
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "0");
        bus.publish(message(id)).await.unwrap();
        let (messages, next, gap) = reader.await.unwrap();
        assert_eq!((messages, gap), (vec![message(id)], false));
        position = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_found_out() {
    let server = Server::start();
    let bus = bus(&hasty(&server.url()));
    let position = now(&bus).await;
    server.pause();
    let start = Instant::now();
    assert!(bus.receive(Some(&position), Duration::MAX).await.unwrap_err().is_temporary());
    assert!(bus.publish(message(1)).await.unwrap_err().is_temporary());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    server.resume();
    eventually("it is back", async || bus.publish(message(2)).await.is_ok()).await;
    let (messages, _, gap) = hear(&bus, position, 1).await;
    assert!(!gap && messages.iter().any(|heard| *heard == message(2) || *heard == message(1)), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_messages_holds_up_nothing_else() {
    let server = Server::start();
    let redis = listening(&server.url());
    fill_in(&redis, 8).await;
    let heard = bus(&redis);
    let position = now(&heard).await;
    let reader = tokio::spawn({
        let heard = heard.clone();
        async move { hear(&heard, position, 1).await }
    });
    eventually("the reader waits", async || server.cli(&["CLIENT", "LIST"]).contains("cmd=xread")).await;
    for id in 0..8 {
        assert_eq!(redis.get(&key(id)).await.unwrap(), Some(value_of(id)));
    }
    assert!(!reader.is_finished());
    assert_eq!(server.connections(), 2);
    heard.publish(message(1)).await.unwrap();
    assert_eq!(reader.await.unwrap().0, [message(1)]);
    drop(heard);
    eventually("its connection ends with the bus", async || server.connections() == 1).await;
}

#[tokio::test]
async fn a_position_of_another_kind_is_refused() {
    let server = Server::start();
    let bus = bus(&listening(&server.url()));
    for text in ["", "now", "5", "-", "1-1\r\nFLUSHALL", "99999999999999999999999-0"] {
        match bus.receive(Some(&Position::new(text)), Duration::MAX).await {
            Ok(batch) => assert!(batch.gap, "{text}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    bus.publish(message(1)).await.unwrap();
}

/// The stream is replicated, but nobody knows whether all of it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_at_the_new_master() {
    let group = Sentinels::start();
    let bus = bus(&hasty(&group.url()));
    let position = now(&bus).await;
    bus.publish(message(1)).await.unwrap();
    wait_until("the replica has it all", || group.servers[1].says(&["XLEN", NAME], "2"));
    group.servers[0].kill();
    eventually("the new master is found", async || bus.publish(message(2)).await.is_ok()).await;
    let (messages, position, gap) = hear(&bus, position, 2).await;
    assert_eq!((messages, gap), (vec![message(1), message(2)], true));
    bus.publish(message(3)).await.unwrap();
    assert_eq!(hear(&bus, position, 1).await.0, [message(3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_is_a_bus_of_its_own() {
    let server = Server::start();
    let redis = listening(&server.url());
    let other = redis.bus(&Key::new("pages", "k").unwrap().reserved("bus")).unwrap();
    let own = bus(&redis);
    let position = now(&own).await;
    other.publish(message(1)).await.unwrap();
    own.publish(message(2)).await.unwrap();
    assert_eq!(hear(&own, position, 1).await.0, [message(2)]);
    redis.set(&key("k"), "v".into(), MINUTE).await.unwrap();
    assert_eq!(server.cli(&["DBSIZE"]), "3");
}
