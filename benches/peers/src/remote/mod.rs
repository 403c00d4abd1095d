//! Clients of servers, and how they are driven.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use self::way::{Operation, Way};
use crate::Failure;
use crate::clock::{Stopwatch, Whose};
use crate::numbers::quantile_micros;
use crate::report::{Case, Metric, less, more};
use crate::rounds::{Candidate, interleave};

pub(crate) mod calls;
pub(crate) mod fred;
pub(crate) mod official;
pub(crate) mod ours;
pub(crate) mod raw;
pub(crate) mod way;

/// What a turn brings.
pub(crate) fn metrics() -> Vec<Metric> {
    vec![more("ops/s"), less("p50 us"), less("p99 us"), less("CPU us/op")]
}

/// What to do, by how many, for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) operation: Operation,
    pub(crate) tasks: usize,
    pub(crate) keys: usize,
    pub(crate) time: Duration,
}

type Turn = Pin<Box<dyn Future<Output = Result<Vec<f64>, Failure>>>>;

/// A way under a name. What it runs is compiled for it, so that no way pays for being one of many.
pub(crate) struct Contender {
    name: &'static str,
    can: Box<dyn Fn(Operation) -> bool>,
    run: Box<dyn Fn(Load) -> Turn>,
}

impl Contender {
    /// A way, after it has stored `keys` values.
    pub(crate) async fn filled(name: &'static str, keys: usize, way: impl Way) -> Result<Self, Failure> {
        for id in 0..keys {
            way.set(id).await.map_err(|failure| format!("{name} cannot be filled: {failure}"))?;
        }
        let (way, fresh) = (Arc::new(way), Arc::new(AtomicUsize::new(0)));
        let asked = Arc::clone(&way);
        let run = move |load: Load| -> Turn { Box::pin(load.drive(Arc::clone(&way), Arc::clone(&fresh))) };
        Ok(Self { name, can: Box::new(move |operation| asked.can(operation)), run: Box::new(run) })
    }
}

/// Those who can do what the load asks, as candidates.
pub(crate) fn candidates<'a>(runtime: &'a Runtime, all: &'a [Contender], load: Load) -> Vec<Candidate<'a>> {
    let all = all.iter().filter(|one| (one.can)(load.operation));
    all.map(|one| Candidate::new(one.name, move || runtime.block_on((one.run)(load)))).collect()
}

/// A case of this load, in which a bare client takes its turns beside those who can do it.
pub(crate) fn beside(
    runtime: &Runtime,
    all: &[Contender],
    bare: Candidate<'_>,
    name: &str,
    load: Load,
    rounds: usize,
) -> Result<Case, Failure> {
    let mut all = candidates(runtime, all, load);
    all.push(bare);
    interleave(&load.case(name), rounds, all)
}

impl Load {
    /// The name of a case of it.
    pub(crate) fn case(self, name: &str) -> String {
        format!("{name}, {} task{}", self.tasks, if self.tasks == 1 { "" } else { "s" })
    }

    /// Runs it. What the first tenth of the time brings is no latency.
    async fn drive(self, way: Arc<impl Way>, fresh: Arc<AtomicUsize>) -> Result<Vec<f64>, Failure> {
        let start = Arc::new(Barrier::new(self.tasks + 1));
        let mut tasks = JoinSet::new();
        for seed in 0..self.tasks {
            tasks.spawn(self.work(Arc::clone(&way), Arc::clone(&start), Arc::clone(&fresh), seed as u64));
        }
        start.wait().await;
        let watch = Stopwatch::start(Whose::Process);
        let (mut latencies, mut all) = (Vec::new(), 0);
        while let Some(done) = tasks.join_next().await {
            let (count, mut counted) = done??;
            all += count;
            latencies.append(&mut counted);
        }
        let (elapsed, cpu) = watch.read();
        let [p50, p99] = [0.5, 0.99].map(|quantile| quantile_micros(&mut latencies, quantile));
        Ok(vec![all as f64 / elapsed, p50, p99, cpu * 1e6 / all as f64])
    }

    /// One task: how many operations it did, and how many nanoseconds each took.
    async fn work(
        self,
        way: Arc<impl Way>,
        start: Arc<Barrier>,
        fresh: Arc<AtomicUsize>,
        seed: u64,
    ) -> Result<(usize, Vec<u32>), Failure> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut latencies = Vec::with_capacity(1 << 12);
        start.wait().await;
        let began = Instant::now();
        let (warm, end) = (began + self.time / 10, began + self.time);
        let (mut count, mut before) = (0, began);
        while before < end {
            let id = random.usize(..self.keys);
            match self.operation {
                Operation::Get => way.get(id).await?,
                Operation::Set => way.set(id).await?,
                Operation::Mix if random.u8(..10) == 0 => way.set(id).await?,
                Operation::Mix => way.get(id).await?,
                Operation::Invalidate => way.invalidate(id).await?,
                Operation::InvalidateTag => way.invalidate_tag(id).await?,
                Operation::Miss => way.miss(fresh.fetch_add(1, Ordering::Relaxed)).await?,
            }
            let now = Instant::now();
            count += 1;
            if before >= warm {
                latencies.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
            }
            before = now;
        }
        Ok((count, latencies))
    }
}
