//! Caches in this process, and how they are driven.

use std::borrow::Borrow;
use std::hash::Hash;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::clock::{Stopwatch, Whose};

pub(crate) mod lru;
pub(crate) mod ours;

/// Calls between two looks at the clock.
const BATCH: usize = 4_096;

/// A map that forgets, as the peers are.
pub(crate) trait Store<Q: ?Sized, V>: Send + Sync {
    fn read(&self, key: &Q) -> Option<V>;
    fn write(&self, key: &Q, value: V);
    /// How many entries it holds.
    fn count(&self) -> usize;
}

/// What keys and values of all peers have to be.
pub(crate) trait Key: Eq + Hash + Clone + Send + Sync + 'static {}
pub(crate) trait Payload: Clone + Send + Sync + 'static {}
impl<K: Eq + Hash + Clone + Send + Sync + 'static> Key for K {}
impl<V: Clone + Send + Sync + 'static> Payload for V {}

impl<K, Q, V, W> Store<Q, V> for quick_cache::sync::Cache<K, V, W>
where
    K: Key + Borrow<Q>,
    Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    V: Payload,
    W: quick_cache::Weighter<K, V> + Clone + Send + Sync,
{
    fn read(&self, key: &Q) -> Option<V> {
        self.get(key)
    }

    fn write(&self, key: &Q, value: V) {
        self.insert(key.to_owned(), value);
    }

    fn count(&self) -> usize {
        self.len()
    }
}

impl<K, Q, V> Store<Q, V> for moka::sync::Cache<K, V>
where
    K: Key + Borrow<Q>,
    Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    V: Payload,
{
    fn read(&self, key: &Q) -> Option<V> {
        self.get(key)
    }

    fn write(&self, key: &Q, value: V) {
        self.insert(key.to_owned(), value);
    }

    fn count(&self) -> usize {
        self.run_pending_tasks();
        self.entry_count() as usize
    }
}

impl<K, Q, V> Store<Q, V> for foyer_memory::Cache<K, V>
where
    K: Key + Borrow<Q>,
    Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    V: Payload,
{
    fn read(&self, key: &Q) -> Option<V> {
        self.get(key).map(|entry| entry.value().clone())
    }

    fn write(&self, key: &Q, value: V) {
        self.insert(key.to_owned(), value);
    }

    fn count(&self) -> usize {
        self.entries()
    }
}

/// foyer's cache with S3-FIFO.
pub(crate) fn foyer<K: Key, V: Payload>(capacity: usize) -> foyer_memory::Cache<K, V> {
    let small = capacity < 1_024;
    let shards = if small { 1 } else { 8 };
    foyer_memory::CacheBuilder::new(capacity)
        .with_shards(shards)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .build()
}

/// A runtime on the thread that asks it.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// A runtime with a thread of its own, for what caches do beside their calls: one whose bus is not heard believes nothing.
pub(crate) fn runtime_beside() -> Result<Runtime, Failure> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Makes calls for so long, on so many threads. Nanoseconds for each call of one thread: of the processor's time and of
/// the clock's.
pub(crate) fn drive(threads: usize, time: Duration, call: impl Fn(usize) + Sync) -> Vec<f64> {
    let work = |thread: usize| drive_on(time, &mut (thread * 7_919), &call);
    if threads == 1 {
        return work(0);
    }
    let all: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        all.into_iter().map(|thread| thread.join().expect("no call panics")).collect()
    });
    (0..2).map(|figure| all.iter().map(|figures| figures[figure]).sum::<f64>() / threads as f64).collect()
}

/// The same on this thread. `turn` goes on from round to round.
pub(crate) fn drive_on(time: Duration, turn: &mut usize, call: impl Fn(usize)) -> Vec<f64> {
    let (watch, first) = (Stopwatch::start(Whose::Thread), *turn);
    while !watch.has_passed(time) {
        (*turn..*turn + BATCH).for_each(&call);
        *turn += BATCH;
    }
    per_call(&watch, *turn - first)
}

/// The same for calls that may wait.
pub(crate) fn drive_async(runtime: &Runtime, time: Duration, turn: &mut usize, call: impl AsyncFn(usize)) -> Vec<f64> {
    runtime.block_on(async {
        let (watch, first) = (Stopwatch::start(Whose::Thread), *turn);
        while !watch.has_passed(time) {
            for turn in *turn..*turn + BATCH {
                call(turn).await;
            }
            *turn += BATCH;
        }
        per_call(&watch, *turn - first)
    })
}

fn per_call(watch: &Stopwatch, calls: usize) -> Vec<f64> {
    let (wall, cpu) = watch.read();
    [cpu, wall].map(|seconds| seconds * 1e9 / calls as f64).into()
}
