//! Long values over slow networks, beside short ones.

use cachekit::RedisSettings;
use cachekit::backends::{AnyBackend, Redis};

use super::*;
use crate::servers::{Mood, Proxy, Server};

const LONG: usize = 1_000_000;

/// Reads a key while the backend takes so long for it.
async fn read_slowly(setup: &Setup, key: u32, length: usize, time: Duration) -> Result<(), ErrorKind> {
    setup.control.inject_next(1, Operation::Get, Fault::Hang);
    let call = tokio::spawn({
        let cache = setup.cache.clone();
        async move { cache.get::<Vec<u8>>(key).await }
    });
    setup.control.hanging().wait_for(1).await;
    setup.clock.advance(time);
    settle().await;
    setup.control.heal();
    let found = call.await.unwrap().map_err(|error| error.kind())?;
    assert_eq!(found.map(|value| value.len()), Some(length));
    Ok(())
}

#[tokio::test]
async fn long_value_gets_the_full_time_and_a_short_one_a_short_limit() {
    let setup = setup(|builder| builder.retries(0));
    let (long, short) = (vec![7u8; 100_000], vec![7u8; 100]);
    setup.cache.set(1u32, long).await.unwrap();
    for _ in 0..200 {
        setup.cache.set(2u32, short.clone()).await.unwrap();
        assert_eq!(setup.cache.get(2u32).await.unwrap(), Some(short.clone()));
    }
    for _ in 0..50 {
        assert_eq!(read_slowly(&setup, 1, 100_000, 3 * SECOND).await, Ok(()));
    }
    assert_eq!(read_slowly(&setup, 2, 100, SECOND / 10).await, Err(ErrorKind::Timeout), "nothing was learnt of it");
    assert_eq!(setup.cache.stats().breaker_opened, 0);
}

#[tokio::test]
async fn a_read_that_came_too_late_has_more_time_the_next_time() {
    let setup = setup(|builder| builder.retries(0));
    for key in 0..200u32 {
        assert_eq!(setup.cache.get::<u32>(key).await.unwrap(), None);
    }
    // Of a value that another process has stored nothing is known.
    let writer = CacheBuilder::new().namespace("users").codec(Postcard).backend(setup.memory.clone());
    let writer = writer.namespace_index(false).invalidation_enabled(false).l1_enabled(false);
    let writer = writer.clock(Arc::new(setup.clock.clone())).build().unwrap();
    writer.set(1u32, vec![7u8; 100_000]).await.unwrap();
    assert_eq!(read_slowly(&setup, 1, 100_000, SECOND * 7 / 10).await, Err(ErrorKind::Timeout));
    assert_eq!(setup.cache.get::<u32>(2u32).await.unwrap(), None, "the backend is heard");
    assert_eq!(read_slowly(&setup, 1, 100_000, SECOND * 7 / 10).await, Ok(()));
    assert_eq!(read_slowly(&setup, 1, 100_000, 3 * SECOND).await, Ok(()), "it is known to be long");
}

#[tokio::test]
async fn broken_connection_under_a_long_value_opens_no_breaker() {
    let Setup { control, told, cache, .. } = setup(|builder| builder.failure_threshold(1).retries(0));
    let refused = async |length: usize, heard: bool| {
        let gate = control.gate(Operation::Set);
        control.inject_next(1, Operation::Set, Fault::Refuse);
        let call = tokio::spawn({
            let cache = cache.clone();
            async move { cache.set(1u32, vec![7u8; length]).await }
        });
        gate.wait_for(1).await;
        if heard {
            assert_eq!(cache.get::<u32>(2u32).await.unwrap(), None);
        }
        gate.open();
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        told.breaker.lock().unwrap().clone()
    };
    for _ in 0..5 {
        assert_eq!(refused(LONG / 2, true).await, []);
    }
    assert_eq!(refused(100, true).await, [BreakerState::Open], "a short one");
}

/// Reads a long value of another process over a slow network, after many short ones over a fast one.
#[cfg(unix)]
async fn is_read_over_a_slow_network(backend: impl Backend, writer: impl Backend, proxy: &Proxy) {
    let cache = |backend| {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").codec(Postcard);
        let builder = builder.l1_enabled(false).compression_enabled(false).adaptive_min(SECOND * 4 / 10);
        builder.backend(backend).build().unwrap()
    };
    let (reader, writer) = (cache(AnyBackend::new(backend)), cache(AnyBackend::new(writer)));
    writer.set("long", vec![7u8; LONG]).await.unwrap();
    for key in 0..50u32 {
        writer.set(key, key).await.unwrap();
    }
    for turn in 0..400u32 {
        assert_eq!(reader.get(turn % 50).await.unwrap(), Some(turn % 50));
    }
    proxy.set(Mood::Narrow(LONG as u32 / 2));
    for round in 0..3 {
        let load = || async { Ok::<_, Broken>(vec![8u8; LONG]) };
        let value: Vec<u8> = reader.get_or_compute("long", load).await.unwrap();
        assert_eq!((value.len(), value[0]), (LONG, 7), "round {round}");
        for key in 0..50u32 {
            compute_u32(&reader, key).await;
        }
    }
    assert_eq!((reader.stats().computations, reader.stats().breaker_opened), (0, 0));
}

#[cfg(unix)]
async fn compute_u32(cache: &Cache<AnyBackend, Checked<Postcard>>, key: u32) {
    assert_eq!(cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap(), key);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_value_in_redis_is_read_over_a_slow_network() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let patient = |url: &str| {
        let mut settings = RedisSettings::new(url).unwrap();
        (settings.timeout, settings.connect_timeout) = (20 * SECOND, 20 * SECOND);
        Redis::new(settings).unwrap()
    };
    is_read_over_a_slow_network(patient(&proxy.url()), patient(&server.url()), &proxy).await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_value_in_memcached_is_read_over_a_slow_network() {
    let server = crate::servers::Memcached::start_with(&["-m", "64", "-I", "2m"]);
    let proxy = Proxy::of(server.port());
    let patient = |port: u16| {
        let mut settings = cachekit::MemcachedSettings::new([format!("127.0.0.1:{port}")]);
        (settings.timeout, settings.connect_timeout, settings.max_item_size) = (20 * SECOND, 20 * SECOND, 2 * LONG);
        cachekit::backends::Memcached::new(settings).unwrap()
    };
    is_read_over_a_slow_network(patient(proxy.port()), patient(server.port()), &proxy).await;
}
