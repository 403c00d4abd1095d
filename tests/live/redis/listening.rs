//! How caches listen over Redis: many by one connection, what wakes them, and what they say when they cannot.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use cachekit::backends::{File, Memcached, Redis};
use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, FileLimits, Intent, MemcachedSettings};
use tokio::time::sleep;

use super::support::{MINUTE, patient, with};
use crate::servers::{self, Mood, PATIENCE, Proxy, Server, eventually, silent};
use harness::support::{Broken, Journal, Note, settle};

type Pages<B> = Cache<B, Checked<Postcard>>;

fn builder<B: Backend>(backend: B, name: &str) -> CacheBuilder<B, Postcard, cachekit::intent::Production> {
    let builder = CacheBuilder::new().intent(Intent::Production).namespace(name).backend(backend);
    builder.swr_enabled(false).adaptive_timeout_enabled(false)
}

fn pages<B: Backend>(backend: B, name: &str) -> Pages<B> {
    builder(backend, name).build().unwrap()
}

/// What L1 holds, whatever the server has.
async fn in_l1<B: Backend>(cache: &Pages<B>) -> Option<u32> {
    cache.entry("home").skip_l2_read().get().await.unwrap()
}

const CACHES: usize = 20;

async fn filled(redis: &Redis, count: usize) -> Vec<Pages<Redis>> {
    let caches: Vec<_> = (0..count).map(|id| pages(redis.clone(), &format!("n{id}"))).collect();
    for cache in &caches {
        cache.set("home", 1u32).await.unwrap();
        assert_eq!(in_l1(cache).await, Some(1));
    }
    caches
}

/// All commands that the server was given, but those that tests ask with.
fn commands(server: &Server) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let is_own = matches!(name, "info" | "client|list");
        (!is_own).then(|| rest.split(',').next()?.parse::<u64>().ok())?
    };
    stats.lines().filter_map(calls).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_of_any_number_listen_over_one_quiet_connection() {
    for count in [1, 20, 100] {
        let server = Server::start();
        let caches = filled(&patient(&server.url()), count).await;
        sleep(Duration::from_secs(2)).await;
        assert!(server.connections() <= 3, "{} connections of {count} caches", server.connections());
        let (before, begun) = (commands(&server), Instant::now());
        sleep(Duration::from_secs(10)).await;
        let (asked, seconds) = (commands(&server) - before, begun.elapsed().as_secs());
        assert!((1..=seconds).contains(&asked), "{asked} commands of {count} caches in {seconds} s");
        for cache in &caches {
            // On a busy machine it may not be at this moment; what L1 has dropped does not come back.
            eventually("it is believed", async || in_l1(cache).await == Some(1)).await;
            assert_eq!(cache.stats().gaps, 0);
        }
    }
}

/// How long each of every `step` caches takes to hear that another process has changed what it holds, the shortest first,
/// and how long the server took to answer meanwhile, likewise.
async fn times_until_heard(server: &Server, caches: &[Pages<Redis>], step: usize) -> [Vec<Duration>; 2] {
    let (other, mut times, mut answers) = (patient(&server.url()), Vec::new(), Vec::new());
    for (id, cache) in caches.iter().enumerate().step_by(step) {
        let neighbour = pages(other.clone(), &format!("n{id}"));
        let begun = Instant::now();
        neighbour.ping().await.unwrap();
        answers.push(begun.elapsed());
        neighbour.set("home", 2u32).await.unwrap();
        let begun = Instant::now();
        while in_l1(cache).await.is_some() {
            assert!(begun.elapsed() < PATIENCE);
            sleep(Duration::from_millis(1)).await;
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    answers.sort_unstable();
    [times, answers]
}

/// How long a change by another process takes to be heard, at best: the bus is not to blame for a busy machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_among_a_hundred_caches_is_heard_at_once() {
    let server = Server::start();
    let caches = filled(&patient(&server.url()), 100).await;
    let [times, answers] = times_until_heard(&server, &caches, 5).await;
    assert!(times[0] < Duration::from_millis(50) + answers[0] * 10, "{times:?}, {answers:?}");
    let gaps: u64 = caches.iter().map(|cache| cache.stats().gaps).sum();
    assert_eq!(gaps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_hears_at_once() {
    let server = Server::start();
    let caches = filled(&patient(&server.url()), CACHES).await;
    let [times, answers] = times_until_heard(&server, &caches, 1).await;
    // A wait for news takes 1.35 s: nobody hears by its end.
    assert!(times[CACHES / 2] < Duration::from_millis(400) + answers[CACHES / 2] * 10, "{times:?}, {answers:?}");
    let gaps: u64 = caches.iter().map(|cache| cache.stats().gaps).sum();
    assert_eq!(gaps, 0);
}

/// A thread with a runtime that is driven while `work` runs, and parked then until the sender is dropped.
fn parked(work: impl Future<Output = ()> + Send + 'static) -> mpsc::Sender<()> {
    let ((park, parked), (tell, told)) = (mpsc::channel(), mpsc::channel());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work);
        tell.send(()).unwrap();
        assert!(parked.recv().is_err());
    });
    told.recv().unwrap();
    park
}

/// The task that reads for all is on a runtime that nobody drives; one that is takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shares_the_reader_with_a_parked_runtime_goes_on_hearing() {
    let server = Server::start();
    let redis = with(&server.url(), |settings| settings.timeout = Duration::from_secs(1));
    let first = pages(redis.clone(), "first");
    let second = builder(redis, "second").breaker_enabled(false).build().unwrap();
    let parked = parked({
        let first = first.clone();
        async move {
            first.set("home", 1u32).await.unwrap();
            settle().await;
        }
    });
    // The connection for commands is of the parked runtime, too, until an operation finds that out.
    eventually("it is stored", async || second.set("home", 1u32).await.is_ok()).await;
    let other = pages(patient(&server.url()), "second");
    for value in 2..5u32 {
        eventually("it is read", async || second.get::<u32>("home").await.is_ok_and(|found| found == Some(value - 1)))
            .await;
        other.set("home", value).await.unwrap();
        eventually("it is heard", async || in_l1(&second).await.is_none()).await;
    }
    drop(parked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_user_without_bus_commands_is_told_what_to_grant() {
    let server = Server::setup().user("ada", "on >secret ~* +@all -xread").start();
    let journal = Arc::<Journal>::default();
    let redis = patient(&format!("redis://ada:secret@{}/0", server.address()));
    let cache = builder(redis, "pages").observer(Arc::<Journal>::clone(&journal)).build().unwrap();
    cache.set("home", 1u32).await.unwrap();
    let warnings = || -> Vec<String> {
        let warning = |note| if let Note::Warning(text) = note { Some(text) } else { None };
        journal.notes().into_iter().filter_map(warning).collect()
    };
    eventually("it is told", async || !warnings().is_empty()).await;
    sleep(Duration::from_secs(3)).await;
    let told = warnings();
    assert!(told.len() == 1 && told[0].contains("XREAD") && told[0].contains("+xread"), "{told:?}");
    assert!(!told[0].contains("secret") && !told[0].contains("ada"), "{told:?}");
    pages(patient(&server.url()), "pages").set("home", 2u32).await.unwrap();
    eventually("what changed is found", async || cache.get::<u32>("home").await.unwrap() == Some(2)).await;
}

/// The first values that a process stores, over ways of all lengths.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_value_of_a_process_is_stored_however_slow_the_way_is() {
    let (server, memcached) = (Server::start(), servers::Memcached::start());
    let dir = tempfile::tempdir().unwrap();
    for trip in [0, 30, 60, 120, 250, 500] {
        let proxy = Proxy::of(server.port());
        proxy.set(Mood::Slow(Duration::from_millis(trip / 2)));
        let memcached = Memcached::new(MemcachedSettings::new([memcached.address()])).unwrap();
        let files = File::open(dir.path(), FileLimits::default()).unwrap();
        let bus = || patient(&proxy.url());
        let over_redis = || builder(bus(), &format!("redis{trip}"));
        let over_memcached = || builder(memcached.clone(), &format!("m{trip}")).bus_from(bus());
        let over_files = || builder(files.clone(), &format!("f{trip}")).bus_from(bus());
        tokio::join!(
            first_values([over_redis(), over_redis()].map(slow), trip),
            first_values([over_memcached(), over_memcached()].map(slow), trip),
            first_values([over_files(), over_files()].map(slow), trip),
        );
    }
}

fn slow<B: Backend>(builder: CacheBuilder<B, Postcard, cachekit::intent::Production>) -> Pages<B> {
    let mut settings = cachekit::Settings::default();
    settings.operation_timeout = Some(MINUTE);
    builder.settings(settings).build().unwrap()
}

/// Stores by the one, and reads by both.
async fn first_values<B: Backend>([one, two]: [Pages<B>; 2], trip: u64) {
    one.set("plain", 1u32).await.unwrap();
    one.entry("tagged").tags(["t"]).set(2u32).await.unwrap();
    let fill = one.entry("filled").wait_for_write(true);
    fill.get_or_compute(|| async { Ok::<_, Broken>(3u32) }).await.unwrap();
    for cache in [&one, &two] {
        for (key, value) in [("plain", 1), ("tagged", 2), ("filled", 3)] {
            let found = cache.entry(key).skip_l1_read().get::<u32>().await.unwrap();
            assert_eq!(found, Some(value), "{key} over a way of {trip} ms");
        }
    }
}

/// It accepts connections and never says a word: the time of a command is the limit, and not that of a connect.
#[tokio::test]
async fn a_handshake_that_is_not_answered_takes_as_long_as_a_command() {
    let (_listener, address) = silent();
    let redis = with(&format!("redis://{address}"), |settings| settings.connect_timeout = MINUTE / 2);
    let begun = Instant::now();
    let error = redis.ping().await.unwrap_err();
    assert_eq!(error.kind(), cachekit::ErrorKind::Timeout);
    assert!(error.to_string().contains("did not answer within 1s"), "{error}");
    assert!(begun.elapsed() < MINUTE / 4, "{:?}", begun.elapsed());
}
