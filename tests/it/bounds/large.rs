//! Computations, closures and values whose own bytes are many: they move to the heap once, and not through the stack of
//! each layer.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::{CacheBuilder, Computed, Intent};

use harness::support::Broken;

const LARGE: usize = 256 << 10;

/// What every future may hold beside the closure or the value that it was given.
const LITTLE: usize = 2 << 10;

/// A value whose bytes are its own: 32 KiB.
type Block = [[[u8; 32]; 32]; 32];

/// A closure that owns `N` bytes.
fn owner<const N: usize>() -> impl FnOnce() -> Ready<Result<usize, Broken>> + Send {
    let bytes = black_box([1u8; N]);
    move || ready(Ok(bytes.len()))
}

/// A future that owns `LARGE` bytes while it waits.
async fn work() -> Result<usize, Broken> {
    let bytes = black_box([1u8; LARGE]);
    tokio::task::yield_now().await;
    Ok(bytes.iter().map(|byte| usize::from(*byte)).sum())
}

#[test]
fn a_call_holds_what_its_closure_owns_once() {
    const OWNED: usize = 16 << 10;
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let decide = |owner: usize| move || ready(Ok::<_, Broken>(Computed::new(owner)));
    let sizes = [
        size_of_val(&cache.get_or_compute("key", owner::<OWNED>())),
        size_of_val(&cache.get_or_compute_arc("key", owner::<OWNED>())),
        size_of_val(&cache.entry("key").get_or_compute(owner::<OWNED>())),
        size_of_val(&cache.entry("key").get_or_compute_arc(owner::<OWNED>())),
    ];
    assert!(sizes.iter().all(|size| (OWNED..OWNED + LITTLE).contains(size)), "{sizes:?}");
    let small = [
        size_of_val(&cache.get_or_compute("key", work)),
        size_of_val(&cache.get_or_compute_arc("key", work)),
        size_of_val(&cache.entry("key").get_or_decide(decide(1))),
    ];
    assert!(small.iter().all(|size| *size < LITTLE), "{small:?}");
}

#[test]
fn a_set_holds_its_value_once() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let block: Block = [[[7; 32]; 32]; 32];
    let sizes = [size_of_val(&cache.set("key", block)), size_of_val(&cache.entry("key").set(block))];
    assert!(sizes.iter().all(|size| *size < size_of::<Block>() + LITTLE), "{sizes:?}");
}

#[test]
fn a_computation_is_on_the_heap_once_and_its_closure_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let cache = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(1 << 20)).build().unwrap();
    let warm = async { cache.get_or_compute("warm", || async { Ok::<_, Broken>(0usize) }).await };
    assert_eq!(runtime.block_on(warm).unwrap(), 0);
    let peak = |call: &dyn Fn() -> usize| {
        allocation_counter::measure(|| {
            assert_eq!(call(), LARGE);
        })
        .bytes_max
    };
    let computation = peak(&|| runtime.block_on(cache.get_or_compute("computation", work)).unwrap());
    assert!(computation <= (LARGE + (64 << 10)) as u64, "{computation} bytes for {LARGE}");
    let closure = peak(&|| runtime.block_on(cache.get_or_compute("closure", owner::<LARGE>())).unwrap());
    assert!(closure <= (2 * LARGE + (64 << 10)) as u64, "{closure} bytes for {LARGE}");
}

/// A stack that overflows ends the process: then this is the test that failed.
#[test]
fn future_of_256_kib_runs_on_worker_stacks_of_two_mib() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).thread_stack_size(2 << 20).enable_time().build().unwrap();
    let cache = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(1 << 20)).build().unwrap();
    let calls = cache.clone();
    let computation = runtime.spawn(async move { calls.get_or_compute("computation", work).await });
    assert_eq!(runtime.block_on(computation).unwrap().unwrap(), LARGE);
    let calls = cache.clone();
    let closure = runtime.spawn(async move { calls.get_or_compute("closure", owner::<LARGE>()).await });
    assert_eq!(runtime.block_on(closure).unwrap().unwrap(), LARGE);
    // A closed cache spawns nothing: the call computes on its own stack.
    runtime.block_on(cache.close(Duration::from_secs(1))).unwrap();
    let late = runtime.spawn(async move { cache.get_or_compute("late", work).await });
    assert_eq!(runtime.block_on(late).unwrap().unwrap(), LARGE);
}
