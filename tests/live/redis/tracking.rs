//! Tracking: what programs that are not ours change, L1 forgets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachekit::backends::Redis;
use cachekit::codec::Postcard;
use cachekit::intent::Production;
use cachekit::testing::conformance::{BackendOptions, bus};
use cachekit::{
    AnyBus, Backend, Bus, Cache, CacheBuilder, Codec, ErrorKind, Event, Intent, Key, Observer, RedisSettings,
};

use super::support::{MINUTE, with};
use crate::servers::{Cluster, Mood, PATIENCE, Proxy, SOON, Sentinels, Server, eventually};

/// More than any of this takes, though the machine is busy.
const SLACK: Duration = Duration::from_secs(10);

fn tracking(url: &str) -> Redis {
    with(url, |settings| settings.tracking = true)
}

fn builder(redis: Redis) -> CacheBuilder<Redis, Postcard, Production> {
    CacheBuilder::new().intent(Intent::Production).namespace("users").backend(redis)
}

async fn in_l1<C: Codec>(cache: &Cache<Redis, C>, key: &str) -> bool {
    cache.entry(key).skip_l2_read().get::<u32>().await.unwrap().is_some()
}

/// Sees to it that L1 holds the entry, and that no push of before is under way.
async fn hold<C: Codec>(cache: &Cache<Redis, C>, key: &str) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "L1 never keeps {key}");
        assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
        if in_l1(cache, key).await {
            return;
        }
    }
}

async fn forgotten<C: Codec>(cache: &Cache<Redis, C>, key: &str) -> Duration {
    let start = Instant::now();
    while in_l1(cache, key).await {
        assert!(start.elapsed() < SLACK, "L1 still has {key}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_programs_change_leaves_l1() {
    let server = Server::setup().args(["--hz", "100"]).start();
    let cache = builder(tracking(&server.url())).build().unwrap();
    let changes: [(&str, &[&str]); 6] = [
        ("SET", &["SET", "users:ada", "junk"]),
        ("DEL", &["DEL", "users:ada"]),
        ("SETRANGE", &["SETRANGE", "users:ada", "0", "x"]),
        ("RENAME", &["RENAME", "users:ada", "away"]),
        ("PEXPIRE", &["PEXPIRE", "users:ada", "1"]),
        ("FLUSHALL", &["FLUSHALL"]),
    ];
    for (name, command) in changes {
        cache.set("ada", 1u32).await.unwrap();
        hold(&cache, "ada").await;
        server.cli(command);
        println!("{name}: forgotten after {:?}", forgotten(&cache, "ada").await);
        assert_eq!(cache.get::<u32>("ada").await.unwrap(), None, "{name}");
    }
    // By the word of the server, and once more by the loss of the stream.
    assert!((1..=2).contains(&cache.stats().gaps), "a flush is everything, and nothing else is");
}

/// What goes first is what would expire first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_evicted_leaves_l1() {
    let server = Server::setup().args(["--maxmemory-policy", "volatile-ttl", "--maxmemory-samples", "64"]).start();
    let cache = builder(tracking(&server.url())).ttl(MINUTE).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
    let (megabytes, used) = ("x".repeat(4 << 20), server.cli(&["INFO", "memory"]));
    server.cli(&["SET", "filler", &megabytes, "EX", "600"]);
    let used: u64 = used.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok()).unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", &(used + (3 << 20)).to_string()]);
    println!("eviction: forgotten after {:?}", forgotten(&cache, "ada").await);
    assert_eq!(server.cli(&["EXISTS", "users:ada", "users::bus"]), "1", "the stream stays");
    assert_eq!((cache.get::<u32>("ada").await.unwrap(), cache.stats().gaps), (None, 0));
}

/// Where nobody can tell whether it is still heard, L1 is not believed for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_not_taken_for_heard() {
    let server = Server::start();
    let cache = builder(tracking(&server.url())).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    eventually("there is a gap", async || cache.stats().gaps >= 2).await;
    assert_eq!(cache.get::<u32>("ada").await.unwrap(), Some(1));
    server.cli(&["DEL", "users:ada"]);
    forgotten(&cache, "ada").await;
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
}

/// What becomes of an entry that expires where only the server knows when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_expires_early_leaves_l1() {
    let server = Server::setup().args(["--hz", "100"]).start();
    let cache = builder(tracking(&server.url())).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
    server.cli(&["PEXPIRE", "users:ada", "1000"]);
    forgotten(&cache, "ada").await;
    hold(&cache, "ada").await;
    eventually("it expires", async || server.says(&["DBSIZE"], "0") || !in_l1(&cache, "ada").await).await;
    forgotten(&cache, "ada").await;
    assert_eq!(cache.get::<u32>("ada").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_it_nobody_tells() {
    let server = Server::start();
    let cache = builder(Redis::from_url(&server.url()).unwrap()).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
    server.cli(&["DEL", "users:ada"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(in_l1(&cache, "ada").await);
}

/// A proxy that swallows what the server says unasked: nobody is told that tracking is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_death_is_noticed_and_nothing_old_is_served_after_it() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let cache = builder(tracking(&proxy.url())).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
    proxy.set(Mood::Pushless);
    let gone = async |when: &str| {
        server.cli(&["DEL", "users:ada"]);
        let start = Instant::now();
        while cache.get::<u32>("ada").await.unwrap().is_some() {
            assert!(start.elapsed() < SLACK, "served {when}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("{when}: served for {:?} more", start.elapsed());
    };
    gone("before it is noticed").await;
    assert!(cache.stats().gaps >= 1);
    for _ in 0..3 {
        cache.set("ada", 1u32).await.unwrap();
        gone("while nothing is pushed").await;
    }
    proxy.set(Mood::Open);
    cache.set("ada", 1u32).await.unwrap();
    // In between, each answer of the bus is a gap, and comes within 1.35 s.
    let gaps = || cache.stats().gaps;
    eventually("it is heard again", async || {
        let before = gaps();
        tokio::time::sleep(Duration::from_secs(2)).await;
        gaps() == before
    })
    .await;
    hold(&cache, "ada").await;
    let before = gaps();
    gone("when all is well again").await;
    assert_eq!(gaps(), before, "by its name, and not by a gap");
}

/// A bound on what L1 serves has the server asked for a sign of life sooner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_is_kept_though_the_server_is_not_heard() {
    const BOUND: Duration = Duration::from_secs(1);
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let cache = builder(tracking(&proxy.url())).max_staleness(BOUND).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
    proxy.set(Mood::Pushless);
    for round in 0..4 {
        server.cli(&["DEL", "users:ada"]);
        let start = Instant::now();
        let mut begun = Duration::ZERO;
        while cache.get::<u32>("ada").await.unwrap().is_some() {
            assert!(begun < 3 * BOUND, "round {round}: served after {begun:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            begun = start.elapsed();
        }
        println!("bound of {BOUND:?}: served for {begun:?} more");
        cache.set("ada", 1u32).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_is_a_gap_and_is_replaced() {
    let server = Server::start();
    let cache = builder(tracking(&server.url())).build().unwrap();
    for round in 1..4 {
        cache.set("ada", 1u32).await.unwrap();
        hold(&cache, "ada").await;
        let gaps = cache.stats().gaps;
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "0");
        server.cli(&["DEL", "users:ada"]);
        println!("killed: forgotten after {:?}", forgotten(&cache, "ada").await);
        assert!(cache.stats().gaps > gaps, "round {round}");
        assert_eq!(cache.get::<u32>("ada").await.unwrap(), None);
    }
}

/// The stream goes on, however much is written beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_hear_one_another_as_before() {
    let server = Server::start();
    let [here, there] = [(); 2].map(|()| builder(tracking(&server.url())).build().unwrap());
    for round in 0..20 {
        here.entry("ada").tags(["people"]).set(1u32).await.unwrap();
        hold(&there, "ada").await;
        match round % 3 {
            0 => here.invalidate("ada").await.unwrap(),
            1 => here.invalidate_tag("people").await.unwrap(),
            _ => here.invalidate_namespace().await.unwrap(),
        }
        forgotten(&there, "ada").await;
        assert_eq!(there.get::<u32>("ada").await.unwrap(), None, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_keeps_its_contract() {
    let server = Server::start();
    let redis = |tracking| {
        with(&server.url(), |settings| {
            (settings.timeout, settings.connect_timeout) = (MINUTE / 30, MINUTE / 2);
            settings.tracking = tracking;
        })
    };
    let sentences = async |redis: Redis| {
        let real = BackendOptions::real().patience(MINUTE);
        bus(async |name: Key| redis.bus(&name).expect("Redis has a bus"), real).await
    };
    assert_eq!(sentences(redis(true)).await, sentences(redis(false)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_a_second_is_all_it_costs_and_leaves_nothing() {
    let server = Server::start();
    let bus = tracking(&server.url()).bus(&Key::new("users", "k").unwrap().reserved("bus")).unwrap();
    let mut position = bus.receive(None, Duration::MAX).await.unwrap().position;
    let mut monitor = server.monitor();
    let listen = async |position: &mut cachekit::Position, wait, time| {
        let start = Instant::now();
        while start.elapsed() < time {
            let batch = bus.receive(Some(position), wait).await.unwrap();
            *position = batch.position;
        }
    };
    listen(&mut position, Duration::MAX, Duration::from_secs(3)).await;
    let beats = |lines: &[String]| lines.iter().filter(|line| line.contains("\"SET\"")).count();
    let heard = monitor.heard(&server);
    // A beat a second, a look at the stream for each wait of half a second, and no more.
    assert!((1..=5).contains(&beats(&heard)) && heard.len() <= 60, "{} beats, {} lines", beats(&heard), heard.len());
    listen(&mut position, Duration::from_millis(25), Duration::from_secs(1)).await;
    let heard = monitor.heard(&server);
    assert!((3..=60).contains(&beats(&heard)), "{} beats", beats(&heard));
    assert_eq!(server.cli(&["DBSIZE"]), "1", "the stream");
}

#[derive(Debug, Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push((*message).to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tracking_the_server_lacks_is_told_once_and_streams_go_on() {
    let old = Server::setup().args(["--rename-command", "HELLO", ""]).start();
    let denied = Server::setup().user("default", "on nopass ~* &* +@all -client|tracking").start();
    for (server, why) in [(old, "older than version 6"), (denied, "refuses CLIENT TRACKING")] {
        let warnings = Arc::new(Warnings::default());
        let cache = builder(tracking(&server.url())).observer(Arc::clone(&warnings) as _).build().unwrap();
        let other = builder(Redis::from_url(&server.url()).unwrap()).build().unwrap();
        other.set("ada", 1u32).await.unwrap();
        for _ in 0..3 {
            hold(&cache, "ada").await;
            other.set("ada", 1u32).await.unwrap();
            forgotten(&cache, "ada").await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        let said = warnings.0.lock().unwrap().clone();
        assert!(said.len() == 1 && said[0].contains(why) && said[0].contains("tracking"), "{said:?}");
        assert_eq!(cache.stats().gaps, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_the_master() {
    let group = Sentinels::start();
    let cache = builder(tracking(&group.url())).recovery_timeout(Duration::from_millis(200)).build().unwrap();
    cache.set("ada", 1u32).await.unwrap();
    hold(&cache, "ada").await;
    group.servers[0].kill();
    eventually("the new master is found", async || cache.set("ada", 1u32).await.is_ok()).await;
    hold(&cache, "ada").await;
    eventually("the old one is forgotten", async || {
        let gaps = cache.stats().gaps;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        gaps > 0 && cache.stats().gaps == gaps
    })
    .await;
    hold(&cache, "ada").await;
    group.servers[1].cli(&["DEL", "users:ada"]);
    println!("at the new master: forgotten after {:?}", forgotten(&cache, "ada").await);
}

#[tokio::test]
async fn a_cluster_is_refused() {
    let mut settings = RedisSettings::new("redis-cluster://127.0.0.1:1").unwrap();
    settings.tracking = true;
    let refused = Redis::new(settings).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("leave `tracking` out"), "{refused}");
}

/// What a read-mostly load pays for hearing of its own writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_writes_are_read_again_once() {
    const KEYS: u64 = 200;
    const READS: u64 = 20_000;
    let mut gets = Vec::new();
    for tracks in [false, true] {
        let server = Server::start();
        let redis = with(&server.url(), |settings| settings.tracking = tracks);
        let cache = builder(redis).build().unwrap();
        let read = async |key: u64| {
            let value = cache.get_or_compute(key, || async { Ok::<_, std::io::Error>(1u32) }).await.unwrap();
            assert_eq!(value, 1);
        };
        let mut rng = fastrand::Rng::with_seed(7);
        for call in 0..READS {
            if call % 100 == 99 {
                cache.set(rng.u64(..KEYS), 1u32).await.unwrap();
            }
            read(rng.u64(..KEYS)).await;
        }
        let (stats, asked) = (cache.stats(), server.calls("get") + server.calls("mget"));
        let ratio = stats.l1_hits as f64 / READS as f64;
        println!("tracking {tracks}: {:.2} % of {READS} reads from L1, {asked} reads of the server", ratio * 100.0);
        assert!(ratio > 0.9, "{ratio}");
        gets.push(asked);
    }
    // Each key is written once when it is computed, and 200 times in all by `set`.
    assert!(gets[1] <= gets[0] + 2 * (KEYS + READS / 100), "{gets:?}");
}

async fn short_waits(bus: AnyBus) -> Duration {
    let mut position = bus.receive(None, Duration::MAX).await.unwrap().position;
    let start = Instant::now();
    for _ in 0..40 {
        let batch = bus.receive(Some(&position), Duration::from_millis(25)).await.unwrap();
        assert!(batch.messages.is_empty() && !batch.gap);
        position = batch.position;
    }
    start.elapsed()
}

/// A bound of 100 ms on what L1 serves has the bus asked every 25 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_waits_are_kept_to_and_are_not_busy() {
    let (server, group, cluster) = (Server::start(), Sentinels::start(), Cluster::start());
    let ways = [server.url(), group.url(), cluster.url()].map(|url| (url, false));
    for (url, tracks) in ways.into_iter().chain([(server.url(), true), (group.url(), true)]) {
        let redis = with(&url, |settings| settings.tracking = tracks);
        let bus = redis.bus(&Key::new("users", "k").unwrap().reserved("bus")).unwrap();
        let took = short_waits(bus).await;
        println!("{url}, tracking {tracks}: 40 waits of 25 ms took {took:?}");
        // A wait of its own choice is half a second long.
        assert!((Duration::from_millis(900)..SOON).contains(&took), "{took:?}");
    }
}
