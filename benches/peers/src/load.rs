//! A load: so many tasks, for so long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::way::{Failure, Way};

/// What to do, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) tasks: usize,
    pub(crate) keys: usize,
    pub(crate) sets: bool,
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Operations a second.
    pub(crate) rate: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Processor time of this process for each operation, in microseconds.
    pub(crate) cpu: f64,
}

impl Load {
    /// Runs it. What the first tenth of the time brings is not counted.
    pub(crate) async fn drive(self, way: Arc<impl Way>) -> Result<Sample, Failure> {
        let start = Arc::new(Barrier::new(self.tasks + 1));
        let mut tasks = JoinSet::new();
        for seed in 0..self.tasks {
            tasks.spawn(self.work(Arc::clone(&way), Arc::clone(&start), seed as u64));
        }
        start.wait().await;
        let (began, cpu) = (Instant::now(), cpu());
        let mut latencies = Vec::new();
        let mut all = 0;
        while let Some(done) = tasks.join_next().await {
            let (count, mut counted) = done??;
            all += count;
            latencies.append(&mut counted);
        }
        let (elapsed, spent) = (began.elapsed(), self::cpu() - cpu);
        Ok(Sample {
            rate: all as f64 / elapsed.as_secs_f64(),
            p50: quantile(&mut latencies, 0.5),
            p99: quantile(&mut latencies, 0.99),
            cpu: spent * 1e6 / all as f64,
        })
    }

    /// One task: how many operations it did, and how many nanoseconds each took.
    async fn work(self, way: Arc<impl Way>, start: Arc<Barrier>, seed: u64) -> Result<(usize, Vec<u32>), Failure> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut latencies = Vec::with_capacity(1 << 12);
        start.wait().await;
        let began = Instant::now();
        let (warm, end) = (began + self.time / 10, began + self.time);
        let (mut count, mut before) = (0, began);
        while before < end {
            let id = random.usize(..self.keys);
            if self.sets && random.u8(..10) == 0 {
                way.set(id).await?;
            } else {
                way.get(id).await?;
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

/// Seconds of processor time that this process has used.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// In microseconds, of nanoseconds.
fn quantile(latencies: &mut [u32], quantile: f64) -> f64 {
    if latencies.is_empty() {
        return f64::NAN;
    }
    let index = ((latencies.len() - 1) as f64 * quantile) as usize;
    f64::from(*latencies.select_nth_unstable(index).1) / 1e3
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let mut all: Vec<u32> = (0..=100).rev().map(|n| n * 1_000).collect();
        assert_eq!((quantile(&mut all, 0.5), quantile(&mut all, 0.99)), (50.0, 99.0));
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
