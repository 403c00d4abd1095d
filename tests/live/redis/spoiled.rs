//! The stream of the bus is lost, in whatever way: a gap to all who read it, and a new stream at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{BreakerState, Cache, CacheBuilder, ErrorKind, Event, Intent, Observer, Operation};
use tokio::time::sleep;

use super::support::{patient, with};
use crate::servers::{Mood, Proxy, Server, eventually};

/// What must not happen, or only once.
#[derive(Debug, Default)]
struct Trouble {
    opened: AtomicUsize,
    unpublished: AtomicUsize,
}

impl Observer for Trouble {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Breaker { state: BreakerState::Open, .. } => self.opened.fetch_add(1, SeqCst),
            Event::BackendFailed { operation: Operation::Publish, .. } => self.unpublished.fetch_add(1, SeqCst),
            _ => 0,
        };
    }
}

/// A cache as in a process of its own.
struct Process {
    cache: Cache<Redis, Checked<Postcard>>,
    trouble: Arc<Trouble>,
}

impl Process {
    fn start(redis: Redis, namespace: &str) -> Self {
        let trouble = Arc::<Trouble>::default();
        let builder = CacheBuilder::new().intent(Intent::Production).namespace(namespace).backend(redis);
        let builder = builder.swr_enabled(false).adaptive_timeout_enabled(false).stats(true);
        let cache = builder.observer(Arc::<Trouble>::clone(&trouble) as _).build().unwrap();
        Self { cache, trouble }
    }

    async fn sees(&self, value: u32, when: &str) {
        eventually(when, async || self.cache.get("home").await.unwrap() == Some(value)).await;
    }

    async fn in_l1(&self) -> Option<u32> {
        self.cache.entry("home").skip_l2_read().get().await.unwrap()
    }

    fn gaps(&self) -> u64 {
        self.cache.stats().gaps
    }
}

/// Processes that all hold one value, and have heard that it was set.
async fn holding(server: &Server, namespace: &str) -> [Process; 3] {
    let processes = [(); 3].map(|()| Process::start(patient(&server.url()), namespace));
    processes[0].cache.set("home", 1u32).await.unwrap();
    for process in &processes {
        process.sees(1, "it is stored").await;
    }
    let bus = format!("{namespace}::bus");
    eventually("all listen", async || server.cli(&["CLIENT", "LIST"]).matches("cmd=xread").count() >= 3).await;
    assert_eq!(server.cli(&["TYPE", &bus]), "stream");
    processes
}

/// The last id there can be.
const LAST: &str = "18446744073709551615-18446744073709551615";

/// What can become of a stream, as scripts: `KEYS[1]` is its name.
const LOSSES: [(&str, &str); 16] = [
    ("its ids are used up", "redis.call('XADD', KEYS[1], ARGV[1], 'hello', '')"),
    ("and the entry is removed", "redis.call('XADD', KEYS[1], ARGV[1], 'm', '') redis.call('XDEL', KEYS[1], ARGV[1])"),
    ("its last id is moved to the end", "redis.call('XSETID', KEYS[1], ARGV[1])"),
    ("a string", "redis.call('SET', KEYS[1], 'x')"),
    ("a list", "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'x')"),
    ("a hash", "redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'm', 'x')"),
    (
        "a set that ends",
        "redis.call('DEL', KEYS[1]) redis.call('SADD', KEYS[1], 'x') redis.call('EXPIRE', KEYS[1], 60)",
    ),
    ("removed", "redis.call('DEL', KEYS[1])"),
    ("renamed", "redis.call('RENAME', KEYS[1], KEYS[1] .. ':away')"),
    ("it starts anew", "redis.call('DEL', KEYS[1]) redis.call('XADD', KEYS[1], '*', 'hello', '')"),
    ("its ids go back", "redis.call('DEL', KEYS[1]) redis.call('XADD', KEYS[1], '1-1', 'hello', '')"),
    ("emptied", "redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)"),
    (
        "the last entry is removed",
        "redis.call('XDEL', KEYS[1], redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1])",
    ),
    ("an entry of another program", "redis.call('XADD', KEYS[1], '*', 'event', 'login')"),
    ("a message that is none", "redis.call('XADD', KEYS[1], '*', 'm', '\\3x')"),
    ("an empty message", "redis.call('XADD', KEYS[1], '*', 'm', '')"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_stream_is_one_gap_to_all_processes_and_they_go_on() {
    let server = Server::start();
    for (index, (loss, script)) in LOSSES.into_iter().enumerate() {
        let namespace = format!("n{index}");
        let processes = holding(&server, &namespace).await;
        server.call(&["EVAL", script, "1", &format!("{namespace}::bus"), LAST]);
        // The first who appends begins a new stream.
        processes[1].cache.set("home", 2u32).await.unwrap();
        for process in &processes {
            process.sees(2, loss).await;
        }
        eventually(loss, async || processes.iter().all(|process| process.gaps() == 1)).await;
        for (value, writer) in [(3, 2), (4, 0), (5, 1)] {
            processes[writer].cache.set("home", value).await.unwrap();
            for process in &processes {
                process.sees(value, loss).await;
            }
        }
        processes[0].cache.invalidate("home").await.unwrap();
        for process in &processes[1..] {
            eventually(loss, async || process.in_l1().await.is_none()).await;
        }
        for Process { cache, trouble } in &processes {
            assert_eq!((cache.stats().gaps, trouble.opened.load(SeqCst)), (1, 0), "{loss}");
            assert_eq!(trouble.unpublished.load(SeqCst), 0, "{loss}");
        }
    }
}

/// A reader that waits behind an id of the future is not woken by what is added to a new stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_behind_a_future_stream_id_hears_a_new_stream_in_time() {
    let server = Server::start();
    let processes = holding(&server, "pages").await;
    server.cli(&["XADD", "pages::bus", "99999999999999-7", "hello", ""]);
    processes[0].cache.set("home", 2u32).await.unwrap();
    for process in &processes {
        process.sees(2, "the stream goes on from there").await;
        assert_eq!(process.gaps(), 0);
    }
    server.cli(&["DEL", "pages::bus"]);
    processes[0].cache.set("home", 3u32).await.unwrap();
    let begun = tokio::time::Instant::now();
    for process in &processes {
        process.sees(3, "it begins before").await;
        eventually("that is a gap", async || process.gaps() == 1).await;
    }
    // A wait of a reader is at most 1.35 s long; four of them would be more than L1 is believed.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    processes[1].cache.set("home", 4u32).await.unwrap();
    processes[0].sees(4, "it is heard again").await;
}

/// Messages that were removed while a process was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_missing_from_the_middle_or_the_end_are_a_gap() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    let near = Process::start(patient(&server.url()), "pages");
    let far = Process::start(with(&proxy.url(), |settings| settings.timeout = Duration::from_secs(2)), "pages");
    for (round, removed) in
        ["redis.call('XDEL', KEYS[1], all[#all - 1][1])", "redis.call('XDEL', KEYS[1], all[#all][1])"]
            .into_iter()
            .enumerate()
    {
        near.cache.set("home", 1u32).await.unwrap();
        far.sees(1, "it is stored").await;
        let gaps = far.gaps();
        proxy.set(Mood::Closed);
        proxy.cut();
        near.cache.set("home", 2u32).await.unwrap();
        near.cache.set("other", 2u32).await.unwrap();
        let script = format!("local all = redis.call('XRANGE', KEYS[1], '-', '+') {removed}");
        server.call(&["EVAL", &script, "1", "pages::bus"]);
        proxy.set(Mood::Open);
        eventually("it is told of the gap", async || far.gaps() == gaps + 1).await;
        far.sees(2, "what it holds is asked for anew").await;
        near.cache.set("home", 3u32 + round as u32).await.unwrap();
        far.sees(3 + round as u32, "it goes on").await;
        assert_eq!((far.gaps(), near.gaps() <= 1 + round as u64), (gaps + 1, true));
    }
}

/// The caches of a program listen by one connection: what one of them lost, the others do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_one_namespace_keeps_no_other_from_being_heard() {
    let server = Server::start();
    let redis = patient(&server.url());
    let here = ["a", "b", "c"].map(|name| Process::start(redis.clone(), name));
    let there = ["a", "b", "c"].map(|name| Process::start(patient(&server.url()), name));
    for (one, other) in here.iter().zip(&there) {
        one.cache.set("home", 1u32).await.unwrap();
        other.sees(1, "it is stored").await;
    }
    server.cli(&["SET", "b::bus", "x"]);
    for value in 2..6u32 {
        for (one, other) in here.iter().zip(&there) {
            other.cache.set("home", value).await.unwrap();
            one.sees(value, "it is heard").await;
        }
    }
    eventually("the one is told", async || here[1].gaps() == 1 && there[1].gaps() == 1).await;
    for index in [0, 2] {
        assert_eq!((here[index].gaps(), there[index].gaps()), (0, 0));
    }
    assert_eq!(server.cli(&["TYPE", "b::bus"]), "stream");
}

/// Of an entry that is longer than a message may be, no reader takes a byte, and none reads on behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_entry_longer_than_a_message_goes_with_the_stream() {
    let server = Server::start();
    for (index, length) in ["1025", "100000", "3000000"].into_iter().enumerate() {
        let namespace = format!("n{index}");
        let (bus, processes) = (format!("{namespace}::bus"), holding(&server, &namespace).await);
        let script = "redis.call('XADD', KEYS[1], '*', 'm', string.rep('x', ARGV[1]))";
        server.call(&["EVAL", script, "1", &bus, length]);
        for value in 2..6 {
            processes[1].cache.set("home", value).await.unwrap();
            for process in &processes {
                process.sees(value, length).await;
            }
        }
        eventually("it is a gap", async || processes.iter().all(|process| process.gaps() > 0)).await;
        let gaps = processes.each_ref().map(Process::gaps);
        assert!(gaps.iter().all(|gaps| *gaps <= 3), "at most one for each reader that removes it: {gaps:?}");
        assert!(server.cli(&["MEMORY", "USAGE", &bus]).parse::<usize>().unwrap() < 64 << 10);
        assert!(processes.iter().all(|process| process.trouble.opened.load(SeqCst) == 0));
    }
}

/// Nobody writes: who only reads finds out, too, and mends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_begins_a_new_stream_where_nobody_writes() {
    let server = Server::start();
    let processes = holding(&server, "pages").await;
    server.cli(&["SET", "pages::bus", "x"]);
    eventually("all are told", async || processes.iter().all(|process| process.gaps() == 1)).await;
    assert_eq!(server.cli(&["TYPE", "pages::bus"]), "stream");
    sleep(Duration::from_millis(200)).await;
    processes[2].cache.set("home", 2u32).await.unwrap();
    processes[0].sees(2, "it is heard").await;
    assert!(processes.iter().all(|process| process.gaps() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scripts_a_new_stream_is_begun_all_the_same() {
    let server =
        ["EVAL", "EVALSHA"].iter().fold(Server::setup(), |setup, name| setup.args(["--rename-command", *name, ""]));
    let server = server.start();
    let processes = holding(&server, "pages").await;
    for (index, spoil) in
        [&["SET", "pages::bus", "x"][..], &["XADD", "pages::bus", LAST, "hello", ""]].into_iter().enumerate()
    {
        server.cli(spoil);
        let value = 2 + index as u32;
        processes[1].cache.set("home", value).await.unwrap();
        for process in &processes {
            process.sees(value, "it is heard").await;
            eventually("it is a gap", async || process.gaps() > index as u64).await;
            assert_eq!(process.trouble.opened.load(SeqCst), 0);
        }
    }
}

/// What the server refuses of the bus alone says nothing of the entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_takes_nothing_fails_the_change_and_no_entry() {
    let server = Server::setup().user("ada", "on nopass ~* &* +@all -xadd").start();
    let process = Process::start(patient(&format!("redis://ada@{}", server.address())), "pages");
    for round in 0..40u32 {
        let told = process.cache.set(round, round).await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Denied, "{told}");
        assert!(told.to_string().contains("XADD"), "{told}");
        let stored = process.cache.entry(round).skip_l1_read().get::<u32>().await.unwrap();
        assert_eq!(stored, Some(round));
    }
    let computed = process.cache.entry("new").wait_for_write(true);
    computed.get_or_compute(|| async { Ok::<_, std::io::Error>(7u32) }).await.unwrap();
    assert_eq!(process.cache.entry("new").skip_l1_read().get::<u32>().await.unwrap(), Some(7), "and it is stored");
    assert_eq!(process.trouble.opened.load(SeqCst), 0);
}

/// A server that does not know a command quotes what it was given, which breaks the connection unless that is text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_streams_says_so_and_breaks_no_connection() {
    let server = Server::setup().args(["--rename-command", "XADD", ""]).start();
    let process = Process::start(patient(&server.url()), "pages");
    for round in 0..40u32 {
        let told = process.cache.set(round, round).await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Backend, "{told:?}");
        assert!(told.to_string().contains("XADD"), "{told}");
        let stored = process.cache.entry(round).skip_l1_read().get::<u32>().await.unwrap();
        assert_eq!(stored, Some(round));
    }
    assert_eq!((server.connections(), process.trouble.opened.load(SeqCst)), (1, 0));
    let stats = server.cli(&["INFO", "stats"]);
    let connected = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
    assert!(connected.parse::<u32>().unwrap() < 10, "{connected} connections");
}
