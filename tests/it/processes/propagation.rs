//! How long a change takes from one process to the L1 of another.

use std::env;
use std::io::stdin;
use std::sync::mpsc::channel;
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::{CacheBuilder, Intent};

use super::child::{Child, now, say};
use crate::servers::{PATIENCE, Server};

const URL: &str = "CACHEKIT_TEST_PROPAGATION_URL";
const KEYS: u32 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_reaches_another_process_soon() {
    let server = Server::start();
    let (sender, answers) = channel();
    let _child = Child::start(module_path!(), &[(URL, server.url())], sender);
    let next = || answers.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next(), "ready");
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages");
    let cache = builder.backend(Redis::from_url(&server.url()).unwrap()).build().unwrap();
    cache.ping().await.unwrap();
    let mut latencies = Vec::new();
    for key in 0..KEYS {
        let begun = now();
        cache.invalidate(key).await.unwrap();
        let heard: u64 = next().parse().unwrap();
        latencies.push(Duration::from_micros(heard.saturating_sub(begun)));
    }
    latencies.sort_unstable();
    let [half, most] = [50, 99].map(|percent| latencies[latencies.len() * percent / 100]);
    println!("{KEYS} invalidations reached another process: p50 {half:?}, p99 {most:?}, most {:?}", latencies.last());
    assert!(half < Duration::from_millis(500) && most < Duration::from_secs(5), "{half:?}, {most:?}");
}

/// Does nothing unless started by the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_its_role() {
    let Ok(url) = env::var(URL) else { return };
    // It ends with its parent.
    std::thread::spawn(|| stdin().lines().for_each(drop));
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages");
    let cache = builder.backend(Redis::from_url(&url).unwrap()).build().unwrap();
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
