//! The crowd: tasks that call three caches as users do.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Cache, CacheBuilder, ComputeError, Error, Intent};
use fastrand::Rng;
use tokio::task::JoinSet;

use crate::servers::{PATIENCE, eventually};
use crate::source::{Floors, KEYS, Source, TAGS, Value};
use crate::verdict::Verdict;

const TASKS: u64 = 64;
const PROCESSES: usize = 3;

/// A cache with connections of its own, and what was seen of it.
pub(crate) struct Process {
    pub(crate) cache: Cache<Redis, Checked<Postcard>>,
    floors: Floors,
    /// Calls that returned.
    pub(crate) answered: AtomicU64,
}

pub(crate) struct Crowd {
    seed: u64,
    source: Arc<Source>,
    pub(crate) processes: Vec<Process>,
    pub(crate) changes: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) seen: Verdict,
}

impl Process {
    fn new(url: &str, l1: bool) -> Self {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("soak").codec(Postcard);
        let cache = builder
            .backend(Redis::from_url(url).unwrap())
            .ttl(Duration::from_secs(60))
            .swr_threshold_ratio(0.1)
            .recovery_timeout(Duration::from_millis(500))
            .l1_enabled(l1)
            .l1_max_size_mb(1.0)
            .build()
            .unwrap();
        Self { cache, floors: Floors::new(), answered: AtomicU64::new(0) }
    }
}

impl Crowd {
    pub(crate) fn new(url: &str, seed: u64) -> Self {
        Self {
            seed,
            source: Arc::new(Source::new()),
            processes: (0..PROCESSES).map(|index| Process::new(url, index > 0)).collect(),
            changes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            seen: Verdict::default(),
        }
    }

    /// Lets everybody call until `end`.
    pub(crate) fn start(self: &Arc<Self>, end: Instant) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (crowd, mut rng) = (Arc::clone(self), Rng::with_seed(self.seed.wrapping_mul(1_000_003) ^ task));
            tasks.spawn(async move {
                while Instant::now() < end {
                    crowd.call(&mut rng).await;
                    tokio::time::sleep(Duration::from_millis(rng.u64(1..10))).await;
                }
            });
        }
        tasks
    }

    async fn call(&self, rng: &mut Rng) {
        let process = &self.processes[rng.usize(..PROCESSES)];
        // The rank of a key is what divides its share of the calls.
        let key = (KEYS as f64).powf(rng.f64()) as usize - 1;
        match rng.u32(..10_000) {
            0..3 => self.forget_all(process).await,
            3..30 => self.forget_tag(process, rng.usize(..TAGS)).await,
            30..500 => self.set(process, key).await,
            500..700 => self.forget(process, key).await,
            700..1_200 => self.look(process, key).await,
            1_200..1_500 => self.leave(process, key).await,
            _ => self.ask(process, key).await,
        }
    }

    async fn ask(&self, process: &Process, key: usize) {
        let floor = process.floors.of(key);
        let answer = self.compute(process, key).await;
        self.judge(process, key, floor, answer);
    }

    /// Asks, and goes before there is an answer.
    async fn leave(&self, process: &Process, key: usize) {
        let floor = process.floors.of(key);
        let mut answer = Box::pin(self.compute(process, key));
        let polled = poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context))).await;
        if let std::task::Poll::Ready(answer) = polled {
            self.judge(process, key, floor, answer);
        }
    }

    async fn compute(&self, process: &Process, key: usize) -> Result<Value, ComputeError<Error>> {
        let (source, tag) = (Arc::clone(&self.source), name(Source::tag(key)));
        let compute = move || async move {
            let value = Value::new(key, source.count(key));
            tokio::time::sleep(Duration::from_millis(key as u64 % 4)).await;
            Ok(value)
        };
        process.cache.entry(key).tags([&*tag]).get_or_compute(compute).await
    }

    fn judge(&self, process: &Process, key: usize, floor: u64, answer: Result<Value, ComputeError<Error>>) {
        process.answered.fetch_add(1, SeqCst);
        match answer {
            Ok(value) => self.check(key, floor, &value, "a call"),
            Err(error) => self.seen.error(key, &error),
        }
    }

    fn check(&self, key: usize, floor: u64, value: &Value, what: &str) {
        if !value.is_of(key) {
            self.seen.wrong(key, value.key);
        } else if value.count < floor {
            self.seen.stale(key, floor, value.count, what);
        }
    }

    async fn look(&self, process: &Process, key: usize) {
        let floor = process.floors.of(key);
        let found = process.cache.get::<Value>(key).await;
        process.answered.fetch_add(1, SeqCst);
        // The backend's failures are told to whoever asks it.
        if let Ok(Some(value)) = found {
            self.check(key, floor, &value, "a look");
        }
    }

    async fn set(&self, process: &Process, key: usize) {
        let Some(_turn) = self.source.turn(key) else { return };
        let (count, tag) = (self.source.raise(key), name(Source::tag(key)));
        let result = process.cache.entry(key).tags([&*tag]).set(Value::new(key, count)).await;
        self.changed(process, [(key, count)], &result);
    }

    async fn forget(&self, process: &Process, key: usize) {
        let Some(_turn) = self.source.turn(key) else { return };
        let count = self.source.raise(key);
        let result = process.cache.invalidate(key).await;
        self.changed(process, [(key, count)], &result);
    }

    async fn forget_tag(&self, process: &Process, tag: usize) {
        let _turn = self.source.turn_of_tag(tag).await;
        let raised: Vec<_> = Source::tagged(tag).map(|key| (key, self.source.raise(key))).collect();
        let result = process.cache.invalidate_tag(&name(tag)).await;
        self.changed(process, raised, &result);
    }

    async fn forget_all(&self, process: &Process) {
        let _turn = self.source.turn_of_all().await;
        let raised: Vec<_> = (0..KEYS).map(|key| (key, self.source.raise(key))).collect();
        let result = process.cache.invalidate_namespace().await;
        self.changed(process, raised, &result);
    }

    /// A change has returned. Its own process has seen it even if the backend has not.
    fn changed(&self, process: &Process, raised: impl IntoIterator<Item = (usize, u64)>, result: &Result<(), Error>) {
        self.changes.fetch_add(1, SeqCst);
        self.refused.fetch_add(u64::from(result.is_err()), SeqCst);
        raised.into_iter().for_each(|(key, count)| process.floors.raise(key, count));
    }

    /// Waits until the server is used again and all is quiet. Then nobody may see anything older than the last change.
    pub(crate) async fn settle(&self) {
        for process in &self.processes {
            eventually("the cache is well and nothing is left to do", async || {
                // The breaker closes when it is used.
                let _ = process.cache.get::<u32>("probe").await;
                process.answered.fetch_add(1, SeqCst);
                let health = process.cache.health().await;
                health.is_up() && health.waiting_changes == 0 && process.cache.pending() == 0
            })
            .await;
        }
        self.hear().await;
        for (process, key) in self.processes.iter().flat_map(|process| (0..KEYS).map(move |key| (process, key))) {
            eventually("the backend answers", async || {
                process.answered.fetch_add(1, SeqCst);
                let found = process.cache.get::<Value>(key).await;
                if let Ok(Some(value)) = &found {
                    self.check(key, self.source.count(key), value, "what is left");
                }
                found.is_ok()
            })
            .await;
        }
    }

    /// Waits until everybody has heard of all changes: the bus keeps their order.
    async fn hear(&self) {
        for (speaker, marker) in self.processes.iter().zip(["first", "second", "third"]) {
            for listener in &self.processes {
                let _ = listener.cache.get_or_compute(marker, || async { Ok::<_, Error>(0u32) }).await;
                listener.answered.fetch_add(1, SeqCst);
            }
            eventually("it is told", async || speaker.cache.set(marker, 1u32).await.is_ok()).await;
            for listener in &self.processes {
                eventually("it has heard", async || {
                    listener.answered.fetch_add(1, SeqCst);
                    matches!(listener.cache.get::<u32>(marker).await, Ok(Some(1)))
                })
                .await;
            }
        }
    }

    /// Closes the caches, which must leave nothing.
    pub(crate) async fn close(&self, verdict: &mut Verdict) {
        for process in &self.processes {
            if let Err(error) = process.cache.close(PATIENCE).await {
                verdict.fail(format!("close: {error}"));
            }
            verdict.check_left(process);
        }
    }
}

fn name(tag: usize) -> String {
    format!("tag {tag}")
}
