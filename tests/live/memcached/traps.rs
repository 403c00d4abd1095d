//! What clients of memcached are known to get wrong.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cachekit::backends::Memcached;
use cachekit::{Backend, ErrorKind, MemcachedSettings};

use super::support::{HASTE, MINUTE, at_once, every_text, hasty, key, patient, value_of, with};
use crate::servers::{self, Mood, Proxy, SOON, eventually, full_backlog, silent};
use harness::support::poll_once;

async fn fill_in(memcached: &Memcached, count: usize) {
    let items = (0..count).map(|id| (key(id), value_of(id))).collect();
    memcached.set_many(items, MINUTE).await.unwrap();
}

fn impatient(address: &str) -> Memcached {
    let mut settings = MemcachedSettings::new([address]);
    (settings.timeout, settings.connect_timeout) = (HASTE, HASTE);
    Memcached::new(settings).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_to_a_stopped_server_ends_in_time_dropping_late_answers() {
    let server = servers::Memcached::start();
    let memcached = with(&[&server], |settings| {
        (settings.timeout, settings.connect_timeout, settings.max_pool_size) = (HASTE, HASTE, 64);
    });
    fill_in(&memcached, 64).await;
    server.pause();
    let ask = |id| {
        let memcached = memcached.clone();
        async move {
            let start = Instant::now();
            let error = match id % 4 {
                0 => memcached.get(&key(id)).await.unwrap_err(),
                1 => memcached.set(&key(id), value_of(id), MINUTE).await.unwrap_err(),
                2 => memcached.ttl(&key(id)).await.unwrap_err(),
                _ => memcached.get_many(&[key(id), key(0)]).await.unwrap_err(),
            };
            (error, start.elapsed())
        }
    };
    for (error, elapsed) in at_once(64, ask).await {
        assert!(error.is_temporary(), "{error:?}");
        assert!(elapsed < SOON, "{elapsed:?}");
        assert!(!every_text(&error).contains("users"), "{error:?}");
    }
    server.resume();
    eventually("the server is asked again", async || memcached.get(&key(0)).await.is_ok()).await;
    let ask = |id| {
        let memcached = memcached.clone();
        async move { (id, memcached.get(&key(id)).await.unwrap()) }
    };
    for (id, found) in at_once(64, ask).await {
        assert_eq!(found, Some(value_of(id)));
    }
}

#[tokio::test]
async fn a_change_without_an_answer_says_that_it_may_have_been_made() {
    let server = servers::Memcached::start();
    let proxy = Proxy::of(server.port());
    let memcached = impatient(&format!("127.0.0.1:{}", proxy.port()));
    memcached.set(&key(1), "old".into(), MINUTE).await.unwrap();
    proxy.set(Mood::Mute);
    let error = memcached.set(&key(1), "new".into(), MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("may have been made"), "{error}");
    assert_eq!(server.text("users:1").as_deref(), Some("new"), "and so it was");
}

#[tokio::test]
async fn a_connect_that_never_ends_is_ended() {
    let hole = full_backlog();
    let start = Instant::now();
    let error = impatient(&hole.address.to_string()).get(&key(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!((HASTE..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_server_that_never_says_a_word_is_given_up() {
    let (_listener, address) = silent();
    let start = Instant::now();
    let error = impatient(&address.to_string()).ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!((HASTE..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
}

/// Says these bytes to whoever connects, once it has heard something.
fn saying(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(words);
        }
    });
    address
}

#[tokio::test]
async fn what_is_no_memcached_is_told_of_and_never_believed() {
    for words in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"VA 99999999999999999999 f0 c1\r\n",
        b"VA 9999999999 f0 c1\r\nx",
        b"VA -1 f0 c1\r\n",
        b"VA 3 f0 c1\r\nabcdefgh\r\n",
        b"HD f99999999999999999999\r\n",
        b"ERROR\r\n",
        b"SERVER_ERROR users:1 is secret\r\n",
        b"\r\n",
        b"\xff\xfe\r\n",
    ] {
        let memcached = impatient(&saying(words));
        let error = memcached.get(&key(1)).await.unwrap_err();
        assert!(!every_text(&error).contains("secret"), "{error:?}");
        assert!(memcached.set(&impossible(), "v".into(), MINUTE).await.is_err());
        assert!(memcached.get_many(&[key(1), key(2)]).await.is_err());
    }
}

fn impossible() -> cachekit::Key {
    key("k".repeat(2_000))
}

#[tokio::test]
async fn the_first_operation_after_a_restart_works() {
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    for round in 0..5 {
        memcached.set(&key(round), value_of(round), MINUTE).await.unwrap();
        server.restart();
        assert_eq!(memcached.get(&key(round)).await.unwrap(), None);
        server.restart();
        memcached.set(&key(round), value_of(round), MINUTE).await.unwrap();
        server.restart();
        memcached.remove(&key(round)).await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_call_takes_no_answer_of_others() {
    let server = servers::Memcached::start();
    let memcached = patient(&[&server]);
    fill_in(&memcached, 16).await;
    let first = key(0);
    for round in 0..200 {
        let mut dropped = Box::pin(memcached.get(&first));
        let _ = harness::support::poll_once(&mut dropped);
        drop(dropped);
        let id = round % 16;
        assert_eq!(memcached.get(&key(id)).await.unwrap(), Some(value_of(id)));
    }
}

#[tokio::test]
async fn a_dropped_call_keeps_its_connection() {
    let server = servers::Memcached::start();
    let proxy = Proxy::of(server.port());
    let mut settings = MemcachedSettings::new([format!("127.0.0.1:{}", proxy.port())]);
    (settings.timeout, settings.max_pool_size) = (MINUTE / 2, 1);
    let memcached = Memcached::new(settings).unwrap();
    let first = key(0);
    assert_eq!(memcached.get(&first).await.unwrap(), None);
    for _ in 0..50 {
        let mut dropped = Box::pin(memcached.get(&first));
        assert!(poll_once(&mut dropped).is_pending());
        drop(dropped);
        assert_eq!(memcached.get(&first).await.unwrap(), None);
    }
    assert_eq!(proxy.accepted(), 1);
}

/// Who waits for a connection in vain says nothing about the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_pool_makes_no_server_lost() {
    let server = servers::Memcached::start();
    let proxy = Proxy::of(server.port());
    let mut settings = MemcachedSettings::new([format!("127.0.0.1:{}", proxy.port())]);
    (settings.timeout, settings.max_pool_size) = (Duration::from_secs(3), 1);
    let memcached = Memcached::new(settings).unwrap();
    memcached.ping().await.unwrap();
    proxy.set(Mood::Slow(Duration::from_secs(1)));
    let ask = |id| {
        let memcached = memcached.clone();
        async move { memcached.get(&key(id)).await.err() }
    };
    let errors: Vec<_> = at_once(6, ask).await.into_iter().flatten().collect();
    assert!(!errors.is_empty() && errors.iter().all(|error| error.to_string().contains("max_pool_size")), "{errors:?}");
    proxy.set(Mood::Open);
    assert_eq!(memcached.get(&key(1)).await.unwrap(), None, "it was never left alone");
}

#[test]
fn one_backend_works_on_several_runtimes() {
    let server = servers::Memcached::start();
    let memcached = hasty(&[&server]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let standing = runtime();
    standing.block_on(memcached.set(&key(0), value_of(0), MINUTE)).unwrap();
    for _ in 0..6 {
        let other = runtime();
        for _ in 0..2 {
            assert_eq!(other.block_on(memcached.get(&key(0))).unwrap(), Some(value_of(0)));
            assert_eq!(standing.block_on(memcached.get(&key(0))).unwrap(), Some(value_of(0)));
        }
    }
}

#[test]
fn without_a_runtime_it_is_an_error_and_no_panic() {
    let memcached = Memcached::from_servers(["127.0.0.1:1"]).unwrap();
    let key = key(1);
    let mut asked = Box::pin(memcached.get(&key));
    let std::task::Poll::Ready(answer) = harness::support::poll_once(&mut asked) else { panic!("it cannot wait") };
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_gives_up_early_tells_of_a_silent_server() {
    let server = servers::Memcached::start();
    let memcached = with(&[&server], |settings| settings.timeout = MINUTE / 2);
    fill_in(&memcached, 4).await;
    server.pause();
    for id in 0..4 {
        let key = key(id);
        let mut get = Box::pin(memcached.get(&key));
        assert!(poll_once(&mut get).is_pending(), "who leaves at once has no reason to complain");
    }
    let asked = async || tokio::time::timeout(Duration::from_millis(100), memcached.get(&key(0))).await;
    assert!(asked().await.is_err() && asked().await.is_err(), "for a moment it is asked as ever");
    let mut error = None;
    eventually("it is left alone", async || {
        error = asked().await.ok().and_then(Result::err);
        error.is_some()
    })
    .await;
    assert_eq!(error.unwrap().kind(), ErrorKind::Unavailable);
    server.resume();
    eventually("it is asked again", async || memcached.get(&key(0)).await.is_ok()).await;
}
