//! A cache whose server dies, hangs and returns: nobody but the observers may notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Cache, CacheBuilder, Intent};
use tokio::task::JoinSet;

use super::support::{at_once, hasty, patient};
use crate::servers::{SOON, Server, eventually};
use harness::support::{Journal, Note};

const KEYS: usize = 200;

/// A cache without L1, and what its computations saw.
#[derive(Clone)]
struct Watched {
    cache: Cache<Redis, Checked<Postcard>>,
    journal: Arc<Journal>,
    running: Arc<[AtomicUsize; KEYS]>,
    overlaps: Arc<AtomicUsize>,
}

impl Watched {
    fn new(redis: Redis) -> Self {
        let builder = CacheBuilder::new().intent(Intent::Production).backend(redis).namespace("users").stats(true);
        let builder = builder.recovery_timeout(Duration::from_millis(250)).adaptive_timeout_enabled(false);
        let journal = Arc::<Journal>::default();
        let observer = Arc::<Journal>::clone(&journal) as _;
        let cache = builder.l1_enabled(false).swr_enabled(false).observer(observer).build().unwrap();
        Self { cache, journal, running: Arc::new([const { AtomicUsize::new(0) }; KEYS]), overlaps: Arc::default() }
    }

    /// Asks for a key, and fails the test on an error or on another key's value.
    async fn ask(&self, id: usize) {
        let (running, overlaps) = (Arc::clone(&self.running), Arc::clone(&self.overlaps));
        let value: String = self
            .cache
            .get_or_compute(id, move || async move {
                overlaps.fetch_add(running[id].fetch_add(1, SeqCst), SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                running[id].fetch_sub(1, SeqCst);
                Ok::<_, std::io::Error>(format!("user {id}"))
            })
            .await
            .unwrap();
        assert_eq!(value, format!("user {id}"));
    }

    /// Sixty-four tasks that ask until `ended`.
    fn crowd(&self, ended: &Arc<AtomicBool>) -> JoinSet<usize> {
        let mut crowd = JoinSet::new();
        for _ in 0..64 {
            let (watched, ended) = (self.clone(), Arc::clone(ended));
            crowd.spawn(async move {
                let mut answers = 0;
                while !ended.load(SeqCst) {
                    watched.ask(fastrand::usize(..KEYS)).await;
                    answers += 1;
                }
                answers
            });
        }
        crowd
    }

    fn l2_hits(&self) -> u64 {
        self.cache.stats().l2_hits
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_is_missed_by_nobody() {
    let server = Server::start();
    let watched = Watched::new(patient(&server.url()));
    let ended = Arc::new(AtomicBool::new(false));
    let crowd = watched.crowd(&ended);
    eventually("the cache is warm", async || watched.l2_hits() > 2_000).await;

    server.kill();
    let killed = Instant::now();
    let computations = watched.cache.stats().computations;
    eventually("answers go on", async || watched.cache.stats().computations > computations + 500).await;
    eventually("the outage has lasted", async || killed.elapsed() > Duration::from_secs(2)).await;
    assert!(watched.cache.stats().backend_failures > 0);
    assert_eq!(watched.overlaps.load(SeqCst), 0, "computations of one key at once");

    let hits = watched.l2_hits();
    server.restart();
    let back = Instant::now();
    eventually("the server is used again", async || watched.l2_hits() > hits).await;
    // A second at most on a machine with nothing else to do, and half a minute without the setting.
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    eventually("the cache is warm again", async || watched.l2_hits() > hits + 2_000).await;

    ended.store(true, SeqCst);
    assert!(crowd.join_all().await.iter().all(|answers| *answers > 0));
    // Another run of the server is a gap, after which nobody may join what began before it: as many as there are tasks.
    let voided = 64 * watched.cache.stats().gaps as usize;
    assert!(watched.overlaps.load(SeqCst) <= voided, "computations of one key at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_delays_answers_and_prevents_none() {
    let server = Server::start();
    let watched = Watched::new(hasty(&server.url()));
    for id in 0..8 {
        watched.ask(id).await;
    }
    server.pause();
    let ask = |id| {
        let watched = watched.clone();
        async move {
            let start = Instant::now();
            watched.ask(id).await;
            start.elapsed()
        }
    };
    let delays = at_once(64, ask).await;
    // The read fails once, and the write is spared.
    assert!(delays.iter().all(|delay| *delay < SOON), "{delays:?}");
    server.resume();
    eventually("the server is used again", async || {
        watched.ask(1).await;
        watched.l2_hits() > 0
    })
    .await;
    assert_eq!(watched.overlaps.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_clients_are_no_failures() {
    let server = Server::start();
    let watched = Watched::new(patient(&server.url()));
    let ended = Arc::new(AtomicBool::new(false));
    let crowd = watched.crowd(&ended);
    for round in 1..=5 {
        eventually("the cache is used", async || watched.l2_hits() > round * 500).await;
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "0");
    }
    let hits = watched.l2_hits();
    eventually("the cache is still used", async || watched.l2_hits() > hits + 500).await;
    ended.store(true, SeqCst);
    crowd.join_all().await;
    assert_eq!(watched.journal.count(|note| matches!(note, Note::BackendFailed(..))), 0);
}

/// Who holds the lease in another process may be dead: its lock ends, and until then nobody waits for longer than the
/// setting says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_of_a_dead_process_ends() {
    let server = Server::start();
    let watched = Watched::new(patient(&server.url()));
    assert_eq!(server.cli(&["SET", "users:5:lock", "of the dead", "PX", "300"]), "OK");
    let start = Instant::now();
    watched.ask(5).await;
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    assert_eq!(watched.cache.stats().computations, 1);
    eventually("the value is shared", async || server.cli(&["EXISTS", "users:5"]) == "1").await;
}
