//! A storm of random calls, watched by an oracle.
//!
//! Each key has a source that counts up before any `set` or `invalidate` begins; a value carries the count it was made
//! from. Once such a change has returned, a read that starts later in its process must not see a lower count. Two
//! changes are counted in the order in which they begin, so that the oracle knows which came last.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Backend, Cache, CacheBuilder, Clock, Error, Intent, Key, Lease, LeaseToken, Settings, SystemClock};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::support::{Broken, forward, poll_once};

const KEYS: usize = 3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stamp {
    key: usize,
    count: u64,
    bulk: Vec<u8>,
}

/// What a storm is like. Every storm has flights, reads, forced computations and invalidations.
#[derive(Debug, Clone, Copy)]
struct Weather {
    processes: usize,
    backend: bool,
    l1: bool,
    leases: bool,
    sets: bool,
    faults: bool,
    background: bool,
    bulk: usize,
}

impl Weather {
    fn of(seed: u64) -> Self {
        let calm = Self {
            processes: 1,
            backend: true,
            l1: true,
            leases: false,
            sets: true,
            faults: false,
            background: true,
            bulk: 0,
        };
        match seed % 8 {
            0 => Self { backend: false, ..calm },
            1 => calm,
            2 => Self { l1: false, ..calm },
            3 => Self { leases: true, faults: true, ..calm },
            4 => Self { background: false, faults: true, ..calm },
            // A set is unconditional: between processes nothing orders it.
            5 => Self { processes: 2, leases: true, sets: false, ..calm },
            6 => Self { processes: 3, leases: true, sets: false, faults: true, ..calm },
            _ => Self { leases: true, bulk: 3_000, ..calm },
        }
    }
}

/// A backend that takes a random number of turns before and after it works.
#[derive(Debug)]
struct Tardy<B>(B, Mutex<Rng>);

impl<B: Backend> Tardy<B> {
    async fn dawdle(&self) {
        let turns = self.1.lock().unwrap().u8(0..4);
        turns_pass(turns).await;
    }

    async fn around<T>(&self, work: impl Future<Output = T> + Send) -> T {
        self.dawdle().await;
        let answer = work.await;
        self.dawdle().await;
        answer
    }
}

impl<B: Backend> Backend for Tardy<B> {
    forward!(0: capabilities bus);
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.around(self.0.get(key)).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.around(self.0.set(key, value, ttl)).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.around(self.0.remove(key)).await
    }
    async fn exists(&self, key: &Key) -> Result<bool, Error> {
        self.around(self.0.exists(key)).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.around(self.0.ttl(key)).await
    }
    async fn touch(&self, key: &Key, ttl: Duration) -> Result<bool, Error> {
        self.around(self.0.touch(key, ttl)).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.around(self.0.get_many(keys)).await
    }
    async fn set_many(&self, items: Vec<(Key, Bytes)>, ttl: Duration) -> Result<(), Error> {
        self.around(self.0.set_many(items, ttl)).await
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        self.around(self.0.remove_many(keys)).await
    }
    async fn lease(&self, key: &Key, hold: Duration) -> Result<Lease, Error> {
        self.around(self.0.lease(key, hold)).await
    }
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.around(self.0.fill(key, value, ttl, token)).await
    }
    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.around(self.0.release(key, token)).await
    }
    async fn ping(&self) -> Result<(), Error> {
        self.around(self.0.ping()).await
    }
}

async fn turns_pass(turns: u8) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

struct Storm {
    seed: u64,
    weather: Weather,
    clock: Option<ManualClock>,
    /// Counted under the lock, in which a change also begins.
    sources: [Mutex<()>; KEYS],
    counts: [AtomicU64; KEYS],
    parked: Mutex<Vec<Box<dyn Any + Send>>>,
}

/// A cache, and what its reads may no longer see.
struct Process<B: Backend> {
    cache: Cache<B, Postcard>,
    floors: [AtomicU64; KEYS],
    answered: AtomicU64,
}

impl<B: Backend> Process<B> {
    fn new(cache: Cache<B, Postcard>) -> Self {
        Self { cache, floors: Default::default(), answered: AtomicU64::new(0) }
    }
}

impl Storm {
    fn new(seed: u64, clock: Option<ManualClock>) -> Self {
        // Jitter and write ids come from here, too.
        fastrand::seed(seed);
        Self {
            seed,
            weather: Weather::of(seed),
            clock,
            sources: Default::default(),
            counts: Default::default(),
            parked: Mutex::default(),
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone().map_or_else(|| Arc::new(SystemClock) as _, |clock| Arc::new(clock) as _)
    }

    fn builder(&self) -> CacheBuilder<cachekit::backends::NoBackend, Postcard, Intent::Minimal> {
        let mut settings = Settings::default();
        settings.max_flights = Some(5);
        settings.max_refreshes = Some(2);
        settings.lease_hold = Some(Duration::from_millis(200));
        settings.lease_wait = Some(Duration::from_millis(40));
        CacheBuilder::new()
            .intent(Intent::Minimal)
            .settings(settings)
            .clock(self.clock())
            .stats(true)
            .ttl(Duration::from_millis(400))
            .swr_enabled(true)
            .l1_enabled(self.weather.l1)
            .background(self.weather.background)
            .wait_for_write(self.seed.is_multiple_of(3))
            .max_chunk_size_mb(0.001)
    }

    /// Runs `tasks` tasks of `calls` calls each, and checks what is left.
    async fn blow(self, tasks: usize, calls: usize) {
        let storm = Arc::new(self);
        if !storm.weather.backend {
            let processes = vec![Process::new(storm.builder().build().unwrap())];
            return storm.rage(processes, tasks, calls).await;
        }
        let memory = Memory::with_clock(1 << 20, storm.clock());
        let chaos = Chaos::with_clock(memory.clone(), storm.clock());
        let control = chaos.control();
        if storm.weather.faults {
            control.randomly(storm.seed, [(0.05, Fault::Refuse), (0.05, Fault::FailAfter)]);
        }
        let processes = (0..storm.weather.processes)
            .map(|process| {
                let rng = Rng::with_seed(storm.seed ^ (process as u64) << 32);
                let backend = Tardy(chaos.clone(), Mutex::new(rng));
                Process::new(storm.builder().leases(storm.weather.leases).backend(backend).build().unwrap())
            })
            .collect();
        storm.rage(processes, tasks, calls).await;
        for key in 0..KEYS {
            let lease = memory.lease(&Key::new("default", key).unwrap(), Duration::from_secs(1)).await.unwrap();
            let free = matches!(lease, Lease::Granted(_));
            assert!(free || storm.weather.faults, "seed {}: a lease of key {key} is left", storm.seed);
        }
    }

    async fn rage<B: Backend>(self: &Arc<Self>, processes: Vec<Process<B>>, tasks: usize, calls: usize) {
        let processes: Vec<_> = processes.into_iter().map(Arc::new).collect();
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let (storm, process) = (Arc::clone(self), Arc::clone(&processes[task % processes.len()]));
                let mut rng = Rng::with_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(task as u64));
                tokio::spawn(async move {
                    for _ in 0..calls {
                        storm.call(&process, &mut rng).await;
                    }
                })
            })
            .collect();
        for task in running {
            self.pass(task).await;
        }
        self.parked.lock().unwrap().clear();
        for process in processes {
            let closing = tokio::spawn({
                let cache = process.cache.clone();
                async move { cache.close(Duration::from_secs(60)).await.unwrap() }
            });
            self.pass(closing).await;
            let shown = format!("{:?}", process.cache);
            let left = ["flights: 0", "lanes: 0", "tasks: 0", "renewals: 0"].map(|nothing| shown.contains(nothing));
            assert_eq!(left, [true; 4], "seed {}: {shown}", self.seed);
            let calls = process.cache.stats().calls();
            assert_eq!(calls, process.answered.load(SeqCst), "seed {}: calls counted", self.seed);
        }
    }

    /// Lets time pass, where it is made by hand, until a task has ended.
    async fn pass<T>(&self, task: tokio::task::JoinHandle<T>) -> T {
        if let Some(clock) = &self.clock {
            for _ in 0..100_000 {
                if task.is_finished() {
                    break;
                }
                turns_pass(20).await;
                clock.advance(Duration::from_millis(2));
            }
            assert!(task.is_finished(), "seed {}: something waits for ever", self.seed);
        }
        task.await.unwrap()
    }

    async fn call<B: Backend>(self: &Arc<Self>, process: &Process<B>, rng: &mut Rng) {
        let key = rng.usize(0..KEYS);
        match rng.u8(0..100) {
            0..45 => self.compute(process, key, false, rng).await,
            45..50 => self.compute(process, key, true, rng).await,
            50..70 => self.get(process, key, rng).await,
            70..82 if self.weather.sets => self.change(process, key, true, rng).await,
            70..94 => self.change(process, key, false, rng).await,
            _ => {
                if let Some(clock) = &self.clock {
                    clock.advance(Duration::from_millis(rng.u64(0..150)));
                }
                turns_pass(rng.u8(0..10)).await;
            }
        }
    }

    async fn compute<B: Backend>(self: &Arc<Self>, process: &Process<B>, key: usize, forced: bool, rng: &mut Rng) {
        let floor = process.floors[key].load(SeqCst);
        let (storm, turns) = (Arc::clone(self), rng.u8(0..8));
        let compute = move || async move {
            let count = storm.counts[key].load(SeqCst);
            turns_pass(turns).await;
            Ok::<_, Broken>(storm.stamp(key, count))
        };
        let cache = process.cache.clone();
        let call = async move {
            let entry = cache.entry(key);
            let entry = if forced { entry.skip_l1_read().skip_l2_read() } else { entry };
            entry.get_or_compute(compute).await
        };
        let Some(answer) = self.attend(call, rng).await else { return };
        process.answered.fetch_add(1, SeqCst);
        let stamp = answer.unwrap_or_else(|error| panic!("seed {}: a call failed: {error}", self.seed));
        self.check(key, floor, &stamp, if forced { "forced" } else { "computed" });
    }

    async fn get<B: Backend>(&self, process: &Process<B>, key: usize, rng: &mut Rng) {
        let floor = process.floors[key].load(SeqCst);
        let cache = process.cache.clone();
        let Some(answer) = self.attend(async move { cache.get::<Stamp>(key).await }, rng).await else { return };
        process.answered.fetch_add(1, SeqCst);
        match answer {
            Ok(Some(stamp)) => self.check(key, floor, &stamp, "read"),
            Ok(None) => {}
            Err(error) => assert!(self.weather.faults, "seed {}: {error}", self.seed),
        }
    }

    async fn change<B: Backend>(&self, process: &Process<B>, key: usize, set: bool, rng: &mut Rng) {
        let cache = process.cache.clone();
        let (count, change, begun) = {
            let _order = self.sources[key].lock().unwrap();
            let count = self.counts[key].fetch_add(1, SeqCst) + 1;
            let stamp = self.stamp(key, count);
            let mut change: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> =
                Box::pin(async move { if set { cache.set(key, stamp).await } else { cache.invalidate(key).await } });
            let begun = poll_once(&mut change);
            (count, change, begun)
        };
        let result = match begun {
            Poll::Ready(result) => Some(result),
            Poll::Pending => self.attend(change, rng).await,
        };
        match result {
            Some(Ok(())) => drop(process.floors[key].fetch_max(count, SeqCst)),
            Some(Err(error)) => assert!(self.weather.faults, "seed {}: {error}", self.seed),
            None => {}
        }
    }

    /// Waits for a call, or leaves it after a few polls, or parks it until the storm is over.
    async fn attend<F>(&self, call: F, rng: &mut Rng) -> Option<F::Output>
    where
        F: Future + Send + 'static,
    {
        let mut call = Box::pin(call);
        let fate = rng.u8(0..20);
        if fate > 2 {
            return Some(call.await);
        }
        for _ in 0..rng.u8(0..6) {
            if let Poll::Ready(answer) = poll_once(&mut call) {
                return Some(answer);
            }
            tokio::task::yield_now().await;
        }
        if fate == 0 {
            self.parked.lock().unwrap().push(Box::new(call));
        }
        None
    }

    fn stamp(&self, key: usize, count: u64) -> Stamp {
        Stamp { key, count, bulk: vec![count as u8; self.weather.bulk] }
    }

    fn check(&self, key: usize, floor: u64, stamp: &Stamp, how: &str) {
        let seed = self.seed;
        assert_eq!(stamp.key, key, "seed {seed}: another key's value was {how}");
        assert!(*stamp == self.stamp(key, stamp.count), "seed {seed}: a mixture was {how}");
        assert!(stamp.count >= floor, "seed {seed}: {} of key {key} was {how}, {floor} is known", stamp.count);
    }
}

#[test]
fn no_read_on_one_thread_sees_what_an_earlier_change_made_void() {
    for seed in 0..240 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Storm::new(seed, Some(ManualClock::new())).blow(6, 40));
    }
}

#[test]
fn no_read_on_many_threads_sees_what_an_earlier_change_made_void() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    for seed in 0..40 {
        runtime.block_on(Storm::new(seed, None).blow(8, 150));
    }
}
