//! Clients that block: a thread for each task.

use std::time::Instant;

use crate::Failure;
use crate::clock::{Stopwatch, Whose};
use crate::numbers::quantile_micros;
use crate::remote::Load;
use crate::remote::way::Operation;

/// Reads and writes values by number, and makes its thread wait.
pub(crate) trait Blocking: Sync {
    fn get(&self, id: usize) -> Result<(), Failure>;
    fn set(&self, id: usize) -> Result<(), Failure>;
}

/// Runs a load of reads or writes, with the figures of `remote::metrics`.
pub(crate) fn drive(client: &impl Blocking, load: Load) -> Result<Vec<f64>, Failure> {
    let watch = Stopwatch::start(Whose::Process);
    let done: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..load.tasks).map(|seed| scope.spawn(move || work(client, load, seed as u64))).collect();
        all.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let (elapsed, cpu) = watch.read();
    let (mut latencies, mut all) = (Vec::new(), 0);
    for part in done {
        let mut part = part?;
        all += part.len();
        latencies.append(&mut part);
    }
    let [p50, p99] = [0.5, 0.99].map(|quantile| quantile_micros(&mut latencies, quantile));
    Ok(vec![all as f64 / elapsed, p50, p99, cpu * 1e6 / all as f64])
}

/// How many nanoseconds each operation of one thread took.
fn work(client: &impl Blocking, load: Load, seed: u64) -> Result<Vec<u32>, Failure> {
    let (mut random, mut latencies) = (fastrand::Rng::with_seed(seed), Vec::with_capacity(1 << 12));
    let began = Instant::now();
    let mut before = began;
    while before.duration_since(began) < load.time {
        let id = random.usize(..load.keys);
        if load.operation == Operation::Set {
            client.set(id)?
        } else {
            client.get(id)?
        }
        let now = Instant::now();
        latencies.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
        before = now;
    }
    Ok(latencies)
}
