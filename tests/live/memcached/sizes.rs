//! Values of every size.

use bytes::Bytes;
use cachekit::backends::Memcached;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, ErrorKind, Intent};

use super::support::{MINUTE, key, patient, with};
use crate::servers;

fn cache(memcached: Memcached) -> Cache<Memcached, Checked<Postcard>> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users");
    builder.l1_enabled(false).backend(memcached).build().unwrap()
}

#[tokio::test]
async fn server_takes_the_promised_size_and_is_sent_nothing_larger() {
    let server = servers::Memcached::start_with(&["-m", "256", "-I", "4m"]);
    for (size, memcached) in [
        (1 << 20, patient(&[&server])),
        (4 << 20, with(&[&server], |settings| settings.max_item_size = 4 << 20)),
        (1 << 10, with(&[&server], |settings| settings.max_item_size = 1 << 10)),
    ] {
        let limit = memcached.capabilities().max_value;
        assert_eq!(limit, size - 512);
        let value = Bytes::from(vec![7; limit + 1]);
        memcached.set(&key(1), value.slice(1..), MINUTE).await.unwrap();
        assert_eq!(memcached.get(&key(1)).await.unwrap(), Some(value.slice(1..)));
        let error = memcached.set(&key(1), value, MINUTE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert_eq!(memcached.get(&key(1)).await.unwrap().map(|value| value.len()), Some(limit), "the old one stays");
    }
}

/// A setting that the server does not share is told of, and does no worse than an eviction.
#[tokio::test]
async fn a_value_that_a_server_refuses_is_too_large() {
    let server = servers::Memcached::start();
    let memcached = with(&[&server], |settings| settings.max_item_size = 4 << 20);
    let error = memcached.set(&key(1), vec![7; 2 << 20].into(), MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("max_item_size"), "{error}");
    memcached.set(&key(1), "small".into(), MINUTE).await.unwrap();
    assert_eq!(memcached.get(&key(1)).await.unwrap().as_deref(), Some(&b"small"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_splits_what_is_larger() {
    let servers = [servers::Memcached::start_with(&["-m", "256"]), servers::Memcached::start_with(&["-m", "256"])];
    for memcached in [patient(&[&servers[0]]), patient(&servers.each_ref())] {
        let limit = memcached.capabilities().max_value;
        let cache = cache(memcached);
        for size in [0, limit - 100, limit, limit + 1, 1 << 20, 50 << 20] {
            let value: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            let value = String::from_utf8(value.into_iter().map(|byte| byte & 0x7f).collect()).unwrap();
            cache.set(size, value.clone()).await.unwrap();
            assert!(cache.get::<String>(size).await.unwrap() == Some(value), "{size} bytes");
        }
    }
}
