//! The settings of Memcached, from the environment to the servers.

use std::time::{Duration, Instant};

use cachekit::backends::{AnyBackend, Memcached};
use cachekit::codec::Standard;
use cachekit::{Backend, Cache, CacheBuilder, ErrorKind, MemcachedSettings};

use super::support::{MINUTE, at_once, key};
use crate::servers::{self, Proxy, SOON, full_backlog, silent, unused};

fn cache(vars: &[(&str, &str)]) -> Cache<AnyBackend, Standard> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    CacheBuilder::from_vars(vars).namespace("users").l1_enabled(false).adaptive_timeout_enabled(false).build().unwrap()
}

async fn compute(cache: &Cache<AnyBackend, Standard>, id: usize) -> String {
    cache.get_or_compute(id, move || async move { Ok::<_, std::io::Error>(format!("user {id}")) }).await.unwrap()
}

#[tokio::test]
async fn the_environment_selects_servers_and_prefix() {
    let servers = [servers::Memcached::start(), servers::Memcached::start()];
    let list = format!("[\"{}\", \" localhost:{} \"]", servers[0].address(), servers[1].port());
    let cache = cache(&[("CACHEKIT_MEMCACHED_SERVERS", &list), ("CACHEKIT_MEMCACHED_KEY_PREFIX", "app:")]);
    for id in 0..20 {
        cache.set(id, format!("user {id}")).await.unwrap();
        let holders = servers.iter().filter(|server| server.text(&format!("app:users:{id}")).is_some()).count();
        assert_eq!(holders, 1);
        assert_eq!(cache.get::<String>(id).await.unwrap(), Some(format!("user {id}")));
    }
    assert!(servers.iter().all(|server| server.stat("curr_items") > 0));
    assert!(cache.ping().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_size_bounds_the_connections() {
    let server = servers::Memcached::start();
    let proxy = Proxy::of(server.port());
    let list = format!("[\"127.0.0.1:{}\"]", proxy.port());
    let cache = cache(&[
        ("CACHEKIT_MEMCACHED_SERVERS", &list),
        ("CACHEKIT_MEMCACHED_MAX_POOL_SIZE", "3"),
        ("CACHEKIT_MEMCACHED_TIMEOUT", "30"),
    ]);
    let answers = at_once(500, move |id| {
        let cache = cache.clone();
        async move { compute(&cache, id).await }
    });
    assert_eq!(answers.await.len(), 500);
    assert_eq!(proxy.accepted(), 3);
}

#[tokio::test]
async fn the_timeouts_end_what_takes_too_long() {
    let ((_listener, mute), hole) = (silent(), full_backlog());
    for (address, variable) in
        [(mute, "CACHEKIT_MEMCACHED_TIMEOUT"), (hole.address, "CACHEKIT_MEMCACHED_CONNECT_TIMEOUT")]
    {
        let cache = cache(&[("CACHEKIT_MEMCACHED_SERVERS", &format!("[\"{address}\"]")), (variable, "3")]);
        let start = Instant::now();
        assert_eq!(cache.get::<String>(1).await.unwrap_err().kind(), ErrorKind::Timeout, "{variable}");
        let elapsed = start.elapsed();
        // The defaults are one and two seconds.
        assert!((Duration::from_secs(3)..SOON).contains(&elapsed), "{variable}: {elapsed:?}");
    }
}

#[tokio::test]
async fn a_program_without_its_servers_runs() {
    let list = format!("[\"127.0.0.1:{}\", \"no-such-host.invalid:11211\"]", unused());
    let cache = cache(&[("CACHEKIT_MEMCACHED_SERVERS", &list)]);
    for id in 0..10 {
        assert_eq!(compute(&cache, id).await, format!("user {id}"));
    }
    assert!(cache.ping().await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn one_server_that_answers_is_enough_for_a_ping() {
    let server = servers::Memcached::start();
    let dead = format!("127.0.0.1:{}", unused());
    Memcached::from_servers([dead, server.address()]).unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn an_ipv6_address_is_written_in_brackets() {
    let memcached = Memcached::from_servers([format!("[::1]:{}", unused())]).unwrap();
    let error = memcached.set(&key(1), "v".into(), MINUTE).await.unwrap_err();
    assert!(error.to_string().contains("[::1]:"), "{error}");
}

#[test]
fn every_wrong_setting_is_told_at_once() {
    let mut settings = MemcachedSettings::new(["mc1:11211", "mc2"]);
    settings.timeout = Duration::from_millis(99);
    settings.connect_timeout = Duration::from_secs(31);
    settings.max_pool_size = 101;
    settings.retry_attempts = 11;
    settings.key_prefix = "a b".into();
    settings.max_item_size = 1 << 31;
    let error = Memcached::new(settings).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for part in
        ["server 2", "timeout", "connect_timeout", "max_pool_size", "retry_attempts", "key_prefix", "-item_size"]
    {
        assert!(text.contains(&part.replace('-', "max_")), "{part}: {text}");
    }
    assert_eq!(text.lines().count(), 7);
    let none = Memcached::from_servers(Vec::<String>::new()).unwrap_err();
    assert!(none.to_string().contains("at least one server"), "{none}");
}
