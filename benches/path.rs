//! The path of one call, side by side.
//!
//! Runs ours and the peers in one process and ends with how our medians compare to theirs: on a shared machine only
//! such ratios mean anything. Run it with `cargo bench -p cachekit-benches --bench path`; a filter, such as `-- "1,000 keys"`,
//! shortens it.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use cachekit::backends::{File, Memory};
use cachekit::codec::{Checked, Context, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, Codec, Error, FileLimits, Intent, Policy, Tracing, Value};

const SAMPLES: usize = 30;

fn main() {
    let criterion = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args();
    let mut bench = Bench { criterion, medians: HashMap::new(), rows: Vec::new() };
    for count in [1_000, 100_000] {
        let stores = Stores::filled(count);
        for threads in [1, 2] {
            hits(&mut bench, &stores, threads);
        }
    }
    sealed_hit(&mut bench);
    backend_hits(&mut bench);
    misses(&mut bench);
    sets(&mut bench);
    bench.criterion.final_summary();
    bench.print();
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: String,
    age: u32,
    active: bool,
    score: f64,
}

impl User {
    fn new(id: u64) -> Self {
        let (name, email) = (format!("user number {id}"), format!("{id}@example.org"));
        Self { id, name, email, age: 30, active: true, score: 0.5 }
    }
}

/// Measurements, and which of them to compare.
struct Bench {
    criterion: Criterion,
    medians: HashMap<String, f64>,
    rows: Vec<(String, Vec<String>)>,
}

impl Bench {
    /// Measures `run`, which does so many operations and says how long they took.
    fn measure(&mut self, name: impl Display, mut run: impl FnMut(u64) -> Duration) {
        let (name, mut samples) = (name.to_string(), Vec::new());
        self.criterion.bench_function(&name, |bencher| {
            bencher.iter_custom(|iterations| {
                let elapsed = run(iterations);
                samples.push(elapsed.as_nanos() as f64 / iterations as f64);
                elapsed
            });
        });
        // The ones before warm up; there are none at all where a filter excludes this measurement.
        let mut samples = samples.split_off(samples.len().saturating_sub(SAMPLES));
        samples.sort_by(f64::total_cmp);
        if let Some(median) = samples.get(samples.len() / 2) {
            self.medians.insert(name, *median);
        }
    }

    fn compare(&mut self, ours: impl Display, peers: &[impl Display]) {
        self.rows.push((ours.to_string(), peers.iter().map(ToString::to_string).collect()));
    }

    fn print(&self) {
        println!("\nOur median, and its ratio to each peer's: below 1 is faster.");
        for (ours, peers) in &self.rows {
            let Some(median) = self.medians.get(ours) else { continue };
            let ratios = peers.iter().filter_map(|peer| {
                let name = peer.rsplit(", ").next().unwrap_or(peer);
                Some(format!("  {:.2} x {name}", median / self.medians.get(peer)?))
            });
            println!("{ours:<62} {median:>9.1} ns{}", ratios.collect::<String>());
        }
    }
}

/// Full caches, ours and the peers', and an order of asking.
struct Stores<B: Backend, C: Codec> {
    count: usize,
    names: Vec<String>,
    order: Vec<u32>,
    numbers: Cache<B, C>,
    numbers_by_id: Cache<B, C>,
    users: Cache<B, C>,
    quick: (quick_cache::sync::Cache<String, Arc<u64>>, quick_cache::sync::Cache<String, Arc<User>>),
    quick_owned: quick_cache::sync::Cache<String, User>,
    moka: (moka::sync::Cache<String, Arc<u64>>, moka::sync::Cache<String, Arc<User>>),
    moka_owned: moka::sync::Cache<String, User>,
}

impl Stores<cachekit::backends::NoBackend, Checked<Postcard>> {
    fn filled(count: usize) -> Self {
        let capacity = count * 2;
        let stores = Self {
            count,
            names: (0..count).map(|id| format!("users:{id}")).collect(),
            order: zipf(count),
            numbers: plain().build().expect("a valid builder"),
            numbers_by_id: plain().build().expect("a valid builder"),
            users: plain().build().expect("a valid builder"),
            quick: (quick_cache::sync::Cache::new(capacity), quick_cache::sync::Cache::new(capacity)),
            quick_owned: quick_cache::sync::Cache::new(capacity),
            moka: (moka::sync::Cache::new(capacity as u64), moka::sync::Cache::new(capacity as u64)),
            moka_owned: moka::sync::Cache::new(capacity as u64),
        };
        for (id, name) in (0..).zip(&stores.names) {
            now(stores.numbers.set(name, id)).expect("a set in L1");
            now(stores.numbers_by_id.set(id, id)).expect("a set in L1");
            now(stores.users.set(name, User::new(id))).expect("a set in L1");
            stores.quick.0.insert(name.clone(), Arc::new(id));
            stores.quick.1.insert(name.clone(), Arc::new(User::new(id)));
            stores.quick_owned.insert(name.clone(), User::new(id));
            stores.moka.0.insert(name.clone(), Arc::new(id));
            stores.moka.1.insert(name.clone(), Arc::new(User::new(id)));
            stores.moka_owned.insert(name.clone(), User::new(id));
        }
        stores
    }
}

/// Our whole calls against the peers' bare look-ups.
fn hits<B: Backend, C: Codec>(bench: &mut Bench, stores: &Stores<B, C>, threads: usize) {
    let plural = if threads == 1 { "" } else { "s" };
    let at = format!("hit, {} keys, {threads} thread{plural}", grouped(stores.count));
    let id = |n: usize| stores.order[n % stores.order.len()];
    let name = |n: usize| &stores.names[id(n) as usize];
    macro_rules! measure {
        ($name:literal, $n:ident => $call:expr) => {
            bench.measure(format!("{at}, {}", $name), |times| {
                timed(threads, times, |$n| {
                    let _ = black_box($call);
                })
            });
        };
    }
    measure!("quick_cache Arc<u64>", n => stores.quick.0.get(name(n)));
    measure!("moka Arc<u64>", n => stores.moka.0.get(name(n)));
    measure!("u64 by String", n => now(stores.numbers.get_or_compute(name(n), absent::<u64>)));
    measure!("u64 by u64", n => now(stores.numbers_by_id.get_or_compute(u64::from(id(n)), absent::<u64>)));
    measure!("quick_cache Arc<User>", n => stores.quick.1.get(name(n)));
    measure!("moka Arc<User>", n => stores.moka.1.get(name(n)));
    measure!("Arc<User> by String", n => now(stores.users.get_or_compute_arc(name(n), absent::<User>)));
    measure!("quick_cache User", n => stores.quick_owned.get(name(n)));
    measure!("moka User", n => stores.moka_owned.get(name(n)));
    measure!("User by String", n => now(stores.users.get_or_compute(name(n), absent::<User>)));
    for (ours, what) in [
        ("u64 by String", "Arc<u64>"),
        ("u64 by u64", "Arc<u64>"),
        ("Arc<User> by String", "Arc<User>"),
        ("User by String", "User"),
    ] {
        let peers = ["quick_cache", "moka"].map(|peer| format!("{at}, {peer} {what}"));
        bench.compare(format!("{at}, {ours}"), &peers);
    }
}

/// L1 holds bytes and opens them on each hit; without a cipher, so this is our own share of the cost.
fn sealed_hit(bench: &mut Bench) {
    let cache = plain().codec(Opaque(Postcard)).build().expect("a valid builder");
    now(cache.set("users:1", User::new(1))).expect("a set in L1");
    let name = "hit, sealed, User by str";
    bench.measure(name, |times| {
        timed(1, times, |_| {
            let _ = black_box(now(cache.get_or_compute("users:1", absent::<User>)));
        })
    });
    bench.compare(name, &["hit, 1,000 keys, 1 thread, User by String"]);
}

fn backend_hits(bench: &mut Bench) {
    let memory = plain().backend(Memory::new(64 << 20)).l1_enabled(false).build().expect("a valid builder");
    backend_hit(bench, "hit in L2, Memory, User by u64", &memory);
    bench.compare("hit in L2, Memory, User by u64", &[] as &[&str]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = File::open(dir.path(), FileLimits::default()).expect("a file cache");
    let file = plain().backend(file).l1_enabled(false).build().expect("a valid builder");
    backend_hit(bench, "hit in L2, File, User by u64", &file);
    bench.compare("hit in L2, File, User by u64", &["hit in L2, Memory, User by u64"]);
}

fn backend_hit<B: Backend, C: Codec>(bench: &mut Bench, name: &str, cache: &Cache<B, C>) {
    let runtime = runtime();
    runtime.block_on(cache.set(1, User::new(1))).expect("a set in L2");
    bench.measure(name, |times| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..times {
                black_box(cache.get_or_compute(1, absent::<User>).await).expect("a hit in L2");
            }
            start.elapsed()
        })
    });
}

/// Every call computes: new keys only.
fn misses(bench: &mut Bench) {
    let bare = plain().build().expect("a valid builder");
    let memory = plain().backend(Memory::new(64 << 20)).build().expect("a valid builder");
    let quick = quick_cache::sync::Cache::<String, Arc<u64>>::new(100_000);
    let moka = moka::sync::Cache::<String, Arc<u64>>::new(100_000);
    let mut next = 0;
    bench.measure("miss, quick_cache get_or_insert_with", |times| {
        fresh(&mut next, times, |id| quick.get_or_insert_with(&format!("users:{id}"), || Ok::<_, Error>(Arc::new(id))))
    });
    bench.measure("miss, moka get_with", |times| {
        fresh(&mut next, times, |id| moka.get_with(format!("users:{id}"), || Arc::new(id)))
    });
    computed(bench, "miss, L1 alone, u64 by u64", &bare);
    computed(bench, "miss, L1 and Memory, u64 by u64", &memory);
    for ours in ["miss, L1 alone, u64 by u64", "miss, L1 and Memory, u64 by u64"] {
        bench.compare(ours, &["miss, quick_cache get_or_insert_with", "miss, moka get_with"]);
    }
}

fn computed<B: Backend, C: Codec>(bench: &mut Bench, name: &str, cache: &Cache<B, C>) {
    let (runtime, mut next) = (runtime(), 0);
    bench.measure(name, |times| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..times {
                next += 1;
                let id: u64 = next;
                let value = cache.get_or_compute(id, move || async move { Ok::<_, Error>(id) }).await;
                assert_eq!(value.expect("a computed value"), id);
            }
            start.elapsed()
        })
    });
}

/// New keys over a full store: each takes the place of an older one.
fn sets(bench: &mut Bench) {
    let bare = plain().l1_max_size_mb(8.0).build().expect("a valid builder");
    let memory = plain().l1_max_size_mb(8.0).backend(Memory::new(8 << 20)).build().expect("a valid builder");
    let quick = quick_cache::sync::Cache::<String, Arc<User>>::new(20_000);
    let moka = moka::sync::Cache::<String, Arc<User>>::new(20_000);
    let mut next = 0;
    bench.measure("set, quick_cache", |times| {
        fresh(&mut next, times, |id| quick.insert(format!("users:{id}"), Arc::new(User::new(id))))
    });
    bench.measure("set, moka", |times| {
        fresh(&mut next, times, |id| moka.insert(format!("users:{id}"), Arc::new(User::new(id))))
    });
    bench.measure("set, L1 alone, User by u64", |times| {
        fresh(&mut next, times, |id| now(bare.set(id, User::new(id))).expect("a set in L1"))
    });
    bench.measure("set, L1 and Memory, User by u64", |times| {
        fresh(&mut next, times, |id| now(memory.set(id, User::new(id))).expect("a set in both tiers"))
    });
    for ours in ["set, L1 alone, User by u64", "set, L1 and Memory, User by u64"] {
        bench.compare(ours, &["set, quick_cache", "set, moka"]);
    }
}

/// Times `call` over numbers that did not occur before.
fn fresh<R>(next: &mut u64, times: u64, mut call: impl FnMut(u64) -> R) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        *next += 1;
        black_box(call(*next));
    }
    start.elapsed()
}

/// How long the slowest of `threads` takes for `times` calls of `call`, each with a number of its own.
fn timed(threads: usize, times: u64, call: impl Fn(usize) + Sync) -> Duration {
    let (barrier, call) = (Barrier::new(threads), &call);
    let run = |first: usize| {
        barrier.wait();
        let start = Instant::now();
        for n in (first..).take(times as usize) {
            call(n);
        }
        start.elapsed()
    };
    if threads == 1 {
        return run(0);
    }
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread * 30_011))).collect();
        running.into_iter().map(|thread| thread.join().expect("a thread that ran")).max().unwrap_or_default()
    })
}

/// The value of a future that is ready at once.
#[inline]
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a call that is answered at once waits"),
    }
}

async fn absent<T: Value>() -> Result<T, Error> {
    panic!("a hit was computed")
}

fn plain() -> CacheBuilder<cachekit::backends::NoBackend, Postcard, Intent::Production> {
    CacheBuilder::new().namespace("users").l1_max_size_mb(512.0).tracing(Tracing::Off)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Ranks of a Zipf law (0.99) over `count` keys, spread over all of them so that hot ones are not neighbours.
fn zipf(count: usize) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut keys: Vec<u32> = (0..count as u32).collect();
    random.shuffle(&mut keys);
    let sums: Vec<f64> = (1..=count)
        .scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-0.99);
            Some(*sum)
        })
        .collect();
    let total = sums[count - 1];
    (0..1 << 17).map(|_| keys[sums.partition_point(|sum| *sum < random.f64() * total).min(count - 1)]).collect()
}

fn grouped(count: usize) -> String {
    format!("{},{:03}", count / 1_000, count % 1_000)
}

/// Claims to hide what it does not.
#[derive(Debug, Clone)]
struct Opaque(Postcard);

impl Codec for Opaque {
    const CONFIDENTIAL: bool = true;

    fn name(&self) -> String {
        "opaque".into()
    }

    fn configure(&mut self, policy: &Policy) -> Result<(), Error> {
        self.0.configure(policy)
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.encode(value, context, out)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        self.0.decode(bytes, context)
    }
}
