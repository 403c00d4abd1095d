//! Two processes without async over one Redis.

use std::env;
use std::io::stdin;

use cachekit::RedisSettings;
use cachekit::backends::Redis;

use super::*;
use crate::processes::{Child, say};
use crate::servers::Server;

const URL: &str = "CACHEKIT_TEST_BLOCKING_URL";
const KEYS: u32 = 50;

/// On a busy machine an operation takes as long as it takes.
fn cache(url: &str) -> blocking::Cache<Redis, Checked<Postcard>> {
    let mut settings = RedisSettings::new(url).unwrap();
    (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
    let builder = CacheBuilder::new().intent(Intent::Production).backend(Redis::new(settings).unwrap());
    builder.adaptive_timeout_enabled(false).build_blocking().unwrap()
}

/// How many keys this process computes, by two threads that both go through all.
fn compute_all(cache: &blocking::Cache<Redis, Checked<Postcard>>) -> usize {
    let computed = AtomicUsize::new(0);
    let through = || {
        for key in 0..KEYS {
            let compute = || {
                computed.fetch_add(1, SeqCst);
                thread::sleep(Duration::from_millis(2));
                Ok::<_, Broken>(key)
            };
            assert_eq!(cache.get_or_compute(key, compute).unwrap(), key);
        }
    };
    thread::scope(|scope| {
        scope.spawn(through);
        scope.spawn(through);
    });
    computed.load(SeqCst)
}

#[test]
fn two_processes_compute_each_key_once_and_forget_together() {
    let server = Server::start();
    let (sender, answers) = channel();
    let next = || answers.recv_timeout(PATIENCE).unwrap();
    let mut child = Child::start(module_path!(), &[(URL, server.url())], sender);
    let cache = cache(&server.url());
    cache.ping().unwrap();
    assert_eq!(next(), "ready");
    let own = compute_all(&cache);
    let others: usize = next().parse().unwrap();
    assert_eq!(own + others, KEYS as usize);
    cache.invalidate_namespace().unwrap();
    assert_eq!(next(), "forgotten");
    child.end();
}

/// Does nothing unless started by the test above.
#[test]
fn plays_its_role() {
    let Ok(url) = env::var(URL) else { return };
    // It ends with its parent.
    thread::spawn(|| stdin().lines().for_each(drop));
    let cache = cache(&url);
    cache.ping().unwrap();
    say("ready");
    say(&compute_all(&cache).to_string());
    wait_until("the other one forgets", || cache.entry(0u32).skip_l2_read().get::<u32>().unwrap().is_none());
    say("forgotten");
}
