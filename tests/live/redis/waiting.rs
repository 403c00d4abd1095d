//! Processes that wait for the lease of another are told of its end by the bus.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, Intent, LeaseToken, backends::Redis};
use tokio::time::{Instant, sleep};

use super::support::{MINUTE, key, patient};
use crate::servers::{Cluster, Server, eventually};
use harness::support::{Broken, leased};

type Users = Cache<Redis, Checked<Postcard>>;

const PROCESSES: usize = 4;
/// So long that a process which asked again and again would have asked 30 times.
const LONG: Duration = Duration::from_secs(1);

/// A process that listens.
async fn process(url: &str) -> Users {
    let builder =
        CacheBuilder::new().intent(Intent::Production).namespace("users").codec(Postcard).backend(patient(url));
    let cache = builder.adaptive_timeout_enabled(false).build().unwrap();
    cache.set("first", 1u32).await.unwrap();
    cache
}

/// How often the servers were asked for a lease, a refusal or what came of it, and how many messages they were given.
fn asked(servers: &[Server]) -> (u64, u64) {
    let sum = |name| servers.iter().map(|server| server.calls(name)).sum();
    (sum("evalsha"), sum("xadd"))
}

/// Asks from all processes at once for what takes a while to compute: how long the last answer took, how often it was
/// computed, and what the servers were asked for until then.
async fn ask_all(processes: &[Users], id: u32) -> (Duration, usize) {
    let (computed, last) = (Arc::<AtomicUsize>::default(), Arc::new(Mutex::new(Duration::ZERO)));
    let begun = Instant::now();
    let callers: Vec<_> = (0..100)
        .map(|caller| {
            let (cache, computed, last) =
                (processes[caller % processes.len()].clone(), Arc::clone(&computed), Arc::clone(&last));
            tokio::spawn(async move {
                let compute = move || async move {
                    computed.fetch_add(1, SeqCst);
                    sleep(LONG).await;
                    Ok::<_, Broken>(id)
                };
                assert_eq!(cache.get_or_compute(id, compute).await.unwrap(), id);
                let mut last = last.lock().unwrap();
                *last = begun.elapsed().max(*last);
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let last = *last.lock().unwrap();
    (last, computed.load(SeqCst))
}

async fn waiters_ask_seldom_and_are_told(url: &str, servers: &[Server]) {
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(process(url).await);
    }
    eventually("all listen", async || {
        // The first word of another process is heard.
        processes[0].set("first", 2u32).await.unwrap();
        let mut heard = 0;
        for process in &processes {
            heard += usize::from(process.get::<u32>("first").await.unwrap() == Some(2));
        }
        heard == PROCESSES
    })
    .await;
    ask_all(&processes, 1).await;
    let before = asked(servers);
    let (took, computed) = ask_all(&processes, 2).await;
    let after = asked(servers);
    let (questions, messages) = (after.0 - before.0, after.1 - before.1);
    println!("the last of {PROCESSES} processes took {took:?}, {questions} scripts, {messages} messages");
    assert_eq!((computed, messages), (1, 1), "those who wait are told by one message");
    // Each that waits asks at first, each 50 ms, and then after half of the time so far; the holder renews its lease.
    assert!(questions <= 45, "{questions} scripts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_processes_ask_seldom_and_are_told_of_the_fill() {
    let server = Server::start();
    let url = server.url();
    waiters_ask_seldom_and_are_told(&url, &[server]).await;
    let cluster = Cluster::start();
    let url = cluster.url();
    waiters_ask_seldom_and_are_told(&url, &cluster.nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miss_that_no_process_waits_for_is_two_scripts_and_no_message() {
    let server = Server::start();
    let cache = process(&server.url()).await;
    cache.get_or_compute("known", || async { Ok::<_, Broken>(1u32) }).await.unwrap();
    eventually("it is stored", async || cache.pending() == 0).await;
    let names = ["evalsha", "get", "set", "del", "xadd", "pexpire"];
    let calls = || names.map(|name| server.calls(name));
    let before = calls();
    for id in 0..50u32 {
        cache.get_or_compute(id, move || async move { Ok::<_, Broken>(id) }).await.unwrap();
    }
    eventually("all is stored", async || cache.pending() == 0).await;
    let after = calls();
    let asked: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    // A lease looks for a value, and sets the lock; a fill looks at the lock, sets the value, and removes the lock.
    assert_eq!(asked, [100, 100, 100, 50, 0, 0], "{names:?}");
}

/// The mark of those who wait outlasts neither the lease nor its own time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mark_of_those_who_wait_goes_with_the_lease() {
    let server = Server::start();
    let redis = patient(&server.url());
    for long in [false, true] {
        let token = leased(&redis, &key(1), MINUTE).await.unwrap().unwrap();
        assert_eq!(leased(&redis, &key(1), MINUTE).await.unwrap(), None);
        assert_eq!(server.cli(&["EXISTS", "users:1:wait"]), "1");
        let left: u64 = server.cli(&["PTTL", "users:1:wait"]).parse().unwrap();
        assert!(left <= 60_000, "{left}");
        if long {
            assert!(redis.fill(&key(1), vec![7; 10_000].into(), MINUTE, token).await.unwrap());
        } else {
            redis.release(&key(1), token).await.unwrap();
        }
        assert_eq!(server.cli(&["EXISTS", "users:1:wait", "users:1:lock", "users:1:fill"]), "0");
    }
    assert!(!redis.fill(&key(2), "late".into(), MINUTE, LeaseToken::random()).await.unwrap());
}
