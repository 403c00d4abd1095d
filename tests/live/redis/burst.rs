//! Many keys computed at once.

use cachekit::{CacheBuilder, Intent, Settings};

use super::support::{MINUTE, at_once, patient};
use crate::servers::{Reply, Server};
use harness::support::Broken;

const KEYS: usize = 10_000;

/// A busy machine is slow at this many operations, so what depends on the time that they take is off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_keys_that_are_computed_at_once_are_all_stored() {
    let server = Server::start();
    let redis = patient(&server.url());
    let mut settings = Settings::default();
    (settings.lease_hold, settings.queue_wait) = (Some(MINUTE), Some(MINUTE / 2));
    let builder = CacheBuilder::new().settings(settings).intent(Intent::Production).namespace("burst").backend(redis);
    let cache = builder.adaptive_timeout_enabled(false).build().unwrap();
    let calls = cache.clone();
    let answers = at_once(KEYS, move |key| {
        let cache = calls.clone();
        async move { cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap() }
    });
    assert_eq!(answers.await.iter().sum::<usize>(), KEYS * (KEYS - 1) / 2);
    cache.close(MINUTE).await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.refused, stats.backend_failures, stats.fenced), (0, 0, 0));
    let Reply::List(keys) = server.call(&["KEYS", "burst:*"]) else { panic!("the keys of the namespace") };
    let is_entry = |key: &Reply| matches!(key, Reply::Text(key) if key[6..].iter().all(u8::is_ascii_digit));
    assert_eq!(keys.iter().filter(|key| is_entry(key)).count(), KEYS);
}
