//! The settings of Redis, from the environment to the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachekit::backends::AnyBackend;
use cachekit::codec::Standard;
use cachekit::{Cache, CacheBuilder, ErrorKind, Operation};

use super::support::at_once;
use crate::servers::{SOON, Server, eventually, full_backlog};
use harness::support::{Journal, Note};

fn cache(vars: &[(&str, &str)]) -> Cache<AnyBackend, Standard> {
    observed(vars, Arc::default())
}

fn observed(vars: &[(&str, &str)], journal: Arc<Journal>) -> Cache<AnyBackend, Standard> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let builder = CacheBuilder::from_vars(vars).namespace("users").observer(journal).l1_enabled(false);
    builder.adaptive_timeout_enabled(false).backpressure_enabled(false).build().unwrap()
}

async fn compute(cache: &Cache<AnyBackend, Standard>, id: usize) -> String {
    cache.get_or_compute(id, move || async move { Ok::<_, std::io::Error>(format!("user {id}")) }).await.unwrap()
}

#[tokio::test]
async fn the_url_selects_server_and_database() {
    for name in ["CACHEKIT_REDIS_URL", "REDIS_URL"] {
        let server = Server::setup().password("open").start();
        let cache = cache(&[(name, &format!("redis://:open@{}/3", server.address()))]);
        cache.set(1, "ada".to_owned()).await.unwrap();
        assert!(server.cli(&["INFO", "keyspace"]).contains("db3:keys="));
        assert_eq!(cache.get::<String>(1).await.unwrap().as_deref(), Some("ada"));
    }
}

#[tokio::test]
async fn cachekits_own_url_counts_before_the_common_one() {
    let (own, common) = (Server::start(), Server::start());
    let cache = cache(&[("REDIS_URL", &common.url()), ("CACHEKIT_REDIS_URL", &own.url())]);
    cache.set(1, "ada".to_owned()).await.unwrap();
    assert_eq!((own.cli(&["EXISTS", "users:1"]), common.cli(&["DBSIZE"])), ("1".into(), "0".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_size_bounds_the_connections() {
    let server = Server::start();
    let cache = cache(&[
        ("CACHEKIT_REDIS_URL", &server.url()),
        ("CACHEKIT_CONNECTION_POOL_SIZE", "1"),
        ("CACHEKIT_SOCKET_TIMEOUT", "60"),
    ]);
    let large = "x".repeat(300_000);
    cache.set("large", large).await.unwrap();
    let answers = at_once(1_500, move |id| {
        let cache = cache.clone();
        async move { if id % 100 == 0 { cache.get("large").await.unwrap() } else { Some(compute(&cache, id).await) } }
    });
    let answers = tokio::spawn(answers);
    let mut most = 0;
    while !answers.is_finished() {
        most = most.max(server.connections());
        tokio::task::yield_now().await;
    }
    assert_eq!(most, 1);
    assert!(answers.await.unwrap().iter().all(Option::is_some));
}

#[tokio::test]
async fn the_socket_timeout_ends_a_command() {
    let server = Server::start();
    let cache = cache(&[("CACHEKIT_REDIS_URL", &server.url()), ("CACHEKIT_SOCKET_TIMEOUT", "3")]);
    cache.ping().await.unwrap();
    server.pause();
    let start = Instant::now();
    let error = cache.get::<String>(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // The default is one second.
    assert!((Duration::from_secs(3)..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_connect_timeout_ends_a_connect() {
    let hole = full_backlog();
    let url = format!("redis://{}", hole.address);
    let cache = cache(&[("CACHEKIT_REDIS_URL", &url), ("CACHEKIT_SOCKET_CONNECT_TIMEOUT", "3")]);
    let start = Instant::now();
    let error = cache.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // The default is one second.
    assert!((Duration::from_secs(3)..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
}

/// The recommended default is not there on every machine: a program runs without it.
#[tokio::test]
async fn a_program_without_redis_runs_on_l1() {
    let journal = Arc::<Journal>::default();
    let refused = format!("redis://127.0.0.1:{}", crate::servers::unused());
    let vars = [("CACHEKIT_REDIS_URL".to_owned(), refused)];
    let cache = CacheBuilder::from_vars(vars).observer(Arc::<Journal>::clone(&journal) as _).build().unwrap();
    for _ in 0..3 {
        assert_eq!(compute(&cache, 7).await, "user 7");
    }
    let is_failure = |note: &Note| matches!(note, Note::BackendFailed(_, ErrorKind::Unavailable));
    eventually("the failure is told", async || journal.count(is_failure) > 0).await;
    assert_eq!(journal.count(|note| matches!(note, Note::Computed(_))), 1);
}

#[tokio::test]
async fn a_wrong_password_degrades_and_is_told() {
    let server = Server::setup().password("open").start();
    let journal = Arc::<Journal>::default();
    let url = format!("redis://:wrong@{}", server.address());
    let cache = observed(&[("CACHEKIT_REDIS_URL", &url)], Arc::clone(&journal));
    assert_eq!(compute(&cache, 1).await, "user 1");
    assert!(journal.contains(&Note::BackendFailed(Operation::Get, ErrorKind::Denied)), "{:?}", journal.notes());
    assert_eq!(cache.ping().await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(cache.set(1, "ada".to_owned()).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(cache.invalidate(1).await.unwrap_err().kind(), ErrorKind::Denied);
}
