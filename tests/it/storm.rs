//! A storm of random calls, watched by an oracle.
//!
//! Each key has a source that counts up before any change of it begins: a `set`, or an invalidation of the key, of a tag
//! or of the namespace. A value carries the count it was made from. Once such a change has returned, a read that starts
//! later in its process must not see a lower count. Two changes are counted in the order in which they begin, so that
//! the oracle knows which came last. Where processes hear one another, none may see a lower count anywhere once all is
//! quiet.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Backend, CacheBuilder, Clock, Intent, Key, Settings, SystemClock};
use fastrand::Rng;
use harness::support::leased;
use serde::{Deserialize, Serialize};

use self::calls::Process;
use self::tardy::{Tardy, turns_pass};

mod calls;
mod tardy;

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
    /// Tags and namespaces are invalidated.
    many: bool,
    /// Processes hear one another, and entries live long.
    bus: bool,
}

impl Weather {
    const KINDS: u64 = 14;

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
            many: false,
            bus: false,
        };
        let many = Self { many: true, ..calm };
        let world = Self { processes: 3, leases: true, many: true, bus: true, ..calm };
        match seed % Self::KINDS {
            0 => Self { backend: false, ..calm },
            1 => calm,
            2 => Self { l1: false, ..calm },
            3 => Self { leases: true, faults: true, ..calm },
            4 => Self { background: false, faults: true, ..calm },
            // A set is unconditional: between processes nothing orders it.
            5 => Self { processes: 2, leases: true, sets: false, ..calm },
            6 => Self { processes: 3, leases: true, sets: false, faults: true, ..calm },
            7 => Self { leases: true, bulk: 3_000, ..calm },
            8 => Self { backend: false, ..many },
            9 => many,
            10 => Self { leases: true, faults: true, ..many },
            11 => world,
            12 => Self { sets: false, ..world },
            _ => Self { faults: true, ..world },
        }
    }
}

struct Storm {
    seed: u64,
    weather: Weather,
    clock: Option<ManualClock>,
    /// Counted under the lock, in which a change also begins.
    sources: [Mutex<()>; KEYS],
    counts: [AtomicU64; KEYS],
    changing: tokio::sync::Mutex<()>,
    parked: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Storm {
    fn new(seed: u64, clock: Option<ManualClock>) -> Self {
        // Jitter comes from here, too.
        fastrand::seed(seed);
        Self {
            seed,
            weather: Weather::of(seed),
            clock,
            sources: Default::default(),
            counts: Default::default(),
            changing: tokio::sync::Mutex::default(),
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
            .ttl(Duration::from_millis(if self.weather.bus { 3_600_000 } else { 400 }))
            .swr_enabled(true)
            .l1_enabled(self.weather.l1)
            .background(self.weather.background)
            .namespace_index(self.weather.many)
            .wait_for_write(self.seed.is_multiple_of(3))
            .max_chunk_size_mb(0.001)
    }

    /// Runs `tasks` tasks of `calls` calls each, and checks what is left.
    async fn blow(self, tasks: usize, calls: usize) {
        let storm = Arc::new(self);
        if !storm.weather.backend {
            let processes = vec![Process::new(storm.builder().build().unwrap())];
            return storm.rage(processes, tasks, calls, || {}).await;
        }
        let memory = Memory::with_clock(1 << 20, storm.clock());
        let chaos = Chaos::with_clock(memory.clone(), storm.clock());
        let control = chaos.control();
        if storm.weather.faults {
            control.randomly(storm.seed, [(0.05, Fault::Refuse), (0.05, Fault::FailAfter)]);
        }
        // Where there is a bus, one more reads nothing before the end.
        let processes = (0..storm.weather.processes + usize::from(storm.weather.bus))
            .map(|process| {
                let rng = Rng::with_seed(storm.seed ^ (process as u64) << 32);
                let backend = Tardy(chaos.clone(), Mutex::new(rng));
                let builder = storm.builder().leases(storm.weather.leases).invalidation_enabled(storm.weather.bus);
                Process::new(builder.backend(backend).build().unwrap())
            })
            .collect();
        storm.rage(processes, tasks, calls, || control.heal()).await;
        for key in 0..KEYS {
            let lease = leased(&memory, &Key::new("default", key).unwrap(), Duration::from_secs(1)).await.unwrap();
            let free = lease.is_some();
            assert!(free || storm.weather.faults, "seed {}: a lease of key {key} is left", storm.seed);
        }
    }

    async fn rage<B: Backend>(
        self: &Arc<Self>,
        processes: Vec<Process<B>>,
        tasks: usize,
        calls: usize,
        heal: impl FnOnce(),
    ) {
        let processes: Vec<_> = processes.into_iter().map(Arc::new).collect();
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let (storm, process) = (Arc::clone(self), Arc::clone(&processes[task % self.weather.processes]));
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
        if self.weather.bus && self.clock.is_some() {
            heal();
            let (storm, processes) = (Arc::clone(self), processes.clone());
            self.pass(tokio::spawn(async move { storm.calm_down(&processes).await })).await;
        }
        for process in processes {
            let closing = tokio::spawn({
                let cache = process.cache.clone();
                async move { cache.close(Duration::from_secs(60)).await.unwrap() }
            });
            self.pass(closing).await;
            let shown = format!("{:#?}", process.cache);
            let left = ["flights: 0", "fences: 0", "tasks: 0", "renewals: 0"].map(|nothing| shown.contains(nothing));
            assert_eq!(left, [true; 4], "seed {}: {shown}", self.seed);
            let calls = process.cache.stats().calls();
            assert_eq!(calls, process.answered.load(SeqCst), "seed {}: calls counted", self.seed);
        }
    }

    /// Once all is quiet, nobody holds what anybody made void; and after one last change of each key, all agree.
    async fn calm_down<B: Backend>(&self, processes: &[Arc<Process<B>>]) {
        self.quiet(processes).await;
        self.agree(processes).await;
        self.change_all(processes, &mut Rng::with_seed(self.seed)).await;
        self.quiet(processes).await;
        self.agree(processes).await;
    }

    /// Waits until nothing is under way, everybody has heard everything, and versions are no longer believed.
    async fn quiet<B: Backend>(&self, processes: &[Arc<Process<B>>]) {
        while processes.iter().any(|process| process.cache.pending() > 0) {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            turns_pass(50).await;
            self.clock().sleep(Duration::from_millis(300)).await;
        }
    }

    async fn agree<B: Backend>(&self, processes: &[Arc<Process<B>>]) {
        for key in 0..KEYS {
            let floor = processes.iter().map(|process| process.floors[key].load(SeqCst)).max().unwrap_or_default();
            for (process, l1_alone) in processes.iter().flat_map(|process| [(process, true), (process, false)]) {
                if let Some(stamp) = process.read(key, l1_alone).await.unwrap() {
                    self.check(key, floor, &stamp, if l1_alone { "left in L1" } else { "left" });
                }
            }
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
}

#[test]
fn no_read_on_one_thread_sees_what_an_earlier_change_made_void() {
    for seed in 0..Weather::KINDS * 20 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Storm::new(seed, Some(ManualClock::new())).blow(6, 40));
    }
}

#[test]
fn reads_on_many_threads_see_nothing_an_earlier_change_voided() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    for seed in 0..Weather::KINDS * 5 {
        runtime.block_on(Storm::new(seed, None).blow(8, 150));
    }
}
