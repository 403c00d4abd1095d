//! How long a change takes from one process to the L1 of another.

use std::env;
use std::io::stdin;
use std::sync::mpsc::channel;
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Cache, CacheBuilder, Intent, RedisSettings};

use super::child::{Child, now, say};
use crate::servers::{PATIENCE, Server};

const URL: &str = "CACHEKIT_TEST_PROPAGATION_URL";
const KEYS: u32 = 1_000;

/// On a busy machine an operation takes as long as it takes.
fn cache(url: &str) -> Cache<Redis, Checked<Postcard>> {
    let mut settings = RedisSettings::new(url).unwrap();
    (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").codec(Postcard);
    builder.backend(Redis::new(settings).unwrap()).adaptive_timeout_enabled(false).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_reaches_another_process_soon() {
    let server = Server::start();
    let (sender, answers) = channel();
    let _child = Child::start(module_path!(), &[(URL, server.url())], sender);
    let next = || answers.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next(), "ready");
    let cache = cache(&server.url());
    let (mut latencies, mut answers) = (Vec::new(), Vec::new());
    for key in 0..KEYS {
        let asked = now();
        cache.ping().await.unwrap();
        let begun = now();
        answers.push(Duration::from_micros(begun - asked));
        cache.invalidate(key).await.unwrap();
        let heard: u64 = next().parse().unwrap();
        latencies.push(Duration::from_micros(heard.saturating_sub(begun)));
    }
    latencies.sort_unstable();
    answers.sort_unstable();
    let [half, most] = [50, 99].map(|percent| latencies[latencies.len() * percent / 100]);
    // The yardstick for a busy machine.
    let answer = answers[answers.len() / 2];
    println!("{KEYS} invalidations reached another process: p50 {half:?}, p99 {most:?}, most {:?}", latencies.last());
    println!("the server answered within {answer:?}");
    assert!(half < Duration::from_millis(500) + answer * 10, "{half:?}, {answer:?}");
    assert!(most < Duration::from_secs(5) + answer * 100, "{most:?}, {answer:?}");
}

/// Does nothing unless started by the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_its_role() {
    let Ok(url) = env::var(URL) else { return };
    // It ends with its parent.
    std::thread::spawn(|| stdin().lines().for_each(drop));
    let cache = cache(&url);
    for key in 0..KEYS {
        cache.set(key, key).await.unwrap();
    }
    say("ready");
    for key in 0..KEYS {
        while cache.entry(key).skip_l2_read().get::<u32>().await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        say(&now().to_string());
    }
}
